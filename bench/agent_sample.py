"""What one look at 16 NPUs costs the agent's own processor time, beside the tools it starts.

The tool is a shell script that prints a captured-looking table of 16 devices with two processes each;
counted is this process's own time (not its children's): starting, reading, parsing, columns, the wire line.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from agent import wire
from agent.parse import npu_table
from agent.probe import npu, occupancy
from bench.result import Result, Samples, ratio

TARGET_MS = 5.0
HEAD = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
"""
DEVICE = """\
| {npu:<5} Ascend910           | OK            | {power:<11} 37                0    / 0             |
| {chip:<5} {phy:<18}  | 0000:{bus:02X}:00.0  | 12          0    / 0          {used:<5}/ 65536         |
+===========================+===============+====================================================+
"""
PROCESSES = """\
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
"""
PROCESS = "| {npu:<7} {chip:<17} | {pid:<13} | {name:<24} | {mb:<23} |\n"
LINE = "+===========================+===============+====================================================+\n"


def table() -> str:
    """``npu-smi info`` of an A3 node: 16 chips on 8 NPUs, 32 processes."""
    places = [(npu_id, chip) for npu_id in range(8) for chip in range(2)]
    devices = "".join(DEVICE.format(npu=n, chip=c, phy=2 * n + c, power="162.8" if c == 0 else "-", bus=0x10 + 2 * n + c, used=50000 + n) for n, c in places)
    rows = "".join("".join(PROCESS.format(npu=n, chip=c, pid=400000 + 100 * n + 10 * c + k, name="python3", mb=24000) for k in range(2)) + LINE for n, c in places)
    return HEAD + devices + PROCESSES + rows


def own_ms(work: object) -> float:
    """This process's own processor time of one call."""
    assert callable(work)
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1000.0


def run(rounds: int) -> Result:
    """Milliseconds of own processor time for a whole sample, its parts, and the scan for who holds the NPUs."""
    text = table()
    parsed = npu_table.parse(text)
    if len(parsed["devices"]) != 16 or len(parsed["processes"]) != 32 or not parsed["complete"]:
        raise ValueError("the made table is not read as one of 16 devices")
    with tempfile.TemporaryDirectory() as folder:
        tool = Path(folder) / "npu-smi"
        (Path(folder) / "table").write_text(text)
        tool.write_text(f"#!/bin/sh\nexec cat {folder}/table\n")
        tool.chmod(0o755)

        def sample() -> None:
            data = npu.read(finder=lambda name: str(tool))
            assert len(data["columns"]["npu_id"]) == 16
            wire.encode(wire.record("sample", 0.0, 0.0, data))

        taken: dict[str, list[float]] = {"whole sample": [], "parsing alone": [], "scan of /proc": []}
        for turn in range(-2, rounds):
            for name, work in (("whole sample", sample), ("parsing alone", lambda: npu_table.parse(text)), ("scan of /proc", occupancy.read)):
                value = own_ms(work)
                if turn >= 0:
                    taken[name].append(value)
    samples = {name: Samples(name=name, unit="ms", values=tuple(values)) for name, values in taken.items()}
    target = Samples(name="target", unit="ms", values=tuple([TARGET_MS] * rounds))
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    return Result(samples=tuple(samples.values()), ratios=(ratio("whole sample over 5 ms", samples["whole sample"], target, at_most=1.0),),
                  notes=(f"{processes} processes in /proc; the scan is made every 15 s, the sample every 2 s",))

"""A simulated ``npu-smi`` and ``hccn_tool``: what a node with eight 910B3 would print, fed by real processes.

This file is both a module (``install``) and the program itself: ``install`` puts a small starter for each
tool into a node's ``bin`` that runs this very file with ``python -I -S``. It therefore imports next to
nothing, and nothing of the project. It never trains, kills or decides anything: it reads /proc.

Where the figures come from: a *worker* is a process whose environment has this node's
RANKDECK_SIM_NODE_DIR and RANK, LOCAL_RANK, RANKDECK_ROUND, and whose parent is none itself. Worker with
LOCAL_RANK k runs on device k. AICore % is the CPU time it took since the last look, per core; HBM is its
resident memory times ``HBM_PER_RSS``; power and temperature follow the AICore %.

Formats: npu-smi 24.1.rc1 for HBM chips (printf widths of the table read in the public npu-smi source,
checked column by column against captured 24.1.rc1 and 23.0 tables); key/value queries and hccn_tool as in
captured outputs of 910B nodes.

Faults: a file ``sim.txt`` in the node's directory, one ``KEY DEVICE VALUE`` a line. Keys: ``health``
(OK, Warning, Alarm, Critical), ``code`` (fault code in hex without 0x), ``link`` (UP, DOWN), ``net_health``
(Success, Fault, Init), ``lost`` (1: the device is in no list any more).
"""

from __future__ import annotations

import os
import sys
import time

DEVICES = 8
CHIP = "910B3"
VERSION = "24.1.rc1"
BUS_IDS = ("C1", "C2", "81", "82", "01", "02", "41", "42")
HBM_TOTAL_MB = 65536
HBM_IDLE_MB = 3314
HBM_PER_RSS = 64
"""A rank of the demo is about 64 times smaller than one that fills an NPU."""
HBM_PROCESS_MAX_MB = 60000
IDLE_POWER_W, POWER_PER_PCT_W = 92.0, 2.6
IDLE_TEMPERATURE_C, TEMPERATURE_PER_PCT_C = 38, 0.2
STATE_FILE = "sim.txt"
SEEN_FILE = "sim-seen.txt"
MAX_PROCESSES_PER_CHIP = 8
SHORTEST_LOOK_S = 0.2
"""Two readings of the 10 ms clock closer than this tell too little; the last figure stands."""

BORDER = "+" + "-" * 96 + "+"
THIN = "+" + "-" * 27 + "+" + "-" * 15 + "+" + "-" * 52 + "+"
THICK = THIN.replace("-", "=")

USAGE = """Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]
"""


class Worker:
    """One rank's process. memory_mb: resident; busy_pct: of one core, since the last look."""

    def __init__(self, pid: int, local_rank: int, name: str, start: int, ticks: int, memory_mb: float, rank: int = -1) -> None:
        self.pid, self.local_rank, self.rank, self.name = pid, local_rank, rank, name
        self.start, self.ticks, self.memory_mb = start, ticks, memory_mb
        self.busy_pct = 0

    @property
    def hbm_mb(self) -> int:
        return min(HBM_PROCESS_MAX_MB, int(self.memory_mb * HBM_PER_RSS))


def install(node_dir: str, python: str) -> None:
    """Put ``npu-smi`` and ``hccn_tool`` into ``node_dir``/bin, and placeholders of the device nodes into /dev's stand-in."""
    for name in ("bin", "dev"):
        os.makedirs(os.path.join(node_dir, name), exist_ok=True)
    for tool in ("npu-smi", "hccn_tool"):
        path = os.path.join(node_dir, "bin", tool)
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs the program its start-up time
            file.write(f"#!/bin/sh\nexec {_quoted(python)} -I -S {_quoted(os.path.abspath(__file__))} {tool} \"$@\"\n")
        os.chmod(path, 0o755)
    for name in [f"davinci{k}" for k in range(DEVICES)] + ["davinci_manager", "devmm_svm", "hisi_hdc"]:
        with open(os.path.join(node_dir, "dev", name), "w", encoding="utf-8"):  # noqa: PTH123
            pass


def workers_of(node_dir: str, proc: str = "/proc") -> list[Worker]:
    """The node's workers by (LOCAL_RANK, pid), their busy_pct still 0. Processes that vanish meanwhile are left out."""
    marker = b"RANKDECK_SIM_NODE_DIR=" + os.fsencode(node_dir)
    found = {}
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            with open(f"{proc}/{entry}/environ", "rb") as file:  # noqa: PTH123
                raw = file.read()
            if marker not in raw or b"RANKDECK_ROUND=" not in raw:
                continue
            environ = dict(pair.split(b"=", 1) for pair in raw.split(b"\0") if b"=" in pair)
            if environ.get(b"RANKDECK_SIM_NODE_DIR") != os.fsencode(node_dir) or b"RANK" not in environ:
                continue
            with open(f"{proc}/{entry}/stat", encoding="utf-8", errors="replace") as text:  # noqa: PTH123
                head, _, tail = text.read().rpartition(")")
            fields = tail.split()
            found[int(entry)] = (int(fields[1]), Worker(
                int(entry), int(environ[b"LOCAL_RANK"]), head.split("(", 1)[1].replace(":", "")[:15], int(fields[19]),
                int(fields[11]) + int(fields[12]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
                int(environ[b"RANK"])))
        except (OSError, ValueError, KeyError, IndexError):
            continue
    topmost = [worker for parent, worker in found.values() if parent not in found]
    return sorted(topmost, key=lambda worker: (worker.local_rank, worker.pid))


def measure(node_dir: str, workers: list[Worker]) -> None:
    """Set each worker's busy_pct from the CPU time since the last call, kept in the node's directory."""
    path = os.path.join(node_dir, SEEN_FILE)
    now = time.monotonic()
    seen: dict[tuple[int, int], tuple[int, float, int]] = {}
    for line in _lines(path):
        parts = line.split()
        seen[int(parts[0]), int(parts[1])] = (int(parts[2]), float(parts[3]), int(parts[4]))
    written = []
    for worker in workers:
        # First look: over its whole life; field 22 of stat counts its start from boot.
        newborn = (0, worker.start / os.sysconf("SC_CLK_TCK") - _boot_offset(), 0)
        ticks, at, busy = seen.get((worker.pid, worker.start), newborn)
        if now - at < SHORTEST_LOOK_S:
            worker.busy_pct = busy
            written.append((worker, ticks, at))
            continue
        used_s = (worker.ticks - ticks) / os.sysconf("SC_CLK_TCK")
        worker.busy_pct = max(0, min(100, round(100 * used_s / (now - at))))
        written.append((worker, worker.ticks, now))
    partial = f"{path}.{os.getpid()}"
    with open(partial, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.writelines(f"{w.pid} {w.start} {ticks} {at:.3f} {w.busy_pct}\n" for w, ticks, at in written)
    os.replace(partial, path)


def faults_of(node_dir: str) -> dict[tuple[str, int], str]:
    """(key, device) -> value, as the state file says."""
    found = {}
    for line in _lines(os.path.join(node_dir, STATE_FILE)):
        parts = line.split(None, 2)
        if len(parts) == 3 and parts[1].isdigit():
            found[parts[0], int(parts[1])] = parts[2].strip()
    return found


def table(workers: list[Worker], faults: dict[tuple[str, int], str]) -> str:
    """What ``npu-smi info`` prints."""
    present = [k for k in range(DEVICES) if ("lost", k) not in faults]
    out = [BORDER, f"| npu-smi {VERSION:<24} Version: {VERSION:<52} |", THIN,
           "| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|",
           "| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |", THICK]
    for k in present:
        busy = busy_of(k, workers)
        health = faults.get(("health", k), "OK")
        out.append(f"| {k:<5} {CHIP:<20}| {health:<13} | {power_of(k, busy):<11.1f} {temperature_of(k, busy):<17} {0:<5}/ {0:<13} |")
        out.append(f"| {0:<26}| {f'0000:{BUS_IDS[k]}:00.0':<13} | {busy:<11} {0:<5}/ {0:<10} "
                   f"{hbm_of(k, workers):<5}/ {HBM_TOTAL_MB:<13} |")
        out.append(THICK)
    out += [THIN, "| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |", THICK]
    for k in present:
        own = [worker for worker in workers if worker.local_rank == k][:MAX_PROCESSES_PER_CHIP]
        out += [f"| {k:<7} {0:<18}| {w.pid:<13} | {w.name:<24} | {w.hbm_mb:<24}|" for w in own]
        if not own:
            out.append(f"| No running processes found in NPU {k:<61}|")
        out.append(THICK)
    return "\n".join(out) + "\n"


def busy_of(device: int, workers: list[Worker]) -> int:
    """AICore %, 0 to 100."""
    return min(100, sum(worker.busy_pct for worker in workers if worker.local_rank == device))


def hbm_of(device: int, workers: list[Worker]) -> int:
    """HBM used, MB."""
    return min(HBM_TOTAL_MB, HBM_IDLE_MB + sum(worker.hbm_mb for worker in workers if worker.local_rank == device))


def power_of(device: int, busy_pct: int) -> float:
    """Watts; the cards differ a little from each other, as real ones do."""
    return IDLE_POWER_W + 1.7 * (device * 5 % 7) + POWER_PER_PCT_W * busy_pct


def temperature_of(device: int, busy_pct: int) -> int:
    """Degrees Celsius."""
    return round(IDLE_TEMPERATURE_C + device * 3 % 7 + TEMPERATURE_PER_PCT_C * busy_pct)


def pairs(*rows: tuple[str, object]) -> str:
    """Key/value lines as npu-smi prints them: a tab, the key in 30 columns; an empty key is an empty line."""
    return "".join(f"\t{key:<30} : {value}\n" if key else "\n" for key, value in rows)


def queried(kind: str, device: int, chip: bool, workers: list[Worker], faults: dict[tuple[str, int], str]) -> str | None:
    """What ``npu-smi info -t KIND -i DEVICE [-c 0]`` prints; None for a kind this tool does not know.

    ``usages`` prints the chip id behind its values, ``health`` and ``common`` before them; with ``-c`` there
    are no ids at all.
    """
    busy = busy_of(device, workers)
    hbm_pct = round(100 * hbm_of(device, workers) / HBM_TOTAL_MB)
    head: tuple[tuple[str, object], ...] = () if chip else (("NPU ID", device), ("Chip Count", 1), ("", ""))
    chip_id: tuple[tuple[str, object], ...] = () if chip else (("Chip ID", 0),)
    health = faults.get(("health", device), "OK")
    if kind == "usages":
        return pairs(*head, ("DDR Capacity(MB)", 0), ("DDR Usage Rate(%)", 0), ("DDR Hugepages Total(page)", 0),
                     ("DDR Hugepages Usage Rate(%)", 0), ("HBM Capacity(MB)", HBM_TOTAL_MB), ("HBM Usage Rate(%)", hbm_pct),
                     ("Aicore Usage Rate(%)", busy), ("Aivector Usage Rate(%)", busy // 2), ("Aicpu Usage Rate(%)", 0),
                     ("Ctrlcpu Usage Rate(%)", 2), ("DDR Bandwidth Usage Rate(%)", 0),
                     ("HBM Bandwidth Usage Rate(%)", busy // 3), *chip_id)
    if kind == "health" and chip:
        code = faults.get(("code", device), "NA")
        return pairs(("Health Status", health), ("Error Code", code),
                     ("Error Information", "NA" if code == "NA" else "simulated fault"))
    if kind == "health":
        return pairs(*head, ("Health", health), *chip_id, ("", ""), ("Health", "OK"), ("Chip Name", "MCU"))
    if kind == "common":
        return pairs(*head, *chip_id, ("Memory Usage Rate(%)", 0), ("HBM Usage Rate(%)", hbm_pct), ("Aicore Usage Rate(%)", busy),
                     ("Aicore Freq(MHZ)", 1800), ("Aicore curFreq(MHZ)", 1800 if busy else 800), ("Aicore Count", 20),
                     ("Temperature(C)", temperature_of(device, busy)),
                     ("NPU Real-time Power(W)", f"{power_of(device, busy):.1f}"))
    if kind == "proc-mem":
        lines = [f"\tProcess id:{w.pid:<8}Process name:{w.name:<18}Process memory(MB):{w.hbm_mb}\n"
                 for w in workers if w.local_rank == device]
        return pairs(*head) + ("".join(lines) or "\tNo process in device.\n") + pairs(*chip_id)
    return None


def npu_smi(argv: list[str], node_dir: str) -> tuple[int, str]:
    """Exit status and output of ``npu-smi`` with these arguments."""
    if argv in (["-v"], ["--version"]):
        return 0, f"npu-smi version: {VERSION}\n"
    if argv[:1] != ["info"]:
        return 1, USAGE
    options = argv[1:]
    faults = faults_of(node_dir)
    present = [k for k in range(DEVICES) if ("lost", k) not in faults]
    if options == ["-l"]:
        rows: list[tuple[str, object]] = [("Total Count", len(present))]
        for k in present:
            rows += [("", ""), ("NPU ID", k), ("Chip Count", 1)]
        return 0, pairs(*rows)
    if options == ["-m"]:
        width = "\t%-30s %-30s %-30s %s\n"
        text = width % ("NPU ID", "Chip ID", "Chip Logic ID", "Chip Name")
        for logic, k in enumerate(present):
            text += width % (k, 0, logic, f"Ascend {CHIP}") + width % (k, 1, "-", "Mcu")
        return 0, text
    workers = workers_of(node_dir)
    measure(node_dir, workers)
    if not options:
        return 0, table(workers, faults)
    given = dict(zip(options[::2], options[1::2]))  # noqa: B905 - an odd one at the end is found wrong below
    if len(options) % 2 or set(given) - {"-t", "-i", "-c"} or "-t" not in given:
        return 1, USAGE
    device = given.get("-i", "")
    if not device.isdigit() or int(device) not in present:
        return 1, "Error parameter of -i\n" + USAGE
    text_or_none = queried(given["-t"], int(device), "-c" in given, workers, faults)
    if text_or_none is None:
        return 0, f"This device does not support querying {given['-t']}.\n"
    return 0, text_or_none


def hccn_tool(argv: list[str], node_dir: str) -> tuple[int, str]:
    """Exit status and output of ``hccn_tool -i N -QUERY -g``. Writing (-s, -cfg) is refused."""
    faults = faults_of(node_dir)
    asks_ping = len(argv) == 6 and argv[2] == "-ping" and argv[4] == "address"
    if not (len(argv) == 4 or asks_ping) or argv[0] != "-i" or argv[3] != "-g" or not argv[1].isdigit():
        return 1, "hccn_tool: this simulation knows only: hccn_tool -i N -link|-net_health|-ip|-speed|-tls|-ping -g\n"
    device = int(argv[1])
    if device >= DEVICES or ("lost", device) in faults:
        return 1, f"Cannot find device {device}.\n"
    link = faults.get(("link", device), "UP")
    if argv[2] == "-link":
        return 0, f"link status: {link}\n"
    if argv[2] == "-net_health":
        return 0, f"net health status: {faults.get(('net_health', device), 'Success' if link == 'UP' else 'Fault')}\n"
    if argv[2] == "-ip":
        # A digit of the node's directory tells the nodes' addresses apart.
        node = sum(int(c) for c in os.path.basename(node_dir) if c.isdigit())
        return 0, f"ipaddr:192.168.{node}.{10 + device}\nnetmask:255.255.255.0\n"
    if argv[2] == "-tls":
        return 0, f"dev_id:{device}, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days\n"
    if asks_ping:
        received = 3 if link == "UP" else 0
        replies = "".join(f"recv seq={seq},time=0.0{40 + seq}000ms\n" for seq in range(received))
        return 0, f"device {device} PING {argv[5]}\n{replies}3 packets transmitted, {received} received, {100 - 100 * received // 3:.2f}% packet loss\n"
    if argv[2] == "-speed":
        return 0, "Speed: 200000 Mb/s\n" if link == "UP" else "Speed: Unknown!\n"
    return 1, f"hccn_tool: option {argv[2]} is not simulated\n"


def _boot_offset() -> float:
    """CLOCK_BOOTTIME minus CLOCK_MONOTONIC, s: process start times count from boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def main() -> int:
    """The program: argv[1] is the tool's name, the rest its arguments."""
    node_dir = os.environ.get("RANKDECK_SIM_NODE_DIR", "")
    if not node_dir:
        print("simulated NPU tool: RANKDECK_SIM_NODE_DIR is not set; this is no node of a demo", file=sys.stderr)
        return 1
    tool = {"npu-smi": npu_smi, "hccn_tool": hccn_tool}[sys.argv[1]]
    code, text = tool(sys.argv[2:], node_dir)
    sys.stdout.write(text)
    return code


if __name__ == "__main__":
    sys.exit(main())

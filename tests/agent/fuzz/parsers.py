"""Every parser of agent.parse as something that takes bytes, and texts to begin from.

``everything()`` finds the parsers by itself: the public functions whose first argument is a text or bytes.
One that is neither in MADE nor in EXEMPT is called with the decoded input; what has other arguments must be
named in one of the two, and a test says so.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import pickle
import pkgutil
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List

import agent.parse
from agent.catalogue import loader, npu_codes
from agent.parse import (
    asides,
    bars,
    checkpoint,
    checkpoint_formats,
    dicts,
    fields,
    megatron,
    pasted,
    pickled,
    prefixes,
    reading,
    saves,
    scan,
    steps,
    wrapped,
)

Parser = Callable[[bytes], Any]

SCANNER = scan.Scanner()
FIXTURES = Path(__file__).resolve().parent.parent / "parse" / "fixtures"
MARK = b"\n--- next file ---\n"
"""Parts the files of a save in one input."""


def _told(found: Any) -> Any:
    json.dumps(found, allow_nan=False)
    return found


def _survey(data: bytes) -> Any:
    names = ("iter_0000010/.metadata", "iter_0000010/common.pt", "iter_0000010/__0_0.distcp", "iter_0000010/metadata.json", "latest_checkpointed_iteration.txt",
             "iter_0000020/mp_rank_00/model_optim_rng.pt", "checkpoint-30/model.safetensors", "checkpoint-30/trainer_state.json", "global_step40/latest")
    parts = data.split(MARK)
    files = dict(zip(names, parts))
    if len(parts) > len(names):    # and one whose name came with the input
        files[parts[-1][:200].decode("utf-8", "replace")] = parts[-1]
    found = checkpoint.survey({name: (len(body), 1.0) for name, body in files.items()}, lambda name, start, length: files.get(name, b"")[start:start + length])
    return _told(found)


def _read_block(data: bytes) -> Any:
    memory: Any = {}
    found = reading.read_block(data, SCANNER, memory)
    assert json.loads(json.dumps(memory, allow_nan=False)) == memory
    lines, counted = 0, 0
    for one in sorted(found, key=lambda one: one.offset):
        assert 0 <= one.offset <= len(data)
        lines, counted = lines + data.count(b"\n", counted, one.offset), one.offset
        assert one.line == lines
    return _told([one.data for one in found])


def _faults(data: bytes) -> Any:
    found = SCANNER.faults(_text(data))
    assert all(len(fault["text"]) <= scan.TEXT_LIMIT for fault in found)
    return _told(found)


def _joined(data: bytes) -> Any:
    lines = _text(data).split("\n")
    return megatron.joined(lines[0], lines[1:])


def _number(data: bytes) -> Any:
    found = fields.VALUE.match(_text(data))
    return None if found is None else fields.number(found.group(1))


def _filled(data: bytes) -> Any:
    return _told(fields.filled(fields.pairs(_text(data))))


def _catalogue(data: bytes) -> Any:
    try:
        return loader.read(_text(data))
    except (loader.CatalogueError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None    # a file of ours, not a node's: a refusal of any kind will do


MADE: Dict[str, Parser] = {
    "checkpoint.survey": _survey,
    "checkpoint_formats.is_foreign": lambda data: checkpoint_formats.is_foreign(data),
    "checkpoint_formats.shard_ends": lambda data: checkpoint_formats.shard_ends(data),
    "fields.filled": _filled,
    "fields.number": _number,
    "megatron.joined": _joined,
    "pickled.read": lambda data: pickled.read(data),
    "wrapped.whole": lambda data: wrapped.whole(_text(data).partition("\n")[0], data, len(data.partition(b"\n")[0])),
    "wrapped.begun_above": lambda data: [wrapped.begun_above(data, line) for line in SCANNER.lines(data)[:20]],
    "wrapped.lines_from": lambda data: wrapped.lines_from(data, -1),
    "megatron.place_of": lambda data: megatron.place_of(_text(data), 1, 0),
    "bars.joined": lambda data: bars.joined(_text(data).partition("\n")[0], _text(data).split("\n")[1:]),
    "pasted.listed": lambda data: pasted.listed(_text(data).splitlines(True)),
    "pasted.without_margin": lambda data: pasted.without_margin(_text(data).splitlines(True)),
    "saves.joined": lambda data: saves.joined(_text(data).partition("\n")[0], _text(data).split("\n")[1:], []),
    "asides.joined": lambda data: asides.joined(_text(data).partition("\n")[0], _text(data).split("\n")[1:]),
    "steps.joined": lambda data: steps.joined(_text(data).partition("\n")[0], _text(data).split("\n")[1:]),
    "dicts.joined": lambda data: dicts.joined(_text(data).partition("\n")[0], _text(data).split("\n")[1:]),
    "prefixes.length": lambda data: prefixes.length(_text(data).partition("\n")[0], _text(data).partition("\n")[2]),
    "proc.environment": lambda data: importlib.import_module("agent.parse.proc").environment(data),
    "reading.read_block": _read_block,
    "scan.faults": _faults,
    "catalogue.read": _catalogue,
    "catalogue.normal": lambda data: npu_codes.normal(_text(data)),
}
EXEMPT: Dict[str, str] = {
    "times.dated": "of what times.printed_time gave, with a day",
    "times.day_of": "of what times.printed_time gave",
    "frequency.usual": "of a needle of ours",
    "frequency.counted": "of a sample; scan.Scanner.tuned is tried with adversarial samples",
    "proc.mount_of": "of a path and rows that proc.mounts gave",
    "fields.known": "of a name that fields.pairs gave",
}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def public() -> Dict[str, Callable[..., Any]]:
    """Name -> function of all public functions of agent.parse whose first argument is a text or bytes."""
    found: Dict[str, Callable[..., Any]] = {}
    for info in pkgutil.iter_modules(agent.parse.__path__):
        module = importlib.import_module("agent.parse." + info.name)
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
                continue
            arguments = list(inspect.signature(value).parameters.values())
            if arguments and str(arguments[0].annotation).replace("Optional[", "").strip("]") in ("str", "bytes"):
                found[info.name + "." + name] = value
    return found


def everything() -> Dict[str, Parser]:
    """Name -> parser, of all that are tried."""
    found = dict(MADE)
    for name, function in public().items():
        if name not in MADE and name not in EXEMPT:
            found[name] = _plain(function)
    return found


def unknown() -> List[str]:
    """Public functions that cannot be called with one text and are named nowhere: somebody must say what to do with them."""
    missing = []
    for name, function in public().items():
        first, *others = inspect.signature(function).parameters.values()
        if name not in MADE and name not in EXEMPT and (str(first.annotation) != "str" or any(one.default is one.empty for one in others)):
            missing.append(name)
    return missing


def stale() -> List[str]:
    """Names in MADE and EXEMPT that are no longer there."""
    there = set(public())
    return [name for name in EXEMPT if name not in there] + [
        name for name in MADE if not name.startswith("catalogue.") and name not in ("scan.faults", "fields.filled", "checkpoint.survey", "pasted.listed", "pasted.without_margin") and name not in there]


def _plain(function: Callable[..., Any]) -> Parser:
    def run(data: bytes) -> Any:
        found = function(_text(data))
        return list(found) if inspect.isgenerator(found) else found
    return run


_OUTPUTS = (
    "\tNPU ID                         : 12\n\tChip Count                     : 1\n\n\tHBM Capacity(MB)               : 65536\n\tHBM Usage Rate(%)              : 52\n\tChip ID                        : 10\n",
    "\tHealth Status                  : Alarm\n\tError Code                     : A4025021 8C03A000\n\tError Information              : node type=L2BUFF\n",
    "\tNPU ID                         : 12\n\tProcess id:3229095 Process name:python          Process memory(MB):48208\n\tChip ID                        : 10\n",
    "\t           NPU0       NPU1       CPU Affinity\n\tNPU0       X          HCCS       144-167\n\tNPU1       HCCS       X          120-143\n\nLegend:\n",
    "NpuID(Idx)  ChipId(Idx) Pwr(W)      Temp(C)     AI Core(%)\n10          0           93.5        37          45\n",
    "        NPU ID                         Chip ID                        Chip Logic ID                  Chip Name\n        0                              1                              -                              Mcu\n",
    "ipaddr:192.168.100.101\nnetmask:255.255.255.0\n", "link status: DOWN\n", "packet statistics:\nmac_tx_mac_pause_num:12\nroce_rx_all_pkt_num:345678\n", "Speed: 200000 Mb/s\n",
    "dev_id:10, tls switch[1](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days\n",
    "[devid 10]current time        : Tue Aug  1 14:44:50 2022\n[devid 10]link change records :\n[devid 10]    Tue Aug  1 14:44:40 2022    LINK DOWN\n",
    "device 10 PING 29.1.137.205\nrecv seq=0,time=1.418000ms\n1 packets transmitted, 1 received, 0.00% packet loss\n",
    "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi model initialized failed, because the device is used. ret is -8020\n",
    "CONTAINER ID   IMAGE     COMMAND   CREATED      STATUS      PORTS     NAMES\n0123456789ab   a:1       \"sh -c x\" 2 days ago   Up 2 days             train\n",
    '{"ID":"0123456789ab","Image":"a:1","Names":"train","Status":"Up 2 days"}\n', "Docker version 24.0.7, build afdd53b\n", "podman version 4.9.3\n",
    '[{"Id":"01","Name":"/train","State":{"Running":true,"Pid":42,"ExitCode":0,"OOMKilled":false},"HostConfig":{"ShmSize":67108864,"IpcMode":"host","Devices":'
    '[{"PathOnHost":"/dev/davinci0"}]},"Mounts":[{"Source":"/data","Destination":"/data","RW":true}],"Config":{"Labels":{"a":"b"},"Env":["A=b"]}}]',
    "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4\n", "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n", "0.42 0.36 0.30 1/100 4242\n",
    "4242 (python (x) y) S 1 4242 4242 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 789\n", "PATH=/bin\x00RANK=3\x00LOCAL_RANK=1\x00",
    "/dev/sda1 /data\\040x ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n", "Version=24.1.rc2\nascendhal_version=7.35.23\n",
    "0::/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n", "Name:\tpython\nUid:\t1000\t1000\t1000\t1000\n", "btime 1795324201\n",
    "Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         65536                unlimited            bytes     \n",
    "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n", 'NAME="openEuler"\nPRETTY_NAME="openEuler 22.03"\n',
    "Nov 22 10:11:12 host kernel: x\n", "[Sat Nov 22 10:11:12 2026] x", "1795324201.123456 node kernel: x", "2025-11-19-11:14:58.516.606 x", "W1122 10:11:12.123456 1 x.py:3] y",
    "    save-checkpoint ................................: (383764.98, 383765.08)\n", "time (ms) | save-checkpoint: 57514.53 | x: 1 |\n", "  seq_length ...................................... 4096\n",
    "[Rank 20] (after 20 iterations) memory (MB) | allocated: 15426.4 | max allocated: 18045.6 | reserved: 22290.0 |\n", "unlimited", "N/A", "12 / 65536", "-8005", "1e5", "Temperature(C)")


def seeds() -> List[bytes]:
    """Texts to begin from: the fixtures whole and by lines, every signature's sample, outputs of the tools, saves; more where RANKDECK_CORPUS names some."""
    found = [text.encode("utf-8") for text in _OUTPUTS]
    for path in sorted(FIXTURES.rglob("*")):
        if path.is_file():
            found += _pieces(path.read_bytes())
    for signature in loader.load():
        found += [signature.sample.encode("utf-8")] + [text.encode("utf-8") for text in signature.unlike]
    table = pickle.dumps({"storage_data": {"a": {"relative_path": "__0_0.distcp", "offset": 0, "length": 10}}, "args": {"tensor_model_parallel_size": 2}}, protocol=2)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as whole:
        whole.writestr(zipfile.ZipInfo("archive/data.pkl"), table)
    tensors = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    found += [table, archive.getvalue(), MARK.join([table, archive.getvalue(), b"d" * 40, b'{"sharded_backend": "torch_dist"}', b"10\n", archive.getvalue(),
                                                    len(tensors).to_bytes(8, "little") + tensors + b"1234", b'{"global_step": 30}', b"global_step40"])]
    corpus = os.environ.get("RANKDECK_CORPUS")
    if corpus:
        for path in sorted(Path(corpus).rglob("*"))[:2000]:
            if path.is_file() and path.stat().st_size < 1 << 20:
                found += _pieces(path.read_bytes())[:40]
    return found


def _pieces(raw: bytes) -> List[bytes]:
    lines = raw.split(b"\n")
    return [raw[:6000]] + lines[:200] + [b"\n".join(lines[place:place + 4]) for place in range(0, min(len(lines), 200), 4)]

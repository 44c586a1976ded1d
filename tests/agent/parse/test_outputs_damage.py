"""Damaged output of every tool: nothing raises, and no value is told that was not printed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Iterator

import pytest

from agent.parse import outputs

MAPPING = """\
        NPU ID                         Chip ID                        Chip Logic ID                  Chip Name
        0                              0                              10                             Ascend 910B3
        0                              1                              -                              Mcu
        12                             0                              11                             Ascend 910B3
"""
USAGES = """\
\tNPU ID                         : 12
\tChip Count                     : 1

\tHBM Capacity(MB)               : 65536
\tHBM Usage Rate(%)              : 52
\tAicore Usage Rate(%)           : 97
\tChip ID                        : 10
"""
COMMON = """\
\tNPU ID                         : 12
\tChip Count                     : 2

\tChip ID                        : 0
\tTemperature(C)                 : 38
\tNPU Real-time Power(W)         : 170.6

\tChip ID                        : 1
\tTemperature(C)                 : 41
\tNPU Real-time Power(W)         : 99.5
"""
HEALTH = """\
\tHealth Status                  : Alarm
\tError Code                     : A4025021 8C03A000
\tError Information              : node type=L2BUFF

\t                               : node type=HBM
"""
PROCESSES = """\
\tNPU ID                         : 12
\tChip Count                     : 1

\tProcess id:3229095 Process name:python          Process memory(MB):48208
\tChip ID                        : 10
"""
TOPOLOGY = """\
\t           NPU0       NPU1       CPU Affinity
\tNPU0       X          HCCS       144-167
\tNPU1       HCCS       X          120-143

Legend:
"""
WATCH = """\
NpuID(Idx)  ChipId(Idx) Pwr(W)      Temp(C)     AI Core(%)
10          0           93.5        37          45
11          0           88.5        35          12
"""
START_ERROR = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi model initialized failed, because the device is used. ret is -8020\n"
HCCN = {
    "ip": "ipaddr:192.168.100.101\nnetmask:255.255.255.0\n", "link": "link status: DOWN\n", "net_health": "net health status: Success\n",
    "stat": "packet statistics:\nmac_tx_mac_pause_num:12\nroce_rx_all_pkt_num:345678\n", "speed": "Speed: 200000 Mb/s\n",
    "tls": "dev_id:10, tls switch[1](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days\n",
    "link_stat": "[devid 10]current time        : Tue Aug  1 14:44:50 2022\n[devid 10]link up count       : 12\n[devid 10]link change records :\n"
                 "[devid 10]    Tue Aug  1 14:44:40 2022    LINK DOWN\n",
    "ping": "device 10 PING 29.1.137.205\nrecv seq=0,time=1.418000ms\n1 packets transmitted, 1 received, 0.00% packet loss\n",
    "gateway": "default gateway:192.168.100.1, Iface:eth3\n", "netdetect": "netdetect address:192.168.100.1\n"}
TEXTS = {"mapping": MAPPING, "usages": USAGES, "common": COMMON, "health": HEALTH, "proc-mem": PROCESSES, "topo": TOPOLOGY, "watch": WATCH, "error": START_ERROR, **HCCN}
TABLES = sorted((Path(__file__).parent / "fixtures" / "npu_table").glob("*.txt"))
ALL = {**TEXTS, **{path.stem: path.read_text(encoding="utf-8") for path in TABLES}}


def leaves(value: Any, place: str = "") -> Iterator[Any]:
    """(place, value) of everything in a document but texts that are told as they stand."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("complete", "cut", "output", "kind", "text"):
                yield from leaves(inner, place + "." + name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, place + "[]")
    elif value is not None and not isinstance(value, bool):
        yield place, value


def without_details(text: str) -> Any:
    """What a document says of devices; of watch the latest row counts, so that one is compared by its rows."""
    found = outputs.document(text)
    return found and {name: value for name, value in found.items() if name not in ("details", "errors")}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_text_cut_anywhere_tells_nothing_new(name: str) -> None:
    text = ALL[name]
    whole = outputs.document(text)
    assert whole is not None
    printed = set(leaves(whole))
    for end in range(len(text)):
        cut = outputs.document(text[:end])
        if cut is None or cut["output"] != whole["output"]:
            continue
        new = set(leaves(cut)) - printed
        if name == "watch":
            new = {(place, value) for place, value in new if not place.startswith(".devices")}
        assert not new, (text[:end][-60:], new)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_lost_line_gives_no_device_anothers_values(name: str) -> None:
    lines = ALL[name].splitlines(True)
    whole = outputs.document(ALL[name])
    assert whole is not None
    known = [{field: value for field, value in device.items() if value is not None} for device in whole["devices"]]
    for lost in range(len(lines)):
        found = outputs.document("".join(lines[:lost] + lines[lost + 1:]))
        for device in found["devices"] if found and name != "watch" else ():
            told = {field: value for field, value in device.items() if value is not None}
            assert any(told.items() <= each.items() for each in known), (lines[lost], told)


@pytest.mark.parametrize("name", sorted(ALL))
def test_line_ends_colours_and_what_stands_around_change_nothing(name: str) -> None:
    text, plain = ALL[name], without_details(ALL[name])
    assert plain is not None
    for changed in (text.replace("\n", "\r\n"), "\x1b[0m" + text.replace("\n", "\x1b[K\n"), "设备状态正常，请稍候\n" + text + "查询完成\n",
                    "\x1b]0;root@node\x07[root@node ~]# npu-smi info\n" + text + "[root@node ~]# \n"):
        assert without_details(changed) == plain


@pytest.mark.parametrize("name", sorted(ALL))
def test_flipped_bytes_raise_nothing(name: str) -> None:
    chance = random.Random(name)
    raw = ALL[name].encode("utf-8")
    for _ in range(200):
        spoilt = bytearray(raw)
        for _ in range(chance.randint(1, 8)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        outputs.document(spoilt.decode("utf-8", "replace"))

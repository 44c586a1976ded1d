"""What every parser needs of a line: controls taken out, the time it prints, the rank it names.

Owns the reading of prefixes that loggers and launchers put before a message. Refuses to read the message
itself (``training``, ``scan``) and to judge what a time means (node clocks are corrected elsewhere).
"""

from __future__ import annotations

import re
from typing import Dict, Optional

# CSI sequences (colours, cursor), OSC sequences (titles, clipboard) up to BEL or ST, and two-byte escapes.
_ESCAPE = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")

# "[2025-09-05 16:08:14]", "2025-03-04 00:44:44,441", "2026-11-22T05:10:01.123456" and CANN's
# "2025-11-19-11:14:58.516.606" (milliseconds and microseconds as two groups).
_TIME = re.compile(r"(?<![0-9])([0-9]{4}-[0-9]{2}-[0-9]{2})[ T-]{1,2}([0-9]{2}:[0-9]{2}:[0-9]{2})"
                   r"(?:[.,]([0-9]{1,6})(?:\.([0-9]{3}))?)?")

# torch: "[rank3]:", "[rank16]:[W908 ..."; torchrun --log: "[default7]:" (role and local rank);
# Megatron and DeepSpeed: "[Rank 0]"; torch_npu: "(PID:356, Device:0, RankID:-1)";
# CANN plog: "[ERROR] HCCL(60570,python):2025-..."; verl and ray: "(WorkerDict pid=4112)".
_RANK = re.compile(r"\[[Rr]ank ?([0-9]{1,6})\]")
_LOCAL_RANK = re.compile(r"^\s*\[[a-z]+([0-9]{1,3})\]:")
_TORCH_NPU = re.compile(r"\(PID:([0-9]{1,10}), ?Device:([0-9]{1,5}), ?RankID:(-?[0-9]{1,10})\)")
_PLOG = re.compile(r"^\s*\[(?:ERROR|WARNING|EVENT|INFO|DEBUG)\] ?[A-Z_]{2,12}\(([0-9]{1,10}),")
_RAY = re.compile(r"^\s*\([\w.]+,? pid=([0-9]{1,10})[,)]")

NO_RANK = 4294967295
"""CANN prints -1 as this unsigned number where a rank is not known; it is never a rank."""


def clean(text: str) -> str:
    """The text without escape sequences and control characters (tab is kept), trailing blanks off."""
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return _CONTROL.sub("", text).rstrip()


def printed_time(text: str) -> Optional[str]:
    """The first date and time printed in the text, as ``2024-05-16T14:24:03[.ffffff]``; None without one.

    No zone is added: the text does not say one.
    """
    found = _TIME.search(text)
    if not found:
        return None
    day, clock, fraction, more = found.groups()
    return "%sT%s%s" % (day, clock, "." + fraction + (more or "") if fraction else "")


def named_place(text: str) -> Dict[str, int]:
    """What the line says of its own origin: any of ``rank``, ``local_rank``, ``device``, ``pid``."""
    place: Dict[str, int] = {}
    found = _TORCH_NPU.search(text)
    if found:
        place["pid"], place["device"] = int(found.group(1)), int(found.group(2))
        if 0 <= int(found.group(3)) < NO_RANK:
            place["rank"] = int(found.group(3))
    rank = _RANK.search(text)
    if rank and "rank" not in place:
        place["rank"] = int(rank.group(1))
    local = _LOCAL_RANK.match(text)
    if local and not rank:
        place["local_rank"] = int(local.group(1))
    pid = _PLOG.match(text) or _RAY.match(text)
    if pid and "pid" not in place:
        place["pid"] = int(pid.group(1))
    return place

"""What every parser needs of a line: controls taken out, the rank it names (the time it prints is ``times``').

Owns the reading of prefixes that loggers and launchers put before a message. Refuses to read the message
itself (``training``, ``scan``) and to judge what a time means (node clocks are corrected elsewhere).
"""

from __future__ import annotations

import json
import re
from typing import Dict, Optional

from agent.parse import prefixes
from agent.parse.times import printed_time

__all__ = ["NO_RANK", "clean", "kept", "label", "named_place", "printed_time", "unboxed", "uncoloured", "unstamped"]

# CSI sequences (colours, cursor), OSC sequences (titles, clipboard) up to BEL or ST, and two-byte escapes.
_ESCAPE = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")

# torch: "[rank3]:", "[rank16]:[W908 ...", "[PG 1 Rank 0]", "[PG ID 0 PG GUID 0(default_pg) Rank 1]"; torchrun --log: "[default7]:" (role and local
# rank); Megatron and DeepSpeed: "[Rank 0]", MindSpeed-MM: "[Rank 0 | Local Rank 0]"; torch_npu: "(PID:356, Device:0, RankID:-1)"; mpirun --tag-output:
# "[1,3]<stderr>:" (job, rank); CANN plog: "[ERROR] HCCL(60570,python):2025-..." and, in what it raises,
# "EI0002: [PID: 2969] 2025-..."; verl and ray: "(WorkerDict pid=4112)".
_RANK = re.compile(r"\[(?:PG [^\[\]]{1,80} )?(?:[Rr]ank|RANK) ?([0-9]{1,6})(?:\]| \| ?[Ll]ocal)")
_MPI_RANK = re.compile(r"^\[[0-9]{1,4},([0-9]{1,6})\]<std(?:out|err)>:")
_LOCAL_RANK = re.compile(r"^\s*\[[a-z]+([0-9]{1,3})\]:")
_TORCH_NPU = re.compile(r"\(PID:([0-9]{1,10}), ?Device:([0-9]{1,5}), ?RankID:(-?[0-9]{1,10})\)")
_PLOG = re.compile(r"^\s*\[(?:ERROR|WARNING|EVENT|INFO|DEBUG)\] ?[A-Z_]{2,12}\(([0-9]{1,10}),")
_RAISED = re.compile(r"\b[A-Z]{1,2}[0-9A-F]{4}(?::\s*)?\[PID: ?([0-9]{1,10})\]")
_RAY = re.compile(r"^\s*\([\w.]+,? pid=([0-9]{1,10})[,)]")
# docker logs --timestamps, kubectl logs --timestamps; containerd's files have the stream and a flag behind it
_STAMP = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2}) (?:std(?:out|err) [FP] )?")
# docker's json-file: {"log":"text\n","stream":"stdout","time":"2025-03-01T10:00:00.1Z"}
_BOX = '{"log":"'
_BOXED = re.compile(r'(?:[^"\\]|\\.)*')
# srun --label: "   7: text"
_LABEL = re.compile(r"^ {0,8}([0-9]{1,6}): ")

NO_RANK = 4294967295
"""CANN prints -1 as this unsigned number where a rank is not known; it is never a rank."""


def clean(text: str) -> str:
    """The text without escape sequences and control characters (tab is kept), trailing blanks off."""
    if text.startswith(_BOX):
        text = unboxed(text)
    if text.isprintable():
        return text.rstrip()
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return _CONTROL.sub("", text).rstrip()


def uncoloured(text: str) -> str:
    """The text, of any number of lines, without escape sequences."""
    return _ESCAPE.sub("", text) if "\x1b" in text else text


def kept(text: str) -> str:
    """As ``clean``, with the blanks at the end where there is nothing else to take away: a wrapped line's own."""
    return text if text.isprintable() and not text.startswith(_BOX) else clean(text)


def unboxed(text: str) -> str:
    """The line of a container engine's own log file without the JSON around it; any other text as it is."""
    found = _BOXED.match(text, len(_BOX)) if text.startswith(_BOX) else None
    if found is None:
        return text
    try:
        # Half of a surrogate pair could not be printed again.
        return str(json.loads('"%s"' % found.group())).encode("utf-8", "replace").decode("utf-8").rstrip("\r\n")
    except ValueError:
        return text


def unstamped(text: str) -> str:
    """The text without the time that a container engine put before the line."""
    return _STAMP.sub("", text) if text[10:11] == "T" and text[:2] == "20" else text


def named_place(text: str) -> Dict[str, int]:
    """What the line says of its own origin: any of ``rank``, ``local_rank``, ``device``, ``pid``."""
    place: Dict[str, int] = {}
    text = unstamped(text)
    if "(" in text:
        found = _TORCH_NPU.search(text) if "RankID" in text else None
        if found:
            place["pid"], place["device"] = int(found.group(1)), int(found.group(2))
            if 0 <= int(found.group(3)) < NO_RANK:
                place["rank"] = int(found.group(3))
        else:
            pid = _PLOG.match(text) or (_PLOG.match(text[prefixes.behind(text):]) if "):2" in text else None) or _RAY.match(text)
            if pid:
                place["pid"] = int(pid.group(1))
    if "[" in text:
        rank = _MPI_RANK.match(text) or _RANK.search(text)
        if rank and "rank" not in place:
            place["rank"] = int(rank.group(1))
        local = None if rank else _LOCAL_RANK.match(text)
        if local:
            place["local_rank"] = int(local.group(1))
        if "PID" in text and ("pid" not in place or text.lstrip()[:1] == "("):    # what ray puts before is who passed it on
            raised = _RAISED.search(text) if "RankID" not in text else None
            if raised:
                place["pid"] = int(raised.group(1))
    return place


def label(text: str) -> Optional[int]:
    """The task number that ``srun --label`` put before the line, None without one.

    It is the rank only where srun starts one task per rank; who asks must have evidence for that.
    """
    found = _LABEL.match(unstamped(text))
    return int(found.group(1)) if found else None

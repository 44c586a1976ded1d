"""Lines that a terminal broke, put together again in a block: where a record begins and where it ends.

Owns finding the pieces before and behind a line. Refuses to say which pieces belong together (the families'
own ``joined`` do) and to read the record. Pure; never raises; looks at no more lines than a record can have.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

from agent.parse import asides, bars, dicts, megatron, prefixes, saves, scan, steps
from agent.parse.text import clean, unboxed

_ITERATION = re.compile(rb"teration[ \t:=]{1,40}[0-9]")


def whole(raw: str, block: bytes, end: int) -> Tuple[str, int]:
    """(the line, with what was wrapped of it put back; where in the block that ends)."""
    if dicts.is_open(raw):
        following, ends = lines_from(block, end)
        text, taken = dicts.joined(raw, following)
        return text, ends[taken - 1] if taken else end
    if ("heckpoint" in raw or "uccessfully " in raw) and saves.event(clean(raw)) is not None:
        following, ends = lines_from(block, end)
        above = block[max(0, end - len(raw) - 4000):max(0, end - len(raw))].decode("utf-8", "replace").split("\n")[-6:-1]
        text, taken = saves.joined(raw, following, [clean(line) for line in above[1:] + following])
        return (text, ends[taken - 1]) if taken else (raw, end)
    if "teration" not in raw:
        text = clean(raw)
        join = asides.joined if "time (ms)" in raw else steps.joined if steps.begins(text) else bars.joined if bars.is_open(text) else None
        if join is None:
            return raw, end
        following, ends = lines_from(block, end)
        text, taken = join(raw, following)
        return (text, ends[taken - 1]) if taken else (raw, end)
    raw = clean(raw) if "\x1b" in raw else raw
    if raw.rstrip().endswith("|") and not _may_go_on(raw, block, end):
        return raw, end
    following, ends = lines_from(block, end)
    text, taken = (asides.joined if "memory (" in raw or ("time (ms)" in raw and not megatron.counts(raw)) else megatron.joined)(raw.rstrip("\n"), following)
    return text, ends[taken - 1] if taken else end


def begun_above(block: bytes, line: scan.Line) -> Optional[Tuple[str, str, int, int]]:
    """(the line above in which a step's metrics or a bar begin that go on in this one, the same whole, its start, where it ends).

    A first piece that does not tell the loss is not looked at by itself.
    """
    place, pieces = line.start, [block[line.start:line.end]]
    for _ in range(megatron.JOIN_LIMIT - 1):
        end = place - 1
        from_here = max(0, end - 2000)
        place = block.rfind(b"\n", from_here, max(0, end)) + 1
        if not place and from_here:    # longer than a terminal is wide: bars between carriage returns
            return None
        if end <= place or end - place < len(pieces[0]) - 2:    # a terminal fills its lines
            return None
        pieces.insert(0, block[place:end])
        text = b"".join(pieces).decode("utf-8", "replace")
        if "tep" not in text and "poch" not in text and "<" not in text:
            continue
        raw = unboxed(pieces[0].decode("utf-8", "replace"))
        joined, whole_to = whole(raw, block, end)
        if whole_to > end:
            text = joined
        elif not steps.begins(text):
            continue
        else:    # where it begins is itself broken
            following, ends = lines_from(block, line.end)
            text, taken = steps.joined(text, following, end - place)
            whole_to = ends[taken - 1] if taken else line.end
        return (raw, text, place, whole_to) if whole_to >= line.end else None
    return None


def lines_from(block: bytes, place: int) -> Tuple[List[str], List[int]]:
    """As many lines behind the newline at a place as a record can have (-1: from the beginning), and where each ends."""
    following: List[str] = []
    ends: List[int] = []
    while len(following) < megatron.JOIN_LIMIT - 1 and (place < 0 or block[place:place + 1] == b"\n"):
        stop = block.find(b"\n", place + 1, place + 2000)
        stop = min(len(block), place + 2000) if stop < 0 else stop
        following.append(block[place + 1:stop].decode("utf-8", "replace"))
        ends.append(stop)
        place = stop
    return following, ends


def _may_go_on(raw: str, block: bytes, end: int) -> bool:
    """Whether the next line might be the rest of one that ended with a bar: it has bars itself, and is no iteration."""
    following = block[end + 1:end + 400].split(b"\n", 1)[0]
    if b"|" not in following or _ITERATION.search(following[:60]):
        return False
    if not following.lstrip().startswith((b"[", b"time (ms)")):
        return True
    line = clean(following.decode("utf-8", "replace"))
    begins = prefixes.length(clean(raw[:400]), line)
    return begins > 0 and not line[begins:].lstrip().startswith(("[", "time (ms)", "iteration "))

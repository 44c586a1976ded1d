"""Parts of a file on request: a window of lines around a place, bytes for a copy, and what a search finds. Refuses to keep anything.

Any file that the agent's own user may read is given, whoever asks: the console has a shell there in any case.
Control characters are left in; making them harmless is the business of who shows them.
"""

from __future__ import annotations

import base64
import json
import os
import pkgutil
import subprocess
import sys
from typing import Any

from agent import tails
from agent.refusal import Refused

WINDOW_LINES = 2000
WINDOW_BYTES = 1 << 18
BYTES_MAX = 1 << 18
COUNT_MAX = 4 << 30
SEARCH_MOST_S = 60.0
_CHUNK = 1 << 20


def window(args: dict[str, Any]) -> dict[str, Any]:
    """The answer to ``window``: whole lines before and after a place, given as a byte offset or a line number from 1.

    Returns {path, file_id, size, lines: [text], offsets: [first byte], offset, next_offset, line}; ``line`` is the number of
    the first one where that is known (a place given by line, or one within the first 64 MiB). Raises Refused.
    """
    path = tails.checked(args["path"])
    before, after = (max(0, min(WINDOW_LINES, int(args.get(name) or 0))) for name in ("before", "after"))
    with tails.open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        line = args.get("line")
        if isinstance(line, int) and not isinstance(line, bool):
            place = _offset_of_line(file, max(1, line))
        else:
            wanted = args.get("offset")
            place = max(0, min(size, int(wanted) if isinstance(wanted, int) else size))
        start = _back(file, place, before)
        file.seek(start)
        data = file.read(WINDOW_BYTES + 1)
        lines: list[str] = []
        offsets: list[int] = []
        at, behind = start, 0
        raws = data.split(b"\n")
        # The last one is not whole unless the file ends there.
        for raw in raws[:-1] if start + len(data) < size or not raws[-1] else raws:
            if at > place:
                behind += 1
                if behind > after:
                    break
            lines.append(tails.as_text(raw))
            offsets.append(at)
            at += len(raw) + 1
        if not lines and data:    # one line longer than all that may be sent
            lines, offsets, at = [tails.as_text(data)], [start], start + len(data)
        number = _lines_before(file, start) + 1 if start <= 64 << 20 else None
        return {"path": path, "file_id": tails.identity(file.fileno()), "size": size, "lines": lines, "offsets": offsets, "offset": start,
                "next_offset": min(at, size), "line": number}


def piece(args: dict[str, Any]) -> dict[str, Any]:
    """The answer to ``bytes``: {data (base64), offset, next_offset, size, file_id}; at most 256 KiB. Raises Refused."""
    with tails.open_file(tails.checked(args["path"])) as file:
        file.seek(max(0, args["offset"]))
        data = file.read(max(0, min(args["length"], BYTES_MAX)))
        return {"data": base64.b64encode(data).decode("ascii"), "offset": args["offset"], "next_offset": args["offset"] + len(data),
                "size": os.fstat(file.fileno()).st_size, "file_id": tails.identity(file.fileno())}


def search(args: dict[str, Any]) -> dict[str, Any]:
    """The answer to ``search`` (``agent.search``), found by a process of its own within its time. Raises Refused."""
    path = tails.checked(args["path"])
    tails.open_file(path).close()
    if not args["pattern"] or "\n" in args["pattern"] or len(args["pattern"]) > 1000:
        raise Refused("not a text to look for", got=repr(args["pattern"])[:80], expected="1 to 1000 characters of one line", move="Correct the pattern")
    limit_s = max(0.1, min(SEARCH_MOST_S, float(args.get("limit_s") or 5.0)))
    source = pkgutil.get_data("agent", "search.py")
    assert source is not None
    try:
        ran = subprocess.run([sys.executable, "-I", "-c", source.decode("utf-8")], input=json.dumps(dict(args, path=path, limit_s=limit_s)).encode("utf-8"),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit_s + 3.0, cwd="/")
        answer = json.loads(ran.stdout.decode("utf-8"))
    except subprocess.TimeoutExpired:
        raise Refused("the search was given up", where=path, got="no end after %g s" % limit_s, expected="a pattern that is tried quickly",
                      move="Look for a literal text, or a simpler expression")
    except ValueError:
        why = ran.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Refused("the search was given up", where=path, got=why[-1][:200] if why else "exit status %s (out of time or memory)" % ran.returncode,
                      move="Look for a literal text, or a simpler expression")
    if "error" in answer:
        raise Refused("the search cannot be made", where=path, got=str(answer["error"]), move="Correct the pattern or the path")
    return dict(answer, path=path)


def _back(file: Any, place: int, lines: int) -> int:
    """First byte of the line that is ``lines`` before the one that ``place`` lies in."""
    at, tail = place, b""
    while at > 0 and tail.count(b"\n") < lines + 1 and place - at < WINDOW_BYTES:
        step = min(1 << 16, at)
        at -= step
        file.seek(at)
        tail = file.read(step) + tail
    end = len(tail)
    for _ in range(lines + 1):
        previous = tail.rfind(b"\n", 0, end)
        if previous < 0:
            return at if at == 0 else at + tail.find(b"\n") + 1
        end = previous
    return at + end + 1


def _offset_of_line(file: Any, line: int) -> int:
    """Where the line of that number begins; the last one's beginning where there are fewer."""
    seen, at, last = 1, 0, 0
    file.seek(0)
    while seen < line:
        data = file.read(_CHUNK)
        if not data or at > COUNT_MAX:
            return last
        count = data.count(b"\n")
        if seen + count >= line:
            place = -1
            for _ in range(line - seen):
                place = data.find(b"\n", place + 1)
            return at + place + 1
        seen += count
        last = at + data.rfind(b"\n") + 1 if count else last
        at += len(data)
    return at


def _lines_before(file: Any, offset: int) -> int:
    file.seek(0)
    count, left = 0, offset
    while left > 0:
        data = file.read(min(_CHUNK, left))
        if not data:
            break
        count += data.count(b"\n")
        left -= len(data)
    return count

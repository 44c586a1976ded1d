"""Looking for a text in one file, in a process of its own that may be killed: self-contained, standard library, Python 3.7.

Run as ``python3 -I -c SOURCE`` with a JSON object on standard input, answers one on standard output. A process
of its own, because a regular expression cannot be interrupted and some never end; it is nice, may use little
memory, and dies by itself when its time is over. Refuses to follow a file: what is written later is not seen.

Asks: {path, pattern, regex, ignore_case, from, before, after, most, limit_s, backwards}. Answers {hits: [{offset, line, text,
before: [text], after: [text]}], next_offset, searched, size, done}. ``line`` counts from 1 at ``from`` 0 and is null otherwise.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
from typing import Any

CHUNK = 1 << 20
LINE_MAX = 4096
CUT = "…[cut]"
ANSWER_MAX = 400000
MEMORY = 512 << 20


def text_of(raw: bytes) -> str:
    """One line as it is sent: cut, invalid bytes replaced."""
    return raw[:LINE_MAX].decode("utf-8", "replace").rstrip("\r") + (CUT if len(raw) > LINE_MAX else "")


def search(ask: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question. Raises OSError, re.error."""
    end_at = time.monotonic() + min(60.0, float(ask.get("limit_s") or 5.0))
    most = max(1, min(1000, int(ask.get("most") or 100)))
    before, after = (max(0, min(50, int(ask.get(name) or 0))) for name in ("before", "after"))
    flags = re.IGNORECASE if ask.get("ignore_case") else 0
    pattern = ask["pattern"].encode("utf-8")
    found = re.compile(pattern if ask.get("regex") else re.escape(pattern), flags).search
    literal = None if ask.get("regex") or ask.get("ignore_case") else pattern
    hits: list[dict[str, Any]] = []
    recent: list[str] = []
    waiting: list[dict[str, Any]] = []
    spent = 0
    with open(ask["path"], "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        place = max(0, int(ask.get("from") or 0))
        file.seek(place)
        line = 0 if place == 0 else None
        rest, done = b"", False
        while True:
            data = file.read(CHUNK)
            block = rest + data
            if not data:
                end = len(block)
            else:
                end = block.rfind(b"\n") + 1
                if not end and len(block) >= 4 * CHUNK:
                    end = len(block)
            piece, rest = block[:end], block[end:]
            if not before and not waiting and literal is not None and piece.find(literal) < 0:
                # Nothing in a whole block: its lines need not be looked at one by one.
                place += len(piece)
                line = None if line is None else line + piece.count(b"\n")
            else:
                ends = piece.endswith(b"\n")
                raws = piece.split(b"\n")[:-1] if ends else piece.split(b"\n") if piece else []
                for index, raw in enumerate(raws):
                    if line is not None:
                        line += 1
                    for hit in waiting:
                        hit["after"].append(text_of(raw))
                        spent += min(len(raw), LINE_MAX)
                    waiting = [hit for hit in waiting if len(hit["after"]) < after]
                    # Of a line without end only its beginning is searched, so that no expression is let loose on megabytes.
                    if len(hits) < most and found(raw if literal is not None else raw[:16 * LINE_MAX]):
                        hit = {"offset": place, "line": line, "text": text_of(raw), "before": list(recent), "after": []}
                        spent += min(len(raw), LINE_MAX) + sum(map(len, recent)) + 100
                        hits.append(hit)
                        if after:
                            waiting.append(hit)
                    place += len(raw) + (1 if ends or index + 1 < len(raws) else 0)
                    if before:
                        recent = (recent + [text_of(raw)])[-before:]
                    if (len(hits) >= most and not waiting) or spent > ANSWER_MAX or time.monotonic() > end_at:
                        break
                else:
                    if not data:
                        done = True
                        break
                    continue
                break
            if not data:
                done = True
                break
            if time.monotonic() > end_at:
                break
    return {"hits": hits, "next_offset": place, "searched": place - max(0, int(ask.get("from") or 0)), "size": size, "done": done}


def main() -> int:
    """Answer what stands on standard input; 0, or 1 with {"error"}."""
    os.nice(10)
    ask = json.loads(sys.stdin.read())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    limit = int(min(60.0, float(ask.get("limit_s") or 5.0))) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    try:
        answer = search(ask)
    except re.error as error:
        answer = {"error": "not a regular expression: %s" % error}
    except OSError as error:
        answer = {"error": error.strerror or str(error)}
    sys.stdout.write(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())

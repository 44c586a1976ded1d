"""Following one log file: new lines in, records out, and where to go on from.

Owns the place in the file (device, inode, head hash, byte offset, line number) through growth, rotation by
rename, truncation, re-creation, and a file that is not there yet. Refuses to know what a line means
(``agent.parse``), to store anything (the resident keeps the state beside the records, in one transaction)
and to wait: ``poll`` reads what is there and returns.

A record is keyed by ``<file_id>:<offset>:<kind>``, so that reading the same bytes again gives the same key.
"""

from __future__ import annotations

import os
import re
import stat
import time
from typing import IO, Any, Dict, FrozenSet, Iterable, Iterator, List, Optional, Tuple

from agent import backlog, digest, processes
from agent.parse import reading, scan, times

HEAD_BYTES = 256
"""A file is told from another by its first line, or by this much of it where it is longer."""
LINE_LIMIT = 4 << 20
"""A line without an end is cut here: memory stays bounded."""
READ_BYTES = 1 << 16
"""So much is read at a time while a file is followed as it grows."""
TAIL_BYTES = 64
"""So much before the offset is remembered, to notice a file written anew under the same head."""
STORM_WINDOW_BYTES = 1 << 20
STORM_LIMIT, STORM_TOTAL, STORM_SCARCE = 20, 200, 2
"""At most so many faults of one rule from one such stretch of a file; once there are STORM_TOTAL of all rules,
STORM_SCARCE of each. Which ones depends on bytes alone."""
WINDOW, TOTAL = "window", "total"

KEPT_DONE = 16
"""So many logs that were read to their end before the open one are remembered."""
# What rotation adds to a log's name: "train.log.1", "train.log-20261122", "train.log.2026-11-22_05-10". Not
# "train.log.gz": what is compressed is not read.
_ROTATED = re.compile(r"[.\-_](?:[0-9][0-9T:Z.\-_]*|old)\Z")

TUNED_FROM_BYTES = 1 << 25
"""When so much waits to be read it pays to plan the search for the file at hand, which takes 0.1 s."""
_SAMPLE_BYTES = 1 << 18

SHIPPED = frozenset(("iteration", "validation", "checkpoint", "fault", "timers", "memory"))
"""Kinds of what ``agent.parse.reading`` finds that become records; iterations and checkpoints only with their number."""

Record = Dict[str, Any]
State = Dict[str, Any]


class Follower:
    """One file. ``place`` is {job, attempt, round, rank, local_rank}, any of them None; of a process log also device and pid.

    ``state`` is what an earlier ``poll`` returned (None: from the beginning). Close it when done.
    """

    def __init__(self, path: str, place: Dict[str, Any], state: Optional[State] = None,
                 scanner: Optional[scan.Scanner] = None) -> None:
        self.path = path
        self.place = place
        self._scanner = scanner or _shared_scanner()
        self._file: Optional[IO[bytes]] = None
        self._state: State = dict(_fresh(""), **(state or {}))
        self._resumed = bool(state and state.get("file_id"))
        self._place: Tuple[int, int] = (0, 0)
        self._want = READ_BYTES
        self._at_end = False
        self._tuned = False
        self._no_grep = False
        self._storm: Dict[str, int] = {}
        self._spent: FrozenSet[str] = frozenset()
        self._backlog: Optional[backlog.Backlog] = None

    @property
    def state(self) -> State:
        """Where to go on from, plain JSON: {file_id, offset, line} and what guards them."""
        return dict(self._state)

    @property
    def behind_bytes(self) -> int:
        """How much of the file is not read yet, as far as can be seen now."""
        try:
            size = os.fstat(self._file.fileno()).st_size if self._file else os.stat(self.path).st_size
        except OSError:
            return 0
        return max(0, size - int(self._state["offset"]))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._leave_backlog()

    def poll(self, budget_bytes: int = 1 << 20, final: bool = False) -> Tuple[List[Record], State]:
        """(records, state) of what was written since; reads at most about ``budget_bytes``.

        A line is read when its newline is there; an unfinished last one waits, unless ``final`` says that
        its writer has ended. A file that cannot be read gives no records, now; it is tried again.
        """
        records: List[Record] = []
        try:
            if self._file is None and not self._open(final):
                return records, self.state
            budget = max(budget_bytes, 1)
            while budget > 0:
                got = self._read(records, max(min(budget, self._want), READ_BYTES), final)
                budget -= got
                if (got == 0 or (self._at_end and not final)) and not self._next_file(records):
                    break
        except OSError:
            self.close()
        return records, self.state

    def _open(self, final: bool) -> bool:
        """Open what the state speaks of (its rotated name included), else what the path names now."""
        if self._resumed:
            for path in self._candidates():
                if self._open_path(path, int(self._state["offset"]), final):
                    self._resumed = False
                    return True
        elif any(self._open_path(path, 0, True) for path in self._rotated_since(None)):
            return True    # rotated before anybody read it: its beginning is there
        if not self._open_path(self.path, 0, final):
            return False
        self._resumed = False
        return True

    def _siblings(self) -> List[str]:
        """Files whose names begin with that of the path or with that of the file it led to, these two first."""
        real = str(self._state.get("real") or self.path)
        paths = [self.path] + ([real] if real != self.path else [])
        for beside in list(paths):
            folder, name = os.path.split(beside)
            try:
                paths += [os.path.join(folder, other) for other in sorted(os.listdir(folder or ".")) if other.startswith(name) and other != name]
            except OSError:
                pass
        return paths

    def _candidates(self) -> List[str]:
        """Where the file that the state speaks of may be now: the siblings with its inode (a device is numbered anew at a boot)."""
        wanted = str(self._state["file_id"]).split(":")[1:2]
        return [path for path, status in _stats(self._siblings()) if [str(status.st_ino)] == wanted]

    def _open_path(self, path: str, offset: int, final: bool = False) -> bool:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):    # opening a pipe would wait for its writer
                return False
            opened = open(path, "rb", buffering=0)  # noqa: SIM115 - kept open between polls
        except OSError:
            return False
        status = os.fstat(opened.fileno())
        head = _head(opened, final)
        if head is None:
            opened.close()
            return False
        file_id = "%d:%d:%s" % (status.st_dev, status.st_ino, head)
        if offset:
            if not self._is_known(file_id) or status.st_size < offset or not self._tail_holds(opened):
                opened.close()
                return False
            self._file, self._place = opened, (status.st_dev, status.st_ino)
            self._state = dict(self._state, boot=_boot(), real=os.path.realpath(path))
            return True
        self.close()
        self._file, self._place = opened, (status.st_dev, status.st_ino)
        before = str(self._state.get("file_id") or "")
        # Written anew under the same inode and head: another generation, lest its keys replace the first one's.
        again = bool(before) and _without_generation(before) == file_id
        done = list(self._state.get("done") or []) + ([_without_generation(before)] if before and not again else [])
        self._state = dict(_fresh(file_id + (".%d" % (_generation(before) + 1) if again else "")), boot=_boot(), real=os.path.realpath(path), done=done[-KEPT_DONE:])
        return True

    def _is_known(self, file_id: str) -> bool:
        """Whether this is the file of the state; after a boot its device may have another number."""
        known = _without_generation(str(self._state["file_id"]))
        if self._state.get("boot") in (None, _boot()):
            return known == file_id
        return known.split(":")[1:] == file_id.split(":")[1:]

    def _tail_holds(self, opened: IO[bytes]) -> bool:
        tail = self._state.get("tail")
        if not tail:
            return True
        offset = int(self._state["offset"])
        start = max(0, offset - TAIL_BYTES)
        opened.seek(start)
        return _digest(opened.read(offset - start)) == str(tail)

    def _begin_anew(self) -> None:
        """The open file was truncated or written anew in place: start at its beginning. Raises OSError while there is no first line."""
        if not self._open_path(self.path, 0):
            self.close()
            self._resumed = False
            raise OSError("no first line yet")

    def _next_file(self, records: List[Record]) -> bool:
        """Go on with the file that came after this one, when this one is read to its end: one that was rotated as well, or the path's own."""
        assert self._file is not None
        try:
            there: Optional[os.stat_result] = os.stat(self.path)
        except OSError:
            there = None
        if there is not None and (there.st_dev, there.st_ino) == self._place:
            return False
        here = os.fstat(self._file.fileno())
        rotated = self._rotated_since(here)
        if there is None and not rotated:
            return False
        while self._read(records, LINE_LIMIT, True):    # its writer has moved on: the last line is whole
            pass
        return any(self._open_path(path, 0, final=True) for path in rotated) or (there is not None and self._open_path(self.path, 0))

    def _rotated_since(self, here: Optional[os.stat_result]) -> List[str]:
        """Logs that were begun after the open one (None: ever) and have been rotated away since, oldest first."""
        done = set(self._state.get("done") or [])
        found = []
        now = os.path.realpath(self.path)
        for path, status in _stats(self._siblings()):
            place = (status.st_dev, status.st_ino)
            if not _ROTATED.search(path) or os.path.realpath(path) == now or not stat.S_ISREG(status.st_mode) or not status.st_size:
                continue
            if here is not None and (place == (here.st_dev, here.st_ino) or status.st_mtime_ns < here.st_mtime_ns):
                continue
            if any(known.startswith("%d:%d:" % place) for known in done) and _identity_at(path) in done:
                continue    # read before the open one; its time is too coarse to tell
            found.append((status.st_mtime_ns, path))
        return [path for _, path in sorted(found)]

    def _read(self, records: List[Record], want: int, final: bool) -> int:
        """Read complete lines from the offset on; return how many bytes were taken (0: nothing more now)."""
        tail, block = self._read_from(int(self._state["offset"]), want)
        end = block.rfind(b"\n") + 1
        while not end and not self._at_end and want < LINE_LIMIT:
            want = min(want * 2, LINE_LIMIT)
            tail, block = self._read_from(int(self._state["offset"]), want)
            end = block.rfind(b"\n") + 1
        # Much that waits is read in large pieces, which is quicker; what comes now and then in small ones.
        self._want = max(want // 2, READ_BYTES) if self._at_end else min(want * 2, LINE_LIMIT)
        if not end and (final or len(block) >= LINE_LIMIT):
            end = len(block)
        if not end:
            return 0
        if end < len(block):
            block = block[:end]
        newlines = self._parse(block, int(self._state["offset"]), records)
        self._state = dict(self._state, offset=int(self._state["offset"]) + end, tail=_digest((tail + block[-TAIL_BYTES:])[-TAIL_BYTES:]),
                           line=int(self._state["line"]) + newlines)
        return end

    def _read_from(self, offset: int, want: int) -> Tuple[bytes, bytes]:
        """(the last bytes before the offset, those behind it) of the file, or of the one that is written in its place: then the offset is 0.

        Notes whether there were fewer than wanted.
        """
        assert self._file is not None
        back = min(offset, TAIL_BYTES)
        self._file.seek(offset - back)
        data = self._file.read(want + back)    # of a file, fewer only at its end
        if len(data) < back or (back and self._state.get("tail") and _digest(data[:back]) != self._state["tail"]):
            self._begin_anew()
            return self._read_from(0, want)
        self._at_end = len(data) < want + back
        return data[:back], data[back:]

    def _parse(self, block: bytes, base: int, records: List[Record]) -> int:
        """Put the records of the block into ``records``; return how many newlines are in it."""
        memory = _copied(self._state["memory"])    # ours: the state that was handed out stays
        self._storm = dict(self._state["storm"])
        self._spent = _spent(self._storm)
        spans = self._known_spans(block, base)
        found = reading.read_block(block, self._scanner if spans is not None else self._fitting_scanner(block), memory, spans=spans, admit=lambda rule, offset: self._admits(rule, base + offset),
                                   spent=lambda offset: self._spent_at(base + offset))
        self._state["memory"] = memory
        self._state["storm"] = self._storm
        count: Dict[Tuple[int, str], int] = {}
        for one in found:
            if one.kind not in SHIPPED or (one.kind in ("iteration", "checkpoint") and one.data["iteration"] is None):
                continue
            data = one.data
            named = one.place if one.kind != "fault" else data
            for field in ("rank", "local_rank"):
                known = self.place.get(field)
                data[field] = known if known is not None else named.get(field)
            if one.kind == "fault":
                for field in ("device", "pid"):
                    data[field] = data[field] if data[field] is not None else self.place.get(field)
            if data.get("time") is not None and data["time"].startswith("--"):
                data["time"] = times.dated(data["time"], self._day())
            offset = base + one.offset
            data.update(job=self.place.get("job"), attempt=self.place.get("attempt"), round=self.place.get("round"),
                        file=self.path, file_id=self._state["file_id"], offset=offset, line=int(self._state["line"]) + one.line + 1)
            index = count.get((offset, one.kind), 0)
            count[(offset, one.kind)] = index + 1
            key = "%s:%d:%s%s" % (self._state["file_id"], offset, one.kind, ":%d" % index if index else "")
            records.append({"kind": one.kind, "key": key, "data": data, "v": one.version})
        last = found[-1] if found and found[-1].offset >= 0 else None    # those before it are counted
        return last.line + block.count(b"\n", last.offset) if last else block.count(b"\n")

    def _day(self) -> Optional[times.Day]:
        """The day of the last line in the file, by the node's clock."""
        assert self._file is not None
        return time.localtime(os.fstat(self._file.fileno()).st_mtime)[:3]

    def _fitting_scanner(self, block: bytes) -> scan.Scanner:
        """The scanner, once planned anew for this file where much of it is read at a time."""
        if not self._tuned and len(block) >= _SAMPLE_BYTES and self.behind_bytes >= TUNED_FROM_BYTES:
            self._tuned = True
            self._scanner = self._scanner.tuned(block)
        return self._scanner

    def _known_spans(self, block: bytes, base: int) -> Optional[List[Tuple[int, int]]]:
        """Where grep says the block's lines of interest are, when a great deal is waiting to be read; else None."""
        if self._backlog is None and self._file is not None and not self._at_end and not self._no_grep and self.behind_bytes >= backlog.LEAST_BYTES:
            self._backlog = backlog.Backlog.begin(self._file, base, os.fstat(self._file.fileno()).st_size, self._scanner.stubs(block))
            self._no_grep = self._backlog is None
        if self._backlog is None:
            return None
        spans = self._backlog.spans(base, base + len(block))
        if spans is None or sum(end - start for start, end in spans) > len(block) // 4:    # grep is no help with such a log
            self._leave_backlog()
            return None if spans is None else [(start - base, end - base) for start, end in spans]
        return [(start - base, end - base) for start, end in spans]

    def _leave_backlog(self) -> None:
        if self._backlog is not None:
            self._backlog.close()
            self._backlog = None
            self._no_grep = True    # what comes now is little, or grep does not serve here

    def _admits(self, rule: str, offset: int) -> bool:
        self._turn_window(offset)
        storm = self._storm
        seen, total = storm.get(rule, 0), storm.get(TOTAL, 0)
        limit = STORM_LIMIT if total < STORM_TOTAL else STORM_SCARCE
        storm[rule] = seen + 1
        if seen < limit:
            storm[TOTAL] = total + 1
        if seen + 1 >= limit or total + 1 == STORM_TOTAL:
            self._spent = _spent(storm)
        return bool(seen < limit)

    def _spent_at(self, offset: int) -> FrozenSet[str]:
        if self._storm.get(WINDOW) != offset // STORM_WINDOW_BYTES:
            self._turn_window(offset)
        return self._spent

    def _turn_window(self, offset: int) -> None:
        window = offset // STORM_WINDOW_BYTES
        if self._storm.get(WINDOW) != window:
            self._storm = {WINDOW: window}
            self._spent = frozenset()


def _spent(storm: Dict[str, int]) -> FrozenSet[str]:
    """The rules of which this stretch of the file has had enough: they need not even be looked for."""
    limit = STORM_LIMIT if storm.get(TOTAL, 0) < STORM_TOTAL else STORM_SCARCE
    return frozenset(rule for rule, seen in storm.items() if rule not in (WINDOW, TOTAL) and seen >= limit)


_SCANNER: List[scan.Scanner] = []


def _shared_scanner() -> scan.Scanner:
    if not _SCANNER:
        _SCANNER.append(scan.Scanner())
    return _SCANNER[0]


def _fresh(file_id: str) -> State:
    return {"file_id": file_id, "offset": 0, "line": 0, "tail": "", "storm": {}, "memory": {}, "boot": None, "real": "", "done": []}


def _copied(memory: Dict[str, Any]) -> Dict[str, Any]:
    return {name: _copied(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value for name, value in memory.items()}


_BOOT: List[str] = []


def _boot() -> str:
    if not _BOOT:
        _BOOT.append(processes.boot_id())
    return _BOOT[0]


def _stats(paths: Iterable[str]) -> Iterator[Tuple[str, os.stat_result]]:
    """The paths that lead to something, each file once, with its status."""
    seen = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield path, status


def _head(opened: IO[bytes], final: bool) -> Optional[str]:
    """The hash of the first line, or of the first HEAD_BYTES of a longer one; None until it is there."""
    opened.seek(0)
    head = _read_full(opened, HEAD_BYTES)
    newline = head.find(b"\n")
    if newline >= 0:
        head = head[:newline + 1]
    elif len(head) < HEAD_BYTES and not (final and head):
        return None
    return _digest(head)


def _identity_at(path: str) -> str:
    """The file id of what lies at a path; "" where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as opened:
            status = os.fstat(opened.fileno())
            return "%d:%d:%s" % (status.st_dev, status.st_ino, _head(opened, True))
    except OSError:
        return ""


def _digest(data: bytes) -> str:
    return digest.hex_of(data)[:12]


def _read_full(opened: IO[bytes], want: int) -> bytes:
    """Up to ``want`` bytes; short only at the end of the file."""
    parts: List[bytes] = []
    while want > 0:
        part = opened.read(want)
        if not part:
            break
        parts.append(part)
        want -= len(part)
    return b"".join(parts)


def _without_generation(file_id: str) -> str:
    return file_id.partition(".")[0]


def _generation(file_id: str) -> int:
    number = file_id.partition(".")[2]
    return int(number) if number.isdigit() else 0

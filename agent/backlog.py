"""A great backlog of log: where in it the lines of interest are, asked of the node's own grep.

Owns one grep over one stretch of an open file, read as fast as it is needed. Refuses to be needed: where
grep is not there, is another make, or ends badly, the answer is "look yourself", and what is found is the
same. On a machine with a second core the lines are found while the ones before are parsed.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
from typing import IO, Iterable, List, Optional, Tuple

LEAST_BYTES = 32 << 20
"""Starting grep costs some milliseconds: not worth it for less."""
MEMORY_BYTES = 512 << 20
"""grep holds a whole line: with more than this of address space it ends, and the agent reads on by itself."""
_CHUNK = 1 << 18
_HEAD = 32

Span = Tuple[int, int]


class Backlog:
    """The lines of ``file`` between two offsets that hold one of the texts. Close it."""

    def __init__(self, process: "subprocess.Popen[bytes]", start: int, end: int) -> None:
        self._process = process
        self._start, self._end = start, end
        self._waiting: List[Span] = []
        self._head, self._length = b"", 0
        self._done = False

    @classmethod
    def begin(cls, file: IO[bytes], start: int, end: int, texts: Iterable[bytes]) -> Optional["Backlog"]:
        """Start looking from ``start`` (the beginning of a line) on; None where there is no grep."""
        import shutil  # here, not above: it brings three compressors along, 1 MiB

        grep = shutil.which("grep")
        if grep is None:
            return None
        # An alternation is two to four times as fast in GNU grep as a list of fixed strings.
        pattern = b"|".join(re.sub(rb"([.\[\]{}()*+?^$|\\])", rb"\\\1", text) for text in sorted(set(texts)))
        try:
            # Opened anew: a duplicate would share the file's position with its reader.
            own = os.open("/proc/self/fd/%d" % file.fileno(), os.O_RDONLY)
        except OSError:
            return None
        try:
            os.lseek(own, start, os.SEEK_SET)
            process = subprocess.Popen([grep, "-abE", "-e", pattern], stdin=own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")}, start_new_session=True)
        except OSError:
            return None
        finally:
            os.close(own)
        try:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        except (OSError, ValueError, AttributeError):
            pass    # it runs without a limit
        return cls(process, start, end)

    def spans(self, start: int, end: int) -> Optional[List[Span]]:
        """The lines of interest within [start, end), both line boundaries, as offsets in the file; None: look yourself.

        To be asked for one stretch after the other; an answer is given once.
        """
        if start < self._start or end > self._end:
            return None
        while not self._done and not (self._waiting and self._waiting[-1][0] >= end):
            self._read()
        if self._done and self._process.returncode not in (0, 1):
            return None
        found = [span for span in self._waiting if start <= span[0] < end]
        self._waiting = [span for span in self._waiting if span[0] >= end]
        return found

    def close(self) -> None:
        """End grep."""
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._done = True

    def _read(self) -> None:
        assert self._process.stdout is not None
        chunk = os.read(self._process.stdout.fileno(), _CHUNK)
        if not chunk:
            self._process.wait()
            self._done = True
            return
        pieces = chunk.split(b"\n")
        for piece in pieces[:-1]:
            self._take(piece)
            colon = self._head.find(b":")
            if colon > 0 and self._head[:colon].isdigit():
                begin = self._start + int(self._head[:colon])
                self._waiting.append((begin, begin + self._length - colon - 1))
            self._head, self._length = b"", 0
        self._take(pieces[-1])

    def _take(self, piece: bytes) -> None:
        """Of a line, however long, its head and its length are kept."""
        if len(self._head) < _HEAD:
            self._head += piece[:_HEAD - len(self._head)]
        self._length += len(piece)

"""How far preprocessing is: a bar on a terminal, a line every so often elsewhere. On standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO

WIDTH = 30
REDRAW_S = 0.2


class Progress:
    """Counts bytes read of all that there are, and records written."""

    def __init__(self, total_bytes: int, stream: IO[str], *, every: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``every``: records between two lines where the stream is no terminal; 0: none."""
        self._total, self._stream, self._every, self._clock = max(1, total_bytes), stream, every, clock
        self._terminal = stream.isatty()
        self._began = self._drawn = clock()
        self._read, self.records, self._next = 0, 0, every

    def read(self, size: int) -> None:
        self._read += size

    def done(self, records: int) -> None:
        """So many more records are through."""
        self.records += records
        if self._terminal:
            if self._clock() - self._drawn >= REDRAW_S:
                self._draw()
        elif self._every and self.records >= self._next:
            self._next = self.records - self.records % self._every + self._every
            self._stream.write(self._text() + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line. The bar is drawn full once more."""
        self._read = self._total
        if self._terminal:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self) -> None:
        self._drawn = self._clock()
        full = min(WIDTH, WIDTH * self._read // self._total)
        self._stream.write(f"\r[{'#' * full}{'.' * (WIDTH - full)}] {self._text()}\033[K")
        self._stream.flush()

    def _text(self) -> str:
        pace = self.records / max(1e-3, self._clock() - self._began)
        return f"{min(100, 100 * self._read // self._total):3d}%  {self.records} records  {pace:.0f} records/s"

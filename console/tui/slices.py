"""Does a screen's longer work in slices, with the event loop let go between them, so that a key waits for one slice only.

A fleet of 1,024 NPUs and a log of 10,000 lines a second are 20 ms of work ten times a second; done in one go, every
fifth key would come into it. A slice ends at the first place after ``SLICE_S`` where the work can be left.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from textual.app import App

_T = TypeVar("_T")
SLICE_S = 0.001
PAUSE_S = 0.002
"""Long enough for a key to come all the way from the thread that reads the terminal to its paint."""
SWITCH_S = 0.0005
"""The interpreter's own 5 ms, twice on a key's way from thread to thread, are more than all the rest of that way."""
SWEEP_S = 0.2
"""A large fleet brings thousands of objects a second: a millisecond's sweep once a second, and next to nothing between."""
SWEEP_ALL_S = 900.0
QUIET_S = 20.0
"""Nobody is typing when so long no key has come."""
YOUNG = 50_000
"""Objects more than at the last sweep before the interpreter sweeps by itself."""


class Slices:
    """At most one piece of work at a time, on the message queue of ``app``: what is queued there before a slice goes first."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._work: Iterator[object] | None = None
        self._after: Iterator[object] | None = None

    @property
    def busy(self) -> bool:
        """Whether the work begun last is not done."""
        return self._work is not None

    def begin(self, work: Iterator[object]) -> None:
        """Do this: at once as far as a slice goes, and the rest later."""
        self._work = work
        self._go_on()

    def finish(self, work: Iterator[object]) -> None:
        """Do the rest of this when what is under way is done; in place of what was to be finished then so far."""
        if self._work is None:
            self._work = work
            self._leave()
        else:
            self._after = work

    def _leave(self) -> None:
        asyncio.get_running_loop().call_later(PAUSE_S, self._app.call_later, self._go_on)

    def _go_on(self) -> None:
        work, loop = self._work, asyncio.get_running_loop()
        if work is None:
            return
        end = loop.time() + SLICE_S
        try:
            for _ in work:
                if loop.time() >= end:
                    self._leave()
                    return
        except BaseException:
            self._work = self._after = None
            raise
        self._work, self._after = self._after, None
        if self._work is not None:
            self._leave()


def finished(work: Generator[None, None, _T]) -> _T:
    """What the work comes to, done in one go."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class Sweeper:
    """Collects garbage in small pieces: a full collection over a fleet's history stands for 0.2 s, in the middle of a key.

    What has outlived a sweep is looked at no more (``gc.freeze``), until once in a quarter of an hour, when nobody is typing.
    """

    def __init__(self, mono_s: float) -> None:
        self._swept = self._swept_all = mono_s

    def look(self, mono_s: float, pressed_s: float) -> None:
        """Sweep when it is time. ``pressed_s``: when the last key came, on the same clock."""
        if mono_s - self._swept < SWEEP_S:
            return
        self._swept = mono_s
        if mono_s - self._swept_all >= SWEEP_ALL_S and mono_s - pressed_s >= QUIET_S:
            self._swept_all = mono_s
            gc.unfreeze()
            gc.collect()
        else:
            gc.collect(0)  # all that is not frozen is new
        gc.freeze()


@contextmanager
def at_hand() -> Iterator[None]:
    """Let the interpreter answer keys quickly meanwhile: short turns of its threads, and no sweeping of its own."""
    switch_s, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(YOUNG, *threshold[1:])
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*threshold)
        gc.unfreeze()

"""The resident's one loop (sockets, timers, calls from threads) and the threads that may hang in its stead.

Owns waiting. Refuses work: whatever can block (a network file system, a tool, a scan of /proc) is done in
a ``Lane``, a worker thread with a short queue, and its result comes back as a call on the loop. A lane
that hangs costs what it was asked for, nothing else.
"""

from __future__ import annotations

import collections
import functools
import heapq
import itertools
import os
import queue
import selectors
import socket
import threading
import time
from typing import Any, Callable


class Loop:
    """Sockets, timers and posted calls of one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self.wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self.wake_write, False)
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._timers: list[tuple[float, int, float, Callable[[], None]]] = []
        self._order = itertools.count()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    def post(self, call: Callable[[], None]) -> None:
        """Have a call made on the loop. From any thread."""
        self._posted.append(call)
        self.wake()

    def wake(self) -> None:
        """End the loop's waiting. From any thread or signal handler."""
        try:
            os.write(self.wake_write, b"\0")
        except (BlockingIOError, OSError):
            pass  # the pipe is full of wake-ups already

    def every(self, period_s: float, call: Callable[[], None]) -> None:
        """Have a call made every ``period_s`` seconds, the first time at once."""
        heapq.heappush(self._timers, (time.monotonic(), next(self._order), period_s, call))

    def watch(self, link: socket.socket, read: bool, write: bool, call: Callable[[int], None]) -> None:
        """Have ``call(mask)`` made when the socket is ready; with neither wish, no longer."""
        wish = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        try:
            known = self._selector.get_key(link)
        except KeyError:
            if wish:
                self._selector.register(link, wish, call)
            return
        if not wish:
            self._selector.unregister(link)
        elif known.events != wish or known.data is not call:
            self._selector.modify(link, wish, call)

    def step(self, longest_s: float = 1.0) -> None:
        """Wait for something, at most ``longest_s``, and do what is due."""
        now = time.monotonic()
        wait = longest_s if not self._timers else min(longest_s, max(0.0, self._timers[0][0] - now))
        for key, mask in self._selector.select(0 if self._posted else wait):
            if key.data is not None:
                key.data(mask)
            else:
                try:
                    os.read(self._wake_read, 4096)
                except BlockingIOError:
                    pass
        for _ in range(len(self._posted)):
            self._posted.popleft()()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, period_s, call = heapq.heappop(self._timers)
            heapq.heappush(self._timers, (now + period_s, next(self._order), period_s, call))
            call()


class LaneFull(Exception):
    """The lane has too much to do; its earlier work hangs or is slow."""


class Lane:
    """Worker threads with one queue. ``then(result, error)`` is called on the loop when a piece of work ends."""

    def __init__(self, loop: Loop, name: str, threads: int = 1, limit: int = 64) -> None:
        self._loop, self._name, self._left, self._limit = loop, name, threads, limit
        self._queue: queue.Queue[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]]] = queue.Queue()
        self.pending = 0

    def do(self, work: Callable[[], Any], then: Callable[[Any, Exception | None], None]) -> None:
        """Queue a piece of work. On the loop only. Raises LaneFull."""
        if self.pending >= self._limit:
            raise LaneFull(self._name)
        self.pending += 1
        self._queue.put((work, then))
        if self._left and self.pending > 0:
            self._left -= 1
            # A daemon: a thread that hangs in a dead file system must not keep the process from ending.
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            work, then = self._queue.get()
            result: Any = None
            failure: Exception | None = None
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  # the edge of the agent: it becomes an answer or a line in its log
                failure = error
            self._loop.post(functools.partial(self._end, then, result, failure))

    def _end(self, then: Callable[[Any, Exception | None], None], result: Any, failure: Exception | None) -> None:
        self.pending -= 1
        then(result, failure)

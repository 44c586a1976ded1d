"""Jump connections shared between nodes: opened once, kept while someone uses them, closed with the last.

A bastion limits how many unauthenticated connections it takes (MaxStartups), so 128 nodes behind it share
one connection. Sharing must not make one node's trouble another's: whoever waits for a connection that is
being opened waits no longer than its own time limit, a failure is told to all who waited, and a
connection that looks dead is given up by the pool (``discard``) while those on it find out for themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Protocol

from console.core.errors import ConnectError


class Closable(Protocol):
    """What the pool holds."""

    def alive(self) -> bool:
        """False when it is known to be closed; true proves nothing."""

    def close(self) -> None:
        """Hang up."""


class _Entry:
    """One connection of the pool, or the attempt to open it."""

    __slots__ = ("error", "held", "ready", "users")

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.held: Closable | None = None
        self.error: ConnectError | None = None
        self.users = 0


class Lease:
    """The right to use a shared connection until ``release``."""

    def __init__(self, pool: JumpPool, key: Hashable, entry: _Entry, held: Closable) -> None:
        self._pool, self._key, self._entry = pool, key, entry
        self._released = False
        self.held = held

    def release(self) -> None:
        """No longer needed; the last one to say so closes the connection. Safe to call twice."""
        if not self._released:
            self._released = True
            self._pool._release(self._key, self._entry)

    def discard(self) -> None:
        """It looks dead: nobody new shall get it. Those who have it keep it."""
        self._pool._forget(self._key, self._entry)


class JumpPool:
    """Connections by key. Thread-safe; opening happens outside its lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def take(self, key: Hashable, open_it: Callable[[], Closable], timeout_s: float) -> Lease:
        """The connection of that key, opened by ``open_it`` when there is none.

        Raises what ``open_it`` raises (ConnectError), or ConnectError when another thread's opening takes
        longer than ``timeout_s``.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.held is not None and not entry.held.alive():
                entry = None
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = _Entry()
            entry.users += 1
        if mine:
            self._open(key, entry, open_it)
        elif not entry.ready.wait(timeout_s):
            self._release(key, entry)
            raise ConnectError("the jump host did not let us in in time", got=f"nothing in {timeout_s:.0f} s",
                               fix="It is tried again; look at the jump host.")
        if entry.error is not None or entry.held is None:
            self._release(key, entry)
            raise entry.error or ConnectError("the jump host could not be reached")
        return Lease(self, key, entry, entry.held)

    def _open(self, key: Hashable, entry: _Entry, open_it: Callable[[], Closable]) -> None:
        try:
            entry.held = open_it()
        except ConnectError as error:
            entry.error = error
            self._forget(key, entry)
        except BaseException:
            self._forget(key, entry)
            raise
        finally:
            entry.ready.set()

    def _forget(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                del self._entries[key]

    def _release(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            last = entry.users == 0
            if last and self._entries.get(key) is entry:
                del self._entries[key]
        if last and entry.held is not None:
            entry.held.close()

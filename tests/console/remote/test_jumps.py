"""Sharing a connection without sharing its troubles."""

from __future__ import annotations

import threading

import pytest

from console.core.errors import ConnectError
from console.remote.jumps import JumpPool
from tests.console.remote.fakes import until


class Held:
    def __init__(self) -> None:
        self.closed = 0
        self.dead = False

    def alive(self) -> bool:
        return not self.dead

    def close(self) -> None:
        self.closed += 1


def test_one_connection_for_all_closed_with_the_last() -> None:
    pool, held, opened = JumpPool(), Held(), []

    def open_it() -> Held:
        opened.append(1)
        return held

    first, second = pool.take("k", open_it, 1.0), pool.take("k", open_it, 1.0)
    assert len(opened) == 1
    first.release()
    first.release()
    assert held.closed == 0
    second.release()
    assert held.closed == 1
    pool.take("k", open_it, 1.0)
    assert len(opened) == 2


def test_who_waits_for_a_slow_opening_waits_no_longer_than_his_own_limit() -> None:
    pool, go, held = JumpPool(), threading.Event(), Held()
    leases = []

    def slow() -> Held:
        go.wait(10)
        return held

    opening = threading.Thread(target=lambda: leases.append(pool.take("k", slow, 10.0)))
    opening.start()
    until(lambda: pool._entries)
    with pytest.raises(ConnectError, match="in time"):
        pool.take("k", slow, 0.05)
    go.set()
    opening.join(10)
    leases[0].release()
    assert held.closed == 1


def test_a_failure_is_told_to_all_who_waited_and_forgotten() -> None:
    pool, go = JumpPool(), threading.Event()
    failures = []

    def failing() -> Held:
        go.wait(10)
        raise ConnectError("no")

    def take() -> None:
        try:
            pool.take("k", failing, 10.0)
        except ConnectError as error:
            failures.append(error)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: pool._entries and next(iter(pool._entries.values())).users == 4)
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(failures) == 4
    assert pool.take("k", Held, 1.0).held.alive()


def test_a_dead_or_discarded_connection_goes_to_nobody_new_and_is_still_closed() -> None:
    pool = JumpPool()
    first = pool.take("k", Held, 1.0)
    first.discard()
    second = pool.take("k", Held, 1.0)
    assert second.held is not first.held
    second.held.dead = True  # type: ignore[attr-defined]
    third = pool.take("k", Held, 1.0)
    assert third.held is not second.held
    for lease in (first, second, third):
        lease.release()
        assert lease.held.closed == 1  # type: ignore[attr-defined]

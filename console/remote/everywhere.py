"""The same thing done on many nodes at once, and what failed where. Refuses to judge a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from console.core.errors import ConsoleError

PARALLEL = 32

Thing = TypeVar("Thing")


def each(things: Mapping[str, Thing], do: Callable[[Thing], object]) -> dict[str, ConsoleError]:
    """Do it for all at once, ``PARALLEL`` of them; what failed, by name, in the order of ``things``. Waits for all of them.

    Raises what ``do`` raises that is no ConsoleError.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(PARALLEL, len(things))), thread_name_prefix="each") as pool:
        running = {name: pool.submit(do, thing) for name, thing in things.items()}
    failed = {}
    for name, done in running.items():
        error = done.exception()
        if isinstance(error, ConsoleError):
            failed[name] = error
        elif error is not None:
            raise error
    return failed

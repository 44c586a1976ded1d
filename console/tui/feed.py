"""What the screen needs from the store, and nothing more: ``store.Store`` satisfies it, tests use a fake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from console.core.events import Answer, News
from console.core.fleet.state import FleetState


class LogTail(Protocol):
    """The newest lines of one followed log."""

    @property
    def lines(self) -> Sequence[str]:
        """The lines kept, oldest first. Raw: whoever draws them makes them harmless."""

    @property
    def dropped(self) -> int:
        """How many lines were pushed out at the top so far; ``dropped + i`` numbers line i for good."""

    @property
    def generation(self) -> int:
        """Rises with every change."""


class Feed(Protocol):
    """The store, as the screen sees it. All of it is called from the drawing thread alone."""

    @property
    def state(self) -> FleetState:
        """The newest state; drawn from only until the next ``drain``."""

    @property
    def logs(self) -> Mapping[tuple[str, str], LogTail]:
        """(node, path) -> what came of a ``FollowLog``."""

    def drain(self, most: int = 0) -> bool:
        """Fold in what arrived since the last call, about so many events of it (0: all); True when anything did. Never waits."""

    def answers(self) -> Sequence[Answer | News]:
        """What came of requests and errands since the last call; each is given once."""

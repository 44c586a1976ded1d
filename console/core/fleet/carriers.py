"""Which log carries the loss, for each start of a job: found from who prints it. Pure.

Most trainers print a step on one rank: the last (Megatron, MindSpeed), the first (LLaMA-Factory, verl), or in
the launcher's own output. Some print it on every rank, each with its own values. So the logs of one start are
ranked: one that prints losses before one that does not, a higher rank before a lower one, a rank before a
launcher. Of each step the value stands that the best log printed; another's counts only for steps the best
has not come to, so that the curve goes on when that log ends, and is put right when it was merely late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from console.core.fleet.standing import Place
from console.core.i18n import phrase

GIVEN_UP = 3
"""After so many steps that others printed and the best log did not, it is told as given up."""


@dataclass(slots=True, kw_only=True)
class Source:
    """One log of one start that prints iterations."""

    node: str
    file: str
    rank: int | None = None
    has_loss: bool = False
    last: int = -1
    """The iteration it printed last."""

    @property
    def worth(self) -> tuple[bool, int, str, str]:
        """The best has the greatest. Among launchers names decide, so that the order of arrival does not."""
        return self.has_loss, -1 if self.rank is None else self.rank, self.node, self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLog:
    """The log whose losses the curve shows now."""

    node: str
    file: str
    rank: int | None
    why: str


class Carriers:
    """The logs of every start, best first. Grows in place."""

    __slots__ = ("_ahead", "_sources")

    def __init__(self) -> None:
        self._sources: dict[Place, list[Source]] = {}
        # Of a start: the furthest step that the best log has not printed, and how many there were.
        self._ahead: dict[Place, tuple[int, int]] = {}

    def admit(self, place: Place, node: str, file: str, rank: int | None, iteration: int, has_loss: bool) -> bool:
        """Take note of a printed step; whether its values are the ones that stand."""
        sources = self._sources.setdefault(place, [])
        own = next((source for source in sources if source.file == file and source.node == node), None)
        fresh = own is None
        if own is None:
            own = Source(node=node, file=file)
            sources.append(own)
        own.last = iteration
        if fresh or (has_loss and not own.has_loss) or (rank is not None and rank != own.rank):
            own.has_loss, own.rank = own.has_loss or has_loss, own.rank if rank is None else rank
            sources.sort(key=lambda source: source.worth, reverse=True)
        if sources[0] is own:
            self._ahead.pop(place, None)
            return True
        for better in sources:
            if better is own:
                break
            if better.last >= iteration:
                return False
        furthest, count = self._ahead.get(place, (sources[0].last, 0))
        if iteration > furthest:
            self._ahead[place] = (iteration, count + 1)
        return True

    def is_crowded(self, place: Place) -> bool:
        """Whether more than one log of a start prints iterations."""
        return len(self._sources.get(place, ())) > 1

    def order(self, place: Place, node: str, file: str) -> int:
        """Which of a start's logs this is, the best 0."""
        return next((at for at, source in enumerate(self._sources.get(place, ())) if source.file == file and source.node == node), 1 << 30)

    def loss_log(self, place: Place) -> LossLog | None:
        """The log that carries the loss of a start now, and why it is that one; None before one has printed any."""
        sources = self._sources.get(place, [])
        if not sources:
            return None
        best, (furthest, count) = sources[0], self._ahead.get(place, (0, 0))
        if count >= GIVEN_UP:
            now = next((source for source in sources[1:] if source.last >= furthest), sources[1])
            return LossLog(node=now.node, file=now.file, rank=now.rank, why=phrase("{log} has printed nothing since iteration {n}", log=_named(best), n=best.last))
        why = phrase("no other log prints iterations") if len(sources) == 1 else phrase("the highest rank of {n} logs that print iterations", n=len(sources))
        return LossLog(node=best.node, file=best.file, rank=best.rank, why=why)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Carriers) and self._sources == other._sources and self._ahead == other._ahead

    __hash__ = None  # type: ignore[assignment]  # it grows


def _named(source: Source) -> str:
    return phrase("{node}'s launcher", node=source.node) if source.rank is None else f"rank {source.rank}"

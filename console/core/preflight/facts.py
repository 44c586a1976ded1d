"""What is known of every node when preflight judges, and why something is not. Pure.

A node's ``parts`` are the agent's answer to ``check_facts`` (``agent.facts``); what is not there has its
reason in ``absent``. ``Case`` is everything that checks may look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from console.core.launch.inventory import Node
from trainer.spec.job import JobSpec

Level = Literal["quick", "standard", "deep"]
LEVELS: tuple[Level, ...] = ("quick", "standard", "deep")

REASONS = {"missing": "it is not on the node", "denied": "the login user may not (root is needed on most hosts)", "timeout": "no answer in time",
           "unparseable": "its output could not be read", "unsupported": "this node does not offer it", "error": "asking for it failed"}
"""agent.wire.ABSENT_REASONS in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node as it answered, or why it did not."""

    node: Node
    reached: bool = True
    why: str = ""
    """Why it was not reached, as one sentence."""
    fix: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    took_s: float | None = None
    clock_offset_s: float | None = None
    """Node's clock minus the console's."""
    clock_error_s: float = 0.0

    @property
    def name(self) -> str:
        return self.node.name

    def part(self, name: str) -> Mapping[str, Any]:
        """A part; empty when it is absent."""
        found = self.parts.get(name)
        return found if isinstance(found, Mapping) else {}

    def lacks(self, name: str) -> str:
        """Why a part is absent, one of agent.wire.ABSENT_REASONS; "" when it is there."""
        return "" if isinstance(self.parts.get(name), Mapping) else self.absent.get(name, "missing")

    @property
    def sample(self) -> Mapping[str, Any]:
        """The NPU sample; empty when there is none."""
        found = self.part("npu").get("sample")
        return found if isinstance(found, Mapping) else {}

    def devices(self) -> list[dict[str, Any]]:
        """The sample's devices, one mapping each."""
        return rows(self.sample.get("columns"))

    def path(self, path: str) -> Mapping[str, Any]:
        """What is known of a path that was asked for; empty when nothing is."""
        return self.part(f"path:{path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One directory's nonce: who wrote it, and who read what was written."""

    dir: str
    writer: str
    written: bool
    why: str = ""
    """Why it could not be written."""
    readers: Mapping[str, str] = field(default_factory=dict)
    """Node -> "seen", "not there", or why it could not be looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All there is to judge. ``nodes`` in the order of the job, else of the fleet file."""

    nodes: tuple[NodeFacts, ...]
    level: Level = "standard"
    job: JobSpec | None = None
    proofs: tuple[Proof, ...] = ()
    pings: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    """Node -> its pings ({device, address, sent, received, why})."""
    speeds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Node -> {mb, seconds, mb_s}, or {why}."""
    saved: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Directory -> what the first node that answered says is saved there (the wire's ``checkpoints``), or {why}."""

    @property
    def reached(self) -> Iterator[NodeFacts]:
        """Nodes that answered."""
        return (node for node in self.nodes if node.reached)

    @property
    def uses_npus(self) -> bool:
        """Whether NPUs matter here: without a job they do."""
        return self.job is None or (self.job.fleet.hardware != "cpu" and self.job.container.device_access != "none")

    @property
    def engine(self) -> str:
        """The container engine that the job needs; "" for none."""
        return self.job.container.runtime if self.job and self.job.container.runtime != "process" else ""


def rows(columns: object) -> list[dict[str, Any]]:
    """Columns as a list of rows; ragged or missing columns give no rows."""
    if not isinstance(columns, Mapping) or not columns:
        return []
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        return []
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

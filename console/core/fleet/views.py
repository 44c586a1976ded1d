"""What a fleet looks like at a moment: ``FleetState`` and now in, rows, cells and badges out. Pure.

Judging lives here (how old is stale, which health is alarming); drawing does not: a row carries plain
values, texts and a tone, never a colour or a width. What concerns one job is in ``run_views``.

A badge always has a glyph of its own beside its tone, so that no status is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, Literal, TypeAlias

from console.core.fleet.state import AttemptState, FleetState, NodeState, Taken
from console.core.records import dataclass

Tone: TypeAlias = Literal["good", "warn", "bad", "stale", "off", "busy", "plain"]
"""good: as it should be; warn: look at it; bad: act; stale: too old to trust; off: not in use, not known;
busy: on its way; plain: no judgement."""

STALE_AFTER_S = 15.0
"""A sample older than this is not trusted. One look at eight 910B3 with several npu-smi commands was
measured at 5.4 s (nvitop pull request 227); this allows for two of them and a slow link."""
LOST_AFTER_S = 60.0
"""A sample older than this counts for nothing: the node is as good as gone."""
HBM_TIGHT_PCT = 95.0
"""Above this an allocation is likely to fail; CANN's allocator holds back about 3 % for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A status: one character, one or two words, and a tone."""

    glyph: str
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One NPU at a glance. None: not known."""

    device: int
    """Place on the node, from 0, in the order of npu-smi."""
    health: Badge
    aicore_pct: float | None = None
    hbm_pct: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    rank: int | None = None
    """Of the newest round of the newest attempt, when that rank's process holds this NPU."""
    held: bool = False
    """Whether any process holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node at a glance."""

    name: str
    link: Badge
    rtt_s: float | None
    age_s: float | None
    """Since the NPUs were looked at; None: never."""
    age: Badge
    """The age as text, with what it means."""
    cells: tuple[Cell, ...]
    note: str
    """Why there is nothing to show, or what else to know; empty when all is well."""
    cpu_pct: float | None = None
    memory_pct: float | None = None
    disk_pct: float | None = None
    shm_pct: float | None = None
    load1: float | None = None
    cores: int | None = None
    job: str = ""
    """State of the newest attempt on this node, empty when it takes no part."""
    ranks: tuple[int, ...] = ()
    waiting: int = 0
    dropped: int = 0
    """Records its spool had to drop for want of room."""

    @property
    def trusted(self) -> bool:
        """Whether its numbers may be read as the present."""
        return self.link.tone == "good" and self.age.tone == "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSummary:
    """Counts for the top line. ``npus`` counts those last seen on every node, trusted or not."""

    nodes: int
    up: int
    unknown: int
    """Nodes of whose link nothing is known, as at a moment of which no readings are kept."""
    trouble: int
    """Nodes whose link is not up or whose data are stale."""
    npus: int
    npus_good: int
    npus_warn: int
    npus_bad: int


_LINKS: Mapping[str, Badge] = {
    "up": Badge(glyph="●", text="up", tone="good"),
    "connecting": Badge(glyph="◌", text="connecting", tone="busy"),
    "silent": Badge(glyph="◐", text="silent", tone="warn"),
    "down": Badge(glyph="✗", text="down", tone="bad"),
    "refused": Badge(glyph="⊘", text="refused", tone="bad"),
}

# npu-smi prints exactly these (npu_info_print.c of hicann/driver).
_HEALTH: Mapping[str, Badge] = {
    "OK": Badge(glyph="✓", text="OK", tone="good"),
    "WARNING": Badge(glyph="!", text="Warning", tone="warn"),
    "ALARM": Badge(glyph="✗", text="Alarm", tone="bad"),
    "CRITICAL": Badge(glyph="✗", text="Critical", tone="bad"),
}
_UNKNOWN = Badge(glyph="?", text="unknown", tone="off")


def age_text(seconds: float) -> str:
    """An age in at most four characters: 7s, 12m, 3h, 5d, of each unit two at least: 1m would look younger than 97s. Below zero (clocks differ) reads 0s."""
    seconds = max(0.0, seconds)
    for limit, unit, size in ((120, "s", 1), (120 * 60, "m", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds // size)}{unit}"
    return f"{min(999, int(seconds // 86400))}d"


def duration_text(seconds: float | None) -> str:
    """A duration with two units at most: 1.2s, 45s, 3m20s, 2h05m, 3d04h. None and infinities read "-"."""
    if seconds is None or not isfinite(seconds):
        return "-"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def bytes_text(count: float | None) -> str:
    """A size in binary units with three digits: 512B, 1.25KiB, 38.1GiB. None reads "-"."""
    if count is None:
        return "-"
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(count) < 1000 or unit == "PiB":
            break
        count /= 1024
    return f"{count:.0f}B" if unit == "B" else f"{count:#.3g}".rstrip(".") + unit


def value_text(value: float | None, digits: int = 4) -> str:
    """A measured value with ``digits`` significant digits (whole numbers below a million keep all of theirs);
    nan and inf by name; None reads "-"."""
    if value is None:
        return "-"
    if not isfinite(value):
        return str(value)
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.{max(0, digits - 2)}e}".replace("e-0", "e-").replace("e+0", "e+")
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:#.{digits}g}".rstrip(".")


def spans_text(numbers: Sequence[int]) -> str:
    """Whole numbers as ranges: 0-7,12,14-15."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)


def sample_age_s(node: NodeState, taken: Taken, now: float) -> float:
    """How long ago a reading was taken, by the node's clock where its offset is known.

    The time of arrival would flatter what was fetched late: after a cut link an old sample arrives now.
    """
    if node.met is not None:
        return max(0.0, now - (taken.time - node.met.clock_offset_s))
    return max(0.0, now - taken.at)


def link_badge(node: NodeState) -> Badge:
    """The state of the connection."""
    return _LINKS.get(node.link, _UNKNOWN)


def health_badge(value: Any) -> Badge:
    """An npu-smi health word. Anything unheard of is unknown, never healthy."""
    if value is None:
        return _UNKNOWN
    return _HEALTH.get(str(value).upper(), Badge(glyph="?", text=str(value), tone="off"))


def age_badge(age_s: float | None) -> Badge:
    """What the age of a sample says about it."""
    if age_s is None:
        return Badge(glyph="-", text="-", tone="off")
    if age_s > LOST_AFTER_S:
        return Badge(glyph="✗", text=age_text(age_s), tone="bad")
    if age_s > STALE_AFTER_S:
        return Badge(glyph="~", text=age_text(age_s), tone="stale")
    return Badge(glyph=" ", text=age_text(age_s), tone="good")


def node_rows(state: FleetState, now: float) -> tuple[NodeRow, ...]:
    """Every node, in the order of their names (numbers in names count as numbers)."""
    return tuple(each_row(state, now))


def each_row(state: FleetState, now: float) -> Iterator[NodeRow]:
    """``node_rows`` one by one: a thousand NPUs that are all new take milliseconds."""
    attempt = state.current.latest if state.current else None
    places: dict[str, dict[int, int]] = {}
    if attempt is not None and attempt.ranks:
        for place in attempt.ranks[max(attempt.ranks)].values():
            places.setdefault(place.node, {})[place.pid] = place.rank
    for name in sorted(state.nodes, key=natural_key):
        yield _row(state.nodes[name], attempt, places.get(name, {}), now)


@lru_cache(maxsize=8192)
def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts node2 before node10."""
    parts: list[tuple[int, int | str]] = []
    digits = ""
    for character in name + "\0":
        if character.isascii() and character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, character))
    return tuple(parts)


def node_row(node: NodeState, attempt: AttemptState | None, now: float) -> NodeRow:
    """One node at ``now``; ``attempt`` is the one whose ranks and state are of interest."""
    places = {}
    if attempt is not None and attempt.ranks:
        places = {place.pid: place.rank for place in attempt.ranks[max(attempt.ranks)].values() if place.node == node.name}
    return _row(node, attempt, places, now)


def _row(node: NodeState, attempt: AttemptState | None, places: Mapping[int, int], now: float) -> NodeRow:
    age_s = None if node.sample is None else sample_age_s(node, node.sample, now)
    host = node.host.data if node.host is not None else {}
    return NodeRow(
        name=node.name, link=link_badge(node), rtt_s=node.rtt_s, age_s=age_s, age=age_badge(age_s),
        cells=() if node.sample is None else _cells(node.name, node.sample.data, places), note=_note(node),
        cpu_pct=host.get("cpu_pct"), memory_pct=_share(host, "memory"), disk_pct=_share(host, "disk"),
        shm_pct=_share(host, "shm"), load1=host.get("load1"), cores=host.get("cores"),
        job=attempt.node_states.get(node.name, "") if attempt is not None else "",
        ranks=tuple(sorted(places.values())), waiting=node.waiting, dropped=sum(node.gaps.values()))


_KEPT_CELLS = 4096
_made: dict[str, tuple[Mapping[str, Any], Mapping[int, int], tuple[Cell, ...]]] = {}


def _cells(name: str, sample: Mapping[str, Any], ranks: Mapping[int, int]) -> tuple[Cell, ...]:
    """``npu_cells``, made once for a sample: several panes and the top line show the same ones, until the next arrives."""
    known = _made.get(name)
    if known is not None and known[0] is sample and known[1] == ranks:
        return known[2]
    cells = npu_cells(sample, ranks)
    if len(_made) >= _KEPT_CELLS:
        _made.clear()
    _made[name] = (sample, ranks, cells)
    return cells


def npu_cells(sample: Mapping[str, Any], ranks: Mapping[int, int]) -> tuple[Cell, ...]:
    """The NPUs of one ``sample`` record. ``ranks``: pid -> rank."""
    columns = sample.get("columns") or {}
    count = max((len(column) for column in columns.values() if isinstance(column, list)), default=0)
    holders: dict[tuple[Any, Any], list[int]] = {}
    processes = sample.get("processes") or {}
    for npu_id, chip_id, pid in zip(*(processes.get(name) or () for name in ("npu_id", "chip_id", "pid")), strict=False):
        holders.setdefault((npu_id, chip_id), []).append(pid)

    def of(name: str) -> Sequence[Any]:
        column = columns.get(name) or ()
        return column if len(column) == count else [*column, *[None] * (count - len(column))]

    cells = []
    found = zip(range(count), of("npu_id"), of("chip_id"), of("health"), of("aicore_pct"), of("temperature_c"), of("power_w"),
                of("hbm_used_mb"), of("hbm_total_mb"), of("memory_used_mb"), of("memory_total_mb"), strict=True)
    for device, npu_id, chip_id, health, aicore, temperature, power, used, total, other_used, other_total in found:
        pids = holders.get((npu_id, chip_id), ()) if holders else ()
        if not total:  # chips without HBM (310P) report their DDR here
            used, total = other_used, other_total
        cells.append(Cell(
            device=device, health=_HEALTH.get(health) or health_badge(health), aicore_pct=aicore,
            hbm_pct=None if used is None or not total else 100.0 * used / total, temperature_c=temperature, power_w=power,
            rank=next((ranks[pid] for pid in pids if pid in ranks), None), held=bool(pids)))
    return tuple(cells)


def fleet_summary(rows: Sequence[NodeRow]) -> FleetSummary:
    """Counts over the rows of ``node_rows``."""
    tones = [cell.health.tone for row in rows for cell in row.cells]
    return FleetSummary(
        nodes=len(rows), up=sum(row.link.tone == "good" for row in rows), unknown=sum(row.link is _UNKNOWN for row in rows),
        trouble=sum(not row.trusted for row in rows if row.link.tone != "busy" and row.link is not _UNKNOWN),
        npus=len(tones), npus_good=tones.count("good"), npus_warn=tones.count("warn"), npus_bad=tones.count("bad"))


def _share(host: Mapping[str, Any], what: str) -> float | None:
    used, total = host.get(f"{what}_used_mb"), host.get(f"{what}_total_mb")
    return None if used is None or not total else 100.0 * used / total


def _note(node: NodeState) -> str:
    if node.link in ("down", "refused", "silent") and node.link_why:
        return node.link_why
    if node.sample is None:
        return "no sample yet" if node.link == "up" else ""
    data = node.sample.data
    if (data.get("absent") or {}).get("*"):
        return f"npu-smi: {data['absent']['*']}"
    for error in data.get("errors") or ():
        return f"npu-smi: {error.get('code')} {error.get('text') or ''}".rstrip() if isinstance(error, Mapping) else str(error)
    if data.get("complete") is False:
        return "npu-smi: table incomplete"
    return f"{node.waiting} records held back on the node" if node.waiting else ""

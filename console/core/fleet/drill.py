"""The way down from a job to a process: what is under a thing, what is known of it, all of it as a tree. Pure.

job > node > NPU > rank > process. A rank is the RANK its process had in the newest round of the newest
attempt; a process is what npu-smi shows holding an NPU, with or without a rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from console.core.fleet.happenings import fault_rows, signal_name
from console.core.fleet.run_views import job_view, loss_log, newest_round
from console.core.fleet.state import AttemptState, FleetState, NodeState, RankPlace
from console.core.fleet.views import (
    Cell,
    Tone,
    age_text,
    bytes_text,
    duration_text,
    natural_key,
    node_row,
    spans_text,
    value_text,
)
from console.core.i18n import phrase
from console.core.records import dataclass

Kind = Literal["job", "node", "npu", "rank", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to look at. Fields that do not apply to its kind are empty, -1 or None."""

    kind: Kind
    job: str = ""
    node: str = ""
    device: int = -1
    rank: int = -1
    pid: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """``name``: what; ``value``: its text; both in English. The screen says the names, and values that are phrases."""

    name: str
    value: str
    tone: Tone = "plain"


def title(target: Target) -> str:
    """One or two words."""
    return {"job": target.job, "node": target.node, "npu": f"NPU {target.device}", "rank": f"rank {target.rank}", "process": f"pid {target.pid}"}[target.kind]


def path_to(target: Target) -> tuple[Target, ...]:
    """The targets from the node (or job) down to this one."""
    if target.kind == "job":
        return (target,)
    found = [Target(kind="node", node=target.node)]
    if target.kind != "node" and target.device >= 0:
        found.append(Target(kind="npu", node=target.node, device=target.device))
    if target.kind == "rank" or (target.kind == "process" and target.rank >= 0):
        found.append(Target(kind="rank", node=target.node, device=target.device, rank=target.rank))
    if target.kind == "process":
        found.append(target)
    return tuple(found)


def under(state: FleetState, target: Target, now: float) -> tuple[Target, ...]:
    """What Enter offers below the target, in order."""
    attempt = state.current.latest if state.current is not None else None
    if target.kind == "job":
        run = state.runs.get(target.job)
        nodes = run.latest.node_states if run is not None and run.latest is not None else {}
        return tuple(Target(kind="node", node=name) for name in sorted(nodes, key=natural_key))
    node = state.nodes.get(target.node)
    if node is None or target.kind == "process":
        return ()
    cells = node_row(node, attempt, now).cells
    if target.kind == "node":
        found = [Target(kind="npu", node=target.node, device=cell.device) for cell in cells]
        ranks = [place.rank for place in _places(attempt, target.node)]
        shown = {cell.rank for cell in cells}
        return (*found, *(Target(kind="rank", node=target.node, rank=rank) for rank in sorted(ranks) if rank not in shown))
    if target.kind == "npu":
        cell = next((cell for cell in cells if cell.device == target.device), None)
        ranks = [cell.rank] if cell is not None and cell.rank is not None else []
        found = [Target(kind="rank", node=target.node, device=target.device, rank=rank) for rank in ranks]
        taken = {place.pid for place in _places(attempt, target.node)}
        return (*found, *(Target(kind="process", node=target.node, device=target.device, pid=pid)
                          for pid in _pids(node, target.device) if pid not in taken))
    place = _place(attempt, target)
    return () if place is None else (Target(kind="process", node=target.node, device=target.device, rank=target.rank, pid=place.pid),)


def facts(state: FleetState, target: Target, now: float) -> tuple[Fact, ...]:
    """What is known of it."""
    if target.kind == "job":
        return _job_facts(state, target.job, now)
    node = state.nodes.get(target.node)
    if node is None:
        return (Fact(name="node", value=phrase("not known at this moment"), tone="warn"),)
    attempt = state.current.latest if state.current is not None else None
    if target.kind == "node":
        return _node_facts(node, attempt, now)
    if target.kind == "npu":
        cell = next((cell for cell in node_row(node, attempt, now).cells if cell.device == target.device), None)
        return _npu_facts(node, target.device, cell, now)
    if target.kind == "rank":
        return _rank_facts(state, attempt, target)
    return _process_facts(node, attempt, target)


def tree(state: FleetState, now: float, root: Target | None = None) -> tuple[tuple[int, Target], ...]:
    """(depth, target) of everything below ``root`` (default: the current job and the nodes beside it), depth first."""
    if root is not None:
        return tuple(_walk(state, root, now, 0))
    found: list[tuple[int, Target]] = []
    members: set[str] = set()
    if state.current is not None:
        job = Target(kind="job", job=state.current.job)
        found += _walk(state, job, now, 0)
        members = {target.node for _, target in found if target.kind == "node"}
    for name in sorted(state.nodes, key=natural_key):
        if name not in members:
            found += _walk(state, Target(kind="node", node=name), now, 0)
    return tuple(found)


def _walk(state: FleetState, target: Target, now: float, depth: int) -> Iterator[tuple[int, Target]]:
    yield depth, target
    if depth < 6:
        for child in under(state, target, now):
            yield from _walk(state, child, now, depth + 1)


def _places(attempt: AttemptState | None, node: str) -> list[RankPlace]:
    if attempt is None or not attempt.ranks:
        return []
    return [place for place in attempt.ranks[max(attempt.ranks)].values() if place.node == node]


def _place(attempt: AttemptState | None, target: Target) -> RankPlace | None:
    return next((place for place in _places(attempt, target.node) if place.rank == target.rank), None)


def _processes(node: NodeState) -> Iterator[tuple[int, int | None, str, float | None]]:
    """(device, pid, name, memory MB) of every process on an NPU."""
    data = node.sample.data if node.sample is not None else {}
    columns, processes = data.get("columns") or {}, data.get("processes") or {}
    places = {key: at for at, key in enumerate(zip(columns.get("npu_id") or (), columns.get("chip_id") or (), strict=False))}
    count = len(processes.get("pid") or ())

    def of(name: str, at: int) -> object:
        column = processes.get(name) or ()
        return column[at] if at < len(column) else None

    for at in range(count):
        pid, memory = of("pid", at), of("memory_mb", at)
        yield (places.get((of("npu_id", at), of("chip_id", at)), -1), pid if isinstance(pid, int) else None, str(of("name", at) or "?"),
               memory if isinstance(memory, (int, float)) else None)


def _pids(node: NodeState, device: int) -> list[int]:
    return [pid for at, pid, _, _ in _processes(node) if at == device and pid is not None]


def _job_facts(state: FleetState, job: str, now: float) -> tuple[Fact, ...]:
    run = state.runs.get(job)
    if run is None:
        return (Fact(name="job", value=phrase("not known at this moment"), tone="warn"),)
    view = job_view(state, run, now)
    found = [Fact(name="state", value=phrase("{glyph} {word}", glyph=view.status.glyph, word=phrase(view.status.text)), tone=view.status.tone),
             Fact(name="attempt", value=f"{view.attempt} ({view.attempts})"), Fact(name="round", value=f"{view.round}"),
             Fact(name="iteration", value=f"{view.iteration or '-'}/{view.total or '-'}"), Fact(name="loss", value=value_text(view.loss, 6)),
             Fact(name="step time", value=duration_text(view.step_s)), Fact(name="left", value=duration_text(view.eta_s)),
             Fact(name="world size", value=f"{view.world_size or '-'}"), Fact(name="saved at", value=f"{view.saved_iteration or '-'}")]
    carrier = loss_log(run)
    if carrier is not None:
        found.append(Fact(name="loss from", value=phrase("{log} on {node}: {why}", log=phrase("launcher") if carrier.rank is None else f"rank {carrier.rank}", node=carrier.node, why=carrier.why)))
    if run.latest is not None:
        found += [Fact(name=phrase("directory on {node}", node=node), value=path) for node, path in sorted(run.latest.dirs.items())]
    return tuple(found)


def _node_facts(node: NodeState, attempt: AttemptState | None, now: float) -> tuple[Fact, ...]:
    row = node_row(node, attempt, now)
    found = [Fact(name="link", value=f"{row.link.glyph} {row.link.text}" + (f": {node.link_why}" if node.link_why else ""), tone=row.link.tone),
             Fact(name="round trip", value=duration_text(row.rtt_s) if row.rtt_s is None or row.rtt_s >= 1 else f"{row.rtt_s * 1000:.1f} ms"),
             Fact(name="NPUs seen", value=f"{row.age.text}", tone=row.age.tone)]
    if node.met is not None:
        found += [Fact(name="clock offset", value=f"{node.met.clock_offset_s * 1000:+.0f} ms ± {node.met.clock_error_s * 1000:.0f} ms",
                       tone="warn" if abs(node.met.clock_offset_s) > 1 else "plain"),
                  Fact(name="agent", value=phrase("{agent} revision {n}", agent=node.met.agent, n=node.met.revision)), Fact(name="boot", value=node.met.boot_id)]
    if node.sample is not None:
        data = node.sample.data
        found.append(Fact(name="driver", value=f"{data.get('driver_version') or '-'}, npu-smi {data.get('tool_version') or '-'}"))
    found += [Fact(name="cpu", value=_pct(row.cpu_pct)), Fact(name="load", value=phrase("{load} of {n} cores", load=value_text(row.load1, 3), n=row.cores or "-")),
              Fact(name="memory", value=_pct(row.memory_pct)), Fact(name="disk", value=_pct(row.disk_pct)), Fact(name="shm", value=_pct(row.shm_pct))]
    if row.job:
        found.append(Fact(name="attempt", value=phrase("{state}, ranks {r}", state=phrase(row.job), r=spans_text(row.ranks) or "-")))
    if row.waiting or row.dropped:
        found.append(Fact(name="records", value=phrase("{n} held back, {lost} dropped", n=row.waiting, lost=row.dropped), tone="warn"))
    if row.note:
        found.append(Fact(name="note", value=row.note, tone="warn"))
    return tuple(found)


def _npu_facts(node: NodeState, device: int, cell: Cell | None, now: float) -> tuple[Fact, ...]:
    if cell is None or node.sample is None:
        return (Fact(name="NPU", value=phrase("not seen at this moment"), tone="warn"),)
    columns = node.sample.data.get("columns") or {}
    found = [Fact(name="health", value=f"{cell.health.glyph} {cell.health.text}", tone=cell.health.tone), Fact(name="AICore", value=_pct(cell.aicore_pct)),
             Fact(name="HBM", value=_pct(cell.hbm_pct)), Fact(name="temperature", value="-" if cell.temperature_c is None else f"{cell.temperature_c:.0f} °C"),
             Fact(name="power", value="-" if cell.power_w is None else f"{cell.power_w:.1f} W"), Fact(name="seen", value=phrase("{age} ago", age=age_text(now - node.sample.at)))]
    shown = {"health", "aicore_pct", "temperature_c", "power_w"}
    for name, column in columns.items():  # whatever else the node's npu-smi tells, error codes and links among it
        value = column[device] if isinstance(column, list) and device < len(column) else None
        if name not in shown and value is not None:
            found.append(Fact(name=name.removesuffix("_mb"), value=bytes_text(value * 1024 * 1024) if name.endswith("_mb") and isinstance(value, (int, float)) else str(value)))
    absent = node.sample.data.get("absent") or {}
    found += [Fact(name=str(name), value=str(why), tone="stale") for name, why in absent.items()]
    return tuple(found)


def _rank_facts(state: FleetState, attempt: AttemptState | None, target: Target) -> tuple[Fact, ...]:
    place = _place(attempt, target)
    if attempt is None or place is None or state.current is None:
        return (Fact(name="rank", value=phrase("not known in the newest round"), tone="warn"),)
    number = newest_round(state.current, attempt)
    found = [Fact(name="attempt", value=attempt.attempt), Fact(name="round", value=f"{number}"), Fact(name="node", value=place.node),
             Fact(name="local rank", value=f"{place.local_rank}"), Fact(name="pid", value=f"{place.pid}"),
             Fact(name="log", value=f"{attempt.dirs.get(place.node, '')}/round-{number:02d}/local_rank-{place.local_rank}.log")]
    seen = attempt.exits.get((place.node, number, place.local_rank))
    if seen is not None:
        by, code = seen.data.get("signal"), seen.data.get("code")
        found.append(Fact(name="ended", value=signal_name(by) if by else phrase("exit {n}", n=code), tone="good" if code == 0 and not by else "bad"))
    for row in fault_rows(state, state.current)[:200]:
        if row.rank == target.rank and row.node == place.node:
            found.append(Fact(name=row.badge.text, value=phrase("{what} {text}", what=row.what, text=row.detail), tone=row.badge.tone))
    return tuple(found)


def _process_facts(node: NodeState, attempt: AttemptState | None, target: Target) -> tuple[Fact, ...]:
    shown = next(((device, name, memory) for device, pid, name, memory in _processes(node) if pid == target.pid), None)
    place = next((place for place in _places(attempt, target.node) if place.pid == target.pid), None)
    found = [Fact(name="pid", value=f"{target.pid}"), Fact(name="node", value=target.node)]
    if shown is not None:
        found += [Fact(name="name", value=shown[1]), Fact(name="NPU", value=f"{shown[0]}" if shown[0] >= 0 else "-"),
                  Fact(name="memory", value=bytes_text(shown[2] * 1024 * 1024) if shown[2] is not None else "-")]
    else:
        found.append(Fact(name="NPU", value=phrase("npu-smi does not show it"), tone="warn"))
    if place is not None:
        found.append(Fact(name="rank", value=f"{place.rank}"))
    return tuple(found)


def _pct(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"

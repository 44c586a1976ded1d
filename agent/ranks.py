"""Who is which rank: read from the environment of an attempt's own processes. Refuses to assume anything.

torchrun's rendezvous hands out ranks as nodes arrive, anew at every restart, so nothing but the workers
knows. A worker is the topmost process with RANK, LOCAL_RANK and RANKDECK_ROUND in its environment: what it
starts inherits them, the shim that wraps it has no RANKDECK_ROUND, and a script that starts its ranks itself
has no RANK. The names are torchrun's (torch.distributed.run, "Environment variables").
"""

from __future__ import annotations

from typing import Any, Iterable

from agent.processes import Process

# Columns of a rank_map record, in the order in which they are sent.
COLUMNS = ("rank", "local_rank", "group_rank", "pid", "start_ticks")


def workers(found: Iterable[Process]) -> dict[int, dict[int, dict[str, Any]]]:
    """Round -> local rank -> what that worker's environment says."""
    known = {process.pid: process for process in found}
    rounds: dict[int, dict[int, dict[str, Any]]] = {}
    for process in known.values():
        place, rank, local_rank = (_number(process.env.get(name)) for name in ("RANKDECK_ROUND", "RANK", "LOCAL_RANK"))
        above = known.get(process.ppid)
        if place is None or rank is None or local_rank is None or (above is not None and {"RANKDECK_ROUND", "RANK", "LOCAL_RANK"} <= set(above.env)):
            continue
        rounds.setdefault(place, {})[local_rank] = environment_of(process) or {}
    return rounds


def environment_of(process: Process) -> dict[str, Any] | None:
    """What a process's own environment says of its rank, whoever started it; None where it is no rank."""
    rank, local_rank = (_number(process.env.get(name)) for name in ("RANK", "LOCAL_RANK"))
    if rank is None or local_rank is None:
        return None
    return {"rank": rank, "local_rank": local_rank, "pid": process.pid, "start_ticks": process.ticks,
            "group_rank": _number(process.env.get("GROUP_RANK")), "world_size": _number(process.env.get("WORLD_SIZE")),
            "local_world_size": _number(process.env.get("LOCAL_WORLD_SIZE")), "restart_count": _number(process.env.get("TORCHELASTIC_RESTART_COUNT"))}


def from_exit(data: dict[str, Any]) -> dict[str, Any]:
    """The same of a worker that ended before it was seen, from its exit record."""
    return {name: data.get(name) for name in COLUMNS + ("world_size", "local_world_size", "restart_count")}


def rank_map(job: str, attempt: str, place: int, found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The data of a rank_map record from what is known of a round's workers."""
    rows = [found[local_rank] for local_rank in sorted(found)]
    expected = [row["local_world_size"] for row in rows if row.get("local_world_size")]
    return {"job": job, "attempt": attempt, "round": place, "restart_count": _first(rows, "restart_count"),
            "world_size": _first(rows, "world_size"), "complete": bool(expected) and len(rows) >= max(expected),
            "ranks": {name: [row.get(name) for row in rows] for name in COLUMNS}}


def _first(rows: list[dict[str, Any]], name: str) -> Any:
    return next((row[name] for row in rows if row.get(name) is not None), None)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None

"""What ``rankdeck status`` says: the fleet's state as one JSON document, and that document as text. Pure.

Shape: ``schema/status.schema.json``. Everything in it comes from the same views that the screen draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite, isnan
from typing import Any

from console.core.columns import cells, padded
from console.core.fleet.run_views import job_view, loss_log, max_allocated_mb, progress_text, timer_rows
from console.core.fleet.state import FleetState, NodeState, RunState
from console.core.fleet.views import Cell, duration_text, node_row, value_text
from console.core.i18n import say, told
from console.core.launch.inventory import Inventory
from console.core.spoken import spoken_text
from console.core.triage.attribute import root_cause

FINE = ("running", "saving", "finished", "starting", "stopped", "stopping", "done")
"""States of a job that need nobody's attention (``run_views.job_badge``)."""


def status_mapping(state: FleetState, inventory: Inventory, now: float) -> dict[str, Any]:
    """The fleet at ``now`` (s since the epoch), nodes in the order of the fleet file, the newest job first.

    ``ok`` is false when a node cannot be reached, an NPU is in alarm, or the newest job needs attention.
    """
    attempt = state.current.latest if state.current else None
    nodes: list[dict[str, Any]] = []
    for planned in inventory.nodes:
        known = state.nodes.get(planned.name) or NodeState(name=planned.name)
        row = node_row(known, attempt, now)
        nodes.append({
            "node": row.name, "link": known.link, "why": row.note, "rtt_s": row.rtt_s,
            "clock_offset_s": known.met.clock_offset_s if known.met else None,
            "agent": known.met.agent if known.met else None, "sample_age_s": row.age_s, "job_state": row.job or None,
            "ranks": list(row.ranks), "cpu_pct": row.cpu_pct, "memory_pct": row.memory_pct, "disk_pct": row.disk_pct,
            "waiting": row.waiting, "dropped": row.dropped, "devices": [_device(cell) for cell in row.cells]})
    runs = sorted((run for run in state.runs.values() if run.attempts), key=lambda run: max(run.attempts), reverse=True)
    jobs = [_job(state, run, now) for run in runs]
    ok = all(node["link"] == "up" for node in nodes) and not any(
        device["health"].lower() in ("alarm", "critical") for node in nodes for device in node["devices"])
    return {"ok": ok and (not jobs or jobs[0]["status"] in FINE), "fleet": inventory.name, "at": now, "nodes": nodes, "jobs": jobs}


def status_text(document: Mapping[str, Any]) -> str:
    """The document of ``status_mapping`` for people, in the language in use, at most 100 columns where names allow."""
    lines = [say("Fleet {fleet}: {up} of {all} nodes up", fleet=document["fleet"], up=sum(node["link"] == "up" for node in document["nodes"]), all=len(document["nodes"]))]
    rows = [tuple(head.upper() for head in (say("node"), say("link"), "NPU", "AICore", "HBM", say("job"), say("ranks"), ""))]
    for node in document["nodes"]:
        healthy = sum(device["health"] == "OK" for device in node["devices"])
        rows.append((
            node["node"], say(node["link"]), say("{n}/{all} ok", n=healthy, all=len(node["devices"])) if node["devices"] else "-",
            _mean(node["devices"], "aicore_pct"), _mean(node["devices"], "hbm_pct"), say(node["job_state"]) if node["job_state"] else "-",
            ",".join(map(str, node["ranks"])) or "-", spoken_text(node["why"])))
    lines += ["", *table(rows)]
    for job in document["jobs"]:
        lines += ["", say("Job {job}: {status}, attempt {attempt}, round {round}", job=job["job"], status=say(job["status"]), attempt=job["attempt"], round=job["round"]), f"  {told(job['progress'])}"]
        if job["loss"] is not None:
            lines[-1] += f"  {say('loss')} {job['loss'] if isinstance(job['loss'], str) else value_text(job['loss'])}"
        if job["eta_s"] is not None:
            lines[-1] += "  " + say("done in {time}", time=duration_text(job["eta_s"]))
        if job["saved_iteration"] is not None:
            lines.append("  " + say("newest checkpoint: iteration {n}", n=job["saved_iteration"]))
        if job["loss_log"] is not None:
            log = job["loss_log"]
            lines.append(f"  {say('loss from')} " + say("{log} on {node}: {why}", log=say("the launcher") if log["rank"] is None else f"rank {log['rank']}", node=log["node"], why=told(log["why"])))
        cause = job["root_cause"]
        if cause is not None:
            lines.append("  " + say("first to fail: rank {rank} on {node} in round {round}: {code} ({sure} confidence)", rank=_known(cause["rank"]), node=cause["node"],
                                    round=cause["round"], code=cause["code"], sure=say(cause["confidence"])))
    if not document["jobs"]:
        lines += ["", say("No job is known here.")]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines; the last column is not padded."""
    widths = [max(cells(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _job(state: FleetState, run: RunState, now: float) -> dict[str, Any]:
    view, cause, carrier = job_view(state, run, now), root_cause(state, run.job), loss_log(run)
    return {
        "job": view.job, "attempt": view.attempt, "attempts": view.attempts, "round": view.round, "status": view.status.text,
        "iteration": view.iteration, "total": view.total, "loss": plain(view.loss), "loss_log": None if carrier is None else asdict(carrier), "step_s": plain(view.step_s),
        "tokens_per_s_per_device": plain(view.tokens_per_s_per_device), "eta_s": plain(view.eta_s), "progress": progress_text(view),
        "progress_age_s": plain(view.progress_age_s), "saved_iteration": view.saved_iteration, "world_size": view.world_size,
        "timers_ms": {name: list(both) for name, both, _ in timer_rows(run)}, "max_allocated_mb": (max_allocated_mb(run) or (None,))[0],
        "nodes": dict(run.latest.node_states) if run.latest else {}, "root_cause": cause.mapping() if cause else None}


def _device(cell: Cell) -> dict[str, Any]:
    found = asdict(cell)
    return {**found, "health": cell.health.text}


def plain(value: float | None) -> float | str | None:
    """A number for JSON: what is not finite as "nan", "inf", "-inf" (DESIGN section 8)."""
    if value is None or isfinite(value):
        return value
    return "nan" if isnan(value) else "inf" if value > 0 else "-inf"


def _mean(devices: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [device[key] for device in devices if device[key] is not None]
    return f"{sum(values) / len(values):.0f}%" if values else "-"


def _known(value: Any) -> str:
    return "?" if value is None else str(value)

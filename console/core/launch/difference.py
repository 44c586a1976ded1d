"""A plan beside an attempt that was: which values differ, and which lines of what is run. Pure.

What an attempt left behind is its ``job.json`` and scripts, by node (or a plan that was printed as JSON). The
attempt's id is in every script and differs always; it is taken out of both before they are compared.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from console.core.i18n import say
from console.core.launch.plan import LaunchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an attempt left behind."""

    name: str
    """Its id, or the file it was read from."""
    nodes: Mapping[str, Mapping[str, str]]
    """Node -> name of a file in its directory -> text; ``job.json`` and ``command.sh`` at least."""


def attempt_of_plan(document: Mapping[str, Any]) -> Attempt:
    """The attempt that a printed plan (``rankdeck plan --json``) would have been. Raises KeyError, TypeError for other JSON."""
    nodes = {}
    for node in document["nodes"]:
        script = "".join(command.get("script", "") for command in node["commands"] if command["phase"] == "start")
        nodes[node["node"]] = {**node["files"], "command.sh": script}
    return Attempt(name=document["attempt"], nodes=nodes)


def difference(plan: LaunchPlan, was: Attempt) -> dict[str, Any]:
    """``{"against", "job": [{"key", "was", "now"}], "nodes": [{"node", "file", "lines"}]}``, empty lists where nothing differs.

    ``lines`` is a unified diff; a node that only one side has is told by its files being all added or removed.
    """
    now = {node.node: {**node.files, "command.sh": "".join(command.script for command in node.commands if command.phase == "start")} for node in plan.nodes}
    old_job = _job(next(iter(was.nodes.values()), {}))
    new_job = _job(next(iter(now.values()), {}))
    nodes = []
    for name in dict.fromkeys([*was.nodes, *now]):
        before, after = was.nodes.get(name, {}), now.get(name, {})
        for file in dict.fromkeys([*before, *after]):
            if file == "job.json":
                continue
            lines = list(difflib.unified_diff(
                before.get(file, "").replace(was.name, "ATTEMPT").splitlines(), after.get(file, "").replace(plan.attempt, "ATTEMPT").splitlines(),
                f"{was.name}/{name}/{file}", f"now/{name}/{file}", lineterm="", n=0))
            if lines:
                nodes.append({"node": name, "file": file, "lines": lines})
    return {"against": was.name, "job": list(_changes(old_job, new_job, "")), "nodes": nodes}


def difference_text(found: Mapping[str, Any]) -> str:
    """The difference for people, in the language in use: values first, then lines."""
    if not found["job"] and not found["nodes"]:
        return say("Same as {attempt}", attempt=found["against"]) + "\n"
    lines = [say("Against {attempt}", attempt=found["against"])]
    if found["job"]:
        width = max(len(change["key"]) for change in found["job"])
        lines += [f"  {change['key']:<{width}}  {_shown(change['was'])} -> {_shown(change['now'])}" for change in found["job"]]
    for node in found["nodes"]:
        lines += ["", *(f"  {line}" for line in node["lines"])]
    return "\n".join(lines) + "\n"


def _job(files: Mapping[str, str]) -> Any:
    try:
        return json.loads(files.get("job.json", "{}"))
    except ValueError:
        return {}


def _changes(was: Any, now: Any, path: str) -> Iterator[dict[str, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            yield from _changes(was.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif was != now:
        yield {"key": path, "was": was, "now": now}


def _shown(value: Any) -> str:
    return say("nothing") if value is None else json.dumps(value, ensure_ascii=False)

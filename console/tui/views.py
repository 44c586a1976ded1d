"""The views as arrangements of panes, and the names by which they are reached. Data, no logic.

A layout file is an arrangement of its own (key 0, ``:layout NAME``); the views are the same on every console.
"""

from __future__ import annotations

from collections.abc import Mapping

from console.core.layout import Box, LayoutSpec


def _view(name: str, title: str, *children: Box) -> LayoutSpec:
    return LayoutSpec(name=name, title=title, root=Box(children=children))


HOME = "layout"
VIEWS: Mapping[str, LayoutSpec] = {
    "fleet": _view("fleet", "Fleet", Box(pane="job", size="4"), Box(pane="fleet-grid", size="3fr"), Box(pane="nodes", size="2fr")),
    "launch": _view("launch", "Launch", Box(pane="job", size="4"), Box(pane="phases", size="2fr"), Box(pane="plan", size="3fr"), Box(pane="audit", size="1fr")),
    "training": _view("training", "Training", Box(pane="job", size="4"), Box(pane="loss", size="3fr"), Box(pane="metrics", size="3fr")),
    "checkpoints": _view("checkpoints", "Checkpoints", Box(pane="job", size="4"), Box(pane="checkpoints", size="1fr")),
    "logs": _view("logs", "Logs", Box(pane="logs", size="1fr")),
    "incident": _view("incident", "Incident", Box(pane="verdict", size="8"), Box(pane="timeline", size="3fr"),
                      Box(split="horizontal", size="2fr", children=(Box(pane="loss", size="1fr"), Box(pane="fleet-grid", size="1fr")))),
    "checks": _view("checks", "Check", Box(pane="check", size="3fr"), Box(pane="finding", size="2fr")),
    "alarms": _view("alarms", "Alarms", Box(pane="alarms", size="1fr")),
    "detail": _view("detail", "Detail", Box(pane="detail", size="1fr")),
}
KEYS: Mapping[str, str] = {str(at + 1): name for at, name in enumerate(("fleet", "launch", "training", "checkpoints", "logs", "incident", "checks", "alarms"))}
FIRST_PANE: Mapping[str, str] = {
    "fleet": "fleet-grid", "launch": "phases", "training": "loss", "checkpoints": "checkpoints", "logs": "logs", "incident": "timeline", "checks": "check", "alarms": "alarms", "detail": "detail"}
"""The pane that has the keys when a view is opened."""

"""What changed between two states and is in neither: NPU health and links, as lines of time. Pure.

The state keeps only how things are; an incident is told by when they changed.
"""

from __future__ import annotations

from console.core.fleet.happenings import Happening
from console.core.fleet.state import FleetState, NodeState
from console.core.fleet.views import Badge, health_badge, link_badge
from console.core.i18n import phrase


def changes(old: FleetState, new: FleetState, time: float) -> tuple[Happening, ...]:
    """Health and link changes from ``old`` to ``new``, which was known at ``time`` (our clock)."""
    if old.nodes is new.nodes:
        return ()
    found: list[Happening] = []
    for name, node in new.nodes.items():
        before = old.nodes.get(name)
        if before is None or before is node:
            continue
        if before.sample is not node.sample:
            found += _health(name, before, node, time)
        if before.link != node.link:
            badge = link_badge(node)
            found.append(Happening(time=node.link_at or time, badge=Badge(glyph=badge.glyph, text="link", tone=badge.tone), node=name, rank=None,
                                   what=phrase("link {state}", state=phrase(badge.text)), detail=node.link_why))
    return tuple(found)


def _health(name: str, before: NodeState, node: NodeState, time: float) -> list[Happening]:
    old = before.sample.data.get("columns", {}).get("health") or () if before.sample is not None else ()
    new = node.sample.data.get("columns", {}).get("health") or () if node.sample is not None else ()
    found = []
    for device in range(max(len(old), len(new)) if old else 0):
        was, now = (str(health[device]) if device < len(health) else "gone" for health in (old, new))
        if was != now:
            badge = health_badge(now) if now != "gone" else Badge(glyph="✗", text="gone", tone="bad")
            found.append(Happening(time=node.sample.at if node.sample is not None else time, node=name, rank=None, what=phrase("NPU {n} {state}", n=device, state=phrase(badge.text)),
                                   badge=Badge(glyph=badge.glyph, text="health", tone=badge.tone), detail=phrase("was {state}", state=phrase(was))))
    return found

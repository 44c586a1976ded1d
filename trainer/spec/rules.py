"""The rules a job must keep, each with its id: what does not fit, where, and what to do. Torch-free, pure.

``check`` reports everything at once. The ids are those of the rules table (docs/guide/rules.md), which
``rankdeck plan`` and the waivers in a job file use. The rules themselves lie by what they are about:
``layout_rules`` (V, P, EP, H, A), ``data_rules`` (D, W), ``saving_rules`` (M, S, R1), ``trainer_rules`` (B; B5 is here).
The console adds file and line to ``path``, and the rules that need nodes, containers and environments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

from trainer.spec import data_rules, families, layout_rules, saving_rules, trainer_rules
from trainer.spec.facts import Facts
from trainer.spec.finding import Finding, error
from trainer.spec.job import JobSpec

__all__ = ["Facts", "Finding", "check", "shaped"]

_ORDER = {"error": 0, "warning": 1, "info": 2}


def check(spec: JobSpec, *, saved_iteration: int | None = None, facts: Facts | None = None) -> list[Finding]:
    """All findings of a job, errors first, then in the order of the table.

    ``facts`` is what somebody has seen on the nodes, ``saved_iteration`` the one of them that the trainer has;
    rules about what nobody has looked at are passed over. A job whose sizes are not even positive gets those
    findings only: nothing can be said about how zero ranks are cut.
    """
    seen = facts or Facts(saved_iteration=saved_iteration)
    found = [*layout_rules.positive(spec), *_preset(spec)]
    if not found:
        spec = shaped(spec)
        found += [*layout_rules.check(spec), *data_rules.check(spec, seen), *saving_rules.check(spec, seen), *trainer_rules.check(spec)]
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def shaped(spec: JobSpec) -> JobSpec:
    """The job with its model's shape filled in from its preset; the job itself where there is none, or none of that name."""
    return replace(spec, model=families.preset(spec.model)) if spec.model.preset in families.PRESETS else spec


def _preset(spec: JobSpec) -> Iterator[Finding]:
    name = spec.model.preset
    if name and name not in families.PRESETS:
        near = get_close_matches(name, families.PRESETS, n=1)
        yield error("B5", ("model", "preset"), "there is no preset of this name", name, ", ".join(families.PRESETS),
                    f"did you mean {near[0]!r}?" if near else "take one of them, or give the shape itself")

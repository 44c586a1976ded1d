"""What a rule says: one finding, and the short ways to make one. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not fit."""

    rule: str
    """Id, e.g. ``P1``."""
    severity: Literal["error", "warning", "info"]
    path: tuple[str, ...]
    """Keys of the job file, e.g. ("train", "global_batch_size")."""
    message: str
    got: str = ""
    expected: str = ""
    fix: str = ""


def error(rule: str, path: tuple[str, ...], message: str, got: str = "", expected: str = "", fix: str = "") -> Finding:
    """A finding that a launch must not be made with."""
    return Finding(rule=rule, severity="error", path=path, message=message, got=got, expected=expected, fix=fix)


def warning(rule: str, path: tuple[str, ...], message: str, got: str = "", expected: str = "", fix: str = "") -> Finding:
    """A finding that somebody should have looked at."""
    return Finding(rule=rule, severity="warning", path=path, message=message, got=got, expected=expected, fix=fix)


def info(rule: str, path: tuple[str, ...], message: str, got: str = "") -> Finding:
    """Something worth knowing."""
    return Finding(rule=rule, severity="info", path=path, message=message, got=got)

"""The catalogue of fault signatures, and what it promises about each.

Owns the shape of ``faults-*.json`` and the reading of them out of this package (a directory on a node, a
wheel on the bastion: pkgutil serves both). Refuses to look at logs (``agent.parse.scan`` does).

A signature: ``rule`` (its id), ``code`` (the maker's own, or null), ``anchors`` (literal texts, one of which
every matching line holds), ``pattern`` (regular expression that the line must also match, or null; its
named groups ``rank``, ``local_rank``, ``device``, ``pid``, ``code`` are read out), ``role``, ``category``,
``action``, ``generic`` (reported only where nothing more exact matched the line), ``sample``, ``unlike``
(lines that look alike and must not match), ``source``, ``meaning`` and ``advice`` ({en, zh}).
"""

from __future__ import annotations

import json
import pkgutil
import re
from typing import Any, Dict, List, Match, NamedTuple, Optional, Pattern, Tuple

FILES = ("faults-ascend.json", "faults-process.json", "faults-gpu.json", "faults-training.json",
         "faults-storage.json", "faults-host.json")

ROLES = ("root", "cascade", "teardown", "benign", "unclear")
CATEGORIES = ("hardware", "network", "workload", "storage", "config", "unknown")
ACTIONS = ("retry", "resume", "isolate", "fix-config", "fix-code", "fix-environment", "clean-device",
           "free-space", "none")
LANGUAGES = ("en", "zh")


class Late:
    """A regular expression that is compiled when it is first asked: most of the catalogue's never are, and they take a megabyte."""

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled: Optional[Pattern[str]] = None

    def search(self, text: str) -> Optional[Match[str]]:
        """As ``re.search``. Raises re.error where the pattern is none (``read`` refuses such)."""
        if self._compiled is None:
            self._compiled = re.compile(self.pattern)
        return self._compiled.search(text)


class Signature(NamedTuple):
    """One fault signature, ready to match; the fields are described above."""

    rule: str
    code: Optional[str]
    anchors: Tuple[str, ...]
    pattern: Optional[Late]
    role: str
    category: str
    action: str
    generic: bool
    sample: str
    unlike: Tuple[str, ...]
    source: str
    meaning: Dict[str, str]
    advice: Dict[str, str]


class CatalogueError(ValueError):
    """A record of the catalogue is not what it must be; the text names the rule and the field."""


def read(text: str) -> List[Signature]:
    """The signatures in one JSON text (an object with a list ``signatures``). Raises CatalogueError."""
    signatures = [_signature(record) for record in json.loads(text)["signatures"]]
    for signature in signatures:
        try:
            re.compile(signature.pattern.pattern if signature.pattern else "")
        except re.error:
            raise CatalogueError("rule %s: pattern is %r" % (signature.rule, signature.pattern and signature.pattern.pattern))
    return signatures


def load() -> List[Signature]:
    """All signatures, in the order of FILES; their patterns are compiled when first used. Raises CatalogueError; a rule id is there once."""
    signatures: List[Signature] = []
    for name in FILES:
        data = pkgutil.get_data("agent.catalogue", name)
        if data is None:
            raise CatalogueError("%s is missing from the package" % name)
        signatures.extend(_signature(record) for record in json.loads(data.decode("utf-8"))["signatures"])
    seen: Dict[str, int] = {}
    for signature in signatures:
        if signature.rule in seen:
            raise CatalogueError("rule %s is there twice" % signature.rule)
        seen[signature.rule] = 1
    return signatures


def _signature(record: Dict[str, Any]) -> Signature:
    rule = record.get("rule")
    if not isinstance(rule, str) or not rule:
        raise CatalogueError("a record without a rule id: %r" % (record,))

    def wrong(field: str) -> CatalogueError:
        return CatalogueError("rule %s: %s is %r" % (rule, field, record.get(field)))

    for field, allowed in (("role", ROLES), ("category", CATEGORIES), ("action", ACTIONS)):
        if record.get(field) not in allowed:
            raise wrong(field)
    anchors = record.get("anchors")
    if not isinstance(anchors, list) or not anchors or any(not isinstance(a, str) or len(a) < 4 for a in anchors):
        raise wrong("anchors")
    for field in ("meaning", "advice"):
        text = record.get(field)
        if not isinstance(text, dict) or any(not text.get(language) for language in LANGUAGES):
            raise wrong(field)
    for field in ("sample", "source"):
        if not isinstance(record.get(field), str) or not record[field]:
            raise wrong(field)
    pattern = Late(record["pattern"]) if record.get("pattern") else None
    return Signature(rule, record.get("code"), tuple(anchors), pattern, record["role"], record["category"],
                     record["action"], bool(record.get("generic")), record["sample"],
                     tuple(record.get("unlike", ())), record["source"], record["meaning"], record["advice"])

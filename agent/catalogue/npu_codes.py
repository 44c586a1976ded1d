"""NPU health codes: what a code such as 80E01801 stands for, and how bad it is.

Owns the reading of ``npu-codes.json``. Refuses to drop a code it does not know (it is returned, and says
so) and to call a level a property of the hardware: levels are the policy of the release that is named.
"""

from __future__ import annotations

import json
import pkgutil
import re
from typing import Any, Dict, List, Optional

ORDER = ("NotHandleFault", "SubHealthFault", "RestartRequest", "RestartBusiness", "FreeRestartNPU", "RestartNPU",
         "PreSeparateNPU", "SeparateNPU")
"""Levels from harmless to worst; of a code with two, the worse one counts."""


class Codes:
    """The codes of one JSON text; ``load`` gives the shipped ones."""

    def __init__(self, text: str) -> None:
        self._data: Dict[str, Any] = json.loads(text)

    @property
    def release(self) -> str:
        """The release the levels hold for."""
        return str(self._data["release"])

    def __len__(self) -> int:
        return len(self._data["codes"])

    def look_up(self, code: str) -> Dict[str, Any]:
        """{code, known, level, levels, component, event, action, meaning, advice, release} of one code.

        ``code`` in any spelling (0x80e01801, 80E01801; a switch's ``[0x00f1fef5,155913,cpu,na]``).
        ``meaning`` is {en, zh}; None where none is published. An unknown code has ``known`` False and the
        action "none"; it is not harmless for that.
        """
        name = normal(code)
        levels: List[str] = self._data["switch"].get(name, []) if name.startswith("[") else self._entry(name).get("levels", [])
        level = max(levels, key=ORDER.index) if levels else None
        rule = self._data["levels"].get(level, {})
        component, event = self._entry(name).get("component"), self._entry(name).get("event")
        return {"code": name, "known": bool(levels), "level": level, "levels": levels, "component": component, "event": event,
                "action": rule.get("action", "none"), "advice": rule.get("advice"), "meaning": self._meaning(component, event),
                "release": self.release}

    def repeated(self, code: str) -> Optional[Dict[str, Any]]:
        """{times, window_s, then}: so often in so long and the code's level becomes ``then``; None without a rule."""
        name = normal(code)
        for rule in self._data["frequency"]:
            if name in rule["codes"]:
                return {"times": rule["times"], "window_s": rule["window_s"], "then": rule["then"]}
        return None

    def _entry(self, name: str) -> Dict[str, Any]:
        found: Dict[str, Any] = self._data["codes"].get(name, {})
        return found

    def _meaning(self, component: Optional[str], event: Optional[str]) -> Optional[Dict[str, str]]:
        where, what = self._data["components"].get(component), self._data["events"].get(event)
        if where is None or what is None:
            return None
        return {"en": "%s: %s" % (where["en"], what["en"]), "zh": "%s：%s" % (where["zh"], what["zh"])}


def load() -> Codes:
    """The codes shipped with this package."""
    data = pkgutil.get_data("agent.catalogue", "npu-codes.json")
    if data is None:
        raise ValueError("npu-codes.json is missing from the package")
    return Codes(data.decode("utf-8"))


def normal(code: str) -> str:
    """One spelling for a code: upper hex without 0x; a switch's stays in brackets, in lower case."""
    code = code.strip()
    if code.startswith("["):
        return re.sub(r"\s+", "", code.lower())
    return re.sub("^0[xX]", "", code).upper()

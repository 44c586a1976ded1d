"""Why a device is not OK: its health error codes, with what each stands for.

Owns the query ``npu-smi info -t health -i N -c C`` for devices that the table calls anything but OK. Refuses
to ask healthy ones (it costs a command each), to drop a code that is not known, and to raise.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from agent.catalogue import npu_codes
from agent.parse import npu_keyvalue
from agent.probe import command

TIMEOUT_S = 5.0
BUDGET_S = 20.0


def suspects(sample: Dict[str, Any]) -> List[Tuple[Any, Any, Any]]:
    """[(npu_id, chip_id, health)] of the devices in a ``sample`` whose health is printed and not OK."""
    columns = sample.get("columns") or {}
    rows = zip(columns.get("npu_id") or (), columns.get("chip_id") or (), columns.get("health") or ())
    return [row for row in rows if row[0] is not None and row[2] not in (None, "OK")]


def read(asked: Sequence[Tuple[Any, Any, Any]], codes: Optional[npu_codes.Codes] = None, timeout_s: float = TIMEOUT_S,
         runner: Callable[..., command.Result] = command.run, finder: Callable[[str], Optional[str]] = command.find) -> Dict[str, Any]:
    """A ``health`` record's data: {devices: [{npu_id, chip_id, health, codes, texts, why}], release, took_s}.

    ``codes``: of agent.catalogue.npu_codes (code, known, level, meaning, action, advice), worst first.
    """
    started = time.monotonic()
    known = codes or npu_codes.load()
    path = finder("npu-smi")
    devices = []
    for npu_id, chip_id, health in asked:
        row: Dict[str, Any] = {"npu_id": npu_id, "chip_id": chip_id, "health": health, "codes": [], "texts": [], "why": ""}
        if path is None:
            row["why"] = "missing"
        elif time.monotonic() - started > BUDGET_S:
            row["why"] = "timeout"
        else:
            # The 950 has no chip ids; its only chip is 0.
            result = runner([path, "info", "-t", "health", "-i", str(npu_id), "-c", str(chip_id or 0)], timeout_s)
            chips = [chip for chip in npu_keyvalue.parse(result.out)["chips"] if "error_codes" in chip["values"]]
            if chips:
                row["codes"] = ranked([known.look_up(code) for code in chips[0]["values"]["error_codes"]])
                row["texts"] = chips[0]["values"].get("error_texts") or []
            else:
                row["why"] = result.reason or ("error" if result.status else "unparseable")
        devices.append(row)
    return {"devices": devices, "release": known.release, "took_s": round(time.monotonic() - started, 3)}


def ranked(found: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Codes from worst to harmless; unknown ones stand before the harmless, for nobody has said that they are."""
    def weight(code: Dict[str, Any]) -> int:
        return npu_codes.ORDER.index(code["level"]) if code["level"] in npu_codes.ORDER else npu_codes.ORDER.index("RestartRequest")

    return sorted(found, key=weight, reverse=True)

"""Metrics printed as one mapping a line: HF Trainer, LLaMA-Factory, swift, TRL, and their jsonl logs.

Owns Python literals with bare ``nan`` and ``inf`` (which are neither JSON nor Python) and JSON. Refuses
mappings that are no step's metrics (configurations, the summary at the end). Which step it was, where the
mapping itself does not say, is the reader's affair: the progress bar beside it tells. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from agent.parse import fields, prefixes
from agent.parse.fields import Pair, Record
from agent.parse.text import clean, printed_time

_ITEM = re.compile(r"""(['"])([^'"\n]{1,80})\1\s{0,4}:\s{0,4}(?:(['"])([^'"\n]{0,80})\3|([^\s,'"{}][^,'"{}\n]{0,80}))""")
# 'global_step/max_steps': '5/16' (swift), 'iteration': '5/100' (swift on Megatron)
_OF = re.compile(r"^\s{0,9}([0-9]{1,12})\s{0,9}/\s{0,9}([0-9]{1,12})\s{0,9}$")
_STEP_NAMES = ("global_step/max_steps", "iteration", "current_steps", "global_step", "step")
_TOTAL_NAMES = ("total_steps", "max_steps")
# A mapping with a loss is a step's metrics if one of these is beside it.
_COMPANY = frozenset(("learning_rate", "lr", "epoch", "grad_norm", "current_steps", "global_step", "global_step/max_steps", "iteration", "step"))


def is_open(text: str) -> bool:
    """Whether a mapping with a loss begins in the line and does not end in it."""
    return text.rfind("{") > text.rfind("}") and ("loss'" in text or 'loss"' in text)


def joined(text: str, following: Sequence[str]) -> Tuple[str, int]:
    """(the line with what a terminal wrapped of its mapping put back, how many of the following lines that took; none where it does not end soon)."""
    whole = clean(text)
    for taken, line in enumerate(following, 1):
        line = clean(line)
        line = line[prefixes.length(text, line, taken):]
        end = line.find("}")
        if not line or "{" in (line if end < 0 else line[:end]) or (":" not in line and end < 0):
            break
        whole += line
        if end >= 0:
            return whole, taken
    return text, 0


def records(text: str) -> List[Record]:
    """The iteration and validation records of the mappings in one (cleaned) line."""
    found: List[Record] = []
    time: Optional[str] = None
    place, end = text.find("{"), 0
    while place >= 0:
        time = printed_time(text[end:place], last=True) or time
        end = text.find("}", place)
        inside = text[place + 1:end if end >= 0 else len(text)]
        record = _record(inside, time) if "loss" in inside else None
        if record is not None:
            found.append(record)
        place = text.find("{", end) if end >= 0 else -1
    return found


def _record(inside: str, time: Optional[str]) -> Optional[Record]:
    texts: Dict[str, str] = {}
    pairs: List[Pair] = []
    for item in _ITEM.finditer(inside):
        name, raw = item.group(2), item.group(4) if item.group(4) is not None else item.group(5)
        texts[name] = raw
        value = fields.value_at(raw)
        if value is not None and value[2] >= len(raw.rstrip()) and name not in _STEP_NAMES + _TOTAL_NAMES:
            pairs.append((name, value[0], value[1]))
    names = {name for name, _, _ in pairs}
    if "eval_loss" in names:
        return "validation", _validation(pairs, texts, time)
    if "train_runtime" in texts and "train_loss" in texts and "loss" not in texts:
        return None    # the summary of the whole run
    data, _ = fields.filled(pairs)
    if data["lm_loss"] is None or not _COMPANY & set(texts):
        return None
    data["iteration"], data["total"] = _step(texts)
    data["time"] = time
    return "iteration", data


def _step(texts: Dict[str, str]) -> Tuple[Optional[int], Optional[int]]:
    for name in _STEP_NAMES:
        raw = texts.get(name, "")
        both = _OF.match(raw)
        if both:
            return int(both.group(1)), int(both.group(2))
        if raw.isdecimal() and len(raw) <= 15:
            totals = [int(texts[other]) for other in _TOTAL_NAMES if texts.get(other, "").isdecimal() and len(texts[other]) <= 15]
            return int(raw), totals[0] if totals else None
    return None, None


def _validation(pairs: List[Pair], texts: Dict[str, str], time: Optional[str]) -> Dict[str, Any]:
    values = {name: value for name, value, _ in pairs}
    loss, ppl = values["eval_loss"], values.get("eval_ppl", values.get("eval_perplexity", values.get("perplexity")))
    return {"iteration": _step(texts)[0], "lm_loss": loss if isinstance(loss, str) else float(loss),
            "ppl": ppl if ppl is None or isinstance(ppl, str) else float(ppl), "time": time}

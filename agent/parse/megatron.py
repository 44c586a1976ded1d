"""Lines of the Megatron family: fields parted by bars behind ``iteration N/M``.

Owns iterations and validations of Megatron-LM (2021 to core 0.16), Megatron-DeepSpeed, Megatron-Bridge,
ModelLink and MindSpeed-LLM, MindSpeed-MM, MindSpeed-RL, nanotron, NeMo's text lines and Rankdeck's own
trainer, and the joining of records that a terminal wrapped. Refuses to take a counter for an iteration:
timers, memory reports and ``Evaluating iter 1/5`` are none. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Match, Optional, Sequence, Tuple

from agent.parse import fields, prefixes
from agent.parse.fields import Record
from agent.parse.text import clean, printed_time

JOIN_LIMIT = 6
"""Longest record, physical lines."""

# " [2025-09-05 16:08:14] iteration        1/    2000 | consumed samples:          128 | ..."
# "  iteration=  136004/  136100 | consumed_samples=   835608576 | ..." (Megatron-DeepSpeed, Argonne)
# "[INFO|DP=0|PP=0|TP=0|host]: iteration: 991 / 1000 | consumed_tokens: 634K | ..." (nanotron)
_COUNTED = re.compile(r"(?<![A-Za-z0-9_/-])([Ii]teration|[Ii]ter|[Ss]tep)[ \t:=]{0,40}\[?[ \t]{0,20}([0-9]{1,15})[ \t]{0,20}/[ \t]{0,20}"
                      r"([0-9]{1,15})(?![0-9/.%])")
# "{ step:[    1/   10], loss: N/A (non-last PP stage, refer to last stage for real loss), per_step_time:    710ms, ..." (MindFormers of 2026)
_ELSEWHERE = re.compile(r"loss: N/A \([^()|]{0,200}\),? ?")
# "Training epoch 1, iteration 0/999 | lr: 2.999e-06 | ... | global_step: 19 |" (NeMo): counted within the epoch
_EPOCH = re.compile(r"[Ee]poch:? {0,4}([0-9]{1,9}),? {0,4}$")
# "Evaluating iter 1/5" and the like count something else.
_OTHER_COUNT = re.compile(r"(?:evaluat\w{0,4}|validat\w{0,4}|eval|test\w{0,3})[ \t:\]]{0,4}$", re.IGNORECASE)
_OTHER_ENDS = frozenset("gGeElLnNtTsSaA")    # what the words above can end in
# " validation loss at iteration 2500 on validation set | lm loss value: 2.925279E+00 | lm loss PPL: 1.863942E+01 | "
# " validation loss at iteration 1000 | LM loss: 2.9253 | LM PPL: 18.64" (2019, and what descends from it)
# " [2026-01-01 10:00:00] ** validation after iteration 100 ** | validation steps: 10 | validation loss: 2.3E+00 |" (MindSpeed, FSDP2)
_VALIDATION = re.compile(r"\b(?:(?:validation|test) loss at (?:iteration[ \t]{1,20}([0-9]{1,15})|the end of training)|validation after iteration[ \t]{1,20}([0-9]{1,15}))")
_VALIDATION_FIELDS = {"lmlossvalue": "lm_loss", "lossvalue": "lm_loss", "lmloss": "lm_loss", "validationloss": "lm_loss", "lmlossppl": "ppl", "lossppl": "ppl", "lmppl": "ppl"}
_FRAGMENT = re.compile(r"^\s{0,80}lm[ _-]loss ?[:=]")
# No record goes on in such a line.
_NEW_LINE = re.compile(r"^\s*(?:\[(?!\s)|time \(ms\)|\(min, max\)|Traceback|saving |successfully |[A-Z][a-z]+: |$)")


def iterations(text: str) -> List[Record]:
    """The iteration records in one (cleaned) line; several may be glued together."""
    found = _counts(text)
    records: List[Record] = []
    for place, match in enumerate(found):
        end = found[place + 1].start() if place + 1 < len(found) else len(text)
        start = found[place - 1].end() if place else 0
        data = _iteration(match, text[start:match.start()], text[match.end():end])
        if data is not None:
            records.append(("iteration", data))
    if not found and _FRAGMENT.match(text):
        data, count = fields.filled(fields.pairs(text))
        if count and count + len(data["extra"]) > 1:
            return [("iteration", data)]
    return records


def _counts(text: str) -> List[Match[str]]:
    """Where the text says ``iteration N/M``; where it does not, other words for it."""
    found: List[Match[str]] = []
    place = text.find("teration")
    while place >= 0:
        match = _COUNTED.match(text, place - 1) if place else None
        if match:
            found.append(match)
        place = text.find("teration", place + 8)
    if not found and ("step" in text or "Step" in text or "iter" in text or "Iter" in text):
        found = list(_COUNTED.finditer(text))
    return found


def _iteration(match: Match[str], prefix: str, rest: str) -> Optional[Dict[str, Any]]:
    if prefix.rstrip(" \t:]")[-1:] in _OTHER_ENDS and _OTHER_COUNT.search(prefix[-40:]):
        return None
    elsewhere = _ELSEWHERE.search(rest) if "N/A (" in rest else None
    if elsewhere:
        rest = rest[:elsewhere.start()] + rest[elsewhere.end():]
    timers = rest.find("time (ms) |")    # glued on
    data, count = fields.filled(fields.pairs((rest if timers < 0 else rest[:timers]).lstrip(" \t:,")))
    if not count or (match.group(1).lower() != "iteration" and data["lm_loss"] is None and elsewhere is None):
        return None
    iteration, total = int(match.group(2)), int(match.group(3))
    data.update(iteration=iteration, total=total, time=printed_time(prefix, last=True))
    epoch = _EPOCH.search(prefix[-40:]) if "poch" in prefix else None
    if epoch:
        within_epoch(data, int(epoch.group(1)), iteration, total)
    return data


def within_epoch(data: Dict[str, Any], epoch: int, iteration: int, total: int) -> None:
    """Turn a count that starts anew each epoch into the step of the run, where the line says that as well."""
    data["extra"].update({"epoch": epoch, "iteration_in_epoch": iteration, "total_in_epoch": total})
    step = data["extra"].get("global_step")
    if isinstance(step, int):
        data.update(iteration=step, total=None)


def place_of(text: str, iteration: int, begin: int) -> int:
    """Where, from ``begin`` on, the record of an iteration begins; -1 where that is not found."""
    for match in _COUNTED.finditer(text, begin):
        if int(match.group(2)) == iteration:
            return match.start()
    return -1


def validation(text: str) -> Optional[Dict[str, Any]]:
    """The validation record in one line; None where there is none."""
    found = _VALIDATION.search(text)
    if not found:
        return None
    step = found.group(1) or found.group(2)
    data: Dict[str, Any] = {"iteration": int(step) if step else None,
                            "lm_loss": None, "ppl": None, "time": printed_time(text[:found.start()], last=True)}
    bar = text.find("|", found.end())
    for name, value, _ in fields.pairs(text[bar + 1:] if bar >= 0 else ""):
        field = _VALIDATION_FIELDS.get(fields.squeezed(name))
        if field and data[field] is None:
            data[field] = value if isinstance(value, str) else float(value)
    return data if data["lm_loss"] is not None else None


def joined(text: str, following: Sequence[str]) -> Tuple[str, int]:
    """(the line with what a terminal wrapped of it put back, how many of the following lines that took).

    A line goes on in the next where the two halves of a field make one: ``number of sk`` and
    ``ipped iterations:  0 |``. Nothing is put between them: names are read with blanks ignored. What a launcher
    put before every line is taken from all but the first.
    """
    taken = 0
    if _COUNTED.search(text) is None:
        return text, 0
    for line in following[:JOIN_LIMIT - 1]:
        line = clean(line)
        line = line[prefixes.length(text, line, taken + 1):]
        if not _goes_on(text, line):
            break
        text += line
        taken += 1
    return text, taken


def counts(text: str) -> bool:
    """Whether the text is, or begins, a record: it says ``iteration N/M``."""
    return _COUNTED.search(text) is not None


def _goes_on(text: str, line: str) -> bool:
    text = text.rstrip()
    if not line or _NEW_LINE.match(line) or _COUNTED.search(line) or text.endswith("}"):
        return False
    first, last = line.split("|", 1)[0], text.rsplit("|", 1)[-1]
    if not last.strip():
        # Wrapped right behind a bar: the next field must be one this record lacks.
        names = {fields.squeezed(name) for name, _, _ in fields.pairs(text)}
        inside = [name for name, _, _ in fields.pairs(first)]
        return bool(inside) and fields.known(inside[0]) and fields.squeezed(inside[0]) not in names and "|" in line
    if line.lstrip().startswith("|"):
        return True
    before, after = len(list(fields.pairs(last))), list(fields.pairs(last + first))
    if len(after) > before and (":" in line or "=" in line or line[:1].isspace()):
        return ":" not in line[:line.find("|") if "|" in line else len(line)] or _half(last) or fields.known(after[-1][0])
    # A number cut in two: "... | lm loss: 2.11" and "7073E+00 | grad norm: ...".
    return "|" in line and bool(re.match(r"^[0-9.eE][0-9.eE+-]{0,20} ?\|", line)) and bool(after) and len(after) == before


def _half(last: str) -> bool:
    """Whether the last field of a line has a name but no number yet."""
    return bool(re.search(r"[A-Za-z(_][^|]{0,100}$", last)) and not list(fields.pairs(last))

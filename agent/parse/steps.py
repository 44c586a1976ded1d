"""Step lines with a shape of their own: torchtitan, MindFormers and MindSpore, verl.

Owns one line at a time. Refuses everything without a training loss. Never raises.
"""

from __future__ import annotations

import re
from typing import List, Match, Optional, Sequence, Tuple

from agent.parse import bars, fields, prefixes
from agent.parse.fields import Pair, Record
from agent.parse.text import kept, printed_time

# "step: 20  loss: 11.83506  grad_norm:  9.6669  memory: 48.87GiB(51.44%)  tps: 4,376  tflops: 253.41  mfu: 25.62%"
# "steps: 10 loss: 2.3012 iter time (s): 1.234 samples/sec: 12.345" (DeepSpeed's pipeline), "Step: 10, loss: 2.3"
# "step: 640/644 = 99.3789%  loss: ...", "step:    1,020 token: 12,345,678  loss: ..." and "Step  5: lr=1.00E-04, loss= 7.1234 (max= 7.5)" (torchtitan's kin)
# "... -- tflops=180.4,step=19,loss=5.35,tgs (tokens/gpu/second)=3345.7,lr=1e-05,..." (InternLM; newer with blanks)
_TITAN = re.compile(r"(?<![\w/.])(validate )?(?:(?:global_)?[Ss]teps?|iter)(?:(?: [:=]|[:=]) {0,12}| {1,12}(?=[0-9]{1,12}(?:/[0-9]{1,12})?:))([0-9]{1,3}(?:,[0-9]{3}){1,4}(?![0-9])|[0-9]{1,12})(?: ?/ ?([0-9]{1,12}))?"
                    r"(?: = [0-9.]{1,12}%)?[ \t,:;|-]{1,12}(?=[A-Za-z])")
_TITAN_PAIR = re.compile(r"[ \t,;|)-]{0,40}([A-Za-z_][\w /.()%@-]{0,60}?) {0,2}[:=] {0,12}")
_BEFORE = re.compile(r"(?<![\w/])([A-Za-z_][\w/]{0,40})=([^\s,=]{1,40})[ ,]{1,2}")
_INSIDE = re.compile(r"""\{[^:{}]{1,80}: {0,4}""")
_GAP = re.compile(r"[,;|(] ?|  ")
_PIECES = 400
"""So many names and values one line has."""
NARROWEST = 40
"""Columns of a terminal; a shorter line was not wrapped."""
_WHOLE = re.compile(r"[\]}]$|(?<![(0-9.])[0-9.]{1,9}%$")
# No record goes on in a line that begins so; and the rest of a number.
_ANOTHER = re.compile(r"\s{0,80}(?:\[|[0-9]{4}[-/][0-9]{2}[-/]|[A-Z][A-Za-z]{1,40}Error|Traceback|\{|\(min|\(\w{1,40} pid=)")
_REST = re.compile(r"[0-9.]{0,20}(?:[eE]?[-+]?[0-9]{1,4})?[A-Za-z]{0,4}[%)\]]{0,2}(?:[ ,|}]|$)")
# Behind a whole value another may only begin with a name that is known: else somebody else's line does.
_ENDED = re.compile(r"[0-9][A-Za-z%]{0,4}[)\]]{0,2}$")
_NEXT_NAME = re.compile(r"([A-Za-z_][\w /.()-]{0,60}?) ?[:=]")
_FAMILIAR = frozenset(("memory", "mfu", "overflow cond", "micro_num", "num_consumed_tokens", "Memory", "MFU", "token"))
_NUMERIC = frozenset("0123456789.eE-+")
# "{ Epoch:[  1/  2], step:[    1/   19], loss: 10.649, per_step_time: 103328ms, lr: 0.0, overflow cond: False,
#    loss_scale: 1.0, global_norm: [10.579812], train_throughput_per_npu: 2.896T }"; older: "loss:[ 8.1/ 8.3], time:1752.3 ms"
_FORMERS = re.compile(r"Epoch:\[ {0,9}([0-9]{1,9})/ {0,9}([0-9]{1,9})\], {0,4}step:\[ {0,9}([0-9]{1,12})/ {0,9}([0-9]{1,12})\],")
_FORMERS_PAIR = re.compile(r"[\s,]{0,40}([A-Za-z_][\w ]{0,40}?)(?:: {0,9}| (?=\[))")
# "epoch: 1 step: 195, loss is 1.5424" (MindSpore's LossMonitor)
_MINDSPORE = re.compile(r"epoch: {0,4}([0-9]{1,9}),? {0,4}step: {0,4}([0-9]{1,12}), {0,4}loss is ")
# "step:12 - actor/pg_loss:0.013 - actor/lr:1e-06 - timing_s/step:52.1 - perf/throughput:1234.5"
_VERL = re.compile(r"(?<![\w/])(?:global_)?step:([0-9]{1,12}) - ")


def records(text: str) -> List[Record]:
    """The records of one (cleaned) line of these trainers."""
    if "tep" not in text and "iter" not in text:
        return []
    if "Epoch:[" in text:
        return _mindformers(text)
    verl = _VERL.search(text)
    if verl:
        return _verl(text, verl)
    mindspore = _MINDSPORE.search(text)
    value = fields.value_at(text, mindspore.end()) if mindspore else None
    if mindspore and value:
        data, _ = fields.filled([("loss", value[0], "")])
        data.update(iteration=int(mindspore.group(2)), time=printed_time(text[:mindspore.start()], last=True))
        data["extra"]["epoch"] = int(mindspore.group(1))
        return [("iteration", data)]
    titan = _TITAN.search(text)
    return _titan(text, titan) if titan else []


def begins(text: str) -> bool:
    """Whether a step's metrics begin in the line, with or without the loss."""
    return "tep" in text and _pairs(text) is not None


def joined(text: str, following: Sequence[str], width: int = 0) -> Tuple[str, int]:
    """(the line with what a terminal wrapped of its metrics put back, how many of the following lines that took).

    A terminal fills its lines: no piece is longer than the first, and behind a shorter one there is no other.
    What follows goes on if it holds more metrics, or the rest of a number; whether a blank was lost at the end
    of a line is told by which reading gives more of them. ``width``: of the terminal, where the text is more than
    its line.
    """
    whole, taken, width = kept(text), 0, width or len(kept(text))
    pairs = _pairs(whole) if width >= NARROWEST else None
    if pairs is None or _WHOLE.search(whole[-20:]):
        return text, 0
    for line in following:
        line = kept(line)
        piece = line[prefixes.length(text, line, taken + 1):]
        if not piece.strip() or len(line) > width + 2 or (_ANOTHER.match(piece) and not whole.rstrip().endswith((":", "="))) or (begins(piece) and not (whole[-1:].isalnum() or whole[-1:] in "/_")):
            break
        name = _NEXT_NAME.match(piece) if _ENDED.search(whole[-20:]) else None
        if name and not fields.known(name.group(1)) and "/" not in name.group(1) and name.group(1) not in _FAMILIAR:
            break
        close, apart = _pairs(whole + piece) or [], _pairs(whole + " " + piece) or []
        number = whole[-1:] in _NUMERIC and _REST.match(piece) is not None
        if max(len(close), len(apart)) <= len(pairs) and not (number and len(close) == len(pairs)):
            break
        whole, pairs = (whole + " " + piece, apart) if len(apart) > len(close) else (whole + piece, close)
        taken += 1
        if len(line) < width - 2:
            break
    return (whole, taken) if taken else (text, 0)


def _pairs(text: str) -> Optional[List[Pair]]:
    """All metrics of a step in the line; None where none begins in it."""
    formers = _FORMERS.search(text) if "Epoch:[" in text else None
    if formers:
        return _formers_pairs(text, formers)
    verl = _VERL.search(text)
    if verl:
        return _verl_pairs(text, verl)
    titan = _TITAN.search(text)
    return _titan_pairs(text, titan) if titan else None


def _titan(text: str, titan: Match[str]) -> List[Record]:
    data, _ = fields.filled(_titan_pairs(text, titan))
    if data["lm_loss"] is None:
        return []
    step, time = int(titan.group(2).replace(",", "")), printed_time(text[:titan.start()], last=True)
    if titan.group(1):
        return [("validation", {"iteration": step, "lm_loss": data["lm_loss"], "ppl": None, "time": time})]
    data.update(iteration=step, total=int(titan.group(3)) if titan.group(3) else None, time=time)
    return [("iteration", data)]


def _titan_pairs(text: str, titan: Match[str]) -> List[Pair]:
    pairs: List[Pair] = []
    until = -1
    for before in _BEFORE.finditer(text, max(0, titan.start() - 200), titan.start()):
        pairs = pairs if before.start() == until else []    # those that lead up to the step, without a gap
        until = before.end()
        value = fields.value_at(before.group(2))
        if value is not None:
            pairs.append((before.group(1), value[0], value[1]))
    pairs = pairs if until == titan.start() else []
    place = titan.end()
    for _ in range(_PIECES):
        name = _TITAN_PAIR.match(text, place)
        if name is None:
            place = _next(text, place)
            if place < 0:
                break
            continue
        inside = _INSIDE.match(text, name.end())    # a norm of each group of parameters: the first
        value = fields.value_at(text, inside.end() if inside else name.end())
        if value is None:
            place = _next(text, name.end())
            if place < 0:
                break
            continue
        printed = name.group(1).strip()
        pairs.append(("tps" if printed.lower() == "wps" else printed, value[0], value[1]))    # words: torchtitan of 2024
        place = value[2]
        if inside:
            place = text.find("}", place) + 1 or len(text)
        elif text[place:place + 1] == "(":    # "68.57GiB(86.69%)"
            place = text.find(")", place) + 1 or len(text)
    return pairs


def _next(text: str, place: int) -> int:
    """Where the next name may begin; -1 where none can."""
    found = _GAP.search(text, place + 1)
    return found.start() if found else -1


def _mindformers(text: str) -> List[Record]:
    found = _FORMERS.search(text)
    if found is None:
        return []
    data, _ = fields.filled(_formers_pairs(text, found))
    if data["lm_loss"] is None:
        return []
    epoch, epochs = int(found.group(1)), int(found.group(2))
    data.update(iteration=int(found.group(3)), total=int(found.group(4)), time=printed_time(text[:found.start()], last=True))
    data["extra"]["epoch"] = epoch
    bars.across_epochs(data, epoch - 1, epochs)
    return [("iteration", data)]


def _formers_pairs(text: str, found: Match[str]) -> List[Pair]:
    pairs: List[Pair] = []
    place = found.end()
    while True:
        name = _FORMERS_PAIR.match(text, place)
        if name is None:
            break
        printed = name.group(1).strip()
        value = fields.value_at(text, name.end())
        if value is not None:
            unit = value[1]
            if printed == "time":    # older: "time:1752.3 ms"
                printed, unit = "per_step_time", "ms"
            pairs.append((printed, value[0], unit))
        place = text.find(",", name.end())
        if place < 0:
            break
    return pairs


def _verl(text: str, found: Match[str]) -> List[Record]:
    pairs, step, time = _verl_pairs(text, found), int(found.group(1)), printed_time(text[:found.start()], last=True)
    values = {fields.squeezed(name): value for name, value, _ in pairs}
    data, _ = fields.filled(pairs)
    records: List[Record] = []
    if data["lm_loss"] is not None:
        data.update(iteration=step, time=time)
        records.append(("iteration", data))
    loss = values.get("val/loss")
    if loss is not None:
        records.append(("validation", {"iteration": step, "lm_loss": loss if isinstance(loss, str) else float(loss), "ppl": None, "time": time}))
    return records


def _verl_pairs(text: str, found: Match[str]) -> List[Pair]:
    pairs: List[Pair] = []
    for part in text[found.end():].split(" - "):
        name, _, raw = part.rpartition(":")
        value = fields.value_at(raw) if name else None
        if value is not None:
            pairs.append((name.strip(), value[0], value[1]))
    return pairs

"""Step lines with a shape of their own: torchtitan, MindFormers and MindSpore, verl.

Owns one line at a time. Refuses everything without a training loss. Never raises.
"""

from __future__ import annotations

import re
from typing import List, Optional

from agent.parse import bars, fields
from agent.parse.fields import Pair, Record
from agent.parse.text import printed_time

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
        return _verl(text, int(verl.group(1)), verl.end(), printed_time(text[:verl.start()], last=True))
    mindspore = _MINDSPORE.search(text)
    value = fields.value_at(text, mindspore.end()) if mindspore else None
    if mindspore and value:
        data, _ = fields.filled([("loss", value[0], "")])
        data.update(iteration=int(mindspore.group(2)), time=printed_time(text[:mindspore.start()], last=True))
        data["extra"]["epoch"] = int(mindspore.group(1))
        return [("iteration", data)]
    titan = _TITAN.search(text)
    if titan:
        return _titan(text, titan.group(1) is not None, int(titan.group(2).replace(",", "")), int(titan.group(3)) if titan.group(3) else None,
                      titan.start(), titan.end(), printed_time(text[:titan.start()], last=True))
    return []


def _titan(text: str, validating: bool, step: int, total: Optional[int], start: int, place: int, time: Optional[str]) -> List[Record]:
    pairs: List[Pair] = []
    for before in _BEFORE.finditer(text, max(0, start - 200), start):
        value = fields.value_at(before.group(2))
        if value is not None:
            pairs.append((before.group(1), value[0], value[1]))
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
    data, _ = fields.filled(pairs)
    if data["lm_loss"] is None:
        return []
    if validating:
        return [("validation", {"iteration": step, "lm_loss": data["lm_loss"], "ppl": None, "time": time})]
    data.update(iteration=step, total=total, time=time)
    return [("iteration", data)]


def _next(text: str, place: int) -> int:
    """Where the next name may begin; -1 where none can."""
    found = _GAP.search(text, place + 1)
    return found.start() if found else -1


def _mindformers(text: str) -> List[Record]:
    found = _FORMERS.search(text)
    if found is None:
        return []
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
    data, _ = fields.filled(pairs)
    if data["lm_loss"] is None:
        return []
    epoch, epochs = int(found.group(1)), int(found.group(2))
    data.update(iteration=int(found.group(3)), total=int(found.group(4)), time=printed_time(text[:found.start()], last=True))
    data["extra"]["epoch"] = epoch
    bars.across_epochs(data, epoch - 1, epochs)
    return [("iteration", data)]


def _verl(text: str, step: int, place: int, time: Optional[str]) -> List[Record]:
    pairs: List[Pair] = []
    for part in text[place:].split(" - "):
        name, _, raw = part.rpartition(":")
        value = fields.value_at(raw) if name else None
        if value is not None:
            pairs.append((name.strip(), value[0], value[1]))
    values = {fields.squeezed(name): value for name, value, _ in pairs}
    data, _ = fields.filled(pairs)
    found: List[Record] = []
    if data["lm_loss"] is not None:
        data.update(iteration=step, time=time)
        found.append(("iteration", data))
    loss = values.get("val/loss")
    if loss is not None:
        found.append(("validation", {"iteration": step, "lm_loss": loss if isinstance(loss, str) else float(loss), "ppl": None, "time": time}))
    return found

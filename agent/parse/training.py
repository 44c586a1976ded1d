"""Training log lines of all trainers: iterations, validations, checkpoints.

Owns the order in which the families' modules are asked about one line (``megatron``, ``dicts``, ``bars``,
``steps``, ``saves``). Refuses to look beyond the line: wrapped records, steps that only the progress bar
beside a line names, and derived throughput are ``reading``'s. Never raises.
"""

from __future__ import annotations

from typing import List

from agent.parse import asides, bars, chinese, dicts, megatron, saves, steps
from agent.parse.fields import ITERATION_FIELDS, Number, Record, number
from agent.parse.text import clean

__all__ = ["ANCHORS", "ITERATION_FIELDS", "LINE_LIMIT", "VERSION", "Number", "Record", "number", "parse_line"]

VERSION = 4
LINE_LIMIT = 20000
"""Longer lines are cut here, characters: no record is longer."""

ANCHORS = ("teration  ", "teration:", "teration=", "teration [", *("teration %d" % digit for digit in range(10)), "loss:", "loss=", "Loss:", "Loss=", "'loss'", '"loss"', "_loss'", '_loss"', "loss is ", " loss at ", "Epoch:[",
           *saves.ANCHORS, *asides.ANCHORS, *chinese.ANCHORS)
"""Every line that gives a record holds one of these."""


def parse_line(text: str) -> List[Record]:
    """The records in one line, as (kind, data); kinds ``iteration``, ``validation``, ``checkpoint``.

    Data holds the metric fields of DESIGN section 8, unknown ones None: of a mapping or a fragment without
    a step the iteration is None too. Units: ms, samples, TFLOP/s per device, tokens/s per device. NaN and
    infinities are the strings "nan", "inf", "-inf". Metrics without a field of their own go to ``extra``
    under the name as printed (blanks collapsed).
    """
    text = clean(text[:LINE_LIMIT])
    event = saves.event(text)
    if event is not None:
        return [("checkpoint", event), *bars.reached(text)]
    text = chinese.keyed(text)
    if " loss at " in text or "validation after" in text:
        validation = megatron.validation(text)
        if validation is not None:
            return [("validation", validation)]
    records = steps.records(text) if "Epoch:[" in text else megatron.iterations(text)
    if not records and "{" in text:
        records = dicts.records(text)
    if not records and "<" in text and "[" in text:
        records = bars.records(text)
    return records or steps.records(text)

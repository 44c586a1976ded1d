"""Training log lines of the Megatron family: iterations, validations, checkpoints.

Owns one line at a time of Megatron-LM (2021 to core 0.16), Megatron-DeepSpeed, MindSpeed-LLM and -MM, and
Rankdeck's own trainer, which prints the same. Refuses to join records that a terminal wrapped over lines,
to derive throughput, and to take a counter for an iteration: timers (``time (ms) | ...``), memory reports
(``(after 20 iterations) memory``) and ``Evaluating iter 1/5`` are none. Never raises.

Fields are found by their key, blanks, hyphens and underscores in it ignored: the eras spell
``lm loss``, ``lm-loss`` and ``lm_loss``, ``elapsed time per iteration (ms)`` and
``elapsed_time_per_iteration_ms=``.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple, Union

from agent.parse.text import clean, printed_time

VERSION = 1

ANCHORS = ("iteration", "validation loss", "test loss", "saved checkpoint", "saving checkpoint", "loaded checkpoint")
"""Every line that gives a record holds one of these."""

Number = Union[int, float, str]
Record = Tuple[str, Dict[str, Any]]

ITERATION_FIELDS = ("iteration", "total", "lm_loss", "learning_rate", "elapsed_ms", "grad_norm", "consumed_samples",
                    "global_batch_size", "loss_scale", "skipped", "nan", "tflops", "tokens_per_s_per_device",
                    "extra", "time")

# " [2025-09-05 16:08:14] iteration        1/    2000 | consumed samples:          128 | ..."
# "  iteration=  136004/  136100 | consumed_samples=   835608576 | ..." (Megatron-DeepSpeed, Argonne)
_ITERATION = re.compile(r"(?<![A-Za-z0-9_])iteration[ \t:=]*([0-9]{1,15})[ \t]*/[ \t]*([0-9]{1,15})(?![0-9/])")
_VALUE = re.compile(r"^[ \t_]*([-+]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|nan|inf(?:inity)?))(?![0-9A-Za-z.])",
                    re.IGNORECASE)
# " validation loss at iteration 2500 on validation set | lm loss value: 2.925279E+00 | lm loss PPL: 1.863942E+01 | "
_VALIDATION = re.compile(r"\b(?:validation|test) loss at (?:iteration[ \t]+([0-9]{1,15})|the end of training)")
# "saving checkpoint at iteration    2500 to /ckpt in torch_dist format"
# "  scheduled an async checkpoint save at iteration     100 to /ckpt"
_STARTED = re.compile(r"(?:saving checkpoint|scheduled an async checkpoint save) at iteration[ \t]+([0-9]{1,15})"
                      r" to (.*?)(?: in [\w.-]+ format)?[ \t]*$")
# "  successfully saved checkpoint from iteration    2500 to /ckpt [ t 1/2, p 1/1 ]", before 2023 "at iteration"
_SAVED = re.compile(r"successfully saved checkpoint (?:from|at) iteration[ \t]+([0-9]{1,15})(?: to (.*?))?(?:[ \t]*\[ ?t .*)?[ \t]*$")
# "  successfully loaded checkpoint from /ckpt [ t 1/1, p 1/1 ] at iteration 10"
_LOADED = re.compile(r"successfully loaded checkpoint (?:from (.*?)[ \t]*(?:\[ ?t [^\]]*\][ \t]*)?)?at iteration[ \t]+([0-9]{1,15})")

_FLOAT, _WHOLE, _SECONDS = "float", "whole", "seconds"
_KEYS: Dict[str, Tuple[str, str]] = {
    "consumedsamples": ("consumed_samples", _WHOLE),
    "elapsedtimeperiteration(ms)": ("elapsed_ms", _FLOAT),
    "elapsedtimeperiterationms": ("elapsed_ms", _FLOAT),
    "elapsedtimeperiteration(s)": ("elapsed_ms", _SECONDS),
    "learningrate": ("learning_rate", _FLOAT), "lr": ("learning_rate", _FLOAT),
    "globalbatchsize": ("global_batch_size", _WHOLE),
    "lmloss": ("lm_loss", _FLOAT), "loss": ("lm_loss", _FLOAT), "reducedtrainloss": ("lm_loss", _FLOAT),
    "lossscale": ("loss_scale", _FLOAT), "gradnorm": ("grad_norm", _FLOAT),
    "numberofskippediterations": ("skipped", _WHOLE), "numberofnaniterations": ("nan", _WHOLE),
    "throughputpergpu(tflop/s/gpu)": ("tflops", _FLOAT), "tflops": ("tflops", _FLOAT),
    "tokenspergpupersecond(tgs)": ("tokens_per_s_per_device", _FLOAT),
    "tokenspergpupersecondtgs": ("tokens_per_s_per_device", _FLOAT),
}
# Not numbers in JSON: these fields of a record take numbers alone.
_FINITE = frozenset(("elapsed_ms", "tflops", "tokens_per_s_per_device"))


def parse_line(text: str) -> List[Record]:
    """The records in one line, as (kind, data); kinds ``iteration``, ``validation``, ``checkpoint``.

    Data holds the metric fields of DESIGN section 8, unknown ones None. Units: ms, samples, TFLOP/s per
    device, tokens/s per device. NaN and infinities are the strings "nan", "inf", "-inf". Metrics without
    a field of their own go to ``extra`` under the key as printed (blanks collapsed).
    """
    text = clean(text)
    if " checkpoint" in text:
        event = _checkpoint(text)
        if event is not None:
            return [("checkpoint", event)]
    if " loss at " in text:
        validation = _validation(text)
        if validation is not None:
            return [("validation", validation)]
    found = list(_ITERATION.finditer(text)) if "iteration" in text else []
    records: List[Record] = []
    for place, match in enumerate(found):
        end = found[place + 1].start() if place + 1 < len(found) else len(text)
        start = found[place - 1].end() if place else 0
        data = _iteration(match, text[match.end():end], printed_time(text[start:match.start()]))
        if data is not None:
            records.append(("iteration", data))
    return records


def _iteration(match: "re.Match[str]", rest: str, time: Optional[str]) -> Optional[Dict[str, Any]]:
    data: Dict[str, Any] = dict.fromkeys(ITERATION_FIELDS)
    extra: Dict[str, Number] = {}
    known = 0
    for part in rest.split("|")[1:]:
        key, value = _field(part)
        if value is None:
            continue
        name, kind = _KEYS.get(re.sub(r"[\s_-]+", "", key.lower()), ("", _FLOAT))
        if not name or (name == "lm_loss" and data["lm_loss"] is not None):
            extra[" ".join(key.split())] = value
            continue
        known += 1
        data[name] = _as(value, kind, name in _FINITE)
    if not known:
        return None
    data.update(iteration=int(match.group(1)), total=int(match.group(2)), time=time, extra=extra)
    return data


def _field(part: str) -> Tuple[str, Optional[Number]]:
    """("learning rate", 1e-05) of ``learning rate: 1.000E-05``; the value is None where there is no number."""
    key, colon, value = part.partition(":")
    if not colon:
        key, colon, value = part.partition("=")
    found = _VALUE.match(value) if key.strip() else None
    return key.strip(), number(found.group(1)) if found else None


def number(token: str) -> Number:
    """The number in a token that matches ``[-+]?digits...|nan|inf``: int, float, or "nan", "inf", "-inf"."""
    low = token.lower()
    if "n" in low:
        return "nan" if "nan" in low else "-inf" if low[0] == "-" else "inf"
    if len(token) <= 18 and re.match(r"^[-+]?[0-9]+$", token):
        return int(token)
    value = float(token)
    return value if abs(value) != float("inf") else "inf" if value > 0 else "-inf"


def _as(value: Number, kind: str, finite: bool) -> Optional[Number]:
    if isinstance(value, str):
        return None if finite or kind == _WHOLE else value
    if kind == _WHOLE:
        return int(value)
    return round(value * 1000.0, 6) if kind == _SECONDS else float(value)


def _validation(text: str) -> Optional[Dict[str, Any]]:
    found = _VALIDATION.search(text)
    if not found:
        return None
    data: Dict[str, Any] = {"iteration": int(found.group(1)) if found.group(1) else None,
                            "lm_loss": None, "ppl": None, "time": printed_time(text[:found.start()])}
    for part in text[found.end():].split("|")[1:]:
        key, value = _field(part)
        name = {"lm loss value": "lm_loss", "loss value": "lm_loss", "lm loss ppl": "ppl"}.get(" ".join(key.lower().split()))
        if name and value is not None:
            data[name] = _as(value, _FLOAT, False)
    return data if data["lm_loss"] is not None else None


def _checkpoint(text: str) -> Optional[Dict[str, Any]]:
    for event, pattern in (("saved", _SAVED), ("started", _STARTED), ("loaded", _LOADED)):
        found = pattern.search(text)
        if found:
            iteration, path = found.groups() if event != "loaded" else reversed(found.groups())
            return {"iteration": int(iteration), "event": event, "path": path or None, "seconds": None,
                    "bytes": None, "time": printed_time(text[:found.start()])}
    return None

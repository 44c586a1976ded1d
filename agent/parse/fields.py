"""The grammar all trainers share: a name, a colon or an equals sign, a number, perhaps a unit.

Owns which printed name is which field of an iteration record, the numbers (thousands separators, SI
suffixes, NaN), and the making of the record. Refuses to know line shapes (the modules beside it do).
Never raises.

Names are compared with blanks, hyphens and underscores ignored and in lower case: the eras and trainers
spell ``lm loss``, ``lm-loss`` and ``lm_loss``, ``elapsed time per iteration (ms)`` and
``elapsed_time_per_iteration_ms=``.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union

Number = Union[int, float, str]
Record = Tuple[str, Dict[str, Any]]
Pair = Tuple[str, Number, str]
"""Name as printed (blanks collapsed), number, unit ("" where none is printed)."""

EXTRA_LIMIT = 100
"""Most metrics without a field of their own that one record keeps."""
ITERATION_FIELDS = ("iteration", "total", "lm_loss", "learning_rate", "elapsed_ms", "grad_norm", "consumed_samples",
                    "global_batch_size", "loss_scale", "skipped", "nan", "tflops", "tokens_per_s_per_device",
                    "extra", "time")

_FLOAT, _WHOLE, _MS, _SECONDS, _TERA = "float", "whole", "ms", "seconds", "tera"
_NAMES: Dict[Tuple[str, str], str] = {
    # Of several losses in one line the first listed here is the training loss. Megatron; NeMo; torchtitan,
    # HF, MindSpeed-MM, MindFormers; verl.
    ("lm_loss", _FLOAT): "lmloss, reducedtrainloss, trainloss, train/loss, loss, actor/loss, actor/pgloss, globalavgloss",
    ("learning_rate", _FLOAT): "learningrate, lr, train/lr, actor/lr",
    ("grad_norm", _FLOAT): "gradnorm, gradientnorm, gnorm, globalnorm, globalgradnorm, train/gradnorm, actor/gradnorm",
    ("elapsed_ms", _MS): "elapsedtimeperiteration(ms), elapsedtimeperiterationms, elapsedtimeperiteration, persteptime, "
                         "iterationtime(ms), iterationtimems, stepms",
    ("elapsed_ms", _SECONDS): "elapsedtimeperiteration(s), elapsedtimeperiterations, trainsteptimingins, timings/step, "
                              "perf/timeperstep, timing/all, iterationtime(s), itertime(s), timeperiteration(s), steptime",
    ("consumed_samples", _WHOLE): "consumedsamples, consumedtrainsamples",
    ("global_batch_size", _WHOLE): "globalbatchsize, gloablbatchsize, gbs",
    ("loss_scale", _FLOAT): "lossscale",
    ("skipped", _WHOLE): "numberofskippediterations, skippediterations",
    ("nan", _WHOLE): "numberofnaniterations, naniterations",
    ("tflops", _TERA): "throughputpergpu(tflop/s/gpu), throughputperdevice(tflop/s/device), throughputpernpu(tflop/s/npu), "
                       "throughput(tflop/s/gpu), throughput(tflop/s/npu), tflops, modeltflopspergpu, tflop/s/gpu, tflop/s/npu, "
                       "tflopspergpu, trainthroughputpernpu",
    ("tokens_per_s_per_device", _FLOAT): "tokenspergpupersecond(tgs), tokenspergpupersecondtgs, tokenspergpupersecond, tgs, tps, "
                                         "tokenspersecpergpu, tokenspersecondpergpu, tokenspersecpernpu, tokenspersecondpernpu, "
                                         "tokenspernpupersecond, tokens/s/p, throughput(tokens/s/p), tokens/s/gpu, tokens/s/npu, "
                                         "tokens/sec/gpu, tokens/sec/npu, tokens/s/device, tokens/sec/device, tokenspersecondperdevice, "
                                         "throughput(tokens/s/gpu), throughput(tokens/s/npu), throughput(tokens/sec/gpu), throughput(tokens/sec/npu), "
                                         "tokenspergpu(tokens/s/gpu), tokenspernpu(tokens/s/npu), throughput(token/s/gpu), throughput(token/s/npu), throughput(token/sec/gpu), perf/throughput",
}
KEYS: Dict[str, Tuple[str, str]] = {spelling.strip(): target for target, spellings in _NAMES.items()
                                    for spelling in spellings.split(",")}
_OTHER = ("", _FLOAT)
# What is counted per device and second, whatever it is called: "flop throughput (TFLOP/sec/GPU)", "tgs (tokens/gpu/second)".
_DEVICE, _SECOND = "(?:gpu|npu|device|card|chip|p)", "s(?:ec(?:ond)?)?"
_RATE = re.compile("(?:(tflops?)|(tokens?))/(?:%s/%s|%s/%s)\\)?\\Z" % (_SECOND, _DEVICE, _DEVICE, _SECOND))
_TARGETS: Dict[str, Tuple[str, str]] = {}
_LOSS_ORDER = [name.strip() for name in _NAMES[("lm_loss", _FLOAT)].split(",")]
# Not numbers in JSON: these fields of a record take finite numbers alone.
_FINITE = frozenset(("elapsed_ms", "tflops", "tokens_per_s_per_device"))

_DIGITS = (r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][-+]?[0-9]{1,4})?"
           r"|\.[0-9]{1,400}(?:[eE][-+]?[0-9]{1,4})?|[nN][aA][nN]|[iI]nf(?:inity)?|INF)")
# "6,785", "634K", "103328ms", "68.57GiB(86.69%)", "[44.313248]", "np.float64(0.5)", "tensor(1.2, ...", and "_ 16" of a
# scanned page. MindFormers prints one-element lists, whose point a document may lose: "[1 31049]".
_VALUE = (r"[ \t_]{0,20}(?:\[ {0,20}|(?:np\.|numpy\.)?[a-z]{1,8}[0-9]{0,3}\(\[?)?(" + _DIGITS + r")(?: (?=[0-9]{4,12}\])([0-9]{4,12}))?"
          r"(ms|s|us|[KMGBT]i?B?|%)?(?![0-9A-Za-z.])[\])]{0,3}")
_PAIR = re.compile(r"[\s,;|\]]{0,400}([A-Za-z_@][^:=|\n]{0,90}?) {0,20}[:=]" + _VALUE)
VALUE = re.compile(_VALUE)
# Megatron-LM of 2019: "| learning rate 1.500E-04 | lm loss 9.2E+00 |"; only of the fields of a record.
_BARE = re.compile(r"^\s{0,80}([A-Za-z][A-Za-z _-]{1,40}?)[ \t]{1,20}(" + _DIGITS + r")\s{0,80}$")
_NAME = re.compile(r"^[\s,;\]]{0,400}([A-Za-z_@][^:=|\n]{0,90}?)\s{0,20}$")
# Names as printed: the same few come again and again.
_COLLAPSED: Dict[str, str] = {}
_SQUEEZED: Dict[str, str] = {}
_SI = {"K": 10 ** 3, "M": 10 ** 6, "G": 10 ** 9, "B": 10 ** 9, "T": 10 ** 12}


def number(token: str) -> Number:
    """The number in a token: int, float, or "nan", "inf", "-inf"; commas between thousands are dropped."""
    low = token.lower()
    if "n" in low:
        return "nan" if "nan" in low else "-inf" if low[0] == "-" else "inf"
    token = token.replace(",", "")
    if len(token) <= 18 and token.lstrip("+-").isdigit():
        return int(token)
    value = float(token)
    return value if abs(value) != float("inf") else "inf" if value > 0 else "-inf"


def value_at(text: str, place: int = 0) -> Optional[Tuple[Number, str, int]]:
    """(number, unit, where it ends) of the value that begins at ``place``; None where there is none."""
    found = VALUE.match(text, place)
    return None if found is None else (_value(found.group(1), found.group(2)), found.group(3) or "", found.end())


def _plain(raw: str) -> Optional[Number]:
    """The number a text of digits, sign, point and exponent stands for; None for any other."""
    if raw.isdigit():
        return int(raw) if len(raw) <= 18 and raw.isascii() else None
    try:
        value = float(raw)
    except ValueError:
        return None
    # float() also reads "nan", "1_0" and digits of other scripts; an overflow is left to the slow way, too.
    return value if raw[-1] in "0123456789." and "_" not in raw and value - value == 0.0 and raw.isascii() and "." in raw else None


def _collapsed(name: str) -> str:
    """The name without what parts it from the field before, blanks collapsed; "" where it is none."""
    known = _COLLAPSED.get(name)
    if known is None:
        found = _NAME.match(name)
        known = " ".join(found.group(1).split()) if found else ""
        if len(_COLLAPSED) < 4096:
            _COLLAPSED[name] = known
    return known


def _value(token: str, rest: Optional[str]) -> Number:
    return number(token + "." + rest if rest and token.lstrip("+-").isdigit() else token)


def pairs(text: str) -> Iterator[Pair]:
    """The ``name: number`` pairs of a text, fields parted by ``|``; several may stand in one field.

    A field whose value is no number is passed over.
    """
    for segment in text.split("|"):
        name, colon, raw = segment.partition(":")
        plain = _plain(raw.strip()) if colon else None
        if plain is not None and "=" not in name:    # nearly all are so; the expression below reads them alike, slower
            collapsed = _collapsed(name)
            if collapsed:
                yield collapsed, plain, ""
                continue
        if not colon and "=" not in segment:
            bare = _BARE.match(segment) if len(segment) < 200 else None
            if bare is not None and (bare.group(1).endswith("loss") or squeezed(bare.group(1)) in KEYS):
                yield " ".join(bare.group(1).split()), number(bare.group(2)), ""
            continue
        place = 0
        while place < len(segment):
            found = _PAIR.match(segment, place)
            if found is None:
                place = segment.find(",", place + 1)
                if place < 0:
                    break
                continue
            yield " ".join(found.group(1).split()), _value(found.group(2), found.group(3)), found.group(4) or ""
            place = found.end()


def squeezed(name: str) -> str:
    """The name without blanks, hyphens and underscores, in lower case."""
    short = _SQUEEZED.get(name)
    if short is None:
        short = re.sub(r"[\s_-]+", "", name).lower()
        if len(_SQUEEZED) < 4096:
            _SQUEEZED[name] = short
    return short


def known(name: str) -> bool:
    """Whether the printed name is one of a record's own fields."""
    return squeezed(name) in KEYS


def filled(found: Iterable[Pair]) -> Tuple[Dict[str, Any], int]:
    """(an iteration record's data without place and time, how many of its own fields the pairs gave).

    What has no field of its own goes to ``extra`` under the name as printed.
    """
    data: Dict[str, Any] = dict.fromkeys(ITERATION_FIELDS)
    extra: Dict[str, Number] = {}
    count = 0
    losses: List[Tuple[int, str, Number]] = []
    for name, value, unit in found:
        short = _SQUEEZED.get(name) or squeezed(name)
        field, kind = KEYS.get(short) or _TARGETS.get(short) or _target(short)
        if field and not unit and kind == _FLOAT and field != "lm_loss" and type(value) is float:    # most are so: no detours
            data[field] = value
            count += 1
            continue
        if unit == "T" and short == "throughput":    # MindFormers: operations a second and device
            field, kind = "tflops", _TERA
        if not field and short.startswith("train/lr("):    # verl: "train/lr(1e-3):0.01" is 0.01 thousandths
            field, value = "learning_rate", _scaled(value, name[name.find("(") + 1:].rstrip(")"))
        if field == "lm_loss":
            losses.append((_LOSS_ORDER.index(short), name, value))
        elif field and not (data[field] is not None and short in _TARGETS):    # named twice, the later holds
            data[field] = _as(value, kind, unit, field in _FINITE)
            count += data[field] is not None
        elif len(extra) < EXTRA_LIMIT:
            extra[name] = value if kind == _TERA or unit not in _SI or isinstance(value, str) else _whole(value * _SI[unit])
    losses.sort(key=lambda loss: loss[0])
    for _, name, value in losses:
        if data["lm_loss"] is None:
            data["lm_loss"] = value if isinstance(value, str) else float(value)
            count += 1
        else:
            extra[name] = value
    data["extra"] = extra
    return data, count


def _target(short: str) -> Tuple[str, str]:
    """(field, kind) of a name that is not listed, by its unit."""
    found = _RATE.search(short)
    target = _OTHER if found is None else ("tflops", _TERA) if found.group(1) else ("tokens_per_s_per_device", _FLOAT)
    if len(_TARGETS) < 4096:
        _TARGETS[short] = target
    return target


def _scaled(value: Number, scale: str) -> Number:
    found = value_at(scale)
    return value if isinstance(value, str) or found is None or isinstance(found[0], str) else value * found[0]


def _whole(value: Union[int, float]) -> Union[int, float]:
    return int(value) if float(value).is_integer() else value


def _as(value: Number, kind: str, unit: str, finite: bool) -> Optional[Number]:
    if isinstance(value, str):
        return None if finite or kind == _WHOLE else value
    if kind in (_MS, _SECONDS):
        thousand = unit == "s" or (kind == _SECONDS and unit != "ms")
        scale = _SI.get(unit, 1) * (1000.0 if thousand else 1.0)    # "11.5K" ms
        return float(value) if scale == 1.0 else round(value * scale, 6)
    if kind != _TERA and unit[:1] in _SI:
        value = value * _SI[unit[0]]
    return round(value) if kind == _WHOLE else float(value)

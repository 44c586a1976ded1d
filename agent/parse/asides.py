"""What trainers print around their iterations: starts, memory, timers, and the arguments throughput needs.

Owns one line at a time, and the throughput formula of the operators' guide (seed S3). Refuses to make
iteration records. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from agent.parse import fields, prefixes
from agent.parse.fields import Record
from agent.parse.text import kept, printed_time

# Megatron "training ..."; HF "***** Running training *****"; torchtitan "Training starts at step 1"
_START = re.compile(r"^(?:.{0,200}[\]:>\s])?(?:training \.\.\.|Training \.\.\.|\*{3,8}\s{0,3}Running training\s{0,3}\*{3,8}|Training starts at step \d{1,12}.{0,200})$")
# "[before the start of training step] datetime: 2025-04-13 23:41:00"
_BEFORE = re.compile(r"\[before the start of training step\] datetime: ")
# "[Rank 20] (after 20 iterations) memory (MB) | allocated: 15426.4 | max allocated: 18045.6 | reserved: 22290.0 | ..."
_MEMORY = re.compile(r"\(?after ([0-9]{1,15}) iterations\)? memory \(([MG]i?B)\)")
# Megatron-Bridge: "... memory (GB) | mem-allocated-gigabytes: 13.367 | mem-max-allocated-gigabytes: 13.4 | ..."
_MEMORY_NAME = re.compile(r"^mem-|-(?:giga|mega)bytes$")
# Of fields between bars that a terminal broke: what begins the rest, a field that lacks its value, a number at the end.
_FIELD_GOES_ON = re.compile(r"^[A-Za-z0-9_/. -]{0,80}(?:(?:: {0,4})?[0-9.]{1,20} {0,2})?(?:\||$)")
_HALF_FIELD = re.compile(r"\|[ A-Za-z0-9_/-]{0,80}:? {0,2}\Z")
_ITS_NUMBER = re.compile(r"[0-9][0-9.]{0,19}\Z")
# "    save-checkpoint ................................: (383764.98, 383765.08)"; with --timing-log-option max the second alone
_TIMER = re.compile(r"(?:^|[\s\]:>])([\w/-]{1,80}) \.{2,80}: (?:\(([0-9.]{1,20}), ([0-9.]{1,20})\)|([0-9.]{1,20}))\s{0,8}$")
# "(min, max) time across ranks (ms):", "max time across ranks (ms):": the timers follow, a line each.
TIMERS = "time across ranks (ms)"
# "time (ms) | save-checkpoint: 57514.53 | ..."
_TIMES = re.compile(r"time \(ms\) ?\|")
TIMERS_LIMIT = 64
"""Most timers that one block of them holds."""
# "  seq_length ...................................... 4096" (Megatron's dump of its arguments)
_ARGUMENT = re.compile(r"\b(seq_length|world_size|global_batch_size|train_iters|encoder_seq_length) \.{3,80} ([0-9]{1,12})\s*$")

# torchtitan: "Loading the checkpoint at step 100.", "Loading the checkpoint from outputs/checkpoint/step-100."; that it
# has been loaded is said without the step.
_LOADING = re.compile(r"Loading the checkpoint (?:at step |from \S{0,4000}?step-)([0-9]{1,15})(?![0-9])")

# "[2023-01-01 00:00:00,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=0, lr=[1e-05, 1e-05], mom=[[0.9, 0.999]]"
_DEEPSPEED = re.compile(r"\bstep=([0-9]{1,12}), {0,4}skipped=([0-9]{1,12}), {0,4}lr=\[")

TRACEBACK = "Traceback (most recent call last)"
ANCHORS = ("Loading the checkpoint", TIMERS, "time (ms) |", "seq_length ...", "world_size ...", "memory (MB)", "memory (GB)", "training ...", "Training ...", "Running training", "Training starts at",
           "the start of training", "save-checkpoint", "load-checkpoint", ", skipped=", TRACEBACK)


def asides(text: str) -> List[Record]:
    """The records in one (cleaned) line, kinds ``start``, ``memory``, ``timer`` (one, ms), ``timers`` (several), ``loading``, ``argument`` and
    ``optimizer`` (DeepSpeed's line of a step: all steps skipped so far)."""
    argument = _ARGUMENT.search(text) if "..." in text else None
    if argument:
        name = "seq_length" if argument.group(1) == "encoder_seq_length" else argument.group(1)
        return [("argument", {"name": name, "value": int(argument.group(2))})]
    if _BEFORE.search(text):
        return [("start", {"time": printed_time(text, last=True)})]
    if _START.match(text):
        return [("start", {"time": printed_time(text)})]
    optimizer = _DEEPSPEED.search(text) if "skipped=" in text else None
    if optimizer:
        rate = fields.value_at(text, optimizer.end())
        return [("optimizer", {"iteration": int(optimizer.group(1)), "skipped": int(optimizer.group(2)), "learning_rate": rate[0] if rate else None,
                               "time": printed_time(text[:optimizer.start()], last=True)})]
    loading = _LOADING.search(text)
    if loading:
        return [("loading", {"iteration": int(loading.group(1))})]
    memory = _MEMORY.search(text)
    if memory:
        values: Dict[str, Any] = {fields.squeezed(_MEMORY_NAME.sub("", name)): value for name, value, _ in fields.pairs(text[memory.end():].lstrip(" |"))}
        scale = 1024.0 if memory.group(2).startswith("G") else 1.0
        data: Dict[str, Any] = {"iteration": int(memory.group(1)), "time": printed_time(text[:memory.start()], last=True)}
        for name in ("allocated", "max allocated", "reserved", "max reserved"):
            value = values.get(name.replace(" ", ""))
            data[name.replace(" ", "_") + "_mb"] = value * scale if isinstance(value, (int, float)) else None
        if data["max_allocated_mb"] is None and "max" not in text[memory.end():]:
            data["max_allocated_mb"] = data["allocated_mb"]
        return [("memory", data)]
    own = timer(text)
    if own:
        return [("timer", {"name": own[0], "ms": own[1][1]})]
    times = _TIMES.search(text)
    if times:
        known = {name: [float(value), float(value)] for name, value, _ in fields.pairs(text[times.end():]) if not isinstance(value, str)}
        found: List[Record] = [("timer", {"name": name, "ms": both[1]}) for name, both in known.items() if name == "save-checkpoint"]
        return found + ([("timers", {"ms": dict(list(known.items())[:TIMERS_LIMIT]), "time": printed_time(text[:times.start()], last=True)})] if known else [])
    return []


def joined(text: str, following: Sequence[str]) -> Tuple[str, int]:
    """(a line of memory or timers with what a terminal wrapped of it put back, how many of the following lines that took)."""
    whole, taken = kept(text), 0
    begun = _MEMORY.search(whole) or _TIMES.search(whole)
    width, place = len(whole), begun.end() if begun else 0
    if begun is None or width < 40:    # columns
        return text, 0
    for line in following:
        line = kept(line)
        piece = line[prefixes.length(text, line, taken + 1):]
        if not piece.strip() or len(line) > width + 2 or not _FIELD_GOES_ON.match(piece):
            break
        number = _ITS_NUMBER.search(whole[-20:])    # printed with a fraction: without one it goes on
        cut = number and piece[0] in "0123456789." and ("|" in piece or "." not in number.group())
        before, after = (sum(1 for _ in fields.pairs(part[place:].lstrip(" |"))) for part in (whole, whole + piece))
        if not cut and (after <= before or not (_HALF_FIELD.search(whole[-90:]) or piece.lstrip()[0] in "|:")):
            break
        whole += piece
        taken += 1
        if len(line) < width - 2:
            break
    return (whole, taken) if taken else (text, 0)


def timer(text: str) -> Optional[Tuple[str, List[float]]]:
    """(name, [least, most] of the ranks, ms) of one (cleaned) line of a block of timers; None for any other."""
    found = _TIMER.search(text) if ".:" in text else None
    if found is None:
        return None
    try:
        most = float(found.group(3) or found.group(4))
        return found.group(1), [float(found.group(2) or most), most]
    except ValueError:
        return None


def tokens_per_s_per_device(global_batch_size: Optional[float], seq_length: Optional[float], devices: Optional[float],
                            elapsed_ms: Optional[float]) -> Optional[float]:
    """GBS x sequence length / (devices x ms per iteration) x 1000, tokens/s/p; None where one is missing.

    Source: the operators' guide S3, "performance".
    """
    if not global_batch_size or not seq_length or not devices or not elapsed_ms or min(global_batch_size, seq_length, devices, elapsed_ms) <= 0:
        return None
    return global_batch_size * seq_length / (devices * elapsed_ms) * 1000.0

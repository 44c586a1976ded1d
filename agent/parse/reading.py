"""A log read block by block: every record in it with its place, and what must be remembered between blocks.

Owns what needs more than one line: records a terminal wrapped, the step that only the progress bar beside a
line names, a save that failed, throughput derived from arguments printed at the start, processes told apart
by what they said of themselves. Refuses to touch files (``agent.follow`` and the console's ``inspect`` do)
and to judge. Never raises; memory is bounded.
"""

from __future__ import annotations

import re
from typing import AbstractSet, Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from agent.parse import asides, bars, endings, megatron, scan, steps, training, wrapped
from agent.parse.text import clean, label, named_place, printed_time, unboxed

KINDS = ("iteration", "validation", "checkpoint", "fault", "start", "memory", "timer", "timers")
_NEAR = 600
"""So many bytes beside a line are looked through for a progress bar."""
_PROCESSES = 256
"""So many processes are remembered by their number."""
# A save that has begun is held to have failed when one of these follows; one that holds up its process (not
# --async-save), when a traceback does.
_BREAKS_SAVES = ("checkpoint-writer-failed", "disk-full", "quota-exceeded", "io-error", "stale-file-handle", "checkpoint-stale-save")

# "  rank      : 0 (local_rank: 0)" (torchrun's report)
_REPORT = re.compile(rb"rank {1,9}: ([0-9]{1,9}) \(local_rank: ([0-9]{1,9})\)")
# "  time      : 2025-05-21_15:43:03", "  host      : node-1"
_REPORT_TIME = re.compile(rb"\btime {1,9}: ([0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9:]{8})")
_REPORT_HOST = re.compile(rb"\bhost {1,9}: ([!-~]{1,255})")

# Another rank's line where the newline of the one before was lost: "... | lm loss: 3.0 |[rank15]: iteration 2/ 9 | ..."
_GLUED = re.compile(r"(?<=[^\s\]:>])[ ]{0,2}(?=\[(?:rank|default)[0-9]{1,6}\]:)")

# A record that may go on in the next block is remembered up to so many characters.
_OPEN_LIMIT = 4000

Memory = Dict[str, Any]
"""Plain JSON: {step, bar: [step, steps], drawn, iterates, skipped, saving: {iteration, path, waits}, saved, loading, open: {text, back, lines}, timers: {data, back, lines}, seq_length, world_size, processes};
{} at the beginning."""


class Found(NamedTuple):
    """One record of a block."""

    kind: str
    data: Dict[str, Any]
    offset: int
    """Of its line's first byte in the block."""
    line: int
    """How many newlines of the block come before it; negative, as ``offset`` is, for a record that began in the block
    before and is told again, whole."""
    version: int
    place: Dict[str, int]
    """What the line says of its origin: ``text.named_place``, and ``task``, the number that srun put before
    it: a rank only if the log gives evidence of that."""


def _all_admitted(rule: str, offset: int) -> bool:
    return True


def read_block(block: bytes, scanner: scan.Scanner, memory: Memory,
               admit: Callable[[str, int], bool] = _all_admitted, spent: Callable[[int], AbstractSet[str]] = lambda offset: frozenset(),
               spans: Optional[Sequence[Tuple[int, int]]] = None) -> List[Found]:
    """The records of whole lines, in their order; ``memory`` is brought up to date in place.

    ``admit(rule, offset)`` says whether a fault is wanted and ``spent(offset)`` which rules surely are not
    (a storm of one fault is cut short by its caller). ``spans``: where in the block lines of interest are,
    if that is known already.
    """
    if b"\xc2" in block:    # one byte is found sooner; a page's blanks: two bytes for two, so that all places stay
        block = block.replace(b"\xc2\xa0", b"  ")
    found: List[Found] = []
    unneeded: List[Found] = []    # told by DeepSpeed's own lines, which count only where the trainer prints none
    newlines, counted, joined_to = 0, 0, 0
    unended = memory.pop("open", None)
    if unended is not None:
        joined_to = _end_of_open(unended, block, memory, found)
    timing = memory.pop("timers", None)
    if timing is not None and _timers_from(block, -1, timing, memory):
        found.append(Found("timers", timing["data"], -timing["back"], -timing["lines"], training.VERSION, {}))
    for line in scanner.lines(block, spans):
        faults = scanner.faults_in(block, line, spent(line.start)) if line.signatures else []
        if not faults and not line.training:    # in a storm, most
            continue
        newlines += block.count(b"\n", counted, line.start)
        counted = line.start
        raw: Optional[str] = None
        if line.training and line.start >= joined_to:
            begin = line.start if block[line.start] else line.end - len(block[line.start:line.end].lstrip(b"\0"))    # a hole: the file was cut while it was written
            raw = unboxed(block[begin:min(line.end, begin + training.LINE_LIMIT)].decode("utf-8", "replace"))
            newline = line.end + block.startswith(b"\r\n", line.end)
            text, joined_to = wrapped.whole(raw, block, newline)
            if joined_to >= len(block) - 1 and "teration" in raw and len(text) <= _OPEN_LIMIT and megatron.counts(text):
                memory["open"] = {"text": text, "back": len(block) - line.start, "lines": block.count(b"\n", line.start)}
            start, above = line.start, 0
            if joined_to == newline and "oss" in raw and "teration" not in raw and "{" not in raw and not steps.begins(raw):
                begun = wrapped.begun_above(block, line)
                if begun is not None:
                    raw, text, start, joined_to = begun
                    above = block.count(b"\n", start, line.start)
            place = _place(raw)
            coloured = raw.endswith("m") and "\x1b" in raw[-6:]    # its colour is ended, so it is whole
            cut = (_is_cut(block, joined_to) and not coloured) or line.end - begin > training.LINE_LIMIT
            glued = _GLUED.split(text) if text.count("]:") > 1 and _GLUED.search(text) else [text]
            told = [(endings.records(part) if cut and number == len(glued) else training.parse_line(part), part) for number, part in enumerate(glued, 1)]
            records = [record for found_in, _ in told for record in found_in]
            if len(glued) == 1:
                places = _places(records, text, place) if len(records) > 1 else [place]
            else:
                places = [_place(part) if number else place for number, (found_in, part) in enumerate(told) for _ in found_in]
            for (kind, data), own in zip(records, places):
                if kind == "checkpoint" and data.pop("beneath", False) and _told_above(data, memory):
                    continue
                _complete(kind, data, memory, block, line, text.find("saving checkpoint at iteration") >= 0)
                if kind != "iteration" or _wanted(data, text, memory):
                    found.append(Found(kind, data, start, newlines - above, training.VERSION, own))
                    if kind == "iteration" and "iterates" not in memory:
                        memory["iterates"] = True
                        found[:] = [one for one in found if not any(one is step for step in unneeded)]
            if asides.TRACEBACK in text and memory.get("saving", {}).get("waits"):
                found.append(Found("checkpoint", _failed(memory, None), line.start, newlines, training.VERSION, place))
            if asides.TIMERS in text:
                timing = {"data": {"iteration": memory.get("step"), "ms": {}, "time": printed_time(text)}, "back": len(block) - line.start,
                          "lines": block.count(b"\n", line.start)}
                if _timers_from(block, newline, timing, memory):
                    found.append(Found("timers", timing["data"], line.start, newlines, training.VERSION, place))
            for kind, data in (endings.beside(clean(text)) if cut else asides.asides(clean(text))) if _is_aside(text) else ():
                if kind == "argument":
                    memory[data["name"]] = data["value"]
                elif kind == "optimizer":
                    step = _optimizer_step(data, memory)
                    if step is not None:
                        found.append(Found("iteration", step, line.start, newlines, training.VERSION, place))
                        unneeded.append(found[-1])
                elif kind == "loading":
                    memory["loading"] = data["iteration"]
                else:
                    if kind == "timers":
                        data["iteration"] = memory.get("step")
                    found.append(Found(kind, data, line.start, newlines, training.VERSION, place))
        for data in faults:
            if "exitcode" in data["text"]:
                _report_above(data, block, line.start)
            if _is_cut(block, line.end):
                endings.fault(data, data["text"])
            _known_process(data, memory)
            if admit(data["rule"], line.start):
                place = _place(raw if raw is not None else block[line.start:min(line.end, line.start + 200)].decode("utf-8", "replace"))
                found.append(Found("fault", data, line.start, newlines, scan.VERSION, place))
                failed = _broken_save(data, memory)
                if failed:
                    found.append(Found("checkpoint", failed, line.start, newlines, training.VERSION, place))
    tail = block[-4 * _NEAR:]
    if b"s/it" in tail or b"it/s" in tail:
        _remember_bar(memory, bars.place(tail.decode("utf-8", "replace")))
    return found


def _end_of_open(begun: Dict[str, Any], block: bytes, memory: Memory, found: List[Found]) -> int:
    """Tell the record whole that the block before broke off in, if it goes on here; where in this block that ends (0: it does not)."""
    following, ends = wrapped.lines_from(block, -1)
    text, taken = megatron.joined(begun["text"], following)
    if not taken:
        return 0
    end = ends[taken - 1]
    if end >= len(block) - 1 and len(text) <= _OPEN_LIMIT:
        memory["open"] = {"text": text, "back": begun["back"] + len(block), "lines": begun["lines"] + block.count(b"\n")}
    for kind, data in endings.records(text) if _is_cut(block, end) else training.parse_line(text):
        _complete(kind, data, memory, block, scan.Line(0, end, True, ()), False)
        found.append(Found(kind, data, -begun["back"], -begun["lines"], training.VERSION, _place(text)))
    return end


def _is_cut(block: bytes, end: int) -> bool:
    """Whether what ends there in the block has lost its own end."""
    return end >= len(block) and not block.endswith(b"\n")


def _is_aside(text: str) -> bool:
    return "..." in text or "memory" in text or "checkpoint" in text or "raining" in text or "time (ms)" in text or "skipped=" in text


def _timers_from(block: bytes, place: int, timing: Dict[str, Any], memory: Memory) -> bool:
    """Put the timers in the lines behind a place (-1: from the block's beginning) into ``timing``; whether there are any.

    Where the block ends among them, that is remembered.
    """
    earlier, start = place < 0, place + 1
    ms = dict(timing["data"]["ms"])
    before = len(ms)
    while len(ms) < asides.TIMERS_LIMIT and place < len(block):
        start = place + 1
        place = block.find(b"\n", start, start + 400)
        one = asides.timer(clean(block[start:place].decode("utf-8", "replace"))) if place >= 0 else None
        if one is None:
            break
        ms[one[0]] = one[1]
    timing["data"] = dict(timing["data"], ms=ms)
    if start >= len(block):
        memory["timers"] = dict(timing, back=timing["back"] + len(block), lines=timing["lines"] + block.count(b"\n")) if earlier else dict(timing)
    return len(ms) > before


def _place(raw: str) -> Dict[str, int]:
    text = clean(raw[:200])
    place = named_place(text)
    task = label(text)
    if task is not None:
        place["task"] = task
    return place




def _places(records: Sequence[Tuple[str, Any]], text: str, place: Dict[str, int]) -> List[Dict[str, int]]:
    """Where each of several records glued into one line comes from: what stands before it, else the line's own."""
    places, at = [], 0
    for number, (_, data) in enumerate(records):
        own = {}
        if number and data.get("iteration") is not None:
            begin = megatron.place_of(text, data["iteration"], at)
            if begin >= 0:
                own = _place(text[max(at, begin - 200):begin].rpartition("|")[2])
                at = begin + 1
        elif data.get("iteration") is not None:
            at = max(0, megatron.place_of(text, data["iteration"], 0)) + 1
        places.append(own or place)
    return places




def _complete(kind: str, data: Dict[str, Any], memory: Memory, block: bytes, line: scan.Line, waits: bool) -> None:
    """Put in what the line does not say itself. ``waits``: a save begun here holds up its process."""
    if kind in ("iteration", "validation") and data["iteration"] is None:
        step = _bar_beside(block, line, memory)
        if step:
            data["iteration"] = step[0]
            if kind == "iteration" and data["total"] is None:
                data["total"] = step[1]
    if kind == "iteration":
        if data["iteration"] is not None:
            memory["step"] = data["iteration"]
        if data["tokens_per_s_per_device"] is None:
            length = data["extra"].get("actual seqlen", data["extra"].get("actual_seqlen", memory.get("seq_length")))
            if isinstance(length, (int, float)):
                rate = asides.tokens_per_s_per_device(data["global_batch_size"], length, memory.get("world_size"), data["elapsed_ms"])
                data["tokens_per_s_per_device"] = None if rate is None else round(rate, 3)
    elif kind == "checkpoint":
        if data["event"] == "loaded" and data["iteration"] is None:
            data["iteration"] = memory.pop("loading", None)
        if data["iteration"] is None:
            begun = memory.get("saving") if data["event"] in ("saved", "failed") else None
            data["iteration"] = begun["iteration"] if begun else memory.get("step")
        if data["event"] == "started":
            # Megatron's, unless it hands the save over: the process does nothing else until it is done.
            memory["saving"] = {"iteration": data["iteration"], "path": data["path"], "waits": waits}
        elif data["event"] in ("saved", "failed"):
            begun = memory.pop("saving", None)
            if data["event"] == "saved":
                memory["saved"] = data["iteration"]
            if begun and data["path"] is None and begun["iteration"] == data["iteration"]:
                data["path"] = begun["path"]


def _optimizer_step(data: Dict[str, Any], memory: Memory) -> Optional[Dict[str, Any]]:
    """An iteration record of DeepSpeed's own line, for a log whose trainer prints no other; else None."""
    before, memory["skipped"] = memory.get("skipped", 0), data["skipped"]
    if "iterates" in memory:
        return None
    memory["step"] = data["iteration"]
    return dict(dict.fromkeys(training.ITERATION_FIELDS), **dict(data, extra={}, skipped=max(0, data["skipped"] - before)))


def _told_above(data: Dict[str, Any], memory: Memory) -> bool:
    """Whether the trainer itself tells of the save of which its library does, or another rank has."""
    begun = memory.get("saving")
    if data["event"] == "started":
        return bool(begun is not None and begun["iteration"] == data["iteration"])
    if begun is not None and begun["waits"]:
        return True     # Megatron will say that it is saved
    again = bool(memory.get("saved") == data["iteration"])
    memory["saved"] = data["iteration"]
    return again


def _wanted(data: Dict[str, Any], text: str, memory: Memory) -> bool:
    """Of several drawings of one progress bar the first with a step is its record (Lightning's last)."""
    if "<" not in text or bars.place(text) is None or "{" in text:
        return True
    again = memory.get("drawn") == data["iteration"]
    memory["drawn"] = data["iteration"]
    return not again or bars.LIGHTNING in text


def _bar_beside(block: bytes, line: scan.Line, memory: Memory) -> Optional[Tuple[int, int]]:
    """The step of the bar drawn next after a line, else of the one before it: tqdm writes the line between two drawings."""
    for part in block[line.end:line.end + _NEAR].decode("utf-8", "replace").replace("\r", "\n").split("\n")[:4]:
        if "loss" in part and "{" in part:
            break
        place = bars.place(part, first=True)    # drawn anew at once; a log without carriage returns has the next behind it
        if place:
            _remember_bar(memory, place)
            return place
    _remember_bar(memory, bars.place(block[max(0, line.start - _NEAR):line.end].decode("utf-8", "replace")))
    known = memory.get("bar")
    return (known[0], known[1]) if known and known[0] else None


def _remember_bar(memory: Memory, place: Optional[Tuple[int, int]]) -> None:
    if place:
        memory["bar"] = [place[0], place[1]]


def _report_above(fault: Dict[str, Any], block: bytes, start: int) -> None:
    """torchrun's report of a failure names time, host and rank in lines above its exit code."""
    report = block[max(0, start - 600):start]
    report = report[report.rfind(b"exitcode ") + 1:]    # of the failure before
    times, hosts, above = _REPORT_TIME.findall(report), _REPORT_HOST.findall(report), _REPORT.findall(report)
    if times and fault["time"] is None:
        fault["time"] = printed_time(times[-1].decode("ascii"))
    if hosts:
        fault["host"] = hosts[-1].decode("ascii")
    if above and fault["rank"] is None:
        fault["rank"], fault["local_rank"] = int(above[-1][0]), int(above[-1][1])


def _known_process(fault: Dict[str, Any], memory: Memory) -> None:
    """Fill in rank and device of a process that named them in another line, and remember those it names here."""
    if fault["pid"] is None:
        return
    processes = memory.setdefault("processes", {})
    own = processes.setdefault(str(fault["pid"]), {})
    for name in ("rank", "device"):
        if fault[name] is not None:
            own[name] = fault[name]
        else:
            fault[name] = own.get(name)
    if len(processes) > _PROCESSES:
        del processes[next(iter(processes))]


def _broken_save(fault: Dict[str, Any], memory: Memory) -> Optional[Dict[str, Any]]:
    if not memory.get("saving") or fault["rule"] not in _BREAKS_SAVES:
        return None
    return _failed(memory, fault["time"])


def _failed(memory: Memory, time: Optional[str]) -> Dict[str, Any]:
    begun = memory.pop("saving")
    return {"iteration": begun["iteration"], "event": "failed", "path": begun["path"], "seconds": None, "bytes": None, "time": time}

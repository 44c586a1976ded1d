"""What ``rankdeck inspect log`` says: the documents of DESIGN section 8 out of log files, and the same as text.

Owns merging what ``agent.parse.reading`` finds in the blocks of several files: one record of what every rank
printed, which log carries the loss, ranks where the log gives evidence of them. Refuses to read files
(``console.cli.inspect``) and to say what a fault means for the job (triage). Pure.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from agent.parse import asides, reading, scan, times
from console.core.columns import padded
from console.core.i18n import say

FAULT_LIMIT = 1000
"""Faults of one rule told per file; the others are counted."""
_REPEATS = 64
"""So many iterations are remembered when looking for what another rank printed already."""
_HEAD = 1 << 16
_BARS = "▁▂▃▄▅▆▇█"
_COUNTED = (("validations", "validation"), ("checkpoints", "checkpoint"))
"""As rows of the report, and as kinds of records."""
_ITERATION = ("iteration", "total", "lm_loss", "learning_rate", "elapsed_ms", "grad_norm", "consumed_samples", "global_batch_size",
              "loss_scale", "skipped", "nan", "tflops", "tokens_per_s_per_device", "extra", "time", "rank", "file", "line")
_VALIDATION = ("iteration", "lm_loss", "ppl", "file", "line")
_CHECKPOINT = ("iteration", "event", "path", "file", "line")
_FAULT = ("code", "rule", "role", "category", "action", "rank", "device", "file", "line", "text")


class FileReport:
    """What one file holds; ``feed`` it the file's blocks in order (each ends behind a newline, the last may not)."""

    def __init__(self, name: str, scanner: scan.Scanner) -> None:
        self.name = name
        self.lines = 0
        self.found: dict[str, list[dict[str, Any]]] = {"iteration": [], "validation": [], "checkpoint": [], "fault": []}
        self.starts = 0
        self.max_allocated_mb: float | None = None
        self.save_ms: list[float] = []
        self.untold: Counter[str] = Counter()
        self.memory: reading.Memory = {}
        self._scanner = scanner
        self._told: Counter[str] = Counter()
        self._recent: dict[int, list[dict[str, Any]]] = {}
        self._tasks_are_ranks: bool | None = None
        self._tasks: list[tuple[dict[str, Any], int]] = []
        self._ended = True
        self._day: times.Day | None = None

    def feed(self, block: bytes) -> None:
        """Read one block."""
        if self._day is None:
            # A time without a year is of the year that the same file prints elsewhere; a copied file's own date says nothing.
            self._day = times.day_of(times.printed_time(block[:_HEAD].decode("utf-8", "replace")))
        told: Counter[int] = Counter()
        for one in reading.read_block(block, self._scanner, self.memory, admit=self._admit, spent=lambda offset: self._spent):
            data = {**one.data, "file": self.name, "line": self.lines + one.line + 1}
            if data.get("time") is not None:
                data["time"] = times.dated(data["time"], self._day)
                self._day = times.day_of(data["time"]) or self._day
            if one.kind in self.found:
                self._place(data, one)
                if one.offset < 0 and self._told_whole(data, told):
                    continue
                if one.kind != "iteration" or self._new(data):
                    self.found[one.kind].append(data)
            elif one.kind == "start":
                self.starts += 1
            elif one.kind == "memory" and data["max_allocated_mb"] is not None:
                self.max_allocated_mb = max(self.max_allocated_mb or 0.0, data["max_allocated_mb"])
            elif one.kind == "timer" and data["name"] == "save-checkpoint":
                self.save_ms.append(data["ms"])
        self.lines += block.count(b"\n")
        if block:
            self._ended = block.endswith(b"\n")

    def close(self) -> None:
        """No block follows: count a last line without an end, and give ranks where the log shows what they are."""
        self.lines += 0 if self._ended else 1
        self._ended = True
        if self._tasks_are_ranks:
            for data, task in self._tasks:
                if data.get("rank") is None:
                    data["rank"] = task
        self._tasks.clear()

    @property
    def _spent(self) -> frozenset[str]:
        return frozenset()

    def _admit(self, rule: str, offset: int) -> bool:
        self._told[rule] += 1
        if self._told[rule] > FAULT_LIMIT:
            self.untold[rule] += 1
            return False
        return True

    def _place(self, data: dict[str, Any], one: reading.Found) -> None:
        rank, task = one.place.get("rank"), one.place.get("task")
        if data.get("rank") is None:
            data["rank"] = rank
        if task is not None:
            if rank is not None:
                self._tasks_are_ranks = rank == task and self._tasks_are_ranks is not False
            if len(self._tasks) < 1_000_000:
                self._tasks.append((data, task))

    def _told_whole(self, data: dict[str, Any], told: Counter[int]) -> bool:
        """Put the whole of a record in the place of what the block before held of it; whether there was anything."""
        before = [known for known in self.found["iteration"][-16:] if known["line"] == data["line"]]
        told[data["line"]] += 1
        if len(before) < told[data["line"]]:
            return False
        before[told[data["line"]] - 1].update(data)
        return True

    def _new(self, data: dict[str, Any]) -> bool:
        """Whether no other rank has printed this step's record already; Lightning's later drawing replaces the first."""
        iteration = data["iteration"]
        if iteration is None:
            return True
        same = self._recent.get(iteration)
        if same is None:
            if self._recent and iteration < max(self._recent) - _REPEATS:
                self._recent.clear()    # a restart: its steps are new
            self._recent[iteration] = [data]
            while len(self._recent) > _REPEATS:
                del self._recent[next(iter(self._recent))]
            return True
        for other in same:
            if all(other[field] == data[field] for field in ("total", "lm_loss", "learning_rate", "grad_norm")) \
                    and (other["time"] or "")[:16] == (data["time"] or "")[:16]:
                return False
        if data["time"] is None and same[-1] is self.found["iteration"][-1] and _is_drawing(same[-1], data):
            same[-1].update(data)
            return False
        same.append(data)
        return True


def _is_drawing(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether both are drawings of one step by Lightning, which draws it with old metrics first."""
    return all("global_step" in data["extra"] or "val_loss" in data["extra"] for data in (first, second)) and first["elapsed_ms"] is None


def document(reports: Sequence[FileReport]) -> dict[str, Any]:
    """``inspect log --json``. Every number in it is finite: others are the strings "nan", "inf", "-inf"."""
    def rows(kind: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
        # "absent" is there only where a value is: that of a line that the file's end cut.
        return [{field: data[field] for field in (*fields, *(("absent",) if "absent" in data else ()))} for report in reports for data in report.found[kind]]

    return {"lines": sum(report.lines for report in reports), "iterations": rows("iteration", _ITERATION),
            "validations": rows("validation", _VALIDATION), "checkpoints": rows("checkpoint", _CHECKPOINT), "faults": rows("fault", _FAULT)}


def encoded(found: dict[str, Any]) -> str:
    """The document as JSON text; raises ValueError rather than print what is not JSON."""
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)


def carrier(reports: Sequence[FileReport]) -> FileReport | None:
    """The log that carries the loss: most iterations with one; of equals the one read last (Megatron prints at the last rank)."""
    best: FileReport | None = None
    for report in reports:
        if losses(report) and (best is None or len(losses(report)) >= len(losses(best))):
            best = report
    return best


def losses(report: FileReport) -> list[float]:
    """The finite losses of one log, in their order."""
    return [data["lm_loss"] for data in report.found["iteration"] if isinstance(data["lm_loss"], (int, float))]


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The values as a line of blocks, the mean of each of ``width`` stretches; "" without values."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    spread = high - low
    if spread <= 0 or not math.isfinite(spread):
        return _BARS[0] * count
    return "".join(_BARS[min(len(_BARS) - 1, int((value - low) / spread * len(_BARS)))] for value in means)


def text(reports: Sequence[FileReport]) -> str:
    """The compact report for people, in the language in use."""
    main = carrier(reports)
    lines: list[str] = []
    for report in reports:
        lines += _file_lines(report, carries=report is main and len(reports) > 1)
    if main is None and any(report.lines for report in reports):
        lines.append(say("no training loss in this log" if len(reports) == 1 else "no training loss in any of these logs"))
    return "\n".join(lines)


def _file_lines(report: FileReport, *, carries: bool) -> list[str]:
    lines = [say("{name}: {n} lines, carries the loss" if carries else "{name}: {n} lines", name=report.name, n=report.lines)]
    found = report.found["iteration"]
    if found:
        first, last, total = _shown(found[0]["iteration"]), _shown(found[-1]["iteration"]), found[-1]["total"]
        span = say("{n} records, {first} to {last} of {total}" if total else "{n} records, {first} to {last}", n=len(found), first=first, last=last, total=total)
        lines.append(_line("iterations", span + (say(", {n} starts", n=report.starts) if report.starts > 1 else "")))
        values = losses(report)
        if values:
            lines.append(_line("loss", say("{first:.6g} to {last:.6g}, least {least:.6g}", first=values[0], last=values[-1], least=min(values)) + f"  {sparkline(values)}"))
        sick = sum(1 for data in found if isinstance(data["lm_loss"], str) or isinstance(data["grad_norm"], str))
        skipped = sum(data["skipped"] or 0 for data in found)
        if sick or skipped:
            lines.append(_line("numerics", say("{n} records with NaN or infinity, {skipped} iterations skipped", n=sick, skipped=skipped)))
        lines += _speed(report)
    for name, kind in _COUNTED:
        if report.found[kind]:
            newest = report.found[kind][-1]
            runs = kind == _COUNTED[0][1]
            counts = Counter(data.get("event", "") for data in report.found[kind])
            lines.append(_line(name, say("{counts}; newest: iteration {n} {what}",
                                         counts=", ".join(say("{n} run", n=count) if runs else say("{n} {event}", n=count, event=say(event)) for event, count in counts.items()),
                                         n=_shown(newest["iteration"]), what=say("loss {loss}", loss=_shown(newest["lm_loss"])) if runs else say(newest["event"]))))
    if report.save_ms:
        lines.append(_line("saves", say("{s:.1f} s each by their timers ({n})", s=sum(report.save_ms) / len(report.save_ms) / 1000.0, n=len(report.save_ms))))
    if report.max_allocated_mb is not None:
        lines.append(_line("memory", say("{mb:.0f} MB allocated at most", mb=report.max_allocated_mb)))
    lines += _fault_lines(report)
    return lines


def _line(name: str, told: str) -> str:
    """What is told, behind its name in a column."""
    return f"  {padded(say(name), 12)} {told}"


def _speed(report: FileReport) -> list[str]:
    """Step time and throughput: what the log prints beside what S3's formula gives (the first record is warm-up)."""
    found = report.found["iteration"][1:] or report.found["iteration"]
    times = sorted(data["elapsed_ms"] for data in found if data["elapsed_ms"] is not None)
    if not times:
        return []
    told = say("{ms:.1f} ms median", ms=times[len(times) // 2])
    rates = sorted(data["tokens_per_s_per_device"] for data in found if data["tokens_per_s_per_device"] is not None)
    if rates:
        told += f", {rates[len(rates) // 2]:.1f} tokens/s/p"
    flops = sorted(data["tflops"] for data in found if data["tflops"] is not None)
    if flops:
        told += f", {flops[len(flops) // 2]:.1f} TFLOP/s/p"
    lines = [_line("step", told)]
    computed = [(asides.tokens_per_s_per_device(data["global_batch_size"], data["extra"].get("actual seqlen", report.memory.get("seq_length")),
                                                report.memory.get("world_size"), data["elapsed_ms"]), data["tokens_per_s_per_device"]) for data in found]
    apart = [(ours, printed) for ours, printed in computed if ours and printed and abs(ours - printed) > 0.05 * printed]
    if apart:
        ours, printed = apart[-1]
        lines.append(_line("", say("printed {printed:.1f} tokens/s/p, but GBS x seq / (NPUs x ms) x 1000 gives {ours:.1f}", printed=printed, ours=ours)))
    return lines


def _fault_lines(report: FileReport) -> list[str]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for data in report.found["fault"]:
        groups.setdefault(data["rule"], []).append(data)
    order = {"root": 0, "unclear": 1, "cascade": 2, "teardown": 3, "benign": 4}
    lines = []
    for rule, members in sorted(groups.items(), key=lambda item: (order[item[1][0]["role"]], item[1][0]["line"])):
        first = members[0]
        ranks = sorted({data["rank"] for data in members if data["rank"] is not None})
        lines.append(_line(first["role"], say("{rule} x {n}, from line {line}{where}: {action}", rule=f"{rule} ({first['code']})" if first["code"] else rule,
                                              n=len(members) + report.untold[rule], line=first["line"], where=f", rank {_few(ranks)}" if ranks else "", action=say(first["action"]))))
        if first["role"] in ("root", "unclear"):
            lines.append(_line("", first["text"][:160]))
    return lines


def _few(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks[:6])) + (say(" and {n} more", n=len(ranks) - 6) if len(ranks) > 6 else "")


def _shown(value: Any) -> str:
    return "?" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

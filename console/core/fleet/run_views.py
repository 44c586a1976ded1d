"""What a job looks like at a moment: ``RunState`` and now in, rows and texts out. Pure.

What happened when is in ``happenings``. Colours, widths and languages are the widgets' business.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from console.core.events import LaunchPhase
from console.core.fleet.carriers import LossLog
from console.core.fleet.happenings import our_time
from console.core.fleet.series import Series
from console.core.fleet.state import AttemptState, FleetState, RunState
from console.core.fleet.views import Badge, Tone, duration_text, link_badge, natural_key, spans_text
from console.core.fleet.wholeness import Wholeness, removed, wholeness
from console.core.i18n import phrase
from console.core.launch.step_names import is_step
from console.core.records import dataclass

PHASES: tuple[str, ...] = get_args(LaunchPhase)
STALLED_STEPS = 10
STALLED_AT_LEAST_S = 60.0
"""No iteration for ten usual steps and at least a minute reads "stalled". A save or an evaluation may take
that long, hence a warning and no alarm."""
TIMERS_SHOWN = 8
STEPS_OF_USUAL = 20
"""The usual step time is the median of the newest twenty: the first step compiles, a save holds one up."""

_LIVE = ("prepared", "committed", "running", "stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The one-line story of a run."""

    job: str
    attempt: str
    attempts: int
    round: int
    status: Badge
    iteration: int | None
    total: int | None
    loss: float | None
    step_s: float | None
    """Usual step time."""
    rate: float | None
    """Iterations per second."""
    tokens_per_s_per_device: float | None
    eta_s: float | None
    progress_age_s: float | None
    """Since the last iteration."""
    saved_iteration: int | None
    """Newest iteration known to be saved."""
    world_size: int | None
    ranks: tuple[tuple[str, str, Tone], ...]
    """(node, its ranks as ranges, tone) in node order."""

    @property
    def fraction(self) -> float | None:
        """Progress from 0 to 1; None when the end is not known."""
        return min(1.0, self.iteration / self.total) if self.iteration is not None and self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """One saved iteration."""

    iteration: int
    status: Badge
    age_s: float
    seconds: float | None
    size_bytes: float | None
    path: str
    latest: bool
    """Whether a resume would start here, as far as the log and looks at the files tell."""
    complete: bool | None = None
    """What looks at its files said; None: nobody has looked."""
    why: str = ""
    """Why it is not whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place on the curve's x axis. kind: saved | restarted."""

    iteration: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChoice:
    """A log that can be shown. ``rank`` None: the launcher's own output."""

    node: str
    path: str
    rank: int | None
    round: int | None

    @property
    def pin(self) -> tuple[str, int | str]:
        """What stays the same when the attempt or round changes: a rank, or a node's launcher."""
        return ("launcher", self.node) if self.rank is None else ("rank", self.rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTarget:
    """One node of a stop that is about to be asked for."""

    node: str
    link: Badge
    state: str
    command: str
    """The request as it goes to the node's agent."""


def job_view(state: FleetState, run: RunState, now: float) -> JobView:
    """The run at ``now`` (s, our clock)."""
    attempt = run.latest
    iteration, tokens = current_iteration(run), run.series["tokens_per_s_per_device"].last()
    step_s = usual_step_s(run.series["step_time_ms"])
    last_round = newest_round(run, attempt) if attempt else 0
    progress_age_s = None
    if run.last_iteration_time is not None:
        # The node that prints the loss is not named here; with clocks in step the median offset is as good.
        offsets = sorted(node.met.clock_offset_s for node in state.nodes.values() if node.met is not None)
        offset = offsets[len(offsets) // 2] if offsets else 0.0
        progress_age_s = max(0.0, now - (run.last_iteration_time - offset))
    status = job_badge(run, progress_age_s, step_s)
    left = run.total_iterations - iteration if run.total_iterations is not None and iteration is not None else None
    return JobView(
        job=run.job, attempt=attempt.attempt if attempt else "", attempts=len(run.attempts), round=last_round,
        status=status, iteration=iteration, total=run.total_iterations, loss=value_at(run.series["loss"], iteration), step_s=step_s,
        rate=1.0 / step_s if step_s else None, tokens_per_s_per_device=tokens[1] if tokens else None,
        eta_s=left * step_s if left is not None and step_s and status.text in ("running", "saving") else None,
        progress_age_s=progress_age_s,
        saved_iteration=max((c.iteration for c in run.checkpoints.values() if c.state == "saved"), default=None),
        world_size=attempt.world_size.get(last_round) if attempt else None,
        ranks=_ranks_by_node(state, attempt, last_round))


def newest_round(run: RunState, attempt: AttemptState) -> int:
    """The attempt's newest round, by rank maps or by loads, whichever told first."""
    return max((*attempt.ranks, *(number for name, number, _ in run.loads if name == attempt.attempt)), default=0)


def current_iteration(run: RunState) -> int | None:
    """How far the newest round of the newest attempt has come. After a restart that is behind what the curve
    still shows of the round before; until its first iteration it is where its checkpoint was loaded."""
    attempt, x = run.latest, run.series["loss"].x
    if attempt is None:
        return x[-1] if x else None
    place = (attempt.attempt, newest_round(run, attempt))
    loaded = max((iteration for name, number, iteration in run.loads if (name, number) == place), default=0)
    for iteration in reversed(x):
        if iteration <= loaded:
            break
        if run.standing.get(iteration, place) >= place:
            return iteration
    return loaded or None


def value_at(series: Series, x: int | None) -> float | None:
    """The series' value at exactly x, or None."""
    if x is None:
        return None
    at = bisect_left(series.x, x)
    return series.y[at] if at < len(series.x) and series.x[at] == x else None


def usual_step_s(step_time_ms: Series) -> float | None:
    """The median of the newest step times, s."""
    newest = sorted(value for value in step_time_ms.y[-STEPS_OF_USUAL:] if value == value and value > 0)
    return newest[len(newest) // 2] / 1000.0 if newest else None


def job_badge(run: RunState, progress_age_s: float | None, step_s: float | None) -> Badge:
    """How the newest attempt fares, from what its nodes report. An exit code alone never says success."""
    attempt = run.latest
    if attempt is None or not (attempt.node_states or attempt.phases):
        return Badge(glyph="-", text="unknown", tone="off")
    states = set(attempt.node_states.values())
    iteration = current_iteration(run)
    reached = run.total_iterations is not None and iteration is not None and iteration >= run.total_iterations
    failed = [seen for (_, _, local_rank), seen in attempt.exits.items()
              if local_rank == -1 and (seen.data.get("signal") or seen.data.get("code")) and not seen.data.get("asked")]
    if "stopping" in states:
        return Badge(glyph="▾", text="stopping", tone="warn")
    if states & {"running"}:
        if states & {"exited", "aborted", "expired"} and not reached:
            return Badge(glyph="!", text="node lost", tone="bad")
        if progress_age_s is not None and iteration is not None and not reached \
                and progress_age_s > max(STALLED_AT_LEAST_S, STALLED_STEPS * (step_s or 0.0)):
            return Badge(glyph="!", text="stalled", tone="warn")
        # In Megatron the loss of an iteration is printed before its save begins.
        if iteration is not None and iteration in run.checkpoints and run.checkpoints[iteration].state == "started":
            return Badge(glyph="▸", text="saving", tone="good")
        return Badge(glyph="▸", text="running", tone="good")
    if "stopped" in states:
        return Badge(glyph="■", text="stopped", tone="off")
    if "exited" in states:
        if reached and not failed:
            return Badge(glyph="✓", text="finished", tone="good")
        if is_step(run.job) and not failed:
            # There is nothing to train: its script has looked for what it had to make.
            return Badge(glyph="✓", text="done", tone="good")
        return Badge(glyph="✗", text="failed" if failed else "ended early", tone="bad")
    if states & {"aborted", "expired"}:
        return Badge(glyph="✗", text="did not start", tone="bad")
    if any(progress.state == "failed" for progress in attempt.phases.values()):
        return Badge(glyph="✗", text="did not start", tone="bad")
    return Badge(glyph="◌", text="starting", tone="busy")


def checkpoint_rows(state: FleetState, run: RunState, now: float) -> tuple[CheckpointRow, ...]:
    """Every save, newest first. ``failed`` and a start without an end are shown as they are."""
    badges = {"saved": Badge(glyph="✓", text="saved", tone="good"), "started": Badge(glyph="◌", text="saving", tone="busy"),
              "failed": Badge(glyph="✗", text="failed", tone="bad")}
    whole, gone = wholeness(run), removed(run)
    looks = {iteration: whole.get(iteration) or Wholeness(complete=seen.complete, why=seen.why) for iteration, seen in run.checkpoints.items()}
    latest = max((seen.iteration for seen in run.checkpoints.values() if seen.state == "saved" and looks[seen.iteration].complete is not False and seen.iteration not in gone), default=None)
    rows = []
    for iteration in sorted(run.checkpoints, reverse=True):
        seen = run.checkpoints[iteration]
        # A save that never ended, with a later one behind it, was cut off by a restart.
        cut = seen.state == "started" and iteration < max(run.checkpoints)
        badge = Badge(glyph="✗", text="cut off", tone="bad") if cut else badges.get(
            seen.state, Badge(glyph="?", text=seen.state, tone="off"))
        look = looks[iteration]
        if iteration in gone:
            badge = Badge(glyph="·", text="removed", tone="off")
        elif look.complete and seen.state != "failed":
            badge = Badge(glyph="✓", text="whole", tone="good")
        elif look.complete is False and seen.state == "saved":
            badge = Badge(glyph="✗", text="not whole", tone="bad")
        rows.append(CheckpointRow(
            iteration=iteration, status=badge, age_s=max(0.0, now - our_time(state, seen.node, seen.time)),
            seconds=seen.seconds, size_bytes=seen.size_bytes if look.size_bytes is None else look.size_bytes, path=seen.path, latest=iteration == latest,
            complete=look.complete, why=look.why))
    return tuple(rows)


def marks(run: RunState) -> tuple[Mark, ...]:
    """Saves and restarts on the iteration axis. A load of the first attempt's first round is no restart."""
    found = [Mark(iteration=seen.iteration, kind="saved") for seen in run.checkpoints.values() if seen.state == "saved"]
    first = (min(run.attempts, default=""), 0)
    found += [Mark(iteration=iteration, kind="restarted") for iteration in
              {iteration for name, number, iteration in run.loads if (name, number) != first}]
    return tuple(sorted(found, key=lambda mark: (mark.iteration, mark.kind)))


def phase_rows(attempt: AttemptState) -> tuple[tuple[str, tuple[Badge, ...], str], ...]:
    """(node, a badge for each of PHASES, why it failed) in node order."""
    badges = {"waiting": Badge(glyph="·", text="waiting", tone="off"), "running": Badge(glyph="◌", text="running", tone="busy"),
              "done": Badge(glyph="✓", text="done", tone="good"), "failed": Badge(glyph="✗", text="failed", tone="bad"),
              "undone": Badge(glyph="↶", text="undone", tone="warn")}
    passed = Badge(glyph="·", text="-", tone="off")
    nodes = {node for node, _ in attempt.phases} | set(attempt.node_states)
    rows = []
    for node in sorted(nodes, key=lambda name: (attempt.node_index.get(name, 1 << 30), natural_key(name))):
        seen = [attempt.phases.get((node, phase)) for phase in PHASES]
        why = next((progress.why for progress in seen if progress is not None and progress.why), "")
        # What was passed over (a container that the job does without, a start that another console made) waits for nothing.
        reached = max((at for at, progress in enumerate(seen) if progress is not None), default=-1)
        rows.append((node, tuple((passed if at < reached else badges["waiting"]) if progress is None else _timed(badges[progress.state], progress.took_s)
                                 for at, progress in enumerate(seen)), why))
    return tuple(rows)


def _timed(badge: Badge, took_s: float | None) -> Badge:
    """A badge with how long it took in the place of its word, where that is known."""
    if took_s is None or badge.text != "done":
        return badge
    minutes, seconds = divmod(round(took_s), 60)
    text = f"{took_s:.1f} s" if took_s < 10 else f"{seconds} s" if not minutes else f"{minutes}:{seconds:02d}" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}"
    return replace(badge, text=text)


MERGED_MOST = 32
"""Logs that are merged at most: raw lines of 1,024 ranks do not fit through a bastion."""


def merge_choices(choices: Sequence[LogChoice]) -> tuple[LogChoice, ...]:
    """Which logs are merged: all ranks where they are few, else the first of each node and the most telling one."""
    ranks = [choice for choice in choices if choice.rank is not None]
    if len(ranks) <= MERGED_MOST:
        return tuple(ranks) or tuple(choices[:MERGED_MOST])
    first: dict[str, LogChoice] = {ranks[0].node: ranks[0]}
    for choice in ranks[1:]:
        first.setdefault(choice.node, choice)
    return tuple(first.values())[:MERGED_MOST]


def loss_log(run: RunState, attempt: str = "") -> LossLog | None:
    """The log that carries the loss of an attempt (default: the newest one that a node knows of) in its newest round with any; None without one."""
    named = attempt or (run.latest.attempt if run.latest is not None else "")
    places = sorted((place for place in {*run.standing.places, *run.overtaken} if place[0] == named), reverse=True)
    return next((found for found in map(run.carriers.loss_log, places) if found is not None), None)


def log_starts(run: RunState) -> tuple[tuple[str, int | None], ...]:
    """(attempt, round) of everything that wrote logs, the newest first; an attempt without ranks has the round None."""
    newest = run.latest
    if newest is None:
        return ()
    names = [newest.attempt, *sorted((name for name, known in run.attempts.items() if known.dirs and name < newest.attempt), reverse=True)]
    return tuple((name, number) for name in names for number in sorted(run.attempts[name].ranks, reverse=True) or (None,))


def log_choices(run: RunState, start: tuple[str, int | None] | None = None) -> tuple[LogChoice, ...]:
    """Every log of the newest start (or of that one of ``log_starts``), the most telling first: the one that carries the loss;
    while none does, the last rank (Megatron prints it there); then the other ranks, then the launchers' own output."""
    starts = log_starts(run)
    if not starts or (start is not None and start not in starts):
        return ()
    name, number = start or starts[0]
    attempt = run.attempts[name]
    choices = []
    if number is not None:
        places = attempt.ranks[number]
        order = sorted(places, key=lambda rank: (rank != max(places), rank))
        choices = [LogChoice(node=places[rank].node, rank=rank, round=number,
                             path=f"{attempt.dirs[places[rank].node]}/round-{number:02d}/local_rank-{places[rank].local_rank}.log")
                   for rank in order if places[rank].node in attempt.dirs]
    launchers = sorted(attempt.dirs, key=lambda name: (attempt.node_index.get(name, 1 << 30), natural_key(name)))
    choices += [LogChoice(node=node, rank=None, round=None, path=f"{attempt.dirs[node]}/launcher.log") for node in launchers]
    carrier = run.carriers.loss_log((name, number)) if start is not None and number is not None else loss_log(run, name)
    if carrier is not None:
        choices.sort(key=lambda choice: (choice.node, choice.path) != (carrier.node, carrier.file))
    return tuple(choices)


def stop_targets(state: FleetState, attempt: AttemptState, grace_s: float, why: str) -> tuple[StopTarget, ...]:
    """The nodes on which something of the attempt may still live, with what each will be asked."""
    nodes = [node for node, at in attempt.node_states.items() if at in _LIVE]
    request = json.dumps({"op": "stop", "args": {"attempt": attempt.attempt, "grace_s": grace_s, "why": why}}, ensure_ascii=False)
    return tuple(
        StopTarget(node=node, state=attempt.node_states[node], command=request,
                   link=link_badge(state.nodes[node]) if node in state.nodes else Badge(glyph="?", text="unknown", tone="off"))
        for node in sorted(nodes, key=lambda name: (attempt.node_index.get(name, 1 << 30), natural_key(name))))


def metric_rows(run: RunState, bins: int) -> tuple[tuple[str, float | None, int, tuple[float | None, ...]], ...]:
    """(name, newest value, at iteration, the newest stretch in ``bins`` means) per metric that has data."""
    rows = []
    for name, series in run.series.items():
        last = series.last()
        if last is None:
            continue
        low = series.x[max(0, len(series) - 4 * bins)]
        stretch = tuple(None if pair is None else (pair[0] + pair[1]) / 2 for pair in series.bins(bins, low, last[0]))
        rows.append((name, last[1], last[0], stretch))
    memory = max_allocated_mb(run)
    if memory is not None:
        rows.append(("max_allocated_mb", memory[0], memory[1], ()))
    rows += [(f"{name} (ms)", most, at, ()) for name, (_, most), at in timer_rows(run)[:TIMERS_SHOWN]]
    return tuple(rows)


def timer_rows(run: RunState) -> tuple[tuple[str, tuple[float, float], int], ...]:
    """(name, (least, most) of the ranks in ms, at iteration) of what the trainer timed last, the longest first."""
    if run.timers is None:
        return ()
    at, told = run.timers.data.get("iteration"), run.timers.data.get("ms") or {}
    known = [(str(name), (float(both[0]), float(both[1])), at if isinstance(at, int) else 0) for name, both in told.items()
             if isinstance(both, list) and len(both) == 2 and all(isinstance(ms, (int, float)) for ms in both)]
    return tuple(sorted(known, key=lambda row: -row[1][1]))


def max_allocated_mb(run: RunState) -> tuple[float, int] | None:
    """The most device memory that any rank has said it had allocated (MiB), and at which iteration it said so; None where none has."""
    known = [(float(taken.data["max_allocated_mb"]), int(taken.data.get("iteration") or 0)) for taken in run.memory.values()
             if isinstance(taken.data.get("max_allocated_mb"), (int, float))]
    return max(known, default=None)


def _ranks_by_node(state: FleetState, attempt: AttemptState | None, number: int) -> tuple[tuple[str, str, Tone], ...]:
    if attempt is None:
        return ()
    ranks: dict[str, list[int]] = {}
    for place in attempt.ranks.get(number, {}).values():
        ranks.setdefault(place.node, []).append(place.rank)
    found: list[tuple[str, str, Tone]] = []
    for node in sorted(attempt.node_states, key=lambda name: (attempt.node_index.get(name, 1 << 30), natural_key(name))):
        known = state.nodes.get(node)
        tone: Tone = "off" if known is None else link_badge(known).tone
        if attempt.node_states[node] in ("exited", "aborted", "expired"):
            tone = "bad"
        found.append((node, spans_text(ranks.get(node, ())), tone))
    return tuple(found)


def progress_text(view: JobView) -> str:
    """``iteration 40/60`` and what is known of the pace, for narrow places."""
    if view.iteration is None:
        return phrase("no iteration yet")
    text = f"{view.iteration}/{view.total}" if view.total is not None else str(view.iteration)
    return phrase("{text}  {time}/step", text=text, time=duration_text(view.step_s)) if view.step_s else text

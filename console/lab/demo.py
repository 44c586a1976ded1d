"""``rankdeck demo``: a fleet without hardware, to look at (on the screen) or to rehearse an incident on (headless).

Owns the order of things and the promise that nothing of a demo is left when it ends: by its end, by an
error, by SIGINT, SIGTERM or SIGHUP. A console that is killed outright leaves the fleet running for a while
(``fleet.IDLE_LIMIT_S``); the next ``rankdeck demo`` takes it up again, or clears what cannot be taken up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.i18n import phrase
from console.core.spoken import spoken, spoken_text
from console.desk import ScreenFeed
from console.lab import faults, fleet, remains
from console.lab.desk import Desk
from console.lab.rehearsal import Rehearsal, summary
from console.tui.terminal import wants_text
from console.tui.words import catalogue

LOOK_S = 0.05
TIME_LIMIT_S = 600.0
TIME_LIMIT_PER_ITERATION_S = 3.0
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
INTERACTIVE_STEP_S = 0.5
"""Pace of the demo that is looked at: a point on the curve every half second, on fast machines as well. Its
model is a little larger than the headless one's, so that there is some load to be seen."""
HEADLESS_STEP_S = 0.05


def main(args: argparse.Namespace) -> int:
    """Run ``rankdeck demo``. Returns the exit status: 0 fine, 1 not. Raises ConsoleError (UsageError for what
    cannot be meant), KeyboardInterrupt and SystemExit (128 and the signal), each with nothing left behind.

    ``args``: iterations, save_interval, fault (list of texts), seed, headless, json, keep, stop, and what the screen can be told
    (layout, view, theme, lang, fps, plain, mouse, read_only), which means nothing to a headless demo.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    if not (args.headless and args.json):
        i18n.use(catalogue(args.lang, os.environ))
    with _signals_as_exits():
        if args.stop:
            return _stop(say)
        return _headless(args, say) if args.headless else _interactive(args, say)


def _headless(args: argparse.Namespace, say: Callable[[str], None]) -> int:
    seed = _seed(args)
    rng = random.Random(seed)
    iterations, save_interval = args.iterations or 60, args.save_interval or 10
    wanted = [faults.parse(text, rng=rng, iterations=iterations, save_interval=save_interval) for text in args.fault or ()]
    _clear_orphans(say)
    demo = fleet.create(fleet.Shape(iterations=iterations, save_interval=save_interval, min_step_s=HEADLESS_STEP_S,
                                    seed=1234), kind="headless", say=say)
    try:
        document = _rehearse(demo, iterations, wanted, rng, seed, say)
    finally:
        _deafen()
        say(i18n.say("ending the demo"))
        clean = demo.leave(say=say)
    if args.json:
        json.dump(document, sys.stdout, allow_nan=False)
        print(flush=True)
        say(i18n.say("seed {n}", n=seed))
    else:
        print(summary(document))
    if not document["ok"]:
        print(f"rankdeck demo: {spoken_text(document.get('why', phrase('the job did not finish')))}", file=sys.stderr)
    return 0 if document["ok"] and clean else 1


def _rehearse(demo: fleet.DemoFleet, iterations: int, wanted: list[faults.Fault], rng: random.Random, seed: int,
              say: Callable[[str], None]) -> dict[str, Any]:
    """Launch, watch, end: the document of what happened."""
    with Desk(demo) as desk:
        injector = faults.Injector(demo, fleet.JOB, wanted, rng, say=say)
        began = desk.clock.wall_s()
        run = Rehearsal(job=fleet.JOB, nodes=fleet.TRAINING, iterations=iterations, began_at=began, say=say)
        limit_s = TIME_LIMIT_S + TIME_LIMIT_PER_ITERATION_S * iterations
        why = ""
        try:
            desk.start()
            desk.launch(say)
            injector.start()
            while not why:
                time.sleep(LOOK_S)
                desk.store.drain()
                now = desk.clock.wall_s()
                run.look(desk.store.state, tuple(injector.done), now)
                if run.over(desk.store.state, now):
                    break
                why = run.failure(desk.store.state, now)
                if not why and now - began > limit_s:
                    why = phrase("not finished within {s:.0f} s", s=limit_s)
        except ConsoleError as error:
            why = str(error)
        finally:
            injector.stop()
        if why:
            _last_words(demo, say)
        return run.document(desk.store.state, seed=seed, why=why)


def _interactive(args: argparse.Namespace, say: Callable[[str], None]) -> int:
    seed = _seed(args)
    rng = random.Random(seed)
    iterations, save_interval = args.iterations or 600, args.save_interval or 25
    wanted = [faults.parse(text, rng=rng, iterations=iterations, save_interval=save_interval) for text in args.fault or ()]
    text = wants_text(args.plain, os.environ)
    if not text and not sys.stdout.isatty():
        raise fleet.UsageError("the demo's screen needs a terminal", where="rankdeck demo", got="output that is none",
                               fix="Use rankdeck demo --headless, or --plain")
    _clear_orphans(say)
    demo = _running(say)
    if demo is None:
        say(i18n.say("setting up a demo fleet of four nodes"))
        demo = fleet.create(fleet.Shape(iterations=iterations, save_interval=save_interval, min_step_s=INTERACTIVE_STEP_S,
                                        num_layers=3, seq_length=256), kind="interactive", say=say)
    kept = False
    try:
        status = _shown(demo, args, wanted, rng, text=text)
        kept = bool(args.keep)
    finally:
        _deafen()
        if kept:
            demo.keep()
            demo.release()
        else:
            say(i18n.say("ending the demo"))
            demo.leave(say=say)
    if kept:
        print(i18n.say("The demo goes on without a screen for up to {n:.0f} hours.", n=fleet.KEPT_LIMIT_S / 3600))
        print(f"  {i18n.say('look at it again:')}  rankdeck demo  |  XDG_STATE_HOME={demo.state_home} rankdeck open -i {demo.fleet_file}\n"
              f"  {i18n.say('end it:')}  rankdeck demo --stop")
    if args.fault:
        print(i18n.say("seed {n}", n=seed))
    return status


def _shown(demo: fleet.DemoFleet, args: argparse.Namespace, wanted: list[faults.Fault], rng: random.Random, *, text: bool) -> int:
    # The screen asks before it changes anything (read-only until armed); what gets past it is meant.
    with Desk(demo) as desk:
        desk.start()
        injector = faults.Injector(demo, fleet.JOB, wanted, rng)
        trouble: list[ConsoleError] = []

        def launch() -> None:
            try:
                desk.launch()
            except ConsoleError as error:
                trouble.append(error)
            else:
                injector.start()

        if desk.launched:
            injector.skip_past()
            injector.start()
        else:
            threading.Thread(target=launch, name="launch", daemon=True).start()
        try:
            status = _as_text(desk, args) if text else _on_screen(desk, args)
        finally:
            _deafen()  # the screen's own signal handling is over, and so is ours: what is left is the ending
            injector.stop()
        for error in trouble:
            print(f"rankdeck demo: {spoken(error)}", file=sys.stderr)
        return 1 if trouble and not status else status


def _as_text(desk: Desk, args: argparse.Namespace) -> int:
    from console.tui import plain

    plain.run(ScreenFeed(desk), desk.submit, desk.clock, read_only=args.read_only, fleet=desk.inventory.name, console=desk.name)
    return 0


def _on_screen(desk: Desk, args: argparse.Namespace) -> int:
    from console import files
    from console.herald import Herald
    from console.tui import app
    from console.tui.layout_host import BUILT_IN

    notice = ""
    try:
        spec, css = files.read_layout(args.layout or "default")
    except FileError as problem:
        spec, css, notice = BUILT_IN, "", spoken(problem)
    herald = Herald(getattr(args, "settings", {}), os.environ)
    options = app.Options(notice=notice, view=args.view, theme=args.theme, fps=args.fps, read_only=args.read_only, mouse=args.mouse,
                          quit_label="quit" if args.keep else "quit (ends the demo)", layouts=files.layouts, read_layout=files.read_layout,
                          fleet=desk.inventory.name, console=desk.name, herald=herald.look)
    ending = app.run(ScreenFeed(desk), desk.submit, desk.clock, spec, css, options=options)
    if ending.reason == "failed":
        print(f"rankdeck demo: {ending.text}", file=sys.stderr)
    return 128 + signal.Signals[ending.text] if ending.reason == "terminated" else int(ending.reason == "failed")


def _running(say: Callable[[str], None]) -> fleet.DemoFleet | None:
    """The interactive demo of this user that is running already, taken hold of."""
    for root in remains.roots():
        found = fleet.attach(root)
        if found is not None:
            say(i18n.say("taking up the demo that is running in {root}", root=root))
            return found
    return None


def _stop(say: Callable[[str], None]) -> int:
    """End the demos of this user that no console has hold of: kept ones, and what dead ones left."""
    clean, ended = True, 0
    for root in remains.roots():
        if fleet.in_use(root):
            print(i18n.say("the demo in {root} is in use; it ends with its console", root=root), file=sys.stderr)
            continue
        say(i18n.say("ending the demo in {root}", root=root))
        clean = remains.clear(root, say=say) and clean
        ended += 1
    print(i18n.say("{n} ended", n=ended) if ended else i18n.say("no demo was left running"), file=sys.stderr)
    return 0 if clean else 1


def _clear_orphans(say: Callable[[str], None]) -> None:
    for root in remains.roots():
        if fleet.orphaned(root):
            say(i18n.say("clearing what a dead demo left in {root}", root=root))
            remains.clear(root, say=say)


def _seed(args: argparse.Namespace) -> int:
    return args.seed if args.seed is not None else secrets.randbelow(1 << 31)


def _last_words(demo: fleet.DemoFleet, say: Callable[[str], None]) -> None:
    """The ends of the newest logs, before they are removed with everything else."""
    logs = sorted(demo.work_dir.glob(".rankdeck/*/*/*/launcher.log")) + sorted(demo.work_dir.glob(".rankdeck/*/*/*/round-*/*.log"))
    for path in logs[-8:]:
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        say(f"{'/'.join(path.parts[-3:])}: " + (" | ".join(lines[-3:])[-600:] or i18n.say("empty")))


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack as SIGINT does, so that every ``finally`` runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        if number != signal.SIGINT:
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deafen() -> None:
    """The end of a demo is bounded in time and must not be broken off by a second, impatient signal."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

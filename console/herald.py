"""Tells of new alarms where the operator may not be looking: the bell, the desktop, a command of their own.

An alarm is told once: when it is seen for the first time after the start, and again when it comes back after it
had been gone for ``AGAIN_S``. What is there at the first look is on the screen anyhow. The hook is a shell command
of the operator's (a webhook with curl, a pager): it gets the alarm as JSON on its standard input and in
``RANKDECK_ALARM_*``, never in its text, so that nothing a node says is ever part of a command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from queue import Empty, Full, Queue
from typing import Any

from console.core.fleet.alarms import SEVERITIES, Alarm
from console.core.fleet.company import standing
from console.core.fleet.state import FleetState
from console.core.i18n import say

AGAIN_S = 300.0
BELL_EVERY_S = 10.0
"""An incident raises many alarms at once; one ring is enough."""
HOOK_LIMIT_S = 30.0
WAITING_HOOKS = 100
OSC9_LIMIT = 200
"""Characters of a desktop notification; terminals cut them at about that."""


class Herald:
    """``look`` is called about once a second; it returns at once."""

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """``settings``: of ``core.settings``, what is not given is its default."""
        self._bell, self._desktop = settings.get("notify.bell", True), settings.get("notify.desktop", False)
        self._command, self._in_tmux = settings.get("notify.command", ""), bool(environ.get("TMUX"))
        self._least = SEVERITIES.index(settings.get("notify.severity", "critical"))
        self._seen: dict[str, float] | None = None
        self._rang = float("-inf")
        self._hooks: Queue[Alarm] = Queue(maxsize=WAITING_HOOKS)
        self._worker: threading.Thread | None = None
        self._problem = ""

    def look(self, state: FleetState, now: float) -> tuple[str, str]:
        """What to write to the terminal, and what to say on the bottom line; mostly empty."""
        present = [alarm for alarm, said in standing(state, now) if said is None and SEVERITIES.index(alarm.severity) <= self._least]
        first, self._seen = self._seen is None, self._seen or {}
        new = [alarm for alarm in present if now - self._seen.get(alarm.key, float("-inf")) > AGAIN_S]
        self._seen.update((alarm.key, now) for alarm in present)
        for key in [key for key, at in self._seen.items() if now - at > AGAIN_S]:
            del self._seen[key]
        problem, self._problem = self._problem, ""
        if first or not new:
            return "", problem
        written = ""
        if self._bell and now - self._rang >= BELL_EVERY_S:
            self._rang, written = now, "\x07"
        if self._desktop:
            written += osc9(new[0].text + (f" (+{len(new) - 1})" if len(new) > 1 else ""), in_tmux=self._in_tmux)
        if self._command:
            self._hand_over(new)
        return written, problem or say("alarm: {text}", text=new[0].text)

    def close(self, limit_s: float = 5.0) -> None:
        """Wait for the hooks under way, but no longer than ``limit_s``."""
        if self._worker is not None:
            self._worker.join(limit_s)

    def _hand_over(self, new: list[Alarm]) -> None:
        for alarm in new:
            try:
                self._hooks.put_nowait(alarm)
            except Full:
                self._problem = say("the alarm command does not keep up: {n} waiting", n=WAITING_HOOKS)
                return
        if self._worker is None or not self._worker.is_alive():
            self._worker = threading.Thread(target=self._work, name="alarm command", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while True:
            try:
                alarm = self._hooks.get(timeout=1.0)
            except Empty:
                return
            self._problem = run_hook(self._command, alarm) or self._problem


def osc9(text: str, *, in_tmux: bool) -> str:
    """The sequence that asks a terminal for a desktop notification (iTerm2's OSC 9, also of kitty, WezTerm,
    Windows Terminal, foot), wrapped for tmux's passthrough where needed."""
    plain = "".join(mark if mark.isprintable() else " " for mark in text)[:OSC9_LIMIT]
    return f"\x1bPtmux;\x1b\x1b]9;{plain}\x07\x1b\\" if in_tmux else f"\x1b]9;{plain}\x07"


def run_hook(command: str, alarm: Alarm, limit_s: float = HOOK_LIMIT_S) -> str:
    """Run the operator's command for one alarm; returns what went wrong, or nothing."""
    told = {f"RANKDECK_ALARM_{key.upper()}": str(value or "") for key, value in alarm.mapping().items()}
    try:
        with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              env={**os.environ, **told}, start_new_session=True) as process:
            try:
                _, said = process.communicate(json.dumps(alarm.mapping(), ensure_ascii=False).encode("utf-8"), timeout=limit_s)
            except subprocess.TimeoutExpired:
                # The whole session: what a shell started must not outlive it.
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return say("the alarm command took longer than {n} s", n=f"{limit_s:g}")
    except OSError as error:
        return say("the alarm command cannot be run: {why}", why=error.strerror or str(error))
    if process.returncode:
        return say("the alarm command failed ({status}): {why}", status=process.returncode, why=said.decode("utf-8", "replace").strip()[-200:])
    return ""

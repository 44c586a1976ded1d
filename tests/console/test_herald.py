"""Who is told of an alarm, how often, and that nothing a node says becomes a command."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import psutil

from console.core.events import LinkChanged
from console.core.fleet.alarms import Alarm
from console.core.fleet.state import FleetState, apply
from console.herald import AGAIN_S, Herald, osc9, run_hook
from tests.console.tui import scene

STATE = scene.full_feed().state
NOW = scene.NOW


def down(node: str, state: FleetState = STATE) -> FleetState:
    return apply(state, LinkChanged(node=node, at=NOW, state="down", why="gone"))


def test_what_is_there_at_the_start_is_not_told_but_what_comes_is_once() -> None:
    herald = Herald({}, {})
    assert herald.look(STATE, NOW) == ("", "")
    assert herald.look(STATE, NOW + 1) == ("", "")
    ring, text = herald.look(down("atlas-01"), NOW + 2)
    assert ring == "\x07" and "atlas-01" in text
    assert herald.look(down("atlas-01"), NOW + 3) == ("", "")


def test_many_at_once_ring_once() -> None:
    herald = Herald({}, {})
    herald.look(STATE, NOW)
    assert herald.look(down("atlas-01"), NOW + 1)[0] == "\x07"
    ring, text = herald.look(down("atlas-02", down("atlas-01")), NOW + 2)
    assert ring == "" and "atlas-02" in text


def test_what_comes_back_is_told_again_only_after_a_while() -> None:
    herald = Herald({}, {})
    herald.look(STATE, NOW)
    assert herald.look(down("atlas-01"), NOW + 1)[1]
    assert herald.look(STATE, NOW + 2) == ("", "")
    assert herald.look(down("atlas-01"), NOW + 60) == ("", ""), "a link that comes and goes"
    herald.look(STATE, NOW + 61)
    assert herald.look(down("atlas-01"), NOW + 62 + AGAIN_S)[1]


def test_settings_choose_how_and_from_what_on() -> None:
    quiet = Herald({"notify.bell": False, "notify.desktop": True}, {})
    quiet.look(STATE, NOW)
    assert quiet.look(down("atlas-01"), NOW + 1)[0].startswith("\x1b]9;atlas-01")
    warned = apply(STATE, LinkChanged(node="atlas-01", at=NOW, state="silent"))
    for severity, told in (("critical", False), ("warning", True)):
        herald = Herald({"notify.severity": severity}, {})
        herald.look(STATE, NOW)
        assert bool(herald.look(warned, NOW + 1)[1]) is told


def test_a_notification_holds_no_control_characters() -> None:
    sequence = osc9("n\x1b]52;c;AAAA\x07 x\n", in_tmux=False)
    assert sequence == "\x1b]9;n ]52;c;AAAA  x \x07"
    assert osc9("a", in_tmux=True) == "\x1bPtmux;\x1b\x1b]9;a\x07\x1b\\"


def test_the_command_gets_the_alarm_and_runs_none_of_it(tmp_path: Path) -> None:
    text = f"$(touch {tmp_path}/owned); `touch {tmp_path}/owned` 'x' \"y\""
    alarm = Alarm(key="node/a;b/link", severity="critical", text=text, since=NOW, node="a;b")
    assert run_hook(f"cat > '{tmp_path}/got'; printf %s \"$RANKDECK_ALARM_NODE\" > '{tmp_path}/node'", alarm) == ""
    assert json.loads((tmp_path / "got").read_text()) == alarm.mapping()
    assert (tmp_path / "node").read_text() == "a;b" and not (tmp_path / "owned").exists()


def test_a_command_that_fails_or_hangs_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    alarm = Alarm(key="k", severity="critical", text="t", since=NOW)
    assert "(3): no such host" in run_hook("echo no such host >&2; exit 3", alarm)
    assert "longer" in run_hook(f"echo $$ > '{tmp_path}/pid'; sleep 60 & wait", alarm, limit_s=1.0)
    session = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    # Killed, but whose child it has become may take its time to say so.
    while (left := [process for process in psutil.process_iter() if _session(process.pid) == session]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _session(pid: int) -> int:
    try:
        return os.getsid(pid) if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else 0
    except (ProcessLookupError, psutil.Error):
        return 0


def test_the_screen_is_told_of_a_command_that_fails() -> None:
    herald = Herald({"notify.command": f"{sys.executable} -c 'raise SystemExit(5)'", "notify.bell": False}, {})
    herald.look(STATE, NOW)
    herald.look(down("atlas-01"), NOW + 1)
    herald.close(30.0)
    assert "(5)" in herald.look(down("atlas-01"), NOW + 2)[1]

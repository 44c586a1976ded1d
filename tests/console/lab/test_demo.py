"""``rankdeck demo`` as a process: usage errors, and that nothing is left of it after a signal."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from console.cli import main
from console.core import i18n
from console.lab import demo, fleet, remains
from tests.patience import PATIENCE_S

pytest.importorskip("asyncssh")

ARGS = {"iterations": 50, "save_interval": 10, "fault": [], "seed": 1, "headless": True, "json": True, "keep": False,
        "stop": False, "layout": "", "view": "", "theme": "", "lang": "", "fps": 10.0, "plain": False, "mouse": False, "read_only": False}
START = "import sys; from console.cli import main; sys.exit(main(['demo', '--headless', '--json', '--iterations', '50']))"


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def of_this_test(tmp_path: Path) -> list[int]:
    return [pid for pid, root in remains.marked().items() if tmp_path in root.parents]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([sys.executable, "-c", START], stdout=said, stderr=said, env={**os.environ, "TMPDIR": str(tmp_path)})
    yield process
    process.kill()
    process.wait()
    for root in tmp_path.glob("rankdeck-demo-*"):
        remains.clear(root)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing(started: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals) -> None:
    until(lambda: list(tmp_path.glob("rankdeck-demo-*/fleet.json")), "the fleet did not come up")
    assert of_this_test(tmp_path)
    started.send_signal(number)
    assert started.wait(PATIENCE_S) == 128 + number, (tmp_path / "said").read_text()
    assert of_this_test(tmp_path) == []
    assert list(tmp_path.glob("rankdeck-demo-*")) == []


def test_a_killed_demo_is_cleared_by_the_next_one(started: subprocess.Popen[bytes], tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    until(lambda: list(tmp_path.glob("rankdeck-demo-*/fleet.json")), "the fleet did not come up")
    started.kill()
    started.wait()
    assert of_this_test(tmp_path), "the fleet outlives a console that is killed outright"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(remains, "roots", lambda: sorted(tmp_path.glob("rankdeck-demo-*")))
    assert demo.main(argparse.Namespace(**{**ARGS, "stop": True})) == 0
    assert of_this_test(tmp_path) == []
    assert list(tmp_path.glob("rankdeck-demo-*")) == []


@pytest.mark.parametrize("fault", ["hang@20", "nonsense", "rank-killed", "rank-killed@50"])
def test_a_wrong_fault_is_wrong_usage_and_starts_nothing(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "create", lambda *args, **kwargs: pytest.fail("a fleet was started"))
    with pytest.raises(fleet.UsageError) as found:
        demo.main(argparse.Namespace(**{**ARGS, "fault": [fault]}))
    assert found.value.exit_code == 2
    assert found.value.where == "--fault"


def test_the_screen_wants_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "create", lambda *args, **kwargs: pytest.fail("a fleet was started"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(fleet.UsageError, match="--headless"):
        demo.main(argparse.Namespace(**{**ARGS, "headless": False}))


def test_text_wants_no_terminal_and_knows_the_screens_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = object()
    shown: list[tuple[object, str, bool]] = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    monkeypatch.setattr(demo, "_clear_orphans", lambda say: None)
    monkeypatch.setattr(demo, "_running", lambda say: None)
    monkeypatch.setattr(fleet, "create", lambda *args, **kwargs: SimpleNamespace(made=made, leave=lambda say: True))
    monkeypatch.setattr(demo, "_shown", lambda found, args, wanted, rng, *, text: shown.append((found.made, args.view, text)) or 0)
    monkeypatch.setattr(demo, "_deafen", lambda: None)
    try:
        assert main(["demo", "--plain", "--lang", "zh", "--view", "incident", "--layout", "triage"]) == 0
    finally:
        i18n.use({})
    assert shown == [(made, "incident", True)]
    assert "正在准备四个节点的演示集群" in capsys.readouterr().err


def test_importing_the_demo_is_cheap() -> None:
    code = "import sys, console.lab.demo; print([m for m in ('textual', 'paramiko', 'asyncssh', 'torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"

"""What every test may rely on. Python 3.7 syntax: the agent's tests run under the agent's floor too.

- Nothing reaches beyond this machine: a connection to an address that is not loopback fails the test.
  Tests marked ``ssh`` run their clients in a network namespace of their own and are not concerned.
- An interrupt can be sent to what the tests start.
- The user's own state and configuration are never read or written.
- ``corpus``: the directory of captured outputs, where there is one.
- The files that take longest come first, so that no worker is left with one of them when the others have ended.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import signal
import socket
from pathlib import Path

import pytest

_count = itertools.count()

# Longest first, by their time side by side on two cores; all others take less than half a minute.
LONG = (
    "flow/test_demo.py", "trainer/runtime/test_resume.py", "agent/test_resident.py", "trainer/runtime/test_layout_resume.py", "tmux/test_keys.py",
    "trainer/runtime/test_layouts.py", "console/tui/test_errand_snapshots.py", "trainer/test_commands.py", "console/remote/test_exactly_once.py",
    "trainer/runtime/test_kills.py", "console/tui/test_views.py", "trainer/runtime/test_saving.py", "console/core/launch/test_step_plan.py",
    "console/core/launch/test_every_text.py", "agent/test_attach.py", "console/test_run_step.py", "trainer/convert/test_logits.py",
    "agent/fuzz/test_fuzz.py", "console/tui/test_checks.py", "trainer/runtime/test_validation.py", "agent/test_jobs.py", "console/tui/test_app.py",
    "tmux/test_terminal.py", "console/lab/test_fleet.py", "agent/parse/test_log_damage.py", "console/remote/test_end_to_end.py",
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what it puts in the background with SIGINT ignored, and everything that
    # the tests start would inherit that; some of them end a program that way.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _outside(address: object) -> bool:
    """Whether a socket address leads off this machine. Names are taken as outside: they need a resolver."""
    if not isinstance(address, tuple) or not address:
        return False  # AF_UNIX and the like
    host = str(address[0]).split("%")[0]
    if host in ("", "localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of LONG first; within a file, and behind them, the order stays."""
    tests = Path(__file__).parent
    place = {str(tests / name): at for at, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(str(item.fspath), len(LONG)))


@pytest.fixture(autouse=True)
def _stay_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        # Connecting a datagram socket sends nothing; it is how a program asks for its own address.
        if self.type & 0xF == socket.SOCK_STREAM and _outside(address):
            raise AssertionError("the test suite is offline, and this test connects to %r" % (address,))
        real(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _leave_the_user_alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Not made here: a directory for each of many hundred tests that mostly never look at it would cost more
    # than the tests.
    own = tmp_path_factory.getbasetemp() / ("xdg-%d" % next(_count))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(own / name.lower()))
    for name in [name for name in os.environ if name.startswith("RANKDECK_") and name not in ("RANKDECK_CORPUS", "RANKDECK_HOSTS")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The directory of captured outputs named by RANKDECK_CORPUS; the test is skipped where it is not set."""
    named = os.environ.get("RANKDECK_CORPUS")
    if not named or not Path(named).is_dir():
        pytest.skip("RANKDECK_CORPUS names no directory of captured outputs")
    return Path(named)

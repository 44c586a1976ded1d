"""A command that is left by a signal: what it does then is done in order, and once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from console.cli.jobs import leaving_in_order


@pytest.fixture
def signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_second_signal_does_not_cut_the_leaving_off() -> None:
    signal.signal(signal.SIGHUP, before := lambda number, frame: None)
    left = []

    def launch() -> None:
        with leaving_in_order():
            try:
                signal.raise_signal(signal.SIGHUP)
            finally:
                # The shell's, behind the terminal's own; and somebody's who does not wait.
                signal.raise_signal(signal.SIGHUP)
                signal.raise_signal(signal.SIGTERM)
                left.append("in order")

    with pytest.raises(KeyboardInterrupt):
        launch()
    assert left == ["in order"] and signal.getsignal(signal.SIGHUP) is before


@pytest.mark.usefixtures("signals")
def test_under_nohup_a_hang_up_is_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with leaving_in_order():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

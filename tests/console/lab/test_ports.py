"""Ports that nobody else is given meanwhile."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from console.lab import ports


def test_a_port_is_free_and_not_one_that_connections_are_given() -> None:
    lowest = int(ports.RANGE.read_text().split()[0])
    found = {ports.free_port("127.0.0.1") for _ in range(20)}
    assert len(found) > 15 and all(ports.LOWEST <= port < max(lowest, ports.LOWEST + 1) for port in found)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", found.pop()))


def test_without_room_below_any_free_one_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "range").write_text("1024\t60999\n")
    monkeypatch.setattr(ports, "RANGE", tmp_path / "range")
    assert ports.free_port("127.0.0.1") > 0
    monkeypatch.setattr(ports, "RANGE", tmp_path / "none")
    assert ports.LOWEST <= ports.free_port("127.0.0.1") < 32_768

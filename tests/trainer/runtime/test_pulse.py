"""Heartbeat, events and the count of starts: files that others read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.runtime import pulse
from trainer.runtime.errors import TrainerError


def test_a_heartbeat_is_where_the_round_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKDECK_DIR", str(tmp_path))
    monkeypatch.setenv("RANKDECK_ROUND", "1")
    (tmp_path / "round-01").mkdir()
    heart = pulse.Heartbeat(3)
    heart.beat(7, "training")
    path = tmp_path / "round-01" / "heartbeat-rank-3.json"
    assert {key: json.loads(path.read_text())[key] for key in ("rank", "iteration", "phase")} == {"rank": 3, "iteration": 7, "phase": "training"}
    heart.beat(8, "training")
    assert json.loads(path.read_text())["iteration"] == 7, "not more often than once a second"
    heart.beat(8, "saving")
    assert json.loads(path.read_text())["phase"] == "saving"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_no_heartbeat_without_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANKDECK_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    pulse.Heartbeat(0).beat(1, "training")
    assert list(tmp_path.iterdir()) == []


def test_the_fourth_start_from_the_same_place_is_refused(tmp_path: Path) -> None:
    for _ in range(3):
        pulse.Starts(tmp_path, 3).count(20)
    with pytest.raises(TrainerError, match="3 starts went no further than their checkpoint"):
        pulse.Starts(tmp_path, 3).count(20)
    pulse.Starts(tmp_path, 3).count(30)
    assert json.loads((tmp_path / pulse.STARTS_NAME).read_text()) == {"iteration": 30, "starts": 1}
    pulse.Starts(tmp_path, 3).forget()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / pulse.STARTS_NAME).write_text("{half")
    pulse.Starts(tmp_path, 3).count(30)


def test_checksums_are_those_of_the_standard() -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720, B.4 has the polynomial); masked as TFRecord does.
    crc = 0xE3069283
    assert int.from_bytes(pulse._masked_crc(b"123456789"), "little") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    events = pulse.Events(tmp_path)
    events.add(1, {"lm loss": 5.5, "grad-norm": 1.25})
    events.add(300, {"lm loss": 4.5})
    events.close()
    (path,) = tmp_path.iterdir()
    found = [(event.step, value.tag, value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value)
             for event in loader.EventFileLoader(str(path)).Load() for value in event.summary.value]
    assert found == [(1, "lm loss", 5.5), (1, "grad-norm", 1.25), (300, "lm loss", 4.5)]


def test_events_that_cannot_be_written_are_refused_at_first_and_left_out_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainerError, match=r"file/events: the events for TensorBoard cannot be written \(got Not a directory\)\. Check logging\.tensorboard_dir"):
        pulse.Events(tmp_path / "file" / "events")
    events = pulse.Events(tmp_path)
    events._stream.close()
    # Buffered, so that closing it fails as well.
    events._stream = open("/dev/full", "ab", buffering=16)  # noqa: SIM115
    for step in range(3):
        events.add(step, {"lm loss": 5.5})
    events.close()
    assert capsys.readouterr().out.count("No space left on device") == 1


def test_a_heartbeat_that_cannot_be_written_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKDECK_DIR", str(tmp_path / "gone"))
    monkeypatch.delenv("RANKDECK_ROUND", raising=False)
    pulse.Heartbeat(0).beat(1, "training")
    assert not (tmp_path / "gone").exists()


def test_the_interval_is_where_saving_and_losing_cost_least() -> None:
    from trainer.runtime.train import auto_interval

    assert auto_interval(14400.0, 2.0, 1.0) == 240
    best = auto_interval(14400.0, 2.0, 1.0)

    def waste(interval: float) -> float:
        return 2.0 / interval + interval / 2.0 / 14400.0

    assert waste(best) < min(waste(best * 0.8), waste(best * 1.25))
    assert auto_interval(100.0, 0.0, 1.0) == 1

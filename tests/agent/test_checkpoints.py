from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent import checkpoints
from trainer.spec import manifest


def save(directory: Path, iteration: int) -> Path:
    folder = directory / manifest.directory_name(iteration)
    (folder / "sub").mkdir(parents=True)
    files = {".metadata": b"m" * 10, "common.pt": b"c" * 20, "__0_0.distcp": b"d" * 30, "sub/x": b"s"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    text = json.dumps(manifest.build([(name, len(data)) for name, data in files.items()], iteration, {"world_size": 2}))
    (folder / manifest.MANIFEST_NAME).write_text(text, encoding="utf-8")
    return folder


def track(directory: Path, text: str) -> None:
    (directory / manifest.TRACKER_NAME).write_text(text, encoding="utf-8")


def test_complete_iterations_and_the_one_to_resume_from(tmp_path: Path) -> None:
    for iteration in (10, 20, 30):
        save(tmp_path, iteration)
    (tmp_path / "iter_0000040").mkdir()
    (tmp_path / "iter_0000050.tmp").mkdir()
    (tmp_path / "notes").mkdir()
    track(tmp_path, "30\n")
    found = checkpoints.scan(str(tmp_path))
    assert [(row["iteration"], row["complete"]) for row in found["iterations"]] == [(10, True), (20, True), (30, True), (40, False)]
    assert found["iterations"][0]["bytes"] == 61
    assert found["iterations"][0]["path"] == str(tmp_path / "iter_0000010")
    assert (found["tracker"], found["tracker_state"], found["resume_from"], found["why"]) == (30, "ok", 30, "")
    assert found["iterations"][3]["why"]


@pytest.mark.parametrize("name, change", [
    ("__0_0.distcp", lambda path: path.unlink()),
    ("common.pt", lambda path: path.write_bytes(b"short")),
    (".metadata", lambda path: path.write_bytes(b"")),
    (manifest.MANIFEST_NAME, lambda path: path.unlink()),
    (manifest.MANIFEST_NAME, lambda path: path.write_text("{\"version\": 1, \"fi", encoding="utf-8")),
    (manifest.MANIFEST_NAME, lambda path: path.write_text("[]", encoding="utf-8")),
])
def test_a_broken_newest_one_is_passed_over_with_a_reason(tmp_path: Path, name: str, change: object) -> None:
    save(tmp_path, 10)
    change(save(tmp_path, 20) / name)  # type: ignore[operator]
    track(tmp_path, "20")
    found = checkpoints.scan(str(tmp_path))
    assert [(row["complete"], bool(row["why"])) for row in found["iterations"]] == [(True, True), (False, True)]
    assert found["resume_from"] == 10


@pytest.mark.parametrize("text, state", [("", "torn"), ("1x", "torn"), ("release", "release"), ("\x00\x00", "torn"), ("20", "ok")])
def test_the_tracker(tmp_path: Path, text: str, state: str) -> None:
    save(tmp_path, 10)
    track(tmp_path, text)
    found = checkpoints.scan(str(tmp_path))
    assert (found["tracker_state"], found["tracker"]) == (state, 20 if state == "ok" else None)
    assert found["resume_from"] == 10


def test_newer_than_the_tracker_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, 10)
    save(tmp_path, 20)
    track(tmp_path, "10")
    assert checkpoints.scan(str(tmp_path))["resume_from"] == 10


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    found = checkpoints.scan(str(tmp_path / "nothing"))
    assert found == {"iterations": [], "tracker": None, "tracker_state": "missing", "tracker_text": None, "resume_from": None, "why": "missing",
                     "problems": [], "save_seconds": None, "next_save": None}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir(mode=0)
    assert checkpoints.scan(str(tmp_path / "c"))["why"] == "denied"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "ckpt", 10)
    assert checkpoints.scan("~/ckpt")["resume_from"] == 10

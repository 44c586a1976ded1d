from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agent import attempt, wire
from agent.attempt import Pointer
from agent.home import Home
from agent.saves import Saves
from tests.agent.parse.test_checkpoint import at, legacy
from tests.agent.test_checkpoints import save, track


@pytest.fixture
def place(tmp_path: Path) -> Path:
    home = Home(str(tmp_path / "state"))
    folder = tmp_path / "attempt"
    folder.mkdir()
    (folder / "shim.json").write_text("{}")
    (folder / "job.json").write_text(json.dumps({"checkpoint": {"dir": str(tmp_path / "ckpt")}}))
    attempt.save(home.attempts, Pointer({"job": "j", "attempt": "a", "dir": str(folder)}))
    return tmp_path


def test_a_save_is_told_when_it_is_begun_and_when_it_is_whole_and_not_in_between(place: Path) -> None:
    saves = Saves(Home(str(place / "state")))
    (first,) = saves.look()
    assert (first["kind"], first["key"], first["data"]["why"], first["data"]["iterations"]["iteration"]) == ("saves", "saves:a:%s" % (place / "ckpt"), "missing", [])
    assert saves.look() == []
    folder = save(place / "ckpt", 10)
    kept = (folder / "common.pt").read_bytes()
    (folder / "common.pt").unlink()
    (begun,) = saves.look()
    assert begun["data"]["iterations"]["complete"] == [False] and begun["data"]["resume_from"] is None
    (folder / "common.pt").write_bytes(kept)
    track(place / "ckpt", "10")
    (whole,) = saves.look()
    data = whole["data"]
    assert data["iterations"]["complete"] == [True] and data["resume_from"] == 10 and data["next_bytes"] == 61 and data["fits"] is True
    assert wire.problems_in("saves", data) == []
    assert saves.look() == []
    shutil.rmtree(str(folder))
    assert [record["data"]["resume_from"] for record in saves.look()] == [None]
    saves.forget()
    assert len(saves.look()) == 1


def test_what_an_attempt_saved_last_is_looked_at_after_its_end_and_then_no_more(place: Path) -> None:
    home = Home(str(place / "state"))
    saves = Saves(home)
    saves.look()
    save(place / "ckpt", 10)
    track(place / "ckpt", "10")
    attempt.save(home.attempts, Pointer({"job": "j", "attempt": "a", "dir": str(place / "attempt"), "closed": True}))
    (last,) = saves.look()
    assert last["data"]["resume_from"] == 10
    saves.forget()
    assert [record["data"]["resume_from"] for record in saves.look()] == [10], "it could not be stored, and is told again"
    save(place / "ckpt", 20)
    assert saves.look() == [] and Saves(home).look() == []


def test_only_attempts_that_began_and_have_a_directory_are_looked_at(place: Path) -> None:
    home = Home(str(place / "state"))
    (place / "attempt" / "job.json").write_text('{"checkpoint": {"dir": "relative"}}')
    assert Saves(home).look() == []
    (place / "attempt" / "job.json").write_text("{")
    assert Saves(home).look() == []
    (place / "attempt" / "job.json").write_text(json.dumps({"checkpoint": {"dir": str(place)}}))
    (place / "attempt" / "shim.json").unlink()
    assert Saves(home).look() == []


def test_parts_on_a_disk_of_its_own_are_told_by_name(place: Path) -> None:
    (place / "attempt" / "job.json").write_text(json.dumps({"checkpoint": {"dir": str(place / "ckpt"), "storage": "per-node"}}))
    for name, data in at("iter_0000010", legacy(2, 2)).items():
        if name.split("/")[1].endswith("_001"):  # the second pipeline stage; the first is on another node
            path = place / "ckpt" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (told,) = Saves(Home(str(place / "state"))).look()
    columns = told["data"]["iterations"]
    assert told["data"]["storage"] == "per-node" and wire.problems_in("saves", told["data"]) == []
    assert columns["complete"] == [False] and columns["absent"] == [["mp_rank_00_000", "mp_rank_01_000"]] and columns["sound"] == [True]
    assert "mp_rank_01_001" in columns["holds"][0] and "mp_rank_00_000" not in columns["holds"][0]
    # What is here and cut off is wrong whatever lies elsewhere.
    broken = place / "ckpt" / "iter_0000010" / "mp_rank_01_001" / "model_optim_rng.pt"
    broken.write_bytes(broken.read_bytes()[:-30])
    (told,) = Saves(Home(str(place / "state"))).look()
    assert told["data"]["iterations"]["sound"] == [False]
    # One directory for all has no parts to tell of.
    (place / "attempt" / "job.json").write_text(json.dumps({"checkpoint": {"dir": str(place / "ckpt"), "storage": "shared"}}))
    (told,) = Saves(Home(str(place / "state"))).look()
    assert told["data"]["storage"] == "shared" and "holds" not in told["data"]["iterations"]

"""``rankdeck inspect checkpoint`` says of files on a laptop what the agent says of them on the node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from console.cli import main
from tests.agent.parse.test_checkpoint import HF, WHOLE, at, dcp, legacy, megatron_dcp

SCHEMA = json.loads((Path(__file__).parents[2] / "console" / "schema" / "inspect-checkpoint.schema.json").read_text())


def put(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def inspect(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, dict[str, Any]]:
    status = main(["inspect", "checkpoint", *map(str, argv), "--json"])
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return status, found


@pytest.mark.parametrize("name", WHOLE)
def test_whole_saves(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, format, iteration, _, resumable = WHOLE[name]
    status, found = inspect(capsys, put(tmp_path / "ckpt", dict(files)))
    (row,) = found["iterations"]
    assert (row["format"], row["iteration"], row["complete"]) == (format, iteration, True)
    assert found["resume_from"] == (iteration if resumable else None)
    # A Megatron directory without a tracker starts from random weights: that is not fine.
    tracked = not (format in ("legacy", "torch_dist") and iteration is not None)
    assert status == (0 if tracked and (found["resume_from"] is not None or not row["resumable"]) else 1)


def test_a_damaged_newest_save_is_passed_over_and_what_is_lost_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {**at("iter_0000010", megatron_dcp()), **at("iter_0000020", {**megatron_dcp(), "__1_0.distcp": b""}), "latest_checkpointed_iteration.txt": b"20"}
    status, found = inspect(capsys, put(tmp_path, files), "--at", 25, "--step-s", 2)
    assert status == 1 and found["resume_from"] == 10
    assert found["lost"] == {"at": 25, "iterations": 15, "seconds": 30.0}
    assert found["next_save"]["fits"] is True and found["next_save"]["bytes"] == found["iterations"][0]["bytes"]
    main(["inspect", "checkpoint", str(tmp_path), "--at", "25"])
    out = capsys.readouterr().out
    for words in ("tp=2 pp=2 ep=1 world_size=8", "1 of 6 files are empty: __1_0.distcp", "go on from: 10", "15 iterations", "names iteration 20, which is not complete"):
        assert words in out


def test_parts_on_several_nodes_are_one_save_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {**at("iter_0000010", legacy(tp=1, pp=4)), "latest_checkpointed_iteration.txt": b"10"}
    first = put(tmp_path / "n1" / "c", {name: data for name, data in files.items() if "_002/" not in name and "_003/" not in name})
    second = put(tmp_path / "n2" / "c", {name: data for name, data in files.items() if "_000/" not in name and "_001/" not in name})
    status, found = inspect(capsys, first)
    assert status == 1 and "2 of 4 rank directories missing" in found["iterations"][0]["why"]
    status, found = inspect(capsys, first, second)
    assert status == 0 and found["resume_from"] == 10


def test_weights_alone_are_fine_and_nothing_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(capsys, put(tmp_path / "hf", dict(HF)))[0] == 0
    (tmp_path / "empty").mkdir()
    assert inspect(capsys, tmp_path / "empty")[0] == 1
    assert inspect(capsys, put(tmp_path / "dcp", dcp()))[0] == 1  # no iteration in its name


def test_what_could_not_be_looked_into_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, {"iter_0000010/mp_rank_00/model_optim_rng.pt": b"enciphered", "latest_checkpointed_iteration.txt": b"10"})
    assert main(["inspect", "checkpoint", str(tmp_path)]) == 0
    assert "not looked into, being of an unknown kind: mp_rank_00/model_optim_rng.pt" in capsys.readouterr().out


def test_not_a_directory_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "checkpoint", str(tmp_path / "nothing")]) == 2
    assert "no such directory" in capsys.readouterr().err

"""Whether a checkpoint is complete: the one judgement that trainer, agent and console share."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from trainer.spec import manifest

FILES = {".metadata": 22826, "__0_0.distcp": 1743517, "__1_0.distcp": 1017693, "common.pt": 1383, "metadata.json": 119}


def made(iteration: int = 20) -> dict[str, Any]:
    return manifest.build(FILES.items(), iteration, {"world_size": 2})


def test_a_manifest_survives_json_and_counts_its_bytes() -> None:
    again = json.loads(json.dumps(made()))
    assert again == {"version": 1, "iteration": 20, "layout": {"world_size": 2}, "bytes": sum(FILES.values()), "files": FILES}
    assert list(again["files"]) == sorted(FILES)


def test_a_manifest_does_not_list_itself() -> None:
    listed = manifest.build([*FILES.items(), (manifest.MANIFEST_NAME, 5)], 20, {})
    assert manifest.MANIFEST_NAME not in listed["files"]


def test_one_name_cannot_have_two_sizes() -> None:
    with pytest.raises(ValueError, match=r"common\.pt.*1383.*7"):
        manifest.build([*FILES.items(), ("common.pt", 7)], 20, {})
    assert manifest.build([*FILES.items(), ("common.pt", 1383)], 20, {})["bytes"] == sum(FILES.values())


@pytest.mark.parametrize("tracker", [20, 30])
def test_all_there_is_complete(tracker: int) -> None:
    assert manifest.judge(made(), {**FILES, manifest.MANIFEST_NAME: 500, ".nfs0001": 3}, tracker, 20) == (True, "all 5 files as in the manifest")


def test_without_a_tracker_the_manifest_decides() -> None:
    assert manifest.judge(made(), FILES, None, 20) == (True, "all 5 files as in the manifest (no tracker)")


def test_newer_than_the_tracker_is_not_resumed_from() -> None:
    complete, why = manifest.judge(made(), FILES, 10, 20)
    assert not complete
    assert "tracker (10)" in why


def test_a_missing_shard() -> None:
    files = {name: size for name, size in FILES.items() if name != "__1_0.distcp"}
    assert manifest.judge(made(), files, 20, 20) == (False, "1 of 5 files missing: __1_0.distcp")


def test_nothing_there_names_a_few() -> None:
    complete, why = manifest.judge(made(), {}, 20, 20)
    assert not complete
    assert why == "5 of 5 files missing: .metadata, __0_0.distcp, __1_0.distcp, ..."


@pytest.mark.parametrize("size", [0, 1017692, 1017694])
def test_a_file_of_another_size(size: int) -> None:
    assert manifest.judge(made(), {**FILES, "__1_0.distcp": size}, 20, 20) == (
        False, f"1 of 5 files have another size: __1_0.distcp has {size} bytes, manifest says 1017693")


def test_no_manifest_is_never_complete() -> None:
    assert manifest.judge(None, FILES, 20, 20) == (False, "no readable manifest")


def test_a_manifest_of_another_iteration() -> None:
    assert manifest.judge(made(10), FILES, 20, 20) == (False, "manifest is of iteration 10")


@pytest.mark.parametrize(
    "wrong",
    [
        [], "text", 3, {}, {"version": 2}, {"version": 1},
        {"version": 1, "iteration": 20}, {"version": 1, "iteration": 20, "files": {}},
        {"version": 1, "iteration": 20, "files": ["a"]}, {"version": 1, "iteration": 20, "files": {"a": "9"}},
        {"version": 1, "iteration": 20, "files": {"a": -1}}, {"version": 1, "iteration": 20, "files": {"a": True}},
    ],
)
def test_whatever_stands_in_a_manifest_is_judged(wrong: Any) -> None:
    complete, why = manifest.judge(wrong, FILES, 20, 20)
    assert not complete
    assert why


@pytest.mark.parametrize(
    ("text", "iteration"),
    [("20", 20), (" 20\n", 20), ("0", 0), ("release", None), ("", None), (None, None), ("-3", None), ("2e3", None), ("٣", None), ("9" * 40, None)],
)
def test_the_tracker(text: str | None, iteration: int | None) -> None:
    assert manifest.tracker_iteration(text) == iteration


@pytest.mark.parametrize(
    ("name", "iteration"),
    [
        ("iter_0000010", 10), ("iter_12345678", 12345678), ("iter_0000010.saving", None), ("iter_10", None),
        ("iter_0000010\n", None), ("release", None), ("iter_", None), (manifest.TRACKER_NAME, None),
    ],
)
def test_directory_names(name: str, iteration: int | None) -> None:
    assert manifest.iteration_of(name) == iteration


def test_directory_names_read_back() -> None:
    assert [manifest.iteration_of(manifest.directory_name(n)) for n in (0, 10, 9999999, 10000000)] == [0, 10, 9999999, 10000000]


def test_it_is_fit_for_the_agents_python() -> None:
    source = Path(manifest.__file__).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "re", "typing"}

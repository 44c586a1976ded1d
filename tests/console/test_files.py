"""Job, fleet and layout files on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console import files
from console.core.errors import FileError
from console.core.launch.compose import GROUPS
from console.core.launch.problems import ProblemsError

JOB = """
run: {name: tiny}
paths: {work: /w}
fleet: {nodes: [n0], inventory: fleet.yaml}
train: {iterations: 10}
checkpoint: {dir: "${paths.work}/ckpt"}
"""


def test_a_job_file_with_includes_and_hardware(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(JOB)
    top = tmp_path / "job.yaml"
    top.write_text("defaults: [base, hardware: ascend-a3-16]\nrun: {name: mine}\n")
    job = files.read_job(str(top))
    assert (job.spec.run.name, job.spec.fleet.npus_per_node, job.spec.checkpoint.dir) == ("mine", 16, "/w/ckpt")
    assert job.identities[:2] == (str(top), str(tmp_path / "base.yaml"))
    assert files.fleet_path_of(job) == str(tmp_path / "fleet.yaml")


def test_places_carry_the_name_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB.replace("iterations: 10", "iterations: ten"))
    with pytest.raises(ProblemsError) as raised:
        files.read_job("job.yaml")
    assert raised.value.problems[0].where == "job.yaml:5:21" and raised.value.exit_code == 2


def test_every_shipped_profile_is_a_job_part(tmp_path: Path) -> None:
    shipped = {group: sorted(path.stem for path in files.SHIPPED[group].glob("*.yaml")) for group in GROUPS}
    assert shipped["hardware"] == ["ascend-a2-8", "ascend-a3-16", "cpu"]
    for group, names in shipped.items():
        for name in names:
            top = tmp_path / f"{name}.yaml"
            top.write_text(f"defaults: [{group}: {name}]\n" + JOB)
            files.read_job(str(top))


def test_an_unknown_profile_is_named_with_the_nearest(tmp_path: Path) -> None:
    top = tmp_path / "job.yaml"
    top.write_text("defaults: [hardware: ascend-a2]\n" + JOB)
    with pytest.raises(ProblemsError, match="ascend-a2-8"):
        files.read_job(str(top))
    top.write_text("defaults: [hardware: ../../schema/x]\n" + JOB)
    with pytest.raises(ProblemsError, match="there is no hardware"):
        files.read_job(str(top))


@pytest.mark.parametrize(("raw", "what"), [
    (None, "cannot read the file"), (b"a: \xff", "UTF-8"), (b"a: [", "not valid YAML"), (b"x" * (8 * 1024 * 1024 + 1), "too large")])
def test_what_cannot_be_read(tmp_path: Path, raw: bytes | None, what: str) -> None:
    path = tmp_path / "job.yaml"
    if raw is not None:
        path.write_bytes(raw)
    for read in (files.read_job, files.read_fleet):
        with pytest.raises(FileError, match=what) as raised:
            read(str(path))
        assert raised.value.where.startswith(str(path)) and raised.value.exit_code == 2


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        files.read_fleet(str(tmp_path))


def test_a_fleet_is_named_by_its_file_and_knows_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ops")
    path = tmp_path / "lab.yaml"
    path.write_text("known_hosts: hosts\nnodes: [{name: a, key: keys/id}, {name: b, key: ~/.ssh/id}, {name: c, key: /k}, d]\n")
    fleet = files.read_fleet(str(path))
    assert fleet.name == "lab" and fleet.known_hosts == str(tmp_path / "hosts")
    assert [node.key for node in fleet.nodes] == [str(tmp_path / "keys" / "id"), "/home/ops/.ssh/id", "/k", ""]


def test_utf8_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"\xef\xbb\xbfnodes: [a]\n")
    assert files.read_fleet(str(path)).nodes[0].name == "a"


def test_shipped_layouts_are_found_and_read() -> None:
    assert "default" in files.layouts()
    for name in files.layouts():
        spec, style = files.read_layout(name)
        assert spec.root.children or spec.root.pane
        assert isinstance(style, str)


def test_a_layout_of_ones_own_wins_and_brings_its_style() -> None:
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "rankdeck" / "layouts"
    own.mkdir(parents=True)
    (own / "default.yaml").write_text("version: 1\nname: default\ntitle: Mine\nroot: {pane: logs}\n")
    (own / "default.tcss").write_text("#pane-logs { border: heavy; }\n")
    (own / "wide.yaml").write_text("version: 1\nname: wide\nroot: {pane: lgs}\n")
    spec, style = files.read_layout("default")
    assert (spec.title, spec.root.pane, style) == ("Mine", "logs", "#pane-logs { border: heavy; }\n")
    with pytest.raises(FileError, match="Did you mean 'logs'") as raised:
        files.read_layout("wide")
    assert raised.value.where == f"{own / 'wide.yaml'}:3:14"


def test_a_layout_that_is_not_there() -> None:
    with pytest.raises(FileError, match="Did you mean 'default'"):
        files.read_layout("defualt")

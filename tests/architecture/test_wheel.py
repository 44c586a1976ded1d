"""What is installed: the three packages, their data, the layouts, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's sources."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("console", "agent", "trainer", "layouts", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture(scope="module")
def contents(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel built from it, offline."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("rankdeck-*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_every_source_and_every_data_file_is_in_the_wheel(tree: Path, contents: list[str]) -> None:
    for package in ("console", "agent", "trainer", "layouts"):
        wanted = {path.relative_to(tree).as_posix() for path in (tree / package).rglob("*") if path.is_file()}
        assert wanted, package
        assert wanted - set(contents) == set()


def test_the_data_that_programs_read_is_among_it(contents: list[str]) -> None:
    assert any(name.startswith("layouts/") and name.endswith(".yaml") for name in contents)
    assert any(name.startswith("layouts/") and name.endswith(".tcss") for name in contents)
    assert any(name.startswith("agent/catalogue/") and name.endswith(".json") for name in contents)
    assert any(name.startswith("console/schema/") and name.endswith(".json") for name in contents)


def test_nothing_else_is_installed(contents: list[str]) -> None:
    tops = {name.split("/")[0] for name in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"console", "agent", "trainer", "layouts"}


def test_the_command_is_declared(contents: list[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in contents)
    assert any(name.endswith("/licenses/LICENSE") for name in contents)

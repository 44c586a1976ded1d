"""What is sent to a node runs there with the node's Python and nothing else."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from console.remote.deploy import build_archive

IMPORT_ALL = """
import importlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.argv[1]), module.__file__
outside = [module.__name__ for module in list(sys.modules.values()) if "site-packages" in (getattr(module, "__file__", None) or "")]
assert not outside, outside
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as a node unpacks it."""
    folder = tmp_path_factory.mktemp("agent")
    zipfile.ZipFile(io.BytesIO(build_archive()[1])).extractall(folder)
    return folder


def test_it_holds_the_agent_and_of_the_trainer_the_manifest_alone(unpacked: Path) -> None:
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("agent/")} == {
        "__main__.py", "trainer/__init__.py", "trainer/spec/__init__.py", "trainer/spec/manifest.py"}
    assert {"agent/__main__.py", "agent/shim.py", "agent/wire.py"} <= names
    assert any(name.startswith("agent/catalogue/") and name.endswith(".json") for name in names)
    assert not any("test" in name for name in names)


def test_every_module_of_it_imports_with_the_standard_library_alone(unpacked: Path) -> None:
    modules = [".".join(path.relative_to(unpacked).with_suffix("").parts).replace(".__init__", "")
               for path in sorted(unpacked.rglob("*.py")) if path.parent != unpacked]
    # -I: no environment, no user site, not the current directory; -S: no site-packages either.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(unpacked), *modules], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_of_the_users_do_not_get_in_its_way(unpacked: Path, tmp_path: Path) -> None:
    for name in ("agent.py", "trainer.py", "json.py", "sqlite3.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger was imported')\n")
    done = subprocess.run([sys.executable, "-I", "-S", str(unpacked), "nonsense"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True, check=False)
    assert "stranger" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert "nonsense" in done.stderr or "usage" in done.stderr.lower()


def test_the_same_sources_give_the_same_archive() -> None:
    first = build_archive()
    build_archive.cache_clear()
    assert build_archive() == first

"""Who may import whom: the contracts of pyproject.toml hold, and they would notice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("console", "agent", "trainer")

# One breach for each contract: (contract's name begins with, file, line to add).
BREACHES = [
    ("console: composition root", "console/store/__init__.py", "import console.tui"),
    ("agent internals", "console/core/events.py", "import agent.spool"),
    ("trainer internals", "console/core/clock.py", "import trainer.data"),
    ("agent and trainer know neither", "agent/parse/__init__.py", "import console.core.clock"),
    ("the trainer does not know the agent", "trainer/spec/job.py", "import agent.wire"),
    ("the agent knows of the trainer only", "agent/follow.py", "import trainer.spec.job"),
    ("torch only in", "console/files.py", "import numpy"),
    ("the pure parts do no I/O", "console/core/errors.py", "import threading"),
]


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """lint-imports over a tree that has a pyproject.toml."""
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run([sys.executable, "-c", program, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def report_of_breaches(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a copy of the sources in which every contract is broken once."""
    tree = tmp_path_factory.mktemp("breached")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for _, name, line in BREACHES:
        with (tree / name).open("a") as source:
            source.write(f"\n{line}\n")
    (tree / "console" / "unplaced.py").write_text("")
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_the_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(("contract", "name", "line"), BREACHES)
def test_a_breach_of_each_contract_is_noticed(report_of_breaches: str, contract: str, name: str, line: str) -> None:
    verdicts = [" ".join(text.split()) for text in report_of_breaches.splitlines() if text.startswith(contract)]
    assert any(verdict.endswith("BROKEN") for verdict in verdicts), report_of_breaches


def test_a_module_of_the_console_must_have_its_place(report_of_breaches: str) -> None:
    assert "unplaced" in report_of_breaches


def test_there_is_a_breach_for_every_contract() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(contracts) == len(BREACHES)
    for contract in contracts:
        assert any(contract["name"].startswith(begin) for begin, _, _ in BREACHES), contract["name"]


def test_the_console_imports_of_agent_and_trainer_what_is_pure_and_nothing_else() -> None:
    allowed = ("agent", "agent.wire", "agent.parse", "agent.catalogue", "trainer", "trainer.spec")
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    others = {
        (importer, imported)
        for importer in graph.modules if importer.split(".")[0] == "console"
        for imported in graph.find_modules_directly_imported_by(importer)
        if imported.split(".")[0] in ("agent", "trainer")
        and imported not in allowed and not imported.startswith(("agent.parse.", "agent.catalogue.", "trainer.spec."))
    }
    assert others == set()


def test_every_module_of_the_agents_own_is_protected() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (listed,) = [contract["protected_modules"] for contract in contracts if contract["name"].startswith("agent internals")]
    own = {f"agent.{path.stem}" for path in (ROOT / "agent").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert own - set(listed) == {"agent.__init__", "agent.__main__", "agent.wire", "agent.parse", "agent.catalogue"}


def test_the_agent_imports_nothing_that_is_not_its_own_or_pythons() -> None:
    graph = grimp.build_graph("agent", "trainer", include_external_packages=True, cache_dir=None)
    known = {*sys.stdlib_module_names, "agent", "trainer", "__future__"}
    strangers = {
        (importer, imported)
        for importer in graph.modules if importer.split(".")[0] == "agent"
        for imported in graph.find_modules_directly_imported_by(importer) if imported.split(".")[0] not in known
    }
    assert strangers == set()

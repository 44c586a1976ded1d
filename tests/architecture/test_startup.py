"""What starting up loads. Each case is a fresh interpreter that prints what it had imported by the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.first_paint import FLEET, seconds_until

ROOT = Path(__file__).resolve().parents[2]
# What the first picture of the default layout has no use for. It is loaded after that picture, or when it is asked for:
# each of these cost its share of the time to it (``python -m bench first_paint``).
LATER = (
    "console.cli.herald", "console.core.fleet.alarms", "console.core.fleet.changes", "console.core.fleet.company", "console.core.fleet.drill",
    "console.core.intents", "console.core.launch.compose", "console.core.launch.plan", "console.core.preflight", "console.core.triage", "console.errands",
    "console.herald", "console.remote", "console.tui.doings", "console.tui.errand_doings", "console.tui.line_editor", "console.tui.outside",
    "console.tui.plain", "console.tui.sheets", "console.tui.widgets.detail", "console.tui.widgets.incident", "console.tui.widgets.plan_pane",
    "console.tui.widgets.verdict", "console.tui.words_zh", "agent", "trainer", "statistics", "shlex", "concurrent.futures.thread")
HEAVY = ("torch", "megatron", "transformers", "paramiko", "numpy", "asyncssh", "cryptography", "omegaconf")


def loaded_after(program: str, *arguments: str) -> set[str]:
    """Names of all modules in a fresh interpreter after ``program``, which may end in SystemExit."""
    wrapped = "\n".join((
        "import json, sys", "sys.argv[1:1] = []", "try:",
        *(f"    {line}" for line in program.splitlines()),
        "except SystemExit as end:", "    assert not end.code, end.code",
        "sys.stderr.write('\\nMODULES ' + json.dumps(sorted(sys.modules)))"))
    done = subprocess.run([sys.executable, "-c", wrapped, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.rpartition("MODULES ")[2]))


def heavy(modules: set[str]) -> list[str]:
    """Those of them that starting must not load."""
    return [name for name in HEAVY if name in modules]


def test_help_loads_nothing_heavy_and_no_screen() -> None:
    modules = loaded_after("import console.__main__\nsys.argv[0] = 'rankdeck'\nsys.exit(console.__main__.main())", "--help")
    assert "console.cli" in modules
    assert heavy(modules) == []
    assert "textual" not in modules


def test_the_screen_loads_nothing_heavy() -> None:
    modules = loaded_after("import console.tui.app, console.store, console.files")
    assert "textual.app" in modules
    assert heavy(modules) == []


AT_FIRST_PAINT = """
import json, os, sys
from pathlib import Path
from textual.drivers.linux_driver import LinuxDriver
write = LinuxDriver.write
def watched(driver, data):
    told = Path(os.environ["MODULES_FILE"])
    if "paintednode" in data and not told.exists():
        told.write_text(json.dumps(sorted(sys.modules)))
    write(driver, data)
LinuxDriver.write = watched
from console.__main__ import main
sys.exit(main())
"""


def test_the_first_paint_has_loaded_nothing_heavy(tmp_path: Path) -> None:
    fleet, told = tmp_path / "fleet.yaml", tmp_path / "modules.json"
    fleet.write_text(FLEET)
    environ = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(tmp_path / "state"), "MODULES_FILE": str(told), "PYTHONPATH": str(ROOT)}
    seconds_until("paintednode", [sys.executable, "-c", AT_FIRST_PAINT, "open", "-i", str(fleet)], environ)
    modules = set(json.loads(told.read_text()))
    assert "console.tui.app" in modules
    assert heavy(modules) == []
    assert [name for name in LATER if name in modules] == []


@pytest.mark.parametrize("module", ["console.core.fleet.state", "console.core.launch.plan", "console.core.layout", "console.store", "console.remote.transport"])
def test_what_is_below_the_screen_does_not_load_it(module: str) -> None:
    modules = loaded_after(f"import {module}")
    assert "textual" not in modules
    assert heavy(modules) == []


def test_the_jobs_meaning_loads_nothing_but_the_standard_library() -> None:
    modules = loaded_after("import trainer.spec.job, trainer.spec.manifest, trainer.spec.rules")
    roots = {name.split(".")[0] for name in modules if not name.startswith("_")}
    # What site-packages' own start-up hooks (.pth files) bring is not ours.
    before = {name.split(".")[0] for name in loaded_after("pass")}
    assert roots - before - {"trainer"} <= set(sys.stdlib_module_names)

"""Runs the agent's tests under the oldest and the newest Python it is meant for. Usage: agent_pythons.py [--prepare | PYTEST-ARG...]

The agent runs with whatever Python a node has. Each interpreter found gets a small virtual environment in
``.venv-agent/`` with pytest and nothing of the console's. One that is not found is named and passed over:
there is no way to install Python 3.7 that works everywhere. ``--prepare`` makes the environments and runs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ((3, 7), (3, 13))
# pytest 8 wants Python 3.8.
PACKAGES = {(3, 7): ["pytest<8", "pytest-timeout<2.4"]}
NEWEST_PACKAGES = ["pytest>=8", "pytest-timeout"]
AGENT = ROOT / "tests" / "agent"


def find_python(version: tuple[int, int]) -> str | None:
    """Path of an interpreter that says it is this version, from pyenv or PATH, or None."""
    name = ".".join(map(str, version))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [str(path) for path in sorted(pyenv.glob(f"versions/{name}.*/bin/python{name}"), reverse=True)]
    candidates += [found for found in [shutil.which(f"python{name}")] if found]
    for candidate in candidates:
        asked = subprocess.run([candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                               capture_output=True, text=True, check=False)
        if asked.stdout.strip() == name:
            return candidate
    return None


def environment(version: tuple[int, int], python: str) -> Path:
    """The interpreter of a virtual environment with pytest in it; made when it is not there."""
    home = ROOT / ".venv-agent" / ".".join(map(str, version))
    inside = home / "bin" / "python"
    wanted = PACKAGES.get(version, NEWEST_PACKAGES)
    if subprocess.run([str(inside), "-c", "import pytest, pytest_timeout"], capture_output=True, check=False).returncode if inside.exists() else True:
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(home)], check=True)
        subprocess.run([str(inside), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted], check=True)
    return inside


def parts() -> list[list[str]]:
    """The agent's tests in two parts of about the same length: what runs a resident, which mostly waits, and the folders."""
    entries = sorted(AGENT.iterdir())
    files, folders = ([str(path.relative_to(ROOT)) for path in entries if which(path)] for which in (
        lambda path: path.match("test_*.py"), lambda path: path.is_dir() and any(path.rglob("test_*.py"))))
    return [files, folders]


def main(arguments: list[str]) -> int:
    """0 when the tests pass under every interpreter found. All run side by side: most of the time they wait."""
    failed = []
    with ExitStack() as stack:
        running = []
        for version in VERSIONS:
            name = ".".join(map(str, version))
            python = find_python(version)
            if python is None:
                print(f"SKIPPED: no Python {name} on this machine; the agent was not tried under it", flush=True)
                continue
            inside = environment(version, python)
            if arguments == ["--prepare"]:
                continue
            for part in [arguments] if arguments else parts():
                # Not pyproject.toml: its options belong to plugins that are not installed here.
                command = [str(inside), "-m", "pytest", "-c", "tests/agent/floor.ini", "--rootdir", ".", "--confcutdir", ".", *part]
                said = stack.enter_context(tempfile.TemporaryFile())
                process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
                                           stdout=said, stderr=subprocess.STDOUT)
                stack.callback(process.terminate)
                running.append((f"{name} ({python})", said, process))
        for name, said, process in running:
            print(f"agent tests under Python {name}", flush=True)
            process.wait()
            said.seek(0)
            print(said.read().decode("utf-8", "replace"), end="", flush=True)
            if process.returncode:
                failed.append(name)
    if failed:
        print(f"agent tests FAILED under Python {', '.join(dict.fromkeys(failed))}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

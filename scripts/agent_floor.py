"""Checks that the agent's files are Python 3.7. Usage: agent_floor.py FILE...

Three witnesses: vermin, which knows which version brought which syntax and which module member; a look at
the syntax tree for what vermin lets pass; and a real Python 3.7 where there is one (``~/.pyenv/versions`` or
on PATH), which imports the files. The first two are on every machine, so they decide everywhere; that the
third was not there is said.

Annotations do not count: ``from __future__ import annotations`` keeps them from ever being evaluated, and
every file must have it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from agent_pythons import find_python

FLOOR = (3, 7)
GENERIC_BUILTINS = frozenset({"dict", "frozenset", "list", "set", "tuple", "type"})

_IMPORT = """
import importlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, ".")
for path in sys.argv[1:]:
    name = path[:-3].replace("/", ".")
    importlib.import_module(name[:-9] if name.endswith(".__init__") else name)
"""


def unfit(path: Path) -> Iterator[str]:
    """What the file does that Python 3.7 does not and vermin does not see, as ``file:line: text``."""
    tree = ast.parse(path.read_text("utf-8"), str(path))
    annotations: set[int] = set()
    deferred = False
    for node in ast.walk(tree):
        deferred |= isinstance(node, ast.ImportFrom) and node.module == "__future__" and any(n.name == "annotations" for n in node.names)
        for name in ("annotation", "returns"):
            annotation = getattr(node, name, None)
            if isinstance(annotation, ast.AST):
                annotations.update(id(inner) for inner in ast.walk(annotation))
    if annotations and not deferred:
        yield f"{path}:1: lacks 'from __future__ import annotations', so Python 3.7 would evaluate its annotations"
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and id(node) not in annotations and isinstance(node.value, ast.Name) and node.value.id in GENERIC_BUILTINS:
            yield f"{path}:{node.lineno}: {ast.unparse(node)} is evaluated, and needs Python 3.9"


def main(paths: list[str]) -> int:
    """0 when every file keeps the floor."""
    if not paths:
        print("agent_floor: no files given", file=sys.stderr)
        return 2
    problems = [problem for path in paths for problem in unfit(Path(path))]
    print("\n".join(problems), end="\n" if problems else "")
    # backport typing: the names it has since gained are used in annotations only.
    floor = ".".join(map(str, FLOOR))
    vermin = subprocess.run([str(Path(sys.executable).with_name("vermin")), f"-t={floor}-", "--violations", "--no-tips",
                             "--backport", "typing", "--no-parse-comments", *paths], check=False)
    failed = bool(problems) or bool(vermin.returncode)
    python = find_python(FLOOR)
    if python is None:
        print(f"agent_floor: no Python {floor} on this machine; the files were looked at, not run")
    else:
        failed |= bool(subprocess.run([python, "-I", "-c", _IMPORT, *paths], check=False).returncode)
        print(f"agent_floor: {len(paths)} files {'NOT ' if failed else ''}imported by {python}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

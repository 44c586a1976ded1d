"""The operator's files: jobs, fleets and layouts read into core types.

Reads, and writes what an import made, never over anything. Everything wrong with a file is a FileError with
file, line and column (``problems.ProblemsError`` when there is more than one finding). Names in findings
are shown as they were given on the command line.

- fleet and job files: wherever the operator has them;
- hardware profiles: ``profiles/hardware/NAME.yaml``, recipes: ``recipes/NAME.yaml`` beside this file;
- the operator's own defaults: ``$XDG_CONFIG_HOME/rankdeck/config.yaml``;
- layouts: ``layouts/`` beside the package, then ``$XDG_CONFIG_HOME/rankdeck/layouts`` (the user's own win).

Where the history lies is the store's business.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core import layout
from console.core.errors import FileError
from console.core.launch import inventory
from console.core.launch.document import Value, parse
from console.core.launch.inventory import Inventory
from console.core.launch.problems import ProblemsError
from console.core.layout import LayoutSpec

if TYPE_CHECKING:
    from console.core.launch.compose import ComposedJob, Part
    from console.core.launch.difference import Attempt
    from console.core.launch.importers import Source

SHIPPED = {"hardware": Path(__file__).parent / "profiles" / "hardware", "recipe": Path(__file__).parent / "recipes"}
SCHEMAS = Path(__file__).parent / "schema"
LAYOUTS = Path(__file__).parent.parent / "layouts"
MAX_FILE_BYTES = 8 * 1024 * 1024
"""A file larger than this was named by mistake (a log, a checkpoint)."""


def read_job(path: str) -> ComposedJob:
    """The job in the file at ``path``, with everything it includes. Raises FileError, ProblemsError."""
    # The screen reads fleets and layouts only, and must not wait for what a job is.
    from console.core.launch.compose import compose_job

    return compose_job(_part(path), JobLibrary())


def read_text(path: str) -> str:
    """A file's text, as it is read for everything here. Raises FileError."""
    return _text(path)


def read_fleet(path: str) -> Inventory:
    """The fleet in the file at ``path``; its name is the file's stem unless it gives one.

    A relative ``known_hosts`` or ``key`` is meant from the file's directory, and is made absolute; ``~/`` is
    the home of who runs this. Raises FileError, ProblemsError.
    """
    value = _sound(path)
    fleet = inventory.from_mapping(value.plain(), name=Path(path).stem, where=path, locate=value.locate)
    base = Path(path).absolute().parent

    def local(text: str) -> str:
        return str(base / os.path.expanduser(text)) if text else ""

    return replace(fleet, known_hosts=local(fleet.known_hosts), nodes=tuple(replace(node, key=local(node.key)) for node in fleet.nodes))


def fleet_path_of(job: ComposedJob) -> str:
    """The fleet file that the job names, from the job file's directory; else the operator's own; empty without either.
    Raises FileError, ProblemsError for the operator's settings."""
    named = job.spec.fleet.inventory
    return str(Path(job.identities[0]).parent / os.path.expanduser(named)) if named else fleet_path_set()


def fleet_path_set() -> str:
    """The fleet file that the operator's settings name, from their directory; empty when they name none."""
    named = read_settings().get("inventory", "")
    return str(settings_path().parent / os.path.expanduser(named)) if named else ""


def settings_path() -> Path:
    """Where the operator's own defaults are (``console.core.settings``)."""
    return config_dir() / "config.yaml"


def read_settings() -> dict[str, Any]:
    """Setting key -> value of those that are set; empty without a file. Raises FileError, ProblemsError."""
    path = settings_path()
    if not path.exists():
        return {}
    from console.core import settings

    return settings.read(_text(str(path)), str(path))


def write_setting(key: str, value: Any) -> None:
    """Set one of the operator's defaults, or take it out (None). Raises FileError."""
    from console.core import settings

    path = settings_path()
    try:
        # Through a new name: a full disk must not leave half a file. A link (dotfiles kept elsewhere) stays one.
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        changed = settings.with_setting(_text(str(path)) if path.exists() else "", str(path), key, value)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(changed, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise FileError("cannot write the settings", where=str(path), got=error.strerror or str(error), fix="Check the path")


def read_sources(paths: list[str]) -> list[Source]:
    """The files to import; ``-`` is standard input. A HyperPod config brings the recipe it names along, when it
    lies where HyperPod looks for it. Raises FileError."""
    from console.core.launch.importers import Source
    from console.core.launch.importers.hyperpod import recipe_name

    found = [Source(name="<stdin>", text=sys.stdin.read(MAX_FILE_BYTES)) if path == "-" else Source(name=path, text=_text(path)) for path in paths]
    if len(found) == 1 and "defaults:" in found[0].text and (name := _recipe_name(found[0].text, recipe_name)):
        for folder in ("recipes", "recipes_collection/recipes"):
            beside = Path(paths[0]).parent / folder / f"{name}.yaml"
            if ".." not in name.split("/") and beside.is_file():
                found.append(Source(name=str(beside), text=_text(str(beside))))
                break
    return found


def read_attempt(name: str, work: str, job: str) -> Attempt:
    """What an attempt left behind, as far as it can be read from here: ``name`` is a directory (of the attempt, or
    of one of its nodes), a plan printed as JSON, or an id under ``work``. Raises FileError."""
    from console.core.launch.difference import Attempt, attempt_of_plan

    path = Path(os.path.expanduser(name))
    if not path.exists() and "/" not in name:
        path = Path(os.path.expanduser(work)) / ".rankdeck" / job / name
    if path.is_file():
        try:
            return attempt_of_plan(json.loads(_text(str(path))))
        except (ValueError, KeyError, TypeError):
            raise FileError("this is no plan", where=str(path), expected="what rankdeck plan --json printed")
    found = {}
    for file in sorted({*path.glob("job.json"), *path.glob("*/job.json")}):
        found[file.parent.name] = {one.name: _text(str(one)) for one in sorted((file, *file.parent.glob("*.sh"), *file.parent.glob("*.yaml")))}
    if not found:
        raise FileError("no such attempt can be read from here", where="--diff", got=name, expected="an id under paths.work, its directory, or a plan printed as JSON",
                        fix="Copy the attempt's directory from a node, or keep plans with rankdeck plan --json")
    return Attempt(name=path.name if not (path / "job.json").exists() else path.parent.name, nodes=found)


def read_schema(name: str) -> dict[str, Any]:
    """The JSON schema of what the command ``name`` prints. Raises FileError when there is none."""
    known = {path.name.removesuffix(".schema.json"): path for path in SCHEMAS.glob("*.schema.json")}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise FileError("there is no such schema", where="schema", got=repr(name), expected=", ".join(sorted(known)), fix=f"Did you mean {near[0]!r}?" if near else "")
    found: dict[str, Any] = json.loads(_text(str(known[name])))
    return found


def write_new(path: str, text: str) -> None:
    """Write a file that is not there yet. Raises FileError."""
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise FileError("there is a file already", where=path, expected="a new name", fix="Move it away, or choose another with -o")
    except OSError as error:
        raise FileError("cannot write the file", where=path, got=error.strerror or str(error), fix="Check the path")


def _recipe_name(text: str, of: Callable[[Value], str]) -> str:
    try:
        return of(parse(text, "")[0])
    except FileError:
        return ""


def layouts() -> dict[str, Path]:
    """All layouts by name (the file's stem), the user's own in place of shipped ones of the same name."""
    found: dict[str, Path] = {}
    for directory in (LAYOUTS, config_dir() / "layouts"):
        if directory.is_dir():
            found.update({path.stem: path for path in sorted(directory.glob("*.yaml"))})
    return found


def read_layout(name: str) -> tuple[LayoutSpec, str]:
    """The layout of that name and the text of its style sheet (same stem, ``.tcss``; empty without one).

    Raises FileError when there is no such layout or it is wrong.
    """
    known = layouts()
    path = known.get(name)
    if path is None:
        near = get_close_matches(name, known, n=1)
        raise FileError("there is no such layout", where="--layout", got=repr(name), expected=", ".join(sorted(known)) or "a file in layouts/",
                        fix=f"Did you mean {near[0]!r}?" if near else "List them with `rankdeck layouts`")
    value = _sound(str(path))
    spec = layout.from_mapping(value.plain(), where=str(path), locate=value.locate)
    style = path.with_suffix(".tcss")
    return spec, _text(str(style)) if style.is_file() else ""


class JobLibrary:
    """``compose.Library`` on the disk."""

    def file(self, name: str, beside: str) -> Part:
        """A file beside another one; ``.yaml`` may be left out."""
        path = Path(beside).parent / os.path.expanduser(name)
        if not path.exists() and not path.suffix:
            path = path.with_suffix(".yaml")
        return _part(str(path))

    def shipped(self, group: str, name: str) -> Part:
        """A profile that comes with Rankdeck."""
        known = {path.stem: path for path in SHIPPED[group].glob("*.yaml")}
        if name in known:
            return _part(str(known[name]))
        near = get_close_matches(name, known, n=1)
        raise FileError(f"there is no {group} {name!r}", got=repr(name), expected=", ".join(sorted(known)) or "none comes with this version",
                        fix=f"Did you mean {near[0]!r}?" if near else "A file of your own is named by its path: - other.yaml")


def config_dir() -> Path:
    """``$XDG_CONFIG_HOME/rankdeck``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "rankdeck"


def _part(path: str) -> Part:
    from console.core.launch.compose import Part

    value, problems = parse(_text(path), path)
    return Part(identity=str(Path(path).resolve()), value=value, problems=tuple(problems))


def _sound(path: str) -> Value:
    value, problems = parse(_text(path), path, quick=True)
    if problems:
        raise ProblemsError(problems)
    return value


def _text(path: str) -> str:
    """The file's text. Raises FileError with what the system said."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileError("cannot read the file", where=path, got=error.strerror or str(error), expected="a file that can be read", fix="Check the path")
    if len(raw) > MAX_FILE_BYTES:
        raise FileError("the file is too large to be meant", where=path, got=f"more than {MAX_FILE_BYTES} bytes", expected="a YAML file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FileError("not a text in UTF-8", where=f"{path}:{line}", got=f"the byte 0x{raw[error.start]:02x}", expected="UTF-8",
                        fix="Save the file as UTF-8")

"""A job file put together from its parts and read as a ``JobSpec``. Pure but for the ``Library`` it is given.

A job file may begin with a ``defaults`` list, as in Hydra and HyperPod recipes::

    defaults:
      - base.yaml              # another file, beside this one
      - hardware: ascend-a2-8  # data that comes with Rankdeck
      - _self_                 # this file's own values

Later entries win. Without ``_self_`` the file's own values come last, so that what stands in the file one
opened is what holds. Blocks are merged key by key; lists and scalars replace. Included files may have
``defaults`` of their own. Then OmegaConf resolves ``${paths.work}``, ``${.sibling}`` and ``${oc.env:NAME}``;
``\\${`` is a literal ``${``. A value ``???`` is one that an including file has to fill in.

Every finding names file, line and column of the value that is wrong, wherever it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from console.core.errors import FileError
from console.core.launch.document import Locate, Path, Value, merge
from console.core.launch.problems import Problem, ProblemsError, from_spec_text
from trainer.spec.job import JobSpec, SpecError, from_mapping

GROUPS = ("hardware", "recipe")
MAX_PARTS = 100
"""Files one job may be made of, counted as often as they are included; two that double each other 30 times
would be a billion."""
SELF = "_self_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a job."""

    identity: str
    """Tells files apart whatever way they are written: the absolute path."""
    value: Value
    problems: tuple[Problem, ...] = ()


class Library(Protocol):
    """Where parts come from; ``files.JobLibrary`` reads them from the disk."""

    def file(self, name: str, beside: str) -> Part:
        """The file ``name``, relative to the one with identity ``beside``. Raises FileError."""

    def shipped(self, group: str, name: str) -> Part:
        """The data of that name in one of GROUPS. Raises FileError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedJob:
    """A job and the way back into its files."""

    spec: JobSpec
    locate: Locate
    identities: tuple[str, ...]
    """All files it was made from, the job file first."""


def compose_job(top: Part, library: Library) -> ComposedJob:
    """The job in ``top``. Raises ProblemsError with everything that is wrong with it and its parts."""
    composer = _Composer(library)
    whole = composer.compose(top, ())
    problems = list(composer.problems)
    resolved, unresolved = resolve(whole)
    problems += unresolved
    spec: JobSpec | None = None
    try:
        spec = from_mapping(resolved)
    except SpecError as error:
        known = {problem.where for problem in problems}
        for path, text in error.problems:
            where = whole.locate(path, key=text.startswith("unknown key"))
            # A value that could not be resolved is reported once, not again for its type; and what a file that
            # could not be read would have given is not reported as missing.
            if where not in known and not (composer.problems and text.endswith("is missing")):
                problems.append(from_spec_text(path, text, where))
    if problems or spec is None:
        raise ProblemsError(problems)
    return ComposedJob(spec=spec, locate=whole.locate, identities=tuple(composer.identities))


class _Composer:
    """Follows ``defaults`` lists, depth first."""

    def __init__(self, library: Library) -> None:
        self.problems: list[Problem] = []
        self.identities: list[str] = []
        self._library = library
        self._parts = 0

    def compose(self, part: Part, above: tuple[str, ...]) -> Value:
        """``part`` with all it includes; ``above`` are the files that led here."""
        self._parts += 1
        self.problems += [problem for problem in part.problems if problem not in self.problems]
        if part.identity not in self.identities:
            self.identities.append(part.identity)
        if not isinstance(part.value.data, dict):
            self._report(part.value.where, "a job file is a block of keys", expected="run: ..., paths: ..., fleet: ...")
            return replace(part.value, data={})
        own = replace(part.value, data={key: value for key, value in part.value.data.items() if key != "defaults"})
        entries = self._entries(part.value.data.get("defaults"))
        if not any(entry.data == SELF for entry in entries):
            entries = [*entries, replace(own, data=SELF)]
        whole = replace(own, data={})
        for entry in entries:
            if entry.data == SELF:
                whole = merge(whole, own)
            elif (included := self._find(entry, part, (*above, part.identity))) is not None:
                whole = merge(whole, included)
        # The top's own place stays that of the file one opened.
        return replace(whole, where=own.where)

    def _entries(self, defaults: Value | None) -> list[Value]:
        if defaults is None or defaults.data is None:
            return []
        if not isinstance(defaults.data, list):
            self._report(defaults.where, "defaults is a list", expected="- other.yaml, - hardware: NAME, - _self_")
            return []
        seen = [entry for entry in defaults.data if entry.data == SELF]
        for again in seen[1:]:
            self._report(again.where, "_self_ stands twice in defaults", fix="Keep one of them")
        return [entry for entry in defaults.data if entry not in seen[1:]]

    def _find(self, entry: Value, part: Part, above: tuple[str, ...]) -> Value | None:
        if self._parts >= MAX_PARTS:
            if self._parts == MAX_PARTS:
                self._parts += 1
                self._report(entry.where, f"the job is made of more than {MAX_PARTS} files", fix="Include each file once")
            return None
        try:
            if isinstance(entry.data, str) and entry.data:
                found = self._library.file(entry.data, part.identity)
            elif isinstance(entry.data, dict) and len(entry.data) == 1:
                (group, name), = entry.data.items()
                if group not in GROUPS or not isinstance(name.data, str):
                    self._report(entry.where, f"{group!r} is no group of defaults", expected=" or ".join(f"{g}: NAME" for g in GROUPS),
                                 fix="A file of your own is named by its path: - other.yaml")
                    return None
                found = self._library.shipped(group, name.data)
            else:
                self._report(entry.where, "not an entry of defaults", expected="a file, hardware: NAME, recipe: NAME or _self_")
                return None
        except FileError as error:
            # A file that is there and cannot be read has a place of its own; one that is not there has none.
            self._report(error.where or entry.where, error.what, got=error.got, expected=error.expected, fix=error.fix)
            return None
        if found.identity in above:
            chain = " -> ".join((*above[above.index(found.identity):], found.identity))
            self._report(entry.where, f"files include each other in a circle: {chain}", fix="Take one of the entries out")
            return None
        return self.compose(found, above)

    def _report(self, where: str, message: str, **parts: str) -> None:
        self.problems.append(Problem(rule="R2", severity="error", where=where, message=message, **parts))


def resolve(whole: Value) -> tuple[dict[str, Any], list[Problem]]:
    """The plain mapping with every ``${...}`` replaced, and what could not be (left as null)."""
    plain: dict[str, Any] = whole.plain()
    open_paths = [(path, value) for path, value in _leaves(whole, ()) if isinstance(value.data, str) and ("${" in value.data or value.data == "???")]
    if not open_paths:
        return plain, []
    # Slow to import (antlr), and most files have no interpolation.
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    problems: list[Problem] = []

    def report(value: Value, message: str, **parts: str) -> None:
        problems.append(Problem(rule="R2", severity="error", where=value.where, message=message, **parts))

    sound: list[tuple[Path, Value]] = []
    for path, value in open_paths:
        try:
            OmegaConf.create({"text": value.data})
            sound.append((path, value))
        except OmegaConfBaseException:
            report(value, "the ${...} in this text cannot be read", got=repr(value.data),
                   expected="${block.key}", fix="A literal ${ is written \\${")
            _put(plain, path, None)
    config = OmegaConf.create(plain)
    found: list[tuple[Path, Any]] = []
    for path, value in sound:
        if value.data == "???":
            report(value, f"{_dotted(path)} is left to be filled in", got="???", fix="Give it a value in the file that includes this one")
            found.append((path, None))
            continue
        try:
            node: Any = config
            for step in path:
                node = node[step]
            found.append((path, OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node))
        except (OmegaConfBaseException, RecursionError) as error:
            message, parts = _why("Recursive" if isinstance(error, RecursionError) else str(error).splitlines()[0])
            report(value, message, got=repr(value.data), **parts)
            found.append((path, None))
    for path, result in found:
        _put(plain, path, result)
    return plain, problems


def _why(text: str) -> tuple[str, dict[str, str]]:
    """OmegaConf's sentence in ours. Its texts (2.3): "Recursive interpolation detected", "Interpolation key
    'a.b' not found", "Environment variable 'X' not found", "Unsupported interpolation type x"."""
    if "Recursive" in text or "parent node" in text:
        return "this value refers to itself, directly or round a corner", {"fix": "Break the circle with a plain value"}
    if "Interpolation key" in text:
        key = text.split("'")[1]
        return f"{key!r} does not stand in this job", {"expected": "the path of a key from the top, or .key for one beside this",
                                                       "fix": "Mend the reference, or write \\${ for a literal ${"}
    if "Environment variable" in text:
        return f"environment variable {text.split(chr(39))[1]!r} is not set here", {"fix": "Set it, or write ${oc.env:NAME,default}"}
    if "Unsupported interpolation type" in text:
        return f"there is no resolver {text.rpartition(' ')[2]!r}", {"expected": "${block.key} or ${oc.env:NAME}"}
    if "issing mandatory value" in text:
        return "this value refers to one that is left to be filled in", {}
    return text, {}


def _leaves(value: Value, path: Path) -> Iterator[tuple[Path, Value]]:
    if isinstance(value.data, dict):
        for key, inner in value.data.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value.data, list):
        for at, inner in enumerate(value.data):
            yield from _leaves(inner, (*path, at))
    else:
        yield path, value


def _put(plain: Any, path: Path, result: Any) -> None:
    for step in path[:-1]:
        plain = plain[step]
    plain[path[-1]] = result


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))



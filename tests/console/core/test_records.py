"""Records against the standard library's dataclasses: whoever takes those must not see a difference."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any

import pytest

from console.core.records import dataclass as record


def made(decorator: Any) -> Any:
    """The same class made by either."""

    @decorator(frozen=True, slots=True, kw_only=True)
    class Point:
        """A point."""

        x: int
        name: str = "here"
        notes: list[str] = field(default_factory=list)
        seen: int = field(default=0, compare=False)
        hidden: int = field(default=5, repr=False)
        fixed: tuple[int, ...] = field(default_factory=tuple, init=False)

    Point.__qualname__ = "Point"
    return Point


OURS, THEIRS = made(record), made(dataclasses.dataclass)


@record(frozen=True, slots=True, kw_only=True)
class Box:
    """At the top of a module, as pickle wants it."""

    size: int
    inner: tuple[int, ...] = ()


@record(frozen=True, slots=True, kw_only=True)
class Crate(Box):
    """A box with more."""

    label: str = ""


def both(what: Any) -> tuple[Any, Any]:
    """What it comes to with either class: a value, or the kind of error."""
    found = []
    for cls in (OURS, THEIRS):
        try:
            found.append(what(cls))
        except Exception as error:  # which one it is, is what is compared
            found.append(type(error))
    return found[0], found[1]


@pytest.mark.parametrize("what", [
    lambda cls: repr(cls(x=1, notes=["a"])),
    lambda cls: dataclasses.asdict(cls(x=1, notes=["a"], hidden=7)),
    lambda cls: repr(dataclasses.replace(cls(x=1), name="there")),
    lambda cls: [(each.name, each.default, each.init, each.kw_only) for each in dataclasses.fields(cls)],
    lambda cls: (cls(x=1) == cls(x=1), cls(x=1) == cls(x=2), cls(x=1) != cls(x=2), cls(x=1, seen=1) == cls(x=1, seen=2), cls(x=1) == 1),
    lambda cls: hash(cls(x=1, notes=())) == hash(cls(x=1, notes=(), seen=9)),
    lambda cls: hash(cls(x=1)),
    lambda cls: cls(x=1).notes is cls(x=1).notes,
    lambda cls: cls(),
    lambda cls: cls(1),
    lambda cls: cls(x=1, other=2),
    lambda cls: cls(x=1, fixed=()),
    lambda cls: setattr(cls(x=1), "x", 2),
    lambda cls: delattr(cls(x=1), "x"),
    lambda cls: cls(x=1).__dict__,
    lambda cls: repr(copy.copy(cls(x=1, notes=["a"]))),
    lambda cls: copy.deepcopy(cls(x=1, notes=["a"])).notes,
    lambda cls: cls.__slots__,
])
def test_it_is_as_the_standard_one(what: Any) -> None:
    ours, theirs = both(what)
    assert ours == theirs


def test_a_record_is_pickled_and_inherited() -> None:
    crate = Crate(size=3, inner=(1, 2), label="x")
    assert pickle.loads(pickle.dumps(crate)) == crate
    assert (crate.size, Crate(size=1).label, isinstance(crate, Box)) == (3, "", True)
    assert Box(size=3) != Crate(size=3)
    assert hash(Crate(size=3)) == hash(Crate(size=3))

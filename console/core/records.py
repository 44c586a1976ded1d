"""``dataclass`` as the standard library has it, for frozen, slotted, keyword-only classes, made in a third of the time. Pure.

The standard one writes and compiles six methods for each class (before Python 3.13), and the screen's
vocabulary is a hundred classes: that was a seventh of the time to the first picture. Here ``__init__`` is
compiled when the first object is made, and the other methods are the same for all classes. Everything that
takes dataclasses takes these (``fields``, ``replace``, ``asdict``, copy, pickle, ``match``); type checkers see
the standard one. No ``__post_init__``, ``InitVar`` or positional fields: the standard one is there for those.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool) -> Any:
        """A decorator; all three must be true."""
        assert frozen and slots and kw_only

        def made(cls: type) -> type:
            known = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(cls)
            known.__init__ = _first_init
            known.__repr__, known.__eq__, known.__hash__ = _repr, _eq, _hash
            known.__setattr__, known.__delattr__ = _setattr, _delattr
            known.__getstate__, known.__setstate__ = _getstate, _setstate
            return known

        return made


def _first_init(self: Any, **values: Any) -> None:
    cls = type(self)
    cls.__init__ = _init(cls)
    cls.__init__(self, **values)


def _init(cls: type) -> Any:
    known: dict[str, Any] = {"_set": object.__setattr__, "_none": dataclasses.MISSING}
    parameters, body = [], []
    for field in dataclasses.fields(cls):
        value = name = field.name
        if not field.init:
            value = f"_made_{name}()"
        elif field.default_factory is not dataclasses.MISSING:
            parameters.append(f"{name}=_none")
            value = f"_made_{name}() if {name} is _none else {name}"
        elif field.default is not dataclasses.MISSING:
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        known[f"_made_{name}"], known[f"_default_{name}"] = field.default_factory, field.default
        body.append(f"    _set(_self, {name!r}, {value})")
    head = "".join(f", {text}" for text in ("*", *parameters)) if parameters else ""
    exec(f"def __init__(_self{head}):\n" + ("\n".join(body) or "    pass"), known)
    return known["__init__"]


def _values(self: Any, compared: bool = False) -> tuple[Any, ...]:
    return tuple([getattr(self, field.name) for field in dataclasses.fields(self) if field.compare or not compared])


def _repr(self: Any) -> str:
    shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> bool:
    return _values(self, True) == _values(other, True) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self, True))


def _setattr(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return list(_values(self))


def _setstate(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)

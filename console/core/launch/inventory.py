"""The fleet file as typed nodes. Pure: a mapping in, an ``Inventory`` out.

Fleet file (DESIGN section 4): ``name``, ``defaults``, ``bastion``, ``nodes``. ``from_mapping`` expands host
ranges (``node[001-128]``), fills defaults and reports every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any, Literal

from console.core.launch.document import Locate, Path
from console.core.launch.problems import Problem, ProblemsError
from console.core.launch.ranges import expand
from console.core.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine and how to get in. Empty texts and 0 mean: as ``~/.ssh/config`` says, else SSH's default."""

    name: str
    host: str
    port: int = 0
    user: str = ""
    key: str = ""
    """Path of a private key on the bastion."""
    address: str = ""
    """Address under which the other nodes reach it; empty: ``host``."""
    npus: int = 8
    role: Literal["worker", "spare"] = "worker"
    labels: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"
    """The node's own interpreter for the agent, 3.7 or later."""
    agent_dir: str = "~/.rankdeck/agent"
    """Where agent archives are unpacked, by content hash."""
    state_dir: str = ""
    """Node-local directory for spool, socket and locks; empty: the agent's own choice (/var/tmp/rankdeck-<uid>)."""
    jump: str = ""
    """ProxyJump as in OpenSSH: ``[user@]host[:port]``."""
    transport: Literal["paramiko", "openssh"] = "paramiko"
    become: Literal["", "sudo"] = ""
    """sudo: the agent, and with it every job, runs as root, by ``sudo -n`` (no password is asked for)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """How nodes get in to each other, so that what is staged may be passed on from node to node. Empty: as for ourselves."""

    user: str = ""
    key: str = ""
    """Path of a private key on the nodes; empty: what their user has."""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A fleet. Node names are unique; order is the file's."""

    name: str
    """Tells fleets apart in the store; default: the file's stem."""
    nodes: tuple[Node, ...]
    known_hosts: str = ""
    """Extra known_hosts file; empty: only the user's and the system's."""
    relay: Relay | None = None
    """None: everything is sent to each node from here."""

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Node names become directory names and shell words on every node."""

_FLEET_KEYS = ("name", "defaults", "bastion", "nodes", "known_hosts", "relay")
_TEXT_FIELDS = ("name", "host", "user", "key", "address", "python", "agent_dir", "state_dir", "jump")
_CHOICES = {"role": ("worker", "spare"), "transport": ("paramiko", "openssh"), "become": ("sudo",)}
_NODE_KEYS = tuple(f.name for f in fields(Node))
_LATER = {"password": "Use a key or the SSH agent; passwords are not kept in files"}


def from_mapping(mapping: Any, *, name: str, where: str, locate: Locate | None = None) -> Inventory:
    """The fleet in the mapping of a fleet file.

    ``name`` is the fleet's name when the file does not give one; ``where`` names the file in findings, and
    ``locate`` (path of keys -> file:line:column) makes them point into it. Raises ProblemsError with
    everything that is wrong.
    """
    def by_name(path: Sequence[str | int], key: bool = False) -> str:
        return f"{where}: {'.'.join(map(str, path))}" if path else where

    reader = _Reader(locate or by_name)
    found = reader.inventory(mapping, name)
    if reader.problems or found is None:
        raise ProblemsError(reader.problems)
    return found


class _Reader:
    """One fleet file's findings, collected while it is read."""

    def __init__(self, locate: Locate) -> None:
        self.problems: list[Problem] = []
        self._locate = locate

    def inventory(self, mapping: Any, name: str) -> Inventory | None:
        if not isinstance(mapping, Mapping):
            self._report((), "a fleet file is a block of keys", got=_kind(mapping), expected="nodes: [...]")
            return None
        self._known(mapping, _FLEET_KEYS, ())
        bastion = self._bastion(mapping.get("bastion"))
        defaults = self._block(mapping, "defaults")
        self._known(defaults, tuple(k for k in _NODE_KEYS if k not in ("name", "host", "address")), ("defaults",))
        given = mapping.get("nodes")
        nodes: list[Node] = []
        if not isinstance(given, Sequence) or isinstance(given, str) or not given:
            self._report(("nodes",), "a fleet needs nodes", got=_kind(given), expected="a list of nodes",
                         fix="For example: nodes: [{name: n0, host: 10.0.0.1}]")
        else:
            places: dict[str, Path] = {}
            base = self._values(defaults, ("defaults",))
            for at, entry in enumerate(given):
                for node in self._nodes(entry, base, bastion, ("nodes", at)):
                    if node.name in places:
                        self._report(("nodes", at), f"node {node.name!r} stands twice in the fleet",
                                     fix=f"The other is at {self._locate(places[node.name])}")
                        continue
                    places[node.name] = ("nodes", at)
                    nodes.append(node)
        fleet_name = self._text(mapping, "name", (), name)
        return Inventory(name=fleet_name, nodes=tuple(nodes), known_hosts=self._text(mapping, "known_hosts", (), ""),
                         relay=self._relay(mapping.get("relay")))

    def _nodes(self, entry: Any, base: Mapping[str, Any], bastion: str, path: Path) -> list[Node]:
        """The nodes one entry stands for: one, or as many as its range names."""
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping):
            self._report(path, "a node is a name or a block of keys", got=_kind(entry), expected="{name: n0, host: 10.0.0.1}")
            return []
        self._known(entry, _NODE_KEYS, path)
        values: dict[str, Any] = {**base, **self._values(entry, path)}
        labels: Mapping[str, str] = base.get("labels", {})
        own: Mapping[str, str] = values.get("labels", {})
        values["labels"] = {**labels, **own}
        if "name" not in values:
            if "name" not in entry:
                self._report(path, "a node needs a name")
            return []
        values.setdefault("host", values["name"])
        values.setdefault("jump", bastion)
        many = {key: self._expand(values[key], (*path, key)) for key in ("name", "host", "address") if key in values}
        count = len(many["name"])
        for key, texts in many.items():
            if texts and count and len(texts) != count:
                self._report((*path, key), f"{key} does not go with the range of name", got=_count(len(texts), key),
                             expected=_count(count, key), fix="Give it a range of the same length")
                return []
        nodes = []
        for at in range(count):
            one = dict(values)
            one.update({key: texts[at] for key, texts in many.items() if texts})
            if NAME.fullmatch(one["name"]) is None:
                self._report((*path, "name"), "node names become directory names", got=repr(one["name"]),
                             expected="letters, digits, dot, dash and underscore, beginning with a letter or digit")
                continue
            nodes.append(Node(**one))
        return nodes

    def _values(self, block: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """The node fields in a block, those of a wrong type left out and reported."""
        found: dict[str, Any] = {}
        for key, value in block.items():
            at = (*path, key)
            if key in _TEXT_FIELDS:
                if isinstance(value, str) and (value or key not in ("name", "host")) and value.isprintable():
                    found[key] = value
                else:
                    self._report(at, f"{key} is not a text", got=_kind(value), expected="a text, in quotes if it looks like a number")
            elif key in ("port", "npus"):
                low, high = (1, 65535) if key == "port" else (0, 64)
                if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
                    found[key] = value
                else:
                    self._report(at, f"{key} is out of range", got=_kind(value), expected=f"a whole number from {low} to {high}")
            elif key in _CHOICES:
                if value in _CHOICES[key]:
                    found[key] = value
                else:
                    self._report(at, f"{key} is not one we know", got=_kind(value), expected=" or ".join(_CHOICES[key]),
                                 fix=_near(value, _CHOICES[key]))
            elif key == "labels":
                if isinstance(value, Mapping) and all(isinstance(v, (str, int, float)) for v in value.values()):
                    found[key] = {str(k): str(v) for k, v in value.items()}
                else:
                    self._report(at, "labels are a block of texts", got=_kind(value), expected="{rack: r1}")
        return found

    def _bastion(self, value: Any) -> str:
        """The jump host as OpenSSH's ProxyJump text."""
        if value is None:
            return ""
        if isinstance(value, str):
            if re.fullmatch(r"\S+", value):
                return value
        elif isinstance(value, Mapping):
            self._known(value, ("host", "user", "port"), ("bastion",))
            checked = self._values(value, ("bastion",))
            if "host" in checked:
                user, port = checked.get("user"), checked.get("port")
                return (f"{user}@" if user else "") + str(checked["host"]) + (f":{port}" if port else "")
            if "host" in value:
                return ""
        self._report(("bastion",), "not a jump host", got=_kind(value), expected="user@host:port, or a block with host, user, port")
        return ""

    def _relay(self, value: Any) -> Relay | None:
        """``relay: true``, or a block of what differs from how we get in ourselves."""
        if value is None or isinstance(value, bool):
            return Relay() if value else None
        if not isinstance(value, Mapping):
            self._report(("relay",), "not a way from node to node", got=_kind(value), expected="true, or a block with user, key, port")
            return None
        self._known(value, ("user", "key", "port"), ("relay",))
        checked = self._values(value, ("relay",))
        return Relay(user=str(checked.get("user", "")), key=str(checked.get("key", "")), port=int(checked.get("port", 0)))

    def _block(self, mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = mapping.get(key)
        if value is None or isinstance(value, Mapping):
            return value or {}
        self._report((key,), f"{key} is a block of keys", got=_kind(value))
        return {}

    def _text(self, mapping: Mapping[str, Any], key: str, path: Path, default: str) -> str:
        value = mapping.get(key, default)
        if isinstance(value, str) and value.isprintable():
            return value
        self._report((*path, key), f"{key} is not a text", got=_kind(value), expected="a text")
        return default

    def _expand(self, text: str, path: Path) -> list[str]:
        try:
            # An IPv6 address in brackets is no range.
            return [text] if re.fullmatch(r"\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?", text) else expand(text)
        except ValueError as error:
            self._report(path, f"not a host range: {error}", got=repr(text))
            return []

    def _known(self, block: Mapping[str, Any], known: tuple[str, ...], path: Path) -> None:
        for key in block:
            if key in known:
                continue
            fix = _LATER.get(str(key), "") or _near(key, known)
            what = f"{key!r} is not supported" if key in _LATER else f"unknown key {key!r}"
            where = self._locate((*path, str(key)), key=True)
            self._add(where, what + (f" in {'.'.join(map(str, path))}" if path else ""), fix=fix)

    def _report(self, path: Path, message: str, **parts: str) -> None:
        self._add(self._locate(path), message, **parts)

    def _add(self, where: str, message: str, **parts: str) -> None:
        self.problems.append(Problem(rule="J1", severity="error", where=where, message=message, **parts))


def _near(value: Any, known: Sequence[str]) -> str:
    near = get_close_matches(str(value), known, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}s" if count != 1 else f"1 {noun}"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return repr(value) if isinstance(value, (str, int, float, bool)) else f"a {'block' if isinstance(value, Mapping) else 'list'}"

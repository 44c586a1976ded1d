"""Shell words: how a text of the job file becomes exactly one word of bash. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from console.core.launch.inventory import Node

DIR = '"$RANKDECK_DIR"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a script will run: the node, its place in the job, and who leads."""

    node: Node
    node_index: int
    master: Node
    attempt: str
    dir: str


def quote(text: str) -> str:
    """One shell word that is exactly ``text``."""
    return shlex.quote(text)


def path_word(path: str) -> str:
    """One shell word that is ``path``, a leading ``~/`` (or ``~`` alone) being the node's home."""
    if path == "~":
        return '"$HOME"'
    return f'"$HOME"/{quote(path[2:])}' if path.startswith("~/") else quote(path)


def assignment(name: str, value: str) -> str:
    """``NAME=value`` as one word of a command line; the name must be one of a variable."""
    return f"{name}={quote(value)}"


def words(items: Iterable[str]) -> str:
    """A command line of exactly these words."""
    return " ".join(map(quote, items))


def endpoint(node: Node, port: int) -> str:
    """``address:port`` as torchrun reads it, an IPv6 address in brackets."""
    host = address(node)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(node: Node) -> str:
    """The address under which the other nodes reach this one, without brackets."""
    return (node.address or node.host).strip("[]")

"""The fleet file as typed nodes. Pure: a mapping in, an ``Inventory`` out.

Fleet file (DESIGN section 4): ``name``, ``defaults``, ``bastion``, ``nodes``. ``from_mapping`` expands host
ranges (``node[001-128]``), fills defaults and reports every problem at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A fleet. Node names are unique; order is the file's."""

    name: str
    """Tells fleets apart in the store; default: the file's stem."""
    nodes: tuple[Node, ...]
    known_hosts: str = ""
    """Extra known_hosts file; empty: only the user's and the system's."""

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

"""From node to node: a staged file is sent from the bastion once, and those that have it pass it on.

Only bytes travel so. What is there, whether it is whole, and its name are settled over the bastion's own connection
to each node (``stage``), so a node that passes on rubbish, or nothing, costs time and no more: the file is then sent
directly, with the reason. Nodes log in to each other with what the fleet file's ``relay`` says is there, a key on
the node itself or its user's own; no agent is forwarded and nobody is asked. Their host keys are those that the
bastion has verified, and those that it reads on the nodes over the verified connections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from console.core.errors import ConnectError
from console.core.launch.commands import path_word, quote
from console.core.launch.inventory import Node, Relay
from console.remote.deploy import as_agent, sh_command
from console.remote.parcels import Parcel
from console.remote.transport import Connection

FOLDER = ".rankdeck-staged"
CONNECT_S = 10
"""For one node to get in to another."""
FAILURES = 3
"""Without a single success among them: the nodes cannot reach each other, and it is not tried on."""
LEAST_S, BYTES_S = 600.0, 2e6
"""Time limit of one passing on: so long, and longer for what is large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What came of asking for a file from a fellow node."""

    via: str = ""
    """Who passed it on; empty: nobody."""
    why: str = ""
    """Why it was tried and did not work."""


@dataclass(slots=True)
class _Round:
    """One parcel: who has it and is free to pass it on, and whether somebody gets it directly just now."""

    free: list[Node] = field(default_factory=list)
    busy: int = 0
    getting: set[str] = field(default_factory=set)
    """Names of nodes that will have it soon."""


class Passing:
    """Who gets what from whom, for all threads of one staging."""

    def __init__(self, nodes: Iterable[Node], to: str, connect: Callable[[str], Connection], relay: Relay) -> None:
        self._to, self._connect, self._relay = to, connect, relay
        self._guard = threading.Condition()
        self._rounds: dict[str, _Round] = {}
        self._failed, self._worked = 0, False
        self._why = ""
        self._keys: dict[str, str] = {}

    def ask(self, node: Node, parcel: Parcel, part: str) -> Passed:
        """Have ``part`` of a parcel made on a node by one that has it; with nothing in ``via`` it is to be sent directly.

        Waits for as long as somebody may have it soon. Whoever is told to send directly says ``has`` or ``lost`` then.
        """
        with self._guard:
            state = self._rounds.setdefault(parcel.digest, _Round())
            while not state.free and (state.busy or state.getting) and not self._given_up:
                self._guard.wait(1.0)
            if not state.free or self._given_up:
                state.getting.add(node.name)
                return Passed(why=self._why if self._given_up else "")
            giver = state.free.pop(0)
            state.busy += 1
        why = self._pass_on(giver, node, parcel, part)
        with self._guard:
            state.busy -= 1
            state.free.append(giver)
            state.getting.add(node.name)
            self._worked = self._worked or not why
            if why:
                self._failed += 1
                self._why = f"from {giver.name}: {why}"
            self._guard.notify_all()
        return Passed(via="" if why else giver.name, why=self._why if why else "")

    def has(self, node: Node, parcel: Parcel) -> None:
        """A node has a parcel, verified."""
        with self._guard:
            state = self._rounds.setdefault(parcel.digest, _Round())
            state.getting.discard(node.name)
            if node not in state.free:
                state.free.append(node)
            self._guard.notify_all()

    def lost(self, node: Node, parcel: Parcel) -> None:
        """A node did not get it; whoever waits may be next to get it directly."""
        with self._guard:
            state = self._rounds.setdefault(parcel.digest, _Round())
            state.getting.discard(node.name)
            self._guard.notify_all()

    @property
    def _given_up(self) -> bool:
        return self._failed >= FAILURES and not self._worked

    def _pass_on(self, giver: Node, taker: Node, parcel: Parcel, part: str) -> str:
        """Why it did not work; "" when it did."""
        script = pass_on_script(self._relay, taker, parcel, part, self._to, self._host_keys(taker))
        try:
            status, _, err = self._connect(giver.name).run(sh_command(script, as_agent(giver)), timeout_s=LEAST_S + parcel.size_bytes / BYTES_S)
        except ConnectError as error:
            return str(error)
        if status == 0:
            return ""
        said = err.decode("utf-8", "replace").strip().splitlines()
        return said[-1][:300] if said else f"exit status {status}"

    def _host_keys(self, node: Node) -> str:
        """The public halves of a node's host keys: the one that we have verified, and those that it says itself over that connection."""
        if node.name not in self._keys:
            try:
                connection = self._connect(node.name)
                lines = [str(getattr(connection, "host_key", ""))]
                status, out, _ = connection.run(sh_command("cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null"))
            except ConnectError:
                return ""
            lines += out.decode("ascii", "replace").splitlines() if status == 0 else []
            # Key type and key; the comment is anybody's text.
            self._keys[node.name] = "".join(f"{alias(node)} {' '.join(line.split()[:2])}\n" for line in lines if len(line.split()) >= 2)
        return self._keys[node.name]


def alias(node: Node) -> str:
    """The name under which a node's host keys are looked up."""
    return f"rankdeck-{node.name}"


def pass_on_script(relay: Relay, taker: Node, parcel: Parcel, part: str, to: str, host_keys: str) -> str:
    """What sh runs on the node that has the file: the rest of it, as ``part``, to ``taker``. Goes on where an earlier one broke off."""
    inside = f"set -eu; t={path_word(to)}; d=$t/{FOLDER}; p=$d/{quote(part + '.relay')}\n"
    look = f'{inside}umask 022; mkdir -p "$d"; [ -e "$p" ] || : > "$p"; wc -c < "$p"'
    take = (f'{inside}cat >> "$p"\nn=$(wc -c < "$p"); [ "$n" -eq {parcel.size_bytes} ] || {{ echo "$n of {parcel.size_bytes} bytes arrived" >&2; '
            f'[ "$n" -lt {parcel.size_bytes} ] || rm -f "$p"; exit 1; }}\nmv -f "$p" "$d/"{quote(part)}')
    user, port = relay.user or taker.user, relay.port or taker.port
    words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}", "-o", "StrictHostKeyChecking=yes", "-o", "ForwardAgent=no",
             "-o", "ClearAllForwardings=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    line = " ".join(map(quote, words))
    if host_keys:
        # Looked up by a name of ours: under its address the node may know another key, or none.
        line += f' -o {quote(f"HostKeyAlias={alias(taker)}")} -o "UserKnownHostsFile=$k"'
    if relay.key:
        line += f" -o IdentitiesOnly=yes -i {path_word(relay.key)}"
    if user:
        line += f" -l {quote(user)}"
    if port:
        line += f" -p {port}"
    line += f" -- {quote((taker.address or taker.host).strip('[]'))}"
    return "\n".join([
        f"set -eu; t={path_word(to)}; d=$t/{FOLDER}",
        f"k=$(mktemp); trap 'rm -f \"$k\"' EXIT; printf %s {quote(host_keys)} > \"$k\"",
        f'at=$({line} {quote(sh_command(look, as_agent(taker)))} < /dev/null)',
        'case "$at" in *[!0-9\\ ]*|"") echo "the other node answered: $at" >&2; exit 1;; esac',
        f'tail -c "+$((at + 1))" "$d/{parcel.digest}" | {line} {quote(sh_command(take, as_agent(taker)))}'])

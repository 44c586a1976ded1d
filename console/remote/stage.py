"""Files on their way to nodes without internet: by digest, resumed where they broke off, verified where they arrive.

Owns one file's way to one node and the sending to many at once. A file lies on the node under its SHA-256 in
``<to>/.rankdeck-staged/``; what is there is not sent again, and nothing gets its
name before its bytes have been verified by the node. Refuses to choose what is sent (``parcels``).

The directory may be shared between nodes: what is under way there, and what an engine has loaded, is each
node's own (``<digest>.<node>.part``); only whole things have shared names.

Sent through commands and not SFTP: the same for both transports, also where SFTP is switched off.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from console.core.errors import ConnectError, ConsoleError, RequestError
from console.core.launch.commands import path_word, quote
from console.core.launch.inventory import Node, Relay
from console.remote.deploy import as_agent, sh_command
from console.remote.parcels import Parcel
from console.remote.relay import FOLDER, Passed, Passing
from console.remote.transport import Connection

PIECE_BYTES = 4 << 20
"""Sent and acknowledged at a time: what a broken link costs at most."""
PIECE_S = 300.0
"""Time limit of one piece: 14 kB/s."""
VERIFY_S = 3600.0
"""For the digest and unpacking of a file of some 100 GB on a slow disk."""
TRIES = 5
"""Without a byte of progress between them."""
RETRY_S = 1.0

State = Literal["sent", "there"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What became of one parcel on one node."""

    node: str
    parcel: str
    state: State
    """there: it had arrived before."""
    path: str
    """Where it can be used: a directory, a file, or an image's name."""
    sent_bytes: int
    """From here; what another node passed on is not counted."""
    via: str = ""
    """The node that passed it on; empty: it came from here, or was there."""
    why_direct: str = ""
    """Why it was not passed on by a node although the fleet allows it."""


class Throttle:
    """A limit on bytes a second over all nodes; 0: none. Thread-safe."""

    def __init__(self, bytes_s: float) -> None:
        self._bytes_s = bytes_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def pass_through(self, count: int) -> None:
        """Wait until so many bytes may go."""
        if self._bytes_s <= 0:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._bytes_s
        time.sleep(max(0.0, begin - now))


Progress = Callable[[str, Parcel, int], None]
"""(node, parcel, bytes that are there)."""


class Telling:
    """Progress now and then in words, by node. Thread-safe."""

    def __init__(self, tell: Callable[[str, str], None], every_s: float = 2.0) -> None:
        self._tell, self._every_s = tell, every_s
        self._told: dict[str, float] = {}

    def progress(self, node: str, parcel: Parcel, there: int) -> None:
        """For ``stage``."""
        now = time.monotonic()
        if now - self._told.get(node, 0.0) >= self._every_s or there >= parcel.size_bytes:
            self._told[node] = now
            self._tell(node, f"{parcel.name}: {there:,} of {parcel.size_bytes:,} bytes")


def stage(nodes: Iterable[Node], parcels: Iterable[Parcel], to: str, connect: Callable[[str], Connection], *, parallel: int = 8,
          throttle: Throttle | None = None, progress: Progress = lambda node, parcel, there: None, relay: Relay | None = None,
          named: bool = True) -> tuple[list[Staged], dict[str, ConsoleError]]:
    """Send everything to every node, ``parallel`` nodes at a time: what arrived, and by node why something did not.

    ``connect`` gives a node's connection, a new one when the last is gone; raises ConnectError. ``relay``: nodes that
    have it pass it on (``console.remote.relay``). ``named``: false leaves a tree without its name (``give_name``).
    """
    wanted, gate, nodes = list(parcels), throttle or Throttle(0), list(nodes)
    passing = Passing(nodes, to, connect, relay) if relay is not None and len(nodes) > 1 else None

    def one(node: Node) -> list[Staged]:
        return [_Shipment(node, parcel, to, connect, gate, progress, passing).carry_out(named) for parcel in wanted]

    done: list[Staged] = []
    failed: dict[str, ConsoleError] = {}
    with ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="stage") as pool:
        running = [(node.name, pool.submit(one, node)) for node in nodes]
        for name, result in running:
            try:
                done += result.result()
            except ConsoleError as error:
                failed[name] = error
    return done, failed


def give_name(node: Node, parcel: Parcel, to: str, connect: Callable[[str], Connection]) -> None:
    """Let the name of a tree that was sent without one lead to it. Raises ConnectError, RequestError."""
    shipment = _Shipment(node, parcel, to, connect, Throttle(0), lambda node, parcel, there: None)
    shipment.run(_name_tree(parcel))


class _Shipment:
    """One parcel on its way to one node."""

    def __init__(self, node: Node, parcel: Parcel, to: str, connect: Callable[[str], Connection], throttle: Throttle, progress: Progress,
                 passing: Passing | None = None) -> None:
        self._node, self._parcel, self._to, self._passing = node, parcel, to, passing
        self._connect, self._throttle, self._progress = connect, throttle, progress
        self._part = f"{parcel.digest}.{node.name}.part"
        self._sent = 0

    def carry_out(self, named: bool) -> Staged:
        """Raises ConnectError, RequestError."""
        passed = Passed()
        try:
            there = self._resumed(self._look)
            state: State = "there" if there is None else "sent"
            if there is not None and self._passing is not None:
                passed = self._passing.ask(self._node, self._parcel, self._part)
                if passed.via:
                    there = self._resumed(self._look)
            self._bring(there)
        except BaseException:
            if self._passing is not None:
                self._passing.lost(self._node, self._parcel)
            raise
        if self._passing is not None:
            self._passing.has(self._node, self._parcel)
        self._progress(self._node.name, self._parcel, self._parcel.size_bytes)
        path = self.run(_put_in_place(self._parcel, self._node.name, named), timeout_s=VERIFY_S).strip().splitlines()
        return Staged(node=self._node.name, parcel=self._parcel.name, state=state, path=path[-1] if path else "", sent_bytes=self._sent,
                      via=passed.via, why_direct=passed.why)

    def _bring(self, there: int | None) -> None:
        """Send what is missing, and have all of it verified there."""
        while there is not None and there < self._parcel.size_bytes:
            there = self._resumed(functools.partial(self._send, there))
        if there is not None:
            self.run(f'h=$(sha256sum < "$d/{self._part}") && h=${{h%% *}}\n'
                      f'[ "$h" = {self._parcel.digest} ] || {{ rm -f "$d/{self._part}"; echo "arrived as $h" >&2; exit 1; }}\n'
                      f'mv -f "$d/{self._part}" "$d/{self._parcel.digest}"; rm -f "$d/{self._part}.relay"', timeout_s=VERIFY_S)

    def _look(self) -> int | None:
        """How much of it is there; None for all of it, verified."""
        said = self.run(f'umask 022; mkdir -p "$d"\nif [ -f "$d/{self._parcel.digest}" ]; then echo whole\n'
                         f'elif [ -f "$d/{self._part}" ]; then wc -c < "$d/{self._part}"\nelse echo 0; fi').split()
        if said[-1:] == ["whole"]:
            return None
        size = int(said[-1]) if said and said[-1].isdigit() else 0
        if size > self._parcel.size_bytes:
            self.run(f'rm -f "$d/{self._part}"')
            return 0
        return size

    def _send(self, at: int) -> int:
        """Send one piece from there on; how much is there then."""
        with self._parcel.path.open("rb") as file:
            file.seek(at)
            piece = file.read(PIECE_BYTES)
        self._throttle.pass_through(len(piece))
        # Only onto what we know to be there: a piece that arrived although its acknowledgement was lost must not come twice.
        said = self.run(f'p="$d/{self._part}"; [ -e "$p" ] || : > "$p"\n[ "$(wc -c < "$p")" -eq {at} ] || {{ wc -c < "$p"; exit 0; }}\n'
                         'cat >> "$p" && wc -c < "$p"', stdin=piece, timeout_s=PIECE_S).split()
        there = int(said[-1]) if said and said[-1].isdigit() else 0
        self._sent += max(0, there - at)
        self._progress(self._node.name, self._parcel, there)
        return there

    def _resumed(self, do: Callable[[], int | None]) -> int | None:
        """Do it, again over a new connection when the link breaks."""
        for left in reversed(range(TRIES)):
            try:
                return do()
            except ConnectError:
                if not left:
                    raise
                time.sleep(RETRY_S)
                there = self._after_a_break()
                if there is not None:
                    return there
        raise AssertionError("unreachable")

    def _after_a_break(self) -> int | None:
        try:
            return self._look()
        except ConnectError:
            return None

    def run(self, script: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> str:
        """What a script in the directory says, $t it and $d its store. Raises ConnectError, RequestError."""
        where = f"{self._node.name}:{self._to}"
        text = f"set -eu\nt={path_word(self._to)}; d=$t/{FOLDER}\n{script}"
        status, out, err = self._connect(self._node.name).run(sh_command(text, as_agent(self._node)), stdin=stdin, timeout_s=timeout_s)
        if status != 0:
            raise RequestError(f"{self._parcel.name} could not be staged", where=where, got=err.decode("utf-8", "replace").strip()[-500:] or f"exit status {status}",
                               expected=f"{self._parcel.size_bytes} bytes with digest {self._parcel.digest[:12]}", fix="Look at the free space and who may write there.")
        return out.decode("utf-8", "replace")


def _put_in_place(parcel: Parcel, node: str, named: bool) -> str:
    """The script that makes a verified file usable and says where; safe to repeat. ``named``: a tree is given its name as well."""
    name, digest = quote(parcel.name), parcel.digest
    if parcel.kind == "image":
        # Whichever engine there is; what it says names the image.
        return (f'e=$(command -v docker || command -v podman) || {{ echo "no container engine" >&2; exit 1; }}\n'
                f'[ -e "$d/{digest}.{node}.loaded" ] || "$e" load -i "$d/{digest}" > "$d/{digest}.{node}.loading"\n'
                f'[ -e "$d/{digest}.{node}.loaded" ] || mv "$d/{digest}.{node}.loading" "$d/{digest}.{node}.loaded"\nsed -n \'s/^Loaded image[^:]*: *//p\' "$d/{digest}.{node}.loaded" | tail -n 1')
    if parcel.kind == "file":
        return f'n={name}; ln -f "$d/{digest}" "$t/$n" 2>/dev/null || cp -f "$d/{digest}" "$t/$n"\nprintf "%s\\n" "$t/$n"'
    # Unpacked beside and renamed; the name is a link, so that whoever reads it sees the old tree or the new one.
    return (f'n={name}; u="$t/$n.{digest[:12]}"\n'
            # By cd and standard input: tar reads a backslash in -C as an escape, and a colon in -f as another host.
            # Another node that shares the directory may have been quicker; then the name is taken, and that is all right.
            f'm="$u.new-{node}"\nif [ ! -d "$u" ]; then rm -rf "$m"; mkdir "$m"; (cd -- "$m" && tar -xf -) < "$d/{digest}"; mv -T "$m" "$u" 2>/dev/null || {{ rm -rf "$m"; [ -d "$u" ]; }}; fi\n'
            + (_name_tree(parcel) if named else 'printf "%s\\n" "$u"'))


def _name_tree(parcel: Parcel) -> str:
    """The script that lets a tree's name lead to it, and says the name."""
    return (f'n={quote(parcel.name)}\n'
            'if [ -e "$t/$n" ] && [ ! -L "$t/$n" ]; then echo "$t/$n is there and is not ours" >&2; exit 1; fi\n'
            'ln -sfn "$n.' + parcel.digest[:12] + '" "$t/$n"\nprintf "%s\\n" "$t/$n"')

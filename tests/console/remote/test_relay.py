"""Files passed on from node to node: over real SSH servers and the system's ssh, and with nodes that cannot."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from console.core.errors import ConnectError
from console.core.launch import inventory
from console.core.launch.inventory import Node, Relay
from console.core.launch.problems import ProblemsError
from console.remote import known_hosts, parcels
from console.remote import stage as staging
from console.remote.paramiko_ssh import ParamikoConnection, ParamikoTransport
from console.remote.relay import FAILURES, FOLDER, Passing, alias, pass_on_script
from console.remote.stage import stage
from tests.console.core.launch.test_commands import HOSTILE
from tests.console.remote.sshd import Loop, Sshd

pytestmark = pytest.mark.skipif(not Path("/usr/bin/ssh").exists(), reason="no ssh client here")
COUNT = 4


class Site:
    """Nodes that know a key of each other's and each other's host keys, and a bastion that counts what it sends."""

    def __init__(self, path: Path, loop: Loop) -> None:
        ours, theirs = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        for name, key in (("key", ours), ("fleet key", theirs)):
            (path / name).write_bytes(key.export_private_key("openssh"))
            (path / name).chmod(0o600)
        (path / "bin").mkdir()
        ssh = path / "bin" / "ssh"
        # What /etc/ssh has on a real node is here the machine's: the keys of these servers are told to ssh before ours.
        ssh.write_text(f'#!/bin/sh\necho "$@" >> {path}/ssh.log\nexec /usr/bin/ssh -F /dev/null -o HostKeyAlias=lab -o UserKnownHostsFile={path}/lab_hosts '
                       '-o GlobalKnownHostsFile=/dev/null -o ControlPath=none "$@"\n')
        ssh.chmod(0o755)
        self.path, self.to, self.key = path, "~/sta ged", str(path / "fleet key")
        self.sshds = {f"n{at}": Sshd(loop, path / f"node{at}", [ours, theirs], env={"PATH": f"{path / 'bin'}:{os.environ['PATH']}"}) for at in range(COUNT)}
        (path / "lab_hosts").write_text("".join(f"lab {sshd.host_key.export_public_key('openssh').decode()}" for sshd in self.sshds.values()))
        for sshd in self.sshds.values():
            known_hosts.add(path / "known_hosts", "127.0.0.1", sshd.port, "ssh-ed25519", sshd.host_key.public_data)
        (path / "config").write_text("")
        self.transport = ParamikoTransport(known_hosts_path=str(path / "known_hosts"), config_path=str(path / "config"), system_known_hosts="/nonexistent")
        self.nodes = [Node(name=name, host="127.0.0.1", port=sshd.port, user="ops", key=str(path / "key")) for name, sshd in self.sshds.items()]
        self.connections: dict[str, ParamikoConnection] = {}
        self._lock = threading.Lock()

    def connect(self, name: str) -> ParamikoConnection:
        with self._lock:
            if name not in self.connections:
                self.connections[name] = self.transport.connect(next(node for node in self.nodes if node.name == name))
            return self.connections[name]

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()
        for sshd in self.sshds.values():
            sshd.stop()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(staging, "RETRY_S", 0.01)
    loop = Loop()
    site = Site(tmp_path, loop)
    yield site
    site.close()
    loop.close()


def blob(site: Site, size: int = 300_000) -> parcels.Parcel:
    (site.path / "data.bin").write_bytes(os.urandom(size))
    return parcels.of_file(site.path / "data.bin")


def arrived(site: Site, parcel: parcels.Parcel) -> list[str]:
    return [name for name, sshd in site.sshds.items() if (sshd.home / "sta ged" / parcel.name).exists()
            and (sshd.home / "sta ged" / parcel.name).read_bytes() == parcel.path.read_bytes()]


def test_the_bastion_sends_once(site: Site) -> None:
    parcel = blob(site)
    done, failed = stage(site.nodes, [parcel], site.to, site.connect, relay=Relay(key=site.key))
    assert not failed and arrived(site, parcel) == list(site.sshds)
    assert sorted(one.sent_bytes for one in done) == [0, 0, 0, 300_000], done
    assert sorted(bool(one.via) for one in done) == [False, True, True, True] and not any(one.why_direct for one in done)
    # Everything else that was asked of the nodes stands in nobody's directory.
    assert all(not list((sshd.home / "sta ged" / FOLDER).glob("*.part*")) for sshd in site.sshds.values())
    assert "ForwardAgent=no" in (site.path / "ssh.log").read_text() and "BatchMode=yes" in (site.path / "ssh.log").read_text()
    again, _ = stage(site.nodes, [parcel], site.to, site.connect, relay=Relay(key=site.key))
    assert {one.state for one in again} == {"there"} and not any(one.via for one in again)


def test_what_broke_off_goes_on(site: Site) -> None:
    parcel = blob(site)
    for name in ("n1", "n2", "n3"):
        store = site.sshds[name].home / "sta ged" / FOLDER
        store.mkdir(parents=True)
        (store / f"{parcel.digest}.{name}.part.relay").write_bytes(parcel.path.read_bytes()[:200_000])
    done, failed = stage(site.nodes, [parcel], site.to, site.connect, relay=Relay(key=site.key))
    assert not failed and arrived(site, parcel) == list(site.sshds) and sum(bool(one.via) for one in done) == 3


def test_nodes_that_cannot_reach_each_other_get_it_directly_and_it_is_said(site: Site) -> None:
    (site.path / "wrong").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh"))
    (site.path / "wrong").chmod(0o600)
    parcel = blob(site)
    done, failed = stage(site.nodes, [parcel], site.to, site.connect, relay=Relay(key=str(site.path / "wrong")))
    assert not failed and arrived(site, parcel) == list(site.sshds)
    assert {one.sent_bytes for one in done} == {300_000} and not any(one.via for one in done)
    told = [one.why_direct for one in done if one.why_direct]
    assert len(told) == COUNT - 1 and all("Permission denied" in why and "from n" in why for why in told)


def test_an_unknown_host_key_is_not_trusted(site: Site) -> None:
    (site.path / "lab_hosts").write_text("")
    parcel = blob(site)
    done, failed = stage(site.nodes[:2], [parcel], site.to, site.connect, relay=Relay(key=site.key))
    assert not failed and arrived(site, parcel) == ["n0", "n1"] and "verification failed" in next(one.why_direct for one in done if one.why_direct)


def test_rubbish_that_is_passed_on_is_not_taken(site: Site) -> None:
    parcel = blob(site)
    for name in site.sshds:
        store = site.sshds[name].home / "sta ged" / FOLDER
        store.mkdir(parents=True)
        (store / f"{parcel.digest}.{name}.part.relay").write_bytes(b"x" * 200_000)
    _, failed = stage(site.nodes, [parcel], site.to, site.connect, relay=Relay(key=site.key))
    assert failed and all("arrived as" in error.got for error in failed.values())
    done, failed = stage(site.nodes, [parcel], site.to, site.connect, relay=Relay(key=site.key))
    assert not failed and arrived(site, parcel) == list(site.sshds), done


class Dead:
    """Connections of which some are gone."""

    def __init__(self, site: Site, *names: str) -> None:
        self.site, self.names = site, names

    def __call__(self, name: str) -> ParamikoConnection:
        if name in self.names:
            raise ConnectError("no route", where=name)
        return self.site.connect(name)


def test_the_first_node_may_fail(site: Site) -> None:
    parcel = blob(site)
    done, failed = stage(site.nodes, [parcel], site.to, Dead(site, "n0"), relay=Relay(key=site.key))
    assert set(failed) == {"n0"} and arrived(site, parcel) == ["n1", "n2", "n3"] and sum(bool(one.via) for one in done) == 2


def test_it_is_not_tried_for_ever() -> None:
    calls: list[str] = []

    class Refusing:
        def run(self, command: str, **options: object) -> tuple[int, bytes, bytes]:
            calls.append(command)
            return 255, b"", b"ssh: connect to host 10.0.0.2 port 22: No route to host\n"

    def connect(name: str) -> Refusing:
        return Refusing()

    nodes = [Node(name=f"n{at}", host=f"10.0.0.{at}") for at in range(10)]
    parcel = parcels.Parcel(name="x", kind="file", path=Path("/dev/null"), digest="0" * 64, size_bytes=1)
    passing = Passing(nodes, "/t", connect, Relay())  # type: ignore[arg-type]
    told = []
    for node in nodes:
        told.append(passing.ask(node, parcel, "p"))
        passing.has(node, parcel)
    assert [bool(one.why) for one in told] == [False, *[True] * 9] and not any(one.via for one in told)
    assert sum("tail -c" in call for call in calls) == FAILURES and "No route to host" in told[-1].why


def test_a_node_with_nothing_to_wait_for_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = parcels.Parcel(name="x", kind="file", path=Path("/dev/null"), digest="0" * 64, size_bytes=1)
    nodes = [Node(name=f"n{at}", host=f"10.0.0.{at}") for at in range(2)]
    passing = Passing(nodes, "/t", lambda name: (_ for _ in ()).throw(ConnectError("x")), Relay())
    assert passing.ask(nodes[0], parcel, "p").via == ""
    answered: list[object] = []
    waiting = threading.Thread(target=lambda: answered.append(passing.ask(nodes[1], parcel, "p")), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive() and not answered
    passing.lost(nodes[0], parcel)
    deadline = time.monotonic() + 10
    while waiting.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert answered


RECORDER = '#!/usr/bin/env python3\nimport json, os, sys\nprint(0)\njson.dump(sys.argv[1:], open(os.environ["TOLD"], "w"))\nsys.stdin.read()\n'


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_hostile_texts_of_the_fleet_file_are_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text(RECORDER)
    (tmp_path / "ssh").chmod(0o755)
    home = tmp_path / "home"
    (home / text.replace("/", "_").replace("\0", "") / FOLDER).mkdir(parents=True)
    to = "~/" + text.replace("/", "_")
    parcel = parcels.Parcel(name="x", kind="file", path=Path("/dev/null"), digest="0" * 64, size_bytes=1)
    (home / to[2:] / FOLDER / parcel.digest).write_bytes(b"x")
    node = Node(name="n1", host=text, user=text, port=22)
    script = pass_on_script(Relay(key=f"/k/{text}", user=text), node, parcel, "part", to, f"{alias(node)} ssh-ed25519 {text}\n")
    done = subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(home), "TOLD": str(tmp_path / "told")}, capture_output=True,
                          text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told").read_text())
    assert told[told.index("-i") + 1] == f"/k/{text}" and told[told.index("-l") + 1] == text and told[-3:-1] == ["--", text.strip("[]")]
    assert not list(tmp_path.rglob("owned"))


FLEET = {"nodes": [{"name": "n0", "host": "10.0.0.1"}]}


@pytest.mark.parametrize(("value", "relay"), [(True, Relay()), (False, None), (None, None), ({"user": "ops", "key": "~/.ssh/fleet", "port": 2222}, Relay(user="ops", key="~/.ssh/fleet", port=2222))])
def test_what_a_fleet_file_allows(value: object, relay: Relay | None) -> None:
    assert inventory.from_mapping({**FLEET, "relay": value}, name="x", where="f").relay == relay


@pytest.mark.parametrize("value", ["yes", ["n0"], {"user": "a\nb"}, {"port": 0}, {"usr": "x"}])
def test_what_is_no_way_from_node_to_node(value: object) -> None:
    with pytest.raises(ProblemsError):
        inventory.from_mapping({**FLEET, "relay": value}, name="x", where="f")



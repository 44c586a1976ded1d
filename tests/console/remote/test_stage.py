"""Files on their way to a node: over a real SSH server, broken off, resumed, verified, put in place."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from console.core.errors import ConnectError, FileError, RequestError
from console.core.launch.inventory import Node
from console.remote import known_hosts, parcels
from console.remote import stage as staging
from console.remote.paramiko_ssh import ParamikoConnection, ParamikoTransport
from console.remote.stage import Staged, Throttle, stage
from tests.console.remote.sshd import Loop, Sshd


class Site:
    """One node, reached anew whenever its connection is gone."""

    def __init__(self, path: Path, loop: Loop) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        (path / "key").write_bytes(key.export_private_key("openssh"))
        (path / "key").chmod(0o600)
        (path / "bin").mkdir()
        self.engine = path / "bin" / "docker"
        self.engine.write_text('#!/bin/sh\necho "$@" >> "$HOME/engine.log"\necho "Loaded image: lab/train:1"\n')
        self.engine.chmod(0o755)
        self.sshd = Sshd(loop, path / "node", [key], env={"PATH": f"{path / 'bin'}:{os.environ['PATH']}"})
        known_hosts.add(path / "known_hosts", "127.0.0.1", self.sshd.port, "ssh-ed25519", self.sshd.host_key.public_data)
        self.transport = ParamikoTransport(known_hosts_path=str(path / "known_hosts"), config_path=str(path / "config"), system_known_hosts="/nonexistent")
        (path / "config").write_text("")
        self.node = Node(name="n1", host="127.0.0.1", port=self.sshd.port, user="ops", key=str(path / "key"))
        self.connections: list[ParamikoConnection] = []
        self.path, self.to = path, "~/sta ged"
        self.there = self.sshd.home / "sta ged"

    def connect(self, name: str) -> ParamikoConnection:
        if not self.connections or not self.connections[-1]._transport.is_active():
            self.connections.append(self.transport.connect(self.node))
        return self.connections[-1]

    def send(self, *what: parcels.Parcel, **how: object) -> list[Staged]:
        done, failed = stage([self.node], what, self.to, self.connect, **how)  # type: ignore[arg-type]
        for error in failed.values():
            raise error
        return done


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(staging, "PIECE_BYTES", 100_000)
    monkeypatch.setattr(staging, "RETRY_S", 0.01)
    loop = Loop()
    site = Site(tmp_path, loop)
    yield site
    for connection in site.connections:
        connection.close()
    site.sshd.stop()
    loop.close()


def blob(site: Site, size: int = 450_000) -> parcels.Parcel:
    (site.path / "data.bin").write_bytes(os.urandom(size))
    return parcels.of_file(site.path / "data.bin")


def test_a_file_arrives_once(site: Site) -> None:
    parcel = blob(site)
    seen: list[int] = []
    (sent,) = site.send(parcel, progress=lambda node, parcel, there: seen.append(there))
    assert sent.state == "sent" and sent.sent_bytes == 450_000 and seen == sorted(seen) and seen[-1] == 450_000
    assert (site.there / "data.bin").read_bytes() == parcel.path.read_bytes()
    (again,) = site.send(parcel)
    assert again.state == "there" and again.sent_bytes == 0 and again.path == sent.path


def test_a_broken_link_costs_a_piece_and_a_broken_console_nothing(site: Site) -> None:
    parcel = blob(site)
    seen: list[int] = []

    def cut(node: str, parcel: parcels.Parcel, there: int) -> None:
        seen.append(there)
        if there == 200_000:
            site.sshd.drop()

    (sent,) = site.send(parcel, progress=cut)
    assert len(site.connections) >= 2 and sent.sent_bytes <= 550_000
    assert (site.there / "data.bin").read_bytes() == parcel.path.read_bytes()

    other = parcels.of_file(site.path / "key")
    part = site.there / staging.FOLDER / f"{other.digest}.n1.part"
    part.write_bytes((site.path / "key").read_bytes()[:100])  # what an earlier console left
    (resumed,) = site.send(other)
    assert resumed.sent_bytes == other.size_bytes - 100 and not part.exists()


def test_what_arrives_damaged_is_not_taken(site: Site) -> None:
    parcel = blob(site)
    part = site.there / staging.FOLDER / f"{parcel.digest}.n1.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100_000)
    with pytest.raises(RequestError, match="could not be staged") as caught:
        site.send(parcel)
    assert "arrived as" in caught.value.got and not part.exists() and not (site.there / "data.bin").exists()
    site.send(parcel)
    assert hashlib.sha256((site.there / "data.bin").read_bytes()).hexdigest() == parcel.digest


def test_a_tree_appears_whole_and_is_replaced_whole(site: Site, tmp_path: Path) -> None:
    tree = tmp_path / "code"
    (tree / "sub").mkdir(parents=True)
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("x")
    (tree / "sub" / "$(touch x); 训练.py").write_text("one\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("run.sh")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = parcels.of_tree(tree, tmp_path / "a")
    os.utime(tree / "run.sh", (1, 1))
    assert parcels.of_tree(tree, tmp_path / "b").digest == first.digest  # what is in it counts, not when
    site.send(first)
    there = site.there / "code"
    assert (there / "sub" / "$(touch x); 训练.py").read_text() == "one\n" and os.access(there / "run.sh", os.X_OK)
    assert os.readlink(there / "link") == "run.sh" and not (there / ".git").exists()
    (tree / "run.sh").write_text("#!/bin/sh\necho two\n")
    second = parcels.of_tree(tree, tmp_path / "b")
    assert second.digest != first.digest
    site.send(second)
    assert "two" in (there / "run.sh").read_text()
    (tree / "out").symlink_to("/etc/passwd")
    with pytest.raises(FileError, match="leads out"):
        parcels.of_tree(tree, tmp_path / "b")


def test_somebody_elses_directory_is_not_replaced(site: Site, tmp_path: Path) -> None:
    (site.there / "code").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    with pytest.raises(RequestError) as caught:
        site.send(parcels.of_tree(tmp_path / "code", tmp_path))
    assert "not ours" in caught.value.got and (site.there / "code").is_dir() and not (site.there / "code").is_symlink()


def test_a_commit_is_what_git_has_of_it(site: Site, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(repo), "-c", "user.name=t", "-c", "user.email=t@t.invalid", *words], check=True, capture_output=True)

    git("init", "-q")
    (repo / "train.py").write_text("committed\n")
    git("add", ".")
    git("commit", "-qm", "one")
    (repo / "train.py").write_text("not committed\n")
    site.send(parcels.of_commit(repo, "HEAD", tmp_path))
    assert (site.there / "repo" / "train.py").read_text() == "committed\n"
    for wrong in ("no-such", "--output=/tmp/x"):
        with pytest.raises(FileError):
            parcels.of_commit(repo, wrong, tmp_path)


def test_the_trainer_lies_where_the_runner_looks_for_it_with_its_wheels(site: Site, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "x-1-py3-none-any.whl").write_bytes(b"PK")
    site.send(parcels.of_trainer(tmp_path, tmp_path / "wheels"))
    root = site.there / "rankdeck-trainer"
    assert (root / "trainer" / "__main__.py").is_file() and (root / "trainer" / "spec" / "job.py").is_file() and (root / "wheels" / "x-1-py3-none-any.whl").is_file()


def test_an_image_is_loaded_once(site: Site) -> None:
    (site.path / "image.tar").write_bytes(b"not looked at")
    parcel = parcels.of_file(site.path / "image.tar", "image")
    assert [one.path for one in site.send(parcel) + site.send(parcel)] == ["lab/train:1"] * 2
    assert (site.sshd.home / "engine.log").read_text().count("load -i") == 1


def test_one_nodes_trouble_is_its_own(site: Site) -> None:
    def connect(name: str) -> ParamikoConnection:
        if name == "n2":
            raise ConnectError("no route", where=name)
        return site.connect(name)

    done, failed = stage([site.node, Node(name="n2", host="nowhere")], [blob(site, 1000)], site.to, connect)
    assert [one.node for one in done] == ["n1"] and "no route" in str(failed["n2"])


def test_the_limit_holds_over_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("console.remote.stage.time.sleep", slept.append)
    monkeypatch.setattr("console.remote.stage.time.monotonic", lambda: 100.0)
    throttle = Throttle(1000.0)
    for _ in range(3):
        throttle.pass_through(500)
    assert slept == [0.0, 0.5, 1.0]
    Throttle(0).pass_through(10**12)
    assert len(slept) == 3


@pytest.mark.parametrize("name", ["../x", "a b", "-x", "a\nb", ".hidden"])
def test_names_that_mean_something_to_a_shell_or_a_path_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(FileError):
        parcels.of_file(tmp_path / "f", name=name)


def test_nodes_that_share_the_directory_do_not_get_in_each_others_way(site: Site, tmp_path: Path) -> None:
    tree = tmp_path / "code"
    tree.mkdir()
    (tree / "big.bin").write_bytes(os.urandom(700_000))
    parcel = parcels.of_tree(tree, tmp_path)
    image = parcels.of_file(tree / "big.bin", "image")
    nodes = [Node(name=f"n{at}", host="127.0.0.1", port=site.sshd.port, user="ops", key=site.node.key) for at in range(4)]
    connections = {node.name: site.transport.connect(node) for node in nodes}
    site.connections += connections.values()
    done, failed = stage(nodes, [parcel, image], site.to, connections.__getitem__)
    assert not failed and len(done) == 8
    assert (site.there / "code" / "big.bin").read_bytes() == (tree / "big.bin").read_bytes()
    assert (site.sshd.home / "engine.log").read_text().count("load -i") == 4  # every node has an engine of its own
    assert sorted(path.name for path in site.there.iterdir()) == [staging.FOLDER, "code", f"code.{parcel.digest[:12]}"]
    assert not list((site.there / staging.FOLDER).glob("*.part"))

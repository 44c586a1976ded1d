"""Which keys are trusted, and what is written down."""

from __future__ import annotations

import base64
import shutil
import stat
import subprocess
from pathlib import Path

import asyncssh
import pytest

from console.core.errors import ConnectError, HostKeyError
from console.remote import known_hosts

needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")


def make_key(kind: str = "ssh-ed25519") -> tuple[str, bytes]:
    key = asyncssh.generate_private_key(kind)
    return kind, key.public_data


def line(names: str, key: tuple[str, bytes]) -> str:
    return f"{names} {key[0]} {base64.b64encode(key[1]).decode()} a comment\n"


def verify(path: Path, host: str, port: int, key: tuple[str, bytes]) -> bool:
    return known_hosts.verify(known_hosts.read([path]), host, port, *key)


@needs_keygen
def test_the_fingerprint_is_the_one_ssh_keygen_prints(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "k.pub").write_bytes(key.export_public_key("openssh"))
    said = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "k.pub"], capture_output=True, text=True, check=True).stdout
    assert known_hosts.fingerprint(key.public_data) == said.split()[1]


@pytest.mark.parametrize(("names", "host", "port", "known"), [
    ("node1", "node1", 22, True),
    ("node1", "NODE1", 22, True),
    ("other,node1,10.0.0.1", "10.0.0.1", 22, True),
    ("node1", "node2", 22, False),
    ("[node1]:2222", "node1", 2222, True),
    ("[node1]:2222", "node1", 22, False),
    ("[node1]:2222", "node1", 2223, False),
    ("node1", "node1", 2222, True),  # as OpenSSH: the bare name vouches for its other ports
    ("node*", "node17", 22, True),
    ("node?", "node17", 22, False),
    ("node*,!node17", "node17", 22, False),
    ("[10.0.0.*]:2222", "10.0.0.7", 2222, True),
    ("n.de1", "node1", 22, False),  # a dot is a dot
])
def test_names(tmp_path: Path, names: str, host: str, port: int, known: bool) -> None:
    key = make_key()
    (tmp_path / "kh").write_text("# comment\n\n" + line(names, key))
    assert verify(tmp_path / "kh", host, port, key) is known


@needs_keygen
def test_hashed_names(tmp_path: Path) -> None:
    key, path = make_key(), tmp_path / "kh"
    path.write_text(line("node1,10.0.0.1", key) + line("[node2]:2222", key))
    subprocess.run(["ssh-keygen", "-H", "-f", path], check=True, capture_output=True)
    assert "node1" not in path.read_text()
    assert verify(path, "node1", 22, key)
    assert verify(path, "10.0.0.1", 22, key)
    assert verify(path, "node2", 2222, key)
    assert not verify(path, "node3", 22, key)


def test_a_changed_key_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    old, new, path = make_key(), make_key(), tmp_path / "kh"
    path.write_text(line("node1", old))
    with pytest.raises(HostKeyError) as caught:
        verify(path, "node1", 22, new)
    assert "CHANGED" in str(caught.value)
    assert caught.value.fingerprint == known_hosts.fingerprint(new[1])
    assert known_hosts.fingerprint(old[1]) in caught.value.expected
    assert caught.value.where == f"{path}:1"


def test_a_key_of_a_type_we_do_not_know_of_a_host_we_do_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kh").write_text(line("node1", make_key("ssh-ed25519")))
    with pytest.raises(HostKeyError, match="CHANGED"):
        verify(tmp_path / "kh", "node1", 22, make_key("ecdsa-sha2-nistp256"))


def test_one_of_several_known_keys_will_do(tmp_path: Path) -> None:
    first, second, path = make_key(), make_key("ecdsa-sha2-nistp256"), tmp_path / "kh"
    path.write_text(line("node1", first) + line("node1", second))
    assert verify(path, "node1", 22, second)
    assert known_hosts.key_types(known_hosts.read([path]), "node1") == ["ssh-ed25519", "ecdsa-sha2-nistp256"]


def test_a_revoked_key_is_refused_although_it_is_also_listed(tmp_path: Path) -> None:
    key, path = make_key(), tmp_path / "kh"
    path.write_text(line("node1", key) + "@revoked " + line("*", key))
    with pytest.raises(HostKeyError, match="REVOKED"):
        verify(path, "node1", 22, key)


def test_authorities_and_rubbish_vouch_for_nobody(tmp_path: Path) -> None:
    key, path = make_key(), tmp_path / "kh"
    path.write_text("@cert-authority " + line("*", key) + "node1 ssh-ed25519 not!base64\nnode1\n|1|x|y ssh-ed25519 AAAA\n")
    assert not verify(path, "node1", 22, key)


def test_files_that_are_not_there_hold_nothing_and_unreadable_ones_are_an_error(tmp_path: Path) -> None:
    assert known_hosts.read([tmp_path / "none"]) == []
    with pytest.raises(ConnectError):
        known_hosts.read([tmp_path])  # a directory


def test_adding_makes_a_private_file_and_keeps_what_was_there(tmp_path: Path) -> None:
    path, first, second = tmp_path / "new" / "kh", make_key(), make_key()
    known_hosts.add(path, "node1", 22, *first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.write_text(path.read_text().rstrip("\n"))  # somebody's editor left no newline at the end
    known_hosts.add(path, "node2", 2222, *second)
    known_hosts.add(path, "node2", 2222, *second)
    assert len(path.read_text().splitlines()) == 2
    assert verify(path, "node1", 22, first)
    assert verify(path, "node2", 2222, second)

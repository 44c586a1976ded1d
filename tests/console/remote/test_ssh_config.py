"""Fleet file over ~/.ssh/config over SSH's defaults."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from console.core.errors import ConnectError
from console.core.launch.inventory import Node
from console.remote.ssh_config import DEFAULT_IDENTITIES, Route, SshConfig


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def route(tmp_path: Path, text: str, **node: object) -> Route:
    (tmp_path / ".ssh").mkdir(exist_ok=True)
    (tmp_path / ".ssh" / "config").write_text(text)
    return SshConfig().route(Node(**{"name": "n1", "host": "node1", **node}))  # type: ignore[arg-type]


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    target = SshConfig().route(Node(name="n1", host="node1")).target
    assert (target.host, target.port, target.user, target.key_name) == ("node1", 22, getpass.getuser(), "node1")
    assert target.identities == tuple(file.replace("~", str(tmp_path)) for file in DEFAULT_IDENTITIES)
    assert not target.explicit
    assert target.known_hosts[0] == str(tmp_path / ".ssh" / "known_hosts")
    assert target.connect_timeout_s is None


def test_the_configuration_is_honoured(tmp_path: Path) -> None:
    target = route(tmp_path, """
Host node*
  HostName 10.0.0.1
  Port 2222
  User ops
  IdentityFile ~/keys/a
  IdentityFile ~/keys/b
  IdentitiesOnly yes
  UserKnownHostsFile ~/kh1 "~/k h2"
  ConnectTimeout 7
""").target
    assert (target.host, target.port, target.user) == ("10.0.0.1", 2222, "ops")
    assert target.identities == (f"{tmp_path}/keys/a", f"{tmp_path}/keys/b")
    assert target.explicit and target.identities_only
    assert target.known_hosts == (f"{tmp_path}/kh1", f"{tmp_path}/k h2")
    assert target.connect_timeout_s == 7.0


def test_the_fleet_file_comes_first(tmp_path: Path) -> None:
    text = "Host *\n  Port 2222\n  User ops\n  IdentityFile ~/keys/a\n  ProxyJump bastion\nHost bastion\n"
    way = route(tmp_path, text, port=22, user="root", key="~/keys/own", jump="none")
    assert (way.target.port, way.target.user, way.target.identities) == (22, "root", (f"{tmp_path}/keys/own",))
    assert way.jumps == ()


def test_a_host_key_alias_names_the_key(tmp_path: Path) -> None:
    target = route(tmp_path, "Host *\n  Port 2222\n  HostKeyAlias cluster\n").target
    assert (target.key_name, target.key_port) == ("cluster", 22)


def test_jump_hosts_are_resolved_each_by_their_own_block(tmp_path: Path) -> None:
    way = route(tmp_path, """
Host outer
  HostName outer.example
  User gate
  ProxyJump first:2200
Host node1
  ProxyJump outer,ops@[fd00::1]:2022
""", key="~/key")
    assert [str(hop) for hop in way.jumps] == [f"{getpass.getuser()}@first:2200", "gate@outer.example:22", "ops@fd00::1:2022"]
    assert all(hop.identities == (f"{tmp_path}/key",) for hop in way.jumps)


def test_jump_hosts_that_name_each_other_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="name each other"):
        route(tmp_path, "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\nHost node1\n  ProxyJump a\n")


@pytest.mark.parametrize("jump", ["a b", "host:port", "@host", "[::1"])
def test_an_unreadable_jump_host_is_an_error(tmp_path: Path, jump: str) -> None:
    with pytest.raises(ConnectError, match="not readable"):
        route(tmp_path, "", jump=jump)


def test_a_proxy_command_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="ProxyCommand"):
        route(tmp_path, "Host *\n  ProxyCommand nc %h %p\n")


def test_included_files_count_and_the_block_goes_on_after_them(tmp_path: Path) -> None:
    (tmp_path / ".ssh" / "conf.d").mkdir(parents=True)
    (tmp_path / ".ssh" / "conf.d" / "one").write_text("Host node1\n  Port 2201\n")
    (tmp_path / ".ssh" / "conf.d" / "two").write_text("Host other\n  User nobody\n")
    target = route(tmp_path, "Include conf.d/*\nHost node1\n  User before\n  Include ~/.ssh/conf.d/two\n  HostName after\n").target
    assert (target.port, target.user, target.host) == (2201, "before", "after")


def test_a_broken_or_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="cannot be used"):
        route(tmp_path, "Host *\n  Match nonsense\n  !!!\n")
    with pytest.raises(ConnectError, match="cannot be read"):
        SshConfig(str(tmp_path / "not-there"))

"""The paramiko transport against real SSH servers on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from console.core.errors import ConnectError, HostKeyError
from console.core.launch.inventory import Node
from console.remote import known_hosts
from console.remote.paramiko_ssh import ParamikoConnection, ParamikoTransport
from console.remote.transport import LoginError, UnreachableError
from tests.console.remote.fakes import until
from tests.console.remote.sshd import Loop, Relay, Sshd
from tests.patience import PATIENCE_S


class Place:
    """A user with a home of his own, a key, and servers."""

    def __init__(self, path: Path, loop: Loop) -> None:
        self.path, self.loop = path, loop
        self.home = path / "me"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.key_file = self.write_key("mine", self.key)
        self.known_hosts = self.home / ".ssh" / "known_hosts"
        self.config = self.home / ".ssh" / "config"
        self.servers: list[Sshd] = []
        self.opened: list[ParamikoConnection] = []

    def write_key(self, name: str, key: asyncssh.SSHKey, passphrase: str | None = None) -> Path:
        path = self.path / name
        path.write_bytes(key.export_private_key("openssh", passphrase=passphrase))
        path.chmod(0o600)
        return path

    def sshd(self, name: str, *, tunnels: bool = False, trusted: bool = True, host_key: asyncssh.SSHKey | None = None, sftp: bool = True) -> Sshd:
        server = Sshd(self.loop, self.path / name, [self.key], tunnels=tunnels, host_key=host_key, sftp=sftp)
        self.servers.append(server)
        if trusted:
            self.trust(server)
        return server

    def trust(self, server: Sshd, port: int | None = None) -> None:
        known_hosts.add(self.known_hosts, "127.0.0.1", port or server.port, server.host_key.get_algorithm(), server.host_key.public_data)

    def node(self, server: Sshd, **more: object) -> Node:
        return Node(**{"name": "n1", "host": "127.0.0.1", "port": server.port, "user": "ops", "key": str(self.key_file), **more})  # type: ignore[arg-type]

    def connect(self, node: Node, transport: ParamikoTransport | None = None, timeout_s: float = PATIENCE_S) -> ParamikoConnection:
        connection = (transport or self.transport()).connect(node, timeout_s=timeout_s)
        self.opened.append(connection)
        return connection

    def transport(self, **more: object) -> ParamikoTransport:
        return ParamikoTransport(**{"system_known_hosts": str(self.path / "none"), **more})  # type: ignore[arg-type]

    def close(self) -> None:
        for connection in self.opened:
            connection.close()
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def place(tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, loop)
    monkeypatch.setenv("HOME", str(place.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield place
    place.close()


# --- host keys ---------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_with_its_fingerprint(place: Place) -> None:
    server = place.sshd("a", trusted=False)
    with pytest.raises(HostKeyError, match="not known") as caught:
        place.connect(place.node(server))
    assert caught.value.fingerprint == server.host_key.get_fingerprint("sha256")
    assert caught.value.fingerprint in str(caught.value) and "--accept-new" in caught.value.fix
    assert server.logins == []
    assert not place.known_hosts.exists()


def test_accept_new_writes_the_key_down_once_and_the_next_connection_needs_no_leave(place: Place) -> None:
    server = place.sshd("a", trusted=False)
    accepting = place.transport(accept_new=True)
    for _ in range(2):
        place.connect(place.node(server), accepting)
    assert len(place.known_hosts.read_text().splitlines()) == 1
    assert stat.S_IMODE(place.known_hosts.stat().st_mode) == 0o600
    place.connect(place.node(server))


def test_accept_new_writes_into_the_fleets_own_file(place: Place) -> None:
    server, own = place.sshd("a", trusted=False), place.path / "fleet_hosts"
    place.connect(place.node(server), place.transport(accept_new=True, known_hosts_path=str(own)))
    assert not place.known_hosts.exists()
    assert f"[127.0.0.1]:{server.port} ssh-ed25519" in own.read_text()
    place.connect(place.node(server), place.transport(known_hosts_path=str(own)))


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_changed_host_key_is_refused_whatever_was_asked_for(place: Place, accept_new: bool) -> None:
    server = place.sshd("a", trusted=False)
    other = asyncssh.generate_private_key("ssh-ed25519")
    known_hosts.add(place.known_hosts, "127.0.0.1", server.port, "ssh-ed25519", other.public_data)
    before = place.known_hosts.read_text()
    with pytest.raises(HostKeyError, match="CHANGED") as caught:
        place.connect(place.node(server), place.transport(accept_new=accept_new))
    assert server.host_key.get_fingerprint("sha256") in str(caught.value) and other.get_fingerprint("sha256") in str(caught.value)
    assert place.known_hosts.read_text() == before
    assert server.logins == []


def test_the_systems_file_counts_too(place: Place) -> None:
    server, system = place.sshd("a", trusted=False), place.path / "ssh_known_hosts"
    known_hosts.add(system, "127.0.0.1", server.port, "ssh-ed25519", server.host_key.public_data)
    place.connect(place.node(server), place.transport(system_known_hosts=str(system)))


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
def test_a_hashed_entry_with_a_port_vouches(place: Place) -> None:
    server = place.sshd("a")
    subprocess.run(["ssh-keygen", "-H", "-f", place.known_hosts], check=True, capture_output=True)
    assert "127.0.0.1" not in place.known_hosts.read_text()
    place.connect(place.node(server))


def test_the_server_is_asked_for_a_key_that_we_know(place: Place) -> None:
    ecdsa = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    for name, known in (("a", ecdsa), ("b", rsa)):
        server = place.sshd(name, host_key=known)
        server.stop()
        server.other_host_keys = [asyncssh.generate_private_key("ssh-ed25519")]
        server.start()
        place.connect(place.node(server))


# --- login -------------------------------------------------------------------------------------------


def test_a_key_file_logs_in(place: Place) -> None:
    server = place.sshd("a")
    place.connect(place.node(server))
    assert server.logins[-1] == "ops"


def test_a_wrong_key_is_refused_and_named(place: Place) -> None:
    server = place.sshd("a")
    wrong = place.write_key("wrong", asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(LoginError) as caught:
        place.connect(place.node(server, key=str(wrong)))
    assert f"{wrong}: refused" in caught.value.got and "authorized_keys" in caught.value.fix
    with pytest.raises(LoginError, match="not there"):
        place.connect(place.node(server, key=str(place.path / "none")))


def test_without_any_key_it_is_said_what_to_do(place: Place) -> None:
    with pytest.raises(LoginError, match="no keys to offer"):
        place.connect(place.node(place.sshd("a"), key=""))


def test_a_default_key_is_found(place: Place) -> None:
    shutil.copy(place.key_file, place.home / ".ssh" / "id_ed25519")
    place.connect(place.node(place.sshd("a"), key=""))


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp384"])
def test_other_kinds_of_keys_log_in(place: Place, kind: str) -> None:
    server, key = place.sshd("a"), asyncssh.generate_private_key(kind)
    server.authorized.add(key.public_data)
    place.connect(place.node(server, key=str(place.write_key("other", key))))


@pytest.mark.parametrize(("kind", "form"), [
    ("ssh-rsa", "pkcs1-pem"), ("ecdsa-sha2-nistp256", "pkcs1-pem"),
    ("ssh-rsa", "pkcs8-pem"), ("ecdsa-sha2-nistp256", "pkcs8-pem"), ("ssh-ed25519", "pkcs8-pem"),
])
def test_keys_in_older_files_log_in(place: Place, kind: str, form: str) -> None:
    server, key = place.sshd("a"), asyncssh.generate_private_key(kind)
    server.authorized.add(key.public_data)
    path = place.path / "old"
    path.write_bytes(key.export_private_key(form))
    path.chmod(0o600)
    place.connect(place.node(server, key=str(path)))


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
@pytest.mark.parametrize("form", ["openssh", "pem"])
def test_a_protected_key_without_agent_is_said_and_never_asked_for(place: Place, form: str) -> None:
    path = place.path / "locked"
    command = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "secret", "-f", path]
    subprocess.run([*command, "-m", "PEM"] if form == "pem" else command, check=True)
    with pytest.raises(LoginError) as caught:
        place.connect(place.node(place.sshd("a"), key=str(path)))
    assert "passphrase" in caught.value.got and f"ssh-add {path}" in caught.value.fix


@pytest.fixture
def ssh_agent(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent here")
    path = place.path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    try:
        until(path.exists)
        subprocess.run(["ssh-add", "-q", place.key_file], check=True, capture_output=True)
        yield place
    finally:
        agent.terminate()
        agent.wait(10)


def test_the_agent_logs_in_without_any_file(ssh_agent: Place) -> None:
    server = ssh_agent.sshd("a")
    ssh_agent.connect(ssh_agent.node(server, key=""))


def test_the_agent_signs_for_a_protected_key_file(ssh_agent: Place) -> None:
    locked = ssh_agent.write_key("locked", ssh_agent.key, passphrase="secret")
    ssh_agent.config.write_text("Host *\n  IdentitiesOnly yes\n")
    ssh_agent.connect(ssh_agent.node(ssh_agent.sshd("a"), key=str(locked)))


def test_identities_only_keeps_the_agents_other_keys_to_itself(ssh_agent: Place) -> None:
    wrong = ssh_agent.write_key("wrong", asyncssh.generate_private_key("ssh-ed25519"))
    node = ssh_agent.node(ssh_agent.sshd("a"), key=str(wrong))
    ssh_agent.connect(node)  # the agent's key is tried after it
    ssh_agent.config.write_text("Host *\n  IdentitiesOnly yes\n")
    with pytest.raises(LoginError):
        ssh_agent.connect(node)


def test_an_agent_that_does_not_answer_costs_a_note_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.remote.identities.AGENT_TIMEOUT_S", 0.2)
    path = str(place.path / "stuck")
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(path)
        stuck.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        place.connect(place.node(place.sshd("a")))


# --- the way there -----------------------------------------------------------------------------------


def test_the_configuration_file_leads_there(place: Place) -> None:
    server = place.sshd("a", trusted=False)
    hosts = place.path / "their_hosts"
    known_hosts.add(hosts, "127.0.0.1", server.port, "ssh-ed25519", server.host_key.public_data)
    config = place.path / "own_config"
    config.write_text(f"Host train*\n  HostName 127.0.0.1\n  Port {server.port}\n  User deploy\n"
                      f"  IdentityFile {place.key_file}\n  UserKnownHostsFile {hosts}\n")
    place.connect(Node(name="n1", host="train-01"), place.transport(config_path=str(config)))
    assert server.logins[-1] == "deploy"


def test_through_a_jump_host(place: Place) -> None:
    bastion, server = place.sshd("bastion", tunnels=True), place.sshd("a")
    connection = place.connect(place.node(server, jump=f"gate@127.0.0.1:{bastion.port}"))
    assert connection.run("echo through")[:2] == (0, b"through\n")
    assert bastion.tunnelled == [server.port] and bastion.logins[-1] == "gate" and server.logins[-1] == "ops"
    connection.close()
    until(lambda: not bastion.connections and not server.connections)


def test_through_a_chain_from_the_configuration(place: Place) -> None:
    outer, inner, server = place.sshd("outer", tunnels=True), place.sshd("inner", tunnels=True), place.sshd("a")
    place.config.write_text(f"Host outer\n  HostName 127.0.0.1\n  Port {outer.port}\nHost inner\n  HostName 127.0.0.1\n  Port {inner.port}\n"
                            "Host 127.0.0.1\n  ProxyJump outer,inner\n")
    connection = place.connect(place.node(server))
    assert connection.run("echo through")[1] == b"through\n"
    assert (outer.tunnelled, inner.tunnelled) == ([inner.port], [server.port])
    connection.close()
    until(lambda: not outer.connections and not inner.connections and not server.connections)


@pytest.mark.parametrize("which", ["bastion", "target"])
def test_every_hop_is_verified(place: Place, which: str) -> None:
    bastion = place.sshd("bastion", tunnels=True, trusted=which != "bastion")
    server = place.sshd("a", trusted=which != "target")
    with pytest.raises(HostKeyError) as caught:
        place.connect(place.node(server, jump=f"127.0.0.1:{bastion.port}"))
    shown = bastion if which == "bastion" else server
    assert caught.value.fingerprint == shown.host_key.get_fingerprint("sha256")
    assert server.logins == []
    until(lambda: not bastion.connections)  # what was opened on the way is closed again


def test_a_jump_connection_is_shared_and_closed_with_the_last(place: Place) -> None:
    bastion, one, two = place.sshd("bastion", tunnels=True), place.sshd("a"), place.sshd("b")
    transport, jump = place.transport(), f"127.0.0.1:{bastion.port}"
    first = place.connect(place.node(one, jump=jump), transport)
    second = place.connect(place.node(two, jump=jump), transport)
    assert len(bastion.connections) == 1
    first.close()
    assert second.run("echo still")[1] == b"still\n"
    second.close()
    until(lambda: not bastion.connections)


def test_a_jump_host_that_died_is_replaced(place: Place) -> None:
    bastion, server = place.sshd("bastion", tunnels=True), place.sshd("a")
    transport, node = place.transport(), place.node(server, jump=f"127.0.0.1:{bastion.port}")
    first = place.connect(node, transport)
    bastion.drop()
    until(lambda: not first._transport.is_active())
    assert place.connect(node, transport).run("echo again")[1] == b"again\n"


def test_a_jump_host_that_fell_silent_is_replaced(place: Place) -> None:
    bastion, server = place.sshd("bastion", tunnels=True), place.sshd("a")
    relay = Relay(bastion.port)
    try:
        place.trust(bastion, relay.port)
        transport, node = place.transport(), place.node(server, jump=f"127.0.0.1:{relay.port}")
        place.connect(node, transport)
        relay.go_silent()
        with pytest.raises(ConnectError, match="jump host does not answer"):
            place.connect(node, transport, timeout_s=0.5)
        relay.resume()
        assert place.connect(node, transport).run("echo again")[1] == b"again\n"
    finally:
        relay.close()


def test_a_target_that_the_jump_host_cannot_reach(place: Place) -> None:
    bastion = place.sshd("bastion", tunnels=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and held, so that nobody else listens there meanwhile
        with pytest.raises(ConnectError, match="cannot reach"):
            place.connect(Node(name="n", host="127.0.0.1", port=free.getsockname()[1], key=str(place.key_file), jump=f"127.0.0.1:{bastion.port}"))


def test_nobody_there_and_somebody_who_speaks_no_ssh(place: Place) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        node = Node(name="n", host="127.0.0.1", port=listener.getsockname()[1], key=str(place.key_file))
        with pytest.raises(UnreachableError, match="no connection to"):
            place.connect(node)
        listener.listen()
        with pytest.raises(ConnectError, match="does not speak SSH"):
            place.connect(node, timeout_s=0.5)


def test_no_name_no_connection(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(UnreachableError, match="cannot be resolved"):
        place.connect(Node(name="n", host="nowhere.invalid"))


# --- what a connection can do ------------------------------------------------------------------------


def test_run_gives_status_and_both_outputs_and_takes_input(place: Place) -> None:
    connection = place.connect(place.node(place.sshd("a")))
    assert connection.run("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
    data = os.urandom(300_000)
    assert connection.run("cat", stdin=data) == (0, data, b"")
    status, out, err = connection.run("head -c 400000 /dev/zero; head -c 400000 /dev/zero >&2")
    assert (status, len(out)) == (0, 400_000) and len(err) <= 64 << 10


def test_run_gives_up_on_a_command_that_does_not_end_and_the_connection_lives(place: Place) -> None:
    connection = place.connect(place.node(place.sshd("a")))
    with pytest.raises(ConnectError, match="took too long"):
        connection.run("sleep 60", timeout_s=0.3)
    assert connection.run("echo alive")[1] == b"alive\n"


def test_a_channel_talks_both_ways_at_once(place: Place) -> None:
    channel = place.connect(place.node(place.sshd("a"))).open("echo hello >&2; cat; exit 7")
    data = os.urandom(3_000_000)  # more than a window
    writer = threading.Thread(target=channel.send, args=(data,))
    writer.start()
    got = b""
    while len(got) < len(data):
        got += channel.recv(PATIENCE_S) or b""
    writer.join(PATIENCE_S)
    assert got == data
    assert channel.recv(0.05) is None
    assert channel.exit_status() is None
    assert channel.stderr_text() == "hello\n"
    channel.close()
    channel.close()
    assert channel.recv(PATIENCE_S) == b""
    with pytest.raises(ConnectError):
        channel.send(b"x")


def test_the_end_of_a_command_is_seen(place: Place) -> None:
    channel = place.connect(place.node(place.sshd("a"))).open("echo last; exit 5")
    got = b""
    while (data := channel.recv(PATIENCE_S)) != b"":
        got += data or b""
    assert got == b"last\n"
    assert until(channel.exit_status) == 5


def test_put_writes_a_private_file_whole(place: Place) -> None:
    server = place.sshd("a")
    connection = place.connect(place.node(server))
    data = os.urandom(200_000)
    for path in ("~/one", "two", str(server.home / "three")):
        connection.put(data, path)
    for name in ("one", "two", "three"):
        assert (server.home / name).read_bytes() == data
        assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o600
    with pytest.raises(ConnectError, match="failed"):
        connection.put(data, "no/such/dir/file")


def test_a_closed_connection_says_so(place: Place) -> None:
    connection = place.connect(place.node(place.sshd("a")))
    connection.close()
    connection.close()
    for use in (lambda: connection.run("true"), lambda: connection.open("true"), lambda: connection.put(b"", "x")):
        with pytest.raises(ConnectError):
            use()


def test_a_dead_link_cannot_hold_a_call_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.remote.paramiko_ssh.CHANNEL_TIMEOUT_S", 0.4)
    monkeypatch.setattr("console.remote.paramiko_ssh.PUT_TIMEOUT_S", 0.4)
    server = place.sshd("a")
    relay = Relay(server.port)
    try:
        place.trust(server, relay.port)
        for use in ("open", "put"):
            relay.resume()
            connection = place.connect(place.node(server, port=relay.port))
            relay.go_silent()
            with pytest.raises(ConnectError):
                connection.open("true") if use == "open" else connection.put(b"", "x")
    finally:
        relay.close()


def test_nothing_is_printed(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    script = ("import sys; from console.remote.paramiko_ssh import ParamikoTransport; from console.core.launch.inventory import Node\n"
              "from console.core.errors import ConnectError\n"
              "try: ParamikoTransport().connect(Node(name='n', host='127.0.0.1', port=int(sys.argv[1]), key=sys.argv[2]), timeout_s=60)\n"
              "except ConnectError as error: print('refused')\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def hang_up() -> None:
            near, _ = listener.accept()
            near.sendall(b"HTTP/1.1 400 no\r\n\r\n")
            near.close()

        threading.Thread(target=hang_up, daemon=True).start()
        done = subprocess.run([sys.executable, "-c", script, str(listener.getsockname()[1]), str(place.key_file)], capture_output=True, text=True,
                              timeout=PATIENCE_S, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")

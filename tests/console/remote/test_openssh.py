"""The system's ssh as transport, against real SSH servers on loopback."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from console.core.errors import ConnectError, HostKeyError
from console.core.launch.inventory import Node
from console.remote import known_hosts, openssh_says
from console.remote.openssh import OpenSshConnection, OpenSshTransport
from console.remote.paramiko_ssh import ParamikoTransport
from console.remote.prompts import Question
from console.remote.transport import LoginError, UnreachableError
from tests.console.remote.fakes import until
from tests.console.remote.sshd import Loop, Relay, Sshd
from tests.patience import PATIENCE_S

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")


class Place:
    """A user's files and servers; ssh reads nothing of the real user's."""

    def __init__(self, path: Path, loop: Loop, runtime: Path) -> None:
        self.path, self.loop, self.runtime = path, loop, runtime
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.key_file = path / "key"
        self.key_file.write_bytes(self.key.export_private_key("openssh"))
        self.key_file.chmod(0o600)
        self.known_hosts = path / "known_hosts"
        self.config = path / "config"
        self.config.write_text("GlobalKnownHostsFile /dev/null\n")
        self.servers: list[Sshd] = []
        self.opened: list[OpenSshConnection] = []

    def sshd(self, name: str = "node", *, tunnels: bool = False, trusted: bool = True, second_factor: str = "") -> Sshd:
        server = Sshd(self.loop, self.path / name, [self.key], tunnels=tunnels, second_factor=second_factor)
        self.servers.append(server)
        if trusted:
            known_hosts.add(self.known_hosts, "127.0.0.1", server.port, server.host_key.get_algorithm(), server.host_key.public_data)
        return server

    def node(self, port: int, **more: object) -> Node:
        return Node(**{"name": "n1", "host": "127.0.0.1", "port": port, "user": "ops", "key": str(self.key_file), "transport": "openssh", **more})  # type: ignore[arg-type]

    def connect(self, node: Node, timeout_s: float = PATIENCE_S, **more: object) -> OpenSshConnection:
        options = {"known_hosts_path": str(self.known_hosts), "config_path": str(self.config), **more}
        connection = OpenSshTransport(**options).connect(node, timeout_s=timeout_s)  # type: ignore[arg-type]
        self.opened.append(connection)
        return connection

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
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    # A socket's name is short, and pytest's directories are not.
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        place = Place(tmp_path, loop, Path(runtime))
        yield place
        place.close()


def ssh_children() -> list[int]:
    """Our own living children that run ssh."""
    found = []
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        try:
            pids = path.read_text().split()
        except OSError:
            continue  # a thread that ended
        for pid in pids:
            try:
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(") ")
            except OSError:
                continue
            if name.endswith("(ssh") and not rest.startswith("Z"):
                found.append(int(pid))
    return found


@needs_ssh
def test_runs_talks_and_sends_over_one_login(place: Place) -> None:
    server = place.sshd()
    connection = place.connect(place.node(server.port))
    assert connection.run("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
    assert connection.run("exit 255")[0] == 255  # ssh's own status for a lost connection, here a command's
    big = os.urandom(300_000)
    status, out, _ = connection.run("cat", stdin=big)
    assert status == 0 and out == big
    assert connection.run("true", stdin=big)[0] == 0  # it need not read what it is given

    channel = connection.open("while read line; do echo \"got $line\"; done; echo bye >&2; exit 7")
    channel.send(b"one\n")
    heard: list[bytes] = []
    until(lambda: heard.append(channel.recv(0.1) or b"") or b"got one" in b"".join(heard), "an answer")
    assert channel.recv(0.01) is None and channel.exit_status() is None
    channel.close()
    channel.close()

    connection.put(b"\0\n$(id)" * 1000, "a file")
    path = server.home / "a file"
    assert path.read_bytes() == b"\0\n$(id)" * 1000 and path.stat().st_mode & 0o777 == 0o600
    connection.put(b"x", "~/b", mode=0o640)
    assert (server.home / "b").stat().st_mode & 0o777 == 0o640
    with pytest.raises(ConnectError, match="did not arrive whole"):
        connection.put(b"x", "no/such/directory")
    assert server.met == 1  # everything went through one connection


@needs_ssh
def test_end_of_output_status_and_standard_error(place: Place) -> None:
    connection = place.connect(place.node(place.sshd().port))
    channel = connection.open("echo out; head -c 200000 /dev/zero | tr '\\0' x >&2; exit 9")
    heard = b""
    while (data := channel.recv(PATIENCE_S)) != b"":
        assert data is not None
        heard += data
    assert heard == b"out\n" and channel.exit_status() == 9
    assert set(channel.stderr_text()) == {"x"} and len(channel.stderr_text()) <= 64 << 10
    channel.close()


@needs_ssh
def test_nothing_is_left_after_closing(place: Place) -> None:
    connection = place.connect(place.node(place.sshd().port))
    assert ssh_children()
    running = connection.open("sleep 100")
    assert list(place.runtime.iterdir())
    connection.close()
    connection.close()
    assert running.recv(PATIENCE_S) == b"" and running.exit_status() is None  # the link died, it did not end
    running.close()
    assert not list(place.runtime.iterdir()) and not ssh_children()
    with pytest.raises(ConnectError):
        connection.run("true")


def lives(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return False


@needs_ssh
def test_a_console_that_is_killed_leaves_no_master(place: Place) -> None:
    server = place.sshd()
    script = (
        "import sys, time\nfrom console.core.launch.inventory import Node\nfrom console.remote.openssh import OpenSshTransport\n"
        f"c = OpenSshTransport(known_hosts_path={str(place.known_hosts)!r}, config_path={str(place.config)!r}).connect("
        f"Node(name='n', host='127.0.0.1', port={server.port}, user='ops', key={str(place.key_file)!r}), timeout_s=60.0)\n"
        "c.open('cat; echo gone')\nprint(c._master._process.pid, flush=True)\ntime.sleep(100)\n")
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert child.stdout is not None
    master = int(child.stdout.readline())
    until(lambda: "cat; echo gone" in server.commands, "the command")
    assert lives(master)
    child.kill()
    child.wait()
    child.stdout.close()
    until(lambda: not server.connections, "the end of the connection")
    until(lambda: not lives(master), "the end of the master")


@needs_ssh
def test_an_unknown_host_is_refused_with_its_fingerprint_and_can_be_accepted(place: Place) -> None:
    server = place.sshd(trusted=False)
    node = place.node(server.port)
    with pytest.raises(HostKeyError) as caught:
        place.connect(node)
    assert caught.value.fingerprint == known_hosts.fingerprint(server.host_key.public_data)
    assert caught.value.fingerprint in str(caught.value) and f"[127.0.0.1]:{server.port}" in str(caught.value)
    assert server.logins == [] and not place.known_hosts.exists()
    mine = f"ssh-ed25519 {base64.b64encode(server.host_key.public_data).decode()}"
    assert place.connect(node, accept_new=True).host_key == mine
    assert known_hosts.verify(known_hosts.read([place.known_hosts]), "127.0.0.1", server.port, "ssh-ed25519", server.host_key.public_data)
    assert place.connect(node).host_key == mine


@needs_ssh
@pytest.mark.parametrize("accept_new", [False, True])
def test_a_changed_host_key_is_refused_whatever_is_accepted(place: Place, accept_new: bool) -> None:
    server = place.sshd(trusted=False)
    other = asyncssh.generate_private_key("ssh-ed25519")
    known_hosts.add(place.known_hosts, "127.0.0.1", server.port, "ssh-ed25519", other.public_data)
    before = place.known_hosts.read_text()
    with pytest.raises(HostKeyError, match="HOST KEY CHANGED") as caught:
        place.connect(place.node(server.port), accept_new=accept_new)
    assert caught.value.fingerprint == known_hosts.fingerprint(server.host_key.public_data)
    assert server.logins == [] and place.known_hosts.read_text() == before


@needs_ssh
def test_what_goes_wrong_is_told_apart(place: Place) -> None:
    server = place.sshd()
    server.authorized.clear()
    with pytest.raises(LoginError, match="Permission denied"):
        place.connect(place.node(server.port))
    relay = Relay(server.port)
    try:
        relay.go_silent()
        with pytest.raises(ConnectError) as caught:
            place.connect(place.node(relay.port), timeout_s=1.0)
        assert not isinstance(caught.value, LoginError | HostKeyError)
    finally:
        relay.close()
    port = server.port
    server.stop()
    with pytest.raises(ConnectError, match=f"no connection to 127.0.0.1 port {port}"):
        place.connect(place.node(port))
    with pytest.raises(ConnectError, match="option of ssh"):
        place.connect(place.node(port, host="-oProxyCommand=touch /tmp/x"))
    place.config.write_text("Nonsense yes\n")
    with pytest.raises(ConnectError, match="SSH configuration"):
        place.connect(place.node(port))
    with pytest.raises(ConnectError, match="cannot be started"):
        place.connect(place.node(port), program="/nonexistent/ssh")
    assert not ssh_children() and not list(place.runtime.iterdir())


@pytest.mark.parametrize("text", ["$(touch owned)", "`touch owned`", "a;touch owned", "a|b", "a&b", "a'b", 'a"b', "a b", "a\nb", "a>b", "a{b", "a\\", "$IFS", "-oProxyCommand=x"])
@pytest.mark.parametrize("what", ["host", "user", "jump"])
def test_what_older_clients_would_give_to_a_shell_is_refused(place: Place, what: str, text: str) -> None:
    value = f"ops@{text}:22" if what == "jump" and not text.startswith("-") and not text.endswith("\\") else text
    with pytest.raises(ConnectError, match=r"shell would read|option of ssh"):
        place.connect(place.node(22, **{what: value}), program=str(place.path / "must not be started"))
    assert not list(place.runtime.iterdir())


def test_a_user_of_a_domain_is_one(place: Place) -> None:
    with pytest.raises(ConnectError, match="ssh cannot be started"):
        place.connect(place.node(22, user="LAB\\ops", host="[::1]", jump="LAB\\ops@[::1]:22,gate.example"), program=str(place.path / "not there"))


@needs_ssh
def test_a_command_that_takes_too_long_ends(place: Place) -> None:
    connection = place.connect(place.node(place.sshd().port))
    with pytest.raises(ConnectError, match="took too long"):
        connection.run("sleep 100", timeout_s=0.5)
    assert connection.run("echo on")[1] == b"on\n"


@needs_ssh
def test_a_lost_connection_is_an_error_and_makes_no_other(place: Place) -> None:
    server = place.sshd()
    connection = place.connect(place.node(server.port))
    channel = connection.open("sleep 100")
    until(lambda: "sleep 100" in server.commands, "the command")
    server.drop()
    assert channel.recv(PATIENCE_S) == b"" and channel.exit_status() is None
    channel.close()
    with pytest.raises(ConnectError):
        connection.run("true")
    assert server.met == 1


@needs_ssh
def test_through_a_jump_host_with_the_fleets_keys_on_the_way(place: Place) -> None:
    bastion, server = place.sshd("bastion", tunnels=True), place.sshd()
    connection = place.connect(place.node(server.port, jump=f"jumper@127.0.0.1:{bastion.port}"))
    assert connection.run("pwd")[1] == f"{server.home}\n".encode()
    assert bastion.tunnelled == [server.port] and set(bastion.logins) == {"jumper"}
    assert connection.host_key == f"ssh-ed25519 {base64.b64encode(server.host_key.public_data).decode()}"
    unknown = place.sshd("unknown", tunnels=True, trusted=False)
    with pytest.raises(HostKeyError) as caught:
        place.connect(place.node(server.port, jump=f"jumper@127.0.0.1:{unknown.port}"))
    assert caught.value.fingerprint == known_hosts.fingerprint(unknown.host_key.public_data)
    assert str(unknown.port) in str(caught.value)


@needs_ssh
def test_the_users_own_configuration_holds(place: Place) -> None:
    server = place.sshd()
    place.config.write_text(f"Host alias\n  HostName 127.0.0.1\n  Port {server.port}\n  User them\nMatch exec true\n  IdentityFile {place.key_file}\n")
    assert place.connect(place.node(0, host="alias", user="", key="")).run("echo yes")[1] == b"yes\n"
    assert set(server.logins) == {"them"}


def test_a_second_factor_is_asked_of_the_person(place: Place) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("needs OpenSSH's client")
    server = place.sshd(second_factor="123456")
    asked: list[Question] = []

    def answer(question: Question) -> str | None:
        asked.append(question)
        return "123456"

    with pytest.raises(LoginError):
        place.connect(place.node(server.port))
    connection = place.connect(place.node(server.port), prompt=answer)
    assert connection.run("echo in")[1] == b"in\n"
    assert asked and asked[0].node == "n1" and "Code" in asked[0].text and not asked[0].echo
    with pytest.raises(ConnectError):
        place.connect(place.node(server.port), prompt=lambda question: None)
    with pytest.raises(ConnectError):
        place.connect(place.node(server.port), prompt=lambda question: "654321")
    assert not [path for path in place.runtime.rglob("*") if "123456" in path.name or (path.is_file() and b"123456" in path.read_bytes())]


def test_paramiko_asks_for_a_second_factor_too(place: Place) -> None:
    server = place.sshd(second_factor="123456")

    def connect(prompt: object) -> None:
        transport = ParamikoTransport(known_hosts_path=str(place.known_hosts), config_path=str(place.config), system_known_hosts="/nonexistent", prompt=prompt)  # type: ignore[arg-type]
        connection = transport.connect(place.node(server.port, transport="paramiko"))
        assert connection.run("echo in")[1] == b"in\n"
        connection.close()

    asked: list[Question] = []
    connect(lambda question: asked.append(question) or "123456")
    assert "Code" in asked[0].text
    with pytest.raises(LoginError, match="takes no keys"):
        connect(None)
    with pytest.raises(LoginError, match="refused"):
        connect(lambda question: "nonsense")


def test_threads_that_asked_end(place: Place) -> None:
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("questions of") and not thread.daemon]


SAYS = {
    "ssh: Could not resolve hostname nope: Name or service not known": "the name nope cannot be resolved",
    "ssh: connect to host 10.0.0.1 port 22: Connection timed out": "no connection to 10.0.0.1 port 22",
    "ssh: connect to host 10.0.0.1 port 22: No route to host": "no connection to 10.0.0.1 port 22",
    "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed": "the jump host cannot reach the node",
    "ops@n1: Permission denied (publickey,gssapi-keyex).": "ops@n1 does not let us in",
    "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures": "the server does not let us in",
    "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.1 port 22": "ssh did not connect",
}


@pytest.mark.parametrize("text", SAYS)
def test_words_of_ssh_become_errors(text: str) -> None:
    error = openssh_says.error(f"debug1: Reading configuration data\r\n{text}\r\n", "n1")
    assert error.what == SAYS[text] and error.where and "debug1" not in str(error)
    # Who has been told that nobody is there does not wait on; silence is another thing.
    assert isinstance(error, UnreachableError) == any(words in text for words in ("not known", "No route", "refused"))

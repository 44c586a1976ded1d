"""The embedded SSH server against a real client (asyncssh's own) on loopback."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from console.lab import server
from tests.patience import PATIENCE_S

asyncssh = pytest.importorskip("asyncssh")



class Lab:
    def __init__(self, root: Path, presence: server.Presence) -> None:
        self.root, self.presence = root, presence
        self.port = 0

    def connect(self, key: str = "client"):
        return asyncssh.connect("127.0.1.1", self.port, username="anyone", client_keys=[str(self.root / key)],
                                known_hosts=None, config=None, agent_path=None)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("client", "host", "stranger"):
        server.make_key(tmp_path / name, name)
    presence = server.Presence()
    acceptor = await server.listen(server.NodeServer(
        name="node-1", address="127.0.1.1", home=home, confine=tmp_path,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "MARK": "seen"},
        host_key=tmp_path / "host", client_key=tmp_path / "client.pub"), presence)
    lab = Lab(tmp_path, presence)
    lab.port = acceptor.get_port()
    yield lab
    acceptor.close()
    await acceptor.wait_closed()


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_exec_gives_output_errors_status_and_only_the_nodes_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "leaked")
    async with lab.connect() as connection:
        done = await connection.run('pwd; echo "$MARK"; echo oops >&2; env | grep -c SECRET; exit 7')
    assert done.stdout.split() == [str(lab.root / "home"), "seen", "0"]
    assert done.stderr == "oops\n"
    assert done.exit_status == 7


async def test_death_by_signal_is_told_as_a_signal(lab: Lab) -> None:
    async with lab.connect() as connection:
        done = await connection.run("kill -TERM $$")
    assert done.exit_signal is not None
    assert done.exit_signal[0] == "TERM"


async def test_big_streams_pass_whole_both_ways_and_side_by_side(lab: Lab) -> None:
    blob = os.urandom(3 << 20)
    async with lab.connect() as connection:
        echoed, counted, quick = await asyncio.gather(
            connection.run("cat", input=blob, encoding=None),
            connection.run("head -c 5000000 /dev/zero; head -c 1000000 /dev/zero >&2", encoding=None),
            connection.run("echo quick"))
    assert echoed.stdout == blob
    assert (len(counted.stdout), len(counted.stderr)) == (5_000_000, 1_000_000)
    assert quick.stdout == "quick\n"


async def test_a_command_that_cannot_read_does_not_hurt_its_neighbours(lab: Lab) -> None:
    async with lab.connect() as connection:
        deaf = await connection.run("exec <&-; exit 3", input=b"x" * (1 << 20), encoding=None)
        after = await connection.run("echo still here")
    assert deaf.exit_status == 3
    assert after.stdout == "still here\n"


async def test_a_grandchild_holding_the_pipe_does_not_hold_the_channel(lab: Lab) -> None:
    async with lab.connect() as connection:
        done = await asyncio.wait_for(connection.run("setsid sleep 600 & echo $!"), PATIENCE_S)
        assert done.exit_status == 0
        await connection.run(f"kill {done.stdout.strip()}")


async def test_sftp_starts_at_home_and_stays_inside(lab: Lab) -> None:
    async with lab.connect() as connection, connection.start_sftp_client() as sftp:
        await sftp.makedirs(".rankdeck/agent")
        async with sftp.open(".rankdeck/agent/a.zip", "wb") as file:
            await file.write(b"z" * 100_000)
        await sftp.posix_rename(".rankdeck/agent/a.zip", str(lab.root / "home/b.zip"))
        assert await sftp.realpath(".") == str(lab.root / "home")
        assert not await sftp.exists("/etc/passwd")
        with pytest.raises(asyncssh.SFTPPermissionDenied):
            await sftp.open("../../../../../etc/passwd", "rb")
    assert (lab.root / "home/b.zip").stat().st_size == 100_000


async def test_a_vanished_client_takes_its_command_along_but_not_a_session_of_its_own(lab: Lab) -> None:
    pids = lab.root / "home"
    connection = await lab.connect()
    await connection.create_process(
        "setsid sh -c 'echo $$ > resident; exec sleep 60' & sh -c 'echo $$ > child; exec sleep 60' & echo $$ > parent; wait")
    await until(lambda: all((pids / name).is_file() and (pids / name).read_text().strip()
                            for name in ("resident", "child", "parent")), "the processes did not start")
    found = {name: int((pids / name).read_text()) for name in ("resident", "child", "parent")}
    assert lab.presence.connections == 1
    connection.abort()
    try:
        await until(lambda: not alive(found["child"]) and not alive(found["parent"]), "the command outlived its client")
        assert alive(found["resident"])
        await until(lambda: lab.presence.connections == 0, "the connection was not counted out")
    finally:
        os.kill(found["resident"], 9)


async def test_a_signal_from_the_client_reaches_the_command(lab: Lab) -> None:
    async with lab.connect() as connection:
        process = await connection.create_process("trap 'echo told; exit 4' INT; echo ready; while :; do sleep 0.05; done")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("INT")
        done = await asyncio.wait_for(process.wait(), PATIENCE_S)
    assert (done.stdout, done.exit_status) == ("told\n", 4)


async def test_another_key_is_refused(lab: Lab) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        async with lab.connect("stranger"):
            pass
    assert lab.presence.connections == 0


async def test_no_forwarding_unless_the_node_is_a_jump_host(lab: Lab) -> None:
    async with lab.connect() as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.1.1", lab.port)

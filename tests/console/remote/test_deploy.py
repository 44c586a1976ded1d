"""The agent's archive and the commands that bring it to a node, run by a real shell in a home of the test's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from console.core.errors import ConnectError
from console.core.launch.inventory import Node
from console.remote import deploy


class LocalConnection:
    """A connection to this machine with another home. ``sftp``: whether files can be put."""

    def __init__(self, home: Path, sftp: bool = True) -> None:
        self.home, self.sftp = home, sftp
        self.commands: list[str] = []

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        self.commands.append(command)
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        done = subprocess.run(["/bin/sh", "-c", command], input=stdin, capture_output=True, cwd=self.home, env=env, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def put(self, data: bytes, path: str, *, mode: int = 0o600) -> None:
        if not self.sftp:
            raise ConnectError("no SFTP here")
        (self.home / path.replace("~/", "", 1)).write_bytes(data)

    def open(self, command: str) -> object:
        raise NotImplementedError

    def close(self) -> None:
        pass


def make_node(**more: str) -> Node:
    return Node(**{"name": "n1", "host": "h", "python": sys.executable, **more})  # type: ignore[arg-type]


def test_the_archive_is_the_same_every_time_and_holds_what_a_node_needs() -> None:
    first = deploy.build_archive()
    deploy.build_archive.cache_clear()
    assert deploy.build_archive() == first
    names = zipfile.ZipFile(io.BytesIO(first[1])).namelist()
    assert names == sorted(names)
    assert {"__main__.py", "agent/__main__.py", "agent/wire.py", "agent/shim.py", "trainer/spec/manifest.py"} <= set(names)
    assert any(name.startswith("agent/catalogue/") and name.endswith(".json") for name in names)
    assert [name for name in names if name.startswith("trainer/")] == ["trainer/__init__.py", "trainer/spec/__init__.py", "trainer/spec/manifest.py"]
    assert not [name for name in names if name.startswith("console") or "__pycache__" in name or "test" in name]


def test_another_byte_makes_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = deploy.build_archive()
    contents = deploy._contents()
    monkeypatch.setattr(deploy, "_contents", lambda: {**contents, "agent/wire.py": contents["agent/wire.py"] + b"#"})
    deploy.build_archive.cache_clear()
    try:
        assert deploy.build_archive()[0] != before
    finally:
        deploy.build_archive.cache_clear()


@pytest.mark.parametrize("sftp", [True, False])
@pytest.mark.parametrize("directory", ["~/.rankdeck/agent", "~/a place/with 'quotes'"])
def test_installs_once_and_then_costs_one_look(tmp_path: Path, sftp: bool, directory: str) -> None:
    connection, node = LocalConnection(tmp_path, sftp), make_node(agent_dir=directory)
    content_hash, _ = deploy.build_archive()
    command = deploy.ensure_agent(connection, node)  # type: ignore[arg-type]
    place = tmp_path / directory[2:]
    assert [path.name for path in place.iterdir()] == [content_hash]  # and nothing is left of the upload
    assert (place / content_hash / "agent" / "wire.py").exists()
    assert place.stat().st_mode & 0o077 == 0
    connection.commands.clear()
    assert deploy.ensure_agent(connection, node) == command  # type: ignore[arg-type]
    assert len(connection.commands) == 1


def test_attaching_says_by_its_status_that_the_agent_is_missing(tmp_path: Path) -> None:
    connection, node = LocalConnection(tmp_path), make_node()
    assert connection.run(deploy.attach_command(node))[0] == deploy.AGENT_MISSING_STATUS
    deploy.install_agent(connection, node)  # type: ignore[arg-type]
    # Started with an impossible state directory it runs, complains and leaves: it is the agent that answers.
    status, _, err = connection.run(deploy.attach_command(make_node(state_dir="/proc/none")))
    assert status == 2 and b"rankdeck agent" in err


def test_a_login_shell_of_another_kind_gets_plain_sh(tmp_path: Path) -> None:
    command = deploy.attach_command(make_node(state_dir="~/state dir"))
    assert command.startswith("exec /bin/sh -c '")
    assert '"$HOME"' in command


def test_failures_name_the_step_the_node_and_the_output(tmp_path: Path) -> None:
    connection = LocalConnection(tmp_path)
    with pytest.raises(ConnectError, match="installing the agent failed") as caught:
        deploy.install_agent(connection, make_node(python="no-such-python"))  # type: ignore[arg-type]
    assert "not found" in caught.value.got and "`python`" in caught.value.fix
    assert not list((tmp_path / ".rankdeck" / "agent").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectError, match="making the agent's directory failed"):
        deploy.install_agent(connection, make_node(agent_dir="~/file/agent"))  # type: ignore[arg-type]

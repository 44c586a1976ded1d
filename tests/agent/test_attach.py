"""attach, as SSH runs it: starting, bridging, upgrading and not downgrading, and being killed in the middle of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from tests.agent.conftest import ROOT, Console, Node, until

HELLO = {"t": "hello", "proto": 1, "min_proto": 1, "operator": "ann", "console": "test", "after": None}


class Attached:
    """An attach process with a console's voice on its stdin."""

    def __init__(self, node: Node, root: str = ROOT, **options: Any) -> None:
        options = dict({"npu_s": 3600, "host_s": 3600}, **options)
        # One socket for both pipes, so that the test's Console can be used as it is.
        self.link, theirs = socket.socketpair()
        self.child = node.spawn(node.command("attach", root, **options), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
        theirs.close()

    def meet(self, **how: Any) -> Console:
        return Console(self.link, **how)

    def end(self) -> int:
        """Close its standard input; its exit status."""
        self.link.close()
        return self.child.wait()


def revised(node: Node, revision: int) -> str:
    """A copy of the agent under another revision; its root."""
    root = node.base / ("agent-%d" % revision)
    if not root.exists():
        shutil.copytree(ROOT + "/agent", str(root / "agent"), ignore=shutil.ignore_patterns("__pycache__"))
        if Path(ROOT, "trainer", "spec", "manifest.py").exists():
            (root / "trainer" / "spec").mkdir(parents=True)
            for name in ("trainer/__init__.py", "trainer/spec/__init__.py", "trainer/spec/manifest.py"):
                shutil.copy(ROOT + "/" + name, str(root / name))
        init = root / "agent" / "__init__.py"
        init.write_text(re.sub(r"REVISION = \d+", "REVISION = %d" % revision, init.read_text()))
    return str(root)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_attach_starts_a_resident_and_leaves_it_there(node: Node) -> None:
    attached = Attached(node, hash="abc123")
    hello = attached.meet().hello
    assert hello["agent"] == "abc123"
    assert attached.end() == 0
    assert alive(hello["pid"]) and os.getsid(hello["pid"]) != os.getsid(0)
    again = Attached(node)
    assert again.meet().hello["pid"] == hello["pid"]
    again.end()


def test_the_resident_keeps_no_pipe_of_the_one_who_started_it(node: Node) -> None:
    attached = Attached(node)
    pid = attached.meet().hello["pid"]
    links = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in ("0", "1", "2")]
    assert links == ["/dev/null", str(node.state / "resident.log"), str(node.state / "resident.log")]
    attached.end()
    assert attached.child.stderr is not None and attached.child.stderr.read() == b""


def test_bytes_pass_unchanged_and_in_full(node: Node) -> None:
    log = node.work / "big.log"
    text = "".join("%06d é\x1b[31m %s\n" % (n, "z" * 90) for n in range(20000))
    log.write_text(text, encoding="utf-8")
    attached = Attached(node)
    console = attached.meet(operator="zoë")
    stream = console.do("tail", path=str(log), lines=100000)["stream"]
    console.send(t="credit", stream=stream, n=20000)

    def lines() -> list:
        console.pull(0.05)
        return [line for m in console.got if m["t"] == "lines" for line in m["lines"]]

    until(lambda: len(lines()) >= 20000)
    assert "\n".join(lines()) + "\n" == text
    assert console.do("stats")["who"][0]["operator"] == "zoë"
    attached.end()


def test_a_slow_reader_does_not_make_attach_deaf_to_the_end_of_its_input(node: Node) -> None:
    hear, tell = os.pipe()
    speak, hush = os.pipe()
    child = node.spawn(node.command("attach", npu_s=0.002, host_s=3600), stdin=speak, stdout=tell)
    os.close(speak)
    os.close(tell)
    os.write(hush, wire.encode(HELLO) + wire.encode({"t": "credit", "stream": "records", "n": 1 << 30}))
    first = os.read(hear, 100)
    assert first.startswith(b'{"t":"hello"')
    until(lambda: _unread(hear) > 50000, "a full pipe")  # nobody reads on
    os.close(hush)
    assert child.wait() == 0
    os.close(hear)


def _unread(fd: int) -> int:
    import array
    import fcntl
    import termios

    room = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, room)
    return room[0]


def test_it_says_so_when_the_resident_goes_away_and_the_next_one_starts_another(node: Node) -> None:
    attached = Attached(node)
    pid = attached.meet().hello["pid"]
    os.kill(pid, signal.SIGKILL)
    assert attached.child.wait() == 3
    assert attached.child.stderr is not None
    error = attached.child.stderr.read().decode()
    assert error.count("\n") == 1 and "went away" in error
    again = Attached(node)
    assert again.meet().hello["pid"] != pid
    again.end()


def test_of_many_that_come_at_once_all_talk_to_one_resident(node: Node) -> None:
    attached = [Attached(node) for _ in range(4)]
    assert len({one.meet().hello["pid"] for one in attached}) == 1
    assert [one.end() for one in attached] == [0] * 4


def test_a_higher_revision_takes_over_and_the_job_goes_on(node: Node) -> None:
    old = Attached(node)
    console = old.meet()
    folder = node.launch(console, "A", "while [ ! -e go ]; do sleep 0.05; done; exit 5\n")
    console.record("job", state="running")
    new = Attached(node, revised(node, 7), hash="new")
    fresh = new.meet()
    assert (fresh.hello["revision"], fresh.hello["agent"]) == (7, "new")
    assert fresh.hello["spool_id"] == console.hello["spool_id"]
    console.wait(lambda m: m["t"] == "bye" and m["why"] == "upgrading")
    until(lambda: not alive(console.hello["pid"]), "the old one's end")
    assert old.child.wait() == 3
    Path(folder, "go").write_text("")
    assert fresh.record("exit", scope="command")["code"] == 5
    states = [(m["data"]["state"], m["data"]["revision"]) for m in fresh.records("resident")]
    assert [state for state, _ in states] == ["started", "upgrading", "started"] and states[2][1] == 7
    assert fresh.record("audit", op="retire")["ok"] is True
    assert new.end() == 0


@pytest.mark.parametrize("revision", [0, None])
def test_an_older_or_equal_agent_uses_the_one_that_is_there(node: Node, revision: Any) -> None:
    first = Attached(node, hash="first")
    pid = first.meet().hello["pid"]
    second = Attached(node, ROOT if revision is None else revised(node, revision), hash="second")
    console = second.meet()
    assert (console.hello["pid"], console.hello["agent"]) == (pid, "first")
    console.settle()
    assert console.records("audit") == [], "nobody was asked to leave"
    assert second.end() == 0 and first.end() == 0


@pytest.mark.parametrize("victim", ["resident", "attach", "both"])
def test_killed_while_being_upgraded_nothing_is_lost_or_doubled(node: Node, victim: str) -> None:
    """At several moments of the take-over; the records before, in between and after are there once each."""
    seen: dict = {}
    spool_id = None
    attached = Attached(node, npu_s=0.02)
    console = attached.meet()
    spool_id = console.hello["spool_id"]
    folder = node.launch(console, "A", "while [ ! -e go ]; do sleep 0.05; done\n")
    for revision, delay_s in ((2, 0.0), (3, 0.15), (4, 0.4)):
        pid = console.hello["pid"]
        taking_over = Attached(node, revised(node, revision), npu_s=0.02)
        threading.Event().wait(delay_s)
        if victim != "attach":
            _kill(pid)
        if victim != "resident":
            taking_over.child.kill()
        while console.pull(0.05) or not console.closed:
            if victim == "attach" and len(console.records()) > len(seen) + 50:
                break  # nobody took over, and the old one serves on
        _collect(console, seen)
        attached.link.close()
        taking_over.link.close()
        attached = Attached(node, revised(node, revision), npu_s=0.02)
        console = attached.meet(after={"spool_id": spool_id, "seq": max(seen)})
        assert (console.hello["revision"], console.hello["spool_id"]) == (revision, spool_id)
    Path(folder, "go").write_text("")
    console.record("exit", scope="command")
    _collect(console, seen)
    fresh = node.console()
    fresh.settle()
    kept = {m["seq"]: m for m in fresh.records()}
    assert {seq: kept[seq] for seq in seen} == seen and sorted(seen) == [seq for seq in sorted(kept) if seq <= max(seen)]
    assert len(fresh.records("exit")) == 1


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _collect(console: Console, seen: dict) -> None:
    for message in console.records():
        assert message["seq"] not in seen
        seen[message["seq"]] = message
    console.got.clear()


def test_a_state_directory_that_cannot_be_used_is_2_with_one_line(node: Node) -> None:
    node.state.write_text("a file")
    attached = Attached(node)
    assert attached.child.wait() == 2
    assert attached.child.stderr is not None
    error = attached.child.stderr.read().decode()
    assert error.count("\n") == 1 and str(node.state) in error and "--state" in error


def test_a_state_directory_of_somebody_elses_is_refused(node: Node) -> None:
    if os.getuid():
        pytest.skip("only root can make one")
    node.state.mkdir()
    os.chown(str(node.state), 12345, -1)
    attached = Attached(node)
    assert attached.child.wait() == 2
    assert attached.child.stderr is not None and b"12345" in attached.child.stderr.read()


def test_no_resident_within_the_patience_is_3_with_one_line(node: Node) -> None:
    node.state.mkdir(mode=0o700)
    listener = node.home.listen()  # takes connections and says nothing
    from agent.attach import NoResident, reach

    with pytest.raises(NoResident) as error:
        reach(node.home, [], 0.3)
    listener.close()
    assert str(node.state) in str(error.value)


@pytest.mark.parametrize("words", [[], ["dance"], ["attach", "--state"], ["attach", "--colour", "red"], ["install", "x"]])
def test_wrong_usage_is_2(node: Node, words: list) -> None:
    command = [*node.command("attach")[:4], *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2 and done.stderr.startswith(b"usage:")


def test_the_state_directory_comes_from_the_environment(node: Node) -> None:
    env = dict(os.environ, RANKDECK_STATE=str(node.state), RANKDECK_IDLE_S="1")
    done = subprocess.run(node.command("attach")[:5], input=json.dumps(HELLO).encode() + b"\n", stdout=subprocess.PIPE, env=env, check=False)
    assert done.returncode == 0 and (node.state / "spool.db").exists()

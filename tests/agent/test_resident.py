"""The resident over its socket: replay, credit, several clients, gaps, attempts from launch to end, SIGKILL at any point.

Long because every case needs the same running resident and the helpers above it; each is short by itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from tests.agent.conftest import LINE, ROOT, Console, Node, rank_script, until

# Writes numbered lines as a trainer would, in pieces, until it has written them all or is told that it is enough.
WRITER = """
import os, sys, time
for n in range(%d):
    if os.path.exists(os.environ["RANKDECK_DIR"] + "/enough"): break
    line = %r %% (n, n, n * 8, 1.0 / (n + 1))
    half = len(line) // 2
    sys.stdout.write(line[:half]); sys.stdout.flush()
    time.sleep(0.002)
    sys.stdout.write(line[half:] + "\\n"); sys.stdout.flush()
"""


def writer(count: int) -> str:
    return "%s -c %s" % (sys.executable, _quoted(WRITER % (count, LINE)))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def kill(child: Any) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()


def expected_places(path: str) -> set:
    """(file, offset) of every iteration line that is in a log."""
    places, offset = set(), 0
    with open(path, "rb") as file:
        for line in file:
            if b" iteration " in line:
                places.add((path, offset))
            offset += len(line)
    return places


def test_hello_tells_who_is_there_before_anything_else(node: Node) -> None:
    child = node.start()
    console = node.console()
    hello = console.got[0]
    assert hello["t"] == "hello" and hello["pid"] == child.pid
    assert set(hello) == {"t", "proto", "min_proto", "agent", "revision", "node_time", "boot_id", "spool_id", "oldest_seq", "newest_seq", "pid", "user", "hostname"}
    assert (hello["proto"], hello["oldest_seq"]) == (wire.PROTOCOL, 1)


def test_nothing_follows_the_hello_until_the_other_has_said_its_own(node: Node) -> None:
    node.start()
    console = node.console(meet=False)
    console.wait(lambda m: m["t"] == "hello")
    console.send(t="credit", stream="records", n=5)
    console.wait(lambda m: m["t"] == "bye")
    assert [m["t"] for m in console.got] == ["hello", "bye"]


@pytest.mark.parametrize(("proto", "least", "fits"), [(1, 1, True), (2, 1, True), (7, 2, False), (0, 0, False), ("x", 1, False)])
def test_protocols_are_agreed_upon(node: Node, proto: Any, least: int, fits: bool) -> None:
    node.start()
    console = node.console(meet=False)
    console.send(t="hello", proto=proto, min_proto=least, operator="x", console="x", after=None, something_new=1)
    console.send(t="ping", id=1)
    console.wait(lambda m: m["t"] == ("pong" if fits else "bye"))


def test_records_flow_after_the_first_credit_and_only_as_many(node: Node) -> None:
    node.start(npu_s=0.05)
    console = node.console(credit=0)
    for _ in range(5):
        console.pull(0.1)
    assert console.records() == [] and not [m for m in console.got if m["t"] == "waiting"]
    console.send(t="credit", stream="records", n=3)
    console.wait(lambda m: m["t"] == "waiting")
    assert [m["seq"] for m in console.records()] == [1, 2, 3]
    waiting = console.wait(lambda m: m["t"] == "waiting")
    assert waiting["stream"] == "records" and waiting["n"] >= 1
    console.send(t="credit", stream="records", n=2)
    console.wait(lambda m: m["t"] == "rec" and m["seq"] == 5)
    console.ask("stats")
    assert [m["seq"] for m in console.records()] == [1, 2, 3, 4, 5]


def test_what_waits_is_told_at_most_once_a_second(node: Node) -> None:
    node.start(npu_s=0.01)
    console = node.console(credit=1)
    began = time.monotonic()
    first = console.wait(lambda m: m["t"] == "waiting")
    last = console.wait(lambda m: m["t"] == "waiting" and m["n"] > first["n"] + 50)
    told = [m for m in console.got if m["t"] == "waiting" and m["n"] <= last["n"]]
    # A standstill only makes the time longer that is measured here.
    assert len(told) <= 2 + time.monotonic() - began, "many records came in between, few of them were worth a message"


def test_a_returning_console_gets_what_it_has_not_seen(node: Node) -> None:
    child = node.start(npu_s=0.05)
    console = node.console()
    console.wait(lambda m: m["t"] == "rec" and m["seq"] >= 10)
    spool_id, seen = console.hello["spool_id"], max(m["seq"] for m in console.records())
    console.close()
    kill(child)
    node.start(npu_s=0.05)
    again = node.console(after={"spool_id": spool_id, "seq": seen})
    again.wait(lambda m: m["t"] == "rec" and m["seq"] > seen + 5)
    seqs = [m["seq"] for m in again.records()]
    assert seqs == list(range(seen + 1, seen + 1 + len(seqs)))
    stranger = node.console(after={"spool_id": "another", "seq": seen})
    stranger.wait(lambda m: m["t"] == "rec")
    assert stranger.records()[0]["seq"] == 1


def test_every_record_of_a_life_has_its_shape(node: Node) -> None:
    node.start(npu_s=0.2, host_s=0.2)
    console = node.console()
    node.launch(console, "A", rank_script(writer(5)))
    console.record("exit", scope="command")
    console.record("rank_map")
    console.record("iteration", iteration=4)
    console.ask("lock", job="job", attempt="B", epoch=0, devices=[0], ttl_s=1)
    console.wait(lambda m: m["t"] == "rec" and m["kind"] == "audit" and m["data"]["ok"] is False)
    assert {"resident", "host", "sample", "job", "exit", "iteration", "audit", "rank_map"} <= {m["kind"] for m in console.records()}
    for message in console.records():
        assert wire.problems_in(message["kind"], message["data"]) == [], message
        assert set(message) == {"t", "seq", "kind", "time", "mono", "key", "v", "data"}


def test_an_attempt_from_launch_to_its_end(node: Node) -> None:
    node.start()
    console = node.console(operator="ann")
    assert node.prepare(console, "A", rank_script(writer(30), ranks=2), devices=[0, 1])["ok"]
    assert console.record("job", state="prepared")["operator"] == "ann"
    console.do("commit", attempt="A", epoch=1)
    console.do("commit", attempt="A", epoch=1, hold_s=60.0)  # four times a minute, by a console and by nobody: no line of the audit's
    ended = console.record("exit", scope="command")
    assert (ended["code"], ended["asked"], ended["round"]) == (0, False, None)
    for local_rank in (0, 1):
        assert console.record("exit", scope="rank", local_rank=local_rank)["rank"] == local_rank
    states = [m["data"]["state"] for m in console.records("job")]
    assert states == ["prepared", "committed", "running", "exited"]
    assert console.record("job", state="exited")["why"] == "exit status 0"
    lines = [m["data"] for m in console.records("iteration")]
    until(lambda: console.pull(0.05) is not None and len(console.records("iteration")) == 60)
    lines = [m["data"] for m in console.records("iteration")]
    assert {(d["rank"], d["local_rank"], d["round"], d["attempt"], d["job"]) for d in lines} == {(0, 0, 0, "A", "job"), (1, 1, 0, "A", "job")}
    until(lambda: not list(Path(node.home.locks).glob("device-*.json")), "the locks' release")
    audits = [(m["data"]["op"], m["data"]["operator"], m["data"]["peer_uid"], m["data"]["ok"]) for m in console.records("audit")]
    assert audits == [(op, "ann", os.getuid(), True) for op in ("lock", "prepare", "commit")]
    prepared = next(m["data"] for m in console.records("audit") if m["data"]["op"] == "prepare")
    assert prepared["args"]["script"] == rank_script(writer(30), ranks=2) and prepared["args"]["files"] == {"job.json": 2}


def test_the_rank_map_says_who_ran_as_whom_and_is_kept_with_the_round(node: Node) -> None:
    node.start()
    console = node.console()
    folder = node.launch(console, "A", rank_script("sh -c 'sleep 600 & while [ ! -e go ]; do sleep 0.05; done; kill $!'", ranks=2))
    data = console.record("rank_map", complete=True)
    assert data["ranks"]["rank"] == [0, 1] and data["ranks"]["local_rank"] == [0, 1] and data["ranks"]["group_rank"] == [0, 0]
    assert (data["round"], data["world_size"], data["restart_count"]) == (0, 2, 0)
    Path(folder, "go").write_text("")
    console.record("exit", scope="command")
    pids = [json.loads(Path(folder, "round-00", "exit-local_rank-%d.json" % n).read_text())["pid"] for n in (0, 1)]
    assert data["ranks"]["pid"] == pids
    assert json.loads(Path(folder, "round-00", "rank_map.json").read_text()) == data
    assert [m["key"] for m in console.records("rank_map")][-1] == "rank_map:A:0"


def test_ranks_that_a_script_starts_itself_are_mapped_too(node: Node) -> None:
    node.start()
    console = node.console()
    folder = node.launch(console, "A", "export RANKDECK_ROUND=0 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2\n"
                                       "for k in 0 1; do RANK=$k LOCAL_RANK=$k sleep 60 & done\nwait\n")
    data = console.record("rank_map", complete=True)
    assert data["ranks"]["rank"] == [0, 1] and data["world_size"] == 2
    until(Path(folder, "round-00", "rank_map.json").exists)
    console.do("stop", attempt="A", grace_s=5.0, why="")
    console.record("exit", scope="command")


def test_a_worker_that_dies_before_it_is_seen_is_mapped_from_its_exit(node: Node) -> None:
    node.start()
    console = node.console()
    folder = node.launch(console, "A", rank_script("sh -c 'kill -9 $$'", ranks=2))
    data = console.record("rank_map", complete=True)
    assert data["ranks"]["rank"] == [0, 1] and all(data["ranks"]["pid"])
    ended = console.record("exit", scope="rank", local_rank=1)
    assert (ended["rank"], ended["signal"], ended["code"]) == (1, 9, None)
    until(Path(folder, "round-00", "rank_map.json").exists)


def test_two_clients_each_get_everything_and_their_own_answers(node: Node) -> None:
    node.start(npu_s=0.05)
    first, second = node.console(operator="ann"), node.console(operator="bob")
    assert first.do("stats")["clients"] == 2
    second.do("facts")
    for console in (first, second):
        console.wait(lambda m: m["t"] == "rec" and m["seq"] >= 20)
        seqs = [m["seq"] for m in console.records()]
        assert seqs == list(range(1, len(seqs) + 1))
    assert [m["id"] for m in second.got if m["t"] == "res"] == [1]
    assert {who["operator"] for who in first.do("stats")["who"]} == {"ann", "bob"}


def test_a_client_that_does_not_read_delays_nobody_and_fills_no_memory(node: Node) -> None:
    node.start(npu_s=0.002)
    deaf = node.console()
    big = node.work / "big.log"
    big.write_text("".join("%06d %s\n" % (n, "x" * 200) for n in range(30000)))
    stream = deaf.do("tail", path=str(big), lines=30000)["stream"]
    deaf.send(t="credit", stream=stream, n=1 << 30)
    before = None
    quick = node.console()
    for number in range(40):
        quick.send(t="ping", id=number)
        quick.wait(lambda m, number=number: m["t"] == "pong" and m["id"] == number)
        quick.wait(lambda m, number=number: m["t"] == "rec" and m["seq"] >= number * 10)
        stats = quick.do("stats")
        if number == 5:
            before = stats["rss_bytes"]
    out = {who["operator"] + str(place): who["out_bytes"] for place, who in enumerate(stats["who"])}
    assert out["tester0"] > 0, "the deaf client was not deaf"
    assert all(size < 1 << 20 for size in out.values())
    assert before is not None and stats["rss_bytes"] < before + (16 << 20)
    # It begins to read again, and nothing is missing.
    lines: list = []

    def done() -> bool:
        deaf.pull(0.05)
        lines.extend(line for m in deaf.got if m["t"] == "lines" for line in m["lines"])
        seqs.extend(m["seq"] for m in deaf.records())
        deaf.got.clear()
        return len(lines) >= 30000 and len(seqs) >= 400

    seqs: list = []
    until(done, "the deaf client's lines", 60.0)
    assert lines == big.read_text().splitlines()
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_client_that_asks_and_does_not_read_is_not_asked_on(node: Node) -> None:
    node.start()
    (node.work / "f").write_text("y" * (1 << 17))
    deaf = node.console()
    deaf.link.setblocking(False)
    request = wire.encode({"t": "req", "id": 1, "op": "read", "args": {"path": str(node.work / "f"), "offset": 0, "length": 1 << 17}})
    asked = 0
    try:
        while asked < 20000:
            deaf.link.sendall(request)
            asked += 1
    except BlockingIOError:
        pass
    quick = node.console()
    sizes = [max(who["out_bytes"] for who in quick.do("stats")["who"]) for _ in range(20)]
    assert max(sizes) < 2 << 20


@pytest.mark.parametrize("rubbish", [b"\x00\xff\n", b"[1]\n", b'{"no": "t"}\n', b"x" * (wire.MAX_LINE_BYTES + 10)], ids=["bytes", "list", "no-t", "long"])
def test_rubbish_ends_that_connection_alone(node: Node, rubbish: bytes) -> None:
    node.start()
    good, bad = node.console(), node.console()
    try:
        bad.link.sendall(rubbish)
    except OSError:
        pass
    until(lambda: bad.pull(0.05) is not None and bad.closed)
    assert good.do("stats")["clients"] == 1


@pytest.mark.parametrize(("op", "args"), [("fly", {}), ("read", {"path": "/x"}), ("lock", {"job": "j"}), ("tail", {"path": 3, "lines": 1}), ("stop", None),
                                          ("tail", {"path": "/proc/self/nothing", "lines": 1}), ("read", {"path": "relative", "offset": 0, "length": 1}),
                                          ("files", {"attempt": "nobody"}), ("commit", {"attempt": "nobody", "epoch": 1}), ("retire", {"revision": 0})])
def test_what_cannot_be_done_is_answered_in_four_parts(node: Node, op: str, args: Any) -> None:
    node.start()
    console = node.console()
    console.send(t="req", id="q", op=op, args=args)
    answer = console.wait(lambda m: m["t"] == "res" and m["id"] == "q")
    assert answer["ok"] is False and set(answer["error"]) == {"what", "where", "got", "expected", "next"}
    assert answer["error"]["what"] and answer["error"]["next"]
    if wire.OPS.get(op, ("read",))[0] == "write":
        assert console.record("audit", op=op)["ok"] is False


def test_what_the_size_cap_evicts_is_told_as_a_gap(node: Node) -> None:
    node.start(npu_s=0.002, cap_bytes=1 << 17)
    watcher = node.console()
    watcher.record("gap", kind="sample")
    watcher.close()
    late = node.console()
    late.settle()
    gap = late.record("gap", kind="sample")
    seqs = [m["seq"] for m in late.records()]
    samples = [m["seq"] for m in late.records("sample")]
    assert seqs == sorted(set(seqs))
    # The sample between what went and what is here is the first one that is here.
    assert gap["count"] > 100 and gap["from_seq"] <= 4 and gap["to_seq"] < samples[0]


def test_it_leaves_by_itself_when_nobody_needs_it(node: Node) -> None:
    first = node.start()
    console = node.console()
    folder = node.launch(console, "A", "while [ ! -e go ]; do sleep 0.05; done\n")
    console.close()
    kill(first)
    child = node.start(idle_s=1)  # the job is there already: it cannot leave before anything is
    with pytest.raises(AssertionError):
        until(lambda: child.poll() is not None, "its end", 2.5)
    Path(folder, "go").write_text("")
    assert until(lambda: child.poll() is not None, "its end") and child.returncode == 0
    assert not (node.state / "sock").exists()
    node.start()
    again = node.console()
    again.record("exit", scope="command")
    assert [m["data"]["state"] for m in again.records("resident")][:3] == ["started", "started", "stopping"]


def test_sigterm_is_a_quiet_end_and_the_job_goes_on(node: Node) -> None:
    child = node.start()
    console = node.console()
    folder = node.launch(console, "A", "while [ ! -e go ]; do sleep 0.05; done; exit 4\n")
    child.terminate()
    assert child.wait() == 0
    console.wait(lambda m: m["t"] == "bye")
    Path(folder, "go").write_text("")
    until(Path(folder, "exit-command.json").exists)
    node.start()
    assert node.console().record("exit", scope="command")["code"] == 4


def test_prepared_without_commit_expires_by_itself_and_says_so(node: Node) -> None:
    child = node.start()
    console = node.console()
    assert node.prepare(console, "A", ttl_s=1.0, devices=[0])["ok"]
    assert node.prepare(console, "B", epoch=2, ttl_s=2.5, devices=[1])["ok"]
    assert console.record("job", attempt="A", state="expired")["why"]
    kill(child)
    # As one that is killed in the middle of a pointer leaves it; whether this one was is luck.
    Path(node.home.attempts, ".A.json.0badcafe").write_text("{")
    node.start()
    again = node.console()
    again.record("job", attempt="B", state="expired")
    until(lambda: not os.listdir(node.home.attempts), "nothing known any more")
    assert os.listdir(str(node.work)) == [] and not list(Path(node.home.locks).glob("device-*.json"))
    assert not again.ask("commit", attempt="B", epoch=2)["ok"]


def test_stop_over_the_wire_escalates_even_when_the_resident_dies_in_between(node: Node) -> None:
    child = node.start()
    console = node.console(operator="bob")
    folder = node.launch(console, "A", "trap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    until(lambda: Path(folder, "launcher.log").exists() and Path(folder, "launcher.log").read_text())
    assert console.do("stop", attempt="A", grace_s=2.0, why="enough") == {"state": "stopping"}
    kill(child)
    node.start()
    again = node.console()
    ended = again.record("exit", scope="command")
    assert (ended["signal"], ended["asked"]) == (9, True)
    assert again.record("job", state="stopped")["operator"] == "bob"
    assert again.record("job", state="stopping")["why"] == "enough"


def test_a_contended_device_is_refused_over_the_wire(node: Node) -> None:
    node.start()
    ann, bob = node.console(operator="ann"), node.console(operator="bob")
    ann.do("lock", job="job", attempt="A", epoch=1, devices=[0, 1], ttl_s=60)
    answer = bob.ask("lock", job="other", attempt="B", epoch=2, devices=[1, 2], ttl_s=60)
    assert answer["ok"] is False and "by ann" in answer["error"]["got"]
    assert bob.record("audit", operator="bob")["why"] == answer["error"]["what"]
    ann.do("abort", attempt="A", why="never mind")
    assert bob.do("lock", job="other", attempt="B", epoch=2, devices=[1, 2], ttl_s=60) == {"locked": [1, 2]}


# Killed at any point

def collect(console: Console, seen: dict) -> None:
    """Keep a console's records as a store would: every number once."""
    for message in console.records():
        assert message["seq"] not in seen, "number %d was given twice" % message["seq"]
        seen[message["seq"]] = message
    console.got.clear()


def test_killed_at_any_point_it_neither_loses_nor_doubles(node: Node) -> None:
    """A worker writes numbered lines while the resident is killed again and again; a console follows through all of it."""
    chance = random.Random(5)
    child = node.start(npu_s=0.02)
    console = node.console()
    folder = node.launch(console, "A", rank_script(writer(1000000)))
    log = folder + "/round-00/local_rank-0.log"
    spool_id = console.hello["spool_id"]
    seen: dict = {}
    for _ in range(6):
        console.record("iteration")
        for _ in range(chance.randrange(1, 8)):
            console.pull(0.03)
        kill(child)
        while console.pull(0.05) or not console.closed:
            pass
        collect(console, seen)
        child = node.start(npu_s=0.02)
        console = node.console(after={"spool_id": spool_id, "seq": max(seen)})
        assert console.hello["spool_id"] == spool_id
    Path(folder, "enough").write_text("")
    console.record("exit", scope="command", patience_s=60.0)
    wanted = expected_places(log)
    assert len(wanted) > 500

    def places() -> list:
        # Many at a time: the slower the machine, the more lines were written meanwhile.
        for _ in range(1000):
            if not console.pull(0.05):
                break
        collect(console, seen)
        return [(m["data"]["file"], m["data"]["offset"]) for m in seen.values() if m["kind"] == "iteration"]

    until(lambda: len(places()) >= len(wanted))
    assert sorted(places()) == sorted(wanted)
    keys = [m["key"] for m in seen.values() if m["key"]]
    assert len(keys) == len(set(keys)), "nothing was read as something else the second time"
    assert sorted(m["data"]["iteration"] for m in seen.values() if m["kind"] == "iteration") == list(range(len(wanted)))
    assert [m["data"]["state"] for m in seen.values() if m["kind"] == "job"] == ["prepared", "committed", "running", "exited"]
    fresh = node.console()
    fresh.settle()
    assert {m["seq"]: m for m in fresh.records() if m["seq"] <= max(seen)} == seen
    assert sorted((m["data"]["file"], m["data"]["offset"]) for m in fresh.records("iteration")) == sorted(wanted)


def test_what_was_written_while_nobody_looked_is_read_to_its_end(node: Node) -> None:
    """More of it than one look takes, and the command has ended before the first look."""
    kill_me = node.start()
    folder = node.launch(node.console(), "A", rank_script(writer(6000)).replace("time.sleep(0.002)", "pass"))
    kill(kill_me)
    until(Path(folder, "exit-command.json").exists, patience_s=60.0)
    assert os.path.getsize(folder + "/round-00/local_rank-0.log") > 3 << 19
    node.start()
    console = node.console()
    until(lambda: console.pull(0.05) is not None and len(console.records("iteration")) >= 6000, patience_s=60.0)
    until(lambda: _is_quiet(node), "the attempt's closing")
    console.settle()
    assert {(m["data"]["file"], m["data"]["offset"]) for m in console.records("iteration")} == expected_places(folder + "/round-00/local_rank-0.log")


@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_between_reading_and_committing(node: Node, where: str) -> None:
    """Dies exactly there, several times over, at the batch that holds the exit as well as the lines."""
    node.start()
    console = node.console()
    folder = node.launch(console, "A", rank_script(writer(50)))
    until(Path(folder, "exit-command.json").exists)
    console.close()
    kill(node.started[0])
    (node.state / "spool.db").unlink()
    for suffix in ("-wal", "-shm"):
        Path(str(node.state / "spool.db") + suffix).unlink()
    code = """
import os, signal, sys
sys.path.insert(0, %r)
from agent import resident, spool
real = spool.Spool.put
def put(self, records, states=None, *rest, **named):
    records = list(records)
    if states and %r == "before": os.kill(os.getpid(), signal.SIGKILL)
    done = real(self, records, states, *rest, **named)
    if states: os.kill(os.getpid(), signal.SIGKILL)
    return done
spool.Spool.put = put
resident.serve(sys.argv[1], resident.Options(npu_s=3600, host_s=3600))
""" % (ROOT, where)
    for _ in range(4):
        child = node.spawn([sys.executable, "-c", code, str(node.state)])
        if where == "after" and until(lambda child=child: child.poll() is not None or _is_quiet(node), "its end") and child.poll() is None:
            kill(child)
            break
        assert child.wait() == -signal.SIGKILL
    node.start()
    fresh = node.console()
    until(lambda: fresh.pull(0.05) is not None and len(fresh.records("iteration")) >= 50)
    fresh.settle()
    found = [(m["data"]["file"], m["data"]["offset"]) for m in fresh.records("iteration")]
    assert len(found) == 50 and set(found) == expected_places(folder + "/round-00/local_rank-0.log")
    assert len(fresh.records("exit")) == 2
    assert [m["data"]["state"] for m in fresh.records("job")] == ["prepared", "committed", "running", "exited"]


def _is_quiet(node: Node) -> bool:
    """Whether the attempt has been recorded to its end."""
    return bool(json.loads(Path(node.home.attempts, "A.json").read_text()).get("closed"))


def test_a_spool_that_breaks_is_set_aside_and_read_anew(node: Node) -> None:
    child = node.start()
    console = node.console()
    folder = node.launch(console, "A", rank_script(writer(20)))
    console.record("exit", scope="command")
    until(lambda: console.pull(0.05) is not None and len(console.records("iteration")) == 20)
    until(lambda: _is_quiet(node), "the attempt's closing")
    kill(child)
    for suffix in ("-wal", "-shm"):
        Path(str(node.state / "spool.db") + suffix).unlink()
    (node.state / "spool.db").write_bytes(b"this is no database at all" * 400)
    node.start()
    again = node.console(after={"spool_id": console.hello["spool_id"], "seq": 10})
    assert again.hello["spool_id"] != console.hello["spool_id"]
    again.record("exit", scope="command")
    until(lambda: again.pull(0.05) is not None and len(again.records("iteration")) == 20)
    assert {(m["data"]["file"], m["data"]["offset"]) for m in again.records("iteration")} == expected_places(folder + "/round-00/local_rank-0.log")


def test_a_spool_that_breaks_while_it_is_open_is_read_anew_too(node: Node) -> None:
    code = """
import os, sys
sys.path.insert(0, %r)
from agent import resident, spool
real = spool.Spool.read
def read(self, *rest):
    if not os.path.exists(sys.argv[2]): return real(self, *rest)
    os.unlink(sys.argv[2])
    self.close()
    self._set_aside()  # as for a page that SQLite finds malformed
    return []
spool.Spool.read = read
resident.serve(sys.argv[1], resident.Options(npu_s=0.05, host_s=3600))
""" % ROOT
    flag = node.base / "break"
    child = node.spawn([sys.executable, "-c", code, str(node.state), str(flag)])
    until(lambda: node._answers(child))
    console = node.console()
    folder = node.launch(console, "A", rank_script(writer(1000000)))
    until(lambda: console.pull(0.05) is not None and len(console.records("iteration")) > 100)
    flag.write_text("")
    console.wait(lambda m: m["t"] == "bye")
    again = node.console(after={"spool_id": console.hello["spool_id"], "seq": 100})
    assert again.hello["spool_id"] != console.hello["spool_id"]
    Path(folder, "enough").write_text("")
    again.record("exit", scope="command")
    wanted = expected_places(folder + "/round-00/local_rank-0.log")
    until(lambda: again.pull(0.05) is not None and len(again.records("iteration")) >= len(wanted))
    assert {(m["data"]["file"], m["data"]["offset"]) for m in again.records("iteration")} == wanted


def test_only_one_resident_at_a_time(node: Node) -> None:
    first = node.start()
    second = node.spawn(node.command("resident"))
    assert second.wait() == 0
    assert first.poll() is None and node.console().hello["pid"] == first.pid


def test_a_state_directory_longer_than_a_socket_address(node: Node) -> None:
    node.state = node.base / ("x" * 120) / ("y" * 60)
    node.start()
    assert len(str(node.state / "sock")) > 108
    console = node.console()
    assert console.do("stats")["clients"] == 1
    assert (node.state.stat().st_mode & 0o777, (node.state / "sock").stat().st_mode & 0o777) == (0o700, 0o600)


# Raw lines

def test_tail_sends_the_last_lines_then_what_comes_by_credit(node: Node) -> None:
    node.start()
    console = node.console()
    log = node.work / "x.log"
    log.write_text("".join("line %d\n" % n for n in range(100)))
    stream = console.do("tail", path=str(log), lines=3)["stream"]
    assert not [m for m in console.got if m["t"] == "lines"]
    console.send(t="credit", stream=stream, n=2)
    first = console.wait(lambda m: m["t"] == "lines")
    assert (first["stream"], first["lines"], first["path"], first["size"]) == (stream, ["line 97", "line 98"], str(log), log.stat().st_size)
    waiting = console.wait(lambda m: m["t"] == "waiting" and m["stream"] == stream)
    assert waiting["n"] == 1
    with log.open("a") as file:
        file.write("new\nunfinished")
    console.send(t="credit", stream=stream, n=100)
    console.wait(lambda m: m["t"] == "lines" and "new" in m["lines"])
    lines = [m for m in console.got if m["t"] == "lines"]
    assert [line for m in lines for line in m["lines"]] == ["line 97", "line 98", "line 99", "new"]
    assert [m["offset"] for m in lines[1:]] == [m["next_offset"] for m in lines[:-1]]
    console.do("untail", stream=stream)
    with log.open("a") as file:
        file.write(" no more\n")
    other = console.do("tail", path=str(log), lines=1)["stream"]
    console.send(t="credit", stream=other, n=10)
    assert console.wait(lambda m: m["t"] == "lines" and m["stream"] == other)["lines"] == ["unfinished no more"]
    assert not [m for m in console.got if m["t"] == "lines" and m["stream"] == stream and "unfinished no more" in m["lines"]]


def test_files_and_read_and_checkpoints_answer(node: Node) -> None:
    node.start()
    console = node.console()
    folder = node.launch(console, "A", rank_script(writer(5)))
    console.record("exit", scope="command")
    iteration = console.record("iteration", iteration=4)
    files = console.do("files", attempt="A")["files"]
    assert [(os.path.relpath(f["path"], folder), f["local_rank"], f["round"]) for f in files] == [("launcher.log", None, None), ("round-00/local_rank-0.log", 0, 0)]
    assert files[1]["file_id"] == iteration["file_id"], "the pane and the record must mean the same file"
    piece = console.do("read", path=iteration["file"], offset=iteration["offset"], length=30)
    assert piece["text"] == (LINE % (4, 4, 32, 0.2))[:30] and piece["next_offset"] == piece["offset"] + 30
    assert console.do("checkpoints", dir=str(node.work / "none"))["iterations"] == []
    jobs = console.do("jobs")["attempts"]
    assert [(j["attempt"], j["state"], j["exit"]["code"]) for j in jobs] == [("A", "exited", 0)]
    facts = console.do("facts")
    assert facts["hostname"] == socket.gethostname() and "127.0.0.1" in facts["addresses"]["lo"]

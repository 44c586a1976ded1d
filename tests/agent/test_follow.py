from __future__ import annotations

import json
import os
import random
import time
import tracemalloc
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from agent import wire
from agent.follow import HEAD_BYTES, LINE_LIMIT, STORM_LIMIT, Follower

PLACE: Dict[str, Any] = {"job": "j", "attempt": "a", "round": 0, "rank": 3, "local_rank": 1}


def iteration(number: int, loss: float = 2.5) -> str:
    return " iteration %8d/    1000 | consumed samples: %d | lm loss: %.9E | grad norm: 1.0 |\n" % (number, number * 8, loss)


def append(path: Path, text: str, mode: str = "ab") -> None:
    with open(str(path), mode) as opened:
        opened.write(text.encode("utf-8", "surrogateescape"))


def iterations(records: List[Dict[str, Any]]) -> List[int]:
    return [record["data"]["iteration"] for record in records if record["kind"] == "iteration"]


def poll_all(follower: Follower) -> List[Dict[str, Any]]:
    got: List[Dict[str, Any]] = []
    for _ in range(1000):
        records, _ = follower.poll(1 << 16)
        if not records:
            return got
        got += records
    raise AssertionError("no end")


def test_records_fit_the_wire_and_name_their_place(tmp_path: Path) -> None:
    log = tmp_path / "local_rank-1.log"
    append(log, "training ...\n" + iteration(1) + "saving checkpoint at iteration 1 to /c in torch_dist format\n"
           + " validation loss at iteration 1 | lm loss value: 2.0E+00 | lm loss PPL: 7.3E+00 | \n"
           + "OSError: [Errno 28] No space left on device\n")
    records, state = Follower(str(log), PLACE).poll()
    # The save that had begun cannot have ended well on a full disk.
    assert [record["kind"] for record in records] == ["iteration", "checkpoint", "validation", "fault", "checkpoint"]
    assert (records[4]["data"]["event"], records[4]["data"]["iteration"]) == ("failed", 1)
    for record in records:
        assert wire.problems_in(record["kind"], record["data"]) == []
        data = record["data"]
        assert (data["job"], data["attempt"], data["round"], data["rank"], data["local_rank"]) == ("j", "a", 0, 3, 1)
        assert record["key"] == "%s:%d:%s" % (data["file_id"], data["offset"], record["kind"])
        wire.encode({"t": "rec", "data": data})
    assert [record["data"]["line"] for record in records] == [2, 3, 4, 5, 5]
    assert records[0]["data"]["offset"] == len("training ...\n")
    assert json.loads(json.dumps(state)) == state
    assert (state["offset"], state["line"]) == (log.stat().st_size, 5)


def test_a_missing_file_and_a_partial_line_are_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    follower = Follower(str(log), PLACE)
    assert follower.poll()[0] == []
    line = iteration(1)
    append(log, line[:40])
    assert follower.poll()[0] == []
    append(log, line[40:] + iteration(2)[:30])
    assert iterations(follower.poll()[0]) == [1]
    append(log, iteration(2)[30:])
    assert iterations(follower.poll()[0]) == [2]
    assert follower.poll()[0] == []


def test_the_last_words_of_a_dead_writer(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, "MemoryError: no newline ever")
    follower = Follower(str(log), PLACE)
    assert follower.poll()[0] == []
    records, _ = follower.poll(final=True)
    assert [record["data"]["rule"] for record in records] == ["python-exception"]
    assert follower.poll(final=True)[0] == []


@pytest.mark.parametrize("seed", range(6))
def test_any_stopping_and_starting_gives_each_record_once(tmp_path: Path, seed: int) -> None:
    # Growth in random pieces, a restart from the saved state at random moments, polls of random budgets.
    chance = random.Random(seed)
    log = tmp_path / "x.log"
    text = ("a first line without meaning\n" + "".join(
        chance.choice([iteration(n), iteration(n), "noise %d\n" % n + iteration(n), "\n" + iteration(n)]) for n in range(300)))
    raw, written = text.encode("utf-8"), 0
    state: Optional[Dict[str, Any]] = None
    follower = Follower(str(log), PLACE)
    keys: Dict[str, int] = {}
    got: List[int] = []
    for _ in range(10000):
        step = chance.randrange(1, 900)
        append(log, raw[written:written + step].decode("utf-8"))
        written += step
        records, state = follower.poll(chance.choice([1, 500, 1 << 20]))
        got += iterations(records)
        for record in records:
            keys[record["key"]] = keys.get(record["key"], 0) + 1
        if chance.random() < 0.2:
            follower.close()
            follower = Follower(str(log), PLACE, json.loads(json.dumps(state)))
        if written >= len(raw) and not records:
            break
    assert got == list(range(300))
    assert set(keys.values()) == {1}
    whole = Follower(str(log), PLACE)
    assert {record["key"] for record in poll_all(whole)} == set(keys)


def test_rotation_by_rename(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, "first\n" + iteration(1))
    follower = Follower(str(log), PLACE)
    assert iterations(follower.poll()[0]) == [1]
    append(log, iteration(2) + iteration(3).rstrip("\n"))    # the writer's last line stays without its newline
    os.rename(str(log), str(tmp_path / "x.log.1"))
    append(log, "second\n" + iteration(4))
    records, state = follower.poll()
    assert iterations(records) == [2, 3, 4]
    assert len({record["data"]["file_id"] for record in records}) == 2
    assert state["offset"] == log.stat().st_size


def test_rotation_while_nobody_was_looking(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, "first\n" + iteration(1))
    follower = Follower(str(log), PLACE)
    _, state = follower.poll()
    follower.close()
    append(log, iteration(2))
    os.rename(str(log), str(tmp_path / "x.log.1"))
    append(log, "second\n" + iteration(3))
    assert iterations(poll_all(Follower(str(log), PLACE, state))) == [2, 3]


@pytest.mark.parametrize("head", ["second\n", "first\n"])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("longer", [False, True])
def test_truncation_and_writing_anew(tmp_path: Path, head: str, restart: bool, longer: bool) -> None:
    log = tmp_path / "x.log"
    append(log, "first\n" + iteration(1) + iteration(2))
    follower = Follower(str(log), PLACE)
    before, state = follower.poll()
    if restart:
        follower.close()
        follower = Follower(str(log), PLACE, state)
    numbers = [7, 8, 9, 10] if longer else [7]
    append(log, head + "".join(iteration(number, 1.25) for number in numbers), "wb")
    after = poll_all(follower)
    assert iterations(after) == numbers
    # The same first line at the same inode: the new records still must not take the place of the old ones.
    assert not {record["key"] for record in before} & {record["key"] for record in after}


def test_truncation_to_nothing_and_slow_refilling(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, "first\n" + iteration(1))
    follower = Follower(str(log), PLACE)
    follower.poll()
    append(log, "", "wb")
    assert follower.poll()[0] == []
    append(log, "fir")
    assert follower.poll()[0] == []
    append(log, "st\n" + iteration(2))
    assert iterations(follower.poll()[0]) == [2]


def test_deleted_and_created_again(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, "first\n" + iteration(1))
    follower = Follower(str(log), PLACE)
    follower.poll()
    log.unlink()
    assert follower.poll()[0] == []
    append(log, "first\n" + iteration(2))
    assert iterations(follower.poll()[0]) == [2]


def test_the_head_is_stable_while_the_file_grows(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    follower = Follower(str(log), PLACE)
    append(log, "x" * (HEAD_BYTES - 1))
    assert follower.poll()[1]["file_id"] == ""
    append(log, "y" * 500)
    follower.poll()
    first = follower.state["file_id"]
    append(log, "\n" + iteration(1))
    records, state = follower.poll()
    assert iterations(records) == [1]
    assert state["file_id"] == records[0]["data"]["file_id"] == (first or state["file_id"])


def test_a_line_without_end_is_cut_and_memory_stays_bounded(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with open(str(log), "wb") as opened:
        for _ in range(24):
            opened.write(b"x" * (1 << 20))
        opened.write(b" No space left on device\n" + iteration(1).encode("utf-8"))
    follower = Follower(str(log), PLACE)
    follower.poll(1)
    tracemalloc.start()
    records = []
    for _ in range(40):
        records += follower.poll(1 << 20)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert iterations(records) == [1]
    assert [record["data"]["rule"] for record in records if record["kind"] == "fault"] == ["disk-full"]
    assert peak < 8 * LINE_LIMIT


def test_bytes_that_are_not_text_and_progress_bars(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with open(str(log), "wb") as opened:
        opened.write(b"\xff\xfe\x00 head\n")
        opened.write(b"\r 10%|#  | 1/9\r 20%|## | 2/9 it/s]\r" + iteration(1).encode("utf-8"))
        opened.write(b"\x80\x81 No space left on device \xff\n")
        opened.write(iteration(2).rstrip("\n").encode("utf-8") + b"\r\n")
    records, _ = Follower(str(log), PLACE).poll()
    assert iterations(records) == [1, 2]
    assert [record["data"]["rule"] for record in records if record["kind"] == "fault"] == ["disk-full"]
    data = log.read_bytes()
    first = records[0]["data"]
    assert data[first["offset"]:first["offset"] + 10] == b" iteration"
    for record in records:
        wire.encode({"t": "rec", "data": record["data"]})


def test_two_records_of_one_line_have_two_keys(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, iteration(1).rstrip("\n") + iteration(2))
    records, _ = Follower(str(log), PLACE).poll()
    assert [record["key"].rpartition(":")[2] for record in records] == ["iteration", "1"]


def test_a_storm_of_faults_is_bounded_and_the_first_ones_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    append(log, "RuntimeError: CUDA error: device-side assert triggered\n" * 5000 + "OSError: [Errno 28] No space left on device\n")
    follower = Follower(str(log), PLACE)
    faults: List[Dict[str, Any]] = []
    state: Optional[Dict[str, Any]] = None
    for _ in range(200):
        records, state = follower.poll(4096)
        faults += records
        follower.close()
        follower = Follower(str(log), PLACE, state)
    rules = [fault["data"]["rule"] for fault in faults]
    assert rules.count("cuda-device-assert") == STORM_LIMIT
    assert rules[-1] == "disk-full"
    assert faults[0]["data"]["offset"] == 0


def test_the_line_names_the_rank_where_the_place_does_not(tmp_path: Path) -> None:
    log = tmp_path / "launcher.log"
    append(log, "[rank5]: ValueError: x\n"
           "E0203 10:00:05.1 41 torch/distributed/elastic/multiprocessing/api.py:984] failed (exitcode: 1) local_rank: 1 (pid: 4242) of binary: /usr/bin/python3\n"
           "[default7]: iteration 1/ 9 | lm loss: 1.0 |\n")
    place = dict(PLACE, rank=None, local_rank=None)
    records, _ = Follower(str(log), place).poll()
    assert [(record["data"]["rank"], record["data"]["local_rank"]) for record in records] == [(5, None), (None, 1), (None, 7)]


def test_what_is_not_a_file_is_left_alone(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(str(pipe))
    assert Follower(str(pipe), PLACE).poll()[0] == []
    assert Follower(str(tmp_path), PLACE).poll()[0] == []


def lines(first: int, last: int) -> str:
    return "".join(iteration(number) for number in range(first, last + 1))


def test_logs_rotated_over_and_over_while_nobody_was_looking(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(lines(1, 5))
    (tmp_path / "a.log.old.gz").write_text(lines(900, 901))
    (tmp_path / "a.log.err").write_text(lines(800, 801))
    follower = Follower(str(path), PLACE)
    records, state = follower.poll()
    follower.close()
    at = 10
    for turn in range(1, 6):
        with path.open("a") as file:
            file.write(lines(at, at + 4))
        os.utime(str(path), ns=(turn * 10 ** 9 + 2 * 10 ** 18, turn * 10 ** 9 + 2 * 10 ** 18))
        path.rename(tmp_path / ("a.log.%d" % turn))
        path.write_text("")
        at += 10
    path.write_text(lines(at, at + 4))
    for _ in range(3):    # each poll by another agent
        follower = Follower(str(path), PLACE, state)
        more, state = follower.poll()
        follower.close()
        records += more
    assert iterations(records) == [*range(1, 6), *[n for start in (10, 20, 30, 40, 50, 60) for n in range(start, start + 5)]]
    assert len({record["key"] for record in records}) == len(records)


@pytest.mark.parametrize("looking", [True, False])
def test_a_link_that_is_turned_to_another_file(tmp_path: Path, looking: bool) -> None:
    first, second, path = tmp_path / "run1" / "x.log", tmp_path / "run2" / "y.log", tmp_path / "current.log"
    for folder in (first.parent, second.parent):
        folder.mkdir()
    first.write_text(lines(1, 3))
    path.symlink_to(first)
    follower = Follower(str(path), PLACE)
    records, state = follower.poll()
    if not looking:
        follower.close()
        follower = Follower(str(path), PLACE, state)
    with first.open("a") as file:
        file.write(lines(4, 6))
    second.write_text(lines(7, 9))
    (tmp_path / "new").symlink_to(second)
    (tmp_path / "new").rename(path)
    for _ in range(3):
        more, state = follower.poll()
        records += more
    assert iterations(records) == list(range(1, 10))


def test_a_boot_that_numbers_devices_anew_repeats_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(lines(1, 5))
    _, state = Follower(str(path), PLACE).poll()
    device, rest = state["file_id"].split(":", 1)
    before = dict(state, file_id="%d:%s" % (int(device) + 7, rest), boot="another boot")
    with path.open("a") as file:
        file.write(lines(6, 8))
    more, after = Follower(str(path), PLACE, before).poll()
    assert iterations(more) == [6, 7, 8] and after["file_id"] == before["file_id"]
    same_boot = Follower(str(path), PLACE, dict(before, boot=state["boot"])).poll()[0]
    assert len(iterations(same_boot)) == 8    # within one boot another device is another file


def test_a_year_that_the_line_leaves_out_is_that_of_the_file(tmp_path: Path) -> None:
    log = tmp_path / "messages"
    append(log, "Dec 31 23:59:58 n1 python: OSError: [Errno 28] No space left on device: a\nJan  1 00:00:03 n1 python: OSError: [Errno 28] No space left on device: b\nI0101 00:00:04.5 9 x.cc:1] OSError: [Errno 28] No space left on device: c\n")
    at = time.mktime((2027, 1, 1, 12, 0, 0, 0, 0, -1))
    os.utime(str(log), (at, at))
    records, _ = Follower(str(log), PLACE).poll()
    assert [record["data"]["time"] for record in records] == ["2026-12-31T23:59:58", "2027-01-01T00:00:03", "2027-01-01T00:00:04.5"]

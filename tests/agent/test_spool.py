"""The spool: numbering, keys, eviction and its gaps, and what is left after a kill, a reboot, a broken file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent import wire
from agent.spool import Spool
from tests.agent.conftest import ROOT


def rec(kind: str, number: int, key: str | None = None, version: int = 1, pad: int = 0) -> dict:
    return wire.record(kind, 1000.0 + number, float(number), {"n": number, "pad": "x" * pad}, key, version)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "spool.db")


def test_same_data_under_a_key_is_not_new_and_other_data_gets_a_new_number(path: str) -> None:
    spool = Spool(path, "boot")
    assert spool.put([rec("iteration", 1, "a"), rec("iteration", 2, "b")]) == 2
    assert spool.put([rec("iteration", 1, "a")]) == 0
    assert spool.put([rec("iteration", 9, "a")]) == 1
    assert [(m["seq"], m["key"], m["data"]["n"]) for m in spool.read(0, 10)] == [(2, "b", 2), (3, "a", 9)]


def test_a_newer_parser_that_reads_the_same_does_not_renumber(path: str) -> None:
    spool = Spool(path, "boot")
    spool.put([rec("iteration", 1, "a")])
    assert spool.put([rec("iteration", 1, "a", version=2)]) == 0
    assert [(m["seq"], m["v"]) for m in spool.read(0, 10)] == [(1, 2)]


def test_numbers_go_on_after_reopening_even_when_the_last_record_was_replaced(path: str) -> None:
    spool = Spool(path, "boot")
    spool.put([rec("job", 1, "a")])
    spool.put([rec("job", 2, "a")])
    identity = spool.spool_id
    spool.close()
    again = Spool(path, "boot")
    assert again.spool_id == identity and not again.is_new
    again.put([rec("sample", 3)])
    assert [m["seq"] for m in again.read(0, 10)] == [2, 3]
    assert again.bounds() == (2, 3)


def test_a_new_boot_leaves_out_numbers_that_a_power_cut_may_have_taken_back(path: str) -> None:
    spool = Spool(path, "boot-1")
    spool.put([rec("sample", 1)])
    spool.close()
    again = Spool(path, "boot-2")
    again.put([rec("sample", 2)])
    first, second = [m["seq"] for m in again.read(0, 10)]
    assert first == 1 and second > 1 << 20


def test_records_and_follower_state_are_stored_together_or_not_at_all(path: str) -> None:
    code = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from agent import wire
from agent.spool import Spool
spool = Spool(sys.argv[1], "boot")
def put(n):
    spool.put([wire.record("sample", n, n, {"n": n})], {"/log": {"offset": n}})
put(1)
Spool._evict = lambda self: os.kill(os.getpid(), signal.SIGKILL)
put(2)
"""
    done = subprocess.run([sys.executable, "-c", code, path, ROOT], check=False)
    assert done.returncode == -signal.SIGKILL
    spool = Spool(path, "boot")
    assert [m["data"]["n"] for m in spool.read(0, 10)] == [1]
    assert spool.states() == {"/log": {"offset": 1}}


def test_eviction_follows_the_order_and_every_one_is_told(path: str) -> None:
    spool = Spool(path, "boot", cap_bytes=3 << 18)
    for number in range(400):
        spool.put([rec("iteration", number, "i%d" % number, pad=200), rec("host", number, pad=200), rec("sample", number, pad=1000),
                   rec("exit", number, "e%d" % number), rec("validation", number, "v%d" % number, pad=200)])
    assert spool.used_bytes() <= spool.cap_bytes
    kinds = {m["kind"] for m in spool.read(0, 10000)}
    assert {"iteration", "exit", "validation", "gap"} <= kinds
    gaps = {m["data"]["kind"]: m["data"] for m in spool.read(0, 10000) if m["kind"] == "gap"}
    assert set(gaps) <= {"host", "sample"} and "host" in gaps
    for kind in ("host", "sample"):
        left = sum(1 for m in spool.read(0, 10000) if m["kind"] == kind)
        assert left + gaps.get(kind, {"count": 0})["count"] == 400
    assert sum(1 for m in spool.read(0, 10000) if m["kind"] == "iteration") == 400


def test_what_triage_needs_goes_last_and_oldest_first_and_the_gap_grows(path: str) -> None:
    spool = Spool(path, "boot", cap_bytes=1 << 18)
    counts = []
    for number in range(3000):
        spool.put([rec("validation" if number % 3 == 0 else "iteration", number, "k%d" % number, pad=300)])
        gap = [m for m in spool.read(0, 5000) if m["key"] == "gap:iteration"] if number % 500 == 499 else []
        counts += [m["data"]["count"] for m in gap]
    rows = spool.read(0, 10000)
    assert not [m for m in rows if m["kind"] == "validation" and m["data"]["n"] < 2000]
    left = [m["data"]["n"] for m in rows if m["kind"] == "iteration"]
    assert left == [n for n in range(3000) if n % 3 and n >= left[0]]
    assert counts == sorted(set(counts)) and len(counts) >= 2
    gap = next(m["data"] for m in rows if m["key"] == "gap:iteration")
    assert gap["from_seq"] == 2 and gap["count"] == 2000 - len(left)
    assert spool.bounds()[0] == rows[0]["seq"]


@pytest.mark.parametrize("damage", ["header", "middle"])
def test_a_corrupt_file_is_set_aside_and_a_new_spool_begins(path: str, damage: str) -> None:
    spool = Spool(path, "boot")
    spool.put([rec("sample", n, pad=500) for n in range(500)], {"/log": {"offset": 5}})
    identity = spool.spool_id
    spool.close()
    with open(path, "r+b") as file:
        file.seek(0 if damage == "header" else 4096 * 2)
        file.write(os.urandom(4096 * (1 if damage == "header" else 40)))
    again = Spool(path, "boot")
    again.read(0, 1000)
    again.put([rec("sample", 7)], {"/log": {"offset": 6}})
    assert again.spool_id != identity
    assert [m["data"]["n"] for m in again.read(0, 10)][-1:] == [7]
    assert os.path.exists(path + ".corrupt")


def test_a_put_that_meets_the_damage_is_stored_anew_without_the_followers_place(path: str) -> None:
    spool = Spool(path, "boot")
    spool.put([rec("sample", n, "k%d" % n, pad=500) for n in range(500)])
    identity = spool.spool_id
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096 * 60))
    spool._db.execute("PRAGMA cache_size=0")
    spool._db.execute("PRAGMA shrink_memory")
    spool.put([rec("sample", 900, "k3")], {"/log": {"offset": 6}})
    if spool.spool_id == identity:
        pytest.skip("SQLite did not look at the damaged pages")
    assert [m["data"]["n"] for m in spool.read(0, 10)] == [900]
    assert spool.states() == {}, "the follower would go on behind records that are gone"


def test_a_full_disk_raises_and_stores_nothing(path: str) -> None:
    spool = Spool(path, "boot")
    spool.put([rec("sample", 1)])
    spool._db.execute("PRAGMA max_page_count=%d" % spool._db.execute("PRAGMA page_count").fetchone()[0])
    with pytest.raises(sqlite3.OperationalError):
        spool.put([rec("sample", n, pad=4000) for n in range(50)], {"/log": {"offset": 6}})
    assert [m["data"]["n"] for m in spool.read(0, 100)] == [1] and spool.states() == {}
    spool._db.execute("PRAGMA max_page_count=100000")
    spool.put([rec("sample", 2)], lost={"sample": 50})
    assert [m["data"].get("count", m["data"].get("n")) for m in spool.read(0, 100)] == [1, 2, 50]


def test_what_no_line_could_carry_is_told_as_a_gap_and_odd_numbers_are_spelled(path: str) -> None:
    spool = Spool(path, "boot")
    spool.put([rec("fault", 1, "big", pad=wire.MAX_LINE_BYTES), wire.record("iteration", 1, 1, {"lm_loss": float("nan"), "grad_norm": float("-inf")})])
    gap, iteration = spool.read(0, 10)
    assert gap["kind"] == "gap" and gap["data"]["count"] == 1 and gap["data"]["kind"] == "fault"
    assert iteration["data"] == {"lm_loss": "nan", "grad_norm": "-inf"}
    for message in (gap, iteration):
        wire.encode(message)

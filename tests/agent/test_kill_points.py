"""The agent is killed at every kind of place between reading a line and having it stored; the sets of (file, offset) are compared."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])

# Reads and stores as the resident does, and kills itself at the place and count it is told, or ends when nothing is left.
CHILD = '''
import os, signal, sys
sys.path.insert(0, %r)
from agent import spool as spools, wire
from agent.follow import Follower
state, log, place, count, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
done = [0]
def at(name):
    if name == place:
        done[0] += 1
        if done[0] >= count:
            os.kill(os.getpid(), signal.SIGKILL)
spool = spools.Spool(state, "boot")
insert, evict = spool._insert, spool._evict
def inserting(record):
    at("insert")
    return insert(record)
def evicting():
    at("before commit")
    evict()
spool._insert, spool._evict = inserting, evicting
known = spool.states()
follower = Follower(log, {"job": "j", "attempt": "a", "round": 0, "rank": 0, "local_rank": 0}, known.get(log))
budget = 1 << 16
for _ in range(100000):
    before = dict(follower.state)
    records, now = follower.poll(budget)
    at("parsed")
    if not records and now == before:
        break
    spool.put([wire.record(one["kind"], 1.0, 1.0, one["data"], one["key"], one["v"]) for one in records], {log: now})
    at("committed")
''' % ROOT


def line(number: int) -> bytes:
    return b" iteration %8d/  100000 | consumed samples: %d | elapsed time per iteration (ms): 10.0 | lm loss: %d.5E+00 |\n" % (number, number, number % 9 + 1)


@pytest.mark.parametrize("place", ["parsed", "insert", "before commit", "committed"])
def test_killed_between_reading_and_storing(tmp_path: Path, place: str) -> None:
    chance = random.Random(place)
    log, state, expected = tmp_path / "a.log", tmp_path / "spool.db", {}
    number = turned = 0

    def write(count: int) -> None:
        nonlocal number
        with log.open("ab") as file:
            for _ in range(count):
                number += 1
                expected[number] = (log.stat().st_ino, file.tell())
                file.write(line(number))
                file.flush()
                if chance.random() < 0.2:
                    file.write(b"another line\n")

    for turn in range(8):
        write(chance.randrange(30, 300))
        if turn % 3 == 2:
            turned += 1
            log.rename(tmp_path / ("a.log.%d" % turned))
            time.sleep(0.02)    # two rotations within one tick of the file system's clock are another test
            write(chance.randrange(1, 30))
        count = chance.randrange(1, 200) if place == "insert" else 1 + turn % 2
        ended = subprocess.run([sys.executable, "-I", "-c", CHILD, str(state), str(log), place, str(count), str(turn)], stderr=subprocess.PIPE)
        assert ended.returncode in (0, -9), ended.stderr.decode()[-2000:]
    for _ in range(2):
        subprocess.run([sys.executable, "-I", "-c", CHILD, str(state), str(log), "", "0", "0"], check=True)
    database = sqlite3.connect(str(state))
    found = [json.loads(text) for (text,) in database.execute("SELECT data FROM record WHERE kind = 'iteration' ORDER BY seq")]
    gaps = database.execute("SELECT COUNT(*) FROM record WHERE kind = 'gap'").fetchone()[0]
    database.close()
    assert gaps == 0
    places = Counter((int(data["file_id"].split(":")[1]), data["offset"]) for data in found)
    assert {data["iteration"]: (int(data["file_id"].split(":")[1]), data["offset"]) for data in found} == expected
    assert len(found) == len(expected) == number and max(places.values()) == 1
    assert [data["iteration"] for data in found] == list(range(1, number + 1))
    assert os.path.getsize(str(state)) > 0

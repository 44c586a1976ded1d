"""What grep finds ahead of the reader is what the reader finds by itself."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from agent import backlog
from agent.catalogue import loader
from agent.follow import Follower
from agent.parse import scan

PLACE: Dict[str, Any] = {"job": "j", "attempt": "a", "round": 0, "rank": 3, "local_rank": 1}


def log(path: Path, count: int) -> None:
    rng = random.Random(7)
    samples = [signature.sample for signature in loader.load()]
    with path.open("wb") as out:
        for index in range(count):
            kind = rng.random()
            if kind < 0.02:
                text = (rng.choice(samples) + " [%d]" % index).encode("utf-8")
            elif kind < 0.05:
                text = b" iteration %8d/ 900000 | consumed samples: %d | lm loss: %.6E | grad norm: 1.0 |" % (index, index * 8, rng.random())
            elif kind < 0.06:
                text = b" iteration %8d/ 900000 | consumed samples: %d | lm loss:\n %.6E | grad norm: 1.0 |" % (index, index * 8, rng.random())
            else:
                text = bytes(rng.choice(b"abc \xff\x00\r.[]xyz0123") for _ in range(rng.randrange(60)))
            out.write(text + b"\n")


def all_of(follower: Follower) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = []
    for _ in range(10000):
        records, _ = follower.poll(1 << 16)
        found += records
        if not follower.behind_bytes:
            return found
    raise AssertionError("no end")


def test_records_are_the_same_with_and_without_grep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    log(path, 20000)
    plain = all_of(Follower(str(path), PLACE))
    begun: List[Tuple[int, int]] = []
    real = backlog.Backlog.begin.__func__    # type: ignore[attr-defined]

    def begin(cls: Any, file: Any, start: int, end: int, texts: Any) -> Any:
        begun.append((start, end))
        return real(cls, file, start, end, texts)

    monkeypatch.setattr(backlog, "LEAST_BYTES", 1 << 16)
    monkeypatch.setattr(backlog.Backlog, "begin", classmethod(begin))
    follower = Follower(str(path), PLACE)
    helped = all_of(follower)
    follower.close()
    assert len(begun) == 1
    assert helped == plain
    assert len(plain) > 1000


def test_without_grep_the_reader_looks_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    log(path, 3000)
    plain = all_of(Follower(str(path), PLACE))
    monkeypatch.setattr(backlog, "LEAST_BYTES", 1 << 12)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert all_of(Follower(str(path), PLACE)) == plain
    (folder / "grep").write_text("#!/bin/sh\necho 0:nonsense\nexit 2\n")    # another make, without -b
    os.chmod(str(folder / "grep"), 0o755)
    assert all_of(Follower(str(path), PLACE)) == plain


def test_a_file_that_grows_or_is_cut_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    log(path, 3000)
    monkeypatch.setattr(backlog, "LEAST_BYTES", 1 << 12)
    follower = Follower(str(path), PLACE)
    follower.poll(1 << 14)
    with path.open("ab") as out:
        out.write(b"OSError: [Errno 28] No space left on device\n")
    assert [record["data"]["rule"] for record in all_of(follower) if record["kind"] == "fault"][-1] == "disk-full"
    path.write_bytes(b" iteration 1/ 9 | lm loss: 3.0 |\n")
    records, _ = follower.poll()
    assert [record["data"]["iteration"] for record in records] == [1]
    follower.close()


def test_lines_of_any_length_and_the_last_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"nothing\n" + b"x" * 3000000 + b"No space left on device" + b"y" * 10 + b"\nEI0002: a\nEI0006")
    size = path.stat().st_size
    with path.open("rb") as file:
        ahead = backlog.Backlog.begin(file, 0, size, scan.Scanner().texts)
        assert ahead is not None
        assert ahead.spans(0, 8) == []
        assert ahead.spans(8, size) == [(8, 8 + 3000033), (3000042, 3000051), (3000052, 3000058)]
        ahead.close()
    with path.open("rb") as file:
        ahead = backlog.Backlog.begin(file, 8, size, scan.Scanner().texts)
        assert ahead is not None
        assert ahead.spans(0, 8) is None
        assert ahead.spans(8, size + 1) is None
        assert ahead.spans(8, 3000042) == [(8, 8 + 3000033)]
        ahead.close()

"""Raw lines: where a tail begins, what becomes of long, odd and unfinished lines, and of a file that is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent import tails
from agent.follow import Follower
from agent.refusal import Refused
from tests.agent.conftest import LINE


def read_all(tail: tails.Tail, most: int = 100) -> list:
    lines: list = []
    while True:
        found = tail.read(most)
        if found is None:
            return lines
        lines += found["lines"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.log"


@pytest.mark.parametrize(("text", "lines", "begin"), [
    ("", 5, ""), ("a\n", 0, ""), ("a\nb\nc\n", 2, "b\nc\n"), ("a\nb\nc\n", 3, "a\nb\nc\n"), ("a\nb\nc\n", 9, "a\nb\nc\n"), ("a\nb\nunfin", 1, "b\n"),
    ("unfinished", 3, ""), ("\n\n\n", 2, "\n\n"), ("x" * 70000 + "\nb\n", 1, "b\n")])
def test_a_tail_begins_with_the_last_whole_lines(path: Path, text: str, lines: int, begin: str) -> None:
    path.write_text(text)
    assert "".join(line + "\n" for line in read_all(tails.Tail(str(path), lines))) == begin


def test_every_line_of_many_is_found(path: Path) -> None:
    path.write_text("".join("%d %s\n" % (n, "y" * (n % 300)) for n in range(3000)))
    for wanted in (1, 10, 999, 2999):
        assert read_all(tails.Tail(str(path), wanted), 7) == path.read_text().splitlines()[-wanted:]


def test_an_unfinished_line_comes_when_it_ends(path: Path) -> None:
    path.write_text("half")
    tail = tails.Tail(str(path), 5)
    assert tail.read(5) is None
    with path.open("a") as file:
        file.write(" whole\n")
    assert read_all(tail) == ["half whole"]


def test_bytes_become_text_and_nothing_else(path: Path) -> None:
    path.write_bytes(b"\xff\xfe ok \x1b[2J\x07\x00\r\nprogress\rbar\n\xe8\xae\xad\n")
    assert read_all(tails.Tail(str(path), 9)) == ["�� ok \x1b[2J\x07\x00", "progress\rbar", "训"]


def test_a_long_line_is_cut_with_a_mark_between_characters(path: Path) -> None:
    path.write_text("é" * 4000 + "\nnext\n", encoding="utf-8")
    first, second = read_all(tails.Tail(str(path), 9))
    assert first == "é" * 2048 + tails.CUT_MARK and second == "next"
    path.write_text("a" + "é" * 4000 + "\n", encoding="utf-8")
    assert read_all(tails.Tail(str(path), 9)) == ["a" + "é" * 2047 + tails.CUT_MARK]


def test_a_line_without_end_costs_no_memory_and_is_sent_once(path: Path) -> None:
    path.write_text("before\n" + "z" * 1000000)
    tail = tails.Tail(str(path), 9)
    assert read_all(tail) == ["before", "z" * 4096 + tails.CUT_MARK]
    with path.open("a") as file:
        file.write("z" * 100000 + "\nafter\n")
    assert read_all(tail) == ["after"]


def test_offsets_join_up_and_the_limit_is_kept(path: Path) -> None:
    path.write_text("".join("%d\n" % n for n in range(10)))
    tail = tails.Tail(str(path), 10)
    first, second = tail.read(4), tail.read(100)
    assert first is not None and second is not None
    assert (len(first["lines"]), first["more"], second["more"]) == (4, True, False)
    assert first["next_offset"] == second["offset"] and second["next_offset"] == path.stat().st_size
    assert tail.read(0) is None and tail.waiting() == 0


def test_a_new_file_of_that_name_is_read_from_its_beginning(path: Path) -> None:
    path.write_text("old 1\nold 2\n")
    tail = tails.Tail(str(path), 1)
    before = tail.file_id
    assert read_all(tail) == ["old 2"]
    path.rename(path.with_name("x.log.1"))
    assert tail.read(5) is None, "it may come back"
    path.write_text("new 1\n")
    assert read_all(tail) == ["new 1"] and tail.file_id != before
    with path.open("w") as file:
        file.write("cut\n")
    assert read_all(tail) == ["cut"]


def test_the_file_id_is_that_of_the_records(path: Path) -> None:
    path.write_text(LINE % (1, 1, 8, 1.0) + "\n")
    records, _ = Follower(str(path), {}).poll(1 << 20)
    assert records[0]["data"]["file_id"] == tails.Tail(str(path), 1).file_id


def test_only_regular_files_of_this_node_are_opened(path: Path) -> None:
    os.mkfifo(str(path))
    for wrong in (str(path), str(path.parent), str(path) + ".no", "relative", "/dev/zero"):
        with pytest.raises(Refused) as refused:
            tails.Tail(wrong, 1)
        assert refused.value.error["next"]


def test_a_piece_is_bounded_and_counted_from_either_end(path: Path) -> None:
    path.write_bytes(b"\x01" * 300000)
    piece = tails.read_piece(str(path), 10, 1 << 30)
    assert (piece["offset"], piece["next_offset"], piece["size"]) == (10, 10 + tails.READ_MAX_BYTES, 300000)
    assert tails.read_piece(str(path), -5, 100)["offset"] == 299995
    assert tails.read_piece(str(path), 1 << 40, 100)["text"] == ""

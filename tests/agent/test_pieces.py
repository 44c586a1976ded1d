from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, Dict, List

import pytest

from agent import pieces, search, tails
from agent.refusal import Refused


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(1, 1001)) + b"no end")
    return path


def numbers(found: Dict[str, Any]) -> List[str]:
    return [text.replace("line ", "") for text in found["lines"]]


def test_a_window_by_line_by_offset_and_at_both_ends(log: Path) -> None:
    found = pieces.window({"path": str(log), "line": 500, "before": 2, "after": 1})
    assert numbers(found) == ["498", "499", "500", "501"] and found["line"] == 498
    whole = log.read_bytes()
    assert [whole[offset:offset + 8] for offset in found["offsets"]] == [b"line 498", b"line 499", b"line 500", b"line 501"]
    again = pieces.window({"path": str(log), "offset": found["offsets"][2] + 3, "before": 2, "after": 1})
    assert again == found
    assert numbers(pieces.window({"path": str(log), "line": 1, "before": 5, "after": 2})) == ["1", "2", "3"]
    last = pieces.window({"path": str(log), "before": 1})
    assert last["lines"] == ["line 1000", "no end"] and last["next_offset"] == last["size"] == len(whole)
    assert pieces.window({"path": str(log), "line": 5000, "before": 0, "after": 9})["lines"] == ["no end"]
    after = pieces.window({"path": str(log), "offset": found["next_offset"], "after": 2})
    assert numbers(after) == ["502", "503", "504"]


def test_a_window_of_an_empty_file_and_of_one_endless_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert pieces.window({"path": str(tmp_path / "empty"), "before": 3})["lines"] == []
    (tmp_path / "long").write_bytes(b"x" * (3 * pieces.WINDOW_BYTES))
    found = pieces.window({"path": str(tmp_path / "long"), "line": 1})
    assert len(found["lines"]) == 1 and len(found["lines"][0]) < 5000 and found["next_offset"] > pieces.WINDOW_BYTES
    (tmp_path / "ended").write_bytes(b"one\ntwo\n")
    assert pieces.window({"path": str(tmp_path / "ended"), "before": 5})["lines"] == ["one", "two"]


def test_bytes_are_the_files_own(tmp_path: Path) -> None:
    raw = bytes(range(256)) * 2000
    (tmp_path / "b").write_bytes(raw)
    got, at = b"", 0
    while True:
        found = pieces.piece({"path": str(tmp_path / "b"), "offset": at, "length": 1 << 30})
        data = base64.b64decode(found["data"])
        if not data:
            break
        got, at = got + data, found["next_offset"]
    assert got == raw and found["size"] == len(raw)


def ask(path: Path, pattern: str, regex: bool = False, **more: Any) -> Dict[str, Any]:
    return pieces.search(dict({"path": str(path), "pattern": pattern, "regex": regex, "limit_s": pieces.SEARCH_MOST_S}, **more))


def test_a_search_finds_lines_with_what_is_around_them(log: Path) -> None:
    found = ask(log, "line 50", before=1, after=2)
    assert [hit["text"] for hit in found["hits"]] == ["line 50"] + ["line 50%d" % digit for digit in range(10)]
    hit = found["hits"][1]
    assert (hit["line"], hit["before"], hit["after"]) == (500, ["line 499"], ["line 501", "line 502"])
    assert log.read_bytes()[hit["offset"]:].startswith(b"line 500\n")
    assert found["done"] and found["next_offset"] == found["size"]
    assert [hit["text"] for hit in ask(log, r"^LINE 1(00)?0$", regex=True, ignore_case=True)["hits"]] == ["line 10", "line 1000"]
    assert ask(log, "no end")["hits"][0]["line"] == 1001
    assert ask(log, "^$", regex=True)["hits"] == []


def test_a_search_goes_on_where_it_stopped(log: Path) -> None:
    texts, at = [], 0
    for _ in range(100):
        found = ask(log, "line", most=99, **{"from": at})
        texts += [hit["text"] for hit in found["hits"]]
        at = found["next_offset"]
        if found["done"]:
            break
    assert texts == ["line %d" % number for number in range(1, 1001)]


def test_a_literal_is_no_expression_and_bytes_need_no_encoding(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a.c\nabc\n\xff\xfe \xe8\xae\xad\xe7\xbb\x83 loss\n")
    assert [hit["text"] for hit in ask(tmp_path / "x", "a.c")["hits"]] == ["a.c"]
    assert [hit["offset"] for hit in ask(tmp_path / "x", "训练")["hits"]] == [8]


def test_an_expression_without_end_is_given_up_in_time(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a" * 4000 + b"!\n")
    with pytest.raises(Refused) as refused:
        ask(tmp_path / "x", "(a|a)*$", regex=True, limit_s=0.3)
    assert "given up" in refused.value.what


@pytest.mark.parametrize("pattern, regex", [("(", True), ("", False), ("a\nb", False), ("x" * 2000, False)])
def test_what_cannot_be_looked_for_is_refused(log: Path, pattern: str, regex: bool) -> None:
    with pytest.raises(Refused):
        ask(log, pattern, regex)
    with pytest.raises(Refused):
        ask(log.with_name("nothing"), "x")


def test_a_search_equals_a_plain_pass_across_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CHUNK", 37)
    lines = [b"%d %s" % (number, b"fault" if number % 7 == 0 else b"x" * (number % 60)) for number in range(400)]
    (tmp_path / "x").write_bytes(b"\n".join(lines) + b"\n")
    for regex, before in ((False, 0), (True, 0), (False, 2)):
        found = search.search({"path": str(tmp_path / "x"), "pattern": "fault", "regex": regex, "most": 1000, "before": before, "after": before})
        at, expected = 0, []
        for number, line in enumerate(lines, 1):
            if re.search(b"fault", line):
                expected.append((at, number))
            at += len(line) + 1
        assert [(hit["offset"], hit["line"]) for hit in found["hits"]] == expected
        assert found["done"] and found["next_offset"] == found["size"]
        if before:
            assert found["hits"][3]["before"] == [tails.as_text(line) for line in lines[19:21]] and found["hits"][3]["after"] == [tails.as_text(line) for line in lines[22:24]]
    json.dumps(found)

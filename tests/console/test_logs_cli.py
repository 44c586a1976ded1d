"""Which logs are meant, and what a copy of one holds after it broke off."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from console.cli.logs import Log, choose, fetch
from console.core.errors import ConsoleError, FileError


def log(node: str, rank: int | None, round_: int | None, local: int | None = 0) -> Log:
    return Log(node=node, path=f"/{node}/{round_}/{rank}", rank=rank, local_rank=local if round_ is not None else None, round=round_, size=1)


LOGS = [log("n1", 0, 0), log("n2", 1, 0), log("n1", 1, 1), log("n2", 0, 1), log("n1", None, None), log("n2", None, None)]


@pytest.mark.parametrize(("asked", "meant"), [
    ({}, [("n1", 1)]), ({"rank": 0}, [("n2", 0)]), ({"rank": 0, "round_": 0}, [("n1", 0)]), ({"rank": 9}, []),
    ({"merged": True}, [("n1", 1), ("n2", 0)]), ({"merged": True, "round_": 0}, [("n1", 0), ("n2", 1)])])
def test_the_newest_round_and_its_last_rank_are_meant(asked: dict[str, Any], meant: list[tuple[str, int]]) -> None:
    found = choose(LOGS, **{"rank": None, "merged": False, "round_": None, "everything": False, **asked})
    assert [(one.node, one.rank) for one in found] == meant


def test_before_any_rank_is_known_the_launchers_are_meant() -> None:
    assert [one.node for one in choose(LOGS[4:], rank=None, merged=False, round_=None, everything=False)] == ["n1"]
    assert len(choose(LOGS[4:], rank=None, merged=True, round_=None, everything=False)) == 2
    assert len(choose(LOGS, rank=None, merged=False, round_=None, everything=True)) == 6


class Node:
    """A node with one file; ``breaks`` after so many bytes were given."""

    def __init__(self, data: bytes, breaks: int | None = None, file_id: str = "1:2:x") -> None:
        self.data, self.breaks, self.file_id, self.asked = data, breaks, file_id, list[int]()

    def request(self, node: str, op: str, args: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        assert op == "bytes"
        self.asked.append(args["offset"])
        if self.breaks is not None and args["length"] and args["offset"] >= self.breaks:
            raise ConsoleError("the link was lost")
        piece = self.data[args["offset"]:args["offset"] + min(args["length"], 100)]
        return {"data": base64.b64encode(piece).decode(), "offset": args["offset"], "next_offset": 0, "size": len(self.data), "file_id": self.file_id}


def test_a_copy_that_broke_off_is_gone_on_with(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4
    target = tmp_path / "n1" / "a.log"
    with pytest.raises(ConsoleError):
        fetch(Node(data, breaks=500), "n1", "/a", target, lambda count: None)
    assert not target.exists()
    again, counted = Node(data), list[int]()
    assert fetch(again, "n1", "/a", target, counted.append) == len(data)
    assert target.read_bytes() == data and min(again.asked[1:]) == 500 and sum(counted) == len(data)
    assert [path.name for path in target.parent.iterdir()] == ["a.log"]


def test_another_file_under_the_same_name_is_copied_from_its_beginning(tmp_path: Path) -> None:
    target = tmp_path / "a.log"
    with pytest.raises(ConsoleError):
        fetch(Node(b"old" * 100, breaks=200), "n1", "/a", target, lambda count: None)
    fetch(Node(b"new" * 100, file_id="1:3:y"), "n1", "/a", target, lambda count: None)
    assert target.read_bytes() == b"new" * 100


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        fetch(Node(b"x"), "n1", "/a", tmp_path / "file" / "a.log", lambda count: None)


def test_the_log_that_carries_the_loss_is_meant_while_it_is_of_the_newest_round() -> None:
    logs = [log("n1", 0, 0), log("n1", 3, 0), log("n2", 0, 1), log("n2", 3, 1), log("n1", None, None)]

    def meant(loss: tuple[str, str], **asked: Any) -> list[str]:
        return [one.path for one in choose(logs, **{"rank": None, "merged": False, "round_": None, "everything": False, **asked}, loss=loss)]

    assert meant(("n2", "/n2/1/0")) == ["/n2/1/0"]
    assert meant(("n1", "/n1/None/None")) == ["/n1/None/None"]
    assert meant(("n1", "/n1/0/0")) == ["/n2/1/3"]
    assert meant(("n2", "/n2/1/0"), rank=3) == ["/n2/1/3"]


def test_process_logs_are_copied_and_not_shown_with_the_others() -> None:
    logs = [log("n1", 0, 0), Log(node="n1", path="/d/plog/debug/plog/plog-7_1.log", rank=None, local_rank=None, round=None, size=1, plog=True)]
    assert choose(logs, rank=None, merged=True, round_=None, everything=False) == logs[:1]
    assert choose(logs, rank=None, merged=False, round_=None, everything=True) == logs
    assert logs[1].name == "n1:plog-7_1.log"

"""Logs as terminals, engines and launchers hand them on: other line ends, colours, and what they put before each line."""

from __future__ import annotations

import json
from typing import Any, Callable, List, Tuple

import pytest

from agent.parse import reading, scan

SCANNER = scan.Scanner()
RECORD = (" [2025-09-05 16:08:14] iteration       10/    2000 | consumed samples:          128 | elapsed time per iteration (ms): 5837.9 | learning rate: 1.000E-05 | "
          "global batch size:   128 | lm loss: 2.117073E+00 | loss scale: 1.0 | grad norm: 1.234 | number of skipped iterations:   0 | number of nan iterations:   0 |")
TIMERS = "(min, max) time across ranks (ms):\n    forward-backward ...............................: (3198.27, 3199.53)\n    optimizer-inner-step ...........................: (1.5, 12.25)\nx\n"


def read(raw: bytes) -> List[Tuple[str, Any]]:
    return [(one.kind, one.data) for one in reading.read_block(raw, SCANNER, {})]


@pytest.mark.parametrize("width", [80, 132, 160, 200])
@pytest.mark.parametrize("ended", [lambda line: line + "\r\n", lambda line: "\x1b[32m" + line + "\x1b[0m\n"], ids=["crlf", "colour"])
def test_a_wrapped_record_with_other_line_ends(width: int, ended: Callable[[str], str]) -> None:
    wrapped = "".join(ended(RECORD[at:at + width]) for at in range(0, len(RECORD), width))
    assert read(wrapped.encode()) == read(RECORD.encode())


def test_a_wrapped_record_with_carriage_returns_goes_on_in_the_next_block() -> None:
    parts = [(RECORD[at:at + 160] + "\r\n").encode() for at in range(0, len(RECORD), 160)]
    memory: reading.Memory = {}
    told = [one for part in parts for one in reading.read_block(part, SCANNER, memory) if one.kind == "iteration"]
    assert ("iteration", told[-1].data) == read(RECORD.encode())[0]
    assert told[-1].offset == -sum(map(len, parts[:-1]))


EACH = ["[rank3]: ", "[default7]:", "[default7]:[rank3]: ", "2025-03-01T10:00:00.12345678%dZ ", "2025-03-01T10:00:0%d.1Z stdout F ", " 12: ", "trainer-1  | ", "[1,3]<stdout>:", "node-1: ",
        "(WorkerDict pid=4112, ip=10.0.0.3) ", "2025-09-05 16:08:1%d,123 - INFO - ", "[2025-09-05 16:08:1%d] ", "[pod/train-worker-0/pytorch] ", "1%d:", "    1%d\t", "10.0.0.1: "]


@pytest.mark.parametrize("width", [60, 100, 132, 200])
@pytest.mark.parametrize("prefix", EACH)
def test_a_wrapped_record_with_something_before_each_piece(prefix: str, width: int) -> None:
    for record in (RECORD, RECORD.lstrip()):
        pieces = [record[at:at + width] for at in range(0, len(record), width)]
        ((kind, data),) = read("".join((prefix % at if "%" in prefix else prefix) + piece + "\n" for at, piece in enumerate(pieces)).encode())
        assert (kind, data) == read(RECORD.encode())[0]


def test_pieces_behind_another_rank_s_prefix_are_not_its_own() -> None:
    ((_, data),) = read(("[rank3]: " + RECORD[:200] + "\n[rank4]: " + RECORD[200:] + "\n").encode())
    assert data["nan"] is None


def test_timers_with_carriage_returns() -> None:
    assert read(TIMERS.replace("\n", "\r\n").encode()) == read(TIMERS.encode()) != []


@pytest.mark.parametrize("prefix", [
    "2025-03-01T10:00:00.123456789Z ", "2025-03-01T10:00:00.123456789+08:00 stderr F ", "[default0]:", "[rank3]: ", " 12: ", "trainer-1  | ",
    "[pod/train-worker-0/pytorch] ", "[1,3]<stderr>:", "(WorkerDict pid=4112, ip=10.0.0.3) ", "2025-03-01T10:00:00Z [default3]:[rank3]: ", "123:", "   123\t", "logs/train.log:123:", "train.log:",
    "2025-03-01 10:00:00.123 | ERROR    | swift.llm:train:12 - ", "2025-03-01 10:00:00,123 - root - ERROR - ", "ERROR:root:", "[2025-03-01 10:00:00,123] [ERROR] [engine.py:10:f] ",
    "[rank0]:E0301 10:00:00.123000 4100 torch/_dynamo/x.py:12] ", "[ERROR|trainer.py:2926] 2025-03-01 10:00:00,123 >> ", "2025-03-01 10:00:00.123 ", "12:[rank3]: "])
def test_an_exception_behind_what_a_launcher_or_an_engine_puts_before_it(prefix: str) -> None:
    found = read((prefix + "torch.utils.Surprise.StrangeError: no such thing\n").encode())
    assert [(kind, data["rule"]) for kind, data in found] == [("fault", "python-exception")]


@pytest.mark.parametrize("text", ["2025-03-01T10:00:00Z level=info msg=\"Error: none\"\n", "trainer-1  | all well, ValueError: was caught\n", "    raise NotImplementedError\n",
                                  "2025-03-01 10:00:00,123 - data - WARNING - ValueError: skipped a line\n", "12:        except ValueError: pass\n"])
def test_a_sentence_with_an_exception_in_it_is_none(text: str) -> None:
    assert read(text.encode()) == []


@pytest.mark.parametrize("line, place", [
    ("2025-03-01T10:00:00.123456789Z [default5]:" + RECORD, {"local_rank": 5}), ("2025-03-01T10:00:00.1+08:00 stdout F 7: " + RECORD, {"task": 7}),
    ("2025-03-01T10:00:00.1Z (WorkerDict pid=4112)" + RECORD, {"pid": 4112})])
def test_the_place_stands_behind_the_engines_time(line: str, place: Any) -> None:
    (found,) = reading.read_block(line.encode(), SCANNER, {})
    assert (found.place, found.data["time"]) == (place, "2025-09-05T16:08:14")


def test_the_json_of_an_engines_log_file_is_taken_off() -> None:
    lines = ["saving checkpoint at iteration     100 to /c/ck in torch_dist format", "\x1b[32m" + RECORD + "\x1b[0m", "[default5]: [rank5]: ValueError: \"no\" such thing"]
    boxed = "".join(json.dumps({"log": line + "\n", "stream": "stdout", "time": "2025-03-01T10:00:00.1Z"}, separators=(",", ":")) + "\n" for line in lines)
    found = read(boxed.encode())
    assert [kind for kind, _ in found] == ["checkpoint", "iteration", "fault"]
    assert found == read(("\n".join(lines) + "\n").encode())
    assert (found[0][1]["path"], found[2][1]["text"]) == ("/c/ck", "[default5]: [rank5]: ValueError: \"no\" such thing")


@pytest.mark.parametrize("text", ['{"log":"', '{"log":"\\', '{"log":"\\u12', '{"log":"\\ud800 ValueError: x"}', '{"log":"ValueError: \\ud800"}', '{"log":5}'])
def test_json_that_is_cut_or_wrong_raises_nothing(text: str) -> None:
    json.dumps(read(text.encode()), ensure_ascii=False).encode("utf-8")


def test_a_record_behind_the_hole_of_a_log_that_was_cut_while_written() -> None:
    (found,) = reading.read_block(b"x\n" + b"\0" * 200_000 + RECORD.encode(), SCANNER, {})
    assert (found.kind, found.data) == read(RECORD.encode())[0]
    assert (found.offset, found.line) == (2, 1)

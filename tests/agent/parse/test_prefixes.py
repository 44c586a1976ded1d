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
        "(WorkerDict pid=4112, ip=10.0.0.3) ", "2025-09-05 16:08:1%d,123 - INFO - ", "[2025-09-05 16:08:1%d] ", "[pod/train-worker-0/pytorch] ", "1%d:", "    1%d\t", "10.0.0.1: ",
        "Nov 22 10:00:0%d node7 train[812]: ", "2025-03-01T10:00:0%d+08:00 node7 train[812]: ", "<14>1 2025-03-01T10:00:00.%dZ node7 train 812 - - ", "1740800000.12345%d node7 train[812]: ",
        "2025-03-01 10:00:00.12%d | INFO     | __main__:run:12 - ", "2025-03-01 10:00:00,12%d INFO [train.py:12] ", "I0301 10:00:00.12345%d   812 train.cc:12] ", "2025-03-01 10:00:0%d +0800 CST ",
        "10:00:0%d ", "stderr: ", "train.log:1%d:", "train.log:", "train\tRUN\t2025-03-01T10:00:00.123456%dZ ", "2025-03-01T10:00:00.12345%dZ 00O ", "> ", "INFO:root:", "[2025-03-01T10:00:00.12%dZ] "]


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


BEFORE = [one % 1 if "%" in one else one for one in EACH]
INFORMING = [one for one in BEFORE if "INFO" in one or one.startswith("I0")]


@pytest.mark.parametrize("prefix", [one for one in BEFORE if one not in INFORMING])
@pytest.mark.parametrize("line, rule", [
    ("ValueError: no such thing", "python-exception"), ("ModuleNotFoundError: No module named 'megatron'", "module-not-found"), ("KeyboardInterrupt", "keyboard-interrupt"),
    ("[ERROR] HCCL(77,python):2025-03-01-10:00:00.123.456 [a.cc:1][78]something went wrong", "cann-plog-error")])
def test_a_fault_that_begins_a_line_behind_what_stands_before_it(line: str, rule: str, prefix: str) -> None:
    assert [fault["rule"] for fault in SCANNER.faults(prefix + line)] == [rule]


@pytest.mark.parametrize("prefix", INFORMING)
def test_what_a_logger_calls_information_is_no_exception(prefix: str) -> None:
    assert SCANNER.faults(prefix + "ValueError: no such thing") == []


def test_a_page_s_blanks() -> None:
    assert read(RECORD.replace("  ", "\u00a0 ").encode()) == read(RECORD.encode())


SAVE = "  successfully saved checkpoint from iteration    2500 to /data/runs/gpt-13b/attempt_2/checkpoints/all/of/them/in/one/place/iter [ t 1/2, p 1/1 ]\n"


@pytest.mark.parametrize("width", [72, 80, 100, 120])
def test_a_path_that_was_wrapped(width: int) -> None:
    ((_, whole),) = read(SAVE.encode())
    broken = "".join(SAVE[at:at + width].rstrip("\n") + "\n" for at in range(0, len(SAVE), width))
    assert [data["path"] for _, data in read(("x" * width + "\n" + broken).encode())] == [whole["path"]]


@pytest.mark.parametrize("after", ["done\n", "Traceback (most recent call last):\n", "  more\n", "[2025-09-05 16:08:14] x/y\n", "/a/line/of/its/own is longer than what stands above it, so that nothing broke it there: " + "x" * 80 + "\n"])
def test_a_path_ends_with_its_line(after: str) -> None:
    line = "saving checkpoint at iteration    2500 to /data/runs/gpt-13b/attempt_2/checkpoints/all/of/them\n"
    assert [data["path"] for kind, data in read((line + after).encode()) if kind == "checkpoint"] == [line.strip().rpartition(" ")[2]] * (2 if "Trace" in after else 1)


@pytest.mark.parametrize("width", [60, 80, 90, 100])
def test_a_line_of_timers_that_was_wrapped(width: int) -> None:
    line = "time (ms) | forward-compute: 713.96 | backward-compute: 1222.63 | optimizer-inner-step: 173.52 | batch-generator: 12.50"
    broken = "".join(line[at:at + width] + "\n" for at in range(0, len(line), width)) + " iteration 5/ 9 | lm loss: 2.5 |\n"
    assert read(broken.encode()) == read((line + "\n iteration 5/ 9 | lm loss: 2.5 |\n").encode())

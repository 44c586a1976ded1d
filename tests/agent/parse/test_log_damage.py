"""Training lines and faults under damage of any kind: no exception, valid JSON, bounded time and memory."""

from __future__ import annotations

import json
import time
from typing import Any, List

import pytest

from agent import wire
from agent.catalogue import loader
from agent.parse import anchors, asides, reading, scan, training

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

SCANNER = scan.Scanner()
LINES = [
    " [2025-09-05 16:08:14] iteration        1/    2000 | consumed samples:          128 | elapsed time per iteration (ms): 79489.9 | learning rate: 2.999998E-05 | global batch size:   128 | lm loss: 2.605958E+00 | loss scale: 1.0 | grad norm: 0.258 | number of skipped iterations:   0 | number of nan iterations:   0 |",
    "{'loss': 2.9332, 'grad_norm': nan, 'learning_rate': 0.0001, 'epoch': 0.06, 'global_step/max_steps': '1/16', 'memory(GiB)': 24.8}",
    "Epoch 0:   3%|x | 34103/1100000 [5:28:58<171:22:21,  1.73it/s, loss=2.52, v_num=, reduced_train_loss=2.510, global_step=3.1e+4]",
    "1: 2025-03-04 00:44:44,441 - root - INFO - \x1b[36mstep: 1990  \x1b[32mloss:  3.4370  \x1b[33mmemory: 68.57GiB(86.69%)  \x1b[34mtps: 6,785\x1b[39m",
    "- INFO - { Epoch:[  1/  2], step:[    1/ 6500], loss: 0.000, per_step_time: 166756ms, lr: 0.0, global_norm: [44.313248], train_throughput_per_npu: 2.849T",
    "step:12 - actor/pg_loss:0.013 - actor/lr:1e-06 - timing_s/step:52.1 - perf/throughput:np.float64(1234.5)",
    "  successfully saved checkpoint from iteration    2500 to /ckpt [ t 1/2, p 1/1 ]",
    " validation loss at iteration 2500 on validation set | lm loss value: 2.925279E+00 | lm loss PPL: 1.863942E+01 | ",
    *(signature.sample for signature in loader.load()),
]


def check(block: bytes) -> List[reading.Found]:
    memory: Any = {}
    found = reading.read_block(block, SCANNER, memory)
    json.dumps([one.data for one in found], allow_nan=False)
    assert json.loads(json.dumps(memory, allow_nan=False)) == memory
    for one in found:
        if one.kind in wire.RECORD_FIELDS:
            where = dict.fromkeys(("job", "attempt", "round", "rank", "local_rank", "file", "file_id", "offset"))
            assert wire.problems_in(one.kind, dict(where, **one.data)) == [], one
        assert 0 <= one.offset <= len(block)
        assert one.line == block.count(b"\n", 0, one.offset)
    assert [one.offset for one in found] == sorted(one.offset for one in found)
    return found


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.lists(st.sampled_from(LINES), min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 10 ** 6), st.binary(max_size=6), st.integers(0, 12)), max_size=6),
                  st.sampled_from(["\n", "\r", "", "\r\n"]))
def test_damaged_lines(lines: List[str], wounds: List[Any], between: str) -> None:
    raw = between.join(lines).encode("utf-8")
    for place, put, taken in wounds:
        place %= len(raw) + 1
        raw = raw[:place] + put + raw[place + taken:]
    check(raw)
    text = raw.decode("utf-8", "replace")
    training.parse_line(text)
    asides.asides(text)


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.lists(st.sampled_from(["iteration ", "1/", " 9", "|", ": ", "=", "lm loss", "loss", "{'loss': ", "}", "nan", "1e999", "'", '"', "[", "]", "<", "it/s",
                                            "step:", " - ", "Epoch:[", "], ", ",", "-", "9" * 40, "\x1b[", "\x00", "\r", "\n", "\u202e", "EI0002", "rank", "é"]), max_size=60))
def test_made_up_lines(parts: List[str]) -> None:
    check("".join(parts).encode("utf-8"))
    for line in "".join(parts).split("\n"):
        training.parse_line(line)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.binary(max_size=600))
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.lists(st.binary(min_size=4, max_size=8).filter(lambda text: b"\n" not in text), min_size=1, max_size=8), st.binary(max_size=200), st.randoms())
def test_the_search_finds_what_is_there_and_nothing_else(texts: List[bytes], noise: bytes, rng: Any) -> None:
    block = bytearray(noise)
    for text in texts:
        place = rng.randrange(len(block) + 1)
        block[place:place + rng.randrange(3)] = text
    raw = bytes(block)
    expected = sorted({(place, text) for text in texts for place in range(len(raw)) if raw.startswith(text, place)})
    assert anchors.Search(texts).occurrences(raw) == expected
    assert anchors.Search(texts, share=lambda needle: rng.random()).occurrences(raw) == expected


PIECES = [" ", "|", "a: ", "1", "1/", "1,", "iteration 1/2 | ", "iteration ", "lm loss: 1 ", "lm loss: ", "{", "{'loss': ", "'loss': 1, 'a': ", "[", "] ", " [", "1/2 [", "|1/2 [00:00<00:00",
          "step: 1  loss: 1  ", "step:1 - a:", "a b ", "a=", "- ", "successfully saved checkpoint from iteration 1 to ", "[ t ", ".", "....", "/", "\t", "Rank 1: ", "rank", "(PID:1, ",
          "loss: ", "_", "no ", "Epoch:[1/2], step:[1/2], ", "2025-01-01 00:00:00 ", "1e", "tls switch ", "CUDA error: ", "listen on ip[", "nan", "saving checkpoint at iteration 1 to "]


@pytest.mark.parametrize("piece", PIECES + [signature.anchors[0] + " " for signature in loader.load()])
def test_no_expression_blows_up(piece: str) -> None:
    # Two lengths: what grows with the square or worse is far above the bound, which is some hundred times what is usual.
    for prefix in ("", " iteration 1/2 | lm loss: 1.0 | ", "{'loss': 1, 'epoch': 2, ", "EI0002 "):
        text = prefix + piece * (40000 // len(piece))
        began = time.process_time()
        training.parse_line(text)
        asides.asides(text[:training.LINE_LIMIT])
        check(text.encode("utf-8"))
        assert time.process_time() - began < 5.0, prefix


def test_a_long_line_costs_no_more_than_its_size() -> None:
    raw = b" iteration 1/ 2 | lm loss: 3.0 |" + b" | x: 1" * 3000000 + b" No space left on device " + b"y" * 3000000
    found = check(raw)
    assert {one.kind for one in found} == {"iteration", "fault"}
    assert all(len(json.dumps(one.data)) < 200000 for one in found)

from __future__ import annotations

import re
from pathlib import Path
from typing import List

import pytest

from agent.catalogue import loader
from agent.parse import scan, training

SCANNER = scan.Scanner()
SIGNATURES = loader.load()


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.rule)
def test_each_sample_is_found_and_matches_its_own_rule(signature: loader.Signature) -> None:
    block = b"before\n" + signature.sample.encode("utf-8") + b"\nafter\n"
    start, end = SCANNER.candidates(block)[0]
    rules = [fault["rule"] for fault in SCANNER.faults(block[start:end].decode("utf-8"))]
    assert signature.rule in rules


@pytest.mark.parametrize("signature", [one for one in SIGNATURES if one.unlike], ids=lambda signature: signature.rule)
def test_what_looks_alike_does_not_match(signature: loader.Signature) -> None:
    for line in signature.unlike:
        assert signature.rule not in [fault["rule"] for fault in SCANNER.faults(line)], line


@pytest.mark.parametrize("line", [
    " iteration       10/      60 | lm loss: 5.5E+00 | grad norm: 1.2 | number of nan iterations:   0 |",
    "time (ms) | forward-compute: 264.79 | backward-compute: 481.96",
    "saving checkpoint at iteration      10 to /ckpt in torch_dist format",
    "  successfully saved checkpoint from iteration      10 to /ckpt [ t 1/1, p 1/1 ]",
    " > number of parameters on (tensor, pipeline) model parallel rank (0, 0): 354871296",
    "WARNING: TensorBoard writing requested but is not available (are you using PyTorch 1.1.0 or later?)",
    "NCCL INFO comm 0x150674001060 rank 11 nranks 16 cudaDev 1 busId 1c000 - Init COMPLETE",
    "0 errors found, error rate 0.0, no Errors",
    "[INFO] HCCL(42,python):2026-02-20-16:27:32.538.151 [hcom.cc:454][42]Entry-HcomAllReduce:tag[HcomAllReduce_1]",
])
def test_ordinary_lines_are_no_faults(line: str) -> None:
    assert SCANNER.faults(line) == []


def test_torchrun_says_which_worker() -> None:
    line = "E0203 10:00:05.1 4100 torch/distributed/elastic/multiprocessing/api.py:984] failed (exitcode: -9) local_rank: 1 (pid: 4242) of binary: /usr/bin/python3"
    [fault] = SCANNER.faults(line)
    assert (fault["rule"], fault["local_rank"], fault["pid"], fault["code"], fault["role"]) == ("torchrun-worker-failed", 1, 4242, "-9", "unclear")


def test_torch_npu_names_device_and_rank_but_never_the_unknown_rank() -> None:
    [fault] = SCANNER.faults("[ERROR] 2026-02-03-15:09:34 (PID:2969, Device:3, RankID:101) ERR00100 PTA call acl api failed.")
    assert (fault["rank"], fault["device"], fault["pid"], fault["time"]) == (101, 3, 2969, "2026-02-03T15:09:34")
    [fault] = SCANNER.faults("[ERROR] 2026-02-03-15:09:34 (PID:2969, Device:3, RankID:-1) ERR00100 PTA call acl api failed.")
    assert fault["rank"] is None
    [fault] = SCANNER.faults("[ERROR] 2026-02-03-15:09:34 (PID:2969, Device:3, RankID:4294967295) ERR00100 PTA call acl api failed.")
    assert fault["rank"] is None


def test_a_bare_exception_is_told_only_where_nothing_more_exact_is() -> None:
    assert [fault["rule"] for fault in SCANNER.faults("RuntimeError: something new")] == ["python-exception"]
    assert [fault["rule"] for fault in SCANNER.faults("RuntimeError: CUDA error: out of memory")] == ["cuda-oom-at-start"]
    assert [fault["rule"] for fault in SCANNER.faults("[rank3]: ValueError: x")] == ["python-exception"]


def test_a_traceback_by_itself_is_no_fault() -> None:
    # It says less than its last line; as "unclear" it would outrank the "cascade" that a lost peer's line is.
    log = ["[rank0]: Traceback (most recent call last):", '[rank0]:   File "w.py", line 5, in <module>', "[rank0]:     d.all_reduce(t)",
           "[rank0]: RuntimeError: [/x/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:51417: Connection reset by peer."]
    assert [(fault["rule"], fault["rank"]) for line in log for fault in SCANNER.faults(line)] == [("connection-reset", 0)]


def test_candidates_equal_a_search_line_by_line() -> None:
    # Overlapping and touching anchors, anchors at both ends, no last newline, empty lines.
    anchors = sorted({anchor for signature in SIGNATURES for anchor in signature.anchors} | set(training.ANCHORS))
    lines: List[str] = ["", "nothing here"]
    lines += anchors
    lines += [first + second[1:] for first in anchors[:40] for second in anchors[40:80] if first[-1] == second[0]]
    lines += [first[:-1] + second for first, second in zip(anchors, anchors[1:])]
    lines += [first[:-1] for first in anchors]
    block = "\n".join(lines).encode("utf-8")
    naive, start = [], 0
    for line in lines:
        raw = line.encode("utf-8")
        if any(anchor in line for anchor in anchors):
            naive.append((start, start + len(raw)))
        start += len(raw) + 1
    got = SCANNER.candidates(block)
    assert set(naive) <= set(got)
    # The tails are shorter than the anchors: a few lines more are looked at, none is missed.
    assert len(got) <= len(lines)


def test_long_line_is_looked_at_around_its_anchor_only() -> None:
    line = "x" * 3000000 + " No space left on device " + "y" * 3000000
    [fault] = SCANNER.faults(line)
    assert fault["rule"] == "disk-full"
    assert len(fault["text"]) <= scan.TEXT_LIMIT


def test_captures_hold_faults_that_are_known(corpus: Path) -> None:
    # Captures that are not failures of the job itself, or of which the index says the text is elsewhere.
    silent = []
    for path in sorted((corpus / "logs").glob("failure-*/*.log")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if not any(SCANNER.faults(line) for line in re.split("[\r\n]", text)):
            silent.append(path.name)
    assert len(silent) <= 9, silent

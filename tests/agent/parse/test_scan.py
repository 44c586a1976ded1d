from __future__ import annotations

import random
import re
import zlib
from typing import Dict, List, Optional, Tuple

import pytest

from agent.catalogue import loader
from agent.parse import anchors, reading, scan, training
from agent.parse.text import clean

SCANNER = scan.Scanner()
SIGNATURES = loader.load()


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.rule)
def test_each_sample_is_found_and_matches_its_own_rule(signature: loader.Signature) -> None:
    block = b"before\n" + signature.sample.encode("utf-8") + b"\nafter\n"
    [line] = [line for line in SCANNER.lines(block) if line.signatures]
    assert block[line.start:line.end] == signature.sample.encode("utf-8")
    rules = [fault["rule"] for fault in SCANNER.faults_in(block, line)]
    assert signature.rule in rules or (signature.generic and rules)


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


@pytest.mark.parametrize("line, rule, code", [
    ("EI0001: Environment variable [HCCL_SOCKET_IFNAME] is invalid.", "hccl-config-invalid", "EI0001"), ("EL0003: The argument is invalid.", "cann-error-code", "EL0003"), ("ret is -8012", "dcmi-return-code", "-8012"), ("error code is 507035", "npu-core-exception", "507035"),
    ("retCode=507018", "npu-aicpu-exception", "507018"), ("ErrCode=507053", "hbm-uce", "507053"), ("aclrtSynchronizeStream failed, ret 507033", "npu-start-failed", "507033"), ("error code is 507054", "hbm-multi-bit-ecc", "507054"),
    ("error code is 500001", "acl-init-failed", "500001"), ("ray.exceptions.RayTaskError(RuntimeError): ray::WorkerDict.update_actor() (pid=12, ip=10.0.0.1)", "python-exception", None),
    ("aclrtSynchronizeStream(stream) failed: 507034 (main.cpp:12)", "npu-vector-core-timeout", "507034"), ("Kernel task happen error, retCode=0x30, [vector core timeout].", "npu-vector-core-timeout", "507034"),
    ("Message info[0]:RTS_HWTS: aicore exception, slot_id=1", "npu-aicore-exception", "507015"), ("[Error]: The vector core execution is abnormal.", "npu-core-exception", "507035"),
    ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch cgroup.", "host-oom-kill", None), ("slurmstepd: error: Exceeded job memory limit", "host-oom-kill", None),
    ("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR", "ray-worker-died", None),
    ("Rank 3: found NaN in local forward loss calculation. Device: 3, node: a", "nan-in-grad", None), ("[rank3]: AssertionError", "python-exception", None)])
def test_faults_without_their_usual_frame(line: str, rule: str, code: Optional[str]) -> None:
    assert [(fault["rule"], fault["code"]) for fault in SCANNER.faults(line)] == [(rule, code)]


def test_whom_the_kernel_killed() -> None:
    for line in ("[Thu Jan  1 10:00:00 2026] Killed process 412 (python) total-vm:1kB", "Jan  1 10:00:00 n1 kernel: Killed process 412 (a b) total-vm:1kB, anon-rss:1kB",
                 "Memory cgroup out of memory: Killed process 412 (python3) total-vm:1kB", "Out of memory: Kill process 412 (python3) score 9 or sacrifice child"):
        assert [(fault["rule"], fault["pid"]) for fault in SCANNER.faults(line)] == [("host-oom-kill", 412)]


def test_the_rank_of_a_named_process_group() -> None:
    [fault] = SCANNER.faults("  what():  [PG ID 4 PG GUID 4(tp group) Rank 9] Process group watchdog thread terminated with exception: x")
    assert fault["rank"] == 9


def test_the_device_of_an_error_that_cann_names() -> None:
    for line in ("EE9999: [PID: 123] 2026-01-01-00:00:00.123.456 The error from device(chipId:3, dieId:0), serial number is 9, there is an exception of aivec error, core id is 0",
                 "EZ9999: Inner Error! EZ9999  The error from device(3), serial number is 1, there is an aicore error, core id is 0", "EE9999: x  The error from device(chipId:3, dieId:0), y"):
        assert [fault["device"] for fault in SCANNER.faults(line)] == [3]


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


def naive(line: bytes) -> List[str]:
    """The rules of one line, found the slow way: every anchor of every signature looked for in it."""
    text, exact, generic = clean(line.decode("utf-8", "replace")), [], []
    for signature in SIGNATURES:
        for anchor in signature.anchors:
            raw, place = anchor.encode("utf-8"), line.find(anchor.encode("utf-8"))
            while place >= 0 and raw[-1:].isdigit() and line[place + len(raw):place + len(raw) + 1].isdigit():
                place = line.find(raw, place + 1)
            if place >= 0:
                if signature.pattern is None or signature.pattern.search(text):
                    (generic if signature.generic else exact).append(signature.rule)
                break
    return exact or generic[:1]


def fast(block: bytes, scanner: scan.Scanner = SCANNER) -> List[Tuple[int, List[str]]]:
    """[(where a line begins, its rules)] of all lines with faults."""
    told = [(line.start, [fault["rule"] for fault in scanner.faults_in(block, line)]) for line in scanner.lines(block)]
    return [one for one in told if one[1]]


def slow(block: bytes) -> List[Tuple[int, List[str]]]:
    """The same, found the slow way."""
    told, start = [], 0
    for line in re.split(b"[\r\n]", block):
        told.append((start, naive(line)))
        start += len(line) + 1
    return [one for one in told if one[1]]


def adversarial() -> bytes:
    """Overlapping and touching anchors, halves of anchors, anchors at both ends, no last newline, empty lines."""
    anchors = sorted({anchor for signature in SIGNATURES for anchor in signature.anchors} | set(training.ANCHORS))
    lines: List[str] = ["", "nothing here", *anchors, *(signature.sample for signature in SIGNATURES)]
    for first in anchors:
        for second in anchors:
            overlap = next((size for size in range(min(len(first), len(second)) - 1, 0, -1) if first.endswith(second[:size])), 0)
            if overlap:
                lines.append(first + second[overlap:])
    lines += [first[:-1] + second for first, second in zip(anchors, anchors[1:])]
    lines += [first[:-1] for first in anchors] + [first[1:] for first in anchors] + [first + "7" for first in anchors]
    return "\n".join(lines).encode("utf-8")


def test_the_fast_search_equals_the_slow_one_on_overlapping_signatures() -> None:
    block = adversarial()
    expected = slow(block)
    assert len(expected) > 1000
    assert fast(block) == expected
    assert fast(block.replace(b"\n", b"\r")) == expected
    for sample in (block, b"EEEEEEEE" * 9000, b"iteration loss " * 9000, bytes(range(256)) * 300):
        assert fast(block, SCANNER.tuned(sample)) == expected


def test_every_plan_finds_every_text() -> None:
    texts = [b"abcd", b"bcda", b"abcdab", b"cdab", b"aaaa", b"aaaaa", b"xaaaa", b"\xff\xfe\xfd\xfc", b"a.c*", b"loss:", b"m loss:"]
    block = b"abcdabcda aaaaaa xaaaaa \xff\xfe\xfd\xfc a.c* abcc lm loss: loss"
    expected = sorted((place, text) for text in texts for place in range(len(block)) if block.startswith(text, place))
    plans = [anchors.Search(texts)] + [anchors.Search(texts, share=lambda needle, salt=salt: (zlib.crc32(needle + salt) % 1000) / 2000.0)
                                       for salt in (b"1", b"2", b"3", b"4", b"5", b"6")]
    for search in plans:
        assert search.occurrences(block) == expected
    with pytest.raises(ValueError):
        anchors.Search([b"abc"])


def test_a_match_hides_no_text_that_begins_within_it() -> None:
    rng = random.Random(17)
    for _ in range(25):
        texts = sorted({bytes(rng.choice(b"abX") for _ in range(rng.randint(4, 9))) for _ in range(12)})
        block = b"".join(rng.choice(texts)[:rng.randint(1, 9)] for _ in range(400))
        expected = sorted((place, text) for text in texts for place in range(len(block)) if block.startswith(text, place))
        for needle in (b"X", b"a", b"ab"):    # found by an expression
            search = anchors.Search(texts, share=lambda other, needle=needle: 0.02 if other == needle else 1e-6 if needle in other else 0.3)
            assert search.occurrences(block) == expected


def test_a_rare_byte_that_turns_out_frequent_hides_nothing() -> None:
    texts = [b"Xabc", b"abcX1", b"cXab", b"XabcX"]
    search = anchors.Search(texts, share=lambda needle: 0.00001 if b"X" in needle else 0.2)
    block = b"XabcX1" + b"X" * 9000 + b"abcXabcX1" + b"XXX" * 5000 + b"Xabc"
    expected = sorted((place, text) for text in texts for place in range(len(block)) if block.startswith(text, place))
    assert len(expected) > 6
    assert search.occurrences(block) == expected


def test_texts_that_end_alike_are_told_apart_by_how_they_begin() -> None:
    texts = [b"%c%c%c%cXy" % (letter, letter, letter, letter) for letter in b"abcdef"] + [b"aXyz", b"gXyzzzzzzz", b"aaXy", b"abaaaaXy"]
    search = anchors.Search(texts, share=lambda needle: 0.01 if needle[:1] == b"X" else 0.3)
    for block in (b"aaaaXy", b"aaaXy bbbbXyz ccccXy", b"Xy gXyzzzzzzzaXyzabaaaaXyaaXyffffXy"):
        assert search.occurrences(block) == sorted((place, text) for text in texts for place in range(len(block)) if block.startswith(text, place))


def test_a_storm_of_one_fault_is_cut_short_by_who_asks() -> None:
    block = b"OSError: [Errno 28] No space left on device\nRuntimeError: x\n" * 50
    admitted: Dict[str, int] = {}

    def admit(rule: str, offset: int) -> bool:
        admitted[rule] = admitted.get(rule, 0) + 1
        return admitted[rule] <= 3

    found = reading.read_block(block, SCANNER, {}, admit, lambda offset: frozenset(rule for rule, count in admitted.items() if count >= 3))
    assert sorted(one.data["rule"] for one in found) == ["disk-full"] * 3 + ["python-exception"] * 3
    assert admitted == {"disk-full": 3, "python-exception": 3}


def test_long_line_is_looked_at_around_its_anchor_only() -> None:
    line = "x" * 3000000 + " No space left on device " + "y" * 3000000
    [fault] = SCANNER.faults(line)
    assert fault["rule"] == "disk-full"
    assert len(fault["text"]) <= scan.TEXT_LIMIT

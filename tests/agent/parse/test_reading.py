"""What needs more than one line, and more than one block."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

from agent.parse import reading, scan, steps

SCANNER = scan.Scanner()
WHOLE = (" [2025-09-05 16:08:14] iteration %8d/    2000 | consumed samples:          128 | elapsed time per iteration (ms): 5837.9 | learning rate: 1.000E-05 | "
         "global batch size:   128 | lm loss: 2.117073E+00 | loss scale: 1.0 | grad norm: 1.234 | number of skipped iterations:   0 | number of nan iterations:   0 |\n")
NEXT = " [2025-09-05 16:08:20] iteration %8d/    2000 | lm loss: 2.0E+00 | grad norm: 1.1 |\n"


def wrapped(text: str, width: int) -> str:
    text = text.rstrip("\n")
    return "".join(text[at:at + width] + "\n" for at in range(0, len(text), width))


def read(blocks: List[bytes]) -> Dict[Tuple[int, int], Dict[str, Any]]:
    """Iterations by (offset, how many from it), the later told in place of the earlier, as keys have it."""
    memory: reading.Memory = {}
    found: Dict[Tuple[int, int], Dict[str, Any]] = {}
    base = lines = 0
    for block in blocks:
        count: Dict[int, int] = {}
        for one in reading.read_block(block, SCANNER, memory):
            if one.kind == "iteration":
                place = base + one.offset
                found[(place, count.get(place, 0))] = dict(one.data, line=lines + one.line)
                count[place] = count.get(place, 0) + 1
        base, lines = base + len(block), lines + block.count(b"\n")
    return found


@pytest.mark.parametrize("width", [60, 80, 100, 132, 160, 200, 237])
def test_a_wrapped_record_that_two_blocks_share_is_read_whole(width: int) -> None:
    text = ("x\n" + wrapped(WHOLE % 7, width) + NEXT % 8 + "saving checkpoint at iteration 8 to /c in torch_dist format\n").encode()
    once = read([text])
    assert [data["iteration"] for data in once.values()] == [7, 8]
    ends = [at + 1 for at in range(len(text)) if text[at:at + 1] == b"\n"]
    for first in ends:
        assert read([text[:first], text[first:]]) == once, first
        for second in (end for end in ends if end > first):
            assert read([text[:first], text[first:second], text[second:]]) == once, (first, second)


def test_what_follows_a_whole_record_is_not_taken_for_its_rest() -> None:
    for other in (NEXT % 8, "(min, max) time across ranks (ms):\n", "[Rank 0] (after 1 iterations) memory (MB) | allocated: 1.0 | max allocated: 2.0\n",
                  " validation loss at iteration 7 | lm loss value: 1.0E+00 | lm loss PPL: 2.7E+00 | \n"):
        both = read([(WHOLE % 7).encode(), other.encode()])
        assert next(iter(both.values()))["extra"] == {}
        assert both == read([(WHOLE % 7 + other).encode()])


TIMERS = """(min, max) time across ranks (ms):
    forward-backward ...............................: (3198.27, 3199.53)
    optimizer-inner-step ...........................: (1.5, 12.25)
    save-checkpoint ................................: (0.5, 0.75)
"""
BOTH = {"forward-backward": [3198.27, 3199.53], "optimizer-inner-step": [1.5, 12.25], "save-checkpoint": [0.5, 0.75]}


def timers(blocks: List[bytes]) -> Dict[int, Dict[str, Any]]:
    memory: reading.Memory = {}
    found: Dict[int, Dict[str, Any]] = {}
    base = 0
    for block in blocks:
        for one in reading.read_block(block, SCANNER, memory):
            if one.kind == "timers":
                found[base + one.offset] = dict(one.data)
        base += len(block)
    return found


def test_a_block_of_timers_is_one_record_however_it_is_cut() -> None:
    text = (WHOLE % 7 + TIMERS + NEXT % 8 + TIMERS.replace("3199.53", "9")).encode()
    once = timers([text])
    assert [(data["iteration"], data["ms"]) for data in once.values()] == [(7, BOTH), (8, dict(BOTH, **{"forward-backward": [3198.27, 9.0]}))]
    ends = [at + 1 for at in range(len(text)) if text[at:at + 1] == b"\n"]
    assert timers([text[start:end] for start, end in zip([0] + ends, ends)]) == once
    for cut in ends:
        assert timers([text[:cut], text[cut:]]) == once


@pytest.mark.parametrize("text, ms", [
    ("max time across ranks (ms):\n    optimizer ......................................: 166.36\n", {"optimizer": [166.36, 166.36]}),
    ("[rank7]: (min, max) time across ranks (ms):\n[rank7]:     optimizer ......: (1.0, 2.0)\n", {"optimizer": [1.0, 2.0]}),
    ("[2025-11-10 09:43:39,572] [INFO] [logging.py:107:log_dist] [Rank 0] time (ms) | fwd: 713.96 | bwd: 2398.60\n", {"fwd": [713.96, 713.96], "bwd": [2398.6, 2398.6]}),
    ("time (ms) | save-checkpoint: 57514.53\n", {"save-checkpoint": [57514.53, 57514.53]})])
def test_timers_of_all_spellings(text: str, ms: Dict[str, List[float]]) -> None:
    (found,) = timers([text.encode()]).values()
    assert found["ms"] == ms


DEEPSPEED = "[2023-01-01 00:00:0%d,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=%d, skipped=%d, lr=[1e-05, 1e-05], mom=[[0.9, 0.999], [0.9, 0.999]]\n"


def test_the_optimizers_own_line_is_a_step_where_the_trainer_prints_none() -> None:
    told = read([(DEEPSPEED % (1, 10, 1) + DEEPSPEED % (2, 20, 3)).encode()])
    assert [(data["iteration"], data["learning_rate"], data["skipped"], data["lm_loss"], data["time"]) for data in told.values()] == [
        (10, 1e-05, 1, None, "2023-01-01T00:00:01.000"), (20, 1e-05, 2, None, "2023-01-01T00:00:02.000")]
    beside = read([(DEEPSPEED % (1, 7, 0) + WHOLE % 7 + DEEPSPEED % (2, 8, 0) + NEXT % 8).encode()])
    assert [(data["iteration"], data["lm_loss"] is not None) for data in beside.values()] == [(7, True), (8, True)]


MAPPING = "{'loss': 2.5, 'grad_norm': 1.25, 'learning_rate': 1e-05, 'epoch': 0.01, 'global_step/max_steps': '5/100', 'memory(GiB)': 24.5}\n"


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_mapping_that_was_wrapped(width: int) -> None:
    whole = read([MAPPING.encode()])
    assert read([wrapped(MAPPING, width).encode()]) == whole
    assert [data["iteration"] for data in read([(wrapped(MAPPING, width) + MAPPING).encode()]).values()] == [5, 5]
    assert [data["grad_norm"] for data in read([(MAPPING[:40] + "\nnot its rest\n" + MAPPING).encode()]).values()][-1] == 1.25


def test_memory() -> None:
    line = b"[Rank 20] (after 20 iterations) memory (MB) | allocated: 15426.5 | max allocated: 18045.5 | reserved: 22290.0 | max reserved: 22291.0\n"
    (found,) = reading.read_block(line, SCANNER, {})
    assert (found.kind, found.place) == ("memory", {"rank": 20})
    assert found.data == {"iteration": 20, "allocated_mb": 15426.5, "max_allocated_mb": 18045.5, "reserved_mb": 22290.0, "max_reserved_mb": 22291.0, "time": None}


def test_memory_in_gigabytes() -> None:
    line = b"[Rank 0] (after 1 iterations) memory (GB) | mem-allocated-gigabytes: 13.5 | mem-reserved-gigabytes: 14.25 | mem-max-allocated-gigabytes: 13.75 | mem-max-reserved-gigabytes: 15.0\n"
    (found,) = reading.read_block(line, SCANNER, {})
    assert found.data == {"iteration": 1, "allocated_mb": 13824.0, "max_allocated_mb": 14080.0, "reserved_mb": 14592.0, "max_reserved_mb": 15360.0, "time": None}


MEMORY = "[Rank 3] (after 7 iterations) memory (MB) | allocated: 9008.25 | max allocated: 9712.5 | reserved: 9954.0 | max reserved: 9955.0"


@pytest.mark.parametrize("width", [60, 66, 72, 78, 80, 86, 92, 97, 99, 104, 113, 119, 123, 126])
def test_memory_that_was_wrapped(width: int) -> None:
    (found,) = reading.read_block(wrapped(MEMORY, width).encode() + b"12 done\n", SCANNER, {})
    assert [found.data[name] for name in ("allocated_mb", "max_allocated_mb", "reserved_mb", "max_reserved_mb")] == [9008.25, 9712.5, 9954.0, 9955.0]


def test_memory_ends_with_its_line() -> None:
    (found,) = reading.read_block((MEMORY + "\n1234.5\n 1 | 2\n").encode(), SCANNER, {})
    assert found.data["max_reserved_mb"] == 9955.0


def test_bars_whose_carriage_returns_were_lost() -> None:
    step = "Epoch 0:  %d%%|#   | %d/50 [00:0%d<01:00, 1.0s/it, loss=%s, v_num=2]"
    line = "Epoch 0:   0%|    | 0/50 [00:00<?, ?it/s]" + step % (2, 1, 1, "3.5") + step % (4, 2, 2, "3.5") + step % (4, 2, 2, "3.25") + "\n"
    assert [(one.data["iteration"], one.data["lm_loss"]) for one in reading.read_block(line.encode(), SCANNER, {})] == [(1, 3.5), (2, 3.25)]
    endless = "Epoch 0:   2%|    | 1/50 [00:01<01:00, 1.0s/it, reduced_train_loss=3.5, Epoch 0:   4%|    | 2/50 [00:02<01:00, 1.0s/it, reduced_train_loss=3.25\n"
    assert [(one.data["iteration"], one.data["lm_loss"], one.data["extra"]) for one in reading.read_block(endless.encode(), SCANNER, {})] == [(1, 3.5, {}), (2, 3.25, {})]


def test_a_save_that_nemo_tells_twice() -> None:
    text = ("[NeMo I 2026-01-02 10:00:01 nemo_logging:1] Successfully saved checkpoint from iteration      20 to /ckpt/step=19-last.ckpt\n"
            "[NeMo I 2026-01-02 10:00:01 nemo_logging:1] Async checkpoint save for step 20 (/ckpt/step=19-last.ckpt) finalized successfully.\n")
    assert [(one.data["event"], one.data["iteration"], one.data["path"]) for one in reading.read_block(text.encode(), SCANNER, {})] == [("saved", 20, "/ckpt/step=19-last.ckpt")]
    assert [one.data["iteration"] for one in reading.read_block(text.encode().split(b"\n", 1)[1], SCANNER, {})] == [20]


def test_what_a_process_raised_is_its_own_though_ray_passed_it_on() -> None:
    text = ("(TaskRunner pid=11) [ERROR] 2026-01-02-10:00:01 (PID:77, Device:2, RankID:10) ERR02200 DIST call hccl api failed.\n"
            "(TaskRunner pid=11) EI0002: [PID: 77] 2026-01-02-10:00:01.000.001 The wait execution of the Notify register times out.\n")
    assert [(one.data["pid"], one.data["rank"], one.data["device"]) for one in reading.read_block(text.encode(), SCANNER, {})] == [(77, 10, 2), (77, 10, 2)]


READY = "[Torch] Checkpoint global_step%d is ready now!\n"
BEGIN = "[Rank 0] [Torch] Checkpoint global_step%d is about to be saved!\n"


@pytest.mark.parametrize("text, told", [
    (BEGIN % 5 + READY % 5 * 3, [(5, "started"), (5, "saved")]),
    ("Saving model checkpoint to out/checkpoint-5\n" + BEGIN % 5 + READY % 5 * 2, [(5, "started"), (5, "saved")]),
    ("saving checkpoint at iteration 5 to /c\n" + BEGIN % 5 + READY % 5 + "  successfully saved checkpoint at iteration 5 to /c\n" + READY % 5, [(5, "started"), (5, "saved")]),
    (BEGIN % 5 + READY % 5 + BEGIN % 6 + READY % 6, [(5, "started"), (5, "saved"), (6, "started"), (6, "saved")])])
def test_a_save_of_which_the_library_beneath_tells_is_told_once(text: str, told: List[Tuple[int, str]]) -> None:
    found = reading.read_block(text.encode(), SCANNER, {})
    assert [(one.data["iteration"], one.data["event"]) for one in found if one.kind == "checkpoint"] == told


def test_a_rank_beside_its_local_rank() -> None:
    line = b"[Rank 12 | Local Rank 4] 2026-03-01 10:00:00 INFO [x:48] => iteration  1/  100 | consumed samples: 8 | loss: 1.9E+00 | grad norm: 134.300 |\n"
    (found,) = reading.read_block(line, SCANNER, {})
    assert found.place == {"rank": 12} and found.data["lm_loss"] == 1.9


@pytest.mark.parametrize("text", ["Loading the checkpoint at step 100.\n", "Loading the checkpoint from outputs/checkpoint/step-100.\n"])
def test_the_step_that_is_loaded_is_said_when_it_begins(text: str) -> None:
    found = reading.read_block((text + "Finished loading the checkpoint in 1.20 seconds.\n").encode(), SCANNER, {})
    assert [(one.data["iteration"], one.data["event"]) for one in found] == [(100, "loaded")]


def test_bars_between_carriage_returns_are_not_read_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    block = b"".join(b"Epoch 0: :   5%%| | %d/1000 [01:00<19:00, v_num=, reduced_train_loss=9.500, global_step=%d.0, consumed_samples=6272.0]\r" % (n, n) for n in range(400))
    looked: List[int] = []
    real = steps._pairs
    monkeypatch.setattr(steps, "_pairs", lambda text: (looked.append(len(text)), real(text))[1])
    reading.read_block(block + b"\n", SCANNER, {})
    assert 0 < sum(looked) < 10 * len(block)

"""Step, validation and checkpoint lines of trainers beside Megatron, whole and as a terminal wrapped them."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

from agent.parse import reading, scan, training

SCANNER = scan.Scanner()
STAMP = "[rank0]:[titan] 2025-09-01 00:25:47,084 - root - INFO - "
TITAN = STAMP + "step: 20  loss: 11.83506  grad_norm:  9.6669  memory: 48.87GiB(51.44%)  tps: 4,376  tflops: 253.41  mfu: 25.62%"
VERL = ("(TaskRunner pid=12345) step:1 - global_seqlen/min:1000 - global_seqlen/max:2000 - actor/entropy:0.5 - actor/kl_loss:0.001 - actor/pg_loss:np.float64(0.0123) - "
        "actor/grad_norm:0.45 - perf/mfu/actor:0.2 - actor/lr:1e-06 - training/global_step:1 - critic/score/mean:0.3 - perf/throughput:1234.5 - timing_s/step:52.12")
FORMERS = ("2024-09-01 10:00:00,123 - mindformers[core/callback/callback.py:342] - INFO - { Epoch:[  1/  2], step:[   20/   40], loss: 8.123, per_step_time: 1234ms, lr: 1e-05, "
           "overflow cond: False, loss_scale: 65536.0, global_norm: [1.5], train_throughput_per_npu: 120.500T")
INTERN = ("2023-07-07 12:28:57,802\tINFO train.py:323 in record_current_batch_training_metrics -- tflops=63.27,step=3,loss=11.6344,tgs (tokens/gpu/second)=1424.64,lr=4.0e-07,"
          "loss_scale=65536.0,grad_norm=63.67,micro_num=4,num_consumed_tokens=131072,fwd_bwd_time=6.48")
BAR = ("Epoch 0:  10%|#         | 100/1000 [03:20<30:00,  2.00s/it, v_num=abcd, reduced_train_loss=5.120, global_step=99.00, consumed_samples=25600.0, "
       "train_step_timing in s=1.980, val_loss=5.30]")


@pytest.mark.parametrize("line, expected", [
    (TITAN, {"iteration": 20, "lm_loss": 11.83506, "grad_norm": 9.6669, "tokens_per_s_per_device": 4376.0, "tflops": 253.41}),
    (STAMP + "step: 640/644 = 99.3789%  loss:  6.25  memory: 87.04GiB(93.48%)  tps: 52,142  mfu: 3.09%", {"iteration": 640, "total": 644, "lm_loss": 6.25, "tokens_per_s_per_device": 52142.0}),
    (STAMP + "step: 10  loss:  6.25  memory: 87.04GiB(93.48%)  wps: 52,142  mfu: 3.09%", {"iteration": 10, "tokens_per_s_per_device": 52142.0}),
    (STAMP + "step: 10  loss: nan  grad_norm: nan  memory: 1.00GiB(1.44%)  tps: 4,376  tflops: 1.41  mfu: N/A", {"iteration": 10, "lm_loss": "nan", "grad_norm": "nan", "tflops": 1.41}),
    ("step:    1,020 token:      12,345,678  loss:  6.25  lr: 1.0000e-04 gnorm:  1.20 memory: 87.04GiB tgs:  52,142 mfu:  3.09% [ 0:10:00< 1:00:00]",
     {"iteration": 1020, "lm_loss": 6.25, "learning_rate": 1e-4, "grad_norm": 1.2, "tokens_per_s_per_device": 52142.0}),
    ("Step  5: lr=1.00E-04, loss= 7.125 (max= 7.5000), tps=1234, mfu=3.09%, memory: 87.04GiB(93.48%) time/data_loading=0.01s (0.10%)",
     {"iteration": 5, "lm_loss": 7.125, "learning_rate": 1e-4, "tokens_per_s_per_device": 1234.0}),
    ("Step: 10  Loss:  6.25  Memory: 87.04GiB(93.48%)  WPS: 52,142  MFU: 3.09%", {"iteration": 10, "lm_loss": 6.25}),
    (INTERN, {"iteration": 3, "lm_loss": 11.6344, "tflops": 63.27, "tokens_per_s_per_device": 1424.64, "grad_norm": 63.67, "loss_scale": 65536.0, "learning_rate": 4e-7}),
    ("x.py:1 in f -- tflops=180.5 step=19 loss=0.5 tgs (tokens/gpu/second)=3345.72 tgs/last_tgs_1=3345.74 lr=1e-05 loss_scale=65536.0 grad_norm={'0_default': 0.25, '1_fp32': 0.0} "
     "micro_num=4 loss_from_metric=0.7 loss/cn=nan", {"iteration": 19, "lm_loss": 0.5, "tflops": 180.5, "tokens_per_s_per_device": 3345.72, "grad_norm": 0.25, "learning_rate": 1e-5}),
    (" iteration 1/ 9 | elapsed time per iteration (ms): 612.7 | learning rate 1.500E-04 | lm loss 1.25E+01 | nsp loss 6.9E-01 | loss scale 262144.0 |",
     {"lm_loss": 12.5, "extra": {"nsp loss": 0.69}}),
    (" iteration 1/ 9 | throughput (token/sec/GPU): 4512.5 | flop throughput (TFLOP/sec/GPU): 412.5 | lm loss: 2.0E+00 |", {"tokens_per_s_per_device": 4512.5, "tflops": 412.5}),
    ("iteration: 5 / 100 | actor/pg_loss : 0.25 | actor/lr : 1e-06 | grad_norm : 0.5 | timing/all : 120.5 |", {"iteration": 5, "lm_loss": 0.25, "elapsed_ms": 120500.0}),
])
def test_a_step(line: str, expected: Dict[str, Any]) -> None:
    [(kind, data)] = training.parse_line(line)
    assert (kind, {name: data[name] for name in expected}) == ("iteration", expected)


@pytest.mark.parametrize("line", [
    "Step 1: warm up, then watch the loss: it falls", "Starting step 5: loading data, loss=unknown", "epoch=0/micro_step=10/global_step=10, RunningAvgSamplesPerSec=9.5, MemAllocated=12.3GB",
    "current step: 3 of the guide says loss: see below", "micro_step=3, loss=2.0"])
def test_no_step(line: str) -> None:
    assert training.parse_line(line) == []


@pytest.mark.parametrize("line, iteration, loss, ppl", [
    (" validation loss at iteration 1000 | LM loss: 2.925279E+00 | LM PPL: 1.863942E+01", 1000, 2.925279, 18.63942),
    (" validation loss at the end of training for val data | LM loss: 2.5 | LM PPL: 12.25", None, 2.5, 12.25),
    (" [2026-11-16 14:24:03] ** validation after iteration 100 ** | validation steps: 10 | validation loss: 2.345678E+00 |", 100, 2.345678, None),
    ("Epoch 0, global step 500: 'val_loss' reached 5.12345 (best 5.12345), saving model to '/c/val_loss=5.12-step=500.ckpt' as top 1", 500, 5.12345, None)])
def test_a_validation(line: str, iteration: int, loss: float, ppl: float) -> None:
    [data] = [data for kind, data in training.parse_line(line) if kind == "validation"]
    assert (data["iteration"], data["lm_loss"], data["ppl"]) == (iteration, loss, ppl)


@pytest.mark.parametrize("line, event, iteration, path", [
    ("  successfully saved local checkpoint from iteration      10", "saved", 10, None),
    ("global rank 0 is saving checkpoint at iteration     100 to /run/iter_0000100/mp_rank_00/model_optim_rng.pt", "started", 100, "/run"),
    ("  successfully saved /run/iter_0000100/mp_rank_00/model_optim_rng.pt", "saved", 100, "/run"),
    ("  successfully loaded /run/iter_0000100/mp_rank_00/model_optim_rng.pt", "loaded", 100, "/run"),
    ("Async checkpoint save for step 100 (/c/x.ckpt) finalized successfully.", "saved", 100, None),
    ("Epoch 0, global step 500: 'reduced_train_loss' reached 5.1 (best 5.1), saving model to '/c/step=500.ckpt' as top 1", "started", 500, "/c/step=500.ckpt"),
    (STAMP + "Saving a full checkpoint at last step, step 644.", "started", 644, None), (STAMP + "Saving a model only checkpoint in torch.bfloat16 at last step, step 10.", "started", 10, None),
    (STAMP + "Saving the checkpoint at step 12", "started", 12, None), ("Saving checkpoint to `local:ckpt/` at batch count:20...", "started", 20, "local:ckpt/")])
def test_a_save(line: str, event: str, iteration: int, path: str) -> None:
    [(kind, data)] = training.parse_line(line)
    assert (kind, data["event"], data["iteration"], data["path"]) == ("checkpoint", event, iteration, path)


def read(text: str) -> List[Tuple[Any, ...]]:
    return [(found.kind, found.data, found.offset, found.line, found.place) for found in reading.read_block(text.encode(), SCANNER, {}) if found.kind == "iteration"]


def wrapped(text: str, width: int, stripped: bool) -> str:
    pieces = [text[at:at + width] for at in range(0, len(text), width)]
    return "".join((piece.rstrip() if stripped else piece) + "\n" for piece in pieces)


@pytest.mark.parametrize("line", [TITAN, VERL, FORMERS, INTERN, BAR], ids=["torchtitan", "verl", "mindformers", "internlm", "bar"])
def test_a_step_that_a_terminal_wrapped(line: str) -> None:
    def values(text: str) -> List[Dict[str, Any]]:
        return [dict(data, time=None) for _, data, *_ in read(text)]

    whole = values("x\n" + line + "\nSome other line\n")
    assert len(whole) == 1
    for width in (80, 100, 120, 160):
        for stripped in (False, True):
            assert values("x\n" + wrapped(line, width, stripped) + "Some other line\n") == whole, (width, stripped)
            assert values("x\n" + wrapped(line, width, stripped) * 2) == whole * 2, (width, stripped)


def test_a_step_takes_nothing_of_what_follows() -> None:
    for line in (TITAN, VERL, FORMERS, INTERN, BAR):
        whole = read(line + "\n")
        for other in ("Saved: 3 files, kept: 2", "[rank1]: step: 3 of 7: 8", "2025-09-01 00:25:48,000 - root - INFO - found: 3", "warning: nothing", "Training Progress:   1%|  | 1/100 [01:00<99:00, 60.0s/it]"):
            assert read(line + "\n" + other + "\n") == whole, other


def test_the_second_of_two_glued_records_has_the_rank_before_it() -> None:
    told = read("[rank7]: iteration 1/ 9 | lm loss: 3.0 | grad norm: 1.0 |[rank15]: iteration 2/ 9 | lm loss: 2.0 |\n")
    assert [(data["iteration"], place) for _, data, _, _, place in told] == [(1, {"rank": 7}), (2, {"rank": 15})]
    told = read(TITAN + TITAN.replace("rank0", "rank3").replace("11.8", "12.8") + "\n")
    assert [(data["lm_loss"], place) for _, data, _, _, place in told] == [(11.83506, {"rank": 0}), (12.83506, {"rank": 3})]
    told = read("[default7]: iteration 1/ 9 | lm loss: 3.0 | iteration 2/ 9 | lm loss: 2.0 |\n")
    assert [place for *_, place in told] == [{"local_rank": 7}] * 2


def test_the_step_of_a_mapping_is_that_of_the_bar_drawn_next_to_it() -> None:
    bar, told = "  0%%|          | %d/1000 [00:10<2:46:30, 10.00s/it]", "{'loss': 2.5, 'grad_norm': 1.25, 'learning_rate': 1e-05, 'epoch': 0.0}"
    for gap in ("\r", ""):    # with the carriage returns, and where a copy lost them
        text = bar % 1 + gap + told + "\n" + gap + bar % 1 + gap + bar % 2 + gap + told.replace("2.5", "1.5") + "\n" + gap + bar % 2 + gap + bar % 3 + "\n"
        assert [(data["iteration"], data["lm_loss"]) for _, data, *_ in read(text)] == [(1, 2.5), (2, 1.5)]

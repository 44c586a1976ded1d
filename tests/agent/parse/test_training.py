from __future__ import annotations

from typing import Any, Dict

import pytest

from agent.parse import training

OWN = (" [2026-11-22 05:10:01.123456] iteration       10/      60 | consumed samples:           80 | "
       "elapsed time per iteration (ms): 123.4 | throughput per GPU (TFLOP/s/GPU): 0.1 | learning rate: 1.000000E-03 | "
       "global batch size:     8 | lm loss: 5.551234567E+00 | loss scale: 1.0 | grad norm: 1.234 | "
       "number of skipped iterations:   0 | number of nan iterations:   0 |")


def only(line: str, kind: str) -> Dict[str, Any]:
    records = training.parse_line(line)
    assert [found for found, _ in records] == [kind], records
    return records[0][1]


def test_our_own_iteration_line() -> None:
    assert only(OWN, "iteration") == {
        "iteration": 10, "total": 60, "lm_loss": 5.551234567, "learning_rate": 0.001, "elapsed_ms": 123.4,
        "grad_norm": 1.234, "consumed_samples": 80, "global_batch_size": 8, "loss_scale": 1.0, "skipped": 0, "nan": 0,
        "tflops": 0.1, "tokens_per_s_per_device": None, "extra": {}, "time": "2026-11-22T05:10:01.123456"}


@pytest.mark.parametrize("line, expected", [
    (" iteration       10/    1000 | consumed samples:           40 | elapsed time per iteration (ms): 5837.9 | learning rate: 0.000E+00 | global batch size:     4 | loss scale: 8388608.0 | number of skipped iterations:  10 | number of nan iterations:   0 |",
     {"iteration": 10, "lm_loss": None, "learning_rate": 0.0, "skipped": 10, "loss_scale": 8388608.0, "time": None}),
    ("[default7]: iteration    31/  115 | consumed samples:     477 | consumed tokens:  978298 | elapsed time per iteration (s): 106.46 | learning rate: 5.279E-05 | global batch size:  2048 | lm loss: 2.198845E+00 | grad norm: 0.242 | num zeros: 0.0 | samples per second: 19.238 | TFLOPs: 147.29 |",
     {"elapsed_ms": 106460.0, "tflops": 147.29, "extra": {"consumed tokens": 978298, "num zeros": 0.0, "samples per second": 19.238}}),
    (" iteration        1/    1000 | consumed samples:   1024 | learning rate: 1.875E-05 | lm-loss: 1.244238E+01 | loss scale: -1.0 | grad norm: 0.000 |",
     {"lm_loss": 12.44238, "loss_scale": -1.0, "grad_norm": 0.0}),
    ("    [2025-11-10 09:43:36,161992][I][megatron/training_log:402:training_log]  iteration=  136004/  136100 | consumed_samples=   835608576 | elapsed_time_per_iteration_ms=3415.3 | learning_rate=2.0127e-05 | global_batch_size= 6144 | lm loss=12.316531 | grad_norm=1020.352 | number_of_skipped_iterations=  0 | tokens_per_gpu_per_second_tgs=4797.255 | TFLOPs=53.66 |",
     {"iteration": 136004, "total": 136100, "lm_loss": 12.316531, "elapsed_ms": 3415.3, "tokens_per_s_per_device": 4797.255, "time": "2025-11-10T09:43:36.161992"}),
    ("INFO [2026-06-22 19:25:37] >>  iteration        1/    2000 | consumed samples:          8 | elapsed time per iteration (ms): 7827.39 | lm loss: 3.316887E+00 | max_memory_allocated(GB): 19.07 |",
     {"lm_loss": 3.316887, "extra": {"max_memory_allocated(GB)": 19.07}}),
    ("iteration 1/10000 | consumed samples: 8 | loss: 1.016570E+01 | grad norm: 50.001 |", {"lm_loss": 10.1657}),
    (" iteration      100/  320000 | elapsed time per iteration (ms): 612.7 | learning rate 1.5E-06 | lm loss 1.010102E+01 | loss scale 262144.0 |",
     {"iteration": 100, "lm_loss": 10.10102, "learning_rate": 1.5e-06, "loss_scale": 262144.0, "extra": {}}),
    ("[Rank 0] iteration 30/100: loss = 2.3012, lr = 1e-05, grad_norm = 1.5", {"lm_loss": 2.3012, "learning_rate": 1e-05, "grad_norm": 1.5}),
    (" iteration 50/100 | throughput (tokens/s/NPU): 1234.5 | lm loss: 2.0E+00 |", {"tokens_per_s_per_device": 1234.5}),
    (" iteration        3/      50 | elapsed time per iteration (ms): 1234.5/1230.1 | throughput per GPU (TFLOP/s/GPU): 456.7/455.0 | gloabl batch size:   128 | lm loss: 1.1E+01 |",
     {"elapsed_ms": 1234.5, "tflops": 456.7, "global_batch_size": 128, "lm_loss": 11.0}),
    ("[INFO] global_step: 3 epoch: 0 reduced_train_loss: 9.876 lr: 0.0001 train_step_timing in s: 4.111", {"iteration": 3, "lm_loss": 9.876, "elapsed_ms": 4111.0}),
    ("steps: 10 loss: 2.3012 iter time (s): 1.234 samples/sec: 12.345", {"iteration": 10, "lm_loss": 2.3012, "elapsed_ms": 1234.0}),
    ("09/15/2024 10:00:00 - INFO - __main__ -   Step: 10, loss: 2.3", {"iteration": 10, "lm_loss": 2.3, "time": "2024-09-15T10:00:00"}),
    ("   1:  iteration       25/73242187 | consumed samples:  50 | lm loss: 1.086954E+01 |", {"iteration": 25, "total": 73242187}),
    (" iteration 5/ 9 | lm loss: 7.9E+00 | load_balancing_loss: 1.3E+00 | mtp_1 loss: 7.8E+00 | loss scale: 1.0 |",
     {"lm_loss": 7.9, "extra": {"load_balancing_loss": 1.3, "mtp_1 loss": 7.8}}),
    ("Epoch 0: :   1%|          | 795/? [9:07:58<00:00, 41.36s/it, v_num=, reduced_train_loss=3.090, global_step=794.0, train_step_timing in s=41.25]",
     {"iteration": 795, "total": None, "lm_loss": 3.09, "elapsed_ms": 41250.0}),
    (" iteration 10/ 20 | 损失 lm loss: 2.5 | 梯度 grad norm: 1.25 | 学习率：1e-5 | 每步耗时(ms): 12.5 | 全局批大小: 8 | 未知: 3 |",
     {"iteration": 10, "lm_loss": 2.5, "grad_norm": 1.25, "learning_rate": 1e-05, "elapsed_ms": 12.5, "global_batch_size": 8, "extra": {}}),
    ("迭代 10/100 | 损失 (lm loss): 2.5 | grad norm(梯度范数): 1.5 |", {"iteration": 10, "total": 100, "lm_loss": 2.5, "grad_norm": 1.5}),
    (" iteration 5/ 9 | lm loss: nan | grad norm: inf | loss scale: 1.0 | g      rad norm: -inf |",
     {"lm_loss": "nan", "grad_norm": "-inf"}),
    ("{ step:[    4/   60], loss:   9.250000, per_step_time:    700ms, load_balancing_loss:   1.125000, lr: 1.000000e-05, grad_norm:   2.500000, throughput:  25.50T }",
     {"iteration": 4, "total": 60, "lm_loss": 9.25, "elapsed_ms": 700.0, "grad_norm": 2.5, "tflops": 25.5, "extra": {"load_balancing_loss": 1.125}}),
    ("2026-01-02 10:00:00,123 - [mindformers/a.py:1] - INFO - { step:[    4/   60], loss: N/A (non-last PP stage, refer to last stage for real loss), per_step_time:    700ms, lr: 1.000000e-05 }",
     {"iteration": 4, "lm_loss": None, "elapsed_ms": 700.0, "learning_rate": 1e-05, "extra": {}, "time": "2026-01-02T10:00:00.123"}),
    ("[INFO|DP=0|PP=0|TP=0]: iteration: 12 / 950 | elapsed_time_per_iteration_ms: 2.5K | tokens_per_sec_per_gpu: 1.5K | lm_loss: 2.5 |", {"elapsed_ms": 2500.0, "tokens_per_s_per_device": 1500.0}),
    ("\x1b[32m iteration 5/ 9 \x1b[0m| lm loss: 2.5 |", {"lm_loss": 2.5}),
])
def test_iteration_lines_of_all_eras(line: str, expected: Dict[str, Any]) -> None:
    data = only(line, "iteration")
    assert {name: data[name] for name in expected} == expected
    assert set(data) == set(training.ITERATION_FIELDS)


@pytest.mark.parametrize("line", [
    "time (ms) | forward-compute: 264.79 | backward-compute: 481.96 | optimizer: 85.49",
    "Evaluating iter 1/5",
    "[eval] iteration 5/10 | loss: 2.0 |",
    "[Rank 20] (after 20 iterations) memory (MB) | allocated: 15426.4 | max allocated: 18045.6",
    "save-checkpoint ................................: (39899.66, 39899.95)",
    "    will not load any checkpoints and will start from random",
    "iteration 3/4 of the plan is to test | nothing",
    "Setting rerun_state_machine.current_iteration to 0...",
    "subiteration 3/4 | lm loss: 1.0 |",
    " validation loss at the end of the day",
    "",
])
def test_false_friends_give_nothing(line: str) -> None:
    assert training.parse_line(line) == []


def test_two_records_glued_into_one_line() -> None:
    records = training.parse_line(" iteration 1/ 9 | lm loss: 3.0 | iteration 2/ 9 | lm loss: 2.0 |")
    assert [(data["iteration"], data["lm_loss"]) for _, data in records] == [(1, 3.0), (2, 2.0)]


def test_validation() -> None:
    data = only(" validation loss at iteration 2500 on validation set | lm loss value: 2.925279E+00 | lm loss PPL: 1.863942E+01 | ", "validation")
    assert data == {"iteration": 2500, "lm_loss": 2.925279, "ppl": 18.63942, "time": None}
    data = only(" validation loss at the end of training for val data | lm loss value: nan | lm loss PPL: inf | ", "validation")
    assert (data["iteration"], data["lm_loss"], data["ppl"]) == (None, "nan", "inf")


@pytest.mark.parametrize("line, event, iteration, path", [
    ("saving checkpoint at iteration      10 to /ckpt/a b in torch_dist format", "started", 10, "/ckpt/a b"),
    ("saving checkpoint at iteration   33241 to /gpfs/tr1-13B/checkpoints", "started", 33241, "/gpfs/tr1-13B/checkpoints"),
    ("  scheduled an async checkpoint save at iteration     100 to /ckpt", "started", 100, "/ckpt"),
    ("  successfully saved checkpoint from iteration      10 to /ckpt [ t 1/1, p 1/1 ]", "saved", 10, "/ckpt"),
    ("  successfully saved checkpoint at iteration   33241 to /ckpt", "saved", 33241, "/ckpt"),
    ("  successfully loaded checkpoint from /ckpt [ t 1/1, p 1/1 ] at iteration 10", "loaded", 10, "/ckpt"),
    ("  successfully loaded checkpoint from /cobol/gpt2/checkpoint at iteration 0", "loaded", 0, "/cobol/gpt2/checkpoint"),
    ("0: successfully loaded checkpoint at iteration 337000", "loaded", 337000, None),
])
def test_checkpoint_lines(line: str, event: str, iteration: int, path: str) -> None:
    data = only(line, "checkpoint")
    assert (data["event"], data["iteration"], data["path"]) == (event, iteration, path)

"""Validation: told in Megatron's words, the same each time, and without any trace in the training."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("megatron.core")

from agent.parse import training as parse_training
from tests.trainer.runtime.started import SPEC, Reference, Run, Trainers, final, losses
from tests.trainer.spec.test_arithmetic import job
from trainer.runtime import report
from trainer.runtime.errors import TrainerError
from trainer.spec import rules

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

_LINE = re.compile(r"^ validation loss at iteration (\d+) \| lm loss value: (\S+) \| lm loss PPL: \S+ \| $", re.MULTILINE)
EVALUATED = {"iterations": 40, "global_batch_size": 4, "seq_length": 32, "eval_interval": 8, "eval_iterations": 3}


def validations(*runs: Run) -> dict[int, str]:
    return {int(iteration): loss for run in runs for iteration, loss in _LINE.findall(run.text)}


def test_the_lines_are_megatrons() -> None:
    rule, line, end = report.validation(100, 2.5)
    assert line == " validation loss at iteration 100 | lm loss value: 2.500000000E+00 | lm loss PPL: 1.218249E+01 | "
    assert rule == end == "-" * (len(line) + 1)
    assert "PPL: 4.851652E+08" in report.validation(1, 99.0)[1], "as much as Megatron says at most"


def test_a_run_with_validation_is_the_run_without(trainers: Trainers, one: Reference) -> None:
    first = trainers.alone(trainers.job(train={**EVALUATED, "exit_after_iterations": 20}))
    assert first.finish() == 0, first.text
    second = trainers.alone(trainers.job(train=EVALUATED))
    assert second.finish() == 0, second.text
    assert losses(first, second) == one.losses
    assert final(second)["state_sha256"] == one.final["state_sha256"]
    told = validations(first, second)
    assert list(told) == [8, 16, 24, 32, 40]
    assert float(told[40]) < float(told[8]) - 0.3, "what is learnt holds for other samples"
    assert final(second)["summary"]["last_validation_loss"] == pytest.approx(float(told[40]), rel=1e-9)

    # Four ranks that go on from the same place see the same validation loss.
    (trainers.directory / "ck" / "latest_checkpointed_iteration.txt").write_text("20")
    cut = {"pipeline_model_parallel_size": 2, "virtual_pipeline_model_parallel_size": 0, "context_parallel_size": 2}
    ranks = trainers.ranks(trainers.job(npus=4, train={**EVALUATED, "exit_after_iterations": 4}, parallel=cut), 4)
    assert [rank.finish() for rank in ranks] == [0] * 4, ranks[0].text
    assert float(validations(*ranks)[24]) == pytest.approx(float(told[24]), rel=2e-5)


def test_the_agent_reads_it() -> None:
    (found,) = [data for kind, data in parse_training.parse_line(report.validation(100, 2.5)[1]) if kind == "validation"]
    assert (found["iteration"], found["lm_loss"], found["ppl"]) == (100, 2.5, pytest.approx(math.exp(2.5), rel=1e-6))


def test_it_draws_nothing_and_changes_nothing(world: SimpleNamespace) -> None:
    import torch
    from megatron.core.tensor_parallel import get_cuda_rng_tracker

    from trainer.runtime import validation
    from trainer.runtime.fingerprint import state_sha256

    before, chance = state_sha256(world.module, world.optimizer), torch.get_rng_state()
    states = {name: state.clone() for name, state in get_cuda_rng_tracker().get_states().items()}
    judge = validation.Validation(SPEC, "cpu", validation.source_of(SPEC), [world.module])
    assert judge() == judge() == pytest.approx(5.5, abs=0.2)
    assert world.module.training
    assert state_sha256(world.module, world.optimizer) == before
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(state, states[name]) for name, state in get_cuda_rng_tracker().get_states().items())


def test_made_up_samples_are_other_ones_than_those_trained_on() -> None:
    from trainer.runtime import batches, validation

    trained, judged = batches.source_of(SPEC), validation.source_of(SPEC)
    assert all(list(trained.sample(n)["tokens"]) != list(judged.sample(n)["tokens"]) for n in range(8))


def test_an_epoch_is_not_counted_twice(tmp_path: Path, world: SimpleNamespace) -> None:
    from trainer.runtime import validation

    (tmp_path / "train.txt").write_text("abc " * 50)
    (tmp_path / "valid.txt").write_text("xyz " * 13)
    spec = job(1, 1, train={"iterations": 5, "global_batch_size": 2, "seq_length": 16, "eval_interval": 1, "eval_iterations": 50},
               data={"format": "text", "prefix": str(tmp_path / "train.txt"), "valid_prefix": str(tmp_path / "valid.txt")})
    made = validation.source_of(spec)
    judge = validation.Validation(spec, "cpu", made, [world.module])
    seen: list[int] = []
    sample = made.sample
    made.sample = lambda number: (seen.append(number), sample(number))[1]  # type: ignore[method-assign]
    judge()
    assert sorted(seen) == [0, 1], "3 windows: one batch of 2"
    assert bytes(list(sample(0)["tokens"])).strip(b"xyz ") == b""
    with pytest.raises(TrainerError, match="No such file"):
        validation.source_of(job(1, 1, train={"iterations": 5}, data={"format": "text", "prefix": str(tmp_path / "train.txt"), "valid_prefix": str(tmp_path / "none")}))


def test_validation_needs_data_of_its_own() -> None:
    def told(**blocks: Any) -> list[tuple[str, ...]]:
        return [finding.path for finding in rules.check(job(1, 1, **blocks)) if finding.rule == "B2"]

    text = {"format": "text", "prefix": "/t"}
    assert told(train={"iterations": 5, "eval_interval": 2}, data=text) == [("data", "valid_prefix")]
    assert told(train={"iterations": 5, "eval_interval": 2}, data={**text, "valid_prefix": "/v"}) == []
    assert told(train={"iterations": 5, "eval_interval": 2}) == []
    assert told(train={"iterations": 5, "eval_interval": -1}) == [("train", "eval_interval")]
    assert told(train={"iterations": 5, "eval_interval": 2, "eval_iterations": 0}) == [("train", "eval_iterations")]

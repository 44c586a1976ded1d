"""Fixtures of the trainer's own tests: a place to start trainers in, and runs that nothing interrupted."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trainer.runtime.started import SPEC, Reference, Trainers, uninterrupted


@pytest.fixture
def trainers(tmp_path: Path) -> Iterator[Trainers]:
    made = Trainers(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """40 iterations of the quick job on one rank."""
    return uninterrupted(tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """40 iterations of the quick job on two ranks."""
    return uninterrupted(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="session")
def world() -> Iterator[SimpleNamespace]:
    """megatron-core readied for the CPU in this process, a world of one rank, a small model with one step done."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("megatron.core")
    from trainer.runtime import device, train

    before = dict(os.environ)
    os.environ["RANKDECK_DEVICE"] = "cpu"
    ready = device.prepare(local_rank=0, threads=1, deterministic=True)
    from trainer.runtime import batches, model
    from trainer.runtime.step import Step

    group = train.process_group(SPEC, ready)
    group.__enter__()
    os.environ.clear()
    os.environ.update(before)
    modules, optimizer = model.wrap(SPEC, model.bare(SPEC, "cpu"), "cpu")
    fresh = copy.deepcopy(optimizer.chained_optimizers[0].state_dict())
    stepper = Step(SPEC, "cpu", batches.source_of(SPEC), modules, optimizer)

    def step(iteration: int, consumed: int, judge: Any = lambda loss, norm: "") -> Any:
        return stepper(iteration, consumed, judge=judge)

    outcome = step(1, 0)
    yield SimpleNamespace(module=modules[0], optimizer=optimizer, inner=optimizer.chained_optimizers[0], fresh=fresh, step=step, outcome=outcome)
    group.__exit__(None, None, None)
    torch.set_deterministic_debug_mode("default")

"""Fixtures of the trainer's own tests: a place to start trainers in, and runs that nothing interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.runtime.started import Reference, Trainers, uninterrupted


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

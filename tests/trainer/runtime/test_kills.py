"""Killed again and again, a run ends as if it had not been (``kills`` does the ten; this, two)."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("megatron.core")

from tests.trainer.runtime.kills import compare

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]


@pytest.mark.parametrize("apart", [False, True], ids=["saving in place", "saving apart"])
def test_killed_twice_and_the_same(apart: bool, tmp_path: Path) -> None:
    told = compare(tmp_path, kills=2, ranks=1, apart=apart, seed=7)
    assert told["same losses"], told
    assert told["same state"], told

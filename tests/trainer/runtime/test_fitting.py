"""A checkpoint of another model is refused, also where megatron-core would go on with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("megatron.core")

from tests.trainer.runtime.started import SPEC
from trainer.runtime.errors import TrainerError

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

WORDS, OUT, NORM = "embedding.word_embeddings.weight", "output_layer.weight", "decoder.final_layernorm.weight"


@pytest.mark.parametrize(
    ("found", "adapters", "weights_alone", "differing", "passed"),
    [
        ({WORDS: (8, 4), NORM: (4,)}, False, False, [], 0),
        ({WORDS: (9, 4), NORM: (4,)}, False, False, [(f"{WORDS} of 8 x 4", f"{WORDS} of 9 x 4")], 0),
        ({WORDS: (9, 4), NORM: (4,)}, False, True, [], 1),
        ({WORDS: (7, 4), NORM: (4,)}, False, True, [], 1),
        ({WORDS: (8, 5), NORM: (4,)}, False, True, [(f"{WORDS} of 8 x 4", f"{WORDS} of 8 x 5")], 0),
        ({WORDS: (8, 4), NORM: (5,)}, False, True, [(f"{NORM} of 4", f"{NORM} of 5")], 0),
        ({WORDS: (8, 4)}, True, False, [(f"{NORM} of 4", f"no {NORM}")], 0),
        ({WORDS: (8, 4), NORM: (4,), OUT: (8, 4)}, False, True, [(f"no {OUT}", f"{OUT} of 8 x 4")], 0),
        ({WORDS: (8, 4), NORM: (4,), OUT: (8, 4)}, True, False, [], 0),
    ],
)
def test_what_differs(found: Any, adapters: bool, weights_alone: bool, differing: Any, passed: int) -> None:
    from trainer.runtime import fitting

    told = fitting.differences({WORDS: (8, 4), NORM: (4,)}, found, adapters=adapters, weights_alone=weights_alone)
    assert (told[0], len(told[1])) == (differing, passed)


def test_a_run_goes_on_with_its_own_model_only(world: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trainer.runtime import model
    from trainer.runtime.checkpoint import Checkpoints, Position, load_weights

    checkpoints = Checkpoints(str(tmp_path), layout={})
    checkpoints.open()
    checkpoints.save(world.module, world.optimizer, Position(iteration=1, consumed_samples=2))

    def other(**shape: Any) -> Any:
        return model.bare(dataclasses.replace(SPEC, model=dataclasses.replace(SPEC.model, **shape)), "cpu")

    for shape, why in (
        ({"vocab_size": SPEC.model.vocab_size + 8}, f"got {WORDS} of 256 x "),
        ({"num_layers": SPEC.model.num_layers + 1}, " and [0-9]+ more, expected decoder"),
        ({"untie_embeddings_and_output_weights": not SPEC.model.untie_embeddings_and_output_weights}, f"got (no )?{OUT}"),
    ):
        chunks = other(**shape)
        with pytest.raises(TrainerError, match=f"iter_0000001: the checkpoint is of another model .*{why}") as caught:
            checkpoints.load(chunks, SimpleNamespace())
        assert "Set the model block" in caught.value.fix
    path = tmp_path / "iter_0000001"
    with pytest.raises(TrainerError, match="the checkpoint is of another model"):
        load_weights(other(num_layers=SPEC.model.num_layers + 1), path)
    grown = other(vocab_size=SPEC.model.vocab_size + 8)
    load_weights(grown, path)
    assert f"{WORDS} has 256 rows in the checkpoint and 264 here: the others are zero" in capsys.readouterr().out
    assert grown[0].embedding.word_embeddings.weight[256:].abs().max() == 0.0

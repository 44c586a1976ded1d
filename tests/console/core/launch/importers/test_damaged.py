"""Damaged pastes: an import answers with jobs or with a FileError, never with an exception of its own making."""

from __future__ import annotations

import random

import pytest

from console.core.errors import FileError
from console.core.launch.importers import Source, read
from tests.console.core.launch.importers.seeds import DOCKER_RUN, LAUNCHES
from tests.console.core.launch.importers.test_others import COMMAND_V1, COMMAND_V2, FACTORY_V1, FACTORY_V2, POD, RECIPE

TEXTS = [[*LAUNCHES[3].commands], [LAUNCHES[4].commands[0], DOCKER_RUN], [DOCKER_RUN], [FACTORY_V1, COMMAND_V1.format(experiment="full-4k")],
         [FACTORY_V2, COMMAND_V2], [POD, RECIPE.replace("AUTO", "True")]]
SPLINTERS = ["'", '"', "\\", "$(", "${", "`", "=", " = ", "\n", "#", "|", "&&", ";", ":", "- ", "{", "}", "[", "\0", "\u3000", "：", "=\n", "\t", "--", "1e999", "null", "~", "*x", "&x ", "<<: 3\n"]


def damage(text: str, dice: random.Random) -> str:
    """The text with some of it lost, doubled, moved or splintered."""
    for _ in range(dice.randint(1, 5)):
        begin, end = sorted((dice.randint(0, len(text)), dice.randint(0, len(text))))
        end = min(end, begin + dice.choice((1, 3, 40, 400)))
        text = dice.choice((text[:begin] + text[end:], text[:begin] + dice.choice(SPLINTERS) + text[begin:], text[:end] + text[begin:end] + text[end:],
                            text[:begin] + text[begin:end].upper() + text[end:]))
    return text


@pytest.mark.parametrize("seed", range(12))
def test_damaged_texts(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(25):
        texts = [damage(text, dice) for text in dice.choice(TEXTS)]
        try:
            found = read([Source(name=f"{at}.txt", text=text) for at, text in enumerate(texts)])
        except FileError:
            continue
        except Exception as error:
            raise AssertionError(f"{error!r} for {texts!r}") from error
        for one in found:
            assert one.text and one.name and all(problem.where and problem.message for problem in one.problems), texts

"""Other runs and attempts beside the curve."""

from __future__ import annotations

import pytest

from console.core.fleet.series import Series
from console.core.fleet.state import apply
from console.tui.widgets.charts import Loss
from console.tui.widgets.curve import Look, draw_curve
from tests.console.tui import scene
from tests.console.tui.test_app import Screen, opened

RECORD = scene.Recorder()
OTHER, THIRD = "20261101T000000Z-aaaa", "20261020T000000Z-bbbb"


def feed() -> scene.FakeFeed:
    """The recorded fleet, which has trained two other jobs before."""
    made = scene.full_feed()
    for job, attempt, offset in (("gpt-before", OTHER, 1.0), ("gpt-long-ago", THIRD, 2.0)):
        made.state = apply(made.state, RECORD("atlas-01", "job", 1.0, job=job, attempt=attempt, epoch=1, state="exited", node_index=0, dir="", operator="lin", why=None))
        for n in range(1, 151):
            made.state = apply(made.state, RECORD("atlas-01", "iteration", 1.0, job=job, attempt=attempt, round=0, rank=0, local_rank=0, file="f", file_id="f", offset=n,
                                                  iteration=n, total=150, lm_loss=scene.loss_at(n) + offset, elapsed_ms=1.0))
    return made


def title(screen: Screen) -> str:
    pane = screen.app.host.pane("loss")
    assert isinstance(pane, Loss)
    return str(pane.border_title)


async def test_the_newest_others_and_again_none() -> None:
    async with opened(feed=feed(), size=(160, 40)) as screen:
        await screen.press("3")
        alone = title(screen)
        await screen.press("b")
            # The attempt before came to 43: at 96 it has nothing.
        assert title(screen) == f"{alone}  A gpt-before {scene.loss_at(96) + 1:.5g} (-1)  B gpt-long-ago {scene.loss_at(96) + 2:.5g} (-2)  C {scene.FIRST[:19]}… -"
        text = screen.text()
        assert " A" in text and " B" in text and "150" in text, "their letters, and the axis as long as the longest"
        await screen.press("b")
        assert title(screen) == alone


async def test_one_by_name_is_completed_and_toggled() -> None:
    async with opened(feed=feed(), size=(160, 40)) as screen:
        await screen.press("3")
        await screen.command("compare gpt-long-ago")
        assert "A gpt-long-ago" in title(screen) and "gpt-before" not in title(screen)
        await screen.command("compare gpt-long-ago")
        assert "gpt-long-ago" not in title(screen)
        await screen.command("compare nobody")
        assert "there is no other run nobody" in screen.text()
        assert screen.app.doings._words()["run"] == ("gpt-before", "gpt-long-ago", scene.FIRST)


async def test_an_attempt_before_ends_where_it_ended() -> None:
    async with opened(feed=feed(), size=(160, 40)) as screen:
        await screen.press("3")
        await screen.command(f"compare {scene.FIRST}")
        pane = screen.app.host.pane("loss")
        assert isinstance(pane, Loss)
        kept = pane.attempts[(scene.JOB, scene.FIRST, "loss")]
        assert (kept.x[0], kept.x[-1], len(kept)) == (1, 43, 43)


async def test_a_fleet_with_one_run_has_nothing_to_compare() -> None:
    alone = scene.FakeFeed()
    alone.state = apply(alone.state, RECORD("n", "job", 1.0, job="j", attempt=OTHER, epoch=1, state="running", node_index=0, dir="", operator="", why=None))
    alone.state = apply(alone.state, RECORD("n", "iteration", 1.0, job="j", attempt=OTHER, round=0, rank=0, local_rank=0, file="f", file_id="f", offset=1, iteration=1, total=5, lm_loss=1.0))
    async with opened(feed=alone) as screen:
        await screen.press("3", "b")
        assert "no other run" in screen.text()


def made(*points: tuple[int, float]) -> Series:
    series = Series()
    for x, y in points:
        series.put(x, y)
    return series


@pytest.mark.parametrize("others", [[made((1, 5.0), (20, 4.0))], [made((1, 5.0)), made(), made((30, 9.0))]])
def test_curves_share_one_scale_and_each_has_its_letter(others: list[Series]) -> None:
    lines = draw_curve(made((1, 1.0), (10, 2.0)), (), 60, 12, Look(), beside=others)
    cells = [(character, tone) for line in lines for text, tone in line for character in text]
    for number, other in enumerate(others):
        assert ((chr(ord("A") + number), f"beside{number}") in cells) == bool(len(other))
    assert all(sum(len(text) for text, _ in line) == 60 for line in lines)

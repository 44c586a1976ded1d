"""A job file on the screen: its problems at their lines, its plan, and launching exactly what was shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.core.events import JobLaunched, JobPlanned
from console.core.intents import LaunchJob, PlanJob
from console.tui.screens.confirm_dialog import ConfirmDialog
from tests.console.tui import errand_scene, scene
from tests.console.tui.test_app import Screen, opened
from tests.console.tui.test_checks import hear, wishes


async def planned(screen: Screen) -> None:
    await screen.press("2")
    await hear(screen, errand_scene.planned())
    await screen.press("escape")


async def test_a_job_file_given_at_the_start_is_planned() -> None:
    async with opened(job_file="my.yaml", view="launch") as screen:
        assert wishes(screen, PlanJob) == [PlanJob(path="my.yaml")]
        await hear(screen, errand_scene.planned("my.yaml"))
        assert "ready to launch tiny-gpt" in screen.text() and "Plan  my.yaml" in screen.text()


async def test_a_job_file_is_asked_for_with_its_name() -> None:
    async with opened() as screen:
        await screen.command("plan")
        assert "which job file?" in screen.text() and not wishes(screen, PlanJob)
        await screen.command("plan dir/my.yaml")
        assert wishes(screen, PlanJob) == [PlanJob(path="dir/my.yaml")] and screen.app.navigator.view == "launch"
        await hear(screen, JobPlanned(at=scene.NOW, path="dir/my.yaml", error="dir/my.yaml: no such file (got nothing)"))
        assert "✗ dir/my.yaml: no such file" in screen.text()


async def test_problems_stand_at_their_lines() -> None:
    async with opened(size=(160, 90)) as screen:
        await screen.press("2")
        await hear(screen, errand_scene.refused())
        lines = [line.strip("┃ │") for line in screen.text().splitlines()]
        (at,) = [number for number, line in enumerate(lines) if "train: {iterations: 60" in line]
        assert lines[at].startswith("✗   7 ") and "cannot be dealt" in lines[at + 1] and "expected a multiple of micro_batch_size x DP = 4" in lines[at + 1] and "[P3]" in lines[at + 1]
        assert lines[at + 2].startswith("8 ")
        # What is wrong in an included file is above, and at no line of this one.
        assert sum("node 'n9' is not in fleet" in line for line in lines) == 1 and "base.yaml:3:1" in screen.text()
        assert "not ready to launch: 2 errors" in screen.text()


async def test_the_plan_has_the_exact_commands_and_what_is_derived() -> None:
    async with opened(size=(160, 60)) as screen:
        await planned(screen)
        await screen.command("pane plan")
        await screen.press("z")
        seen = ""
        for _ in range(12):
            seen += screen.text()
            await screen.press("pagedown")
        plan = errand_scene.plan()
        for words in ("Derived", "world_size", "data_parallel_size", "Job file", "n0", "n1", "devices 0, 1", plan.nodes[1].dir):
            assert words in seen, words
        script = plan.nodes[1].commands[-1].script.rstrip().splitlines()
        assert script[-1][:100] in seen and script[2][:100] in seen


async def test_launching_wants_arming_and_the_jobs_name_and_sends_what_was_shown() -> None:
    async with opened() as screen:
        await screen.command("run")
        assert "run refused" in screen.text()
        await planned(screen)
        await screen.press("R")
        assert "run refused" in screen.text() and not wishes(screen, LaunchJob)
        await screen.command("arm")
        await screen.press("R")
        assert isinstance(screen.app.screen, ConfirmDialog)
        for words in ("Launch tiny-gpt", errand_scene.ATTEMPT, "n0", "n1", "devices 0, 1"):
            assert words in screen.text(), words
        # The file is planned again meanwhile: what is confirmed is what was shown.
        shown = screen.app.context.sheets.job.plan
        screen.feed.said.append(replace(errand_scene.planned(), plan=replace(errand_scene.plan(), attempt="20261122T059999Z-ffff")))
        await screen.later(1)
        await screen.type("tiny")
        assert "not the name" in screen.text() and not wishes(screen, LaunchJob)
        await screen.type("tiny-gpt")
        assert wishes(screen, LaunchJob) == [LaunchJob(path="job.yaml", plan=shown)]
        await screen.press("R")
        assert "a launch is under way" in screen.text() and len(wishes(screen, LaunchJob)) == 1
        await hear(screen, JobLaunched(at=scene.NOW, job="tiny-gpt", attempt=shown.attempt))
        assert f"tiny-gpt is started as attempt {shown.attempt}" in screen.text()


async def test_an_attempt_is_not_launched_twice() -> None:
    async with opened() as screen:
        await planned(screen)
        await screen.command("arm")
        await hear(screen, JobLaunched(at=scene.NOW, job="tiny-gpt", attempt=errand_scene.ATTEMPT, error="prepare failed on n1: no room"))
        assert "prepare failed on n1" in screen.text()
        await screen.press("R")
        assert "planned anew" in screen.text() and wishes(screen, PlanJob) == [PlanJob(path="job.yaml")] and len(screen.app.screen_stack) == 1


async def test_what_has_errors_is_not_launched() -> None:
    async with opened() as screen:
        await screen.command("arm")
        await screen.press("R")
        assert "which job file?" in screen.text()
        await screen.press("2")
        await hear(screen, errand_scene.refused())
        await screen.press("R")
        assert "not ready to launch: 2 errors" in screen.text() and len(screen.app.screen_stack) == 1 and not wishes(screen, LaunchJob)


async def test_leaving_the_dialog_or_the_end_of_arming_launches_nothing() -> None:
    async with opened() as screen:
        await planned(screen)
        await screen.command("arm 10m")
        await screen.press("R", "escape", "R")
        screen.clock.move_to(screen.clock.wall_s() + 601)
        await screen.type("tiny-gpt")
        assert "No longer armed" in screen.text() and not wishes(screen, LaunchJob)


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (60, 15), (40, 8)])
async def test_it_is_usable_at_every_size(size: tuple[int, int]) -> None:
    async with opened(size=size) as screen:
        await planned(screen)
        await screen.command("pane plan")
        lines = screen.text().splitlines()
        assert {len(line) for line in lines} == {size[0]} and "ready to launch" in screen.text()


async def test_a_hostile_job_file_changes_nothing_outside_its_lines() -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e" * 500
    async with opened(size=(80, 24)) as screen:
        await screen.press("2")
        news = errand_scene.planned(evil[:50])
        await hear(screen, replace(news, lines=(evil, *news.lines), plan=replace(news.plan, job=evil, problems=(replace(news.plan.problems[0], message=evil, where=evil),))))
        await screen.command("pane plan")
        for _ in range(4):
            text = screen.text()
            assert not [character for character in text if character != "\n" and (ord(character) < 32 or character == "\u202e")]
            assert {len(line) for line in text.splitlines()} == {80}
            await screen.press("pagedown")

"""The console as text: the same commands, the same refusals, nothing that acts on a terminal."""

from __future__ import annotations

import io
from typing import Any

from console.core.intents import CheckNodes, FollowLog, LaunchJob, Mend, PlanJob, ReconnectNode, StopJob
from console.tui import plain
from console.tui.actions import ACTIONS
from tests.console.tui import errand_scene, scene


def said(*lines: str, feed: scene.FakeFeed | None = None, read_only: bool = False) -> tuple[str, scene.FakeFeed]:
    feed, out = feed or scene.full_feed(), io.StringIO()
    plain.run(feed, feed.submit, scene.fixed_clock(), read_only=read_only, lines=io.StringIO("".join(line + "\n" for line in lines)), out=out)
    return out.getvalue(), feed


def test_an_empty_line_says_how_things_are() -> None:
    text, _ = said("")
    assert "demo-gpt-tiny: running, iteration 96/120, loss 2.1195" in text and "3/4 nodes up" in text


def test_every_view_has_its_text() -> None:
    for command, words in (("fleet", "atlas-02: up, 8 NPU, AICore 22-97 %"), ("launch", "atlas-01: preflight done, prepare done"), ("training", "loss: 2.120 @ 96"),
                           ("checkpoints", "90: saved, 3.24GiB"), ("incident", "rank 11 SIGKILL"), ("describe atlas-02", "clock offset: +800 ms"),
                           ("tree", "    NPU 0"), ("pane audit", "lin commit"), ("log", "iteration       96/     120"), ("at 05:02:00", "05:02:00"), ("help", "describe [NODE]")):
        text, _ = said(command)
        assert words in text, (command, text)


def test_nothing_is_changed_unless_armed_and_named() -> None:
    text, feed = said("stop", "demo-gpt-tiny")
    assert "stop refused" in text and not [intent for intent in feed.intents if isinstance(intent, StopJob)]
    text, feed = said("arm 5m", "stop", "demo-gpt")
    assert "Nothing was done" in text and not feed.intents
    text, feed = said("arm 5m", "stop", "demo-gpt-tiny")
    assert [(intent.job, intent.nodes) for intent in feed.intents if isinstance(intent, StopJob)] == [(scene.JOB, ("atlas-01", "atlas-02"))]
    assert '"op": "stop"' in text
    text, feed = said("arm", "stop", read_only=True)
    assert "only looks" in text and not feed.intents


def test_a_console_that_cannot_be_armed_does_not_say_to_arm_it() -> None:
    text, _ = said("stop", read_only=True)
    assert "only looks" in text and ":arm first" not in text


def test_a_question_mark_is_help_and_a_step_is_as_long_as_it_says() -> None:
    assert "describe [NODE]" in said("?")[0]
    assert "05:09:50" in said("earlier")[0] and "05:09:50" in said("earlier", "earlier", "later")[0]


def test_good_saves_that_follow_each_other_are_one_line_of_an_incident() -> None:
    feed = scene.full_feed()
    record = scene.Recorder()
    feed.pending += [scene.checkpoint(record, scene.SECOND, number, "saved", scene.NOW - 3 + number / 1000, 1.0) for number in (200, 210, 220, 230, 240)]
    text, _ = said("incident", feed=feed)
    assert "checkpoint 240 saved" in text and "saves before it" in text and "checkpoint 210 saved" not in text


def test_reading_intents_go_down() -> None:
    _, feed = said("reconnect atlas-04", "log 3", "filter loss", "log 3")
    assert feed.intents[0] == ReconnectNode(node="atlas-04") and isinstance(feed.intents[1], FollowLog) and feed.intents[1].path.endswith("local_rank-3.log")
    assert len(feed.intents) == 2


def test_checks_remedies_and_plans_are_told_and_confirmed() -> None:
    def heard(*lines: str, news: tuple[Any, ...]) -> tuple[str, scene.FakeFeed]:
        feed, out = scene.full_feed(), io.StringIO()
        feed.said += news
        plain.run(feed, feed.submit, scene.fixed_clock(), fleet="lab", lines=io.StringIO("".join(line + "\n" for line in lines)), out=out)
        return out.getvalue(), feed

    text, feed = said("checks", "check deep", "check thorough")
    assert "not checked yet" in text and "expected one of quick, standard, deep" in text and feed.intents == [CheckNodes(level="deep")]
    text, feed = heard("checks", "finding npu-health atlas-02", "fix ip-forward atlas-02", news=tuple(errand_scene.check_told()))
    assert "checked 4 nodes: not fit" in text and "error   npu-health  atlas-02: NPU 1: health is Alarm" in text
    assert "$ npu-smi info -t health -i 1 -c 0" in text.replace("$           ", "$ ") and "fix refused" in text and not feed.intents
    text, feed = heard("arm", "fix ip-forward atlas-02", "lub", "fix ip-forward atlas-02", "lab", news=tuple(errand_scene.check_told()))
    assert text.count("atlas-02: $ sysctl -w net.ipv4.ip_forward=1") == 2 and "not the name" in text
    assert [[(one.node, one.argv) for one in wish.remedies] for wish in feed.intents if isinstance(wish, Mend)] == [[("atlas-02", ("sysctl", "-w", "net.ipv4.ip_forward=1"))]]
    text, feed = heard("plan", "run", "arm", "run", "tiny", "run", "tiny-gpt", "plan other.yaml", news=(errand_scene.planned(),))
    assert "ready to launch tiny-gpt" in text and "Node n1 (index 1), devices 0, 1" in text and "run refused" in text and "not the name" in text
    assert [type(wish) for wish in feed.intents] == [LaunchJob, PlanJob] and feed.intents[0].plan.attempt == errand_scene.ATTEMPT
    text, feed = heard("arm", "run", news=(errand_scene.refused(),))
    assert "not ready to launch: 2 errors" in text and not feed.intents


def test_every_command_is_answered() -> None:
    for action in ACTIONS:
        text, _ = said(action.name + (" x" if action.needs else ""))
        assert text.count("\n") >= 2, action.name


def test_an_empty_fleet_and_hostile_lines() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = scene.Tail(["\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e"])
    text, _ = said("log", feed=feed)
    assert not [character for character in text if character != "\n" and (ord(character) < 32 or 127 <= ord(character) < 160)]
    for action in ACTIONS:
        if not action.needs:
            said(action.name, feed=scene.FakeFeed())


def test_a_script_that_somebody_ran_is_not_read_out_on_the_time_line() -> None:
    feed = scene.full_feed()
    feed.pending.append(scene.Recorder()("atlas-01", "audit", scene.NOW, operator="lin", op="prepare", ok=True, args={"script": "#!/bin/bash\nexport A=1\n" + "true; " * 100}))
    feed.drain()
    out = io.StringIO()
    plain.run(feed, feed.submit, scene.fixed_clock(), lines=io.StringIO("incident\n"), out=out)
    assert "lin prepare script=#!/bin/bash" in out.getvalue() and "export A=1" not in out.getvalue()
    out = io.StringIO()
    plain.run(feed, feed.submit, scene.fixed_clock(), lines=io.StringIO("pane audit\n"), out=out)
    assert "export A=1" in out.getvalue()

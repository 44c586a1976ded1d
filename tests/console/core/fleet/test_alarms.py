"""What wants attention: found, named for good, gone when its cause is."""

from __future__ import annotations

from console.core.events import FleetEvent, LinkChanged
from console.core.fleet.alarms import Alarm, alarms
from console.core.fleet.state import apply
from tests.console.tui import scene

RECORD = scene.Recorder()


def after(*events: FleetEvent, now: float = scene.NOW) -> dict[str, Alarm]:
    """The alarms of the recorded fleet when more has happened."""
    state = scene.full_feed().state
    for event in events:
        state = apply(state, event)
    return {alarm.key: alarm for alarm in alarms(state, now)}


def fault(role: str, number: int = 0, node: str = "atlas-01", rule: str = "hbm-ecc") -> FleetEvent:
    return RECORD(node, "fault", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=number, rank=3, local_rank=3, file="local_rank-3.log", file_id="h",
                  offset=number, code="E40001", rule=rule, role=role, category="hardware", action="isolate", device=3, pid=4003, text="...", time=None)


def ended(state: str, code: int | None = None) -> list[FleetEvent]:
    found: list[FleetEvent] = []
    for index, node in enumerate(("atlas-01", "atlas-02")):
        if code is not None:
            found.append(RECORD(node, "exit", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=0, scope="command", rank=None, local_rank=None, pid=1,
                                code=code, signal=None, started=0, ended=scene.NOW, asked=False))
        found.append(RECORD(node, "job", scene.NOW, job=scene.JOB, attempt=scene.SECOND, epoch=1, state=state, node_index=index, dir="", operator="lin", why=None))
    return found


def test_nodes_and_npus_in_trouble_the_worst_first() -> None:
    found = after()
    assert list(found) == ["node/atlas-02/npu/6", "node/atlas-04/link", "node/atlas-02/npu/4"]
    assert [alarm.severity for alarm in found.values()] == ["critical", "critical", "warning"]
    assert found["node/atlas-04/link"].since == scene.NOW - 70 and "no answer for 60 s" in found["node/atlas-04/link"].text


def test_what_is_mended_is_no_alarm() -> None:
    mended = after(LinkChanged(node="atlas-04", at=scene.NOW, state="up"), scene.sample(RECORD, "atlas-02", scene.NOW, (96,) * 8))
    assert mended == {}


def test_a_job_that_fails_stalls_or_finishes() -> None:
    key = f"job/{scene.JOB}/{scene.SECOND}"
    assert after(*ended("exited", 1))[f"{key}/failed"].severity == "critical"
    assert after(*ended("stopped", None)).keys() == after().keys(), "stopped by somebody: nobody needs to be told"
    assert after(now=scene.NOW + 600)[f"{key}/stalled"].severity == "warning"
    done = after(*(scene.iteration(RECORD, scene.SECOND, n, scene.NOW) for n in range(97, 121)), *ended("exited", 0))
    assert done[f"{key}/finished"].severity == "notice"


def test_the_first_cause_and_not_what_follows_from_it() -> None:
    assert f"fault/{scene.SECOND}/0/atlas-01/hbm-ecc" in after(fault("root"))
    assert after(fault("cascade")).keys() == after(fault("benign")).keys() == after().keys()
    twice = after(fault("root"), fault("root"))
    assert sum(key.startswith("fault/") for key in twice) == 1


def test_a_round_that_was_restarted_is_answered() -> None:
    ranks = {"rank": [0], "local_rank": [0], "group_rank": [0], "pid": [1], "start_ticks": [1]}
    restarted = RECORD("atlas-01", "rank_map", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=1, restart_count=1, world_size=16, complete=True, ranks=ranks)
    assert after(fault("root"), restarted).keys() == after().keys()

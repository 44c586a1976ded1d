"""What was ingested is there after any end; nothing is there twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from console.core.errors import FileError
from console.core.events import LaunchProgress, LinkChanged, LogLines, NodeMet, RecordArrived
from console.store import KEPT_LOG_LINES, Store, default_path
from console.store.schema import MIGRATIONS
from tests.patience import PATIENCE_S

ATTEMPT = "20261122T050000Z-aaaa"


def iteration(seq: int, spool: str = "s", node: str = "n1", loss: float | None = None, offset: int | None = None) -> RecordArrived:
    return RecordArrived(node=node, spool_id=spool, seq=seq, kind="iteration", key=f"1:2:h:{seq if offset is None else offset}:iteration",
                         time=float(seq), at=float(seq),
                         data={"job": "gpt", "attempt": ATTEMPT, "round": 0, "iteration": seq, "lm_loss": seq / 10 if loss is None else loss})


def sample(seq: int, temperature: int) -> RecordArrived:
    return RecordArrived(node="n1", spool_id="s", seq=seq, kind="sample", key=None, time=1.0, at=1.0,
                         data={"columns": {"temperature_c": [temperature]}, "processes": {}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "rankdeck.db"


def curve(store: Store) -> list[tuple[int, float]]:
    store.drain()
    return list(store.state.runs["gpt"].series["loss"])


def test_reopened_store_shows_the_same_and_goes_on_behind_it(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(seq) for seq in range(1, 6)])
    assert curve(store) == [(seq, seq / 10) for seq in range(1, 6)]
    assert store.cursor("n1") == {"spool_id": "s", "seq": 5}
    store.close()
    again = Store(path, "f")
    assert again.cursor("n1") == {"spool_id": "s", "seq": 5}
    assert curve(again) == [(seq, seq / 10) for seq in range(1, 6)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_some_at_a_time_is_the_same_in_the_end(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(seq) for seq in range(1, 6)])
    assert store.drain(2)
    assert list(store.state.runs["gpt"].series["loss"]) == [(1, 0.1), (2, 0.2)]
    assert store.drain(2) and store.drain(2) and not store.drain(2)
    assert curve(store) == [(seq, seq / 10) for seq in range(1, 6)]


def test_who_draws_does_not_wait_for_who_writes(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(1)])
    drawing = threading.Thread(target=store.drain, daemon=True)
    with store._lock:  # as held by ``ingest`` until its transaction is on the disk
        drawing.start()
        drawing.join(PATIENCE_S)
        assert not drawing.is_alive() and list(store.state.runs["gpt"].series["loss"]) == [(1, 0.1)]


def test_a_long_history_is_loaded_in_two_parts_and_is_the_same(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(seq) for seq in range(1, 40)])
    again = [replace(one, data={**one.data, "round": 1}) for one in (iteration(seq, loss=float(seq), offset=1000 + seq) for seq in range(30, 50))]  # trained again
    store.ingest([replace(one, seq=one.seq + 100) for one in again])
    store.close()
    late = Store(path, "f", at_first=10)
    late.ingest([LinkChanged(node="n1", at=1.0, state="up"), replace(iteration(50), seq=200), LinkChanged(node="n2", at=1.0, state="up")])
    assert curve(late) == [(seq, float(seq)) for seq in range(40, 50)]
    assert late.state.nodes["n1"].link == "up" and "n2" not in late.state.nodes, "nothing overtakes what came before it"
    assert not late.drain()
    late.load_rest()
    assert late.drain()
    whole = Store(path, "f")
    assert curve(late) == curve(whole) and len(curve(late)) == 50
    assert late.state.runs["gpt"].standing.places == whole.state.runs["gpt"].standing.places
    assert {place: list(kept["loss"]) for place, kept in late.state.runs["gpt"].overtaken.items()} == \
        {place: list(kept["loss"]) for place, kept in whole.state.runs["gpt"].overtaken.items()}
    assert late.state.nodes["n2"].link == "up"


@pytest.mark.parametrize("late", ["nothing", "the last line"])
@pytest.mark.parametrize("at_first", [0, 1])
def test_how_far_an_attempt_came_is_the_same_after_a_restart(path: Path, late: str, at_first: int) -> None:
    def told(kind: str, time: float, **data: Any) -> RecordArrived:
        return RecordArrived(node="n1", spool_id="s", seq=0, kind=kind, key=f"k:{kind}:{time}", time=time, at=time, version=1,
                             data={"job": "gpt", "attempt": "A", "round": 0, **data})

    def step(at: int, time: float) -> RecordArrived:
        one = iteration(0, offset=at)
        return replace(one, time=time, at=time, data={**one.data, "attempt": "A", "iteration": at, "total": 3})

    ends = [told("exit", 50.0, scope="command", code=0, signal=None, asked=False, local_rank=-1), step(3, 49.0)]
    store = Store(path, "f")
    all_of_it = [told("job", 10.0, state="running", node_index=0, dir="/w"), told("rank_map", 12.0, complete=True, world_size=1, ranks={}),
                 step(1, 20.0), step(2, 30.0), *(ends if late == "the last line" else reversed(ends))]
    store.ingest([replace(one, seq=seq) for seq, one in enumerate(all_of_it, 1)])
    store.drain()
    before = {phase: (cell.state, cell.took_s, cell.why) for (_, phase), cell in store.state.runs["gpt"].attempts["A"].phases.items()}
    assert before == {"rendezvous": ("done", 2.0, ""), "loading": ("done", 8.0, ""), "training": ("done", 30.0, "")}
    store.close()
    again = Store(path, "f", at_first=at_first)
    assert {phase: (cell.state, cell.took_s, cell.why) for (_, phase), cell in again.state.runs["gpt"].attempts["A"].phases.items()} == before
    assert len(curve(again)) == (at_first or 3)
    again.load_rest()
    assert len(curve(again)) == 3 and again.state.runs["gpt"].attempts["A"].phases[("n1", "training")].state == "done"


def test_a_short_history_is_loaded_at_once(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(seq) for seq in range(1, 11)])
    store.close()
    again = Store(path, "f", at_first=10)
    again.ingest([iteration(11)])
    assert len(curve(again)) == 11
    again.load_rest()
    assert not again.drain()


def test_the_rest_of_a_history_that_cannot_be_read_is_told(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(seq) for seq in range(1, 11)])
    store.close()
    late = Store(path, "f", at_first=3)
    late.path = path.with_name("gone.db")
    late.load_rest()
    with pytest.raises(FileError, match="cannot read the history"):
        late.drain()


def test_replayed_records_are_dropped(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(1), iteration(2)])
    store.drain()
    seen = store.state.events_seen
    store.ingest([iteration(1, loss=99.0), iteration(2, loss=99.0), iteration(3)])
    assert curve(store) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert store.state.events_seen == seen + 1


def test_another_spool_rescans_the_same_file_and_nothing_doubles(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([iteration(seq) for seq in (1, 2, 3)])
    store.ingest([iteration(seq, spool="new") for seq in (1, 2, 3, 4)])
    assert store.cursor("n1") == {"spool_id": "new", "seq": 4}
    assert [x for x, _ in curve(store)] == [1, 2, 3, 4]
    assert len(list(store.records())) == 4


def test_fleets_do_not_mix(path: Path) -> None:
    first, second = Store(path, "f"), Store(path, "g")
    first.ingest([iteration(1)])
    second.ingest([iteration(1, loss=7.0)])
    assert curve(first) == [(1, 0.1)] and curve(second) == [(1, 7.0)]
    assert curve(Store(path, "f")) == [(1, 0.1)]


def test_two_consoles_on_one_file_both_see_everything(path: Path) -> None:
    first, second = Store(path, "f"), Store(path, "f")
    for store in (first, second, first):
        store.ingest([iteration(1), iteration(2)])
    assert curve(first) == curve(second) == [(1, 0.1), (2, 0.2)]
    assert len(list(first.records())) == 2


def test_newest_reading_survives_and_links_start_afresh(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([LinkChanged(node="n1", at=1.0, state="up", rtt_s=0.02), sample(1, 40), sample(2, 55),
                  NodeMet(node="n1", at=1.0, agent="a", revision=1, spool_id="s", boot_id="b", oldest_seq=1, newest_seq=2,
                          clock_offset_s=0.5, clock_error_s=0.1),
                  LaunchProgress(job="gpt", attempt=ATTEMPT, node="n1", phase="start", state="done", at=2.0)])
    store.close()
    node = Store(path, "f").state.nodes["n1"]
    assert node.sample is not None and node.sample.data["columns"]["temperature_c"] == [55]
    assert node.link == "connecting" and node.met is not None and node.met.clock_offset_s == 0.5


def test_log_lines_are_bounded_never_stored_and_repeats_are_ignored(path: Path) -> None:
    def chunk(offset: int, count: int) -> LogLines:
        return LogLines(node="n1", at=1.0, path="/l", file_id="x", offset=offset, next_offset=offset + count, size=offset + count,
                        lines=tuple(str(offset + i) for i in range(count)))

    store = Store(path, "f")
    store.ingest([chunk(0, 100), chunk(100, KEPT_LOG_LINES), chunk(100, 50)])
    store.drain()
    ring = store.logs[("n1", "/l")]
    assert (len(ring.lines), ring.dropped, ring.lines[-1]) == (KEPT_LOG_LINES, 100, str(KEPT_LOG_LINES + 99))
    assert not Store(path, "f").logs


@pytest.mark.parametrize("text", ["step {}", "迭代 {}", "torn \ufffd {}"], ids=["plain", "wide", "not as long as its bytes"])
def test_a_log_that_is_followed_again_shows_no_line_twice(path: Path, text: str) -> None:
    texts = [text.format(number) for number in range(9)]
    ends = [0]
    for one in texts:
        ends.append(ends[-1] + len(one.replace("\ufffd", "x").encode()) + 1)

    def chunk(first: int, last: int) -> LogLines:
        return LogLines(node="n1", at=1.0, path="/l", file_id="1:7:a", offset=ends[first], next_offset=ends[last], size=ends[-1], lines=tuple(texts[first:last]))

    store = Store(path, "f")
    store.ingest([chunk(0, 4), chunk(4, 6), chunk(3, 8), chunk(2, 8), chunk(8, 9)])
    store.drain()
    assert list(store.logs[("n1", "/l")].lines) == texts
    # One that was replaced is read from its beginning.
    store.ingest([replace(chunk(0, 2), file_id="1:8:b"), replace(chunk(2, 3), file_id="1:8:b")])
    store.drain()
    assert list(store.logs[("n1", "/l")].lines) == texts + texts[:3]


def test_not_a_database_is_a_clear_error(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database, but it is long enough to be looked at" * 50)
    with pytest.raises(FileError, match="cannot read the history"):
        Store(path, "f")


def test_a_newer_version_is_refused_untouched(path: Path) -> None:
    Store(path, "f").close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(FileError, match="newer rankdeck"):
        Store(path, "f")


def test_default_path_follows_xdg(tmp_path: Path) -> None:
    assert default_path({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "rankdeck" / "rankdeck.db"
    assert default_path({"XDG_STATE_HOME": "relative"}).is_absolute()


def test_killed_console_has_each_record_once_and_its_cursor_fits(path: Path) -> None:
    """A child ingests and is killed with SIGKILL somewhere in between; what it stored is a clean prefix."""
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent("""
        import sys
        from console.core.events import RecordArrived
        from console.store import Store
        store = Store(sys.argv[1], "f")
        for first in range(1, 100_000, 10):
            store.ingest([RecordArrived(node="n1", spool_id="s", seq=seq, kind="iteration", key=str(seq), time=1.0, at=1.0,
                data={"job": "gpt", "attempt": "20261122T050000Z-aaaa", "round": 0, "iteration": seq, "lm_loss": 1.0})
                for seq in range(first, first + 10)])
            print(first, flush=True)
        """), str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(20):
        last_told = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    store = Store(path, "f")
    cursor: Any = store.cursor("n1")
    assert cursor["seq"] >= last_told + 9
    assert [x for x, _ in curve(store)] == list(range(1, cursor["seq"] + 1))


def full(seq: int, **changes: Any) -> RecordArrived:
    """An iteration with every field that the wire knows."""
    data = {**dict.fromkeys(wire.RECORD_FIELDS["iteration"]), "job": "gpt", "attempt": ATTEMPT, "round": 1, "rank": 7, "local_rank": 7,
            "file": "/w/local_rank-7.log", "file_id": "1:2:abc", "offset": seq * 100, "line": seq, "iteration": seq, "total": 500, "lm_loss": 1.5 / seq,
            "learning_rate": 1e-5, "elapsed_ms": 12.5, "grad_norm": "nan", "consumed_samples": 8 * seq, "global_batch_size": 8, "loss_scale": 1.0,
            "skipped": 0, "nan": 1, "tflops": None, "extra": {"mtp_1 loss": 9.9}, "time": "2026-11-22T05:00:00", "of a newer agent": [1, {"x": None}], **changes}
    return RecordArrived(node="n1", spool_id="s", seq=seq, kind="iteration", key=f"1:2:abc:{seq * 100}:iteration", time=seq + 0.5, at=seq + 0.75,
                         version=3, data=data)


@pytest.mark.parametrize("change", [
    {}, {"extra": {}}, {"lm_loss": None, "skipped": 1}, {"lm_loss": "inf"}, {"rank": None}, {"round": None},
    {"iteration": "ten"}, {"iteration": 1 << 70}, {"skipped": True}, {"offset": 3}, {"file": ["x"]}, {"job": None}])
def test_a_record_comes_back_as_it_came(path: Path, change: dict[str, Any]) -> None:
    store = Store(path, "f")
    exit_ = RecordArrived(node="n1", spool_id="s", seq=2, kind="exit", key="e", time=2.0, at=2.0, data={"job": "gpt", "attempt": ATTEMPT, "code": 0})
    events = [full(1), exit_, full(3, **change), full(4)]
    store.ingest(events)
    assert list(store.records()) == events
    assert list(store.records(kinds=["exit"])) == [exit_]
    assert list(store.records(kinds=["iteration"], job="gpt")) == [one for one in events if one.kind == "iteration" and one.data["job"] == "gpt"]
    store.drain()
    again = Store(path, "f").state.runs["gpt"]
    for name, series in store.state.runs["gpt"].series.items():
        assert repr(list(series)) == repr(list(again.series[name])), name


def test_the_same_line_under_another_rank_replaces_itself(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([full(1, rank=None)])
    store.ingest([replace(full(1), seq=9)])
    assert [(event.seq, event.data["rank"]) for event in store.records()] == [(9, 7)]


def test_a_rebuilt_state_is_the_state_that_was(path: Path) -> None:
    store = Store(path, "f")
    for number in (0, 1):
        store.ingest([iteration(1000 * number + i, loss=number + i / 100, offset=number * 5000 + i) for i in range(1, 400)])
        store.ingest([replace(one, data={**one.data, "round": number, "iteration": i + 150 * number}) for i, one in
                      enumerate((iteration(2000 + 1000 * number + i, offset=90000 + 5000 * number + i) for i in range(1, 300)), 1)])
    store.drain()
    was, now = store.state.runs["gpt"], Store(path, "f").state.runs["gpt"]
    assert list(was.standing) == list(now.standing) and was.last_iteration_time == now.last_iteration_time
    assert {place: list(series["loss"]) for place, series in was.overtaken.items()} == {place: list(series["loss"]) for place, series in now.overtaken.items()}
    assert list(was.series["loss"]) == list(now.series["loss"])


def test_a_file_of_version_1_is_taken_over(path: Path) -> None:
    path.parent.mkdir(parents=True)
    db = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS[0](db)
    events = [full(1), full(2), RecordArrived(node="n1", spool_id="s", seq=3, kind="iteration", key="odd", time=1.0, at=1.0, data=dict(full(3).data))]
    for event in events:
        db.execute("INSERT INTO record (fleet, node, spool_id, seq, kind, key, time, at, version, job, attempt, data) VALUES ('f', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   (event.node, event.spool_id, event.seq, event.kind, event.key, event.time, event.at, event.version, "gpt", ATTEMPT, json.dumps(event.data)))
    db.execute("INSERT INTO cursor VALUES ('f', 'n1', 's', 3)")
    db.execute("PRAGMA user_version=1")
    db.close()
    store = Store(path, "f")
    assert list(store.records()) == events
    assert store.cursor("n1") == {"spool_id": "s", "seq": 3}
    store.ingest([full(4)])
    assert [event.seq for event in store.records()] == [1, 2, 3, 4]
    assert [x for x, _ in curve(store)] == [1, 2, 3, 4]


def test_the_oldest_run_goes_first_and_it_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.store._PRUNE_EVERY", 500)
    store = Store(path, "f", cap_bytes=1_000_000)

    def of(job: str, day: int, seqs: range) -> list[RecordArrived]:
        attempt = f"202611{day:02d}T050000Z-aaaa"
        return [replace(full(seq, job=job, attempt=attempt, file_id=job, offset=seq), key=f"{job}:{seq}:iteration") for seq in seqs]

    end = RecordArrived(node="n1", spool_id="s", seq=4000, kind="exit", key="e", time=2.0, at=2.0,
                        data={"job": "old", "attempt": "20261101T050000Z-aaaa", "code": 0})
    store.ingest([*of("old", 1, range(1, 3001))])
    store.ingest([end, *of("new", 2, range(4001, 7001))])
    store.ingest(of("new", 2, range(7001, 9001)))
    store.drain()
    kept = {job: sum(1 for one in store.records(kinds=["iteration"], job=job)) for job in ("old", "new")}
    gone = store.state.pruned
    assert kept["old"] < 3000 and kept["old"] + gone[("old", "iteration")] == 3000
    assert kept["new"] + gone.get(("new", "iteration"), 0) == 5000 and (not kept["old"] or kept["new"] == 5000)
    assert Store(path, "f").state.pruned == gone
    assert Store(path, "g").state.pruned == {}
    assert path.stat().st_size < 3_000_000


def test_a_burst_of_faults_keeps_the_newest_and_replaces_by_key(path: Path) -> None:
    store = Store(path, "f")
    store.ingest([RecordArrived(node="n1", spool_id="s", seq=seq, kind="fault", key=f"k{seq % 1500}", time=1.0, at=1.0,
                                data={"job": "gpt", "attempt": ATTEMPT, "round": 0, "n": seq}) for seq in range(1, 6001)])
    store.drain()
    latest = store.state.runs["gpt"].latest
    assert latest is not None and [fault.data["n"] for fault in latest.faults] == list(range(5001, 6001))


def test_steps_that_several_ranks_print_are_rebuilt_as_they_were(path: Path) -> None:
    def printed(seq: int, rank: int, at: int) -> RecordArrived:
        known = iteration(seq, loss=at + rank / 10, offset=seq)
        return replace(known, data={**known.data, "iteration": at, "rank": rank, "file": f"/w/local_rank-{rank}.log", "skipped": 0 if rank else None})

    store = Store(path, "f")
    order = [(rank, at) for at in range(1, 50) for rank in ((0, 3, 2) if at % 2 else (3, 2, 0))] + [(0, 50), (2, 50), (2, 51), (0, 51), (0, 52), (2, 52)]
    store.ingest([printed(seq, rank, at) for seq, (rank, at) in enumerate(order, 1)])
    live = curve(store)
    assert live == [(at, at + (0.3 if at < 50 else 0.2)) for at in range(1, 53)]
    store.close()
    again = Store(path, "f")
    assert curve(again) == live
    mine, theirs = again.state.runs["gpt"], store.state.runs["gpt"]
    assert {name: list(series) for name, series in mine.series.items()} == {name: list(series) for name, series in theirs.series.items()}
    assert (mine.carriers, mine.last_iteration_time, list(mine.standing)) == (theirs.carriers, theirs.last_iteration_time, list(theirs.standing))

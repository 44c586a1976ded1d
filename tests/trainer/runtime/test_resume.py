"""Going on where a run was left: the same bits as if it had never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.trainer.runtime.started import ENTRY, Reference, Trainers, final, losses, wait_for, worker_of
from trainer.spec import manifest

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

QUICK = {"iterations": 40, "global_batch_size": 4, "seq_length": 32}


def iterations(*numbers: int) -> set[int]:
    return set(range(numbers[0], numbers[-1] + 1))


def test_the_loss_falls(one: Reference) -> None:
    assert set(one.losses) == iterations(1, 40)
    first, last = (float(next(iter(one.losses[iteration]))) for iteration in (1, 40))
    assert first > 5.4
    assert last < first - 1.0


def test_a_run_ends_with_what_it_was(one: Reference) -> None:
    assert one.final["reason"] == "finished"
    assert (one.final["iteration"], one.final["consumed_samples"], one.final["world_size"]) == (40, 160, 1)
    assert sorted(path.name for path in one.checkpoints.iterdir()) == [
        "iter_0000010", "iter_0000020", "iter_0000030", "iter_0000040", manifest.TRACKER_NAME]
    assert (one.checkpoints / manifest.TRACKER_NAME).read_text() == "40"


def test_one_rank_stopped_is_the_run_that_never_stopped(trainers: Trainers, one: Reference) -> None:
    first = trainers.alone(trainers.job(train={**QUICK, "exit_after_iterations": 15}))
    assert first.finish() == 0, first.text
    second = trainers.alone(trainers.job())
    assert second.finish() == 0, second.text
    assert [set(losses(run)) for run in (first, second)] == [iterations(1, 15), iterations(16, 40)]
    assert losses(first, second) == one.losses
    assert [final(run)["reason"] for run in (first, second)] == ["exit_after_iterations", "finished"]
    assert final(second)["state_sha256"] == one.final["state_sha256"]


def test_asking_one_of_two_ranks_stops_both_and_they_go_on_as_if_never_stopped(trainers: Trainers, two: Reference) -> None:
    (agent,) = trainers.agents(trainers.job(npus=2, train={**QUICK, "min_step_s": 0.5}), nodes=1, npus=2)
    wait_for(lambda: 3 in losses(agent), of=[agent])
    os.kill(worker_of(agent), signal.SIGTERM)
    assert agent.finish() == 0, agent.text
    ended = final(agent)
    assert ended["reason"] == "asked"
    assert 3 <= ended["iteration"] < 40
    assert (trainers.directory / "ck" / manifest.TRACKER_NAME).read_text() == str(ended["iteration"])

    ranks = trainers.ranks(trainers.job(npus=2), 2)
    assert [rank.finish() for rank in ranks] == [0, 0], ranks[0].text
    assert set(losses(*ranks)) == iterations(ended["iteration"] + 1, 40)
    assert losses(agent, *ranks) == two.losses
    assert final(*ranks)["state_sha256"] == two.final["state_sha256"]


def test_one_rank_reads_exactly_what_two_wrote(trainers: Trainers, two: Reference) -> None:
    run = trainers.alone(trainers.job(checkpoint={"dir": str(two.checkpoints)}))
    assert run.finish() == 0, run.text
    assert losses(run) == {}, "the run was at its end already"
    assert final(run)["state_sha256"] == two.final["state_sha256"]


def test_a_killed_rank_is_restarted_in_place_and_nothing_is_lost(trainers: Trainers, two: Reference) -> None:
    directory = trainers.directory / "attempt"
    directory.mkdir()
    agents = trainers.agents(trainers.job(nodes=2, train={**QUICK, "min_step_s": 0.2}), nodes=2, RANKDECK_DIR=str(directory))
    wait_for(lambda: 13 in losses(*agents), of=agents)
    os.kill(worker_of(agents[1]), signal.SIGKILL)
    assert [agent.finish() for agent in agents] == [0, 0], agents[0].text + agents[1].text
    told = losses(*agents)
    assert told == two.losses, "what was trained twice gave the same losses twice"
    assert any(f"successfully loaded checkpoint from {trainers.directory / 'ck'} [ t 1/1, p 1/1 ] at iteration" in agent.text for agent in agents)
    assert final(*agents)["state_sha256"] == two.final["state_sha256"]
    assert (directory / "final.json").is_file()
    assert sorted(path.name for path in directory.iterdir()) == ["final.json", "heartbeat-rank-0.json", "heartbeat-rank-1.json"]
    assert json.loads((directory / "heartbeat-rank-1.json").read_text())["phase"] == "ended"


def copied(reference: Reference, trainers: Trainers) -> Path:
    shutil.copytree(reference.checkpoints, trainers.directory / "ck")
    return trainers.directory / "ck"


def test_a_damaged_newest_checkpoint_is_passed_over(trainers: Trainers, one: Reference) -> None:
    checkpoints = copied(one, trainers)
    shard = checkpoints / "iter_0000040" / "__0_0.distcp"
    os.truncate(shard, shard.stat().st_size - 1)
    (checkpoints / "iter_0000030" / manifest.MANIFEST_NAME).unlink()
    run = trainers.alone(trainers.job())
    assert run.finish() == 0, run.text
    assert f"passing over checkpoint {checkpoints}/iter_0000040: 1 of 4 files have another size" in run.text
    assert f"passing over checkpoint {checkpoints}/iter_0000030: no readable manifest" in run.text
    assert losses(run) == {iteration: one.losses[iteration] for iteration in iterations(21, 40)}
    assert final(run)["state_sha256"] == one.final["state_sha256"]
    # The damaged ones were written anew, and nothing is left beside them.
    assert sorted(path.name for path in checkpoints.iterdir()) == sorted(path.name for path in one.checkpoints.iterdir())


def test_a_save_that_fails_leaves_the_checkpoints_of_before(trainers: Trainers, one: Reference) -> None:
    checkpoints = copied(one, trainers)
    # No file may grow beyond 500 blocks: what a full disk is to a writer, without needing one.
    command = f'ulimit -f 500; exec "{sys.executable}" "$@"'
    job = trainers.job(train={**QUICK, "iterations": 42})
    run = trainers.start(["bash", "-c", command, "-", str(ENTRY), "train", "--job", str(job)])
    assert run.finish() == 3, run.text
    (line,) = [line for line in run.text.splitlines() if line.startswith("rankdeck: ")]
    assert line.startswith(f"rankdeck: {checkpoints}: the checkpoint cannot be written (got ")
    assert "File too large" in line
    assert sorted(path.name for path in checkpoints.iterdir()) == sorted([*(path.name for path in one.checkpoints.iterdir()), "rankdeck-starts.json"])
    assert (checkpoints / manifest.TRACKER_NAME).read_text() == "40"


def test_an_asynchronous_save_is_the_same_checkpoint_and_the_oldest_go(trainers: Trainers, one: Reference) -> None:
    block = {"dir": str(trainers.directory / "ck"), "interval": 10, "keep": 2, "async_save": True}
    first = trainers.alone(trainers.job(train={**QUICK, "exit_after_iterations": 33}, checkpoint=block))
    assert first.finish() == 0, first.text
    assert sorted(path.name for path in (trainers.directory / "ck").iterdir()) == ["iter_0000030", "iter_0000033", manifest.TRACKER_NAME]
    second = trainers.alone(trainers.job(checkpoint=block))
    assert second.finish() == 0, second.text
    assert losses(first, second) == one.losses
    assert final(second)["state_sha256"] == one.final["state_sha256"]


def test_another_layout_goes_on_from_the_same_checkpoint(trainers: Trainers, one: Reference) -> None:
    checkpoints = copied(one, trainers)
    (checkpoints / manifest.TRACKER_NAME).write_text("20")
    blocks = {"train": {**QUICK, "exit_after_iterations": 5}, "parallel": {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}}
    ranks = trainers.ranks(trainers.job(npus=4, **blocks), 4)
    assert [rank.finish() for rank in ranks] == [0] * 4, ranks[0].text
    told = losses(*ranks)
    assert set(told) == iterations(21, 25)
    for iteration, (loss,) in told.items():
        assert float(loss) == pytest.approx(float(next(iter(one.losses[iteration]))), rel=2e-5)
    # And back: one rank reads what four wrote.
    alone = trainers.alone(trainers.job())
    assert alone.finish() == 0, alone.text
    assert set(losses(alone)) == iterations(26, 40)
    assert float(next(iter(losses(alone)[40]))) == pytest.approx(float(next(iter(one.losses[40]))), rel=1e-4)


def test_starts_that_lead_nowhere_come_to_an_end(trainers: Trainers) -> None:
    block = {"dir": str(trainers.directory / "ck"), "interval": 10}
    job, slow = (trainers.job(train={**QUICK, **pace}, checkpoint=block, recovery={"max_no_progress": 1}, data={"format": "synthetic"})
                 for pace in ({}, {"min_step_s": 1.0}))
    first = trainers.alone(slow)
    wait_for(lambda: "training ..." in first.text, of=[first])
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert 10 not in losses(first), "killed before it saved"
    second = trainers.alone(job)
    assert second.finish() == 3, second.text
    assert "1 starts went no further than their checkpoint (got iteration 0 again" in second.text
    (trainers.directory / "ck" / "rankdeck-starts.json").unlink()
    third = trainers.alone(job)
    assert third.finish() == 0, third.text


def test_the_time_limit_ends_a_run_with_a_checkpoint(trainers: Trainers) -> None:
    run = trainers.alone(trainers.job(run={"name": "quick", "time_limit": "00:00:12"}, train={**QUICK, "iterations": 10000, "min_step_s": 0.2}))
    assert run.finish() == 0, run.text
    ended = final(run)
    assert ended["reason"] == "time_limit"
    assert (trainers.directory / "ck" / manifest.TRACKER_NAME).read_text() == str(ended["iteration"])
    assert ended["summary"]["iterations"] == ended["iteration"]

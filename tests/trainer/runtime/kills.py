"""Kill a run with SIGKILL at random moments, go on each time, and compare it with one that nobody touched.

``python -m tests.trainer.runtime.kills --kills 10 --ranks 4``: every second kill waits for a save to begin,
so that about half of them fall into one. Losses of all iterations and the hash of the final state must be
those of the uninterrupted run, to the last bit. ``--agents``: two torchrun agents with a rank each instead, which
restart by themselves what is killed; torchrun is told to put up with that many restarts.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.trainer.runtime.started import Trainers, final, losses, wait_for, worker_of

TRAIN = {"iterations": 60, "global_batch_size": 4, "seq_length": 32, "min_step_s": 0.05}


def compare(directory: Path, *, kills: int, ranks: int, apart: bool, seed: int) -> dict[str, Any]:
    """What happened: {"kills", "in a save", "same losses", "same state"}. ``apart``: asynchronous saves."""
    chance = random.Random(seed)
    for name in ("whole", "killed"):
        (directory / name).mkdir()
    whole, killed = Trainers(directory / "whole"), Trainers(directory / "killed")
    try:
        reference = whole.ranks(_job(whole, ranks, apart), ranks)
        assert [run.finish() for run in reference] == [0] * ranks, reference[0].text
        job = _job(killed, ranks, apart)
        in_save = 0
        for number in range(kills):
            runs = killed.ranks(job, ranks)
            waited = "saving checkpoint" if number % 2 else "iteration "
            # Not at once: a run that is always killed before it saves never ends.
            wait_for(lambda runs=runs, waited=waited: any(waited in run.text for run in runs), of=runs)
            time.sleep(chance.random() * (0.06 if number % 2 else 0.6))
            in_save += any(Path(directory / "killed" / "ck").glob("*.saving"))
            for run in chance.sample(runs, len(runs)):
                os.kill(run.process.pid, signal.SIGKILL)
            for run in runs:
                run.process.wait()
        last = killed.ranks(job, ranks)
        assert [run.finish() for run in last] == [0] * ranks, last[0].text
        return {
            "kills": kills, "in a save": in_save, "same losses": losses(*killed.runs) == losses(*reference),
            "same state": final(*last)["state_sha256"] == final(*reference)["state_sha256"],
        }
    finally:
        whole.end()
        killed.end()


def restarted(directory: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """The same of two ranks under two torchrun agents: a worker is killed again and again, the agents never."""
    chance = random.Random(seed)
    for name in ("whole", "killed"):
        (directory / name).mkdir()
    whole, killed = Trainers(directory / "whole"), Trainers(directory / "killed")
    try:
        reference = whole.ranks(_job(whole, 2, False), 2)
        assert [run.finish() for run in reference] == [0, 0], reference[0].text
        job = killed.job(nodes=2, train=TRAIN, recovery={"max_no_progress": 0}, checkpoint=_checkpoint(killed, False))
        agents = killed.agents(job, nodes=2, restarts=kills)
        for number in range(kills):
            # Progress since the kill before: what is killed on its way up is another test's.
            saved = sum(run.text.count("successfully saved checkpoint") for run in agents)
            wait_for(lambda saved=saved: sum(run.text.count("successfully saved checkpoint") for run in agents) > saved, of=agents)
            time.sleep(chance.random() * 0.2)
            os.kill(worker_of(chance.choice(agents)), signal.SIGKILL)
            wait_for(lambda number=number: sum(run.text.count("loading checkpoint from") for run in agents) > number, of=agents)
        assert [agent.finish() for agent in agents] == [0, 0], agents[0].text + agents[1].text
        return {
            "kills": kills, "same losses": losses(*agents) == losses(*reference),
            "same state": final(*agents)["state_sha256"] == final(*reference)["state_sha256"]}
    finally:
        whole.end()
        killed.end()


def _job(trainers: Trainers, ranks: int, apart: bool) -> Path:
    cut = {"tensor_model_parallel_size": 2} if ranks >= 4 else {}
    return trainers.job(
        npus=ranks, train=TRAIN, parallel=cut, recovery={"max_no_progress": 0},
        checkpoint=_checkpoint(trainers, apart))


def _checkpoint(trainers: Trainers, apart: bool) -> dict[str, Any]:
    return {"dir": str(trainers.directory / "ck"), "interval": 4, "keep": 3, "async_save": apart}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--async-save", action="store_true")
    parser.add_argument("--agents", action="store_true", help="two ranks under two torchrun agents")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rankdeck-kills-") as directory:
        if given.agents:
            told = restarted(Path(directory), kills=given.kills, seed=given.seed)
        else:
            told = compare(Path(directory), kills=given.kills, ranks=given.ranks, apart=given.async_save, seed=given.seed)
    print(f"{'2 agents' if given.agents else f'{given.ranks} ranks'}: {told}")
    return 0 if told["same losses"] and told["same state"] else 1


if __name__ == "__main__":
    sys.exit(main())

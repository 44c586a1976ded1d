"""The whole way: the screen, its desk, SSH, the agent, and a node where something is missing, is mended, and a job is started."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from console.desk import LIVE, ScreenFeed
from console.tui.app import ConsoleApp, Options
from console.tui.layout_host import BUILT_IN
from console.tui.screens.confirm_dialog import ConfirmDialog
from tests.console.tui import scene
from tests.console.tui.one_node import OneNode, kept
from tests.console.tui.test_app import Screen
from tests.patience import PATIENCE_S


class Site(OneNode):
    """One node with an agent, and a job for it whose work directory is not there yet."""

    def __init__(self, folder: Path) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "key").write_bytes(key.export_private_key("openssh"))
        (folder / "key").chmod(0o600)
        super().__init__(folder, [key], env={"RANKDECK_HOST_S": "5", "RANKDECK_NPU_S": "60", "RANKDECK_IDLE_S": "30"},
                         key=str(folder / "key"), python=sys.executable, state_dir=str(folder / "state"), npus=0)
        self.work = self.home / "work"
        self.job = folder / "job.yaml"
        self.job.write_text("run: {name: tiny}\n" f"paths: {{work: {self.work}}}\n" "fleet: {nodes: [n1], npus_per_node: 1, hardware: cpu}\n" "container: {runtime: process}\n"
                            "runner: {kind: script, entry: /bin/sleep, args: ['30'], trainer_dir: ''}\n" "train: {iterations: 4}\n"
                            f"checkpoint: {{dir: {self.work}, storage: per-node}}\n" "preflight: {level: none}\n")

    def close(self) -> None:
        try:
            pid = self.desk.supervisor.session("n1", 5.0).hello["pid"]
            for attempt in self.desk.supervisor.request("n1", "jobs").get("attempts") or ():
                self.desk.supervisor.request("n1", "stop", {"attempt": attempt["attempt"], "grace_s": 1.0, "why": "the test is over"})
            end = time.monotonic() + 20.0
            while any(attempt["state"] in LIVE for attempt in self.desk.supervisor.request("n1", "jobs").get("attempts") or ()) and time.monotonic() < end:
                time.sleep(0.1)
        finally:
            self.desk.end()
        os.kill(pid, signal.SIGTERM)
        super().close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    yield from kept(Site, tmp_path, monkeypatch)


async def test_check_fix_plan_and_launch(site: Site) -> None:
    clock = scene.fixed_clock()
    options = Options(fps=0.001, fleet="lab", job_file=str(site.job), arm_s=7200.0)
    app = ConsoleApp(ScreenFeed(site.desk), site.desk.submit, clock, BUILT_IN, environ={}, options=options)

    async def until(what: Callable[[], object], why: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < end, f"{why}\n{screen.text()}"
            await screen.later(0.1)
            await pilot.pause(0.05)

    async with app.run_test(size=(140, 50)) as pilot:
        screen = Screen(app, pilot, scene.FakeFeed(), clock)
        site.desk._start()
        await until(lambda: "ready to launch tiny" in screen.text(), "the plan")
        sheets = app.context.sheets
        await screen.command("check quick")
        await until(lambda: sheets.check.found is not None, "the report")
        assert sheets.check.job == "tiny" and sheets.check.job_file == str(site.job)
        assert next(row for row in sheets.check.found.rows if row.check.id == "work-dir").cells["n1"] == "error"
        await screen.command("finding work-dir n1")
        assert f"mkdir -p -- {site.work}" in screen.text()
        await screen.command("arm")
        await screen.press("f")
        assert isinstance(app.screen, ConfirmDialog) and not site.work.exists()
        await screen.type("tiny")
        await until(lambda: site.work.is_dir() and not sheets.check.running, "the remedy, and the second look")
        assert next(row for row in sheets.check.found.rows if row.check.id == "work-dir").cells["n1"] == "ok"
        await screen.press("2", "R")
        assert isinstance(app.screen, ConfirmDialog) and "/bin/sleep 30" in screen.text()
        await screen.type("tiny")
        plan = sheets.job.plan
        await until(lambda: plan.attempt in sheets.job.used, "the launch")
        await until(lambda: "is started as attempt" in screen.text() or "start" in screen.text(), "what came of it")
        attempt = site.desk.store.state.runs["tiny"].latest
        assert attempt is not None and attempt.attempt == plan.attempt and attempt.phases["n1", "start"].state == "done"
        await until(lambda: any(data.get("op") == "remedy" for _, _, data in site.desk.store.state.audit), "the audit")
        assert (site.work / ".rankdeck" / "tiny" / plan.attempt / "n1" / "command.sh").read_text() == plan.nodes[0].commands[-1].script

"""The command line against nodes that live in this process: results, exit statuses, documents, questions."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from console.core import i18n
from tests.console.core.launch.jobs import ATTEMPT
from tests.console.core.preflight.facts import path
from tests.console.nodes_in_process import FLEET, JOB, ROOT, SCHEMAS, Node, check, run, running
from tests.patience import PATIENCE_S


def test_nothing_is_loaded_for_a_plan_but_what_it_needs(nodes: dict[str, Node]) -> None:
    program = ("import sys\nfrom console import cli\nassert cli.main(['plan', 'job.yaml', '-i', 'fleet.yaml']) == 0\n"
               "bad = {'textual', 'paramiko', 'torch', 'numpy', 'omegaconf'} & set(sys.modules)\nassert not bad, bad")
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_error(nodes: dict[str, Node]) -> None:
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {sys.executable} -m console plan job.yaml -i fleet.yaml | true"],
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- plan -------------------------------------------------------------------------------------------


def test_plan_prints_what_will_run(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "job.yaml", "-i", "fleet.yaml", "--attempt", ATTEMPT) == 0
    text = capsys.readouterr().out
    assert "Ready to launch: tiny" in text and f"--rdzv-id={ATTEMPT}" in text and "Node n1 (index 1)" in text
    assert run("plan", "job.yaml", "-i", "fleet.yaml", "--json") == 0
    document = check("plan", capsys.readouterr().out)
    assert document["ok"] and [node["node"] for node in document["nodes"]] == ["n0", "n1"] and document["derived"]["world_size"] == 2
    assert not any(node.asked for node in nodes.values())


def test_plan_takes_the_fleet_from_the_job(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.yaml").write_text(JOB.replace("nic: bond0", "nic: bond0, inventory: fleet.yaml"))
    assert run("plan", "job.yaml") == 0
    Path("job.yaml").write_text(JOB)
    assert run("plan", "job.yaml") == 2
    assert "-i fleet.yaml" in capsys.readouterr().err


def test_plan_of_a_job_that_does_not_fit_is_1_with_places(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.yaml").write_text(JOB.replace("[n0, n1]", "[n0, n7]"))
    assert run("plan", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    document = check("plan", capsys.readouterr().out)
    assert not document["ok"] and document["nodes"] == []
    (problem,) = [one for one in document["problems"] if one["severity"] == "error"]
    assert (problem["rule"], problem["where"], problem["got"]) == ("F2", "job.yaml:4:21", "n7")
    assert run("plan", "job.yaml", "-i", "fleet.yaml") == 1
    assert "Not ready to launch" in capsys.readouterr().out
    try:
        assert run("plan", "job.yaml", "-i", "fleet.yaml", "--lang", "zh") == 1
        told = capsys.readouterr().out
        assert told.startswith("不可启动：tiny") and "job.yaml:4:21：节点 'n7' 不在集群 'lab' 中（实际：n7；应为：n0, n1, n2）" in told
        assert run("launch", "job.yaml", "-i", "fleet.yaml", "--lang", "zh") == 1
        assert "节点 'n7' 不在集群 'lab' 中" in capsys.readouterr().err
        assert run("plan", "job.yaml", "-i", "fleet.yaml", "--lang", "zh", "--json") == 1
        assert check("plan", capsys.readouterr().out)["problems"] == document["problems"]
    finally:
        i18n.use({})


def test_plan_of_a_job_that_is_none_is_1_with_all_findings(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.yaml").write_text(JOB.replace("iterations: 4", "iteratoins: 4") + "evn: {}\n")
    assert run("plan", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    document = check("plan", capsys.readouterr().out)
    assert len(document["problems"]) == 3 and document["derived"] == {}


@pytest.mark.parametrize(("fleet", "job"), [(None, JOB), (FLEET, None), ("nodes: [", JOB), (FLEET, "a: ["), ("nodes: [{name: 'a b'}, {prot: 1}]", JOB)])
def test_unreadable_input_is_2(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str], fleet: str | None, job: str | None) -> None:
    for name, text in (("fleet.yaml", fleet), ("job.yaml", job)):
        Path(name).unlink()
        if text is not None:
            Path(name).write_text(text)
    assert run("plan", "job.yaml", "-i", "fleet.yaml", "--json") == 2
    said = capsys.readouterr()
    document = check("error", said.out)
    assert document["error"]["where"].split(":")[0] in ("fleet.yaml", "job.yaml") and said.err == ""
    assert run("plan", "job.yaml", "-i", "fleet.yaml") == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("rankdeck: ")


# --- launch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_of_a_step_that_is_interrupted_only_what_was_started_goes_on(started: bool, nodes: dict[str, Node], capsys: pytest.CaptureFixture[str],
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    # A submission that is interrupted has undone itself (test_ssh_backend).
    monkeypatch.setattr("console.remote.ssh_backend.SshBackend.submit", (lambda *given: None) if started else interrupted)
    monkeypatch.setattr("console.cli.run_step.see_through", interrupted)
    Path("job.yaml").write_text(JOB + "data: {format: megatron-bin, prefix: /w/data/o, input: /w/raw.jsonl}\n")
    assert run("run-step", "job.yaml", "preprocess", "-i", "fleet.yaml") == 130
    assert ("goes on" in capsys.readouterr().err) == started


def test_launch_starts_on_all_nodes(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--detach", "--json") == 0
    said = capsys.readouterr()
    document = check("launch", said.out)
    assert document["ok"] and document["result"] is None and document["error"] is None
    assert [[(one["phase"], one["state"]) for one in node["phases"]] for node in document["nodes"]] == [
        [("preflight", "done"), ("prepare", "done"), ("start", "done")]] * 2
    assert [node.attempts[document["attempt"]]["state"] for node in (nodes["n0"], nodes["n1"])] == ["running", "running"]
    assert not nodes["n2"].attempts and "n0: start done" in said.err


def test_a_node_that_is_not_fit_stops_the_launch_and_is_left_as_it_was(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    nodes["n1"].facts["path:/w"] = path("/w", exists=False, nearest="/", kind=None)
    nodes["n0"].facts["clock"]["synchronised"] = False
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    said = capsys.readouterr()
    document = check("launch", said.out)
    assert not document["ok"] and document["epoch"] is None and "the work directory is not there" in document["error"]["what"]
    assert document["error"]["where"] == "n1: /w" and document["error"]["fix"]
    assert document["check"]["ok"] is False
    assert {(one["rule"], one["node"], one["severity"]) for one in document["check"]["problems"]} == {("work-dir", "n1", "error"), ("clock-kept", "n0", "warning")}
    assert "error   work-dir  n1: /w: the work directory is not there" in said.err and "$ mkdir -p -- /w" in said.err and "not fit" in said.err
    assert all(not node.attempts and not {"lock", "prepare", "commit"} & set(node.asked) for node in nodes.values())
    states = {phase["state"] for node in document["nodes"] for phase in node["phases"] if phase["phase"] == "preflight"}
    assert states == {"failed"}
    # An attempt that was never begun is not in the history.
    assert run("status", "-i", "fleet.yaml", "--json") in (0, 1)
    assert check("status", capsys.readouterr().out)["jobs"] == []


def test_a_launch_is_told_in_the_operators_language(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(nodes["n1"].facts)
    nodes["n1"].facts["path:/w"] = path("/w", exists=False, nearest="/", kind=None)
    try:
        assert run("launch", "job.yaml", "-i", "fleet.yaml", "--lang", "zh") == 1
        said = capsys.readouterr().err
        assert "正在检查 2 个节点" in said and "n1：预检 失败（" in said and "n1: /w：工作目录" in said and "n0：预检 失败（" in said and "另有节点不合格" in said
        assert "rankdeck: n1: /w：节点不适合该作业：工作目录" in said
        nodes["n1"].facts.clear()
        nodes["n1"].facts.update(before)
        assert run("launch", "job.yaml", "-i", "fleet.yaml", "--lang", "zh", "--detach") == 0
        said = capsys.readouterr().err
        assert "n0：启动 完成（" in said and "已启动，尝试" in said and "：合格" in said
        assert not re.search(r"\b(done|failed|started|checks|fit|attempt|node)\b", said), said
    finally:
        i18n.use({})


def test_warnings_are_shown_and_do_not_stop_a_launch(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    nodes["n0"].facts["clock"]["synchronised"] = False
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--detach", "--json") == 0
    said = capsys.readouterr()
    assert check("launch", said.out)["check"]["ok"] is True
    assert "warning clock-kept  n0" in said.err and "checks (standard): fit" in said.err


def test_a_waived_check_lets_a_launch_through(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    nodes["n1"].facts["path:/w"] = path("/w", exists=False, nearest="/", kind=None)
    Path("job.yaml").write_text(JOB + "preflight: {waive: [{id: work-dir, reason: made by the first step}]}\n")
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--detach", "--json") == 0
    document = check("launch", capsys.readouterr().out)
    assert [one["waived"] for one in document["check"]["problems"] if one["rule"] == "work-dir"] == ["made by the first step"]
    Path("job.yaml").write_text(JOB + "preflight: {waive: [{id: work-dir, reason: ''}]}\n")
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    assert "R3" in [one["rule"] for one in check("launch", capsys.readouterr().out)["problems"] if one["severity"] == "error"]


@pytest.mark.parametrize(("flag", "job", "why"), [(["--no-check"], JOB, "--no-check"), ([], JOB + "preflight: {level: none}\n", "preflight.level: none")])
def test_a_launch_without_checks_stands_in_the_audit_trail(
        nodes: dict[str, Node], capsys: pytest.CaptureFixture[str], flag: list[str], job: str, why: str) -> None:
    for node in nodes.values():
        node.facts["path:/w"] = path("/w", exists=False, nearest="/", kind=None)
    Path("job.yaml").write_text(job)
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json", "--detach", *flag) == 0
    document = check("launch", capsys.readouterr().out)
    assert document["check"] is None and "check_facts" not in nodes["n0"].asked
    for name in ("n0", "n1"):
        assert len(nodes[name].notes) == 1 and document["attempt"] in nodes[name].notes[0] and why in nodes[name].notes[0]
        assert nodes[name].asked.index("note") < nodes[name].asked.index("lock")
    nodes["n0"].notes.clear()
    nodes["n0"].attempts.clear()
    nodes["n0"].refuses["note"] = "the spool is full"
    nodes["n1"].attempts.clear()
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json", *flag) == 1  # nothing unchecked without a trace


def test_launch_that_fails_undoes_itself_and_says_where(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    nodes["n1"].refuses["prepare"] = "the disk is full"
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    document = check("launch", capsys.readouterr().out)
    assert not document["ok"] and document["epoch"] is None
    assert "the disk is full" in json.dumps(document["error"]) and "n1" in document["error"]["what"]
    assert nodes["n0"].attempts[document["attempt"]]["state"] == "aborted"


def test_launch_of_a_job_with_problems_connects_to_nothing(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.yaml").write_text(JOB.replace("global_batch_size: 2", "global_batch_size: 3"))
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    document = check("launch", capsys.readouterr().out)
    assert [one["rule"] for one in document["problems"] if one["severity"] == "error"] == ["P3"]
    assert not any(node.asked for node in nodes.values())
    assert run("launch", "job.yaml", "-i", "fleet.yaml") == 1
    said = capsys.readouterr()
    assert said.out == "" and "[P3]" in said.err and "not launched" in said.err


def test_a_second_launch_is_refused_and_leaves_the_first_in_view(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--detach", "--json") == 0
    first = check("launch", capsys.readouterr().out)["attempt"]
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    document = check("launch", capsys.readouterr().out)
    assert "already there" in document["error"]["what"] and {one["state"] for node in document["nodes"] for one in node["phases"]} == {"failed", "waiting"}
    assert run("status", "-i", "fleet.yaml", "--json") == 0
    (job,) = check("status", capsys.readouterr().out)["jobs"]
    assert (job["attempt"], job["status"]) == (first, "running")


def train(node: Node, attempt: str, *, iterations: int = 4, code: int = 0) -> None:
    """What a node's records say of a run that goes through at once."""
    place = {"job": "tiny", "attempt": attempt, "round": 0}
    if node.name == "n1":
        for iteration in range(1, iterations + 1):
            node.record("iteration", **place, iteration=iteration, total=4, lm_loss=5.0 - iteration, elapsed_ms=10.0)
    node.record("exit", **place, scope="command", code=code, asked=False)
    node.state(attempt, "exited")


def test_launch_stays_until_it_trains(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    def begin(node: Node, attempt: str) -> None:
        node.record("iteration", job="tiny", attempt=attempt, round=0, iteration=1, total=4, lm_loss=5.0, elapsed_ms=10.0)

    nodes["n1"].on_commit = begin
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 0
    document = check("launch", capsys.readouterr().out)
    assert document["ok"] and document["result"] is None
    cells = {(node["node"], one["phase"]): one["state"] for node in document["nodes"] for one in node["phases"]}
    assert {cells[node, phase] for node in ("n0", "n1") for phase in ("rendezvous", "loading")} == {"done"}
    assert cells["n0", "training"] == cells["n1", "training"] == "running"


@pytest.mark.parametrize("code", [7, 0])
def test_what_ends_on_one_node_before_it_trains_is_ended_on_the_others(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str], code: int) -> None:
    nodes["n1"].on_commit = lambda node, attempt: train(node, attempt, iterations=0, code=code)
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--json") == 1
    document = check("launch", capsys.readouterr().out)
    error = document["error"]
    assert error["what"] == "rendezvous failed on n1" and f"exit status {code} of: " in error["got"] and "n0" in error["fix"]
    assert nodes["n0"].attempts[document["attempt"]]["state"] == "stopped"
    assert "stop" not in nodes["n1"].asked


def test_launch_and_wait_for_the_end(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    for node in nodes.values():
        node.on_commit = train
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--wait", "--json") == 0
    document = check("launch", capsys.readouterr().out)
    assert document["ok"] and document["result"] == {
        "status": "finished", "iteration": 4, "total": 4, "loss": 1.0, "saved_iteration": None, "rounds": 1}


@pytest.mark.parametrize(("iterations", "code", "status"), [(3, 0, "ended early"), (4, 1, "failed"), (2, 1, "failed")])
def test_an_exit_status_alone_is_no_success(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str], iterations: int, code: int, status: str) -> None:
    for node in nodes.values():
        node.on_commit = lambda node, attempt: train(node, attempt, iterations=iterations, code=code)
    assert run("launch", "job.yaml", "-i", "fleet.yaml", "--wait", "--json") == 1
    assert check("launch", capsys.readouterr().out)["result"]["status"] == status


# --- status, ps -------------------------------------------------------------------------------------


def test_status_of_a_fleet_that_is_well(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    running(nodes, "n0", "n1")
    nodes["n1"].record("iteration", job="tiny", attempt=ATTEMPT, round=0, iteration=3, total=9, lm_loss="nan", elapsed_ms=10.0)
    assert run("status", "-i", "fleet.yaml", "--json") == 0
    document = check("status", capsys.readouterr().out)
    assert document["ok"] and [node["link"] for node in document["nodes"]] == ["up"] * 3
    assert document["nodes"][0]["devices"][1]["aicore_pct"] is None and document["nodes"][0]["job_state"] == "running"
    (job,) = document["jobs"]
    assert (job["job"], job["status"], job["iteration"], job["total"], job["loss"]) == ("tiny", "running", 3, 9, "nan")
    assert run("status", "-i", "fleet.yaml") == 0
    text = capsys.readouterr().out
    assert "3 of 3 nodes up" in text and "Job tiny: running" in text and "2/2 ok" in text and "40%" in text


def test_status_names_what_is_wrong(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    nodes["n2"].down = "connection refused"
    assert run("status", "-i", "fleet.yaml", "--json", "--timeout", "0") == 1
    document = check("status", capsys.readouterr().out)
    assert (document["nodes"][2]["link"], document["nodes"][2]["why"]) == ("down", "connection refused")
    assert run("status", "-i", "fleet.yaml", "--timeout", "0") == 1
    assert "n2 is not up: connection refused" in capsys.readouterr().err


def test_status_of_a_sick_npu_and_a_failed_rank(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    nodes["n2"].record("sample", complete=True, columns={"npu_id": [0], "health": ["Alarm"]}, processes={}, errors=[], absent={}, took_s=0.1)
    assert run("status", "-i", "fleet.yaml", "--json") == 1
    assert check("status", capsys.readouterr().out)["nodes"][2]["devices"][0]["health"] == "Alarm"
    running(nodes, "n0", "n1")
    nodes["n0"].record("exit", job="tiny", attempt=ATTEMPT, round=0, scope="rank", rank=0, local_rank=0, pid=9, signal=9, started=1.0, ended=2.0, asked=False)
    run("status", "-i", "fleet.yaml", "--json")
    cause = check("status", capsys.readouterr().out)["jobs"][0]["root_cause"]
    assert (cause["node"], cause["rank"], cause["code"]) == ("n0", 0, "SIGKILL")


def test_ps_lists_what_the_nodes_say(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    running(nodes, "n0", "n1")
    nodes["n1"].state(ATTEMPT, "exited")
    # A part that has ended while another runs is what one looks for.
    assert run("ps", "-i", "fleet.yaml", "--json") == 0
    assert [(one["node"], one["state"]) for one in check("ps", capsys.readouterr().out)["attempts"]] == [("n0", "running"), ("n1", "exited")]
    nodes["n0"].state(ATTEMPT, "exited")
    assert run("ps", "-i", "fleet.yaml", "--json") == 0
    assert check("ps", capsys.readouterr().out)["attempts"] == []
    assert run("ps", "-i", "fleet.yaml", "--all", "--json") == 0
    assert [one["state"] for one in check("ps", capsys.readouterr().out)["attempts"]] == ["exited", "exited"]
    nodes["n0"].state(ATTEMPT, "running")
    nodes["n2"].down = "no route"
    assert run("ps", "-i", "fleet.yaml", "--timeout", "0") == 1
    said = capsys.readouterr()
    assert "tiny" in said.out and "n2 did not answer: no route" in said.err


# --- stop -------------------------------------------------------------------------------------------


def test_stop_ends_the_job_and_only_it(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    running(nodes, "n0", "n1")
    running(nodes, "n2", job="other", attempt="20261122T060000Z-ffff")
    assert run("stop", "tiny", "-i", "fleet.yaml", "--yes-i-mean", "tiny", "--json") == 0
    said = capsys.readouterr()
    document = check("stop", said.out)
    assert document["ok"] and [one["state"] for one in document["attempts"][0]["nodes"]] == ["stopped", "stopped"]
    assert "stop" not in nodes["n2"].asked and '"op": "stop"' in said.err and "/w/n0" in said.err


def test_all_nodes_are_asked_at_once_what_is_left(nodes: dict[str, Node]) -> None:
    running(nodes, "n0", "n1", "n2")
    all_of_them = threading.Barrier(3)
    for node in nodes.values():
        node.on_left = partial(all_of_them.wait, PATIENCE_S)
    assert run("stop", "tiny", "-i", "fleet.yaml", "--yes-i-mean", "tiny", "--json") == 0


def test_stop_wants_the_name(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    running(nodes, "n0", "n1")
    assert run("stop", "tiny", "-i", "fleet.yaml", "--yes-i-mean", "tyni") == 2
    assert run("stop", "tiny", "-i", "fleet.yaml") == 2  # no terminal to ask on
    assert "--yes-i-mean tiny" in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("tyni\n"))
    assert run("stop", "tiny", "-i", "fleet.yaml") == 1
    assert "nothing was stopped" in capsys.readouterr().err
    assert not any("stop" in node.asked for node in nodes.values())
    monkeypatch.setattr(sys, "stdin", Terminal("tiny\n"))
    assert run("stop", "tiny", "-i", "fleet.yaml") == 0
    assert nodes["n0"].attempts[ATTEMPT]["state"] == nodes["n1"].attempts[ATTEMPT]["state"] == "stopped"


def test_stop_of_a_job_that_is_not_there(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    running(nodes, "n0", job="other")
    assert run("stop", "tiny", "-i", "fleet.yaml", "--yes-i-mean", "tiny", "--json") == 1
    assert "live jobs: other" in check("error", capsys.readouterr().out)["error"]["got"]


def test_stop_that_a_node_refuses_or_never_hears_is_not_ok(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.cli.stopping.MARGIN_S", 0.0)
    running(nodes, "n0", "n1")
    nodes["n1"].refuses["stop"] = "told to stop three times"
    assert run("stop", "tiny", "-i", "fleet.yaml", "--yes-i-mean", "tiny", "--grace", "0", "--json") == 1
    document = check("stop", capsys.readouterr().out)
    assert not document["ok"] and "told to stop three times" in document["error"]["got"]
    # The console has seen n1 take part; then it went away.
    nodes["n1"].down = "link cut"
    running(nodes, "n0")
    assert run("stop", "tiny", "-i", "fleet.yaml", "--yes-i-mean", "tiny", "--timeout", "0", "--json") == 1
    document = check("stop", capsys.readouterr().out)
    assert document["unreachable"] == [{"node": "n1", "why": "link cut"}]


# --- layouts, open, demo ----------------------------------------------------------------------------


def test_layouts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layouts", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and "default" in [one["name"] for one in document["layouts"]]


def test_open_without_a_terminal_says_so(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("open", "-i", "fleet.yaml") == 1
    assert "terminal" in capsys.readouterr().err


def test_demo_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("console.lab.demo.main", lambda args: seen.append(args) or 3)
    assert run("demo", "--headless", "--json", "--iterations", "60", "--save-interval", "10", "--fault", "rank-killed@20",
               "--fault", "random", "--seed", "5", "--keep") == 3
    (args,) = seen
    assert (args.headless, args.json, args.iterations, args.save_interval, args.fault, args.seed, args.keep, args.stop, args.layout) == (
        True, True, 60, 10, ["rank-killed@20", "random"], 5, True, False, "default")


def test_demo_without_its_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("demo") == 2
    assert "pip install 'rankdeck[demo]'" in capsys.readouterr().err


def test_every_schema_is_one() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)

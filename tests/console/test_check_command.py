"""``rankdeck check`` on the command line: documents, exit statuses, waivers, and what has to be typed before anything is mended."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from console import cli
from console.core import i18n
from console.core.errors import RequestError
from tests.console.core.preflight.facts import parts, path
from tests.console.remote.fakes import RealClock
from tests.console.remote.test_check import FakeLinks

SCHEMA = json.loads((Path(__file__).parents[2] / "console" / "schema" / "check.schema.json").read_text())
FLEET = "name: lab\nnodes:\n  - {name: n0, host: 10.0.0.1, npus: 2}\n  - {name: n1, host: 10.0.0.2, npus: 2}\n  - {name: n2, host: 10.0.0.3, npus: 2}\n"
JOB = """
run: {name: tiny}
paths: {work: /w}
fleet: {nodes: [n1, n0], npus_per_node: 2, inventory: fleet.yaml}
runner: {trainer_dir: /w/rankdeck}
train: {iterations: 4}
checkpoint: {dir: /w/ckpt, storage: per-node}
"""


class Fleet:
    """Nodes that are fit but for IP forwarding; ``remedy`` switches it on."""

    def __init__(self) -> None:
        self.links = FakeLinks(self.handle)
        self.forward = {"n0": 0, "n1": 0, "n2": 1}
        self.broken: set[str] = set()
        self.opened: list[str] = []

    def handle(self, name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if op == "check_facts":
            found = parts()
            found["host"]["ip_forward"] = self.forward[name]
            found["network"]["columns"]["address"] = [f"29.0.{name[1:]}.{number}" for number in range(2)]
            found["nics"]["bond0"]["addresses"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
            found["path:/w"] = path("/w", exists=name not in self.broken, nearest="/w" if name not in self.broken else "/")
            return {"parts": found, "absent": {}}
        if op == "remedy":
            if name in self.broken:
                raise RequestError("the remedy failed", where=name, got="exit status 1: permission denied")
            self.forward[name] = 1
            return {"output": "net.ipv4.ip_forward = 1\n"}
        if op == "nonce":
            return {"path": ""}
        raise RequestError("the file cannot be read", where=name, got="No such file or directory")

    @property
    def mended(self) -> list[tuple[str, Any]]:
        return [(name, args["argv"]) for name, op, args in self.links.asked if op == "remedy"]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fleet:
    made = Fleet()

    @contextmanager
    def at_desk(args: Any, inventory: Any) -> Iterator[Any]:
        made.opened = [node.name for node in inventory.nodes]
        state = SimpleNamespace(nodes={name: SimpleNamespace(met=SimpleNamespace(clock_offset_s=0.0, clock_error_s=0.0)) for name in made.opened})
        yield SimpleNamespace(supervisor=made.links, clock=RealClock(), store=SimpleNamespace(drain=lambda: None, state=state))

    monkeypatch.setattr("console.cli.check.at_desk", at_desk)
    monkeypatch.setattr("console.remote.check.SETTLE_S", 0.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "job.yaml").write_text(JOB)
    return made


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = cli.main(["check", *argv])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_fleet_with_warnings_is_fit_and_says_what_to_type(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "-i", "fleet.yaml")
    assert status == 0 and out.startswith("Fit: fleet lab, 3 of 3 nodes")
    assert "n0, n1: /proc/sys/net/ipv4/ip_forward" in out and "$ sysctl -w net.ipv4.ip_forward=1" in out and "--fix ip-forward" in out
    assert fleet.mended == []


def test_the_report_is_in_the_operators_language_and_the_document_is_not(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        _, out, _ = run(capsys, "-i", "fleet.yaml", "--lang", "zh")
        assert out.startswith("合格：集群 lab，3/3 个节点") and "IP 转发已关闭" in out and "$ sysctl -w net.ipv4.ip_forward=1" in out and "IP forwarding" not in out
        _, out, _ = run(capsys, "-i", "fleet.yaml", "--lang", "zh", "--json")
        assert {problem["message"] for problem in json.loads(out)["problems"]} == {"IP forwarding is off"}
    finally:
        i18n.use({})


def test_the_document_keeps_its_promise(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.links.dead = {"n2"}
    fleet.links.released.set()  # known to be dead without a wait
    status, out, _ = run(capsys, "-i", "fleet.yaml", "--json")
    document = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert status == 1 and document["ok"] is False and document["level"] == "standard"
    assert [node["reached"] for node in document["nodes"]] == [True, True, False]
    assert {problem["rule"] for problem in document["problems"]} == {"node-reachable", "ip-forward"}


def test_a_job_is_checked_on_its_own_nodes_in_its_order(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--job", "job.yaml", "--json")
    document = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert status == 0 and document["job"] == "tiny" and fleet.opened == ["n1", "n0"] == [node["node"] for node in document["nodes"]]
    fleet.broken = {"n1"}
    status, out, _ = run(capsys, "--job", "job.yaml")
    assert status == 1 and "the work directory is not there" in out and "mkdir -p -- /w" in out


def test_waivers_need_a_known_id_and_a_reason(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.broken = {"n0"}
    status, out, _ = run(capsys, "--job", "job.yaml", "--waive", "work-dir=made by the job")
    assert status == 0 and "made by the job" in out
    for text, words in (("work-dir", "without a reason"), ("wrok-dir=x", "Did you mean work-dir?")):
        status, _, err = run(capsys, "--job", "job.yaml", "--waive", text)
        assert status == 2 and words in err


def test_nothing_is_mended_before_the_number_of_nodes_is_typed(fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, err = run(capsys, "-i", "fleet.yaml", "--fix", "ip-forward")  # no terminal
    assert status == 2 and "--yes-i-mean 2" in err and fleet.mended == []
    for typed in ("y\n", "n0\n", "\n"):
        terminal = io.StringIO(typed)
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", terminal)
        status, _, err = run(capsys, "-i", "fleet.yaml", "--fix", "ip-forward")
        assert status == 1 and "nothing was changed" in err and fleet.mended == []
    terminal = io.StringIO("2\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    status, out, err = run(capsys, "-i", "fleet.yaml", "--fix", "ip-forward")
    assert status == 0 and "n0  $ sysctl -w net.ipv4.ip_forward=1" in err
    assert sorted(fleet.mended) == [("n0", ["sysctl", "-w", "net.ipv4.ip_forward=1"]), ("n1", ["sysctl", "-w", "net.ipv4.ip_forward=1"])]
    assert "ip-forward" not in out  # looked at again


def test_a_remedy_that_fails_is_told(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.broken, fleet.forward = {"n0"}, {"n0": 0, "n1": 1, "n2": 1}
    status, out, _ = run(capsys, "-i", "fleet.yaml", "--fix", "ip-forward", "--yes-i-mean", "n0", "--json")
    document = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert status == 1 and document["fixes"][0]["ok"] is False and "permission denied" in document["fixes"][0]["error"]["got"]


def test_wrong_usage_is_told_apart(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    assert run(capsys, "-i", "none.yaml")[0] == 2
    assert run(capsys, "-i", "fleet.yaml", "--fix", "reboot")[0] == 2
    (Path("job.yaml")).write_text(JOB.replace("[n1, n0]", "[n1, n9]"))
    status, _, err = run(capsys, "--job", "job.yaml")
    assert status == 2 and "n9" in err

"""What a node tells for preflight: every part with its own limit, and what hangs costs only itself."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from agent import facts
from agent.catalogue import remedies
from tests.agent.conftest import Node, until
from tests.patience import PATIENCE_S


def test_a_part_that_hangs_is_absent_and_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, begun = threading.Event(), []

    def hang(path: str) -> Any:
        begun.append(path)
        stuck.wait()
        return {}

    class Part(facts._Part):
        """With a time limit that only the one that hangs can meet: the others may take long on a busy machine."""

        def __init__(self, name: str, work: Any) -> None:
            self.hangs = name == "path:/nfs"
            super().__init__(name, work)

        def wait(self, timeout_s: float) -> str:
            return super().wait(0.3 if self.hangs and not stuck.is_set() else timeout_s)

    monkeypatch.setattr(facts, "_Part", Part)
    monkeypatch.setattr(facts, "_path", hang)
    monkeypatch.setattr(facts, "_versions", lambda: 1 // 0)
    try:
        ask = {"level": "quick", "paths": ["/nfs"], "limit_s": PATIENCE_S}
        told = facts.gather(ask)
        assert told["absent"] == {"path:/nfs": "timeout", "versions": "error"} and told["parts"]["host"]["cores"] >= 1
        assert facts.gather(ask)["absent"]["path:/nfs"] == "timeout"
        assert begun == ["/nfs"]
    finally:
        stuck.set()
    until(lambda: "path:/nfs" not in facts._hanging)
    facts.gather(ask)
    assert begun == ["/nfs", "/nfs"]


def test_paths_say_what_is_there_and_what_could_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    parts = facts.gather({"level": "quick", "limit_s": PATIENCE_S, "paths": [str(tmp_path), str(tmp_path / "file"), str(tmp_path / "a" / "b")]})["parts"]
    folder, file, absent = (parts["path:" + str(path)] for path in (tmp_path, tmp_path / "file", tmp_path / "a" / "b"))
    assert folder["kind"] == "dir" and folder["readable"] and folder["writable"] and folder["space"]["free_mb"] > 0
    assert file["kind"] == "file" and file["size"] == 1
    assert not absent["exists"] and absent["nearest"] == str(tmp_path) and absent["writable"]


def test_the_runner_is_asked_what_it_has() -> None:
    ask = {"level": "standard", "python": sys.executable, "modules": ["json", "no_such_module_at_all", "no_such_package.inner", "bad;name"], "imports_s": 60, "limit_s": 60}
    runner = facts.gather(ask)["parts"]["runner"]
    assert runner["version"] == "%d.%d.%d" % sys.version_info[:3] and runner["why"] == ""
    assert runner["modules"]["json"] == "of unknown version" and runner["errors"] == {} and runner["modules"]["no_such_package.inner"] is None
    assert runner["modules"].get("no_such_module_at_all", 0) is None and "bad;name" not in runner["modules"]
    missing = facts.gather(dict(ask, python="/no/such/python"))["parts"]["runner"]
    assert missing["why"] == "missing" and missing["version"] is None


def test_over_the_wire_and_in_the_audit_trail(node: Node) -> None:
    node.start()
    console = node.console()
    told = console.do("check_facts", ask={"level": "quick", "paths": [str(node.work)]})
    assert told["parts"]["path:" + str(node.work)]["exists"] and told["parts"]["npu"]["sample"]["source"]
    name = ".rankdeck-nonce-0123456789ab"
    path = console.do("nonce", dir=str(node.work), name=name, text="hello")["path"]
    assert Path(path).read_text() == "hello"
    again = console.ask("nonce", dir=str(node.work), name=name, text="again")
    assert not again["ok"] and Path(path).read_text() == "hello"
    console.do("nonce", dir=str(node.work), name=name, text="")
    assert not os.path.exists(path)
    assert console.do("write_speed", dir=str(node.work), name=name, mb=2)["mb"] == 2 and os.listdir(str(node.work)) == []
    assert console.do("npu_ping", pairs=[[0, "10.0.0.1"]], limit_s=1)["pings"][0]["why"] == "missing"

    fresh = str(node.work / "new" / "dir")
    refused = console.ask("remedy", name="mkdir", subject=fresh, argv=["rm", "-rf", fresh])
    assert not refused["ok"] and refused["error"]["expected"] == "mkdir -p -- " + fresh and not os.path.exists(fresh)
    console.do("remedy", name="mkdir", subject=fresh, argv=remedies.argv("mkdir", fresh))
    assert os.path.isdir(fresh)
    console.settle()
    trail = [(message["data"]["op"], message["data"]["ok"]) for message in console.records("audit")]
    assert trail == [("nonce", True), ("nonce", False), ("nonce", True), ("write_speed", True), ("remedy", False), ("remedy", True)]


@pytest.mark.parametrize(("folder", "name", "text"), [
    ("{}", "passwd", "x"), ("{}", "../.rankdeck-nonce-01234567", "x"), ("{}/none", ".rankdeck-nonce-01234567", "x"),
    ("{}", ".rankdeck-nonce-01234567", "x" * 5000), ("relative", ".rankdeck-nonce-01234567", "x")])
def test_a_proof_file_is_no_way_to_write_anything_else(tmp_path: Path, folder: str, name: str, text: str) -> None:
    from agent import repairs
    from agent.refusal import Refused

    with pytest.raises(Refused):
        repairs.nonce({"dir": folder.format(tmp_path), "name": name, "text": text})
    assert os.listdir(str(tmp_path)) == []


def test_a_proof_file_does_not_follow_a_link(tmp_path: Path) -> None:
    from agent import repairs
    from agent.refusal import Refused

    (tmp_path / "victim").write_text("kept")
    (tmp_path / ".rankdeck-nonce-01234567").symlink_to(tmp_path / "victim")
    with pytest.raises(Refused):
        repairs.nonce({"dir": str(tmp_path), "name": ".rankdeck-nonce-01234567", "text": "x"})
    assert (tmp_path / "victim").read_text() == "kept"


@pytest.mark.parametrize(("name", "subject"), [
    ("reboot", ""), ("mkdir", "relative"), ("mkdir", "/a/../etc"), ("mkdir", "/"), ("mkdir", "/a\nb"), ("ip-forward", "x"),
    ("image-pull", "sh -c"), ("image-pull", "docker -v/:/x"), ("image-pull", "docker a b"),
    ("reserve-ports", ""), ("reserve-ports", "29500;reboot"), ("reserve-ports", "29500,70000"), ("reserve-ports", "0"), ("reserve-ports", "29500\n")])
def test_there_are_no_other_remedies(name: str, subject: str) -> None:
    with pytest.raises(remedies.RemedyError):
        remedies.argv(name, subject)


def test_only_mounts_that_are_there_go_into_the_look_at_an_image(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    words = facts._mounts(["%s/site:/opt/site:ro" % tmp_path, "%s/gone:/gone" % tmp_path, "relative:/x", "%s:nowhere" % tmp_path, "--privileged", 7,
                           "%s/site:/a,source=/:ro" % tmp_path])
    assert words == ["--mount", "type=bind,source=%s/site,target=/opt/site,readonly" % tmp_path]

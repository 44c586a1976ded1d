"""The container engine: asked without changing anything, and its silence told apart from its absence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent import wire
from agent.probe import containers
from agent.probe.command import Result

INSPECT = [{
    "Id": "ab" * 32, "Name": "/ascendspeed", "Image": "sha256:" + "cd" * 32, "State": {"Running": True, "Status": "running", "Pid": 4711, "StartedAt": "2026-11-22T05:00:00Z"},
    "Config": {"Image": "train:1", "Env": ["PATH=/bin"], "Labels": {"rankdeck.job": "tiny", "maintainer": "x"}},
    "HostConfig": {"Privileged": False, "NetworkMode": "host", "Devices": [{"PathOnHost": "/dev/davinci1"}, {"PathOnHost": "/dev/davinci_manager"}]},
    "Mounts": [{"Source": "/w", "Destination": "/home/ma-user/ws", "RW": True}]}]


class Engine:
    """docker or podman: answers by their first words."""

    def __init__(self, name: str = "docker", **answers: Any) -> None:
        self.name = name
        self.asked: list[list[str]] = []
        ps = json.dumps({"ID" if name == "docker" else "Id": "ab" * 32, "Names": "ascendspeed"})
        self.answers = {"--version": Result(0, "%s version 24.0.7, build afdd53b\n" % name.capitalize(), 0.01, ""),
                        "ps": Result(0, ps if name == "docker" else "[%s]" % ps, 0.01, ""), "inspect": Result(0, json.dumps(INSPECT), 0.01, ""),
                        "info": Result(0, "WARNING: bridge-nf-call-iptables is disabled\n/data/docker\n", 0.01, ""), **answers}

    def run(self, argv: list[str], timeout_s: float) -> Result:
        self.asked.append(argv[1:])
        found: Result = self.answers[argv[1]]
        return found

    def find(self, tool: str) -> str | None:
        return "/usr/bin/" + tool if tool == self.name else None


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_who_was_given_which_device(name: str) -> None:
    engine = Engine(name)
    data = containers.read(runner=engine.run, finder=engine.find)
    assert wire.problems_in("containers", data) == []
    assert (data["engine"], data["daemon"], data["root_dir"], data["complete"]) == (name, "up", "/data/docker", True)
    assert data["version"] == "24.0.7"
    (one,) = data["containers"]
    assert one["name"] == "ascendspeed" and one["npus"] == [1] and one["labels"] == {"rankdeck.job": "tiny"} and one["pid"] == 4711
    assert {words[0] for words in engine.asked} == {"--version", "ps", "inspect", "info"}


@pytest.mark.parametrize(("ps", "daemon", "reason"), [
    (Result(1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n", 0.1, ""), "down", "error"),
    (Result(1, "permission denied while trying to connect to the Docker daemon socket\n", 0.1, ""), "denied", "denied"),
    (Result(None, "", 8.0, "timeout"), "timeout", "timeout")])
def test_a_daemon_that_does_not_serve(ps: Result, daemon: str, reason: str) -> None:
    engine = Engine(ps=ps)
    data = containers.read(runner=engine.run, finder=engine.find)
    assert (data["engine"], data["daemon"], data["absent"]["containers"], data["complete"]) == ("docker", daemon, reason, False)


def test_two_engines_on_a_node() -> None:
    engines = {"docker": Engine("docker"), "podman": Engine("podman", inspect=Result(0, json.dumps([dict(INSPECT[0], Id="ef" * 32, Name="theirs")]), 0.1, ""))}

    def run(argv: list[str], timeout_s: float) -> Result:
        return engines[argv[0].rpartition("/")[2]].run(argv, timeout_s)

    def find(tool: str) -> str:
        return "/usr/bin/" + tool

    data = containers.read(runner=run, finder=find, engine="podman")
    assert wire.problems_in("containers", data) == []
    assert data["engine"] == "podman" and data["absent"] == {}
    assert [(one["engine"], one["name"]) for one in data["containers"]] == [("podman", "theirs"), ("docker", "ascendspeed")]
    assert containers.read(runner=run, finder=find)["engine"] == "docker"

    engines["docker"].answers["ps"] = Result(None, "", 8.0, "timeout")
    data = containers.read(runner=run, finder=find, engine="podman")
    assert (data["daemon"], data["complete"], data["absent"]) == ("up", True, {"containers:docker": "timeout"})
    assert [one["name"] for one in data["containers"]] == ["theirs"]


def test_no_engine() -> None:
    assert containers.read(finder=lambda tool: None)["absent"] == {"*": "missing"}


@pytest.mark.parametrize(("answer", "present", "why"), [
    (Result(0, json.dumps([{"Id": "sha256:1", "RepoDigests": ["train@sha256:2"]}]), 0.1, ""), True, ""),
    (Result(1, "[]\nError: No such image: train:1\n", 0.1, ""), False, ""),
    (Result(125, "Error: train:1: image not known\n", 0.1, ""), False, ""),
    (Result(1, "Cannot connect to the Docker daemon\n", 0.1, ""), None, "error"), (Result(None, "", 8.0, "timeout"), None, "timeout")])
def test_an_image_is_there_or_not_or_it_is_not_known(answer: Result, present: bool, why: str) -> None:
    engine = Engine(image=answer)
    found = containers.image("train:1", runner=engine.run, finder=engine.find)
    assert (found["present"], found["why"]) == (present, why)

"""``rankdeck check`` where Docker is: an image, a held device, a daemon that is down; on real daemons, one a node."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.hosts.crowd import Asked, Crowd
from tests.hosts.rig import engines
from tests.hosts.rig.engines import IMAGE, Engines
from tests.hosts.rig.rig import Rig, missing

pytestmark = pytest.mark.ssh


class Place:
    """Two nodes with a daemon each, and jobs in containers."""

    def __init__(self, docker: Engines, crowd: Crowd) -> None:
        self.docker, self.crowd = docker, crowd
        self.work = crowd.folder / "work"
        self.work.mkdir()
        (self.work / "train.sh").write_text("#!/bin/sh\n")
        for name in ("npu-smi", "dcmi", "driver"):
            (self.work / name).mkdir()

    def check(self, image: str, runtime: str = "docker") -> Asked:
        """Check the nodes for a job in a container of this image."""
        path = self.crowd.folder / "job.yaml"
        path.write_text(yaml.safe_dump({
            "run": {"name": "tiny"}, "paths": {"work": str(self.work)}, "fleet": {"nodes": ["n1", "n2"], "npus_per_node": 3, "nic": "eth0"},
            "container": {"runtime": runtime, "image": image, "mounts": ["/usr:/usr:ro"],
                          "driver_mounts": [f"{self.work}/{name}:/opt/{name}" for name in ("npu-smi", "dcmi", "driver")]},
            "runner": {"kind": "env-script", "entry": str(self.work / "train.sh"), "python": "python3"}, "model": {"size": "7B", "tokenizer": str(self.work)},
            "train": {"iterations": 1}, "data": {"format": "megatron-bin", "prefix": str(self.work / "data")}, "checkpoint": {"dir": str(self.work / "ckpt")}}))
        return self.crowd.check("--job", str(path), "--timeout", "60")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, node_python: str) -> Iterator[Place]:
    reason = missing() or engines.missing()
    if reason and os.environ.get("RANKDECK_HOSTS") == "required":
        pytest.fail(f"the container tests {reason}")
    if reason:
        pytest.skip(reason)
    with Rig(("n1", "n2")) as rig, Engines(rig) as docker:
        yield Place(docker, Crowd(rig, tmp_path_factory.mktemp("docker-check"), node_python))


def states(asked: Asked, node: str) -> dict[str, str]:
    """Check -> what it came to on a node."""
    return {check["id"]: check["nodes"][node] for check in asked.document["checks"]}


def problems(asked: Asked, rule: str) -> list[dict[str, Any]]:
    return [problem for problem in asked.document["problems"] if problem["rule"] == rule]


def test_an_image_that_is_there_is_known_by_its_id_and_looked_into(place: Place) -> None:
    asked = place.check(IMAGE)
    for node in ("n1", "n2"):
        found = states(asked, node)
        assert found["engine"] == found["engine-daemon"] == found["image"] == found["container-name"] == "ok", (node, problems(asked, "engine-daemon"))
    assert problems(asked, "image") == problems(asked, "image-same") == []
    # The job's interpreter was really started in a container of the image: it is this machine's, and it has no torch.
    assert {(one["node"], one["severity"]) for one in problems(asked, "runner") if one["message"] == "torch is not installed"} == {("n1", "error"), ("n2", "error")}
    assert place.docker.containers("n1") == place.docker.containers("n2") == []  # and nothing is left of it


def test_an_image_that_is_not_there_is_offered_to_be_pulled(place: Place) -> None:
    found = problems(place.check("rankdeck-nowhere:9"), "image")
    assert [(one["node"], one["severity"], one["command"]) for one in found] == [
        ("n1", "error", "docker pull rankdeck-nowhere:9"), ("n2", "error", "docker pull rankdeck-nowhere:9")]
    assert found[0]["remedy"]["argv"] == ["docker", "pull", "rankdeck-nowhere:9"]


def test_images_of_one_name_that_differ(place: Place) -> None:
    place.docker.docker("n1", "tag", IMAGE, "rankdeck-other:1")
    holder = place.docker.docker("n2", "run", "-d", "-v", "/usr:/usr:ro", IMAGE, "/bin/sleep", "600").strip()
    try:
        place.docker.docker("n2", "commit", holder, "rankdeck-other:1")
    finally:
        place.docker.docker("n2", "rm", "-f", holder)
    (found,) = problems(place.check("rankdeck-other:1"), "image-same")
    assert found["severity"] == "error" and "n1" in found["got"] and "n2" in found["got"]


def test_a_device_that_a_container_holds_is_told_with_its_owner(place: Place) -> None:
    holds = "exec 9</dev/davinci1; exec -a pretrain sleep 600"
    place.docker.docker("n2", "run", "-d", "--name", "theirs", "--device", "/dev/davinci1", "-v", "/usr:/usr:ro", IMAGE, "/bin/bash", "-c", holds)
    place.docker.docker("n2", "run", "-d", "--name", "idle", "--device", "/dev/davinci2", "-v", "/usr:/usr:ro", IMAGE, "/bin/sleep", "600")
    try:
        found = [one for one in problems(place.check(IMAGE), "npu-occupied") if one["node"] == "n2"]
        assert "theirs" in place.docker.containers("n2")  # nobody's container is ended
    finally:
        place.docker.docker("n2", "rm", "-f", "theirs", "idle")
    by_place = {one["where"]: one for one in found}
    held = by_place["davinci1"]
    assert held["severity"] == "error" and held["message"] == "the device is in use" and "in container theirs" in held["got"] and "since" in held["got"]
    assert held["command"] == "docker top theirs" and "nothing is ended from here" in held["fix"] and held["remedy"] is None
    given = by_place["davinci2"]
    assert given["severity"] == "warning" and "idle" in given["got"] and "-8020" in given["expected"]


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_podmans_images_and_containers_are_known_as_well(place: Place) -> None:
    for node in ("n1", "n2"):
        place.docker.podman(node, "import", str(place.docker.image), IMAGE)
    holds = "exec 9</dev/davinci1; exec -a pretrain sleep 600"
    place.docker.podman("n2", "run", "-d", "--name", "theirs", "--device", "/dev/davinci1", "-v", "/usr:/usr:ro", IMAGE, "/bin/bash", "-c", holds)
    try:
        asked = place.check(IMAGE, "podman")
        assert "theirs" in place.docker.podman("n2", "ps", "--format", "{{.Names}}")
    finally:
        place.docker.podman("n2", "rm", "-f", "-t", "0", "theirs")
    for node in ("n1", "n2"):
        found = states(asked, node)
        assert found["engine"] == found["engine-daemon"] == found["image"] == found["container-name"] == "ok", (node, json.dumps([found, asked.document["problems"]]))
    assert problems(asked, "image") == problems(asked, "image-same") == []
    assert {(one["node"], one["severity"]) for one in problems(asked, "runner") if one["message"] == "torch is not installed"} == {("n1", "error"), ("n2", "error")}
    (held,) = [one for one in problems(asked, "npu-occupied") if (one["node"], one["where"]) == ("n2", "davinci1")]
    assert "in container theirs" in held["got"] and held["command"] == "podman top theirs"
    missing_one = problems(place.check("rankdeck-nowhere:9", "podman"), "image")
    assert [(one["node"], one["command"]) for one in missing_one] == [("n1", "podman pull rankdeck-nowhere:9"), ("n2", "podman pull rankdeck-nowhere:9")]
    assert place.docker.podman("n1", "ps", "-a", "-q") == place.docker.podman("n2", "ps", "-a", "-q") == ""


def test_a_daemon_that_is_down_is_told_and_the_other_node_is_judged(place: Place) -> None:
    # The last one here: it does not come back.
    place.docker.stop("n2")
    asked = place.check(IMAGE)
    (found,) = problems(asked, "engine-daemon")
    assert (found["node"], found["severity"]) == ("n2", "error") and "its daemon is down" in found["got"] and "systemctl start docker" in found["command"]
    assert states(asked, "n1")["engine-daemon"] == states(asked, "n1")["image"] == "ok"

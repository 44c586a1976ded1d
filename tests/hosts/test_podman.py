"""A job in podman's containers on two nodes. Podman is not among what `make test-hosts` installs."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.hosts.console_process import eventually
from tests.hosts.rig.engines import IMAGE
from tests.hosts.site import NODES, Site

pytestmark = [pytest.mark.ssh, pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")]


def test_a_job_in_podmans_containers(site: Site) -> None:
    for node in NODES:
        site.docker.podman(node, "import", str(site.docker.image), IMAGE)

    def containers() -> list[str]:
        return [name for node in NODES for name in site.docker.podman(node, "ps", "-a", "--format", "{{.Names}}").split()]

    job = {"container": {"runtime": "podman", "setup": ["echo set up >> /tmp/once"]}}
    status, document, err = site.launch(site.job("pod", **job), "--wait")
    assert status == 0 and document["result"]["status"] == "finished", json.dumps(document, indent=1) + err
    assert all("with 8 devices" in Path(node["dir"], "launcher.log").read_text() for node in document["nodes"])
    site.wait_clean()
    eventually(lambda: not containers(), 20, lambda: f"no container left: {containers()}")

    # Stopped, refused, and left by a console that dies.
    status, document, err = site.launch(site.job("pod", **job, train={"iterations": 100000}))
    assert status == 0 and containers() == ["rankdeck-pod"] * 2, json.dumps(document, indent=1) + err
    status, document, err = site.run("stop", "pod", "--grace", "5", "--yes-i-mean", "pod")
    assert status == 0 and containers() == [], json.dumps(document, indent=1) + err
    process = site.start("launch", str(site.job("pod", container={**job["container"], "setup": ["sleep 3; echo no mirror here; exit 3"]})))
    eventually(containers, 20, "a container")
    process.send_signal(signal.SIGINT)
    process.wait(60)
    eventually(lambda: not containers(), 20, lambda: f"no container left: {containers()}")
    site.wait_clean()

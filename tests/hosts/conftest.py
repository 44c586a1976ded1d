"""One rig for all tests of connections, one with Docker for all launches; state that a test changes is the test's to put back."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.rig import engines
from tests.hosts.rig.engines import Engines
from tests.hosts.rig.rig import Rig, missing
from tests.hosts.site import NODES, Site


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """A running rig. Without what it needs the tests are skipped, or fail where RANKDECK_HOSTS=required."""
    _must_not_miss(missing())
    with Rig() as running:
        yield running


@pytest.fixture(scope="session")
def docker() -> Iterator[Engines]:
    """Two nodes with a Docker daemon each, on a rig of their own."""
    _must_not_miss(missing() or engines.missing())
    with Rig(NODES) as rig, Engines(rig) as running:
        yield running


@pytest.fixture
def site(docker: Engines, tmp_path: Path, node_python: str) -> Iterator[Site]:
    """A fleet file of these nodes, and a work directory."""
    site = Site(docker, tmp_path, node_python)
    yield site
    site.close()


def _must_not_miss(reason: str) -> None:
    if reason and os.environ.get("RANKDECK_HOSTS") == "required":
        pytest.fail(f"the real-host tests {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def node_python() -> str:
    """The interpreter of the nodes' agents: the system's own, or else the one that runs the tests, less its environment."""
    return next(found for found in (shutil.which("python3", path="/usr/bin:/bin"), os.path.realpath(sys.executable)) if found)

"""One rig for all real-host tests of a run; state that a test changes is the test's to put back."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.hosts.rig.rig import Rig, missing


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """A running rig. Without what it needs the tests are skipped, or fail where RANKDECK_HOSTS=required."""
    reason = missing()
    if reason and os.environ.get("RANKDECK_HOSTS") == "required":
        pytest.fail(f"the real-host tests {reason}")
    if reason:
        pytest.skip(reason)
    with Rig() as running:
        yield running


@pytest.fixture(scope="session")
def node_python() -> str:
    """The interpreter of the nodes' agents: the system's own, or else the one that runs the tests, less its environment."""
    return next(found for found in (shutil.which("python3", path="/usr/bin:/bin"), os.path.realpath(sys.executable)) if found)

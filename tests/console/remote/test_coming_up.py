"""The words of a launch that one node spoilt; that it is rolled back is shown by the command line's tests and on real hosts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

import pytest

from console.core.launch.plan import LaunchPlan, NodeCommand, NodePlan
from console.remote.backend import LaunchBackend, Submission
from console.remote.coming_up import LINE_MARKS, TAIL_LINES, ComingUp, command_line, last_lines
from console.remote.session import Session
from tests.console.remote.fakes import RealClock
from tests.patience import PATIENCE_S


def node(script: str, ranked: str = "") -> NodePlan:
    return NodePlan(node="n0", node_index=0, dir="/w", files={"ranked.sh": ranked} if ranked else {}, devices=(), commands=(NodeCommand(phase="start", script=script),))


@pytest.mark.parametrize(("script", "expected"), [
    ("set -e\ncd -- /w\nexec env SHELLOPTS=pipefail NODE_RANK=1 WORK_DIR='/a b' \\\n  bash -o pipefail train.sh\n", "bash -o pipefail train.sh"),
    ("exec ascendfactory-cli train /w/a.yaml qwen2-7b full-4k\n", "ascendfactory-cli train /w/a.yaml qwen2-7b full-4k"),
    ("ascendfactory-cli config --backend=x && exec ascendfactory-cli train a.yaml\n", "ascendfactory-cli config --backend=x && exec ascendfactory-cli train a.yaml"),
    ("exec bash 'it is\n", "bash 'it is"), ("", "")])
def test_the_command_is_shown_without_its_variables(script: str, expected: str) -> None:
    assert command_line(node(script)) == expected
    assert command_line(node("docker exec it\n", script or "\n")) == expected


def test_the_last_lines_are_those_that_say_something() -> None:
    text = "".join(f"line {at}\n\n" for at in range(50)) + "\x1b[31mRuntimeError\x1b[0m\r\n  \n" + "x" * 1000
    lines = last_lines(text).split("\n")
    assert len(lines) == TAIL_LINES and len(lines[-1]) == LINE_MARKS and "RuntimeError" in lines[-2] and "\x1b" not in lines[-2]


def test_all_nodes_are_asked_at_once_what_is_left() -> None:
    together = threading.Barrier(2)

    class Links:
        def session(self, node: str, timeout_s: float = 15.0) -> Session:
            return cast(Session, self)

        def request(self, op: str, args: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
            assert op == "left"
            together.wait(PATIENCE_S)
            return {}

    plan = LaunchPlan(job="j", attempt="A", problems=(), derived={}, nodes=())
    coming = ComingUp(plan, Submission(job="j", attempt="A", epoch=1, nodes=("n0", "n1")), Links(), cast(LaunchBackend, None), RealClock())
    assert coming._await_nothing(["n0", "n1"], PATIENCE_S) == ""

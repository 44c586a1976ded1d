"""What would be executed, word for word, for every hardware, runner, mode and number of nodes.

``UPDATE_GOLDEN=1 pytest tests/console/core/launch/test_golden_plans.py`` writes them anew; read the difference
before it is committed. One file a hardware and runner, so that modes are seen beside each other.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from console.core.launch.plan import LaunchPlan, plan_text
from tests.console.core.launch import cases

GOLDEN = Path(__file__).parents[4] / "tests" / "flow" / "plans" / "matrix"


@pytest.mark.parametrize("runner", cases.RUNNERS)
@pytest.mark.parametrize("hardware", cases.HARDWARE)
def test_plans_are_as_agreed(hardware: str, runner: str, tmp_path: Path) -> None:
    parts = []
    for mode in cases.MODES:
        for nodes in (1, 2):
            found = cases.plan(f"{hardware}_{runner}_{mode}_{nodes}", tmp_path)
            assert found.ok, plan_text(found)
            parts.append(f"##### {mode}, {nodes} node{'s' if nodes > 1 else ''}\n{plan_text(found)}")
    text = "\n".join(parts)
    file = GOLDEN / f"{hardware}-{runner}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def scripts(found: LaunchPlan) -> list[str]:
    """Every text of a plan that is given to bash."""
    return [text for node in found.nodes for text in (
        *(command.script for command in (*node.commands, *node.undo)), *(text for name, text in node.files.items() if name.endswith(".sh")))]


@pytest.mark.parametrize("name", [name for name in cases.all_names() if name.endswith("_2") and "_lora_" in name])
def test_bash_finds_no_fault_in_any(name: str, tmp_path: Path) -> None:
    for text in scripts(cases.plan(name, tmp_path)):
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text


def test_nodes_differ_only_in_what_must(tmp_path: Path) -> None:
    for name in ("a2_env-script_lora_2", "a2_ascendfactory-v1_sft_2", "a3_ascendfactory-v2_sft_2", "a2_torchrun_pretrain_2"):
        first, second = cases.plan(name, tmp_path).nodes
        for one, other in zip(first.files.items(), second.files.items(), strict=True):
            differing = [(a, b) for a, b in zip(one[1].split(), other[1].split(), strict=True) if a != b]
            assert all(a.split("=")[0] in ("NODE_RANK", "--env.NODE_RANK", "--rdzv-conf", "--local-addr") or "is_host" in a or a.startswith("--local") for a, _ in differing), differing

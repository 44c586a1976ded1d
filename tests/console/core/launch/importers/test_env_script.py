"""Pasted launch commands: the vendor's twelve come back as they were, and its two slips are found."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from console.core.launch import inventory
from console.core.launch.importers import Imported, Source, read
from console.core.launch.plan import make_plan
from tests.console.core.launch import cases
from tests.console.core.launch.importers.seeds import CODE, DOCKER_RUN, LAUNCHES, Seed


def imported(*texts: str) -> list[Imported]:
    return read([Source(name=f"{at}.sh", text=text) for at, text in enumerate(texts)])


def planned_commands(found: Imported, directory: Path) -> list[list[str]]:
    """The words that the job's plan runs on each node, from the first variable on."""
    job = cases.compose(found.text.replace("workdir: ???", f"workdir: {CODE}"), directory)
    fleet = inventory.from_mapping({"nodes": [{"name": "n0", "host": "xx.xx.xx.xx"}, {"name": "n1", "host": "10.0.0.2"}]}, name="f", where="f.yaml")
    plan = make_plan(job.spec, fleet, cases.ATTEMPT)
    assert plan.ok, plan.problems
    words = []
    for node in plan.nodes:
        line = shlex.split(node.commands[-1].script.partition("exec env ")[2].replace("\\\n", ""))
        assert line[0] == "SHELLOPTS=pipefail"
        words.append([word for word in line[1:] if word not in ("bash", "-o", "pipefail")])
    return words


@pytest.mark.parametrize("seed", LAUNCHES, ids=lambda seed: seed.name)
@pytest.mark.parametrize("apart", [True, False])
def test_the_vendors_commands_come_back(seed: Seed, apart: bool, tmp_path: Path) -> None:
    """Only sh is another shell: bash with pipefail."""
    (found,) = imported(*seed.commands) if apart else imported("\n# second node\n".join(seed.commands))
    errors = [problem for problem in found.problems if problem.severity == "error"]
    assert [problem.rule for problem in errors] == ([seed.fault] if seed.fault else [])
    meant = [shlex.split(command.replace("MODEL_PATH= /", "MODEL_PATH=/").replace("PP=12", "PP=1")) for command in seed.commands]
    assert planned_commands(found, tmp_path) == [[word for word in command if word != "sh"] for command in meant]


def test_the_blank_after_an_equals_sign() -> None:
    seed = next(seed for seed in LAUNCHES if seed.fault == "N3")
    ((problem,),) = [found.problems for found in imported(*seed.commands)]
    column = seed.commands[0].index("MODEL_PATH=") + 1
    assert problem.where == f"0.sh:1:{column}" and problem.got == "MODEL_PATH= /home/ma-user/ws/processed_for_ma_input/Qwen-14B/converted_weights"
    assert "gives MODEL_PATH nothing" in problem.message


def test_the_pipeline_that_differs() -> None:
    seed = next(seed for seed in LAUNCHES if seed.fault == "N2")
    ((problem,),) = [found.problems for found in imported(*seed.commands)]
    assert problem.where == f"1.sh:1:{seed.commands[1].index('PP=12') + 1}"
    assert problem.message.startswith("PP differs") and problem.got == "PP=1, PP=12 on node ranks 0, 1"


def test_all_twelve_in_one_paste() -> None:
    text = "\n".join(command for seed in LAUNCHES for command in seed.commands)
    found = imported(text)
    assert sum(len(seed.commands) for seed in LAUNCHES) == 12 and len(found) == 8
    assert [len(one.job["fleet"]["nodes"]) for one in found] == [len(seed.commands) for seed in LAUNCHES]
    assert [sorted({problem.rule for problem in one.problems}) for one in found] == [[seed.fault] if seed.fault else [] for seed in LAUNCHES]


def test_lost_newlines_and_prose_round_it() -> None:
    seed = LAUNCHES[-1]
    flat = f"在{CODE}/代码目录下执行。 第一台节点 {seed.commands[0]} ... ... # 第二台节点 {seed.commands[1]} 以上命令,其中MASTER_ADDR、 NODE_RANK为必填。"
    (found,) = imported(flat)
    assert found.job["runner"]["workdir"] == CODE and len(found.job["fleet"]["nodes"]) == 2 and "args" not in found.job["runner"]
    assert not found.problems


@pytest.mark.parametrize(("written", "meant"), [
    ("DATA_PATH", "DATASET_PATH"), ("TOKENIZER_MODEL", "TOKENIZER_PATH"), ("TRAIN_ITRES", "TRAIN_ITERS"), ("DATASET_PTAH", "DATASET_PATH")])
def test_slips_of_names(written: str, meant: str) -> None:
    seed = LAUNCHES[0]
    (found,) = imported(seed.commands[0].replace(f"{meant}=", f"{written}="))
    (problem,) = found.problems
    assert (problem.rule, problem.severity, problem.got, problem.expected) == ("I1", "warning", written, meant)
    (straight,) = imported(seed.commands[0])
    assert {**found.job} == {**straight.job}


@pytest.mark.parametrize(("commands", "message"), [
    (("MASTER_ADDR=localhost NNODES=2 NODE_RANK=0 RUN_TYPE=sft sh a.sh", "MASTER_ADDR=localhost NNODES=2 NODE_RANK=1 RUN_TYPE=sft sh a.sh"), "cannot reach this master"),
    (("MASTER_ADDR=a NNODES=2 NODE_RANK=0 RUN_TYPE=sft sh a.sh", "MASTER_ADDR=a NNODES=2 NODE_RANK=0 RUN_TYPE=sft sh a.sh"), "the same rank"),
    (("MASTER_ADDR=a NNODES=2 NODE_RANK=2 RUN_TYPE=sft sh a.sh",), "no such node rank"),
    (("NNODES=2 NODE_RANK=0 RUN_TYPE=sft sh a.sh",), "MASTER_ADDR is missing"),
])
def test_who_is_which_node(commands: tuple[str, ...], message: str) -> None:
    (found,) = imported(*commands)
    assert [problem.rule for problem in found.problems if message in problem.message], found.problems
    assert {problem.rule for problem in found.problems} == {"N1"}


def test_continuations_exports_and_a_pipe() -> None:
    (found,) = imported("source /usr/local/Ascend/ascend-toolkit/set_env.sh\nexport HCCL_CONNECT_TIMEOUT=1800\nws=/data/ws\n"
                        "MODEL_TYPE=7B RUN_TYPE=pretrain \\\n  DATASET_PATH=$ws/a_text_document TOKENIZER_PATH=\"${ws}/t k\" TRAIN_ITERS=10 \\\n"
                        "  WORK_DIR=$ws bash scripts/qwen/qwen.sh --x 'a b' 2>&1 | tee log.txt")
    assert found.job["data"]["prefix"] == "/data/ws/a_text_document" and found.job["model"]["tokenizer"] == "/data/ws/t k"
    assert found.job["runner"]["setup"] == ["source /usr/local/Ascend/ascend-toolkit/set_env.sh"]
    assert found.job["runner"]["args"][:2] == ["--x", "a b"]
    assert any(left.what == "| tee" for left in found.left)


def test_variables_exported_line_by_line() -> None:
    words = shlex.split(LAUNCHES[-2].commands[0])
    found = imported("".join(f"export {word}\n" for word in words[:-2]) + "cd /home/ma-user/ws/llm_train/AscendSpeed\nsh scripts/qwen/qwen.sh\n")
    assert [one.job for one in found] == [one.job for one in imported(f"cd /home/ma-user/ws/llm_train/AscendSpeed\n{LAUNCHES[-2].commands[0]}")]


@pytest.mark.parametrize("line", ["[root@n0 AscendSpeed]# {}", "$ {}", "# {}", "env {}", "nohup env {} > log.txt 2>&1 &", "sudo {}; echo done"])
def test_prompts_and_what_people_put_before(line: str) -> None:
    (found,) = imported(line.format(LAUNCHES[0].commands[0]))
    (straight,) = imported(LAUNCHES[0].commands[0])
    assert found.job == straight.job


@pytest.mark.parametrize("shell", ["bash -x", "bash -o pipefail -e", "sh", ""])
def test_options_of_the_shell(shell: str) -> None:
    (found,) = imported(LAUNCHES[0].commands[0].replace(" sh ", f" {shell} "))
    assert found.job["runner"]["entry"] == "scripts/qwen/qwen.sh" and "args" not in found.job["runner"]


def test_a_container_line_goes_with_it() -> None:
    (found,) = imported(LAUNCHES[-2].commands[0], DOCKER_RUN)
    assert found.kind == "env-script" and found.job["container"]["cpus"] == 192 and found.job["container"]["image"] == "ascendspeed"
    assert [problem.rule for problem in found.problems] == ["C4"]


@pytest.mark.parametrize(("written", "meant"), [("SFT", "sft"), ("retrian", "retrain"), ("LoRA", "lora"), ("dpo", "pretrain"), ("", "pretrain")])
def test_a_run_type_there_is_none_of(written: str, meant: str) -> None:
    (found,) = imported(LAUNCHES[0].commands[0].replace("RUN_TYPE=pretrain", f"RUN_TYPE='{written}'"))
    assert [problem.rule for problem in found.problems] == ["M1"] and found.job["run"]["mode"] == meant


def test_hostile_values_stay_text(tmp_path: Path) -> None:
    (found,) = imported("MODEL_TYPE=7B RUN_TYPE=pretrain DATASET_PATH='/d/$(touch owned);x_text_document' TOKENIZER_PATH='/t/${HOME}' TRAIN_ITERS=1 EXTRA='1e5' sh /s/qwen.sh")
    job = cases.compose(found.text, tmp_path)
    assert job.spec.data.prefix == "/d/$(touch owned);x_text_document" and job.spec.model.tokenizer == "/t/${HOME}" and job.spec.env["EXTRA"] == "1e5"

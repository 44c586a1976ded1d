"""``rankdeck inspect`` in Chinese: no word of a report is written outside of the catalogue, and the documents stay English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli import main
from console.cli.inspect_checkpoint import HEADS
from console.core import i18n, log_report
from console.core.i18n import recognised
from console.tui.words_zh import WORDS
from tests.agent.parse.test_checkpoint import at, megatron_dcp
from tests.console.tui.test_words_errors import _pieces, _template

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "tests" / "agent" / "parse" / "fixtures"
REPORTS = {
    ROOT / "console" / "core" / "log_report.py": {"text", "_file_lines", "_line", "_speed", "_fault_lines", "_few", "_shown"},
    ROOT / "console" / "cli" / "inspect.py": {"_npu_text", "_network_text"},
    ROOT / "console" / "cli" / "inspect_checkpoint.py": {"text", "_tracker", "_why", "_problem", "_size"}}
FACTS = {"rank", "tokens", "TFLOP", "npu", "smi", "info", "NPU", "CHIP", "AICORE", "HBM", "MB", "BUS", "tp", "pp", "ep", "fsdp", "world", "size", "kB", "GB", "TB"}
"""Units, and names that files and tools use."""
NAMED = {"_line", "get", "startswith", "replace", "partition", "strftime", "setdefault"}
"""Calls whose first argument is a key, a format, or said by them."""


def _written(node: ast.AST) -> Iterator[str]:
    """The words of literals that are not said: no keys, no comparisons, no formats."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from re.findall("[A-Za-z]{2,}", node.value)
    elif isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        said = name in ("say", *NAMED)
        for child in [*(node.args[1:] if said else node.args), *(word.value for word in node.keywords), *([] if name == "say" else [node.func])]:
            yield from _written(child)
    elif isinstance(node, ast.Subscript | ast.FormattedValue):
        yield from _written(node.value)
    elif not isinstance(node, ast.Compare | ast.Dict | ast.Assert) and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "order"):
        for child in ast.iter_child_nodes(node):
            yield from _written(child)


def _functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path, names in REPORTS.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name in names:
                yield path, node


def test_no_word_of_a_report_is_english_alone() -> None:
    functions = list(_functions())
    assert len(functions) == sum(map(len, REPORTS.values()))
    found = {f"{path.name}:{function.name}": words for path, function in functions
             if (words := {word for line in (function.body[1:] if ast.get_docstring(function) else function.body) for word in _written(line)} - FACTS)}
    assert found == {}


def test_names_of_rows_and_heads_have_chinese() -> None:
    names = {str(call.args[0].value) for _, function in _functions() for call in ast.walk(function)
             if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_line" and call.args and isinstance(call.args[0], ast.Constant)}
    assert len(names) > 5 and sorted(name for name in names | {name for name, _ in log_report._COUNTED} | set(HEADS) if name and name not in WORDS) == []


def _sentences() -> Iterator[str]:
    """What the parsers say of a directory or a save: the texts that they put among its problems."""
    for path in (ROOT / "agent" / "parse").glob("checkpoint*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in ("append", "insert", "gap") and re.search("problems|found|verdict", ast.unparse(call.func.value)):
                for part in call.args:
                    for literals, filled in _pieces(part):
                        yield from (_template(literals), *filled)


def test_no_sentence_of_a_checkpoint_lacks_chinese() -> None:
    texts = {text for text in _sentences() if re.search("[a-z]{2} [a-z]{2}", re.sub(r"\{[0-9]+\}", "", text))}
    lacking = {text for text in texts if text not in WORDS and recognised(text) == text}
    assert len(texts) > 20 and lacking - {"the tracker names iteration {0}, which is not complete: {1}"} == set()  # said in two parts


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    try:
        main(["inspect", *argv])
    finally:
        i18n.use({})
    return capsys.readouterr().out


def test_a_log_is_told_in_the_language(capsys: pytest.CaptureFixture[str]) -> None:
    name = str(FIXTURES / "logs" / "mindspeed-llm.log")
    told = _run(capsys, "log", name, "--lang", "zh").splitlines()
    assert told[0] == f"{name}：9 行" and told[1] == "  迭代         2 条记录，1 至 2，共 300，启动 2 次"
    assert "  数值         1 条记录含 NaN 或无穷，跳过 1 次迭代" in told and "  根因         grad-norm-nan x 1，自第 9 行起：恢复" in told
    assert _run(capsys, "log", name, "--lang", "zh", "--json") == _run(capsys, "log", name, "--lang", "en", "--json")


def test_a_table_of_npu_smi_is_told_in_the_language(capsys: pytest.CaptureFixture[str]) -> None:
    name = str(FIXTURES / "npu_table" / "910b4-26.0.txt")
    told = _run(capsys, "npu", name, "--lang", "zh")
    assert told.startswith("npu-smi info：1 个设备，2 个进程，npu-smi 26.0.rc1\nNPU  CHIP  名称     健康  功率    温度  AICORE  HBM MB      BUS\n")
    assert "进程 485946，NPU 6 芯片 0：pytest，5175 MB" in told
    assert _run(capsys, "npu", name, "--lang", "zh", "--json") == _run(capsys, "npu", name, "--json")


def test_a_checkpoint_is_told_in_the_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {**at("iter_0000010", megatron_dcp()), **at("iter_0000020", {**megatron_dcp(), "__1_0.distcp": b""}), "latest_checkpointed_iteration.txt": b"20"}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    told = _run(capsys, "checkpoint", str(tmp_path), "--at", "25", "--step-s", "2", "--lang", "zh")
    for words in ("迭代  格式        完整  布局", "6 个文件中 1 个为空：__1_0.distcp", "可从此继续：10", "若作业现在（迭代 25）中断，损失 15 次迭代，30 秒的工作",
                  "问题：tracker 指向迭代 20，但它不完整：6 个文件中 1 个为空：__1_0.distcp", "问题：请从 10 继续"):
        assert words in told, told
    document = json.loads(_run(capsys, "checkpoint", str(tmp_path), "--lang", "zh", "--json"))
    assert not re.search("[\u4e00-\u9fff]", json.dumps(document, ensure_ascii=False)) and "which is not complete" in document["problems"][0]


def test_an_unreadable_file_is_told_in_the_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main(["inspect", "log", str(tmp_path / "none"), "--lang", "zh"]) == 2
    finally:
        i18n.use({})
    assert re.search("[\u4e00-\u9fff]", capsys.readouterr().err)

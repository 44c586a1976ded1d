"""The catalogue against the code: nothing untranslated, nothing left over in a field, the locale chooses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.wire import OPS
from console.core import i18n
from console.core.fleet.happenings import audit_rows, timeline_rows
from console.core.fleet.state import FleetState
from console.core.preflight.device_checks import DCMI_CODES
from console.core.preflight.facts import REASONS
from console.core.preflight.table import CHECKS, judge, report_mapping, report_text
from console.tui.actions import ACTIONS, GROUPS
from console.tui.views import VIEWS
from console.tui.widgets import check_matrix
from console.tui.words import catalogue, language
from console.tui.words_zh import WORDS
from tests.console.core.preflight.facts import case
from tests.console.core.preflight.test_checks import SPOILT, spoilt
from tests.console.tui import scene

CONSOLE = Path(__file__).resolve().parents[3] / "console"
TUI = CONSOLE / "tui"
FACTS = {"", "1", "OK", "UP", "Success", "docker", "npu-smi", "davinci", "denied", "missing", "unparseable", "net.ipv4.ip_forward"}
"""Words of the nodes' own among the findings' parts; so are paths, fields of job files and bare numbers with a unit."""


def said() -> Iterator[str]:
    """Every text that the code of the screen says."""
    for path in TUI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say" and node.args:
                yield from (each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    for action in ACTIONS:
        yield from filter(None, (action.help, action.label))
    yield from (title for title, _ in GROUPS)
    yield from (view.title for view in VIEWS.values())
    yield from (check.title for check in CHECKS)
    yield from check_matrix.WORDS.values()


def found() -> Iterator[str]:
    """Every text that a check may put into a finding, and what its report is made of. Fails for one put together without ``phrase``."""
    parts = {"Finding": ("what", "where", "got", "expected", "fix"), "unknown": ("where", "fix"), "differing": ("fix",), "NodeFacts": ("why", "fix"), "Proof": ("why",)}
    at = {"phrase": 0, "say": 0, "unknown": 1, "differing": 1, "same_version": 1}
    for path in [*(CONSOLE / "core" / "preflight").glob("*.py"), CONSOLE / "remote" / "check.py"]:
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
            given = [keyword.value for keyword in call.keywords if keyword.arg in parts.get(name, ())] + ([call.args[at[name]]] if name in at and call.args else [])
            given += [call.args[2]] if name == "unknown" else []
            for part in given:
                yield from _texts(part, f"{path.name}:{call.lineno}")
    yield from REASONS.values()
    yield from DCMI_CODES.values()


def _texts(part: ast.expr, where: str) -> Iterator[str]:
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        yield part.value
    elif isinstance(part, ast.IfExp):
        yield from (*_texts(part.body, where), *_texts(part.orelse, where))
    elif isinstance(part, ast.BoolOp):
        for each in part.values:
            yield from _texts(each, where)
    elif isinstance(part, ast.BinOp | ast.JoinedStr):
        words = re.sub(r"\{[^}]*\}|davinci|/dev/|container\.mounts|ports?|ulimit|[GM]B", "", ast.unparse(part)[2:-1])
        assert not re.search("[A-Za-z]", words) and isinstance(part, ast.JoinedStr), f"{where}: {ast.unparse(part)}"


def test_no_part_of_a_finding_lacks_chinese() -> None:
    texts = {text for text in found() if text not in FACTS and not text.startswith("/") and not re.fullmatch(r"(container|fleet)\.[a-z_]+|ulimit -l", text)}
    assert len(texts) > 200 and sorted(text for text in texts if text not in WORDS) == []


def test_findings_are_said_in_the_language_and_written_in_english() -> None:
    reports = [judge(case(spoilt("n0", part, change))) for part, change, *_ in SPOILT]
    before = [report_mapping(report, "lab") for report in reports]
    try:
        i18n.use(catalogue("zh", {}))
        for report in reports:
            for finding in report.findings:
                for text in filter(None, (finding.what, finding.fix)):
                    assert re.search("[\u4e00-\u9fff]", i18n.say(text)), text
                    assert not re.search("[\u4e00-\u9fff]", text)
        assert [report_mapping(report, "lab") for report in reports] == before
        told = report_text(reports[-1], "lab")
        assert told.startswith("不合格：集群 lab 上的作业 tiny，1/1 个节点") and "要挂载的路径不存在" in told and "实际：无；应为：文件或目录" in told, told
    finally:
        i18n.use({})
    assert report_text(reports[-1], "lab").startswith("Not fit: job tiny on fleet lab")


def test_what_happened_is_told_in_the_language() -> None:
    made = {str(text.value) for call in _calls_of_the_core() if call.func.id == "phrase" for text in call.args[:1] if isinstance(text, ast.Constant)}  # type: ignore[attr-defined]
    assert len(made) > 25 and sorted(text for text in made if text not in WORDS) == []
    state = scene.full_feed().state
    assert state.current is not None
    rows = timeline_rows(state, state.current)
    try:
        i18n.use(catalogue("zh", {}))
        told = {i18n.say(row.what) for row in rows}
    finally:
        i18n.use({})
    assert "检查点 90 已保存" in told and "checkpoint 90 saved" in {row.what for row in rows}


def test_who_did_what_is_told_in_the_language(chinese: None) -> None:
    assert sorted(op for op, (access, *_) in OPS.items() if access == "write" and not re.search("[\u4e00-\u9fff]", i18n.say(op))) == []
    refused = {"operator": "lin", "op": "abort", "args": {"attempt": "a"}, "ok": False, "why": "attempt a was committed"}
    (row,) = audit_rows(FleetState(audit=(("n0", 5.0, refused),)))
    assert (row.what, row.detail) == ("lin abort", "attempt=a (attempt a was committed)")
    assert (i18n.told(row.what), i18n.told(row.detail)) == ("lin 中止", "attempt=a（尝试 a 已提交）")


def _calls_of_the_core() -> Iterator[ast.Call]:
    """Calls by name in what folds the fleet's records."""
    for path in [*(CONSOLE / "core" / "fleet").glob("*.py"), *(CONSOLE / "core" / "triage").glob("*.py")]:
        yield from (call for call in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name))


def test_what_is_known_of_a_thing_is_told_in_the_language() -> None:
    """Names of facts are said; so is a value that is a sentence, which has to be a phrase for it."""
    facts = [call for call in _calls_of_the_core() if call.func.id == "Fact"]  # type: ignore[attr-defined]
    named = {str(word.value.value) for call in facts for word in call.keywords if word.arg == "name" and isinstance(word.value, ast.Constant)}
    assert len(named) > 30 and sorted(name for name in named if name not in WORDS) == []
    written = {each.value for call in facts for word in call.keywords if word.arg == "value" for part in _outside_of_calls(word.value) for each in ast.walk(part)
               if isinstance(each, ast.Constant) and isinstance(each.value, str) and re.search("[A-Za-z]{3}", each.value)}
    assert written == {", npu-smi ", "/round-", "/local_rank-", ".log"}


def _outside_of_calls(part: ast.expr) -> Iterator[ast.expr]:
    if isinstance(part, ast.Constant):
        yield part
    elif not isinstance(part, ast.Call):
        for child in ast.iter_child_nodes(part):
            if isinstance(child, ast.expr):
                yield from _outside_of_calls(child)


def test_everything_that_is_said_is_in_the_catalogue() -> None:
    assert sorted({text for text in said() if text not in WORDS and re.search("[A-Za-z]", text)}) == []


@pytest.mark.parametrize("text", [text for text in WORDS if "{" in text])
def test_fields_are_the_same_in_both_languages(text: str) -> None:
    assert sorted(re.findall(r"\{[^}]*\}", text)) == sorted(re.findall(r"\{[^}]*\}", WORDS[text].replace("!}", "}")))


@pytest.mark.parametrize(("wanted", "environ", "expected"), [
    ("", {}, "en"), ("zh", {"LANG": "en_US.UTF-8"}, "zh"), ("en", {"LANG": "zh_CN.UTF-8"}, "en"), ("", {"LANG": "zh_CN.UTF-8"}, "zh"), ("", {"LC_ALL": "C", "LANG": "zh_CN"}, "en"),
    ("", {"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"), ("", {"LANG": "C.UTF-8", "LANGUAGE": "zh"}, "en"), ("", {"LANG": "de_DE"}, "en")])
def test_the_locale_chooses_the_language(wanted: str, environ: dict[str, str], expected: str) -> None:
    assert language(wanted, environ) == expected


def test_the_catalogue_is_used() -> None:
    try:
        i18n.use(catalogue("zh", {}))
        assert i18n.say("saved at {n}", n=3) == "保存于 3"
    finally:
        i18n.use({})

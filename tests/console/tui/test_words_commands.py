"""The catalogue against the commands: what they say of their work is said in the language, and an import's findings have Chinese."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from console.cli import main
from console.core import i18n
from console.core.events import LaunchProgress
from console.core.i18n import phrase
from console.core.launch.inventory import Inventory, Node
from console.core.launch.progress import line_text, progress_text
from console.core.launch.report import status_mapping, status_text
from console.tui.words import catalogue
from console.tui.words_zh import WORDS
from console.tui.words_zh_commands import COMMANDS
from console.tui.words_zh_imports import IMPORTS
from console.tui.words_zh_inspect import INSPECT
from tests.console.tui import scene
from tests.console.tui import test_words_rules as rules

CONSOLE = Path(__file__).resolve().parents[3] / "console"
SPOKEN = ("check.py", "looks.py", "colleagues.py", "logs.py", "adopt.py", "stage.py", "jobs.py", "run_step.py", "importing.py", "execute.py", "stopping.py", "inspect.py", "inspect_checkpoint.py", "export.py", "export_run.py", "config.py", "replay.py", "completion.py")
"""Commands that speak the operator's language while they work."""
SAID = [*(CONSOLE / "cli" / name for name in SPOKEN), CONSOLE / "errands.py", CONSOLE / "remote" / "ssh_backend.py", CONSOLE / "core" / "launch" / "progress.py", CONSOLE / "core" / "launch" / "report.py", CONSOLE / "remote" / "gate.py", CONSOLE / "remote" / "step_run.py",
        CONSOLE / "lab" / "demo.py", CONSOLE / "lab" / "fleet.py", CONSOLE / "lab" / "rehearsal.py", CONSOLE / "lab" / "faults.py", CONSOLE / "lab" / "remains.py", CONSOLE / "core" / "log_report.py"]
PLAIN = ("progress.py", "report.py", "log_report.py", "rehearsal.py")
"""Files in which ``say`` is the language's, not the terminal's."""
LAB = {CONSOLE / "lab" / "demo.py": ("say", "print"), CONSOLE / "lab" / "fleet.py": ("say",), CONSOLE / "lab" / "remains.py": ("say",), CONSOLE / "lab" / "desk.py": ("say",),
       CONSOLE / "lab" / "faults.py": ("self._say",), CONSOLE / "lab" / "rehearsal.py": ("self._say", "lines.append")}
"""Where the demo tells something, and by which calls."""
AS_IT_IS = {"rankdeck", "pid"}
"""Words of a line that are the same in every language."""
TYPED = {"demo", "open", "stop", "XDG", "STATE", "HOME"}
"""What one may type after a demo."""


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _words(part: ast.expr) -> Iterator[str]:
    """The words of a line that are not said: literals outside of calls."""
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        yield from re.findall("[A-Za-z]{2,}", part.value)
    elif not isinstance(part, ast.Call | ast.Compare | ast.Subscript):
        for child in ast.iter_child_nodes(part):
            if isinstance(child, ast.expr):
                yield from _words(child)


def test_no_line_of_these_commands_is_english_alone() -> None:
    found = {}
    for path, calls in {**dict.fromkeys(SAID[:len(SPOKEN)], ("say", "put", "sys.stderr.write")), **LAB}.items():
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and _called(call) in calls and call.args:
                words = set(_words(call.args[0])) - AS_IT_IS - (TYPED if path in LAB else set())
                if words:
                    found[f"{path.name}:{call.lineno}"] = words
    assert found == {}


def _said() -> Iterator[str]:
    for path in SAID:
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and call.args and not isinstance(call.args[0], ast.Subscript) and (_called(call) in ("i18n.say", "phrase") or (_called(call) == "say" and path.name in PLAIN)):
                yield from (each.value for each in ast.walk(call.args[0]) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_every_line_of_a_command_has_chinese() -> None:
    texts = {text for text in _said() if re.search("[A-Za-z]{2}", re.sub(r"\{[^}]*\}", "", text))}
    assert len(texts) > 35 and sorted(text for text in texts if text not in WORDS) == []


def _imports() -> Iterator[tuple[str, str]]:
    """Where, and every text of a finding or a leftover of an import; fields numbered in order."""
    for path in sorted((CONSOLE / "core" / "launch" / "importers").glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = _called(call).rpartition(".")[2]
            given = (call.args[1:] if name in ("leave", "_leave") else
                     [*call.args[2:], *(word.value for word in call.keywords if word.arg in rules.PARTS)] if name == "report" else [])
            for part in given:
                for pieces in rules._texts(part, {}):
                    number = iter(range(9))
                    yield f"{path.name}:{call.lineno}", "".join(f"{{{next(number)}}}" if piece is None else piece for piece in pieces)
        for table in (node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("IGNORED", "why")):
            for value in (table.value if isinstance(table, ast.Subscript) else table).values:  # type: ignore[attr-defined]
                yield f"{path.name}:{table.lineno}", value.value


def test_no_finding_of_an_import_lacks_chinese() -> None:
    found = {text: where for where, text in _imports()}
    lacking = {text: where for text, where in found.items() if re.search("[a-z]{2} [a-z]", re.sub(r"\{[0-9]+\}", "", text)) and rules._key(text) not in WORDS}
    assert len(found) > 90 and lacking == {}


def test_nothing_stands_there_that_no_import_says() -> None:
    assert sorted(set(IMPORTS) - {rules._key(text) for _, text in _imports()}) == []


@pytest.mark.parametrize("text", [*COMMANDS, *IMPORTS, *INSPECT])
def test_it_is_chinese_with_the_same_fields(text: str) -> None:
    said = WORDS[text]
    assert sorted(re.findall(r"\{[^}]*\}", text)) == sorted(re.findall(r"\{[^}]*\}", said.replace("!}", "}")))
    assert re.search("[\u4e00-\u9fff，：（]", said)


def _event(**more: object) -> LaunchProgress:
    return LaunchProgress(**{"job": "tiny", "attempt": "a", "node": "n0", "phase": "prepare", "state": "done", "at": 0.0, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(("event", "english", "told"), [
    (_event(took_s=1.24), "n0: prepare done (1.2 s)", "n0：准备 完成（1.2 秒）"),
    (_event(job="tiny--convert", phase="start", took_s=0.0), "n0: tiny--convert: start done (0.0 s)", "n0：tiny--convert：启动 完成（0.0 秒）"),
    (_event(state="undone", why="another node is not fit"), "n0: prepare undone: another node is not fit", "n0：准备 已撤销：另有节点不合格"),
    (_event(state="failed", why="n0: attempt b is aborted (got no commit came within the time limit)"), "n0: prepare failed: n0: attempt b is aborted (got no commit came within the time limit)",
     "n0：准备 失败：n0：尝试 b 为已中止状态（实际：时限内没有提交）"),
    (_event(phase="preflight", state="failed", why=phrase("{place}: {what}, and {n} more", place="n0: /data", what=phrase("what is to be mounted is not there"), n=2)),
     "n0: preflight failed: n0: /data: what is to be mounted is not there, and 2 more", "n0：预检 失败：n0: /data：要挂载的路径不存在，另有 2 项"),
])
def test_a_phase_is_told_in_the_language(event: LaunchProgress, english: str, told: str) -> None:
    assert progress_text(event, "tiny") == english
    i18n.use(catalogue("zh", {}))
    try:
        assert progress_text(event, "tiny") == told
    finally:
        i18n.use({})


def test_a_line_of_a_step_stays_and_a_word_of_ours_is_said(chinese: None) -> None:
    # What a program prints may be a word of the catalogue.
    assert line_text("n0", "done") == "n0: done"
    assert line_text("n0", phrase("no answer ({why}); the step goes on without us", why=phrase("the link was lost"))) == "n0：无回应（连接断开）；该步骤继续进行"


def test_how_things_are_is_told_in_the_language(chinese: None) -> None:
    nodes = tuple(Node(name=name, host=f"10.0.0.{at}", user="ops") for at, name in enumerate(("atlas-01", "atlas-02", "atlas-03", "atlas-04"), 1))
    state = scene.full_feed().state
    document = status_mapping(state, Inventory(name="lab", nodes=nodes), scene.NOW)
    text = status_text(document)
    assert "集群 lab：3/4 个节点在线" in text and "作业 demo-gpt-tiny：运行中" in text and "最新检查点：迭代 90" in text and "/步" in text
    assert "60 秒无回应；24 秒后重试" in text and not re.search(r"\b(running|step|nodes|first|newest|loss)\b", text), text
    lines = text.splitlines()[2:7]
    starts = {cell_len(line[:line.index("NPU" if at == 0 else "/8")]) for at, line in enumerate(lines)}
    assert starts == {16, 17}, "columns stand under their heads, wide characters or not"
    assert all(not re.search("[\u4e00-\u9fff]", str(value)) for value in document["jobs"][0].values()), "the document is English"


def test_an_import_is_told_in_the_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "launch.sh"
    source.write_text("docker run -d --rm --privileged -v /data:/data image:1 bash\n", "utf-8")
    try:
        assert main(["import", str(source), "--lang", "zh"]) == 0
        text, told = capsys.readouterr()
        assert "未带入" in told and "启动器自行删除容器" in told and "特权容器拥有主机的全部设备" in told and "not carried over" not in told
        assert "run:" in text and "# not carried over" in text  # the file is as it was
        assert main(["import", str(tmp_path / "none"), "--lang", "zh"]) == 2
        assert "无法读取文件" in capsys.readouterr().err
    finally:
        i18n.use({})
    assert main(["import", str(source), "--lang", "en"]) == 0
    assert "not carried over" in capsys.readouterr().err

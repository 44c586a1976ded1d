"""The console's errors against the catalogue: every word of their four parts has Chinese, and the screen finds it."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.events import Answer, JobLaunched, LinkChanged
from console.core.fleet.alarms import alarms
from console.core.fleet.happenings import timeline_rows
from console.core.fleet.state import apply
from console.core.fleet.views import node_rows
from console.core.spoken import spoken, spoken_list, spoken_text
from console.remote import check
from console.tui import plain
from console.tui.widgets.listings import told_detail
from console.tui.words_zh import WORDS
from console.tui.words_zh_errors import ERRORS
from console.tui.words_zh_reasons import REASONS
from tests.console.tui import scene

CONSOLE = Path(__file__).resolve().parents[3] / "console"
AGENT = CONSOLE.parent / "agent"
PARTS = ("got", "expected", "fix")
VALUES = {
    # What is typed, or the value itself.
    "argcomplete", "pip install argcomplete", "--why TEXT", "rankdeck exec NODE -- COMMAND [ARGUMENT...]", "theme: dark", "UTF-8", "publickey", "[user@]host[:port]", "ProxyJump", "[{pane: loss}, ...]", "rank {0}", "-i FLEET",
    # Seen on standard error only, and too wide as templates.
    "no {0}", "{0} nodes", "{0} to {1}", "{0}, with {1}", "{0}@1 to {1}@{2}",
    # ``what`` comes from a few callers, which the catalogue has in full.
    "{0} failed", "cannot {0}: the console is read-only",
    # Several sentences, which are looked for one by one.
    "Mend what it says, then launch again.{0}", "Mend the link, then launch again.{0}"}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text("utf-8"))) for path in sorted(CONSOLE.rglob("*.py"))]


def _kinds(trees: list[tuple[Path, ast.Module]]) -> set[str]:
    """``ConsoleError`` and everything that is one."""
    classes = {node.name: {_name(base) for base in node.bases} for _, tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    found = {"ConsoleError"}
    while more := {name for name, bases in classes.items() if bases & found} - found:
        found |= more
    return found


def _pieces(part: ast.expr) -> Iterator[tuple[list[str], list[str]]]:
    """What a part can be: its literals around the fields, and the words that may be filled in."""
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        yield [part.value], []
    elif isinstance(part, ast.IfExp):
        yield from (*_pieces(part.body), *_pieces(part.orelse))
    elif isinstance(part, ast.BoolOp):
        for each in part.values:
            yield from _pieces(each)
    elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
        for left, filled in _pieces(part.left):
            for right, also in _pieces(part.right):
                yield [*left[:-1], left[-1] + right[0], *right[1:]], filled + also
    elif isinstance(part, ast.JoinedStr):
        literals, filled = [""], list[str]()
        for value in part.values:
            if isinstance(value, ast.FormattedValue):
                literals.append("")
                filled += [text for inner, more in _pieces(value.value) for text in (_template(inner), *more) if isinstance(value.value, ast.IfExp | ast.BoolOp)]
            else:
                literals[-1] += str(ast.literal_eval(value))
        yield literals, filled
    elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod) and isinstance(part.left, ast.Constant):
        values = part.right.elts if isinstance(part.right, ast.Tuple) else [part.right]
        yield re.split(r"%[0-9.]*[a-z]", str(part.left.value)), [_template(inner) for value in values if isinstance(value, ast.IfExp | ast.BoolOp) for inner, _ in _pieces(value)]
    else:
        yield ["", ""], []


def _template(literals: list[str]) -> str:
    return literals[0] + "".join(f"{{{at}}}{literal}" for at, literal in enumerate(literals[1:]))


def made() -> Iterator[str]:
    """Every template of an error's what, got, expected and next move."""
    trees = _trees()
    kinds = _kinds(trees)
    for path, tree in trees:
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            if _name(call.func) in kinds:
                given = call.args[:1]
            elif path.name == "layout.py" and _name(call.func) == "_refuse":
                given = call.args[1:2]
            else:
                continue
            for part in [*given, *(keyword.value for keyword in call.keywords if keyword.arg in PARTS)]:
                for literals, filled in _pieces(part):
                    yield from (_template(literals), *filled)


def test_no_part_of_an_error_lacks_chinese() -> None:
    texts = {text for text in made() if re.search("[A-Za-z]", re.sub(r"\{[0-9]+\}", "", text))} - VALUES
    assert len(texts) > 350 and sorted(text for text in texts if text not in WORDS) == []


def refused() -> Iterator[str]:
    """The same of what an agent refuses a request with."""
    for path in AGENT.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and _name(call.func) in ("Refused", "_failed"):
                for part in [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg in ("got", "expected", "move"))]:
                    for literals, filled in _pieces(part):
                        yield from (_template(literals), *filled)


def test_no_reason_of_an_agent_lacks_chinese() -> None:
    texts = {text for text in refused() if re.search("[A-Za-z]{2}", re.sub(r"\{[0-9]+\}", "", text))} - {"{0} MB", ".rankdeck-nonce-<hex>", "the proof file cannot be {0}", "written", "removed"}
    assert len(texts) > 120 and sorted(text for text in texts if text not in WORDS) == []


def test_what_is_exempt_is_still_there() -> None:
    assert sorted(VALUES - set(made())) == []


@pytest.mark.parametrize("text", [text for text in [*ERRORS, *REASONS] if "{" in text])
def test_fields_are_the_same_in_both_languages(text: str) -> None:
    assert sorted(re.findall(r"\{[^}]*\}", text)) == sorted(re.findall(r"\{[^}]*\}", WORDS[text].replace("!}", "}")))


def test_no_template_is_so_wide_that_it_takes_others_texts() -> None:
    assert [text for text in ERRORS if re.search(r"\{[0-9]", text) and len(re.findall(r"[A-Za-z]{2}", re.sub(r"\{[0-9]+\}", "", text))) < 2] == []


LOST = ConsoleError("the link was lost", where="n3", got="no answer for 15 s", fix="It is made anew.")
LOST_ZH = "n3：连接断开（实际：15 秒无回应）。会重新建立"


@pytest.mark.parametrize(("error", "expected"), [
    (LOST, LOST_ZH),
    (ConsoleError("dave@n3 does not let us in", where="n3", got="no keys to offer", fix="Unlock it once: ssh-add ~/.ssh/id (b)"), "n3：dave@n3 拒绝登录（实际：没有可用的密钥）。先解锁一次：ssh-add ~/.ssh/id (b)"),
    (FileError("the file is too large to be meant", where="/jobs/a.yaml", got="more than 1048576 bytes", expected="a YAML file"), "/jobs/a.yaml：文件过大，应是弄错了（实际：超过 1048576 字节；应为：YAML 文件）"),
    # Of an agent.
    (ConsoleError("attempt a is aborted", where="n1: host-1", got="no commit came within the time limit", expected="a prepared attempt", fix="Launch again"), "n1: host-1：尝试 a 为已中止状态（实际：时限内没有提交；应为：已准备的尝试）。重新启动"),
    (ConsoleError("device 3 is in use", where="n1: /l/device-3.json", got="attempt a of job tiny, by lin since 05:00", expected="a free device", fix="Stop that attempt (rankdeck stop tiny) or choose other devices"),
     "n1: /l/device-3.json：设备 3 被占用（实际：作业 tiny 的尝试 a，操作者 lin，自 05:00；应为：空闲的设备）。停止该次尝试（rankdeck stop tiny），或另选设备"),
    # Nothing, single words and what others said are as they are.
    (ConsoleError("no value was given"), "未给出值"), (ConsoleError("closed", where="n1"), "n1：已关闭"),
    (ConsoleError("there is no such layout", where="--layout", got="nothing", expected="a file in layouts/"), "--layout：没有这个布局（实际：无；应为：layouts/ 中的文件）"),
    (ConsoleError("not valid YAML: found (a) bracket", where="a.yaml:3", expected="closed"), "a.yaml:3：不是有效的 YAML：found (a) bracket（实际：无；应为：closed）"),
    # Errors of others within one.
    (ConsoleError("job tiny was not stopped everywhere", where="n1, n3", got=f"{LOST}; n1: closed", fix="Reconnect these nodes and stop it again."), f"n1, n3：作业 tiny 未在所有节点上停止（实际：{LOST_ZH}; n1：已关闭）。重连这些节点，再停止一次"),
    (ConsoleError("prepare failed on n1: the agent refused", where="n1", fix="Try again. Not undone on n2: it may run on n2; stop it there."), "n1：准备 在 n1 上失败：代理拒绝。请重试。 n2 上未撤销：可能正在 n2 上运行，请在那里停止。"),
])
def test_an_error_is_said_in_the_language(chinese: None, error: ConsoleError, expected: str) -> None:
    assert spoken(error) == expected == spoken_text(str(error))


@pytest.mark.parametrize("text", ["", "no such thing", "n3: somebody (got lost, expected here). Go on", "(got ", "a (got b", "a: b: c. d. e", "x (got y) z", "x (got )). y"])
def test_what_is_not_ours_stays(chinese: None, text: str) -> None:
    assert spoken_text(text) == text


def test_every_line_of_a_text_is_said(chinese: None) -> None:
    assert spoken_text(f"{LOST}\nnot ours\nno value was given") == f"{LOST_ZH}\nnot ours\n未给出值"


def test_reasons_of_a_checkpoint_are_said_one_by_one(chinese: None) -> None:
    assert spoken_list("n1: 2 of 8 files missing: a.pt, b.pt; n2: .metadata is empty (and 2 more); and 3 more") == "n1：8 个文件缺 2 个：a.pt, b.pt; n2：.metadata 为空（另有 2 项）; 另有 3 项"


def test_why_a_node_was_not_checked_is_said(chinese: None) -> None:
    assert i18n.say(check.said(LOST)) == "连接断开（15 秒无回应）" and check.said(LOST) == "the link was lost (no answer for 15 s)"
    assert i18n.say(check.said(ConsoleError("the name n3.lab cannot be resolved", got="closed"))) == "无法解析名称 n3.lab（closed）"


def test_the_screen_says_why_a_node_is_not_there(chinese: None) -> None:
    feed = scene.full_feed()
    feed.state = state = apply(feed.state, LinkChanged(node="atlas-04", at=scene.NOW - 5, state="down", why=str(LOST)))
    row = next(row for row in node_rows(state, scene.NOW) if row.name == "atlas-04")
    assert row.note == str(LOST)
    assert any(LOST_ZH in alarm.text for alarm in alarms(state, scene.NOW))
    assert LOST_ZH in {told_detail(row) for row in timeline_rows(state, state.runs[scene.JOB])}
    told = io.StringIO()
    feed.said.append(Answer(node="atlas-04", at=scene.NOW, op="stop", ok=False, error=str(LOST)))
    feed.said.append(JobLaunched(job="tiny", attempt="a", at=scene.NOW, error="n1: the job file has changed since it was planned"))
    plain.run(feed, feed.submit, scene.fixed_clock(), lines=io.StringIO("fleet\ndescribe atlas-04\nincident\n"), out=told)
    assert told.getvalue().count(LOST_ZH) == 5 and "n1：作业文件在计划之后有变" in told.getvalue() and "the link was lost" not in told.getvalue()


def test_english_is_as_it_was_made() -> None:
    assert spoken(LOST) == spoken_text(str(LOST)) == str(LOST) == "n3: the link was lost (got no answer for 15 s). It is made anew."

"""The catalogue against the rules of jobs and fleets: all that a problem may say has Chinese, found again from the finished text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path

import pytest

from console.core import i18n
from console.core.launch.environment_rules import VARIABLES
from console.core.launch.problems import Problem, from_spec_text, problem_text
from console.tui.words import catalogue
from console.tui.words_zh import WORDS
from console.tui.words_zh_rules import RULES
from trainer.spec.data_rules import TOKENIZER_NOTES

ROOT = Path(__file__).resolve().parents[3]
FILES = [*sorted((ROOT / "trainer" / "spec").glob("*.py")), *(path for path in sorted((ROOT / "console" / "core" / "launch").glob("*.py")) if path.name != "report.py"),
         ROOT / "console" / "core" / "settings.py", ROOT / "console" / "core" / "layout.py"]
PARTS = ("message", "got", "expected", "fix")
CALLS = {"error": PARTS, "warning": PARTS, "info": PARTS, "make": PARTS, "_error": PARTS[:1], "_warning": PARTS[:1]}
"""Ways to make a finding: rule and path come first."""
REPORTS = {"_report", "_add", "report", "_problem"}
"""The same of files: the place comes first."""
RAISED = {"FileError", "ValueError", "say"}
TELLING = {"_near", "_kind", "_why", "_expected", "_name"}
"""Functions that return a part."""
FACTS = re.compile(r"(?:[-\d\s{}.,:;=/~+()\[\]<>$'\"?|%_]|\\|DP|[A-Z]+:MM:SS|YYYYMMDDTHHMMSSZ-xxxx|HCCL_|/dev/|rankdeck|--?[a-z]+|block\.key|NAME|PATH|[a-z]+\.yaml|_self_| or |[a-z_]+\.[a-z_.]+)*")

VALUES = {"megatron-bin", "fp8", "bf16", "per-node", "shared", "false", "true", "host", "lora", "a {0}", "{0} s", "1", "{rack: r1}", "{name: n0, host: 10.0.0.1}", "theme: dark", "pretokenized: true",
          "run: ..., paths: ..., fleet: ...", "key: value", "nodes: [...]", "- other.yaml, - hardware: NAME, - _self_", "linear_qkv, linear_proj, linear_fc1, linear_fc2", "..._{0}_document", "resume (ckpt_load_type 2)", "1 to 65535"}
"""What files have as it stands there; and what says too little by itself."""
NEVER = {"the runner chooses when it saves of about {0} MB", "the runner chooses when it saves: checkpoints", "a mount on  hides the image's own {0}"}
"""Ways through an expression that are none."""
ELSEWHERE = {"{n} error", "{n} errors", "{n} warning", "{n} warnings", "{n} info",
             "a dict", "a whole number", "a number", "{0} [{1}]", "job file", "hardware: NAME or recipe: NAME", "${block.key} or ${oc.env:NAME}", "for example {0}", "use a key or the SSH agent; passwords are not kept in files"}
"""Put together at run time."""


def told() -> Iterator[tuple[str, str]]:
    """Where, and every text that a part of a problem may be; what is filled in is ``{0}``, ``{1}``, ..."""
    for path in FILES:
        for function in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)):
            names: dict[str, ast.expr] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    names[node.targets[0].id] = node.value
            for node in ast.walk(function):
                for part in _parts(node) if isinstance(node, ast.Call) else [node.value] if isinstance(node, ast.Return) and node.value and function.name in TELLING else []:
                    for pieces in _texts(part, names):
                        number = count()
                        yield f"{path.name}:{part.lineno}", "".join(f"{{{next(number)}}}" if piece is None else piece for piece in pieces)
    yield from (("environment_rules.py", text) for known in VARIABLES.values() for text in (known.meaning, known.cost))
    yield from (("data_rules.py", note) for note in TOKENIZER_NOTES.values())


def _parts(call: ast.Call) -> list[ast.expr]:
    name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name == "append" and len(call.args) == 1 and isinstance(call.args[0], ast.Tuple) and isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "problems":
        return call.args[0].elts[1:]
    if name not in {*CALLS, *REPORTS, *RAISED, "Problem", "Finding", "replace"}:
        return []
    given = call.args[2:2 + len(CALLS[name])] if name in CALLS else call.args[1:2] if name in REPORTS else call.args[:1] if name in RAISED else []
    return [*given, *(keyword.value for keyword in call.keywords if keyword.arg in PARTS)]


def _texts(part: ast.expr, names: dict[str, ast.expr]) -> list[list[str | None]]:
    """Each way in which an expression may come out: its pieces, None for what is not known here."""
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        return [[part.value]]
    if isinstance(part, ast.JoinedStr):
        ways: list[list[str | None]] = [[]]
        for piece in part.values:
            plain = isinstance(piece, ast.FormattedValue) and piece.conversion == -1 and piece.format_spec is None
            inner = piece.value if isinstance(piece, ast.FormattedValue) else piece
            more = _texts(inner, names) if plain or isinstance(piece, ast.Constant) else [[None]]
            ways = [[*way, *one] for way in ways for one in more]
        return ways
    if isinstance(part, ast.IfExp):
        return [*_texts(part.body, names), *_texts(part.orelse, names)]
    if isinstance(part, ast.BoolOp):
        return [way for value in part.values for way in _texts(value, names)]
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
        return [[*left, *right] for left in _texts(part.left, names) for right in _texts(part.right, names)]
    if isinstance(part, ast.Tuple | ast.Dict):
        return [way for each in (part.elts if isinstance(part, ast.Tuple) else part.values) for way in _texts(each, names)]
    if isinstance(part, ast.Name) and isinstance(names.get(part.id), ast.Constant | ast.JoinedStr | ast.IfExp):
        return _texts(names[part.id], {})
    return [[None]]


def _shown(text: str) -> Iterator[str]:
    """A spec's own texts are taken apart, and stand behind the name of their key."""
    if text.startswith("got ") and ", expected " in text:
        text, _, near = text[4:].partition("; ")
        yield from (*text.split(", expected ", 1), near)
    elif text.startswith("unknown key {0}; "):
        yield from text.split("; ")
    else:
        yield {"key {0} is missing": "{0}: key {1} is missing"}.get(text, f"{{0}}: {text}" if text.startswith("a secret names") else text)


def _plain(text: str) -> bool:
    """Whether it is all values: of the file, of a setting, or of a template that takes one."""
    return FACTS.fullmatch(text) is not None or re.fullmatch(r"([Ss]et|[Uu]se|[Ss]et it to|for example) [\w./{}-]+", text) is not None or text in VALUES | NEVER


def test_no_text_of_a_rule_lacks_chinese() -> None:
    found = {part: where for where, text in told() for part in _shown(text)}
    lacking = {text: where for text, where in found.items() if not _plain(text) and _key(text) not in WORDS}
    assert len(found) > 500 and lacking == {}


def test_nothing_stands_there_that_no_rule_says() -> None:
    texts = {_key(part) for _, text in told() for part in _shown(text)} | ELSEWHERE
    assert sorted(set(RULES) - texts) == []


def test_values_of_files_are_no_words() -> None:
    """What was got and expected is often a word of the file; it must be found there as it is shown."""
    assert sorted(VALUES & set(WORDS)) == []


def _key(text: str) -> str:
    """The entry's: fields numbered in order; a sentence shown with a capital may have it without, and a next move, always shown with one, only with it."""
    number = count()
    text = re.sub(r"\{[0-9]+\}", lambda _: f"{{{next(number)}}}", text)
    return next((form for form in (text, text[:1].lower() + text[1:], text[:1].upper() + text[1:]) if form in WORDS), text)


def test_fields_agree() -> None:
    for text, said in RULES.items():
        assert sorted(re.findall(r"\{[^}]*\}", text)) == sorted(re.findall(r"\{[^}]*\}", said.replace("!}", "}"))), text
        assert re.search("[\u4e00-\u9fff]", said) or re.search(r"[、，：]|\$\{|or /host|{from_env", said) or text == "{0} [{1}]", text


@pytest.mark.parametrize(("problem", "expected"), [
    (Problem(rule="P3", severity="error", where="job.yaml:3:1", message="5 microbatches cannot be dealt to 4 data-parallel ranks", got="5", expected="a multiple of micro_batch_size x DP = 4", fix="Use 4 or 8"),
     "job.yaml:3:1：5 个微批不能平分给 4 个数据并行 rank（实际：5；应为：micro_batch_size x DP = 4 的倍数）。使用 4 或 8 [P3]"),
    (Problem(rule="P4", severity="info", where="", message="PP is usually the number of nodes (waived: it is measured)", got="1", expected="2"), "PP 通常等于节点数（已豁免：it is measured）（实际：1；应为：2） [P4]"),
    (Problem(rule="E5", severity="warning", where="", message="a setting for looking into an incident: training is many times slower"), "排查故障用的设置：训练慢许多倍 [E5]"),
    (Problem(rule="J1", severity="error", where="f.yaml", message="name is not a text", got="a block", expected="a text"), "f.yaml：name 不是文本（实际：一个块；应为：文本） [J1]"),
    (Problem(rule="F2", severity="error", where="f.yaml", message="node 'n9' is not in fleet 'lab'", got="n9", expected="n0, n1"), "f.yaml：节点 'n9' 不在集群 'lab' 中（实际：n9；应为：n0, n1） [F2]"),
    (from_spec_text(("train", "iterations"), "got 'x', expected a whole number", "job.yaml:2:3"), "job.yaml:2:3：train.iterations 的值不对（实际：'x'；应为：整数） [J1]"),
    (from_spec_text((), "got nothing, expected a block of keys", ""), "作业文件 的值不对（实际：无；应为：由键组成的块） [J1]"),
    (from_spec_text(("run",), "key 'name' is missing", "f"), "f：run：缺少键 'name' [J1]"),
    (from_spec_text(("run", "nam"), "unknown key 'nam'; did you mean 'name'?", "f"), "f：run 中有未知的键 'nam'。是否指 'name'？ [J1]"),
    (Problem(rule="J1", severity="error", where="f", message="a rule of tomorrow", fix="Light a fire and wait"), "f：a rule of tomorrow。Light a fire and wait [J1]"),
])
def test_a_problem_is_told_in_the_language(problem: Problem, expected: str) -> None:
    before = asdict(problem)
    english = problem_text(problem)
    i18n.use(catalogue("zh", {}))
    try:
        assert problem_text(problem) == expected
    finally:
        i18n.use({})
    assert asdict(problem) == before and problem_text(problem) == english and not re.search("[\u4e00-\u9fff]", english)

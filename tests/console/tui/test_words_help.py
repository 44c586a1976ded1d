"""``--help`` and usage errors in Chinese: nothing of the command line lacks it, English stays as it was, no screen is loaded for it."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from console.cli import build_parser, main, usage
from console.core.columns import cells, padded, wrapped
from console.tui.words_zh_help import HELP

ROOT = Path(__file__).resolve().parents[3]
CHINESE = re.compile("[\u4e00-\u9fff]")
NEVER = re.compile("callable|string|strings|__call__|merge|mutually exclusive|conflict|dest=|mode|subparser|subcommands|program's version|positionals|can't open|deprecated|warning|\\(default|None|title")
"""Of argparse's own texts: what is said to whoever writes a parser, or of kinds of options that ours has none of."""
SAME = {"Prometheus metrics", "workspace, preprocess, convert, export or merge-lora", "bash, zsh or fish"}


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _parsers(inner)


def _texts() -> Iterator[str]:
    """Every text of the command line, as it is looked up."""
    for parser in _parsers(build_parser()):
        raw = isinstance(parser.formatter_class, type) and issubclass(parser.formatter_class, argparse.RawDescriptionHelpFormatter)
        for text in filter(None, (parser.usage, parser.description, parser.epilog)):
            yield from ((usage.halves(line)[1] for line in text.splitlines()) if raw else [text])
        yield from (group.title or "" for group in parser._action_groups if group._group_actions)
        yield from (action.help for action in parser._actions if action.help and action.help != argparse.SUPPRESS)


def _of_argparse() -> Iterator[str]:
    for call in ast.walk(ast.parse(Path(str(argparse.__file__)).read_text("utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("_", "ngettext"):
            yield from (str(part.value) for part in call.args[:2] if isinstance(part, ast.Constant))


def _of_kinds() -> Iterator[str]:
    for call in ast.walk(ast.parse((ROOT / "console" / "cli" / "options.py").read_text("utf-8"))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("_said", "argparse.ArgumentTypeError"):
            assert ast.unparse(call.func) == "_said" or isinstance(call.args[0], ast.Call), "a refusal that is not said"
            yield from (part.value for part in call.args if isinstance(part, ast.Constant))


def test_no_text_of_the_command_line_lacks_chinese() -> None:
    texts = set(filter(None, _texts())) | set(_of_kinds()) | {text for text in _of_argparse() if not NEVER.search(text)}
    assert len(texts) > 200 and sorted(text for text in texts if text not in HELP) == []
    assert [text for text, said in HELP.items() if said != "zh" and not CHINESE.search(said) and text not in {*SAME, "%(heading)s:"}] == []


def test_nothing_stands_there_that_no_command_says() -> None:
    argparses = {text for text in HELP if "%" in text or text.startswith(("expected", "usage"))}
    assert sorted(set(HELP) - set(_texts()) - set(_of_kinds()) - argparses - {"LANGUAGE"}) == []


def test_fields_agree() -> None:
    for text, said in HELP.items():
        fields = re.compile(r"%\([a-z_]+\)[sr]|%[sr]|\{[a-z]+\}")
        # What a kind of value is called in our code is nobody's business.
        assert {*fields.findall(text)} - {"%(type)s"} == {*fields.findall(said)}, text


def _ended(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*argv])
    return (ended.value.code, *capsys.readouterr())


def test_help_is_chinese_and_fits_and_english_comes_back(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    english = {name: _ended(capsys, *name.split(), "--help") for name in ("", "plan", "inspect log", "run-step", "stage")}
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.delenv("LC_MESSAGES", raising=False)
    for name in english:
        status, out, err = _ended(capsys, *name.split(), "--help")
        assert (status, err) == (0, "") and out.startswith("用法：rankdeck") and "选项" in out
        free = out.partition("示例：")[0] if name else ""  # lists of lines are not broken
        assert max(map(cell_len, free.splitlines()), default=0) <= 80
        left = {word for line in out.splitlines() for word in re.findall(r"\b(?:the|of|and|is|that|which|default|options|arguments|show)\b", line)}
        assert left <= {"default", "show"}, out
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert {name: _ended(capsys, *name.split(), "--help") for name in english} == english
    assert english["plan"][1].startswith("usage: rankdeck plan") and not CHINESE.search(english[""][1])


@pytest.mark.parametrize(("argv", "told"), [
    (("plann",), "rankdeck: 错误：参数 COMMAND：没有这个选择：'plann'（可选："), (("open",), "rankdeck open: 错误：缺少参数：-i/--inventory"), (("plan", "a", "--zz"), "rankdeck: 错误：不认识的参数：--zz"),
    (("logs", "x", "-i", "f", "--lines", "0"), "参数 --lines：0：至少为 1"), (("logs", "x", "-i", "f", "--lines", "q"), "参数 --lines：值无效：'q'"), (("open", "-i"), "参数 -i/--inventory：需要一个值"),
    (("launch", "x", "--wait", "--detach"), "参数 --detach：不能与参数 --wait 合用"), (("replay", "-i", "f", "--speed", "0"), "0：应大于 0，最大 10000"), (("status", "--json=1", "-i", "f"), "参数 --json：不带值，但给了 '1'"),
])
def test_wrong_usage_is_told_in_the_language(argv: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _ended(capsys, *argv, "--lang=zh") if argv != ("open", "-i") else _ended(capsys, "open", "--lang", "zh", "-i")
    assert (status, out) == (2, "") and err.startswith("用法：rankdeck") and told in err


def test_no_command_shows_chinese_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main([]) == 2
    assert "查看：\n  open      界面：" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "settings", "environ", "expected"), [
    ([], "", {"LANG": "zh_CN.UTF-8"}, "zh"), (["--lang", "en"], "lang: zh\n", {"LANG": "zh_CN.UTF-8"}, "en"), ([], "theme: dark\nlang: 'zh'  # mine\n", {}, "zh"), ([], "lang: en\n", {"LANG": "zh_CN"}, "en"),
    (["exec", "n", "--", "x", "--lang", "zh"], "", {}, "en"), (["plan", "--lang"], "", {}, "en"), ([], "# lang: zh\nnotify:\n  lang: zh\n", {}, "en"), (["--lang=zh"], "", {"LC_ALL": "C"}, "zh")])
def test_the_command_line_the_settings_and_the_locale_choose(words: list[str], settings: str, environ: dict[str, str], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if settings:
        path.write_text(settings, "utf-8")
    assert usage.language(words, str(path), environ) == expected


def test_an_error_before_a_command_begins_is_told_in_the_language(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chinese: None) -> None:
    (tmp_path / "rankdeck").mkdir()
    (tmp_path / "rankdeck" / "config.yaml").write_text("lang: zh\ntheme: [\n", "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["layouts"]) == 2
    assert CHINESE.search(capsys.readouterr().err)


def test_a_document_stays_english(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main(["inspect", "log", str(tmp_path / "none"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["what"] == "cannot be read" and not CHINESE.search(out + err)


@pytest.mark.parametrize(("locale", "loaded"), [("C.UTF-8", set()), ("zh_CN.UTF-8", {"console.tui.words_zh_help", "console.cli.usage"})])
def test_help_loads_no_screen_and_no_words_that_it_does_not_say(locale: str, loaded: set[str], tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))} | {"LANG": locale, "PYTHONUTF8": "1", "XDG_CONFIG_HOME": str(tmp_path)}
    code = "import sys\nfrom console import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit:\n    print(*sys.modules, sep=chr(10), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, encoding="utf-8", check=True, timeout=120)
    modules = set(ran.stderr.split())
    assert {name for name in modules if name.startswith(("console.tui.words_", "console.cli.usage"))} == loaded
    assert not modules & {"textual", "rich", "yaml", "paramiko", "console.tui.app", "console.core.errors"}


def test_columns() -> None:
    assert (cells("ab中"), padded("中", 4), padded("中文", 2)) == (4, "中  ", "中文")
    assert wrapped("", 10) == [] and wrapped("不建立连接，除非 --diff 的尝试", 12) == ["不建立连接，", "除非 --diff", "的尝试"]
    assert wrapped("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5] and wrapped("连接到节点上）。再", 12) == ["连接到节点", "上）。再"]

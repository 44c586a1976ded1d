"""Writes the guide's pages that are made from the code's own tables. Usage: guide_pages.py [--check]

- docs/guide/faults.md, faults.zh.md: what to do on each fault, from ``agent.catalogue``;
- docs/guide/reference.md: views, keys, commands of the screen and of the shell, files, settings.

With ``--check`` nothing is written; exit status 1 when a page is not what the tables say (a test runs it).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent.catalogue import loader  # noqa: E402 - the project's root first
from agent.catalogue.loader import Signature  # noqa: E402
from console import cli  # noqa: E402
from console.cli.manual import FILES, STATUS  # noqa: E402
from console.core.layout import PANES  # noqa: E402
from console.core.settings import SETTINGS  # noqa: E402
from console.tui.actions import GROUPS, key_text, usage  # noqa: E402
from console.tui.views import VIEWS  # noqa: E402

MADE = "<!-- Made by `make guide` from the code's tables; change those. -->\n"

ROLES = {
    "en": {"root": "starts an incident", "cascade": "follows from another fault", "teardown": "a job being ended", "benign": "harmless",
           "unclear": "may start an incident or follow from one"},
    "zh": {"root": "故障起因", "cascade": "由其他故障引起", "teardown": "作业结束过程", "benign": "无害", "unclear": "可能是起因，也可能是连带"}}
STEPS = {
    "en": {
        "retry": "Start it again as it was: `rankdeck launch JOB`. If it comes back at the same place, it is no accident.",
        "resume": "Nothing to mend here. Find who failed first (view 6), see to that, then launch again: it goes on from the last complete checkpoint (view 4).",
        "isolate": "Take the node out: `rankdeck stop JOB`, take it off `fleet.nodes` or put a spare in its place, `rankdeck check --level deep`, launch again.",
        "fix-config": "Change the job file, `rankdeck plan JOB` until it says nothing, launch again.",
        "fix-code": "Mend the training code (`l` on the rank shows where), stage it, launch again.",
        "fix-environment": "`rankdeck check -i FLEET --job JOB` says what differs and what to type; launch again when it is quiet.",
        "clean-device": "See who holds the NPU (`d` on it, or `rankdeck check`). End what was left behind by its process id, then launch again.",
        "free-space": "Make room where the message says (view 4 has the free space against the next save), then launch again.",
        "none": "Nothing to do."},
    "zh": {
        "retry": "按原样重新启动：`rankdeck launch JOB`。若在同一处再次出现，则并非偶然。",
        "resume": "此处无需修复。在视图 6 找出最先出错者并处理，再次启动即从最近的完整检查点（视图 4）继续。",
        "isolate": "隔离该节点：`rankdeck stop JOB`，从 `fleet.nodes` 去掉或换上备用节点，`rankdeck check --level deep`，再启动。",
        "fix-config": "修改作业文件，直到 `rankdeck plan JOB` 不再报告问题，再启动。",
        "fix-code": "修改训练代码（在该 rank 上按 `l` 看位置），用 stage 分发，再启动。",
        "fix-environment": "`rankdeck check -i FLEET --job JOB` 指出差异与应输入的命令；无告警后再启动。",
        "clean-device": "查看谁占用 NPU（对其按 `d`，或 `rankdeck check`）。按进程号结束残留进程，再启动。",
        "free-space": "在所示位置腾出空间（视图 4 有剩余空间与下次保存的对照），再启动。",
        "none": "无需处理。"}}
WORDS = {
    "en": {"title": "What to do on each fault", "do": "Do", "means": "Means", "line": "Looks like", "source": "Source", "index": "By code",
           "lead": "Every line that Rankdeck knows in a log, what it means and what to do. `rankdeck inspect log FILE` finds them in copied logs, the screen as they are "
                   "written (view 6). What is not here is not passed over: lines with an unknown error code are shown as unknown.\n\nWho failed first is another question than what a line means: "
                   "a fault that *follows from another* is never the place to begin. View 6 names the first."},
    "zh": {"title": "各类故障的处理", "do": "处理", "means": "含义", "line": "日志样例", "source": "来源", "index": "按错误码",
           "lead": "Rankdeck 认识的每一种日志行、含义与处理。`rankdeck inspect log FILE` 在拷贝来的日志中查找，屏幕视图 6 实时显示。未收录的错误码显示为未知，不会丢弃。\n\n"
                   "“谁最先出错”与“这行是什么意思”是两回事：由其他故障引起的不是起点。视图 6 指出最先者。"}}


def fault_page(language: str) -> str:
    """The runbook in a language (en, zh)."""
    words, signatures = WORDS[language], sorted(loader.load(), key=lambda one: (one.category, one.rule))
    codes = sorted({(one.code, one.rule) for one in signatures if one.code})
    out = [f"# {words['title']}\n", MADE, words["lead"] + "\n", f"{words['index']}: " + ", ".join(f"[{code}](#{rule})" for code, rule in codes) + "\n"]
    category = ""
    for one in signatures:
        if one.category != category:
            category = one.category
            out.append(f"## {category}\n")
        out.append("\n".join(_fault(one, language)))
    return "\n".join(out)


def _fault(one: Signature, language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"### {one.rule}\n"
    yield f"{f'`{one.code}`, ' if one.code else ''}{ROLES[language][one.role]}, `{one.action}`\n"
    yield f"- **{words['means']}**: {one.meaning[language]}"
    yield f"- **{words['do']}**: {one.advice[language]} {STEPS[language][one.action]}"
    yield f"- **{words['source']}**: {one.source}\n"
    yield f"{words['line']}:\n\n```\n{one.sample}\n```\n"


def reference_page() -> str:
    """Everything that has a name, in tables."""
    parser = cli.build_parser()
    out = ["# Reference\n", MADE, "## Commands\n", "`rankdeck COMMAND --help` has the options of each; `rankdeck man | man -l -` all of it as a manual page.\n",
           "| command | does |", "|---|---|"]
    for name, command in cli.commands_of(parser).items():
        inner = next((list(action.choices or ()) for action in command._actions if isinstance(action, argparse._SubParsersAction)), [])
        out.append(f"| `{_cell(' '.join(filter(None, ('rankdeck', name, '|'.join(inner)))))}` | {_cell(command.description or '')} |")
    out += ["\nExit status: " + ", ".join(f"{status} {meaning}" for status, meaning in STATUS) + ".\n", "## Views and panes\n", "| view | has |", "|---|---|"]
    for view in VIEWS.values():
        out.append(f"| {view.title} | {', '.join(f'`{box.pane}`' for box in _boxes(view.root))} |")
    out += [f"\nPanes that a layout may have: {', '.join(f'`{pane}`' for pane in PANES)}.\n", "## Keys and `:` commands\n"]
    for title, group in GROUPS:
        out += [f"### {title}\n", "| key | command | does |", "|---|---|---|"]
        for action in group:
            keys = " ".join(f"`{_cell(key_text(key))}`" for key in action.keys)
            writes = " **Armed only.**" if action.access == "write" else ""
            out.append(f"| {keys} | `{_cell(usage(action))}` | {_cell(action.help)}{writes} |")
        out.append("")
    out += ["## Files\n", "| where | what |", "|---|---|", *(f"| `{path}` | {meaning} |" for path, meaning in FILES),
            "\n## Settings\n", "`rankdeck config set KEY VALUE`; the command line always wins.\n", "| key | without it | meaning |", "|---|---|---|"]
    out += [f"| `{setting.key}` | {_default(setting.default)} | {_cell(setting.help)} |" for setting in SETTINGS]
    return "\n".join(out) + "\n"


def _boxes(box: object) -> Iterator[object]:
    if box.pane:  # type: ignore[attr-defined]
        yield box
    for child in box.children:  # type: ignore[attr-defined]
        yield from _boxes(child)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _default(value: object) -> str:
    return "yes" if value is True else "no" if value is False else f"{value:g}" if isinstance(value, float) else str(value)


PAGES = {"faults.md": lambda: fault_page("en"), "faults.zh.md": lambda: fault_page("zh"), "reference.md": reference_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or only look whether they are as they should be."""
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / "docs" / "guide" / name, make()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
    if "--check" in arguments and stale:
        print(f"docs/guide: {', '.join(stale)} not as the code's tables say; run `make guide`", file=sys.stderr)
        return 1
    print(f"docs/guide: {', '.join(stale) or 'nothing'} written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

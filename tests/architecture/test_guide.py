"""The guide's pages that are made from the code say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_the_made_pages_are_new() -> None:
    made = subprocess.run([sys.executable, "scripts/guide_pages.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        if heading and there.suffix == ".md":
            known = {re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
                     for line in there.read_text("utf-8").splitlines() if line.startswith("#")}
            assert heading in known, target


def test_every_guide_is_on_the_list() -> None:
    listed = (ROOT / "docs" / "guide" / "README.md").read_text("utf-8")
    assert [page.name for page in (ROOT / "docs" / "guide").glob("*.md") if page.name != "README.md" and f"]({page.name})" not in listed] == []

"""What two blocks of a file share is told once."""

from __future__ import annotations

import pytest

from console.core.log_report import FileReport
from tests.agent.parse.test_reading import NEXT, SCANNER, WHOLE, wrapped


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_report_tells_it_once_and_whole(width: int) -> None:
    text = (wrapped(WHOLE % 7, width) + NEXT % 8).encode()
    for cut in [at + 1 for at in range(len(text)) if text[at:at + 1] == b"\n"]:
        report = FileReport("x", SCANNER)
        report.feed(text[:cut])
        report.feed(text[cut:])
        report.close()
        assert [(data["iteration"], data["lm_loss"], data["grad_norm"], data["line"]) for data in report.found["iteration"]] == [
            (7, 2.117073, 1.234, 1), (8, 2.0, 1.1, text.count(b"\n"))]

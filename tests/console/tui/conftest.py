"""The language of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from console.core import i18n
from console.tui.words import catalogue


@pytest.fixture
def chinese() -> Iterator[None]:
    """What the console says is Chinese meanwhile."""
    i18n.use(catalogue("zh", {}))
    yield
    i18n.use({})

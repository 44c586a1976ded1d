"""What stops preprocessing, converting or opening of data: what, where, got and expected, next move."""

from __future__ import annotations

import importlib
from typing import Any


class DataError(ValueError):
    """Printed as ``rankdeck: <text>``; mended by whoever started the command."""

    EXIT_CODE = 3
    """As the trainer's own refusals: apart from 1 (a defect) and 2 (wrong usage)."""

    def __init__(self, what: str, *, where: str = "", got: str = "", expected: str = "", fix: str = "") -> None:
        text = f"{where}: {what}" if where else what
        if got or expected:
            text += f" (got {got or 'nothing'}" + (f", expected {expected})" if expected else ")")
        super().__init__(f"{text}. {fix}" if fix else text)
        self.what, self.where, self.got, self.expected, self.fix = what, where, got, expected, fix


def needed(module: str, *, why: str, install: str) -> Any:
    """The module, imported now. Raises DataError naming what to install when it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(f"{why} needs {install}", got=str(error), fix=f"Run: pip install {install}") from error

"""What stops the trainer and can be mended by whoever started it: what, where, got and expected, next move."""

from __future__ import annotations


class TrainerError(Exception):
    """Printed on standard error as ``rankdeck: <text>``; the process ends with ``EXIT_CODE``."""

    EXIT_CODE = 3
    """Apart from Python's 1 (a traceback) and 2 (wrong usage): torchrun's log then says which it was."""

    def __init__(self, what: str, *, where: str = "", got: str = "", expected: str = "", fix: str = "") -> None:
        text = f"{where}: {what}" if where else what
        if got or expected:
            text += f" (got {got or 'nothing'}" + (f", expected {expected})" if expected else ")")
        super().__init__(f"{text}. {fix}" if fix else text)
        self.what, self.where, self.got, self.expected, self.fix = what, where, got, expected, fix

"""Kinds of values that options of the command line take. Refuses what is out of range; loads nothing but argparse."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class Version(argparse.Action):
    """Looks the version up only when it is asked for: reading package metadata is slow."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="print the version", **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("rankdeck")
        except PackageNotFoundError:
            found = "(not installed)"
        sys.stdout.write(f"rankdeck {found}\n")
        parser.exit()


def rate(text: str) -> float:
    """Frames a second, 0.2 to 60. Raises ArgumentTypeError, as do the others."""
    value = float(text)
    if not 0.2 <= value <= 60:
        raise argparse.ArgumentTypeError(_said("{text}: from 0.2 to 60", text))
    return value


def seconds(text: str) -> float:
    """Seconds, from 0 to a week."""
    value = float(text)
    if not 0 <= value <= 7 * 24 * 3600:
        raise argparse.ArgumentTypeError(_said("{text}: from 0 to a week", text))
    return value


def speed(text: str) -> float:
    """How many times as quick as it was, above 0 and at most 10000."""
    value = float(text)
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError(_said("{text}: above 0, at most 10000", text))
    return value


def count(text: str) -> int:
    """A whole number from 1 up."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(_said("{text}: at least 1", text))
    return value


def _said(template: str, text: str) -> str:
    from console.core.i18n import say

    return say(template, text=text)

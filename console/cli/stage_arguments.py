"""What ``rankdeck stage`` can be told; apart from what it does, so that ``--help`` stays light."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """Give a parser the command's words. ``count``: reads a number of at least 1."""
    parser.add_argument("--to", metavar="DIR", required=True, help="directory on the nodes")
    parser.add_argument("--node", metavar="NODE", action="append", default=[], help="a node; may be repeated (default: all)")
    parser.add_argument("--code", metavar="DIR[@COMMIT]", action="append", default=[], help="a directory, or what git has of it at a commit")
    parser.add_argument("--trainer", action="store_true", help="the project's own trainer")
    parser.add_argument("--wheels", metavar="DIR", default="", help="with --trainer: a directory of wheels to go along")
    parser.add_argument("--data", metavar="PATH", action="append", default=[], help="a file or a directory as it is")
    parser.add_argument("--image", metavar="FILE", action="append", default=[], help="an archive of `docker save`, loaded there")
    parser.add_argument("--parallel", metavar="N", type=count, default=8, help="nodes at once (default: 8)")
    parser.add_argument("--limit-mb", metavar="MB_S", type=float, default=0.0, help="megabytes a second over all nodes (default: no limit)")
    parser.add_argument("--before", metavar="COMMAND", default="", help="run here first, for instance to fetch from an object store")
    parser.add_argument("--after", metavar="COMMAND", default="", help="run here when everything has arrived")

"""What ``rankdeck run-step`` can be told; apart from what it does, so that ``--help`` stays light."""

from __future__ import annotations

import argparse

TEXT = ("Carry out one step of a job, alone, as a launch would: in a directory and, where the job has one, a container of its own, detached, its log shown "
        "on standard error. What is made already is left alone. Exit status 0 when it ended well.")
EXAMPLES = """\
examples:
  rankdeck run-step job.yaml preprocess -i fleet.yaml --dry-run         what would be run
  rankdeck run-step job.yaml preprocess -i fleet.yaml --node node002    on that node, to its end
  rankdeck run-step job.yaml workspace -i fleet.yaml --all-nodes        the tree on every node's own disk
  rankdeck run-step job.yaml convert -i fleet.yaml --detach --json      start it, for scripts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the command's words."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    parser.add_argument("job", metavar="JOB", help="job file (YAML)")
    parser.add_argument("step", metavar="STEP", choices=["workspace", "preprocess", "convert", "export", "merge-lora"],
                        help="workspace, preprocess, convert, export or merge-lora")
    parser.add_argument("--node", metavar="NODE", action="append", default=[], help="where; may be repeated (default: the job's first node)")
    parser.add_argument("--all-nodes", action="store_true", help="on all the job's nodes: for disks that they do not share")
    parser.add_argument("--detach", action="store_true", help="come back when it is started; rankdeck attach JOB--STEP watches it")
    parser.add_argument("--dry-run", "--plan", action="store_true", help="print exactly what would be written and run, and connect to nothing")

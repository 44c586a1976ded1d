"""The trainer's command line: ``python3 <dir>/trainer/__main__.py train --job job.json``.

It is started by its path, once per rank, by torchrun or by hand. Before anything of the package is
imported it puts the directory above first on the module path and takes its own directory off, so that
neither a ``trainer.py`` of the user's nor this package's own ``data`` or ``convert`` is mistaken for
something else.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import traceback

EXIT_LOST = 1
"""A lost peer or a defect; the traceback above says which."""

EXIT_USAGE = 2


def own_path() -> None:
    """Make ``import trainer`` mean the package that this file belongs to."""
    here = os.path.dirname(os.path.abspath(__file__))
    above = os.path.dirname(here)
    sys.path[:] = [above, *(entry for entry in sys.path if os.path.abspath(entry or ".") not in (here, above))]
    for name in [name for name in sys.modules if name == "trainer" or name.startswith("trainer.")]:
        del sys.modules[name]


COMMANDS = {
    "preprocess": ("trainer.data.command", "make training data of raw samples"),
    "convert": ("trainer.convert.command", "turn weights from Hugging Face to Megatron and back"),
    "export": ("trainer.convert.export", "write a checkpoint's weights for Hugging Face"),
    "merge-lora": ("trainer.runtime.merge", "add a run's adapters to the weights they were trained on"),
    "inspect": ("trainer.runtime.shelf", "say what is in a checkpoint directory"),
    "layouts": ("trainer.runtime.layouts", "train a few steps under several layouts and compare"),
    "bench": ("trainer.runtime.bench", "tokens/s against a plain PyTorch GPT of the same shape"),
}
"""Command -> (module, what it does). A module has ``arguments(parser)`` and ``command(namespace) -> exit status``;
it is imported when its command is asked for, and a command whose module is not there is not offered."""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done or stopped as asked, 1 a lost peer or a defect, 2 unusable job file,
    3 refused (TrainerError). After 1 or 3 there may be threads and groups left: ``leave`` is the way out."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="trainer", description="Train the job of a resolved job file on this rank.")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train until the last iteration or SIGTERM")
    train.add_argument("--job", required=True, metavar="JOB.JSON", help="the resolved job file")
    train.add_argument("--dry-run", action="store_true", help="check the job and say what would be trained; torch is not needed")
    for name, (module, told) in COMMANDS.items():
        if importlib.util.find_spec(module) is None:
            continue
        added = commands.add_parser(name, help=told)
        if argv[:1] == [name]:
            importlib.import_module(module).arguments(added)
    arguments = parser.parse_args(argv)

    from trainer.runtime.errors import TrainerError

    try:
        if arguments.command == "train":
            return _train(arguments)
        return int(importlib.import_module(COMMANDS[arguments.command][0]).command(arguments))
    except TrainerError as error:
        print(f"rankdeck: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.EXIT_CODE
    except BaseException:  # noqa: BLE001 - the edge of the program; torch has errors that are no Exception
        traceback.print_exc()
        return EXIT_LOST


def _train(arguments: argparse.Namespace) -> int:
    from trainer.spec.job import SpecError, from_mapping

    try:
        with open(arguments.job, encoding="utf-8") as stream:  # noqa: PTH123
            spec = from_mapping(json.load(stream))
    except (OSError, ValueError) as error:
        lines = [f"{'.'.join(path) or 'job'}: {text}" for path, text in error.problems] if isinstance(error, SpecError) else [str(error)]
        for line in lines:
            print(f"rankdeck: {arguments.job}: {line}", file=sys.stderr, flush=True)  # noqa: T201
        return EXIT_USAGE
    if arguments.dry_run:
        from trainer.runtime.start import resolved
        from trainer.spec.batch import derived

        print(json.dumps(dict(derived(resolved(spec))), indent=1))  # noqa: T201
        return 0

    from trainer.runtime.train import run

    run(spec)
    return 0


def leave(status: int) -> None:
    """End now, with the streams flushed and nothing else.

    With a peer gone, taking process groups down in order would wait for it; and on a good end they are
    down already, and taking torch's modules apart would be a second of every start.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    own_path()
    leave(main())

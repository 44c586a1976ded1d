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
from collections.abc import Iterable

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

EXAMPLES = {
    "train": (
        "python -m trainer train --job job.json --dry-run",
        "python -m trainer train --job job.json",
        "torchrun --nproc-per-node 4 -m trainer train --job job.json",
    ),
    "preprocess": (
        "python -m trainer preprocess --input text.jsonl --tokenizer-name-or-path Qwen3-0.6B --append-eod --workers 4 --output-prefix data/text",
        "python -m trainer preprocess --input alpaca.parquet --handler-name AlpacaStyleInstructionHandler --tokenizer-type Byte --seq-length 4096 --output-prefix data/alpaca",
    ),
    "convert": (
        "python -m trainer convert --load-dir Qwen3-0.6B --to torch_dist --save-dir weights --dry-run",
        "python -m trainer convert --load-dir checkpoints --iteration 100 --to hf --hf-config Qwen3-0.6B --save-dir out",
    ),
    "export": ("python -m trainer export --job job.json --save-dir out",),
    "merge-lora": ("python -m trainer merge-lora --job job.json --out merged",),
    "inspect": ("python -m trainer inspect checkpoints",),
    "layouts": ("python -m trainer layouts",),
    "bench": ("python -m trainer bench --threads 1", "python -m trainer bench --shape 124M --compiled --peak-tflops 989"),
}
"""Command -> command lines that its help shows; the help of all has the first of each."""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done or stopped as asked, 1 a lost peer or a defect, 2 unusable job file,
    3 refused (TrainerError). After 1 or 3 there may be threads and groups left: ``leave`` is the way out."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser_of(argv).parse_args(argv)

    from trainer.runtime.errors import TrainerError

    try:
        if arguments.command == "train":
            return _train(arguments)
        return int(importlib.import_module(COMMANDS[arguments.command][0]).command(arguments))
    except TrainerError as error:
        print(f"rankdeck: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.EXIT_CODE
    except BrokenPipeError:
        if arguments.command != "inspect":  # of what makes something, nobody knows how far it came
            traceback.print_exc()
            return EXIT_LOST
        # Whoever read it (a pager, head) has enough. Nothing is left to be flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException:  # noqa: BLE001 - the edge of the program; torch has errors that are no Exception
        traceback.print_exc()
        return EXIT_LOST


def parser_of(argv: list[str]) -> argparse.ArgumentParser:
    """The parser; of the commands only the one that is asked for has its own words."""
    offered = {name: told for name, (module, told) in COMMANDS.items() if importlib.util.find_spec(module) is not None}
    parser = argparse.ArgumentParser(
        prog="trainer", description="Train the job of a resolved job file on this rank; make its data and weights.",
        epilog=_shown([EXAMPLES[name][0] for name in ("train", *offered)]), formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in {"train": "train until the last iteration or SIGTERM", **offered}.items():
        added = commands.add_parser(name, help=told, epilog=_shown(EXAMPLES[name]), formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == "train":
            added.add_argument("--job", required=True, metavar="JOB.JSON", help="the resolved job file")
            added.add_argument("--dry-run", action="store_true", help="check the job and say what would be trained; torch is not needed")
        elif argv[:1] == [name]:
            importlib.import_module(COMMANDS[name][0]).arguments(added)
    return parser


def _shown(examples: Iterable[str]) -> str:
    return "\n".join(["examples:", *(f"  {line}" for line in examples)])


def _train(arguments: argparse.Namespace) -> int:
    from trainer.spec.job import SpecError, from_mapping

    try:
        with open(arguments.job, encoding="utf-8") as stream:  # noqa: PTH123
            spec = from_mapping(json.load(stream))
    except (OSError, ValueError) as error:
        lines = [f"{'.'.join(path) or 'job'}: {text}" for path, text in error.problems] if isinstance(error, SpecError) else [
            f"the job file cannot be read (got {getattr(error, 'strerror', None) or error}, expected a resolved job file)"]
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

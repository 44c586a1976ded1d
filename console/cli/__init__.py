"""The command line: arguments in, exit status out. The commands themselves are in the modules beside this.

Standard output is for results (with ``--json`` exactly one document, shapes in ``schema/``), standard error
for everything else. Exit status: 0 fine, 1 the thing asked about is not fine, 2 wrong usage or unreadable
input, 130 interrupted.

At the top nothing is imported but argparse: ``rankdeck --help`` has to answer before a screen library could
even be loaded. Each command imports what it needs when it is run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from console.cli import colleague_arguments, options, stage_arguments, step_arguments

if TYPE_CHECKING:
    from console.core.errors import ConsoleError

HELP = """\
Rankdeck: a terminal console for people who run LLM training on Ascend NPU nodes.

look:
  open      the screen: nodes, NPUs, loss, checkpoints, logs; changes nothing until armed
  status    the same as text or JSON, once
  ps        attempts on the nodes, as the nodes know them
  alarms    what wants attention, and what was said of it; acknowledge, mute
  note      a word to everybody who watches the fleet
  who       which consoles are attached, of whom, and which are armed
  logs      lines of a job's logs: the end, a search, all ranks merged, a copy
  check     whether the nodes are fit to train, what is wrong, what to type
  replay    what happened, from the history, with the same views and a time cursor
  demo      a fleet without hardware, to look at or to rehearse an incident on

train:
  plan      whether a job fits, and exactly what would be executed where
  launch    start a job on all its nodes, or on none
  attach    watch a job to its end
  stop      end a job: SIGTERM, a grace period, SIGKILL
  exec      run one command on one node
  adopt     watch a job that somebody started by hand
  stage     code, trainer, data and images to nodes without internet
  run-step  one step before or after training, alone: workspace, preprocess, convert, export, merge-lora

files:
  export-run  a job's metrics as CSV or TensorBoard event files, from the history
  inspect   what captured output says: log FILE…, npu FILE (npu-smi, hccn_tool), checkpoint DIR; offline
  import    a job file out of launch commands, a docker run line, AscendFactory settings, a HyperPod recipe
  schema    what a job file may hold, and what --json prints, as JSON schema
  layouts   screen layouts to choose from

habits:
  config      your own defaults
  export      Prometheus metrics
  completion  for bash, zsh and fish
  man         all of this as a manual page
"""

EXAMPLES = """\
examples:
  rankdeck demo                                  look around on a fleet of four simulated nodes
  rankdeck open -i fleet.yaml                    watch your own
  rankdeck plan job.yaml -i fleet.yaml           read what would be run
  rankdeck launch job.yaml -i fleet.yaml --wait  run it, and come back when it has ended
  rankdeck status -i fleet.yaml --json           for scripts
  rankdeck COMMAND --help                        the options of a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's); returns its exit status."""
    words = argv = _joined(sys.argv[1:] if argv is None else argv)
    settings = _settings_file(words)
    chinese = _chinese(words)
    if chinese:
        from console.cli import usage

        with usage.chinese():
            args = _parsed(argv, settings, usage.say_in_place)
    else:
        args = _parsed(argv, settings, None)
    if isinstance(args, int):
        return args
    # Only now, and it is small: --help must not pay for it.
    from console.core.errors import ConsoleError

    try:
        try:
            status = int(args.run(args))
        except ConsoleError as error:
            _fail(error, as_json=getattr(args, "json", False), chinese=chinese)
            status = error.exit_code
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        from console.core.i18n import say

        sys.stderr.write(say("interrupted") + "\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (a pager, head): nothing is wrong. Keep the interpreter from saying
        # so once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parsed(argv: Sequence[str], settings: bool, translate: Callable[[argparse.ArgumentParser], None] | None) -> argparse.Namespace | int:
    """The arguments; or an exit status, where there is nothing to run. ``translate``: says a parser's words in another language."""
    parser = build_parser("" if settings or "_ARGCOMPLETE" in os.environ else next(iter(argv), ""))
    if not commands_of(parser):  # an option, or no command of ours: whoever is told so is told of all
        parser = build_parser()
    if translate is not None:
        translate(parser)
    if "_ARGCOMPLETE" in os.environ:
        from console.cli import completion

        completion.complete(parser)
    if settings:
        from console.cli import config
        from console.core.errors import ConsoleError

        try:
            config.adopt(parser)
        except ConsoleError as error:
            _fail(error, as_json=False, chinese=translate is not None)
            return error.exit_code
    args = parser.parse_args(argv)
    if args.run is None:
        parser.print_help(sys.stderr)
        return 2
    return args


def _chinese(words: Sequence[str]) -> bool:
    """Whether help and errors are to be Chinese. Nothing is loaded where there is no sign of it."""
    signs = [*words, *(os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE"))]
    if not any("zh" in sign.lower() for sign in signs) and not os.path.exists(_settings_path()):
        return False
    from console.cli import usage

    return usage.language(words, _settings_path(), os.environ) == "zh"


def _joined(words: Sequence[str]) -> list[str]:
    """``--from -30m`` as one word: argparse takes what begins with a dash for an option of its own."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--from" and word[:1] == "-" and word[1:2].isdigit():
            found[-1] = f"--from={word}"
        else:
            found.append(word)
    return found


def _settings_file(argv: Sequence[str]) -> bool:
    """Whether the operator has settings that matter here. Looked at by hand, so that nothing is loaded for nothing."""
    return not {"-h", "--help", "--version", "config"} & set(argv[:2]) and os.path.exists(_settings_path())


def _settings_path() -> str:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "rankdeck", "config.yaml")


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of ``build_parser`` by name."""
    return next(dict(action.choices) for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def build_parser(only: str = "") -> argparse.ArgumentParser:
    """The whole command line, or with one command alone: all of them take a tenth of the time to the first picture.
    Every command's ``run`` takes the parsed arguments and returns an exit status."""
    parser = argparse.ArgumentParser(prog="rankdeck", usage="rankdeck COMMAND [options]", description=HELP, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--version", action=options.Version)
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="rankdeck", help=argparse.SUPPRESS)

    def add(name: str, run: Any, text: str, *, fleet: bool = False, link: bool = False, as_json: bool = True) -> argparse.ArgumentParser:
        if only not in ("", name):
            return cast("argparse.ArgumentParser", _NotBuilt())
        made = commands.add_parser(name, description=text, allow_abbrev=False)
        made.set_defaults(run=run)
        if fleet:
            # For jobs the fleet may be named in the job file instead.
            made.add_argument("-i", "--inventory", metavar="FLEET", required=name not in ("plan", "launch", "check", "run-step"), help="fleet file (YAML)")
        if link:
            made.add_argument("--accept-new", action="store_true", help="accept host keys that are not known yet, and remember them")
            made.add_argument("--operator", metavar="NAME", default="", help="who you are, for the nodes' audit trail (default: your login)")
        if as_json:
            made.add_argument("--json", action="store_true", help="print one JSON document")
        return made

    opened = add("open", _open, "Show the fleet on the screen. Changes nothing until armed; quitting leaves jobs running.",
                 fleet=True, link=True, as_json=False)
    opened.add_argument("--job", metavar="JOB", default="", help="job file (YAML) to show with its problems and its plan, and to launch from the screen")
    _add_screen(opened)

    replayed = add("replay", _later("replay", "replay"), "Show a run from the history on the same screen, with a time cursor that runs. Connects to nothing.", fleet=True, as_json=False)
    replayed.add_argument("job", metavar="RUN", nargs="?", default="", help="run.name of a job, or an attempt id (default: the newest)")
    replayed.add_argument("--speed", metavar="N", type=options.speed, default=10.0, help="seconds of history a second (default: 10; space holds)")
    replayed.add_argument("--from", dest="begin", metavar="TIME", default="", help="where to begin: HH:MM:SS, or -30m before the end (default: the start)")
    _add_screen(replayed)

    status = add("status", _later("looks", "status"), "Say how the fleet and its newest jobs are. Exit status 1 when something needs attention.", fleet=True, link=True)
    _add_lang(status)
    _add_wait(status)
    listed = add("ps", _later("looks", "ps"), "List the attempts that the nodes know of.", fleet=True, link=True)
    listed.add_argument("--all", action="store_true", help="also those that have ended")
    _add_lang(listed)
    _add_wait(listed)

    checked = add("check", _later("check", "check"), "Say whether the nodes are fit to train, what exactly is wrong, and what to type. Exit status 1 when they are not.",
                  fleet=True, link=True)
    checked.add_argument("--job", metavar="JOB", default="", help="job file (YAML): also its paths, image and interpreter, on its nodes alone")
    checked.add_argument("--level", metavar="LEVEL", choices=("quick", "standard", "deep"), help="quick, standard (default) or deep")
    checked.add_argument("--waive", metavar="ID=REASON", action="append", default=[], help="let a check fail, and say why; may be repeated")
    checked.add_argument("--fix", metavar="ID", default="", help="mend what this check found, where that is safe, after you have confirmed the exact command")
    checked.add_argument("--yes-i-mean", metavar="WORD", default="", help="the node, or the number of nodes, instead of typing it when asked")
    checked.add_argument("--timeout", metavar="S", type=options.seconds, help="seconds for each node (default: 20 to 90, by level and job)")
    _add_lang(checked)

    plan = add("plan", _later("jobs", "plan"), "Check a job and print what launch would write and run on each node, word for word. Connects to nothing, but for an attempt of --diff that only the nodes have.",
               fleet=True, link=True)
    plan.add_argument("job", metavar="JOB", help="job file (YAML)")
    plan.add_argument("--attempt", metavar="ID", default="", help="attempt id to plan with (default: a new one)")
    plan.add_argument("--diff", metavar="ATTEMPT", default="", help="show what differs from an attempt: its id (under paths.work here, or on the nodes), its directory, or a printed plan")
    _add_lang(plan)
    _add_wait(plan)

    launch = add("launch", _later("jobs", "launch"), "Start a job on all its nodes, or on none.", fleet=True, link=True)
    launch.add_argument("job", metavar="JOB", help="job file (YAML)")
    launch.add_argument("--no-check", action="store_true", help="start without looking whether the nodes are fit; the nodes' audit trail says so")
    stay = launch.add_mutually_exclusive_group()
    stay.add_argument("--wait", action="store_true", help="stay until the job has ended; exit status 0 only if it reached its final iteration")
    stay.add_argument("--detach", action="store_true", help="leave as soon as it is started, and to its nodes; the default is to stay until it trains, and to end it everywhere when it fails on one node or this console is killed")
    _add_lang(launch)

    stop = add("stop", _later("stopping", "stop"), "End a job on all its nodes: SIGTERM, a grace period, SIGKILL.", fleet=True, link=True)
    stop.add_argument("job", metavar="JOBNAME", help="run.name of the job")
    stop.add_argument("--grace", metavar="S", type=options.seconds, default=60.0, help="seconds between SIGTERM and SIGKILL (default: 60)")
    stop.add_argument("--keep-container", action="store_true", help="leave the job's containers there, whatever the job file says")
    stop.add_argument("--yes-i-mean", metavar="JOBNAME", default="", help="the job's name once more, instead of typing it when asked")
    _add_lang(stop)
    _add_wait(stop)

    attached = add("attach", _later("execute", "attach"), "Watch a job to its end. Leaving it (Ctrl-C) leaves the job running.", fleet=True, link=True)
    attached.add_argument("job", metavar="JOBNAME", help="run.name of the job")
    _add_lang(attached)
    _add_wait(attached)

    executed = add("exec", _later("execute", "execute"), "Run one command on one node, as the agent's user; the node's audit trail keeps it. Exit status: the command's own.",
                   fleet=True, link=True)
    executed.add_argument("node", metavar="NODE", help="name in the fleet file")
    executed.add_argument("cmd", metavar="-- COMMAND", nargs="+", help="the program and its arguments, as they are; for a shell's line: sh -c '...'")
    executed.add_argument("--yes-i-mean", metavar="NODE", default="", help="the node's name once more, instead of typing it when asked")
    executed.add_argument("--limit", metavar="S", type=options.seconds, default=600.0, help="seconds after which it is given up (default: 600)")
    _add_lang(executed)
    _add_wait(executed)

    adopted = add("adopt", _later("adopt", "adopt"), "Watch what somebody started by hand (a log, a process, a container) like any job. Nothing of it is touched.",
                  fleet=True, link=True)
    adopted.add_argument("job", metavar="JOBNAME", help="what to call it")
    adopted.add_argument("--node", metavar="NODE", action="append", default=[], help="where it runs; may be repeated (default: all nodes)")
    adopted.add_argument("--log", metavar="PATH", action="append", default=[], help="a log on the node; may be repeated")
    adopted.add_argument("--pid", metavar="N", type=options.count, help="a process of the node: it, what it started, and the logs they write")
    adopted.add_argument("--container", metavar="NAME", default="", help="a running container: all that is in it")
    adopted.add_argument("--checkpoint-dir", metavar="PATH", default="", help="where it saves, so that its saves are looked at")
    adopted.add_argument("--attempt", metavar="ID", default="", help="add these nodes to that adopted attempt")
    adopted.add_argument("--release", action="store_true", help="watch it no longer; it runs on")
    _add_lang(adopted)
    _add_wait(adopted)

    staged = add("stage", _later("stage", "stage_command"), "Send code, the trainer, data and images to nodes: by digest, resumed, verified there.", fleet=True, link=True)
    stage_arguments.add_arguments(staged, options.count)
    _add_lang(staged)
    _add_wait(staged)

    stepped = add("run-step", _later("run_step", "run_step"), step_arguments.TEXT, fleet=True, link=True)
    step_arguments.add_arguments(stepped)
    _add_lang(stepped)
    _add_wait(stepped)

    demo = add("demo", _demo, "A fleet of four simulated nodes that really train a small model, over SSH, on this machine.")
    add_demo_arguments(demo)

    imported = add("import", _later("importing", "import_"), "Write a job file out of how something was started so far, and list what could not be carried over.")
    imported.add_argument("file", metavar="FILE", nargs="+", help="each node's commands, a container's line, settings; - is standard input")
    imported.add_argument("-o", "--output", metavar="JOB", default="", help="file to write, never over one (default: standard output)")
    _add_lang(imported)

    add("schema", _later("importing", "schema"), "Print the JSON schema of a job file, or of what a command prints with --json.", as_json=False).add_argument(
        "what", metavar="WHAT", help="job, or a command: plan, launch, status, run-step, ...; a wrong one lists them")

    add("layouts", _later("looks", "layouts"), "List the screen layouts.")
    shown = add("logs", _later("logs", "run"), "Lines of a job's logs, from its nodes: the end, a search made there, all ranks in one order by corrected time, or a copy.",
                fleet=True, link=True)
    shown.add_argument("job", metavar="JOBNAME", help="run.name of the job")
    shown.add_argument("--attempt", metavar="ID", default="", help="attempt (default: the newest)")
    shown.add_argument("--round", metavar="N", type=int, help="round within the attempt (default: the newest)")
    shown.add_argument("--rank", metavar="N", type=int, help="this rank's log (default: the last rank's)")
    shown.add_argument("--merge", action="store_true", help="all ranks' logs")
    shown.add_argument("--lines", metavar="N", type=options.count, default=200, help="lines from the end of each log (default: 200)")
    shown.add_argument("--follow", action="store_true", help="go on until interrupted")
    shown.add_argument("--limit", metavar="S", type=options.seconds, default=0.0, help="with --follow: stop after so many seconds")
    shown.add_argument("--grep", metavar="TEXT", default="", help="only lines with this text, searched on the nodes")
    shown.add_argument("--regex", action="store_true", help="TEXT is a regular expression")
    shown.add_argument("--ignore-case", action="store_true", help="upper and lower case are the same")
    shown.add_argument("--context", metavar="N", type=int, default=0, help="lines shown around each found one (at most 50)")
    shown.add_argument("--most", metavar="N", type=options.count, default=1000, help="found lines of each log (default: 1000)")
    shown.add_argument("--download", metavar="DIR", default="", help="copy the logs there; goes on where an earlier copy broke off")
    _add_lang(shown)
    _add_wait(shown)

    exported = add("export-run", _later("export_run", "run"), "Write a job's metrics from the history on this machine: CSV, or TensorBoard event files. Connects to nothing.")
    exported.add_argument("job", metavar="JOBNAME", help="run.name of the job")
    exported.add_argument("--fleet", metavar="NAME", default="", help="fleet, where several have had a job of that name")
    exported.add_argument("--csv", metavar="FILE", default="", help="file to write; - is standard output (the default)")
    exported.add_argument("--tensorboard", metavar="DIR", default="", help="folder to write event files into, one run for each attempt and one joined")
    exported.add_argument("--attempt", metavar="ID", default="", help="only this attempt (default: all, joined where they resumed)")
    _add_lang(exported)

    if only in ("", "inspect"):
        _add_inspect(commands)
    colleague_arguments.arguments(add, _add_wait, _add_lang)
    _add_habits(add)
    return parser


class _NotBuilt:
    """In place of a command that was not asked for: takes its arguments and keeps none."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self


def _add_habits(add: Any) -> None:
    """What every tool on such a machine has."""
    metrics = add("export", _later("export", "export"), "The fleet's state as Prometheus metrics: once on standard output, or for a scraper until interrupted.",
                  fleet=True, link=True, as_json=False)
    metrics.add_argument("--listen", metavar="[ADDRESS:]PORT", default="", help="serve http://ADDRESS:PORT/metrics (address: 127.0.0.1)")
    metrics.add_argument("-o", "--output", metavar="FILE", default="", help="write the file anew every time, for a node exporter's textfile collector")
    metrics.add_argument("--every", metavar="S", type=options.seconds, default=15.0, help="with --output: seconds between two writes (default: 15)")
    _add_lang(metrics)
    _add_wait(metrics)

    config = add("config", _later("config", "config"), "Your own defaults: what is set and where it stands, or one value set, taken out, or the file in your editor.")
    config.add_argument("what", metavar="WHAT", nargs="?", default="show", choices=["show", "path", "set", "unset", "edit"],
                        help="show (default), path, set, unset, edit")
    config.add_argument("key", metavar="KEY", nargs="?", default="", help="a setting, such as theme or notify.command")
    config.add_argument("value", metavar="VALUE", nargs="?", help="with set")
    _add_lang(config)

    completes = add("completion", _later("completion", "script"), "A script that lets your shell complete commands, options, nodes, jobs and layouts.", as_json=False)
    completes.add_argument("shell", metavar="SHELL", choices=["bash", "zsh", "fish"], help="bash, zsh or fish")

    add("man", _later("manual", "man"), "This command line as a manual page: rankdeck man | man -l -", as_json=False)


def _add_screen(parser: argparse.ArgumentParser) -> None:
    """What the screen can be told, live, in a replay and on the demo."""
    parser.add_argument("--layout", metavar="NAME", default="default", help="one of `rankdeck layouts` (default: default)")
    parser.add_argument("--view", default="", choices=["", "fleet", "launch", "training", "checkpoints", "logs", "incident", "checks", "alarms"], metavar="VIEW",
                        help="begin with a view: fleet, launch, training, checkpoints, logs, incident, checks, alarms (default: the layout)")
    parser.add_argument("--theme", default="", choices=["", "ansi", "dark", "light", "high-contrast", "colour-blind"], metavar="THEME",
                        help="ansi (default), dark, light, high-contrast, colour-blind; NO_COLOR outranks it")
    parser.add_argument("--lang", default="", choices=["", "en", "zh"], metavar="LANG", help="en or zh (default: by LC_ALL, LC_MESSAGES, LANG)")
    parser.add_argument("--fps", metavar="N", type=options.rate, default=10.0, help="most frames a second, 0.2 to 60 (default: 10); a slow line gets fewer by itself")
    parser.add_argument("--plain", action="store_true", help="text instead of a screen, command by command; for screen readers and dumb terminals")
    parser.add_argument("--mouse", action="store_true", help="click panes, lines and cells, and scroll with the wheel; the terminal then selects text only with shift held")
    parser.add_argument("--read-only", action="store_true", help="a console that cannot be armed")


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rankdeck demo``; ``console.lab.demo.main`` takes what they parse to."""
    parser.add_argument("--headless", action="store_true", help="no screen: launch, fault, resume, final iteration, then print what happened")
    parser.add_argument("--iterations", metavar="N", type=options.count, help="length of the job (default: 600, headless 60)")
    parser.add_argument("--save-interval", metavar="N", type=options.count, help="iterations between checkpoints (default: 25, headless 10)")
    parser.add_argument("--fault", metavar="NAME@WHEN", action="append", default=[],
                        help="break something: rank-killed@20 (an iteration), node-gone@30s (a time), random; may be repeated")
    parser.add_argument("--seed", metavar="N", type=int, help="of what --fault random picks (default: a new one, printed at the end)")
    parser.add_argument("--keep", action="store_true", help="leave the fleet and its job running when the screen is closed")
    parser.add_argument("--stop", action="store_true", help="end a demo that was kept running")
    _add_screen(parser)


def _add_lang(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lang", default="", choices=["", "en", "zh"], metavar="LANG", help="en or zh, of what is told (default: by LC_ALL, LC_MESSAGES, LANG); --json is always English")


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", metavar="S", type=options.seconds, default=20.0, help="seconds to wait for the nodes' answers (default: 20)")


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser("inspect", description="Say what captured files hold. Connects to nothing.", allow_abbrev=False)
    inspect.set_defaults(run=None)
    kinds = inspect.add_subparsers(dest="what", metavar="WHAT", required=True, prog="rankdeck inspect")

    def add(name: str, run: Any, text: str, files: str, many: bool) -> None:
        made = kinds.add_parser(name, description=text, allow_abbrev=False)
        made.set_defaults(run=run)
        made.add_argument("files" if many else "file", metavar="FILE", nargs="+" if many else None, help=files)
        made.add_argument("--json", action="store_true", help="print one JSON document")
        _add_lang(made)

    add("log", _later("inspect", "log"), "Iterations, validations, checkpoints and faults in training, plog and system logs. Exit status 1 when there is a "
        "fault that may start an incident.", "log file, or - for standard input", True)
    add("npu", _later("inspect", "npu"), "What npu-smi or hccn_tool printed. Exit status 1 when it is cut short or reports an error.",
        "captured output, or - for standard input", False)
    saves = kinds.add_parser("checkpoint", allow_abbrev=False, description=(
        "Every save below a directory: whole or not and why, its layout and size, the tracker, and which one to go on from. Exit status 1 when "
        "something is wrong. Several directories are taken for the parts of one that lie on several nodes' disks."))
    saves.set_defaults(run=_later("inspect_checkpoint", "run"))
    saves.add_argument("dirs", metavar="DIR", nargs="+", help="checkpoint directory, or copies of it from several nodes")
    saves.add_argument("--at", metavar="N", type=options.count, help="iteration the job has reached: tells what would be lost")
    saves.add_argument("--step-s", metavar="S", type=options.seconds, help="seconds of one iteration, for --at")
    saves.add_argument("--json", action="store_true", help="print one JSON document")
    _add_lang(saves)


def _later(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """A command of a module beside this, which is loaded when it is run."""
    return partial(_run, module, name)


def _run(module: str, name: str, args: argparse.Namespace) -> int:
    return int(getattr(import_module(f"console.cli.{module}"), name)(args))


def _open(args: argparse.Namespace) -> int:
    import gc

    # Importing a screen library allocates much and frees nothing; collecting meanwhile is a tenth of the time
    # to the first picture. ``screen`` switches it on again when that is out.
    gc.disable()
    try:
        from console.cli import screen

        return screen.open_screen(args)
    finally:
        gc.enable()


def _demo(args: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from console.core.errors import FileError

    missing = [name for name in ("asyncssh", "torch", "megatron") if find_spec(name) is None]
    if missing:
        raise FileError("the demo's packages are not installed", got=f"no {', '.join(missing)}",
                        expected="the extra `demo`", fix="Install it with: pip install 'rankdeck[demo]'")
    from console.lab import demo

    return demo.main(args)


def error_mapping(error: ConsoleError) -> dict[str, Any]:
    """An error's four parts, as every command's ``error`` has them (schema/error.schema.json)."""
    import dataclasses

    found: dict[str, Any] = {"what": error.what, "where": error.where, "got": error.got, "expected": error.expected, "fix": error.fix}
    problems = getattr(error, "problems", None)
    return {**found, "problems": [dataclasses.asdict(problem) for problem in problems]} if problems else found


def _fail(error: ConsoleError, *, as_json: bool, chinese: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"ok": False, "error": error_mapping(error)}, indent=2, ensure_ascii=False) + "\n")
        return
    from console.core.spoken import spoken

    if chinese:
        from console.core import i18n
        from console.tui.words import catalogue

        i18n.use(catalogue("zh", os.environ))
    for line in spoken(error).splitlines():
        sys.stderr.write(f"rankdeck: {line}\n")

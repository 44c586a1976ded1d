"""The shim: parents one ranked command, or one of its workers, and writes down how it ended. Knows nothing else.

Self-contained (standard library, Python 3.7, no import of ours): it is copied into the attempt's directory
and runs from there, so no upgrade of the agent ever touches it and no end of the agent ends it.

``shim.py run --dir DIR``
    Leaves its caller (fork, new session, fork), starts ``bash command.sh`` in a process group of its own with
    its output in launcher.log, writes shim.json, waits for the whole group, writes exit-command.json. shim.json
    is created exclusively before the command may begin, so of two shims one starts it and the other leaves.
    Returns to the caller once shim.json is there: exit status 0, or 1 with a line on stderr.

``shim.py rank -- ARGV...``
    torchrun starts it once per worker. Picks the round (the smallest for which local_rank-K.log can be created
    exclusively: torchrun counts restarts differently on different nodes), runs the worker in a process group
    of its own with its output in that log, writes exit-local_rank-K.json, and ends the way the worker ended.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# How long an exit record is tried again when it cannot be written (disk full, server away). A rank's is
# short: torchrun waits for us meanwhile.
_RUN_RETRY_S = 3600.0
_RANK_RETRY_S = 15.0
_ROUNDS = 1000


def write_new(path: str, data: dict) -> bool:
    """Write a JSON file that must not exist yet, whole or not at all; False when the name is taken. Raises OSError."""
    beside = "%s/.%s.%d" % (os.path.dirname(path), os.path.basename(path), os.getpid())
    try:
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError as error:
            # A file system without hard links.
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                return False
            os.rename(beside, path)
        return True
    finally:
        try:
            os.unlink(beside)
        except OSError:
            pass


def write_exit(path: str, data: dict, retry_s: float) -> None:
    """Write an exit record, trying again for a while."""
    end = time.monotonic() + retry_s
    while True:
        try:
            write_new(path, data)
            return
        except OSError as error:
            if time.monotonic() >= end:
                sys.stderr.write("rankdeck shim: %s could not be written: %s\n" % (path, error))
                return
        time.sleep(1.0)


def read_json(path: str) -> dict:
    """The object in a file, empty when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot: proc(5), /proc/PID/stat field 22."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            text = file.read()
    except OSError:
        return None
    return int(text[text.rfind(b")") + 2 :].split()[19])


def boot_id() -> str:
    """This boot's id."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def now_s() -> float:
    """Node wall clock."""
    return time.time()  # noqa: TID251  # exit records carry the node's own time


def number(text: str | None) -> int | None:
    """An environment variable's whole number, None when it is not one."""
    try:
        return int(text or "")
    except ValueError:
        return None


def how(status: int) -> tuple[int | None, int | None]:
    """Exit code and signal of a wait status; one of them is None."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def group_lives(pgid: int) -> bool:
    """Whether a process group has members."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def default_signals() -> None:
    """Signals as a fresh program expects them; Python's ignored SIGPIPE included."""
    for each in _FORWARDED + (signal.SIGPIPE,):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def say_and_leave(text: str) -> None:
    """In a forked child that cannot begin: the reason into its log, status 127 as a shell would."""
    os.write(2, ("rankdeck shim: %s\n" % text).encode("utf-8", "replace"))
    os._exit(127)


def run(folder: str) -> int:
    """Start the ranked command of the attempt in ``folder`` under a detached shim; 0 when it runs or ran already."""
    hear, tell = os.pipe()
    if os.fork():
        os.close(tell)
        ready, _, _ = select.select([hear], [], [], 20.0)
        answer = os.read(hear, 4096).decode("utf-8", "replace") if ready else "no answer from the shim within 20 s"
        if answer == "ok":
            return 0
        sys.stderr.write("rankdeck shim: %s\n" % (answer or "ended before the command could begin"))
        return 1
    os.close(hear)
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        parent(folder, tell)
    except OSError as error:
        os.write(tell, str(error).encode("utf-8", "replace"))
    finally:
        os._exit(1)


def parent(folder: str, tell: int) -> None:
    """Be the shim: start the command, write shim.json, wait, write exit-command.json; never returns."""
    prepared = read_json(folder + "/prepared.json")
    env = dict(os.environ)
    # What finds the attempt's processes; the script sets the rest for itself.
    env.update({"RANKDECK_DIR": folder, "RANKDECK_ATTEMPT": str(prepared.get("attempt", ""))})
    # Orphans of the command come to us, so that its group can be waited for.
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wait_go, go = os.pipe()
    started = now_s()
    # Held until the command hears them: a stop that comes as soon as shim.json is there would hit nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if not child:
        os.close(tell)
        os.close(go)
        os.setpgid(0, 0)
        if os.read(wait_go, 1) != b"g":
            os._exit(0)
        try:
            default_signals()
            log = os.open(folder + "/launcher.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(folder)
            os.execvpe("bash", ["bash", folder + "/command.sh"], env)
        except OSError as error:
            say_and_leave("command.sh could not be started: %s" % error)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    try:
        os.setpgid(child, child)
    except OSError:
        pass  # it did so itself, or has ended
    os.close(wait_go)
    record = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "boot_id": boot_id(), "child_pid": child,
              "child_start_ticks": start_ticks(child), "started": started}
    if not write_new(folder + "/shim.json", record):
        os.close(go)
        os.write(tell, b"ok")
        os._exit(0)
    try:
        os.write(go, b"g")
    except OSError:
        pass  # killed before it could begin; its status says so
    os.close(go)
    os.write(tell, b"ok")
    os.close(tell)
    status, command_ended = wait_for_group(child)
    code, by_signal = how(status)
    write_exit(folder + "/exit-command.json", {
        "job": prepared.get("job"), "attempt": prepared.get("attempt"), "round": None, "scope": "command", "rank": None,
        "local_rank": None, "pid": child, "code": code, "signal": by_signal, "started": started, "ended": now_s(),
        "command_ended": command_ended, "asked": os.path.exists(folder + "/stop.json")}, _RUN_RETRY_S)
    os._exit(0)


def wait_for_group(child: int) -> tuple[int, float]:
    """Wait until a child and all of its process group are gone: the child's wait status, and when it ended.

    A shell that was told to stop dies before the program it runs has stopped; the job has ended only then.
    """
    status, ended = 0, 0.0
    while not ended:
        pid, status_of = os.waitpid(-1, 0)
        if pid == child:
            status, ended = status_of, now_s()
    while group_lives(child):
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pid = 0
        if not pid:
            time.sleep(0.1)
    return status, ended


def open_round(folder: str, local_rank: int) -> tuple[int, str, int]:
    """The next round of this local rank: its number, its directory, and its log, opened. Raises OSError."""
    for place in range(_ROUNDS):
        where = "%s/round-%02d" % (folder, place)
        os.makedirs(where, exist_ok=True)
        try:
            log = os.open("%s/local_rank-%d.log" % (where, local_rank), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
        except FileExistsError:
            continue
        return place, where, log
    raise OSError(errno.EMFILE, "more than %d rounds" % _ROUNDS)


def rank(argv: list[str]) -> int:
    """Run one worker; ends this process the way the worker ended. Returns only 2, when it cannot begin."""
    folder, local_rank = os.environ.get("RANKDECK_DIR"), number(os.environ.get("LOCAL_RANK"))
    if not folder or local_rank is None or not argv:
        sys.stderr.write("rankdeck shim: rank wants RANKDECK_DIR and LOCAL_RANK in the environment and a command behind --\n")
        return 2
    try:
        place, where, log = open_round(folder, local_rank)
    except OSError as error:
        sys.stderr.write("rankdeck shim: no log for local rank %d in %s: %s\n" % (local_rank, folder, error))
        return 2
    env = dict(os.environ, RANKDECK_ROUND=str(place))
    started, us = now_s(), os.getpid()
    # Held until the worker is a group of its own: a signal in between would hit nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if not child:
        try:
            os.setpgid(0, 0)
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != us:
                os._exit(1)
            default_signals()
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.execvpe(argv[0], argv, env)
        except OSError as error:
            say_and_leave("%s could not be started: %s" % (argv[0], error))
    os.close(log)
    try:
        os.setpgid(child, child)
    except OSError:
        pass  # it did so itself, or has ended
    ticks = start_ticks(child)

    def forward(signal_number: int, frame: object) -> None:
        try:
            os.killpg(child, signal_number)
        except OSError:
            pass

    for each in _FORWARDED:
        signal.signal(each, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    _, status = os.waitpid(child, 0)
    code, by_signal = how(status)
    if status:
        # torchrun kills a failed worker's group, and ours is not the worker's: what it left holds the device.
        forward(signal.SIGKILL, None)
    write_exit("%s/exit-local_rank-%d.json" % (where, local_rank), {
        "job": os.environ.get("RANKDECK_JOB"), "attempt": os.environ.get("RANKDECK_ATTEMPT"), "round": place, "scope": "rank",
        "rank": number(os.environ.get("RANK")), "local_rank": local_rank, "pid": child, "code": code, "signal": by_signal,
        "started": started, "ended": now_s(), "asked": os.path.exists(folder + "/stop.json"), "start_ticks": ticks,
        "group_rank": number(os.environ.get("GROUP_RANK")), "world_size": number(os.environ.get("WORLD_SIZE")),
        "local_world_size": number(os.environ.get("LOCAL_WORLD_SIZE")),
        "restart_count": number(os.environ.get("TORCHELASTIC_RESTART_COUNT"))}, _RANK_RETRY_S)
    if by_signal is not None:
        # The worker has dumped its core, if any; ours would only hide it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if by_signal != signal.SIGKILL:
            signal.signal(by_signal, signal.SIG_DFL)
        os.kill(us, by_signal)
        time.sleep(1.0)
        os._exit(128 + by_signal)
    os._exit(code or 0)


def main(argv: list[str]) -> int:
    """Exit status of a role that returns; usage is 2."""
    while True:
        # With standard input closed, the next file opened would be taken for it.
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 2:
            os.close(fd)
            break
    if len(argv) == 3 and argv[:2] == ["run", "--dir"]:
        return run(os.path.abspath(argv[2]))
    if argv[:2] == ["rank", "--"]:
        return rank(argv[2:])
    sys.stderr.write("usage: shim.py run --dir DIR | shim.py rank -- COMMAND [ARGUMENT...]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The agent's node-local state directory: where things lie in it, its socket and its lock. Refuses to share it.

The directory is 0700 and must belong to the caller: it lies in a place where everybody may create names,
and whoever owns it could speak as the agent. It must be on a local disk (flock and SQLite's WAL are not to
be trusted on NFS). Socket addresses hold at most 107 bytes, so the socket is reached through
``/proc/self/fd/N``, however long the directory's own path is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat

from agent import disk


class HomeError(Exception):
    """The state directory cannot be used; the text says which, why and what to do."""


def default_path() -> str:
    """RANKDECK_STATE, or ``/var/tmp/rankdeck-<uid>``."""
    return os.environ.get("RANKDECK_STATE") or "/var/tmp/rankdeck-%d" % os.getuid()


class Home:
    """Paths inside one state directory. ``Home(path)`` creates it (0700). Raises HomeError."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.attempts = os.path.join(self.path, "attempts")
        self.locks = os.path.join(self.path, "locks")
        self.containers = os.path.join(self.path, "containers")
        self.spool = os.path.join(self.path, "spool.db")
        self.log = os.path.join(self.path, "resident.log")
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            _make_private(self.path)
            self._check()
            _make_private(self.attempts)
            _make_private(self.locks)
        except OSError as error:
            raise HomeError("state directory %s: %s; choose another with --state or RANKDECK_STATE" % (self.path, error.strerror))

    def _check(self) -> None:
        found = os.lstat(self.path)
        if not stat.S_ISDIR(found.st_mode):
            raise HomeError("state directory %s is not a directory; choose another with --state or RANKDECK_STATE" % self.path)
        if found.st_uid != os.getuid():
            raise HomeError(
                "state directory %s belongs to uid %d, not to %d; choose another with --state or RANKDECK_STATE"
                % (self.path, found.st_uid, os.getuid())
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.chmod(self.path, 0o700)

    def take_lock(self) -> int | None:
        """The file descriptor that holds the resident's lock until this process ends; None when another holds it."""
        fd = os.open(os.path.join(self.path, "lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise
        return fd

    def sweep(self) -> None:
        """Remove the files that a killed resident had begun to write. Only for who holds the lock. Raises OSError."""
        for folder in (self.attempts, self.locks, self.containers):
            disk.sweep(folder)

    def listen(self) -> socket.socket:
        """A listening socket at ``sock`` (0600), in the place of a dead one. Only for who holds the lock."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fresh = "sock.%d" % os.getpid()
            try:
                os.unlink(fresh, dir_fd=folder)
            except FileNotFoundError:
                pass
            listener.bind("/proc/self/fd/%d/%s" % (folder, fresh))
            os.chmod(fresh, 0o600, dir_fd=folder)
            listener.listen(64)
            # Under its name only once it answers: who connects finds nothing or somebody.
            os.rename(fresh, "sock", src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            listener.close()
            raise
        finally:
            os.close(folder)
        listener.setblocking(False)
        return listener

    def connect(self, timeout_s: float) -> socket.socket:
        """A connection to the resident. Raises OSError when there is none."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            link.settimeout(timeout_s)
            link.connect("/proc/self/fd/%d/sock" % folder)
        except BaseException:
            link.close()
            raise
        finally:
            os.close(folder)
        return link

    def unlisten(self) -> None:
        """Take the socket's name away. Only for who holds the lock."""
        try:
            os.unlink(os.path.join(self.path, "sock"))
        except OSError:
            pass


def _make_private(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass

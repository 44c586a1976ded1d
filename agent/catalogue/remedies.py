"""What may be done to a node to make it fit, and the exact command for it. Pure.

Owns the closed list of remedies. The console shows the command; the agent builds it again from the same
table and refuses when it is not the one that was confirmed. Refuses everything that ends a process,
installs a package or resets a device.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, List, Tuple

_IMAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}$")
_PORTS = re.compile(r"^[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?){0,99}\Z")
_ENGINES = ("docker", "podman")


class RemedyError(ValueError):
    """There is no such remedy, or not for that subject."""


def argv(name: str, subject: str) -> List[str]:
    """The command of a remedy. Raises RemedyError.

    ``ip-forward``: subject empty. ``mkdir``: an absolute path, or one beginning with ``~/`` (the home of who
    runs it). ``image-pull``: ``docker IMAGE`` or ``podman IMAGE``. ``reserve-ports``: all ports that are to be
    reserved from then on (``29500,60000-60015``); the kernel's list is replaced.
    """
    if name not in REMEDIES:
        raise RemedyError("there is no remedy %s, only %s" % (name, ", ".join(sorted(REMEDIES))))
    return REMEDIES[name][1](subject)


def _ip_forward(subject: str) -> List[str]:
    if subject:
        raise RemedyError("ip-forward has no subject")
    return ["sysctl", "-w", "net.ipv4.ip_forward=1"]


def _reserve(subject: str) -> List[str]:
    numbers = [int(word) for word in re.split("[,-]", subject)] if _PORTS.match(subject) else []
    if not numbers or max(numbers) > 65535 or min(numbers) < 1:
        raise RemedyError("ports are numbers and ranges such as 29500,60000-60015, not %r" % subject[:80])
    return ["sysctl", "-w", "net.ipv4.ip_local_reserved_ports=" + subject]


def _mkdir(subject: str) -> List[str]:
    parts = subject.split("/")
    if not subject.startswith(("/", "~/")) or ".." in parts or "\0" in subject or "\n" in subject or subject.strip("/~") == "":
        raise RemedyError("a directory is an absolute path without .., not %r" % subject)
    return ["mkdir", "-p", "--", subject]


def _pull(subject: str) -> List[str]:
    engine, _, image = subject.partition(" ")
    if engine not in _ENGINES or not _IMAGE.match(image):
        raise RemedyError("an image is pulled by docker or podman and has a plain name, not %r" % subject)
    return [engine, "pull", image]


REMEDIES: Dict[str, Tuple[float, Callable[[str], List[str]]]] = {
    "ip-forward": (10.0, _ip_forward), "mkdir": (20.0, _mkdir), "image-pull": (3600.0, _pull),
    "reserve-ports": (10.0, _reserve),
}
"""Name -> (seconds it may take, its command)."""

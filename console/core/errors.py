"""The console's errors.

::

    ConsoleError            the operator can do something about it: four parts, shown as they are
      FileError             a job, fleet or layout file is wrong (usage: exit 2)
      ConnectError          a node cannot be reached or will not let us in
        HostKeyError        ... because its host key is unknown or has changed
      RequestError          an agent refused or failed a request
      LaunchError           a launch did not come up and was undone

A sick node is an event, not an exception.
"""

from __future__ import annotations


class ConsoleError(Exception):
    """What failed, where, got against expected, and the next move."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", got: str = "", expected: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.got, self.expected, self.fix = what, where, got, expected, fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.got or self.expected:
            text += f" (got {self.got or 'nothing'}" + (f", expected {self.expected})" if self.expected else ")")
        return f"{text}. {self.fix}" if self.fix else text


class FileError(ConsoleError):
    """A file that cannot be read as what it should be."""

    exit_code = 2


class ConnectError(ConsoleError):
    """No connection to a node."""


class HostKeyError(ConnectError):
    """The host key is unknown or not the one we know; ``fingerprint`` is what the host showed (SHA256:...)."""

    def __init__(self, what: str, *, fingerprint: str, where: str = "", got: str = "", expected: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, got=got, expected=expected, fix=fix)
        self.fingerprint = fingerprint


class RequestError(ConsoleError):
    """An agent's ``res`` with ok false."""


class LaunchError(ConsoleError):
    """A launch that was rolled back; ``node`` and ``phase`` say where it stopped."""

    def __init__(self, what: str, *, node: str, phase: str, where: str = "", got: str = "", expected: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, got=got, expected=expected, fix=fix)
        self.node, self.phase = node, phase

"""paramiko's transport with two faults of its login mended. Imports paramiko: import this only inside functions.

The plain ``Transport`` asks for the login service anew with every key that it offers; some servers
(asyncssh) take the second request for a protocol error and hang up, so only the first key ever has a
chance. ``ServiceRequestingTransport`` asks once, but waits for the answer without a limit, and begins to
wait for the outcome of a login only after having sent it, so that a quick answer is missed and the login
times out. Both are so in paramiko 3.2 to 5.1. When upstream asks once and sets ``auth_event`` before it
sends, this file can go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.common import cMSG_SERVICE_REQUEST, cMSG_USERAUTH_REQUEST
from paramiko.message import Message

_POLL_S = 0.01


class _Handler(AuthOnlyHandler):
    def send_auth_request(self, username: str, method: str, finish_message: Callable[[Message], Any] | None = None) -> list[str]:
        """Offer one login and wait for its outcome (RFC 4252, section 5): [] when we are in."""
        self.auth_method, self.username = method, username
        message = Message()
        message.add_byte(cMSG_USERAUTH_REQUEST)
        for text in (username, "ssh-connection", method):
            message.add_string(text)
        if finish_message is not None:
            finish_message(message)
        self.auth_event = threading.Event()
        with self.transport.lock:
            self.transport._send_message(message)  # type: ignore[attr-defined]  # the stubs leave it out
        return list(self.wait_for_response(self.auth_event))


class LoginTransport(paramiko.ServiceRequestingTransport):  # type: ignore[name-defined, misc]  # the stubs leave it out
    """See the module."""

    def ensure_session(self) -> None:
        """Ask for the login service if that was not done yet. Raises SSHException after ``auth_timeout``."""
        if not self.active or not self.initial_kex_done:
            raise paramiko.SSHException("no session to log in to")
        if self._service_userauth_accepted:
            return
        message = Message()
        message.add_byte(cMSG_SERVICE_REQUEST)
        message.add_string("ssh-userauth")
        self._send_message(message)
        deadline = time.monotonic() + self.auth_timeout
        while not self._service_userauth_accepted:
            if not self.active:
                raise self.get_exception() or paramiko.SSHException("the server hung up before the login")
            if time.monotonic() >= deadline:
                raise paramiko.SSHException("the server does not begin the login")
            time.sleep(_POLL_S)
        self.auth_handler = self.get_auth_handler()

    def get_auth_handler(self) -> AuthOnlyHandler:
        """The mended one."""
        return _Handler(self)

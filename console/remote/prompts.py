"""What a login may ask of the person at the console: one-time codes, passphrases, a touch of a security key.

Owns the question's shape and the way by which the system's ``ssh`` puts one to us: a socket in a private
directory and a program beside it (SSH_ASKPASS). Refuses to keep an answer, and to log one.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from console.remote import askpass

QUESTION_LIMIT = 16 << 10
PICK_UP_S = 5.0
"""How long the asking program may take to say its question; it has it ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing a server, or ssh for itself, wants to know."""

    node: str
    text: str
    """As the server worded it: not to be trusted, and to be shown as text."""
    echo: bool = False
    """Whether the answer may be seen while it is typed."""


Prompt: TypeAlias = Callable[[Question], "str | None"]
"""Puts a question to the person and waits; None: no answer, the login is given up."""


class AskDesk:
    """Answers the questions of one ``ssh`` process, in a thread, until closed."""

    def __init__(self, folder: Path, node: str, prompt: Prompt) -> None:
        """``folder`` is private (0700) and its path short: a socket's name holds 107 bytes. Raises OSError."""
        self._node, self._prompt = node, prompt
        self._closing = threading.Event()
        self._asking = 0.0
        self._spent = 0.0
        path = folder / "ask"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._listener.setblocking(False)
        self.program = folder / "askpass"
        # -I: nothing of the user's Python environment is run between a password and its reader.
        words = (sys.executable, askpass.__file__, str(path))
        if any("'" in word for word in words):
            raise OSError(f"a path of ours has an apostrophe: {words}")
        self.program.write_text("#!/bin/sh\nexec '{}' -I '{}' '{}' \"$1\"\n".format(*words))
        self.program.chmod(0o700)
        self._thread = threading.Thread(target=self._serve, name=f"questions of {node}", daemon=True)
        self._thread.start()

    def environment(self) -> dict[str, str]:
        """What makes ``ssh`` ask us instead of a terminal (ssh(1), SSH_ASKPASS_REQUIRE: OpenSSH 8.4)."""
        # Before 8.4 ssh asks a program where it has no terminal and believes in a display.
        return {"SSH_ASKPASS": str(self.program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": os.environ.get("DISPLAY") or ":0"}

    def waited_s(self) -> float:
        """How long the person has been thinking so far: time that is not the server's."""
        asking = self._asking
        return self._spent + (time.monotonic() - asking if asking else 0.0)

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._closing.is_set():
                if not selector.select(0.2):
                    continue
                try:
                    link, _ = self._listener.accept()
                except OSError:
                    continue
                with link:
                    self._converse(link)

    def _converse(self, link: socket.socket) -> None:
        try:
            link.settimeout(PICK_UP_S)
            text = b""
            while not text.endswith(b"\0") and len(text) < QUESTION_LIMIT:
                data = link.recv(4096)
                if not data:
                    return
                text += data
            hint, _, asked = text.rstrip(b"\0").decode("utf-8", "replace").partition("\n")
            self._asking = time.monotonic()
            answer = self._prompt(Question(node=self._node, text=asked.strip(), echo=hint in ("confirm", "none")))
            link.sendall(b"-" if answer is None else b"+" + answer.encode("utf-8", "surrogateescape"))
        except OSError:
            return  # ssh has given up, or was ended
        finally:
            if self._asking:
                self._spent, self._asking = self.waited_s(), 0.0

    def close(self) -> None:
        """Answer no more; a question that is open stays the person's to close."""
        self._closing.set()
        self._listener.close()

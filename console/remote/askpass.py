"""The program that ``ssh`` runs to ask something: carries the question to the console and the answer back.

Run by its path with ``python -I``, so it imports nothing of ours. Arguments: the console's socket, the
question. Prints the answer; exit status 1 when there is none (ssh then gives up). SSH_ASKPASS_PROMPT says
what kind of question it is (ssh(1)): empty, ``confirm`` or ``none``.
"""

import os
import socket
import sys


def main(argv: list[str]) -> int:
    """Exit status."""
    if len(argv) != 3:
        return 2
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.connect(argv[1])
            hint = os.environ.get("SSH_ASKPASS_PROMPT", "")
            link.sendall(f"{hint}\n{argv[2]}".replace("\0", "").encode("utf-8", "surrogateescape") + b"\0")
            answer = b""
            while data := link.recv(4096):
                answer += data
        except OSError:
            return 1
    if not answer.startswith(b"+"):
        return 1
    sys.stdout.buffer.write(answer[1:] + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

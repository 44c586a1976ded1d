"""The agent's command line: install, attach, resident. Refuses everything else with exit status 2.

``install AGENT_DIR HASH``                  from the archive: unpack it (agent.install)
``attach --state DIR --hash HASH [...]``    bridge stdio to the resident, starting one if there is none
``resident --state DIR --hash HASH [...]``  be the resident, in the foreground

``--state`` is RANKDECK_STATE or /var/tmp/rankdeck-<uid> when not given. The other options are those of
``agent.resident.Options`` (``--npu-s 2``, ``--idle-s 600``, ...), also as RANKDECK_NPU_S and so on; attach
hands them on to a resident that it starts.
"""

from __future__ import annotations

import os
import sys

_OPTIONS = ("hash", "npu-s", "host-s", "idle-s", "silent-s", "cap-bytes", "npu-timeout-s", "network-s", "containers-s",
            "occupancy-s", "health-s")
_USAGE = "usage: install AGENT_DIR HASH | attach [--state DIR] [--hash HASH] [...] | resident [--state DIR] [--hash HASH] [...]\n"


def main(argv: list[str] | None = None) -> int:
    """Exit status of the command in ``argv`` (without the program)."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) == 3 and words[0] == "install":
        from agent.install import install

        return install(os.path.abspath(sys.argv[0]), words[1], words[2])
    given = _given(words[1:])
    if not words or words[0] not in ("attach", "resident") or given is None:
        sys.stderr.write(_USAGE)
        return 2
    from agent.home import default_path

    state = given.pop("state", None) or default_path()
    if words[0] == "attach":
        from agent.attach import attach

        return attach(state, [word for name in sorted(given) for word in ("--" + name, given[name])])
    return _resident(state, given)


def _resident(state: str, given: dict[str, str]) -> int:
    from agent.home import HomeError
    from agent.resident import Options, serve

    for name in _OPTIONS:
        from_env = os.environ.get("RANKDECK_" + name.replace("-", "_").upper())
        if from_env and name not in given and name != "hash":
            given[name] = from_env
    try:
        options = Options(**{name.replace("-", "_"): value for name, value in given.items()})
        return serve(state, options)
    except (HomeError, OSError, ValueError) as error:
        sys.stderr.write("rankdeck agent: %s\n" % error)
        return 2


def _given(words: list[str]) -> dict[str, str] | None:
    """--name value pairs; None when they are not."""
    found = {}
    for name, value in zip(words[::2], words[1::2]):
        if not name.startswith("--") or name[2:] not in _OPTIONS + ("state",):
            return None
        found[name[2:]] = value
    return found if len(words) % 2 == 0 else None


if __name__ == "__main__":
    sys.exit(main())

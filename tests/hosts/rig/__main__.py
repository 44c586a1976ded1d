"""By hand: ``python -m tests.hosts.rig up`` holds a rig until Ctrl-C; ``sweep`` removes what killed rigs left."""

from __future__ import annotations

import shlex
import signal
import sys

from tests.hosts.rig.rig import Rig, sweep


def main(arguments: list[str]) -> int:
    """0, or 2 for wrong usage."""
    if arguments == ["sweep"]:
        for name in sweep():
            print(f"removed {name}")
        return 0
    if arguments != ["up"]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with Rig() as rig:
            known_hosts = rig.known_hosts("known_hosts")
            print(f"rig in {rig.folder}; for instance:")
            print(" ", shlex.join([*rig.network.enter("client"), "ssh", "-F", "none", "-i", str(rig.key), "-o", f"UserKnownHostsFile={known_hosts}",
                                   f"root@{rig.bastion.address}"]), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How much longer ``rankdeck check`` takes on 32 real SSH hosts than its slowest node: root and network namespaces.

Every host is an OpenSSH server in a network namespace of its own behind a bastion, with an agent of its own; all
of them share this machine's cores, so that the nodes' own times are far above those of real ones. Compared is the
time from starting the command until its document is there with the slowest node's time plus one second.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench.result import Result, Samples, Skipped, ratio

COUNT = 32
ALLOWED_S = 1.0
ROUNDS = 5
"""At most: each is 32 agents' work."""


def run(rounds: int) -> Result:
    """Wall seconds of the command, and of its slowest node. The first round, which installs the agents, is apart."""
    from tests.hosts.crowd import Crowd
    from tests.hosts.rig.rig import Rig, missing

    reason = missing()
    if reason:
        raise Skipped(reason)
    python = next(found for found in (shutil.which("python3", path="/usr/bin:/bin"), os.path.realpath(sys.executable)) if found)
    with tempfile.TemporaryDirectory() as folder, Rig([f"n{number}" for number in range(1, COUNT + 1)]) as rig:
        crowd = Crowd(rig, Path(folder), python)
        asked = [crowd.check("--timeout", "60") for _ in range(1 + min(rounds, ROUNDS))]
    for one in asked:
        if not all(node["reached"] for node in one.document["nodes"]):
            raise ValueError("not every node was reached")
    installing, warm = asked[0], asked[1:]
    taken = Samples(name="document there", unit="s", values=tuple(one.told_s for one in warm))
    allowed = Samples(name=f"slowest node + {ALLOWED_S:g} s", unit="s", values=tuple(one.slowest_s + ALLOWED_S for one in warm))
    first = Samples(name="the same, agents installed first", unit="s", values=(installing.told_s,))
    first_allowed = Samples(name=f"slowest node + {ALLOWED_S:g} s, then", unit="s", values=(installing.slowest_s + ALLOWED_S,))
    left = Samples(name="command ended", unit="s", values=tuple(one.ended_s for one in warm))
    return Result(samples=(taken, allowed, first, first_allowed, left),
                  ratios=(ratio("document over slowest node + 1 s", taken, allowed, at_most=1.0),
                          ratio("the same, agents installed first", first, first_allowed, at_most=1.0)),
                  notes=(f"{COUNT} hosts on the {os.cpu_count()} cores of this machine",))

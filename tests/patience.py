"""How long a test waits for what is to come about. Python 3.7 syntax: the agent's tests read it too.

Not a measure of anything: a wait ends as soon as what it waits for is there, and only what fails takes so long.
The machine that runs the tests may be busy with other things, and everything on it stand still for seconds.
"""

from __future__ import annotations

PATIENCE_S = 100.0

"""Rankdeck's node agent: observes one node and starts ranked jobs on it.

Runs on the node with the node's own ``python3 -I`` (3.7 or later, standard library only). Three roles
in one program: ``shim`` (one per attempt and node, parents the ranked command), ``resident`` (one per
node and user, observes and keeps the spool) and ``attach`` (bridges SSH's stdio to the resident).

``REVISION`` orders agents: a resident is replaced only by an agent of a higher revision, so an older
console can never push an older program over a newer one. Raise it with every change of behaviour that
a running resident should pick up.
"""

REVISION = 1

"""What launchers, engines and loggers put before every line, so before every piece of a line that was wrapped.

Owns telling whether two lines have such a beginning in common. Refuses to read what it says (``text`` does).
Pure; never raises.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

# Each one with a blank behind it, if it has one; the group is what differs from line to line: a time, a number.
_ONE = re.compile(
    r"(?:([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2}))(?: std(?:out|err) [FP])? ?"    # docker logs --timestamps, containerd
    r"|(\[?[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T_][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?\]?)(?:(?: - [\w.]{1,60})? - [A-Z]{4,8} -)? ?"    # loggers
    r"|\[[a-z]+ ?[0-9]{1,6}\]: ?|\[Rank [0-9]{1,6}\]:? ?"    # torch's "[rank3]: ", torchrun's "[default7]:"
    r"|\[[0-9]{1,4},[0-9]{1,6}\]<std(?:out|err)>: ?"    # mpirun --tag-output
    r"|\([\w.]{1,60},? pid=[0-9]{1,10}[^()\n]{0,80}\) ?"    # ray
    r"|\[pod/[^\]\s]{1,200}\] ?|[A-Za-z][\w.-]{0,62}[0-9] {1,20}\| ?"    # kubectl logs --prefix, docker compose
    r"|[A-Za-z][\w.-]{0,62}[0-9]: |[0-9]{1,3}(?:\.[0-9]{1,3}){3}: "    # pdsh: the node
    r"|( {0,8}[0-9]{1,9})(?:\t|: ?(?![0-9]{2}:)))")    # srun --label; cat -n, grep -n
_MOST = 5


def length(text: str, other: str, behind: int = 1) -> int:
    """So many characters at the beginning of ``other`` are what stands before ``text`` as well; 0 where there is nothing.

    ``behind``: so many lines ``other`` is behind ``text``. A number before both is the same, or they are numbered.
    """
    place = 0
    for (mine, number, _), (theirs, its, end) in zip(_chain(text), _chain(other)):
        if mine != theirs or (number is not None and its not in (number, number + behind)):
            break
        place = end
    return place


def _chain(text: str) -> List[Tuple[str, Optional[int], int]]:
    """[(one such beginning, with what differs from line to line left out; the number in it; where it ends)]"""
    found: List[Tuple[str, Optional[int], int]] = []
    place = 0
    while len(found) < _MOST:
        one = _ONE.match(text, place)
        if one is None:
            break
        varying = next((group for group in one.groups() if group), "")
        found.append((one.group().replace(varying, "#").strip() if varying else one.group().strip(), int(one.group(3)) if one.group(3) else None, one.end()))
        place = one.end()
    return found

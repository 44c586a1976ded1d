"""What launchers, engines and loggers put before every line, so before every piece of a line that was wrapped.

Owns telling whether two lines have such a beginning in common. Refuses to read what it says (``text`` does).
Pure; never raises.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T" + _CLOCK + r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_TAG = r"[\w./-]{1,64}"
# Each one with a blank behind it, if it has one; the group is what differs from line to line: a time, a number.
_BARE = (
    r"<[0-9]{1,3}>1 (" + _ISO + r") " + _TAG + " " + _TAG + r" (?:[0-9]{1,9}|-) \S{1,32} -(?: |\Z)"    # RFC 5424
    r"|\[?(" + _ISO + r")\]?(?: std(?:out|err) [FP]| [0-9]{2}[OE](?= ))? ?"    # docker logs --timestamps, containerd, pipelines
    r"|([A-Z][a-z]{2} [ 0-9][0-9] " + _CLOCK + r" |1[0-9]{9}\.[0-9]{3,9} )" + _TAG + " " + _TAG + r"(?:\[[0-9]{1,9}\])?: ?"    # syslog, the journal with seconds
    r"|" + _TAG + " " + _TAG + r"\[[0-9]{1,9}\]: ?"    # the journal's behind its time
    r"|(\[?[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T_]" + _CLOCK + r"\]?)(?: [+-][0-9]{4})?(?: (?!INFO|WARN)[A-Z]{3,4}(?= ))?%s ?"    # loggers
    r"|([\[]?" + _CLOCK + r"\]?) "
    r"|\[[a-z]+ ?[0-9]{1,6}\]: ?|\[Rank [0-9]{1,6}\]:? ?"    # torch's "[rank3]: ", torchrun's "[default7]:"
    r"|\[[0-9]{1,4},[0-9]{1,6}\]<std(?:out|err)>: ?|std(?:out|err): ?"    # mpirun --tag-output, accelerate
    r"|\([\w.]{1,60},? pid=[0-9]{1,10}[^()\n]{0,80}\) ?"    # ray
    r"|\[pod/[^\]\s]{1,200}\] ?|[A-Za-z][\w.-]{0,62}[0-9] {1,20}\| ?"    # kubectl logs --prefix, docker compose
    r"|[\w./-]{1,200}\.(?:log|out|err|txt):(?:([0-9]{1,9})[:-])?"    # grep -H, with and without -n
    r"|[\w -]{1,60}\t[\w -]{1,60}\t(?=[0-9]{4}-)"    # a pipeline's job and step
    r"|[A-Za-z][\w.-]{0,62}[0-9]: |[0-9]{1,3}(?:\.[0-9]{1,3}){3}: "    # pdsh: the node
    r"|(?:> ?){1,3}"    # a mail, a comment in mark-down
    r"|(?P<number> {0,8}[0-9]{1,9})(?:\t|: ?(?![0-9]{2}:))")    # srun --label; cat -n, grep -n
_LEVELS = r"(?:(?: - [\w.]{1,60})? - [A-Z]{4,8} -| \| [A-Z]{4,8} {0,8}\| [\w.:<>]{1,80} -| (?:INFO|WARNING|ERROR|DEBUG)(?: \[[\w.:/-]{1,80}\])?(?= ))?"
_ONE = re.compile("(?:" + _BARE % _LEVELS + r"|([IWEF][0-9]{4} " + _CLOCK + r" {1,7}[0-9]{1,9} )[\w./-]{1,80}:[0-9]{1,6}\] ?|(?:INFO|WARNING|ERROR|DEBUG):[\w.]{1,60}:)")
_ONE_BARE = re.compile("(?:" + _BARE % "" + ")")
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
        varying, number = next((group for group in one.groups() if group), ""), one.group("number")
        found.append((one.group().replace(varying, "#").strip() if varying else one.group().strip(), int(number) if number else None, one.end()))
        place = one.end()
    return found


def behind(text: str) -> int:
    """Where a line's own text begins: behind all that launchers and engines put before it. What a logger says of it,
    its level above all, is its own."""
    place = 0
    for _ in range(_MOST):
        one = _ONE_BARE.match(text, place)
        if one is None or one.end() == place:
            break
        place = one.end()
    return place

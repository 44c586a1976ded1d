"""An output as it was passed on: what pdsh, ansible, kubectl, srun, a mail or a log put before every line, taken off again.

Owns the forms of those marks, and the joining of a table's rows that a narrow terminal broke. Refuses to read what stands behind them; of several nodes' outputs in one text
the first node's is kept, as of several tables the first is read. Never raises.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import List, Optional, Tuple

from agent.parse import pasted
from agent.parse.text import unboxed, uncoloured

# "node-1: " (pdsh, ansible, clush), "npu-1  | " (compose), "node-1<TAB>" (parallel --tag)
_NODE = re.compile(r"([A-Za-z][\w.-]{0,63}): ?")
_TAGGED = re.compile(r"([A-Za-z][\w.-]{0,63})(?: {0,12}\| ?|\t|(?=\s*\Z))")
_MARKS = (
    re.compile(r" {0,16}(?:> ?){1,3}"),                                 # a mail
    re.compile(r" {0,16}(?:[#+*]|//|--|;)(?: |(?=\s*\Z))"),         # a comment, a patch
    re.compile(r"\[[0-9]{1,4},[0-9]{1,6}\]<std(?:out|err)>: ?"),        # mpirun
    # "[default0]:" (torchrun), "[pod/train-0/main] " (kubectl --prefix), "[2025-03-01 10:00:00] " (ts); hccn_tool's own names a device
    re.compile(r"\[(?!dev(?:id|ice) )[^\[\]|]{1,160}\]:? ?"),
    re.compile(r"\((?:\w{1,40} )?pid=[0-9]{1,10}[^()]{0,60}\) ?"),      # ray
    re.compile(r" {0,8}[0-9]{1,6}(?:\t|: ?|(?=\s*\Z))"),                # cat -n, srun --label, grep -n
    re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}: ?"),                    # pdsh by address
    # An engine's log (with the stream behind the time), a logger's time
    re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})? ?(?:std(?:out|err) [FP] )?"),
    # The journal, syslog; not the key of an output behind a bare time
    re.compile(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} \S{1,64} (?!(?:status|address|mode|info|gateway|statistics):)[\w./-]{1,64}(?:\[[0-9]{1,9}\])?: ?"),
    re.compile(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} ?"),
)
# These no tool prints before a line of its own, so that one line is enough to know them.
_CLEAR = (_MARKS[2], _MARKS[4], _MARKS[7], _MARKS[8], re.compile(r"\[(?:[a-z]{2,20}[0-9]{1,6}|pod/[^\[\]|]{1,160}|[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T _][0-9:.,]{8,15}[Z0-9:+-]{0,6})\]:? ?"))
_TWICE = 2
"""So many marks may stand before one another: kubectl's, and the time of the engine's log."""
# "node1 | CHANGED | rc=0 >>": ansible's line above the output, which looks like a row of a table
_ANSIBLE = re.compile(r"(?m)^[\w.-]{1,64} \| [A-Z]+!? \| rc=\d{1,3} >>[ \t]*\r?\n")
_REFUSED = re.compile(r"non-zero return code\s*\Z")    # what ansible writes behind the last line then, without a newline between
_BORDER = re.compile(r"\+[-=]{20,}")
_TITLES = re.compile(r"\s{0,20}(?:NPU ID {2,40}\S|NpuID\(Idx\) {1,20}\S|((?:NPU|Phy-ID)0[ \t]{1,20}(?:NPU|Phy-ID)1\b))")
_TITLE_GOES_ON = re.compile(r"[ \t]{0,30}[A-Za-z(%)]")
_TITLE_ENDS = re.compile(r" (?:ID|Logic|Phy-ID|Name|Core|Cpu|BW|Util|Cube|Affinity)\b")
# Of the links between devices: a row begins with a device, too, but has links behind it.
_LINKS_GO_ON = re.compile(r"[ \t]{0,30}(?:(?:NPU|Phy-ID|NIC)?[0-9]{1,3}[ \t]{1,20}){0,16}(?:(?:NPU|Phy-ID|NIC)[0-9]{1,3}|(?:CPU )?Affinity)\s*\Z")
_ROW = re.compile(r"[ \t]{0,20}(?:NPU|Phy-ID|NIC)?[0-9]{1,9}[ \t]")
_BORDER_PIECE = re.compile(r"^[-=+]+\s*$")
_PIECES = 4
_KEYS = frozenset(("ipaddr", "netmask", "Speed", "Temperature", "Health"))


def bare(text: str) -> str:
    """The text without what was put before every line of it, or blank between any two, in passing it on; else as it is."""
    text = pasted.page(uncoloured(text))
    if text.startswith('{"log":"'):    # an engine's own file
        text = "".join(unboxed(line) + "\n" for line in text.splitlines())
    lines = pasted.listed(text.splitlines(True))
    if len(lines) >= 6 and not "".join(lines[1::2]).strip():
        lines = lines[::2]
    for _ in range(_TWICE):
        stripped = pasted.without_margin(lines) or _stripped(lines)
        if stripped is None:
            break
        lines = stripped
    text = "".join(lines)
    if "rc=" in text and _ANSIBLE.search(text):
        text = _REFUSED.sub("\n", _ANSIBLE.sub("", text))
    return text


def unwrapped(text: str) -> str:
    """The text with the rows of a table put together that a terminal narrower than the table broke.

    A terminal breaks every row at the same column, and drops the blanks at the end of a line.
    """
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if _BORDER.match(line)), None)
    if first is None or lines[first].rstrip().endswith("+"):
        return text
    width = len(lines[first].rstrip())
    pieces = next((count for count in range(2, _PIECES + 1) if first + count <= len(lines) and lines[first + count - 1].rstrip().endswith("+")), None)
    if pieces is None or not all(_BORDER_PIECE.match(line) for line in lines[first:first + pieces]):
        return text
    joined = lines[:first]
    place = first
    while place < len(lines):
        row = lines[place:place + pieces] if lines[place][:1] in ("+", "|") else lines[place:place + 1]
        joined.append("".join(line.rstrip().ljust(width) for line in row).rstrip())
        place += len(row)
    return "\n".join(joined) + ("\n" if text.endswith("\n") else "")


def unfolded(text: str) -> str:
    """The text with the rows of a listing with titles (``info -m``, ``info watch``) put together that a terminal broke."""
    lines = text.splitlines()
    first, titles = next(((number, _TITLES.match(line)) for number, line in enumerate(lines) if _TITLES.match(line)), (0, None))
    if titles is None or first + 3 > len(lines):
        return text
    goes_on = _LINKS_GO_ON if titles.group(1) else _TITLE_GOES_ON
    if not goes_on.match(lines[first + 1]):
        return text
    last = next((number for number in range(first, len(lines)) if not lines[number].strip()), len(lines))
    width = max(len(line) for line in lines[first:last])
    pieces = 3 if last - first > 3 and goes_on.match(lines[first + 2]) else 2
    # Where only blanks stood at the end of all lines, their number is lost: two part what a title's own blank does not.
    joined = ["".join((" " if line[:1] == " " and not _TITLE_ENDS.match(line) else "") + line.ljust(width) for line in lines[place:place + pieces]).strip()
              for place in range(first, last - (last - first) % pieces, pieces)]
    if not all(_ROW.match(row) for row in joined[1:]):
        return text
    rest = lines[last - (last - first) % pieces:]
    return "\n".join(lines[:first] + joined + rest) + ("\n" if text.endswith("\n") else "")


def of_one_line(text: str) -> Optional[str]:
    """The only written line of a text without the node's name before it; None where there are more, or no name."""
    written = [line for line in text.splitlines(True) if line.strip()]
    found = _NODE.match(written[0]) if len(written) == 1 else None
    return written[0][found.end():] if found and _named(found.group(1)) else None


def _stripped(lines: List[str]) -> Optional[List[str]]:
    # Of a line without its end the mark may lack letters: it has no say, and stays as it is.
    written = [line for line in lines if line.strip() and line.endswith(("\n", "\r"))]
    if len(written) < 2:
        clear = next((pattern for pattern in _CLEAR if written and pattern.match(written[0])), None)
        return [clear.sub("", line, count=1) for line in lines] if clear else None
    for pattern in _MARKS:
        if all(pattern.match(line) for line in written):
            return [pattern.sub("", line, count=1) for line in lines]
    for pattern in (_NODE, _TAGGED):
        if not all(pattern.match(line) for line in written):
            continue
        parts = [_parted(line, pattern) for line in lines]
        names = [name for name, _ in parts if name is not None]
        kept = [rest for name, rest in parts if name is None or name == names[0]]
        times = Counter(names)
        if _one_node(names[0], kept) if len(times) == 1 else all(_named(name) and count > 1 for name, count in times.items()):
            return kept
    return None


def _parted(line: str, pattern: "re.Pattern[str]") -> Tuple[Optional[str], str]:
    """(the name before a line, what stands behind it)."""
    found = pattern.match(line)
    return (found.group(1), line[found.end():]) if found else (None, line)


def _one_node(name: str, kept: List[str]) -> bool:
    """Whether the word before every line is a node's name, and no key of what stands behind it."""
    return name not in _KEYS and (any(character in "-.0123456789" for character in name)
                                  or any(":" in line or "|" in line or "  " in line.strip() for line in kept))


def _named(name: str) -> bool:
    """Whether a word can only be a node's name: keys of the tools have no digit, dot or dash."""
    return any(character in "-.0123456789" for character in name)

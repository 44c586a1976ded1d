"""Several outputs of ``hccn_tool`` in one text: a loop over the devices, or a session copied from a terminal.

Owns where one output ends and the next begins: at a typed command, and where a line that stands once in an
output comes again. Refuses to read them (``hccn`` does), and to guess a device that neither the output nor the
command names. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from agent.parse import hccn, values
from agent.parse.text import clean

# "[root@node1 ~]# hccn_tool -i 0 -link -g", "hccn_tool -g -link -i 0 -u 1 -p 0"; also what `set -x` prints.
_COMMAND = re.compile(r"^(?:(?:\S.*)?[#$%>] ?|\++ )?(?:sudo )?(?:/\S*/)?hccn_tool((?: +-?[\w./:-]+)+)\s*$")
_DEVICE = re.compile(r" -i +([0-9]{1,5})(?= |$)")
_ONCE = re.compile(r"^(link status *|net health status|ipaddr|Speed|netdetect (?:ip ?)?address *|default gateway|fec mode|vnic link status):|tls (switch)\[[01]\]")
"""Lines that begin an output, or are all of it."""


def parse(text: str) -> List[Dict[str, Any]]:
    """The readings of ``hccn.parse`` in the order of the text, without those of pieces that no reader knows.

    One whose command was typed has that command's ``device`` where its output names none. A typed command whose
    output no reader knows is a reading of kind None, so that it is missed.
    """
    pieces = _pieces(text)
    found = []
    for device, typed, lines in pieces:
        reading = hccn.parse("".join(lines))
        if hccn.recognised(reading) or typed:
            reading["device"] = reading["device"] if reading["device"] is not None else device
            found.append(reading)
    return found if any(hccn.recognised(reading) for reading in found) else []


def _pieces(text: str) -> List[Tuple[Optional[int], bool, List[str]]]:
    """(device of the command, whether one was typed, lines) of each output."""
    pieces: List[Tuple[Optional[int], bool, List[str]]] = [(None, False, [])]
    seen = ""
    whole, rest = values.whole_lines(text)
    margin = _margin(whole)
    for raw in [line[margin:] for line in whole]:
        line = clean(raw[:hccn.LINE_LIMIT])
        command = _COMMAND.match(line)
        once = _ONCE.search(line)
        name = (once.group(1) or once.group(2)).strip() if once else ""
        if command:
            device = _DEVICE.search(command.group(1))
            pieces.append((int(device.group(1)) if device else None, True, []))
            seen = ""
        elif name and name == seen:
            pieces.append((None, False, []))
        seen = name or seen
        pieces[-1][2].append(raw + "\n")
    pieces[-1][2].append(rest)
    return pieces


def _margin(lines: List[str]) -> int:
    """How far all lines are set in: a text that was pasted into a page."""
    written = [line for line in lines if line.strip()]
    return min((len(line) - len(line.lstrip(" \t")) for line in written), default=0)

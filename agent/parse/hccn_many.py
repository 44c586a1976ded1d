"""Several outputs of ``hccn_tool`` in one text: a loop over the devices, or a session copied from a terminal.

Owns where one output ends and the next begins: at a typed command, and at a line that only begins one. Refuses to read them (``hccn`` does), and to guess a device that neither the output nor the
command names. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from agent.parse import hccn, tool_errors, values
from agent.parse.text import clean

# "[root@node1 ~]# hccn_tool -i 0 -link -g", "hccn_tool -g -link -i 0 -u 1 -p 0"; also what `set -x` prints.
_COMMAND = re.compile(r"^(?:(?:\S.*)?[#$%>] ?|\++ )?(?:sudo )?(?:/\S*/)?hccn_tool((?: +[\w./:-]+)+)\s*$")
_DEVICE = re.compile(r" -i +([0-9]{1,5})(?= |$)")
_ONCE = re.compile(r"^(?:\[(?:devid|device) [0-9]{1,5}\]\s*)?(link status|net health status|ipaddr|Speed|netdetect (?:ip ?)?addr(?:ess)?|default gateway|fec mode"
                   r"|vnic link status|packet statistics|optical info|current time|Bandwidth TX|Network Driver Version|Netdev status|Routing table) *:"
                   r"|^(Chassis ID) TLV|^(device) [0-9]{1,5} (?:dev |PING)|tls (switch)\[[01]\]")
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


def errors(text: str) -> List[Dict[str, Any]]:
    """What hccn_tool, or the shell that was to start it, says to have gone wrong: [{code: None, text}], in the order of the text."""
    found = [tool_errors.network(clean(line[:hccn.LINE_LIMIT])) for line in values.whole_lines(text)[0]]
    return [one for one in found if one is not None]


def _pieces(text: str) -> List[Tuple[Optional[int], bool, List[str]]]:
    """(device of the command, whether one was typed, lines) of each output."""
    pieces: List[Tuple[Optional[int], bool, List[str]]] = [(None, False, [])]
    begun = False
    whole, rest = values.whole_lines(text)
    margin = _margin(whole)
    for raw in [line[margin:] for line in whole]:
        line = clean(raw[:hccn.LINE_LIMIT])
        command = _COMMAND.match(line)
        once = bool(_ONCE.search(line))
        if command:
            device = _DEVICE.search(command.group(1))
            pieces.append((int(device.group(1)) if device else None, True, []))
            begun = False
        elif once and begun:
            pieces.append((None, False, []))
        begun = begun or once
        pieces[-1][2].append(raw + "\n")
    pieces[-1][2].append(rest)
    return pieces


def _margin(lines: List[str]) -> int:
    """How far all lines are set in: a text that was pasted into a page."""
    written = [line for line in lines if line.strip()]
    return min((len(line) - len(line.lstrip(" \t")) for line in written), default=0)

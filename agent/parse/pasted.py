"""An output as it was pasted: from a web page, a mark-down cell, a playbook's list of lines, a terminal with two panes.

Owns taking off what such a place wraps around the text or writes for its letters, and what a logger nobody listed puts
before all lines alike. Refuses to know the tools' own lines, but for a table's border. Never raises; linear in the text.
"""

from __future__ import annotations

import html
import json
import re
from typing import Dict, List, Optional

# Blanks and nothings that pages put where the tool printed a blank, or nothing.
_BLANKS = dict([(ord(letter), " ") for letter in "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000"] + [(ord(letter), "") for letter in "\u200b\u200c\u200d\u2060\ufeff"])
_ODD = re.compile("[%s]" % "".join(map(chr, _BLANKS)))
_TAG = re.compile(r"</?(?:pre|code|span|div|p|td|tr|font|b)(?: [^<>\n]{0,200})?>", re.IGNORECASE)
_BREAK = re.compile(r"<br ?/?>\n?", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([|+_*#<>-])")
# ansible's stdout_lines, a list that was dumped: a text with quotes a line
_QUOTED = re.compile(r'[ \t]{0,40}("(?:[^"\\]|\\.){0,2000}"),?[ \t\r]{0,9}\Z')
_AROUND = 6
"""So many other lines a list of quoted lines has around it, at most."""
# salt's: the node's name in a line of its own, all that it said below it further in
_HEADING = re.compile(r"(?=[\w.-]*[0-9.-])[A-Za-z][\w.-]{0,63}:[ \t]*\r?\n\Z")
_PANES = "\u2502\u2503"
_BORDER = re.compile(r"[ \t]*\+[-=]{20}")
# What a logger puts before a line has a time in it, or is one.
_TIMED = re.compile(r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}|^[^0-9]{0,2}1[0-9]{9}\b")
_DIGITS = re.compile(r"[0-9]+")
_NAMED = re.compile(r"[A-Za-z]{2}[\w.-]{0,62}[0-9][\w.-]{0,62}")
_LONGEST = 240
"""Longest text before a line, characters."""


def page(text: str) -> str:
    """The text without a page's tags, its words for letters, its blanks, and marks before bars."""
    if _ODD.search(text):
        text = text.translate(_BLANKS)
    if "<" in text and _TAG.search(text):
        text = html.unescape(_TAG.sub("", _BREAK.sub("\n", text)))
    elif "&nbsp;" in text or "&#" in text:
        text = html.unescape(text)
    if "\\|" in text:
        text = _ESCAPED.sub(r"\1", text)
    return text


def listed(lines: List[str]) -> List[str]:
    """The lines that a list of quoted ones holds, those below a node's heading, or those of the left of two panes; else all."""
    quoted = [_QUOTED.match(line.rstrip("\n")) for line in lines]
    inside = [found.group(1) for found in quoted if found]
    if len(inside) > 1 and sum(1 for line in lines if line.strip()) - len(inside) <= _AROUND:
        try:
            return [str(json.loads(one)).rstrip("\n") + "\n" for one in inside]
        except ValueError:
            return lines
    written = [line for line in lines if line.strip()]
    if len(written) > 2 and _HEADING.match(written[0]) and all(line.startswith(("    ", "\t")) for line in written[1:]):
        return [line[1 if line[0] == "\t" else 4:] if line.strip() else line for line in lines[lines.index(written[0]) + 1:]]
    return _pane(lines, written)


def _pane(lines: List[str], written: List[str]) -> List[str]:
    for bar in _PANES:
        column = written[0].find(bar) if written else -1
        if column > 0 and len(written) > 2 and all(line.find(bar) == column for line in written):
            left, right = [line[:column].rstrip() + "\n" for line in lines], [line[column + 1:] for line in lines]
            return right if any(_BORDER.match(line) for line in right) and not any(_BORDER.match(line) for line in left) else left
    return lines


def without_margin(lines: List[str]) -> Optional[List[str]]:
    """The lines without what stands alike before all of them, numbers aside; None where there is nothing such, or it may be their own.

    It is no line's own if a time is in it, or if only without it there are borders of a table.
    """
    heads = [_DIGITS.sub("\0", line[:_LONGEST].rstrip()) for line in lines]
    whole = max((head for head, line in zip(heads, lines) if line.endswith(("\n", "\r"))), key=len, default="")
    # A line that says nothing has only the beginning, without its last blanks.
    written = [head for head, line in zip(heads, lines) if head and not whole.startswith(head) and line.endswith(("\n", "\r"))]
    if not written:
        return None
    margin = _common(min(written), max(written), whole)
    if not margin:
        return None
    pattern = re.compile("".join("[0-9]+" if letter == "\0" else re.escape(letter) for letter in margin))
    found = [pattern.match(line) for line in lines]
    if any(one is None and line.strip() and not margin.startswith(head) for one, line, head in zip(found, lines, heads)):
        return None
    first = next(one.group() for one in found if one)
    named = _NAMED.findall(first)    # of several nodes' lines, those of the first
    bare = [line[one.end():] if one else line[len(line.rstrip("\r\n")):] for one, line in zip(found, lines) if one is None or _NAMED.findall(one.group()) == named]
    if _TIMED.search(first) or (any(_BORDER.match(line) for line in bare) and not any(_BORDER.match(line) for line in lines)):
        return bare
    return None


def _common(least: str, most: str, other: str) -> str:
    """The beginning that all texts between two share with a third, up to the last blank or mark in it."""
    length = 0
    for one, two, three in zip(least, most, other):
        if not one == two == three:
            break
        length += 1
    shared = least[:length]
    device = shared.find("[dev")    # hccn_tool's own
    shared = shared if device < 0 else shared[:device]
    ends: Dict[str, int] = {mark: shared.rfind(mark) for mark in " \t]>|:)"}
    return shared[:max(ends.values()) + 1]

"""Dates and times as loggers print them: ISO, CANN's, glog's and torch's, syslog's, C's, seconds since the epoch.

Owns the reading of one line's own time. Refuses to guess what the line leaves out: a zone is given only where
one is printed, and a time without a year begins with two dashes (``--11-22T05:10:01``, as ISO 8601 once wrote it)
until somebody who knows the day of the log puts the year in (``dated``). Pure; never raises.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Match, Optional, Tuple

Day = Tuple[int, int, int]
"""Year, month, day."""

# "2025-09-05 16:08:14", "2025-03-04 00:44:44,441", "2026-11-22T05:10:01.123456+08:00", "... 05:10:01 +0800", torchrun's
# "2025-05-21_15:43:03", "2026/11/22 05:10:01" and CANN's "2025-11-19-11:14:58.516.606" (milliseconds and
# microseconds as two groups).
_TIME = re.compile(r"(?<![0-9])([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2})[ T_-]{1,2}([0-9]{2}:[0-9]{2}:[0-9]{2})"
                   r"(?:[.,]([0-9]{1,9})(?:\.([0-9]{3}))?)?((?:Z| ?[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])(?![0-9A-Za-z:.]))?")
# nanotron: "01/17/2024 13:47:27" (month first)
_US_TIME = re.compile(r"(?<![0-9])([0-9]{2})/([0-9]{2})/([0-9]{4}) ([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?")
# glog "I1122 10:11:12.123456", torch "[W908 20:21:33.123456789 ProcessGroupNCCL.cpp:1]" (a month of one digit)
_GLOG = re.compile(r"(?<![A-Za-z0-9])[A-Z](0[1-9]|1[0-2]|[1-9])([0-3][0-9]) {1,2}([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?![0-9])")
# syslog "Nov 22 10:11:12 host kernel:", with precision "Nov  2 10:11:12.123456"; C and dmesg -T "[Sat Nov 22 10:11:12 2026]",
# "Sat Nov 22 10:11:12 UTC 2026"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAMED = re.compile(r"(?:^|[\s\[>(])(" + "|".join(_MONTHS) + r") {1,2}([0-3]?[0-9]) ([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?(?:(?: [A-Z]{3,4})? ([0-9]{4})(?![0-9:.]))?")
# "1795324201.123456 node kernel: ..." (journalctl -o short-unix), "[1795324201.123] ..."
_EPOCH = re.compile(r"^\s{0,8}\[?(1[0-9]{9})\.([0-9]{3,9})\]?(?=[\s:])")


def printed_time(text: str, last: bool = False) -> Optional[str]:
    """The first date and time printed in the text, as ``2024-05-16T14:24:03[.ffffff][+08:00]``; None without one.

    ``last``: the last one instead (of several prefixes, the program's own is nearest its message). The zone
    is there only where the text says one (seconds since the epoch are ``Z``). Without a year:
    ``--05-16T14:24:03[.ffffff]``; a time with its year goes before one without.
    """
    if ":" in text:
        found = _TIME.search(text)
        if found:
            return _full(_last(found, text) if last else found)
        american = _US_TIME.search(text)
        if american:
            month, day, year, clock, fraction = american.groups()
            return _joined("%s-%s-%sT%s" % (year, month, day, clock), fraction)
        named = _NAMED.search(text)
        if named:
            month, day, clock, fraction, year = named.groups()
            return _joined("%s-%02d-%02dT%s" % (year or "-", _MONTHS.index(month) + 1, int(day), clock), fraction)
        glog = _GLOG.search(text)
        if glog:
            return _joined("--%02d-%sT%s" % (int(glog.group(1)), glog.group(2), glog.group(3)), glog.group(4))
    epoch = _EPOCH.match(text)
    if epoch:
        return _joined((datetime(1970, 1, 1) + timedelta(seconds=int(epoch.group(1)))).strftime("%Y-%m-%dT%H:%M:%S"), epoch.group(2)) + "Z"
    return None


def dated(time: Optional[str], latest: Optional[Day]) -> Optional[str]:
    """The time with its year: the newest that does not put it more than a day behind ``latest``; None where that is not known either."""
    if time is None or not time.startswith("--"):
        return time
    if latest is None:
        return None
    year, month, day = latest
    own = (int(time[2:4]), int(time[5:7]))
    # A day of grace: the clock that printed it may be of another zone.
    ahead = own > (month, day) and own != (month, day + 1) and not (own[0] == month + 1 and own[1] == 1 and day >= 28)
    if (month, day) == (12, 31) and own == (1, 1):
        year += 1
    return "%04d%s" % (year - 1 if ahead else year, time[1:])


def day_of(time: Optional[str]) -> Optional[Day]:
    """The day of a time that has its year; None of any other."""
    if time is None or time.startswith("--"):
        return None
    return int(time[:4]), int(time[5:7]), int(time[8:10])


def _last(found: Match[str], text: str) -> Match[str]:
    while True:
        following = _TIME.search(text, found.end())
        if following is None:
            return found
        found = following


def _full(found: Match[str]) -> str:
    year, month, day, clock, fraction, rest, zone = found.groups()
    time = "%s-%s-%sT%s" % (year, month, day, clock)
    if fraction:
        time += "." + fraction + (rest or "")
    if zone:
        zone = zone.strip()
        time += zone if zone == "Z" or ":" in zone else zone[:3] + ":" + zone[3:]
    return time


def _joined(time: str, fraction: Optional[str]) -> str:
    return time + "." + fraction if fraction else time

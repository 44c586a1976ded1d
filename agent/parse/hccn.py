"""``hccn_tool -i N -OPTION -g``: the NPU's own network port. Which option it was is told by the text.

Owns link, link history, addresses, health, statistics, optics, TLS, FEC, LLDP, speed, bandwidth, gateway,
detection address, ping and status. Refuses to run the tool, and to judge: ``DOWN`` is reported, not called
bad. Never raises; what is not there is None. Source: captures of 910A and 910B (``key:value`` lines) and the
950 documentation (boxes); the 950 is asked with ``-u UDIE -p PORT`` as well.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Optional, Tuple

from agent.parse import hccn_boxes, values
from agent.parse.text import clean

VERSION = 1
LINE_LIMIT = 4000

# "[devid 0]    Tue Aug  1 14:44:40 2022    LINK DOWN"; "[device 0]..." in newer releases.
_PREFIX = re.compile(r"^\[(?:devid|device) ([0-9]{1,5})\]\s*")
_CHANGE = re.compile(r"([A-Z][a-z]{2} [A-Z][a-z]{2}\s+[0-9]{1,2} [0-9:]{8} [0-9]{4})\s+LINK[ _](UP|DOWN)\s*$")
# "|  0  |  0   |  4   |  LINK_UP    | Mon Feb 9 21:45:51 2026 |" (950)
_BOX_CHANGE = re.compile(r"\|\s*LINK_(UP|DOWN)\s*\|\s*([A-Z][a-z]{2} [A-Z][a-z]{2}\s+[0-9]{1,2} [0-9:]{8} [0-9]{4})\s*\|")
_REPLY = re.compile(r"recv seq[=:]([0-9]{1,9}),\s*time[=:]([0-9.]{1,15})ms")
_SUMMARY = re.compile(r"([0-9]{1,9}) packets transmitted, ([0-9]{1,9}) received, ([0-9.]{1,8})% packet loss")
# "dev_id:0, tls switch[0](0:disable, 1:enable), tls preconfigured[1](...), tls alarm time threshold[60]days"
# "Tx Power0", "Vcc High Thres": a prompt, or a path, has other marks in it; "Sun Nov 22 05" has a time behind it.
_READING = re.compile(r"^[\w /()+-]{1,60}$")
_CLOCK = re.compile(r"^\s*[0-9]{2}:[0-9]{2}")
_TLS = re.compile(r"tls switch\[([01])\]")
# "dev_id:0, [pub cert] info:", "         end_time[Wed Jun 18 03:10:27 2053 GMT]"
_CERTIFICATE = re.compile(r", ?\[([\w ]{1,40})\] info:")
_OF_CERTIFICATE = re.compile(r"^\s+(subject|issuer|start_time|end_time|tls expiration status)\[([^\]]{0,400})\]")
_OF_CERTIFICATES = {"subject": "subject", "issuer": "issuer", "start_time": "starts", "end_time": "ends", "tls expiration status": "expiry"}
# "device 3 PING 10.0.0.2", "device 0 dev eth0 PING 10.0.0.1 to 10.0.0.2" (950), "device 0 dev  EID a to b" (ub_ping)
_PING = re.compile(r"^device ([0-9]{1,5}) (?:dev\s+EID \S+ to (\S+)|(?:dev \S+ )?PING6? (\S+)(?: to (\S+))?)")


def parse(text: str) -> Dict[str, Any]:
    """{kind, device, ...}; ``kind`` is the option's name, or None where no reader knows the text.

    ``device`` is None where the output does not say it. Units are in the field names; an optic's readings
    are {name: {value, unit}} because a module prints what it likes.
    """
    device: Optional[int] = None
    lines: List[str] = []
    for raw in values.whole_lines(text)[0]:
        line = clean(raw[:LINE_LIMIT])
        prefix = _PREFIX.match(line)
        if prefix:
            device = int(prefix.group(1)) if device is None else device
            line = line[prefix.end():]
        lines.append(line)
    for kind, sign, reader in _READERS:
        if any(sign.search(line) for line in lines):
            found = reader(lines)
            if found is not None:
                return dict({"kind": kind, "device": device}, **found)
    return {"kind": None, "device": device}


def recognised(parsed: Dict[str, Any]) -> bool:
    """Whether the text was output of a known option."""
    return parsed["kind"] is not None


def _after(lines: List[str], key: str) -> Optional[str]:
    """The value behind ``key:`` on the first line that begins with it, None where absent."""
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == key:
            return values.text(value)
    return None


def _one(field: str, key: str) -> Callable[[List[str]], Optional[Dict[str, Any]]]:
    return lambda lines: {field: _after(lines, key)}


def _ip(lines: List[str]) -> Optional[Dict[str, Any]]:
    return {"address": _after(lines, "ipaddr"), "netmask": _after(lines, "netmask")}


def _link_stat(lines: List[str]) -> Optional[Dict[str, Any]]:
    changes = []
    for line in lines:
        plain, box = _CHANGE.search(line), _BOX_CHANGE.search(line)
        if plain:
            changes.append({"time": " ".join(plain.group(1).split()), "status": plain.group(2)})
        elif box:
            changes.append({"time": " ".join(box.group(2).split()), "status": box.group(1)})
    return {"current_time": " ".join((_after(lines, "current time") or "").split()) or None,
            "link_up_count": values.whole(_after(lines, "link up count") or ""),
            "link_down_count": values.whole(_after(lines, "link down count") or ""), "changes": changes}


def _stat(lines: List[str]) -> Optional[Dict[str, Any]]:
    counters = {}
    for line in lines:
        found = re.match(r"^\s*([a-z][a-z0-9_]{2,80}):\s*([0-9]{1,18})\s*$", line)
        if found:
            counters[found.group(1)] = int(found.group(2))
    return {"counters": counters, "complete": bool(counters) and not any(line.strip() == "..." for line in lines)}


def _optical(lines: List[str]) -> Optional[Dict[str, Any]]:
    readings: Dict[str, Dict[str, Any]] = {}
    present: Optional[bool] = None
    for line in lines:
        if line.startswith("Optical module is not present"):
            present = False
        key, colon, value = line.partition(" :") if " :" in line else line.partition(":")
        name, printed = values.field(key), values.text(value)
        if not colon or not name or name == "optical_info" or not _READING.match(key) or _CLOCK.match(value):
            continue
        if name == "present":
            present = None if printed is None else printed.lower() == "present"
            continue
        found = re.match(r"^([-+]?[0-9]+(?:\.[0-9]+)?)(?:\s+(mW|mV|mA|uW|C|dB|dBm|nm|V|W|A))?$", printed or "")
        readings[name] = {"value": values.number(found.group(1)) if found else printed, "unit": found.group(2) if found else None}
    return {"present": present, "readings": readings}


def _tls(lines: List[str]) -> Optional[Dict[str, Any]]:
    for line in lines:
        found = _TLS.search(line)
        if found:
            device = re.search(r"^(?:dev_id:|device)\s*([0-9]{1,5}),", line)
            alarm = re.search(r"alarm time threshold\[([0-9]{1,6})\]", line)
            preset = re.search(r"tls preconfigured\[([01])\]", line)
            result: Dict[str, Any] = {"enabled": found.group(1) == "1", "alarm_days": int(alarm.group(1)) if alarm else None,
                                      "preconfigured": preset.group(1) == "1" if preset else None, "certificates": _certificates(lines)}
            if device:
                result["device"] = int(device.group(1))
            return result
    return None


def _certificates(lines: List[str]) -> List[Dict[str, Any]]:
    """[{name, subject, issuer, starts, ends, expiry}] of -tls; ``expiry`` 0 normal, 1 near, 2 over."""
    found: List[Dict[str, Any]] = []
    for line in lines:
        name = _CERTIFICATE.search(line)
        value = _OF_CERTIFICATE.match(line)
        if name:
            found.append({"name": name.group(1), "subject": None, "issuer": None, "starts": None, "ends": None, "expiry": None})
        elif value and found:
            text = values.text(value.group(2))
            found[-1][_OF_CERTIFICATES[value.group(1)]] = values.whole(text or "") if value.group(1).endswith("status") else text
    return found


def _lldp(lines: List[str]) -> Optional[Dict[str, Any]]:
    tlvs: Dict[str, str] = {}
    title = ""
    for line in lines:
        if line.rstrip().endswith(" TLV") and not line[:1].isspace():
            title = line.strip()[:-len(" TLV")]
        elif title and line.strip() and not title.startswith("End of"):
            tlvs[title] = (tlvs[title] + "\n" if title in tlvs else "") + line.strip()
    port = tlvs.get("Port ID", "")
    return {"tlvs": tlvs, "port": values.text(port.partition(":")[2] if ":" in port else port),
            "complete": any(line.startswith("End of LLDPDU") for line in lines)}


def _speed(lines: List[str]) -> Optional[Dict[str, Any]]:
    printed = re.match(r"^([0-9]{1,9}) ?Mb/s", _after(lines, "speed") or "")
    return {"speed_mb_s": int(printed.group(1)) if printed else None}


def _bandwidth(lines: List[str]) -> Optional[Dict[str, Any]]:
    found = {}
    for way in ("tx", "rx"):
        printed = re.match(r"^([0-9.]{1,15}) MB/sec", _after(lines, "bandwidth " + way) or "")
        found[way + "_mb_s"] = values.real(printed.group(1)) if printed else None
    return found


def _ping(lines: List[str]) -> Optional[Dict[str, Any]]:
    result: Dict[str, Any] = {"address": None, "sent": None, "received": None, "loss_pct": None, "replies": []}
    for line in lines:
        head = _PING.match(line)
        reply, summary = _REPLY.search(line), _SUMMARY.search(line)
        if head:
            result.update(device=int(head.group(1)), address=head.group(2) or head.group(4) or head.group(3))
        elif reply:
            result["replies"].append({"seq": int(reply.group(1)), "time_ms": values.real(reply.group(2))})
        elif summary:
            result.update(sent=int(summary.group(1)), received=int(summary.group(2)), loss_pct=values.real(summary.group(3)))
    return result


def _hw_stats(lines: List[str]) -> Optional[Dict[str, Any]]:
    counters = {}
    for line in lines:
        found = re.match(r"^\s*([a-z][a-z0-9_]{2,80}):\s*([0-9]{1,18})\s*$", line)
        if found:
            counters[found.group(1)] = int(found.group(2))
    return {"counters": counters} if counters else None


def _route(lines: List[str]) -> Optional[Dict[str, Any]]:
    routes = []
    for line in lines:
        cells = line.split()
        # "default  29.1.0.1  0.0.0.0  UG  0  0  0  eth3"
        if len(cells) == 8 and re.match(r"^[A-Z!]{1,6}$", cells[3]):
            routes.append({"destination": cells[0], "gateway": values.text(cells[1].replace("*", "-")), "netmask": cells[2], "interface": cells[7]})
    return {"routes": routes}


def _status(lines: List[str]) -> Optional[Dict[str, Any]]:
    found = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and line[:1].isspace():
            found[values.field(key)] = values.text(value)
    return {"settings": found}


def _interface(lines: List[str]) -> Optional[str]:
    """``eth3`` of "default gateway:29.1.0.1, Iface:eth3"."""
    found = re.search(r", ?Iface: ?(\S{1,32})\s*$", "\n".join(lines), re.MULTILINE)
    return values.text(found.group(1)) if found else None


def _ub_connect(lines: List[str]) -> Optional[Dict[str, Any]]:
    ports = {}
    for line in lines:
        found = re.match(r"^port ([0-9]{1,3}) *: *(\S.*)$", line)
        if found:
            ports[int(found.group(1))] = found.group(2).strip()
    return {"status": _after(lines, "link status"), "ports": ports} if ports else None


_Reader = Callable[[List[str]], Optional[Dict[str, Any]]]
_READERS: Tuple[Tuple[str, "re.Pattern[str]", _Reader], ...] = (
    ("link_stat", re.compile(r"^link (?:up count|change records)\s*:"), _link_stat),
    ("dev_info", re.compile(r"^\|\s*UDie ID\s*\|\s*Port ID\s*\|"), hccn_boxes.dev_info),
    ("ub_connect", re.compile(r"^link status *:"), _ub_connect),
    ("link", re.compile(r"^link status *:"), _one("status", "link status")),
    ("net_health", re.compile(r"^net health status:"), _one("status", "net health status")),
    ("ip", re.compile(r"^ipaddr:"), _ip),
    ("stat", re.compile(r"^packet statistics:"), _stat),
    ("optical", re.compile(r"^optical info:|^Optical module is not present|^\s*(?:Tx|Rx) ?Power[0-9]?\s*:"), _optical),
    ("tls", _TLS, _tls),
    ("fec", re.compile(r"^fec mode:"), _one("mode", "fec mode")),
    ("lldp", re.compile(r"^Chassis ID TLV"), _lldp),
    ("fec", re.compile(r"^\|\s*NPU\s*\|\s*UDie\s*\|\s*Port\s*\|\s*rs_mode\s*\|"), hccn_boxes.modes),
    ("speed", re.compile(r"^Speed:"), _speed),
    ("speed", re.compile(r"^\|\s*NPU\s*\|\s*UDie\s*\|\s*Port\s*\|\s*Speed\s*\|"), hccn_boxes.rates),
    ("bandwidth", re.compile(r"^Bandwidth [TR]X:"), _bandwidth),
    ("gateway", re.compile(r"^default gateway:"),
     lambda lines: {"address": values.text((_after(lines, "default gateway") or "").partition(",")[0]), "interface": _interface(lines)}),
    ("netdetect", re.compile(r"^netdetect (?:ip ?)?addr(?:ess)? ?:"),
     lambda lines: {"address": _after(lines, "netdetect address") or _after(lines, "netdetect ip address") or _after(lines, "netdetect addr")}),
    ("ping", _PING, _ping),
    ("status", re.compile(r"^Netdev status:"), _status),
    ("vnic", re.compile(r"^vnic link status:"),
     lambda lines: {"status": _after(lines, "vnic link status"), "address": _after(lines, "vnic ipaddr"), "netmask": _after(lines, "vnic netmask")}),
    ("version", re.compile(r"^Network (?:Driver|Firmware) Version:"),
     lambda lines: {"driver": _after(lines, "network driver version"), "firmware": _after(lines, "network firmware version")}),
    ("hw_stats", re.compile(r"^(?:pd_alloc|qp_alloc|cq_alloc):"), _hw_stats),
    ("route", re.compile(r"^Routing table:"), _route),
)

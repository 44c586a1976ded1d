"""Checks of the NPUs: there, healthy, free, connected. Pure.

Sources: npu-smi's health words and the start-up errors of DCMI; hccn_tool's ``link status`` and
``net health status`` (Huawei's own sample shows Init on an unconfigured port, so that is a warning).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from console.core.i18n import Phrase, joined, phrase, translated
from console.core.preflight.facts import REASONS, Case, NodeFacts, rows
from console.core.preflight.finding import Finding, Found, Severity, unknown

DCMI_CODES = {
    -8005: "the driver answers with an inner error: firmware was upgraded without a restart, the devices are not visible to this user, "
           "or another container holds them",
    -8020: "another container holds the devices",
    -8002: "this user may not use the devices",
    -8008: "the device does not exist",
    -8012: "the device is not ready",
    -8017: "firmware is being upgraded",
}
"""What npu-smi's start-up codes mean (dcmi_interface_api.h, and what users reported as causes)."""
OCCUPIED = (-8005, -8020)


def tool(node: NodeFacts, case: Case) -> Found:
    """npu-smi is there, answers, and prints a whole table."""
    if node.lacks("npu"):
        yield Finding(node=node.name, what="the NPUs did not answer", got=REASONS.get(node.lacks("npu"), ""), expected="npu-smi info within its time",
                      fix="Look whether npu-smi hangs there; a card that dropped off the bus makes it do so", command="timeout 20 npu-smi info; dmesg | tail")
        return
    sample = node.sample
    for error in sample.get("errors") or ():
        code = error.get("code")
        if code is not None:
            yield Finding(node=node.name, what=phrase("npu-smi cannot start: {why}", why=phrase(DCMI_CODES.get(code, "the driver refuses"))), got=str(error.get("text")),
                          expected="a table of devices", command=_who_command(node),
                          fix=_who_holds(node) if code in OCCUPIED else "Install driver and firmware in the right order and restart the node")
            return
    why = (sample.get("absent") or {}).get("*")
    if why == "missing":
        yield Finding(node=node.name, what="npu-smi is not on the node", got="nothing in PATH, /usr/local/sbin and /usr/local/bin", expected="npu-smi",
                      fix="Install the NPU driver", command="ls /usr/local/Ascend/driver/version.info")
    elif why:
        yield Finding(node=node.name, what="npu-smi gives no device", got=REASONS.get(why, why), expected="a table of devices",
                      fix="Run it by hand; a stuck driver needs a restart of the node", command="timeout 20 npu-smi info")
    elif not sample.get("complete"):
        yield Finding(node=node.name, severity="warning", what="npu-smi's table is not whole", got="rows are missing or cut", expected="two rows a device",
                      fix="A device whose health cannot be read loses a row; look at each", command="npu-smi info")


def count(node: NodeFacts, case: Case) -> Found:
    """As many NPUs as the fleet file (and the job) count on; those that a job does not use are not in its way."""
    needed = case.job.fleet.npus_per_node if case.job else node.node.npus
    wanted = max(node.node.npus, needed)
    devices = node.devices()
    if not wanted or not devices:
        return  # nothing is expected, or ``npu-tool`` has said it
    if len(devices) < wanted:
        yield Finding(node=node.name, what="NPUs are missing", severity=None if len(devices) < needed else "warning", got=phrase("{n} listed", n=len(devices)), expected=str(wanted),
                      fix="A card that dropped off the bus comes back after a restart, or needs the vendor", command="npu-smi info -l; lspci | grep -i d80")
    elif len(devices) > wanted and not case.job:
        yield Finding(node=node.name, severity="info", what="there are more NPUs than the fleet file says", got=str(len(devices)), expected=str(wanted),
                      fix="Set `npus` of the node in the fleet file")
    files = node.part("occupancy").get("devices") or []
    if files and len(files) != len(devices):
        yield Finding(node=node.name, severity="warning", what="the device files do not agree with npu-smi", got=phrase("{n} of {file}", n=len(files), file="/dev/davinci*"),
                      expected=str(len(devices)), fix="Restart the node, or look for a device that the driver has lost", command="ls /dev/davinci*; npu-smi info -l")


def health(node: NodeFacts, case: Case) -> Found:
    """Every device is OK; what is not shows its error codes with their meaning."""
    used = case.job.fleet.npus_per_node if case.job else len(node.devices())
    codes = {(row.get("npu_id"), row.get("chip_id")): row for row in (node.part("npu").get("health") or {}).get("devices") or ()}
    for number, device in enumerate(node.devices()):
        word = device.get("health")
        if word in (None, "OK"):
            if word is None and device.get("npu_id") is None:
                # npu-smi leaves the first row of a device out whose health it cannot get (npu_info_print.c).
                yield Finding(node=node.name, where=label(device), severity="warning" if number >= used else "error", what="npu-smi cannot get a device's health",
                              got="a row without NPU id", expected="OK", fix="A device that does not answer needs a reset, or a restart of the node", command="npu-smi info -m; dmesg | tail")
            elif word is None:
                yield unknown(node, phrase("the health of a device"), "unparseable", where=label(device), command=health_command(device))
            continue
        row: Mapping[str, Any] = codes.get((device.get("npu_id"), device.get("chip_id"))) or {}
        told = [code_text(code) for code in row.get("codes") or ()]
        worst: Mapping[str, Any] = next(iter(row.get("codes") or ()), {})
        advice = worst.get("advice") or {}
        severity: Severity = "warning" if word == "Warning" or number >= used else "error"
        yield Finding(node=node.name, where=label(device), severity=severity, what=phrase("health is {word}", word=word), got=joined("; ", told) if told else "no error code", expected="OK",
                      fix=translated(advice) if advice.get("en") else "Ask for its error codes; leave the node out until they are understood",
                      command=health_command(device))


def code_text(code: Mapping[str, Any]) -> Phrase:
    """One error code in words: ``80E01801 RestartBusiness (HBM: ...)``; an unknown one says so."""
    meaning = code.get("meaning") or {}
    if not code.get("known"):
        return phrase("{code} (not in the catalogue)", code=code.get("code"))
    if not meaning.get("en"):
        return phrase("{code} {level}", code=code.get("code"), level=code.get("level"))
    return phrase("{code} {level} ({meaning})", code=code.get("code"), level=code.get("level"), meaning=translated(meaning))


def occupied(node: NodeFacts, case: Case) -> Found:
    """Nobody else holds a device that is wanted."""
    seen = node.part("occupancy")
    engine = node.part("containers")
    known = {one.get("id"): one for one in engine.get("containers") or ()}
    wanted = set(range(case.job.fleet.npus_per_node)) if case.job else None
    severity: Severity = "error" if case.job else "warning"
    by_place: dict[str, list[Mapping[str, Any]]] = {}
    for holder in seen.get("holders") or ():
        if case.job and holder.get("job") == case.job.run.name:
            continue
        if wanted is not None and holder.get("device") is not None and holder["device"] not in wanted:
            continue
        place = f"davinci{holder['device']}" if holder.get("device") is not None else label(holder)
        by_place.setdefault(place, []).append(holder)
    for place, holders in by_place.items():
        first = holders[0]
        inside = known.get(first.get("container"))
        container = inside["name"] if inside else str(first.get("container") or "")[:12]
        who = phrase("{process} (pid {pid}) of {user}", process=first.get("name") or phrase("a process"), pid=first.get("pid"),
                     user=first.get("user") or first.get("uid") or phrase("another user"))
        if container:
            who = phrase("{who} in container {name}", who=who, name=container)
        more = [phrase("job {job}", job=first["job"])] if first.get("job") else []
        more += [phrase("{n} more", n=len(holders) - 1)] if len(holders) > 1 else []
        more += [phrase("since {time}", time=stamp(first["since"]))] if first.get("since") else []
        yield Finding(node=node.name, where=place, severity=severity, what="the device is in use",
                      got=joined(", ", [who, *more]),
                      expected="free", fix="Ask its owner, or wait; nothing is ended from here",
                      command=f"{_engine(node, inside)} top {inside['name']}" if inside else f"ps -fp {first.get('pid')}")
    if node.lacks("occupancy"):
        yield unknown(node, phrase("who holds the NPUs"), node.lacks("occupancy"), command="sudo fuser -v /dev/davinci*")
    if not seen.get("holders") and (seen.get("absent") or {}).get("holders") == "denied":
        yield unknown(node, phrase("who holds the NPUs"), "denied", fix="Log in as a user that may see all processes, or trust npu-smi's list", command="sudo fuser -v /dev/davinci*")
    for one in known.values():
        if one.get("status") not in (None, "running") or (case.job and (one.get("labels") or {}).get("rankdeck.job") == case.job.run.name):
            continue
        given = [npu for npu in one.get("npus") or () if wanted is None or npu in wanted]
        held = {holder.get("container") for holder in seen.get("holders") or ()}
        if given and one.get("id") not in held:
            yield Finding(node=node.name, where=f"davinci{','.join(map(str, given))}", severity="warning", what="devices are given to another container",
                          got=phrase("{name} ({image}), since {time}", name=one.get("name"), image=one.get("image"), time=one.get("started")), expected="free: NPUs go to one container at a time (-8020)",
                          fix="Ask its owner whether it is still wanted; it keeps them until it is stopped", command=f"{_engine(node, one)} ps --filter name={one.get('name')}")


def _engine(node: NodeFacts, container: Mapping[str, Any]) -> str:
    """Whose container it is; the node's first engine where an agent of before does not tell."""
    return str(container.get("engine") or node.part("containers").get("engine") or "docker")


def link(node: NodeFacts, case: Case) -> Found:
    """Each NPU's own network port is up and well."""
    severity: Severity = "error" if len(case.nodes) > 1 else "warning"
    why = node.lacks("network") or (node.part("network").get("absent") or {}).get("*", "")
    if why:
        yield unknown(node, phrase("the NPUs' network"), why, command="hccn_tool -i 0 -link -g")
        return
    for row in rows(node.part("network").get("columns")):
        device, port = row.get("device"), f"davinci{row.get('device')}"
        if row.get("link") not in (None, "UP"):
            yield Finding(node=node.name, where=port, severity=severity, what="the network link is down", got=str(row["link"]), expected="UP",
                          fix="Look at cable, optics and switch port", command=f"hccn_tool -i {device} -link_stat -g; hccn_tool -i {device} -optical -g")
        state = row.get("net_health")
        if state not in (None, "Success"):
            mild: Severity = "warning" if state == "Init" else severity
            yield Finding(node=node.name, where=port, severity=mild, what="the network check of the device fails" if state != "Init" else "no detection address is set",
                          got=str(state), expected="Success", fix="Set a detection address" if state == "Init" else "Look at its address, gateway and switch port",
                          command=f"hccn_tool -i {device} -net_health -g; hccn_tool -i {device} -netdetect -g")
    absent = node.part("network").get("absent") or {}
    for column in ("link", "net_health"):
        if column in absent and absent[column] != "unsupported":
            yield unknown(node, phrase("{what} of some NPUs", what=column.replace("_", " ")), absent[column], command=f"hccn_tool -i 0 -{column} -g")


def address(case: Case) -> Found:
    """Each NPU has an address of its own."""
    taken: dict[str, str] = {}
    for node in case.reached if case.uses_npus else ():
        for row in rows(node.part("network").get("columns")):
            place, found = f"{node.name} davinci{row.get('device')}", row.get("address")
            if found is None:
                if "address" not in (node.part("network").get("absent") or {}):
                    yield Finding(node=node.name, where=f"davinci{row.get('device')}", severity="warning", what="the device has no address", expected="an address of its own",
                                  fix="Configure it", command=f"hccn_tool -i {row.get('device')} -ip -g")
            elif found in taken:
                yield Finding(what="two devices have the same address", where=phrase("{first} and {second}", first=taken[found], second=place), got=found, expected="an address each",
                              fix="Give one of them another", command=f"hccn_tool -i {row.get('device')} -ip -g")
            else:
                taken[found] = place


def ping(case: Case) -> Found:
    """Every device reaches the other nodes' devices."""
    for node in case.reached:
        tried = case.pings.get(node.name, ())
        lost = [row for row in tried if not row.get("why") and not row.get("received")]
        untold = [row for row in tried if row.get("why")]
        if lost:
            pairs = joined(", ", [phrase("{device} to {address}", device=f"davinci{row['device']}", address=row["address"]) for row in lost[:4]] + (["..."] if len(lost) > 4 else []))
            yield Finding(node=node.name, what="NPUs do not reach each other", got=phrase("{n} of {all} pairs fail: {pairs}", n=len(lost), all=len(tried), pairs=pairs),
                          expected="an answer from each", fix="Look at gateways, VLAN and TLS switch of both ends",
                          command=f"hccn_tool -i {lost[0]['device']} -ping -g address {lost[0]['address']}")
        if untold:
            yield unknown(node, phrase("whether {n} of {all} pairs of NPUs reach each other", n=len(untold), all=len(tried)), str(untold[0]["why"]), command="hccn_tool -i 0 -ping -g address A")


def label(device: Mapping[str, Any]) -> str:
    """``NPU 3`` or ``NPU 1 chip 1``; of a device whose id was not printed where it is on the bus."""
    if device.get("npu_id") is None and device.get("bus_id"):
        return f"NPU {device['bus_id']}"
    return f"NPU {device.get('npu_id')}" + (f" chip {device['chip_id']}" if device.get("chip_id") else "")


def health_command(device: Mapping[str, Any]) -> str:
    """What tells a device's error codes."""
    return f"npu-smi info -t health -i {device.get('npu_id')} -c {device.get('chip_id') or 0}"


def stamp(seconds: float) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _who_holds(node: NodeFacts) -> str:
    given = [one for one in node.part("containers").get("containers") or () if one.get("npus") or one.get("privileged")]
    if not given:
        return "Look for a container that has the devices, and ask its owner; restart the node after a firmware upgrade. Nothing is ended from here"
    told = [phrase("{name} ({image}, devices {devices})", name=one.get("name"), image=one.get("image"), devices=",".join(map(str, one.get("npus") or ())) or phrase("all"))
            for one in given[:4]]
    return phrase("Containers with NPUs: {names}. Ask the owner to stop it; nothing is ended from here", names=joined(", ", told))


def _who_command(node: NodeFacts) -> str:
    engine = node.part("containers").get("engine") or "docker"
    return f"{engine} ps; sudo fuser -v /dev/davinci*"

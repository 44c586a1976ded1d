"""Checks of the machine itself: reachable, room, limits, ports, network interfaces, clock. Pure.

Thresholds are this project's own unless a source is named. Ports 60000 to 60015: HCCL's default
(HCCL_IF_BASE_PORT, CANN environment variable reference).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from console.core.i18n import joined, phrase
from console.core.preflight.facts import REASONS, Case, NodeFacts
from console.core.preflight.finding import Finding, Found, Remedy, differing, unknown

HCCL_PORTS = range(60000, 60016)
DISK_ERROR_MB, DISK_WARN_MB = 1024, 20 * 1024
INODES_ERROR, INODES_WARN_PCT = 10_000, 5.0
SHM_WARN_MB = 8 * 1024
OPEN_FILES = 65535
PROCESSES = 4096
MTU_LEAST = 1500
OFFSET_WARN_S, OFFSET_ERROR_S = 0.5, 5.0
DISK_SLOW_MB_S, DISK_BAD_MB_S = 200.0, 50.0
PYTHON_LEAST = (3, 7)


def reachable(case: Case) -> Found:
    """Every node lets us in and its agent answers in time."""
    for node in case.nodes:
        if not node.reached:
            yield Finding(node=node.name, what="the node does not answer", got=node.why, expected="an answer from its agent",
                          fix=node.fix or "Nothing else is known of it", command=f"ssh {node.node.host}")


def answered(node: NodeFacts, case: Case) -> Found:
    """Every part of the node's answer came; checks that need a part which did not have nothing to say."""
    late = [phrase("{part} ({reason})", part=name, reason=phrase(REASONS.get(reason, reason))) for name, reason in sorted(node.absent.items())]
    if late:
        yield Finding(node=node.name, what="parts of the node's answer are not there", got=joined(", ", late[:12]) if len(late) <= 12 else phrase("{names} and {n} more", names=joined(", ", late[:12]), n=len(late) - 12), expected="all parts",
                      fix="What hangs on the node is named here; checks that need it were not made")


def agent_python(node: NodeFacts, case: Case) -> Found:
    """The node's own Python is one that the agent runs on."""
    version = node.part("host").get("python")
    if version and tuple(int(part) for part in str(version).split(".")[:2] if part.isdigit()) < PYTHON_LEAST:
        yield Finding(node=node.name, where=node.node.python, what="the node's Python is too old for the agent", got=str(version), expected="3.7 or later",
                      fix="Set `python` of the node in the fleet file", command="ls /usr/bin/python3*")


def space(node: NodeFacts, case: Case) -> Found:
    """Room and inodes where the job writes, and where the engine keeps its layers."""
    for what, path in _written(node, case):
        found = node.path(path).get("space") if path else node.part("containers").get("root_space")
        place = path or str(node.part("containers").get("root_dir"))
        if not isinstance(found, Mapping):
            if path and node.lacks(f"path:{path}"):
                yield unknown(node, phrase("the space of {what}", what=what), node.lacks(f"path:{path}"), where=path, fix="A file system that does not answer hangs jobs as well",
                              command=f"timeout 10 df -h {path}")
            continue
        free, total = found.get("free_mb"), found.get("total_mb")
        if free is not None and free < DISK_WARN_MB:
            yield Finding(node=node.name, where=place, severity="error" if free < DISK_ERROR_MB else "warning", what=phrase("{what} has little room", what=what),
                          got=phrase("{free:.1f} GB free of {total:.0f}", free=free / 1024, total=(total or 0) / 1024), expected=phrase("at least {n} GB", n=DISK_WARN_MB // 1024),
                          fix="Remove old checkpoints, logs or images", command=f"du -xsh {place}/* | sort -h | tail")
        inodes, most = found.get("inodes_free"), found.get("inodes_total")
        if inodes is not None and most and (inodes < INODES_ERROR or 100.0 * inodes / most < INODES_WARN_PCT):
            yield Finding(node=node.name, where=place, severity="error" if inodes < INODES_ERROR else "warning", what=phrase("{what} runs out of inodes", what=what),
                          got=phrase("{free} free of {total}", free=inodes, total=most), expected=phrase("{least} or more", least=f"{INODES_WARN_PCT:g}%"), fix="Remove directories with very many small files",
                          command=f"df -i {place}")


def shared_memory(node: NodeFacts, case: Case) -> Found:
    """/dev/shm is large enough for data loaders, and a container's share fits into the memory."""
    shm = node.part("host").get("shm") or {}
    total = shm.get("total_mb")
    if case.engine and case.job:
        asked, memory = gigabytes(case.job.container.shm_size), node.part("host").get("memory_total_mb")
        if asked and memory and asked * 1024 > memory:
            yield Finding(node=node.name, severity="warning", where="container.shm_size", what="the container's shared memory is larger than the node's memory",
                          got=case.job.container.shm_size, expected=phrase("at most {most}", most=f"{memory / 1024:.0f}g"), fix="Make it smaller")
        return
    if total is not None and total < SHM_WARN_MB and node.node.npus:
        yield Finding(node=node.name, where="/dev/shm", what="shared memory is small", got=f"{total / 1024:.1f} GB", expected=phrase("{least} or more", least=f"{SHM_WARN_MB // 1024} GB"),
                      fix="Data loaders die with a bus error when it is full", command="mount -o remount,size=200g /dev/shm")


def limits(node: NodeFacts, case: Case) -> Found:
    """Open files, processes and locked memory that a login may have."""
    if case.engine:
        return  # the engine's daemon sets those of a container
    known = node.part("host").get("limits") or {}
    for name, words, least, option in (("max_open_files", phrase("open files"), OPEN_FILES, "-n"), ("max_processes", phrase("processes"), PROCESSES, "-u")):
        soft = (known.get(name) or [None])[0]
        if soft is not None and soft < least:
            yield Finding(node=node.name, where=f"ulimit {option}", what=phrase("the limit of {what} is low", what=words), got=str(soft), expected=phrase("{least} or more", least=least),
                          fix="Raise it in /etc/security/limits.conf and log in again", command=f"ulimit -S {option} {least}")
    locked = (known.get("max_locked_memory") or [None])[0]
    if locked is not None and locked < 1 << 30 and node.node.npus and case.uses_npus:
        yield Finding(node=node.name, where="ulimit -l", severity="info", what="the limit of locked memory is low", got=f"{locked >> 20} MB", expected="unlimited",
                      fix="Raise it in /etc/security/limits.conf if registering memory fails", command="ulimit -l")


def ports(node: NodeFacts, case: Case) -> Found:
    """Nobody listens where the rendezvous and HCCL will."""
    known = node.part("ports")
    if node.lacks("ports"):
        yield unknown(node, phrase("which ports are taken"), node.lacks("ports"), command="ss -ltn")
        return
    listening = set(known.get("listening") or ())
    if case.job and case.nodes and node is case.nodes[0] and case.job.fleet.master_port in listening:
        port = case.job.fleet.master_port
        yield Finding(node=node.name, where=f"port {port}", what="the rendezvous port is taken", got="somebody listens", expected="free",
                      fix="End what listens there, or set fleet.master_port to another", command=f"ss -ltnp sport = :{port}")
    needed = hccl_ports(case)
    taken = sorted(listening & set(needed))
    if taken and node.node.npus and case.uses_npus:
        yield Finding(node=node.name, where=f"ports {needed[0]}-{needed[-1]}", what="ports of HCCL are taken", got=", ".join(map(str, taken)), expected="free",
                      severity="error" if case.job and "HCCL_HOST_SOCKET_PORT_RANGE" not in case.job.env else "warning",
                      fix="End what listens there, or set HCCL_IF_BASE_PORT in the job's env", command=f"ss -ltnp 'sport >= :{needed[0]} and sport <= :{needed[-1]}'")


def ports_reserved(node: NodeFacts, case: Case) -> Found:
    """The ports that the job will listen on are not given to outgoing connections meanwhile (ip_local_port_range)."""
    known = node.part("ports")
    ends = known.get("local_range") or []
    if node.lacks("ports") or len(ends) != 2:
        yield unknown(node, phrase("which ports the kernel gives away"), node.lacks("ports") or "missing", where="/proc/sys/net/ipv4/ip_local_port_range",
                      command="cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/ipv4/ip_local_reserved_ports")
        return
    reserved = str(known.get("reserved") or "")
    taken = port_set(reserved)
    wanted = {case.job.fleet.master_port} if case.job and case.nodes and node is case.nodes[0] else set()
    if node.node.npus and case.uses_npus:
        wanted |= set(hccl_ports(case))
    open_ports = sorted(port for port in wanted if ends[0] <= port <= ends[1] and port not in taken)
    if open_ports:
        remedy = Remedy(name="reserve-ports", subject=port_text(taken | set(open_ports)))
        yield Finding(node=node.name, where="/proc/sys/net/ipv4/ip_local_reserved_ports", what="the kernel may give needed ports to outgoing connections",
                      got=phrase("{ports} in the range {first}-{last}, {reserved}", ports=port_text(open_ports), first=ends[0], last=ends[1],
                                 reserved=phrase("reserved: {ports}", ports=reserved) if reserved else phrase("none reserved")),
                      expected="reserved ports", remedy=remedy, command=remedy.command,
                      fix="A start then fails at random with EJ0003 or 'address already in use'; also write it into /etc/sysctl.conf, so that it outlives a restart")


def hccl_ports(case: Case) -> range:
    """Where HCCL will listen: from the job's HCCL_IF_BASE_PORT, else from 60000."""
    base = str(case.job.env.get("HCCL_IF_BASE_PORT", "")) if case.job else ""
    first = int(base) if base.isdigit() and 1024 <= int(base) <= 65520 else HCCL_PORTS.start
    return range(first, first + len(HCCL_PORTS))


def port_set(text: str) -> set[int]:
    """The ports of ``ip_local_reserved_ports`` (``8080,9148-9150``); what is no port is left out."""
    found: set[int] = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit() and int(last or first) <= 65535:
            found |= set(range(int(first), int(last or first) + 1))
    return found


def port_text(ports: Iterable[int]) -> str:
    """The same the other way round: ascending, neighbours as one range."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def ip_forward(node: NodeFacts, case: Case) -> Found:
    """net.ipv4.ip_forward is 1, as containers need it (S3); the kernel's value, not the file's."""
    value = node.part("host").get("ip_forward")
    if case.job and not case.engine:
        return
    if value is None:
        yield unknown(node, "net.ipv4.ip_forward", node.lacks("host") or "missing", command="cat /proc/sys/net/ipv4/ip_forward")
    elif value != 1:
        remedy = Remedy(name="ip-forward")
        yield Finding(node=node.name, where="/proc/sys/net/ipv4/ip_forward", severity="error" if case.engine else "warning", what="IP forwarding is off", got=str(value),
                      expected="1", remedy=remedy, command=remedy.command,
                      fix="Containers reach the network through it; also write net.ipv4.ip_forward=1 into /etc/sysctl.conf, so that it outlives a restart")


def interface(node: NodeFacts, case: Case) -> Found:
    """The interface that the job names is there and up."""
    nics = node.part("nics")
    wanted = case.job.fleet.nic if case.job else ""
    if wanted and nics and wanted not in nics:
        yield Finding(node=node.name, where="fleet.nic", what="the network interface is not there", got=", ".join(sorted(nics)), expected=wanted,
                      fix="Name one that all nodes have", command="ip -br link")
    elif wanted and nics and (nics[wanted].get("state") not in ("up", "unknown", None) or not nics[wanted].get("addresses")):
        yield Finding(node=node.name, where=wanted, what="the network interface is not ready", got=phrase("{state}, {n} addresses", state=nics[wanted].get("state"), n=len(nics[wanted].get("addresses") or ())),
                      expected="up, with an address", fix="Bring it up, or name another in fleet.nic", command=f"ip -br addr show {wanted}")
    name = nic_of(node, case)
    mtu = (nics.get(name) or {}).get("mtu") if name else None
    if mtu is not None and mtu < MTU_LEAST:
        yield Finding(node=node.name, where=str(name), severity="warning", what="the MTU is small", got=str(mtu), expected=phrase("{least} or more", least=MTU_LEAST),
                      fix="Look at how the network is made (tunnels take some)", command=f"ip link show {name}")


def same_interface(case: Case) -> Found:
    """The same interface on all nodes; HCCL links fail when each picks another."""
    if len(case.nodes) > 1 and not (case.job and case.job.fleet.nic):
        yield from differing(case, phrase("the network interface of the node's address"), {node.name: name for node in case.reached if (name := nic_of(node, case))},
                             fix="Set fleet.nic, or HCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in env", command="ip -br addr")


def same_mtu(case: Case) -> Found:
    """The same MTU on all nodes' interfaces."""
    found = {}
    for node in case.reached:
        name = nic_of(node, case)
        mtu = (node.part("nics").get(name) or {}).get("mtu") if name else None
        if mtu is not None:
            found[node.name] = str(mtu)
    yield from differing(case, phrase("the MTU"), found, fix="Set it alike; large packets are lost between unlike ones", command="ip -br link")


def clock_kept(node: NodeFacts, case: Case) -> Found:
    """Something keeps the node's clock right."""
    if node.part("clock").get("synchronised") is False:
        yield Finding(node=node.name, what="nothing keeps the clock right", got="not synchronised", expected="chrony or ntpd in step",
                      fix="Logs of several nodes are put in order by their clocks", command="chronyc tracking; timedatectl")


def clock_offset(case: Case) -> Found:
    """The nodes' clocks agree, as far as the round trip lets us see."""
    known = {node.name: (node.clock_offset_s, node.clock_error_s) for node in case.reached if node.clock_offset_s is not None}
    if len(known) < 2:
        return
    early, late = min(known, key=lambda name: known[name][0] or 0.0), max(known, key=lambda name: known[name][0] or 0.0)
    apart = (known[late][0] or 0.0) - (known[early][0] or 0.0)
    sure = apart - known[late][1] - known[early][1]
    if sure > OFFSET_WARN_S:
        yield Finding(what="the clocks of the nodes differ", where=phrase("{late} is ahead of {early}", late=late, early=early), severity="error" if sure > OFFSET_ERROR_S else "warning",
                      got=phrase("{apart:.2f} s (sure of {sure:.2f})", apart=apart, sure=sure), expected=phrase("under {most:g} s", most=OFFSET_WARN_S), fix="Let chrony or ntpd run on all nodes, from one server",
                      command="chronyc tracking; timedatectl")


def disk_speed(node: NodeFacts, case: Case) -> Found:
    """Writing where checkpoints go is fast enough."""
    speed = case.speeds.get(node.name)
    if not speed:
        return
    if speed.get("why"):
        yield unknown(node, phrase("how fast the disk writes"), str(speed["why"]), where=case.job.checkpoint.dir if case.job else "")
    elif speed["mb_s"] < DISK_SLOW_MB_S:
        yield Finding(node=node.name, where=case.job.checkpoint.dir if case.job else "", severity="error" if speed["mb_s"] < DISK_BAD_MB_S else "warning",
                      what="the disk writes slowly", got=phrase("{speed:.0f} MB/s over {size} MB", speed=speed["mb_s"], size=speed["mb"]), expected=phrase("{least} or more", least=f"{DISK_SLOW_MB_S:.0f} MB/s"),
                      fix="Checkpoints will hold training up; look at the storage, or save less often", command="iostat -x 1 3")


def nic_of(node: NodeFacts, case: Case) -> str:
    """The interface that the job names, else the one with the node's address; "" when neither is known."""
    nics = node.part("nics")
    if case.job and case.job.fleet.nic:
        return case.job.fleet.nic if case.job.fleet.nic in nics else ""
    wanted = _address((node.node.address or node.node.host).strip("[]"))
    return next((name for name, nic in nics.items() if wanted and any(_address(each) == wanted for each in nic.get("addresses") or ())), "")


def gigabytes(text: str) -> float | None:
    """``200g``, ``512m``, ``1t`` or bytes as docker reads them; None for anything else."""
    digits = text.rstrip("bkmgtBKMGT")
    unit = text[len(digits):].lower().rstrip("b") or "b"
    factors: dict[str, Any] = {"b": 1 / (1 << 30), "k": 1 / (1 << 20), "m": 1 / 1024, "g": 1.0, "t": 1024.0}
    try:
        return float(digits) * float(factors[unit])
    except (KeyError, ValueError):
        return None


def _written(node: NodeFacts, case: Case) -> list[tuple[str, str]]:
    """(what, path) of what fills up; an empty path stands for the engine's own directory."""
    found: list[tuple[str, str]] = []
    if case.job:
        found.append((phrase("the work directory"), case.job.paths.work))
        if case.job.checkpoint.dir != case.job.paths.work:
            found.append((phrase("the checkpoint directory"), case.job.checkpoint.dir))
    else:
        found.append((phrase("the login's home"), "~/"))
    if node.part("containers").get("root_dir") and (case.engine or not case.job):
        found.append((phrase("the container engine's directory"), ""))
    return found


def _address(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

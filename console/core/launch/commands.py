"""One node's part of a job as the texts that are run there. Pure: ``JobSpec`` and ``Node`` in, scripts out.

``command.sh`` is bash, is written into the attempt's directory and executed by the shim. In a container it
enters it and runs ``ranked.sh``, which lies beside it. Everything a person wrote reaches its program as it was
written: nothing is expanded but a ``~/`` at the beginning of a path, which becomes the node's own ``$HOME``;
``runner.setup`` and ``container.setup`` alone are code.

Who starts the ranks is in ``runners``, what a container is in ``containers``.

Source: TORCH_DISABLE_SHARE_RDZV_TCP_STORE keeps restarted ranks off the agent's store, whose stale keys of the
round before made them hang.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from console.core.launch import containers, runners
from console.core.launch.factory import settings_text
from console.core.launch.runners import RUNNERS
from console.core.launch.words import DIR, Place, address, endpoint, path_word, quote
from trainer.spec.finding import Finding
from trainer.spec.job import JobSpec, Secret

__all__ = ["DIR", "RUNTIMES", "Place", "address", "endpoint", "environment", "files", "path_word", "quote", "script", "secret_lines", "unsupported"]

RUNTIMES = ("process", "docker", "podman")
"""container.runtime; podman by golden tests, and by a launch in the host tests where it is installed."""

_INTERFACE_OF = """\
import fcntl, ipaddress, socket, struct, sys
wanted = ipaddress.ip_address(sys.argv[1])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    for _, name in socket.if_nameindex():
        try:
            found = fcntl.ioctl(link.fileno(), 0x8915, struct.pack("256s", name.encode()))[20:24]  # SIOCGIFADDR
        except OSError:
            continue
        if wanted == ipaddress.ip_address(found):
            sys.exit(print(name))
for line in open("/proc/net/if_inet6"):
    if wanted == ipaddress.ip_address(bytes.fromhex(line.split()[0])):
        sys.exit(print(line.split()[5]))
"""
"""Argument: an address. Prints the interface that has it, of several addresses only by the first, or nothing."""

_SHELL_PATHS = ("RANKDECK_DIR", "ASCEND_PROCESS_LOG_PATH")
"""Exported values that are paths of ours, in which a leading ~/ is the node's home."""


def script(spec: JobSpec, place: Place) -> str:
    """The text of ``command.sh``, ending in a newline. Raises KeyError for what ``unsupported`` names."""
    names = environment(spec, place)
    lines = ["#!/usr/bin/env bash", "# Written by Rankdeck and executed as it stands.", "set -euo pipefail"]
    lines += [f"export {name}={path_word(value) if name in _SHELL_PATHS else quote(value)}" for name, value in names.items()]
    looked_up = _interface(spec, place)
    lines += looked_up
    secrets = secret_lines(spec)
    lines += secrets.values()
    if "ASCEND_PROCESS_LOG_PATH" in names:
        lines.append('mkdir -p -- "$ASCEND_PROCESS_LOG_PATH"')
    if spec.container.runtime == "process":
        lines += _inside(spec, place)
    else:
        extra = ["GLOO_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME"] if looked_up else []
        lines += containers.enter_lines(spec, dict.fromkeys([*names, *extra, *secrets]))
    return "\n".join(lines) + "\n"


def files(spec: JobSpec, place: Place) -> dict[str, str]:
    """What else has to lie in the attempt's directory: name -> text."""
    found = {}
    if spec.container.runtime != "process":
        lines = ["#!/usr/bin/env bash", "# Written by Rankdeck and executed as it stands, inside the container.", "set -euo pipefail",
                 "# For whoever has to end this: the group is called by its leader.", f'echo "$$" > {DIR}/ranked.pid', *_inside(spec, place)]
        found[containers.RANKED] = "\n".join(lines) + "\n"
    factory = spec.runner.ascendfactory
    if spec.runner.kind == "ascendfactory" and factory.dialect == "v1" and not factory.config:
        found[runners.SETTINGS] = settings_text(spec)
    return found


def environment(spec: JobSpec, place: Place) -> dict[str, str]:
    """What the script exports, in its order; a leading ``~/`` stands for the node's ``$HOME``. Secrets are not in it.

    The job's own ``env`` comes after the defaults, so that it may replace them, and before what belongs to the
    node and RANKDECK_*, which it may not.
    """
    found = {
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(spec.train.threads),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    if spec.runner.kind != "torchrun":
        # A vendor's launcher settles these itself.
        found = {"PYTHONUNBUFFERED": "1"}
    if spec.fleet.nic:
        found["GLOO_SOCKET_IFNAME"] = spec.fleet.nic
        found["HCCL_SOCKET_IFNAME"] = f"={spec.fleet.nic}"
    ascend = place.node.npus and spec.fleet.hardware.startswith("ascend")
    if ascend and spec.logging.plog:
        # Not under HOME, which in a container is gone with it.
        found["ASCEND_PROCESS_LOG_PATH"] = f"{place.dir}/plog" if spec.runner.kind == "torchrun" else f"{place.dir}/round-00/plog"
    found |= {name: value for name, value in spec.env.items() if isinstance(value, str)}
    found |= runners.rank_variables(spec, place)
    found |= {
        "RANKDECK_JOB": spec.run.name,
        "RANKDECK_ATTEMPT": place.attempt,
        "RANKDECK_NODE": place.node.name,
        "RANKDECK_NODE_INDEX": str(place.node_index),
        "RANKDECK_DIR": place.dir,
    }
    if spec.runner.kind != "torchrun":
        # Their ranks are not under the rank shim, which would count rounds; they have one.
        found["RANKDECK_ROUND"] = "0"
    return found


def secret_lines(spec: JobSpec) -> dict[str, str]:
    """Variable -> the line that reads its value where it is, at the moment it is needed."""
    secrets = {name: value for name, value in spec.env.items() if isinstance(value, Secret)}
    for key, secret in (("HF_TOKEN", spec.model.access_token),):
        if secret is not None:
            secrets.setdefault(key, secret)
    return {name: _secret(name, secret) for name, secret in secrets.items()}


def unsupported(spec: JobSpec) -> Iterator[Finding]:
    """What the job asks for and this version cannot run."""
    for path, value, table in ((("runner", "kind"), spec.runner.kind, tuple(RUNNERS)),
                               (("container", "runtime"), spec.container.runtime, RUNTIMES)):
        if value not in table:
            yield Finding(rule="L1", severity="error", path=path, message=f"{'.'.join(path)} {value} is not supported yet",
                          got=value, expected=" or ".join(table), fix=f"Use {next(iter(table))}")


def _inside(spec: JobSpec, place: Place) -> list[str]:
    """From the directory to the ranks: the same on the node and in a container."""
    lines = [f"cd -- {path_word(spec.runner.workdir or spec.paths.work)}"]
    if spec.runner.setup:
        # set_env.sh and its like read variables that nobody has set.
        lines += ["set +u", *spec.runner.setup, "set -u"]
    lines.append(" \\\n  ".join(runners.command(spec, place)))
    return lines


def _interface(spec: JobSpec, place: Place) -> list[str]:
    """Finds the interface that has this node's address, where the job does not name it.

    iproute2 says it on one line, ``2: bond0    inet 10.0.0.1/24 brd ... scope global bond0`` (of a VLAN or veth
    ``bond0.7@bond0``); where it is not installed, the node's own Python asks the kernel (netdevice(7)) and /proc.
    """
    if spec.fleet.nic or len(spec.fleet.nodes) < 2:
        return []
    name = address(place.node)
    lines = [f"address={quote(name)}"]
    try:
        if ipaddress.ip_address(name).is_loopback:
            return []
    except ValueError:
        # A name: as this node resolves it.
        lines = ["address=$(getent ahosts " + quote(name) + " 2>/dev/null | { read -r first _ && printf %s \"$first\"; }) || address="]
    return [*lines,
            'nic=$(ip -o address show to "$address" 2>/dev/null | { read -r _ nic _ && printf %s "${nic%%@*}"; }) || nic=',
            f'[ -n "$nic" ] || nic=$({path_word(place.node.python)} -I -c {quote(_INTERFACE_OF)} "$address" 2>/dev/null) || nic=',
            'if [ -n "$nic" ] && [ "$nic" != lo ]; then',
            '  export GLOO_SOCKET_IFNAME="$nic" HCCL_SOCKET_IFNAME="=$nic"',
            "else",
            f"  echo {quote(f'rankdeck: no network interface of this node has the address {name}: gloo and HCCL choose for themselves; set fleet.nic')} >&2",
            "fi"]


def _secret(name: str, secret: Secret) -> str:
    """A missing one ends the command before it begins."""
    if secret.from_file:
        return f"{name}=$(cat -- {path_word(secret.from_file)}); export {name}"
    return f'export {name}="${{{secret.from_env}:?is not set on this node}}"'

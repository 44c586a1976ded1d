"""The interface of the training network, found on the node: with iproute2 as it prints, without it, and on this machine."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.requests import addresses
from console.core.launch import containers
from console.core.launch.commands import script
from tests.console.core.launch.jobs import make_job
from tests.console.core.launch.test_commands import place

LINES = {
    "bond": ("2: bond0    inet 10.0.0.1/24 brd 10.0.0.255 scope global noprefixroute bond0\\       valid_lft forever preferred_lft forever", "bond0"),
    "alias": ("2: eth0    inet 10.0.0.1/16 brd 10.0.255.255 scope global secondary eth0:1\\       valid_lft forever preferred_lft forever", "eth0"),
    "vlan": ("12: bond0.100@bond0    inet 10.0.0.1/22 scope global bond0.100\\       valid_lft forever preferred_lft forever", "bond0.100"),
    "long index": ("1027: enp189s0f0np0    inet 10.0.0.1/24 scope global dynamic enp189s0f0np0\\       valid_lft 85871sec preferred_lft 85871sec", "enp189s0f0np0"),
    "six": ("3: eth1    inet6 fd00::1/64 scope global \\       valid_lft forever preferred_lft forever", "eth1"),
    "twice": ("2: eth0    inet 10.0.0.1/24 scope global eth0\n5: docker0    inet 10.0.0.1/16 scope global docker0", "eth0"),
    "nothing": ("", ""),
    "its own": ("1: lo    inet 10.0.0.1/8 scope host lo\\       valid_lft forever", ""),
}
"""What ``ip -o address show to ADDRESS`` prints, and the interface."""


def told(tmp_path: Path, ip: str | None, **node: str) -> tuple[dict[str, str], str]:
    """The variables that a two-node job without fleet.nic exports, and what it said. ``ip``: what that program prints; None: there is none."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name in ("bash", "env", "cat", "getent", "python3"):
        found = shutil.which(name)
        if found:
            (bin_dir / name).symlink_to(found)
    if ip is not None:
        (tmp_path / "lines").write_text(ip + "\n" if ip else "")
        (bin_dir / "ip").write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/lines\n')
        (bin_dir / "ip").chmod(0o755)
    spec = make_job(fleet={"nic": ""}, runner={"kind": "script", "entry": "/bin/env"}, paths={"work": str(tmp_path)})
    text = script(spec, place(spec, n0={"host": "10.0.0.1", "python": sys.executable, **node})).replace("exec /bin/env", "exec env")
    done = subprocess.run(["bash", "-c", text], env={"PATH": str(bin_dir), "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "_IFNAME=" in line), done.stderr


@pytest.mark.parametrize("name", LINES)
def test_as_iproute2_prints_it(name: str, tmp_path: Path) -> None:
    line, nic = LINES[name]
    found, err = told(tmp_path, line)
    assert found == ({"GLOO_SOCKET_IFNAME": nic, "HCCL_SOCKET_IFNAME": f"={nic}"} if nic else {})
    assert (tmp_path / "asked").read_text() == "-o address show to 10.0.0.1\n"
    assert ("set fleet.nic" in err) is (not nic)


def own() -> tuple[str, str]:
    """An interface of this machine and its address, not the loopback's."""
    for nic, found in addresses().items():
        for address in found:
            if not ipaddress.ip_address(address).is_loopback and not address.startswith("fe80"):
                return nic, address
    pytest.skip("this machine has no address but loopback's")


@pytest.mark.parametrize("with_ip", [True, False])
def test_on_this_machine(with_ip: bool, tmp_path: Path) -> None:
    nic, address = own()
    program = shutil.which("ip")
    if with_ip and program is None:
        pytest.skip("no iproute2 here")
    line = subprocess.run([str(program), "-o", "address", "show", "to", address], capture_output=True, text=True, check=True).stdout if with_ip else None
    found, _ = told(tmp_path, line, host=address)
    assert found == {"GLOO_SOCKET_IFNAME": nic, "HCCL_SOCKET_IFNAME": f"={nic}"}


def test_without_iproute2_and_without_the_address(tmp_path: Path) -> None:
    found, err = told(tmp_path, None, host="192.0.2.77")
    assert found == {} and "no network interface of this node has the address 192.0.2.77" in err


def test_a_name_is_resolved_on_the_node(tmp_path: Path) -> None:
    if shutil.which("getent") is None:
        pytest.skip("no getent here")
    found, _ = told(tmp_path, LINES["bond"][0], host="localhost.localdomain", address="localhost")
    # Whatever it resolves to is what is asked for; the stub has an answer for everything.
    assert found["GLOO_SOCKET_IFNAME"] == "bond0" and (tmp_path / "asked").read_text().split()[-1] in ("::1", "127.0.0.1")


@pytest.mark.parametrize("host", ["$(touch owned)", "'; touch owned; '", "-x", "a b"])
def test_hostile_addresses_are_asked_for_and_not_run(host: str, tmp_path: Path) -> None:
    told(tmp_path, "", host=host)
    assert not list(tmp_path.rglob("owned")) and not Path("owned").exists()


def test_one_node_a_named_nic_and_loopback_are_let_be() -> None:
    for spec, node in ((make_job(fleet={"nic": "", "nodes": ["n0"]}), {}), (make_job(), {}), (make_job(fleet={"nic": ""}), {"host": "127.0.1.1"})):
        assert "ip -o" not in script(spec, place(spec, n0=node))


def test_it_is_handed_into_the_container() -> None:
    spec = make_job(fleet={"nic": ""}, container={"runtime": "docker", "image": "i"})
    text = script(spec, place(spec))
    assert "--env GLOO_SOCKET_IFNAME" in text and "--env HCCL_SOCKET_IFNAME" in text and text.index("ip -o") < text.index(f"{containers.RANKED} ")

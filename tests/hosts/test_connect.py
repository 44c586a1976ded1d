"""Whom the console lets itself be connected to: keys known, unknown and changed, through a real bastion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.console_process import ConsoleProcess
from tests.hosts.rig.rig import NODES, Rig

pytestmark = pytest.mark.ssh


@pytest.fixture
def console(rig: Rig, tmp_path: Path, node_python: str) -> Iterator[Callable[..., ConsoleProcess]]:
    """Starts consoles; all of them are gone afterwards."""
    started: list[ConsoleProcess] = []

    def start(known_hosts: Path, **options: bool) -> ConsoleProcess:
        started.append(ConsoleProcess(rig, tmp_path, node_python, known_hosts, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_a_console_gets_through_the_bastion_to_every_agent(rig: Rig, console: Callable[..., ConsoleProcess], tmp_path: Path) -> None:
    connected = console(rig.known_hosts("all-known"))
    connected.wait_until_up(NODES)
    # Also where the agent had to be installed first, that was one connection and no failure.
    assert not [why for states in connected.links.values() for state, why in states if state == "down"]
    addresses = {}
    for node in NODES:
        facts = connected.request(node, "facts")
        addresses[node] = {address for found in facts["addresses"].values() for address in found}
    for node, server in rig.nodes.items():
        assert server.address in addresses[node]
    connected.leave()
    assert connected.errors() == ""


def test_an_unknown_node_is_refused_with_its_fingerprint_and_then_accepted(rig: Rig, console: Callable[..., ConsoleProcess], tmp_path: Path) -> None:
    known_hosts = rig.known_hosts("n2-unknown", ["bastion", "n1", "n3"])
    wary = console(known_hosts)
    why = wary.wait_for_link("n2", "refused")
    assert rig.nodes["n2"].fingerprint() in why
    assert "--accept-new" in why
    wary.wait_until_up(["n1", "n3"])  # one node's trouble is its own
    before = known_hosts.read_text()
    wary.leave()
    assert known_hosts.read_text() == before

    trusting = console(known_hosts, accept_new=True)
    trusting.wait_until_up(NODES)
    trusting.leave()
    (line,) = known_hosts.read_text()[len(before):].splitlines()
    assert line.split()[1:3] == rig.nodes["n2"].known_hosts_line("n2").split()[1:3]

    wary_again = console(known_hosts)
    wary_again.wait_until_up(NODES)
    wary_again.leave()


def test_an_unknown_bastion_is_refused_and_nothing_behind_it_is_reached(rig: Rig, console: Callable[..., ConsoleProcess]) -> None:
    wary = console(rig.known_hosts("bastion-unknown", NODES))
    for node in NODES:
        assert rig.bastion.fingerprint() in wary.wait_for_link(node, "refused")


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_changed_host_key_is_refused_whatever_is_accepted(rig: Rig, console: Callable[..., ConsoleProcess], accept_new: bool) -> None:
    known_hosts = rig.known_hosts("before-the-change")
    before = known_hosts.read_text()
    rig.nodes["n3"].new_host_key()
    careful = console(known_hosts, accept_new=accept_new)
    why = careful.wait_for_link("n3", "refused")
    assert rig.nodes["n3"].fingerprint() in why
    careful.wait_until_up(["n1", "n2"])
    careful.leave()
    assert known_hosts.read_text() == before
    assert "up" not in [state for state, _ in careful.links["n3"]]

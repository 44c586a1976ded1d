"""The fleet file: ranges, defaults, roles, and every mistake at once with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.launch.document import parse
from console.core.launch.inventory import Inventory, from_mapping
from console.core.launch.problems import ProblemsError
from console.core.launch.ranges import expand


def read(text: str) -> Inventory:
    value, problems = parse(text, "fleet.yaml")
    assert not problems
    return from_mapping(value.plain(), name="fleet", where="fleet.yaml", locate=value.locate)


def problems(text: str) -> list[str]:
    with pytest.raises(ProblemsError) as raised:
        read(text)
    return [f"{p.where} {p.message} {p.got} {p.fix}" for p in raised.value.problems]


def test_plain_fleet_with_defaults_and_bastion() -> None:
    fleet = read("""
name: lab
bastion: {host: gate, user: ops, port: 2222}
known_hosts: ~/.ssh/known_fleet
defaults: {user: root, port: 22, npus: 16, labels: {room: r1}}
nodes:
  - {name: n0, host: 10.0.0.1, labels: {rack: a}}
  - {name: n1, host: 10.0.0.2, role: spare, npus: 8, jump: ""}
  - n2
""")
    assert [(n.name, n.host, n.user, n.port, n.npus, n.role, n.jump) for n in fleet.nodes] == [
        ("n0", "10.0.0.1", "root", 22, 16, "worker", "ops@gate:2222"),
        ("n1", "10.0.0.2", "root", 22, 8, "spare", ""),
        ("n2", "n2", "root", 22, 16, "worker", "ops@gate:2222"),
    ]
    assert dict(fleet.node("n0").labels) == {"room": "r1", "rack": "a"}
    assert (fleet.name, fleet.known_hosts) == ("lab", "~/.ssh/known_fleet")


def test_a_range_of_nodes_with_addresses_counting_along() -> None:
    fleet = read("nodes: [{name: 'node[001-128]', host: '10.0.0.[1-128]', address: '192.168.0.[101-228]'}]")
    assert len(fleet.nodes) == 128
    last = fleet.node("node128")
    assert (fleet.nodes[0].name, last.host, last.address) == ("node001", "10.0.0.128", "192.168.0.228")


def test_hosts_default_to_the_expanded_name() -> None:
    assert [n.host for n in read("nodes: ['rack[1-2]-node[01-02]']").nodes] == [
        "rack1-node01", "rack1-node02", "rack2-node01", "rack2-node02"]


@pytest.mark.parametrize(("text", "names"), [
    ("n", ["n"]),
    ("n[0-2]", ["n0", "n1", "n2"]),
    ("n[08-11]", ["n08", "n09", "n10", "n11"]),
    ("n[1,5-6].x", ["n1.x", "n5.x", "n6.x"]),
    ("[1-2]a[3-4]", ["1a3", "1a4", "2a3", "2a4"]),
])
def test_expand(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize("text", ["n[", "n]", "n[]", "n[a-b]", "n[3-1]", "n[1-99999]", "[1-100][1-100]", "n[1--2]", "n[[1-2]]"])
def test_expand_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        expand(text)


@given(st.text(alphabet="n[]0123456789-,", max_size=12))
def test_expand_gives_distinct_order_or_a_reason(text: str) -> None:
    try:
        names = expand(text)
    except ValueError as error:
        assert str(error)
    else:
        assert len(names) <= 4096 and not any(b in name for name in names for b in "[]")


def test_every_mistake_at_once_with_its_place() -> None:
    found = problems("""
nodes:
  - {name: n0, prot: 22}
  - {name: n0, port: 99999}
  - {name: "x/../y"}
  - {name: 'n[1-3]', host: '10.0.0.[1-2]'}
  - {name: n5, role: sparse}
  - {host: h}
  - {name: n6, become: su}
  - {name: n7, npus: "8"}
bastoin: gate
""")
    text = "\n".join(found)
    assert "fleet.yaml:3:16 unknown key 'prot' in nodes.0  Did you mean 'port'?" in text
    assert "fleet.yaml:4:22 port is out of range 99999" in text
    assert "fleet.yaml:4:5 node 'n0' stands twice" in text and "fleet.yaml:3:5" in text
    assert "fleet.yaml:5:12 node names become directory names 'x/../y'" in text
    assert "fleet.yaml:6:28 host does not go with the range of name 2 hosts" in text
    assert "fleet.yaml:7:22 role is not one we know 'sparse' Did you mean 'spare'?" in text
    assert "fleet.yaml:8:5 a node needs a name" in text
    assert "become is not one we know 'su'" in text
    assert "fleet.yaml:10:22 npus is out of range '8'" in text
    assert "fleet.yaml:11:1 unknown key 'bastoin'  Did you mean 'bastion'?" in text
    assert len(found) == 10


@pytest.mark.parametrize("text", ["[]", "nodes: []", "nodes: n0", "nodes: {n0: {}}", "name: 3\nnodes: [a]", "nodes: [3]",
                                  "bastion: [a]\nnodes: [a]", "bastion: 'a b'\nnodes: [a]", "defaults: 3\nnodes: [a]",
                                  "nodes: [{name: \"a\\nb\"}]", "defaults: {name: x}\nnodes: [a]"])
def test_shapes_that_are_no_fleet(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize("name", ["-x", "..", ".x", "a b", "a;b", "a$b", "é", "a" * 64, ""])
def test_unsafe_node_names_are_refused(name: str) -> None:
    with pytest.raises(ProblemsError):
        from_mapping({"nodes": [{"name": name}]}, name="f", where="f")


def test_ipv6_host_is_no_range() -> None:
    assert read("nodes: [{name: n0, host: 'fd00::1'}, {name: n1, host: '[fd00::2]'}]").node("n1").host == "[fd00::2]"

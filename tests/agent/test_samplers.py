"""What is looked at how often, and what of it becomes a record."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from agent import clock, samplers, wire
from agent.resident import Options


class Bench:
    """Does every look at once, with a clock that is turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.now = 1000.0
        monkeypatch.setattr(clock, "mono_s", lambda: self.now)
        monkeypatch.setenv("RANKDECK_DCMI", "")
        self.stored: list[tuple[str, dict[str, Any]]] = []
        self.looks: list[str] = []
        self.busy: set[str] = set()
        self.results: dict[str, dict[str, Any]] = {}
        self.made = samplers.Samplers(Options(**options), self.when_idle, lambda kind, data: self.stored.append((kind, data)))

    def when_idle(self, lane: str, work: Callable[[], Any], name: str, then: Callable[[Any], None]) -> None:
        assert lane in samplers.LANES
        if lane in self.busy:
            return
        self.looks.append(name)
        then(dict({"took_s": self.now / 1e6}, **self.results.get(name, {})))

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.made._tick()

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.stored]


SAMPLE = {"columns": {"npu_id": [0, 1], "chip_id": [0, 0], "health": ["OK", "OK"]}, "processes": {}}


def test_unchanged_facts_are_stored_again_only_after_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, containers_s=30, network_s=0)
    bench.results["containers"] = {"engine": "docker"}
    for _ in range(19):
        bench.tick(30)
    assert bench.looks == ["containers"] * 19 and bench.kinds() == ["containers"]
    bench.tick(60)
    assert bench.kinds() == ["containers"] * 2
    bench.results["containers"] = {"engine": "podman"}
    bench.tick(30)
    assert bench.kinds() == ["containers"] * 3


def test_each_probe_has_its_own_cadence_and_0_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, containers_s=0, occupancy_s=10, network_s="20")
    bench.made._take_npu(SAMPLE)
    for _ in range(40):
        bench.tick(1)
    assert {name: bench.looks.count(name) for name in set(bench.looks)} == {"occupancy": 4, "network": 2}


def test_error_codes_are_asked_for_while_a_device_is_not_ok_and_once_when_it_is_well_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, containers_s=0, occupancy_s=0, network_s=0, health_s=30)
    bench.made._take_npu(SAMPLE)
    bench.tick(1)
    assert bench.looks == []
    bench.made._take_npu(dict(SAMPLE, columns=dict(SAMPLE["columns"], health=["OK", "Alarm"])))
    bench.results["health"] = {"devices": [{"npu_id": 1}]}
    bench.tick(1)
    bench.tick(1)
    assert bench.looks == ["health"]
    bench.made._take_npu(SAMPLE)
    bench.results["health"] = {"devices": []}
    bench.tick(30)
    bench.tick(30)
    assert bench.looks == ["health"] * 2 and [data["devices"] for kind, data in bench.stored if kind == "health"] == [[{"npu_id": 1}], []]


def test_a_long_scan_is_made_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, containers_s=0, network_s=0, occupancy_s=10)
    bench.made._take_npu(SAMPLE)
    bench.results["occupancy"] = {"took_s": 0.25}
    for _ in range(100):
        bench.tick(1)
    assert bench.looks == ["occupancy"] * 2


def test_devices_are_counted_where_their_files_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.probe import occupancy

    bench = Bench(monkeypatch)
    monkeypatch.setattr(occupancy, "device_numbers", list)
    assert bench.made.devices() == []
    bench.made._take_npu(SAMPLE)
    assert bench.made.devices() == [0, 1]
    monkeypatch.setattr(occupancy, "device_numbers", lambda: [4, 5])
    assert bench.made.devices() == [4, 5]


def test_the_new_records_have_the_promised_fields() -> None:
    from agent.probe import containers, health, network, occupancy

    assert wire.problems_in("containers", containers.read(finder=lambda tool: None)) == []
    assert wire.problems_in("network", network.read([0], finder=lambda tool: None)) == []
    assert wire.problems_in("occupancy", occupancy.read(root="/proc/self/no-such-folder")) == []
    assert wire.problems_in("health", health.read([(0, 0, "Alarm")], finder=lambda tool: None)) == []

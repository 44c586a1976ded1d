"""What is looked at how often: the table of probes, and the memory that one look leaves for another.

Owns cadences and the rule that slow-changing facts become a record only when they have changed, or after
ten minutes so that their age stays known. Refuses to wait: every look is done in its own lane, never two of
a kind at once. A cadence of 0 switches a probe off (``--network-s 0``).
"""

from __future__ import annotations

from typing import Any, Callable

from agent import clock

REPEAT_S = 600.0
SHARE = 200.0
"""A scan of /proc is not repeated before so many times its own length: half a percent of one core at most."""
_TICK_S = 1.0

LANES = ("npu", "host", "network", "containers", "occupancy", "health")
"""One lane each, by the name of its probe."""

WhenIdle = Callable[[str, Callable[[], Any], str, Callable[[Any], None]], None]


class Samplers:
    """``start`` once, on the loop. ``when_idle(lane, work, name, then)`` and ``store(kind, data)`` are the resident's."""

    def __init__(self, options: Any, when_idle: WhenIdle, store: Callable[[str, dict[str, Any]], None]) -> None:
        from agent.probe import host, network, npu

        self._host, self._network = host, network
        self._options, self._when_idle, self._put = options, when_idle, store
        self._npu = npu.Npu(options.npu_timeout_s)
        self._host_state: Any = None
        self._kept: dict[str, tuple[dict[str, Any], float]] = {}
        self._due: dict[str, float] = {}
        self._seen: dict[str, tuple[dict[str, Any], float]] = {}
        self.sample: dict[str, Any] = {}
        self.npu_count: int | None = None

    def start(self, every: Callable[[float, Callable[[], None]], None]) -> None:
        """Begin to look. ``every``: of the loop."""
        every(self._options.npu_s, lambda: self._when_idle("npu", self._npu.read, "npu", self._take_npu))
        every(self._options.host_s, lambda: self._when_idle("host", lambda: self._host.read(self._host_state), "host", self._take_host))
        every(_TICK_S, self._tick)

    def devices(self) -> list[int]:
        """Numbers of this node's devices: of /dev/davinciN, else as many as npu-smi lists."""
        from agent.probe import occupancy

        return occupancy.device_numbers() or list(range(self.npu_count or 0))

    def latest(self, kind: str) -> tuple[dict[str, Any], float]:
        """The newest look of a kind and its age in seconds; an empty one when there was none. From any thread."""
        data, at = self._seen.get(kind, ({}, 0.0))
        return data, clock.mono_s() - at

    def close(self) -> None:
        """End what the probes have started."""
        self._npu.close()

    def _take_npu(self, data: dict[str, Any]) -> None:
        column = (data.get("columns") or {}).get("npu_id")
        self.npu_count = len(column) if column is not None else self.npu_count
        self.sample = data
        self._seen["sample"] = (data, clock.mono_s())
        self._put("sample", data)

    def _take_host(self, found: tuple[dict[str, Any], Any]) -> None:
        data, self._host_state = found
        self._put("host", data)

    def _tick(self) -> None:
        from agent.probe import containers, health, occupancy

        sample = self.sample
        self._look("containers", self._options.containers_s, containers.read)
        if not sample:
            return
        self._look("occupancy", self._options.occupancy_s, lambda: occupancy.read(sample.get("processes")))
        if self.devices():
            self._look("network", self._options.network_s, lambda: self._network.read(self.devices()))
        asked = health.suspects(sample)
        if asked or (self._kept.get("health") or ({}, 0.0))[0].get("devices"):
            self._look("health", self._options.health_s, lambda: health.read(asked))

    def _look(self, name: str, period_s: float, work: Callable[[], dict[str, Any]]) -> None:
        now = clock.mono_s()
        if period_s <= 0 or now < self._due.get(name, 0.0):
            return
        self._due[name] = now + period_s
        self._when_idle(name, work, name, lambda data: self._keep(name, data))

    def _keep(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "occupancy":
            self._due[kind] = max(self._due.get(kind, 0.0), clock.mono_s() + SHARE * float(data.get("took_s") or 0.0))
        self._seen[kind] = (data, clock.mono_s())
        facts = {name: value for name, value in data.items() if name != "took_s"}
        before, at = self._kept.get(kind, ({}, -REPEAT_S))
        if facts != before or clock.mono_s() >= at + REPEAT_S:
            self._kept[kind] = (facts, clock.mono_s())
            self._put(kind, data)

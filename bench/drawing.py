"""CPU time of one redraw: the heat grid with 1,024 NPUs, all values new, and a curve with a million points.

From the values to the strips that Textual paints. What a terminal then does with them is in ``bench.keys``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from rich.style import Style

from bench.result import Ratio, Result, Samples
from console.core.events import LinkChanged, RecordArrived
from console.core.fleet.series import Series
from console.core.fleet.state import FleetState, apply
from console.core.fleet.views import NodeRow, node_rows
from console.tui.lines import Line
from console.tui.widgets.curve import draw_curve
from console.tui.widgets.device_grid import draw_grid
from console.tui.widgets.line_pane import strip

NODES, DEVICES = 128, 8
POINTS = 1_000_000
SIZE = (118, 34)
NOW = 1_795_324_200.0
AT_MOST_MS = {"grid": 2.0, "curve": 5.0}


def fleet(seed: int) -> FleetState:
    """128 nodes of 8 NPUs with values of their own."""
    rng, state = random.Random(seed), FleetState()
    for number in range(NODES):
        name, count = f"node{number:03d}", range(DEVICES)
        columns = {"npu_id": list(count), "chip_id": [0] * DEVICES, "health": ["OK"] * DEVICES, "aicore_pct": [rng.randrange(101) for _ in count],
                   "temperature_c": [rng.randrange(30, 90) for _ in count], "power_w": [rng.uniform(90, 380) for _ in count],
                   "hbm_used_mb": [rng.randrange(65536) for _ in count], "hbm_total_mb": [65536] * DEVICES}
        state = apply(state, LinkChanged(node=name, at=NOW, state="up", rtt_s=0.01))
        state = apply(state, RecordArrived(node=name, spool_id="s", seq=seed, kind="sample", key=None, time=NOW, at=NOW,
                                           data={"columns": columns, "complete": True}))
    return state


def cpu_ms(what: Callable[[], object]) -> float:
    """CPU time of this process for one call, ms."""
    began = time.process_time()
    what()
    return (time.process_time() - began) * 1000.0


def run(rounds: int) -> Result:
    """Milliseconds of CPU a redraw."""
    base = Style(color="default")

    def painted(lines: list[Line]) -> None:
        for line in lines:
            strip(line, SIZE[0], base)

    series = Series()
    rng = random.Random(1)
    series.extend(range(1, POINTS + 1), [4.0 * 0.999997**at + rng.uniform(0, 0.3) for at in range(POINTS)])
    draw_curve(series, (), *SIZE)  # the pyramid is built once, when somebody looks first
    taken: dict[str, list[float]] = {"rows": [], "grid": [], "curve": []}
    for turn in range(-2, rounds):
        state = fleet(turn + 10)
        rows: list[tuple[NodeRow, ...]] = []
        figures = {
            "rows": cpu_ms(lambda state=state, rows=rows: rows.append(node_rows(state, NOW))),
            "grid": cpu_ms(lambda rows=rows: painted(draw_grid(rows[0], *SIZE))),
            "curve": cpu_ms(lambda: painted(draw_curve(series, (), *SIZE)))}
        for name, value in figures.items():
            if turn >= 0:
                taken[name].append(value)
    names = {"rows": "1,024 NPUs: values to rows (once, for all panes)", "grid": "1,024 NPUs: grid redraw", "curve": "curve of 1M points: redraw"}
    samples = tuple(Samples(name=names[name], unit="ms", values=tuple(values)) for name, values in taken.items())
    ratios = tuple(Ratio(name=f"{names[name]} over {limit:g} ms", values=tuple(value / limit for value in taken[name]), at_most=1.0)
                   for name, limit in AT_MOST_MS.items())
    return Result(samples=samples, ratios=ratios, notes=("CPU time of the process, on a machine that may be shared",))

"""Textual itself, without a feed: what the console's keys are measured against.

``BareLine`` shows what is typed. ``BareViews`` has a table of 128 rows over a log of 20,000 lines, both of Textual's own
widgets, and answers the console's keys with the same: a cursor in the table, a log scrolled, the other one in focus, another
order, a coloured text of 1,024 cells over the table, the log alone.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.widgets import ContentSwitcher, DataTable, Log, Static

from bench.load_feed import DEVICES, NODES, node_name

KEPT_LINES = 20_000
COLUMNS = (("node", 24), ("link", 12), ("rtt", 6), ("age", 5), ("NPU", 6), ("cpu", 4), ("load", 6), ("mem", 4), ("disk", 4))
ORDERS = ("name", "trouble", "load", "temperature", "age")
"""As many as the console has; each is by some column here."""


class BareLine(App[None]):
    """An application that shows what is typed, at the bottom as the console does."""

    CSS = "Static { dock: bottom; width: 100%; height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._typed = ":"

    def compose(self) -> ComposeResult:
        yield Static(self._typed, markup=False)

    def on_key(self, event: Key) -> None:
        """Show the key."""
        self._typed += event.character or ""
        self.query_one(Static).update(self._typed, layout=False)  # a line's repaint, as in the console


def _line(number: int) -> str:
    return f" [2026-11-22 05:10:01.{number % 1000:03d}] worker line {number:9d} | elapsed time per iteration (ms): 123.4 | grad norm: 1.234 | padded to a usual length"


def _grid() -> Content:
    """128 nodes of 8 NPUs, a coloured cell each, as many columns of nodes as there is room for."""
    deep = 26
    lines = []
    for at in range(deep):
        spans: list[tuple[str, str]] = []
        for number in range(at, NODES, deep):
            spans.append((f"● {node_name(number)} ", "green"))
            spans += [("▁▂▃▄▅▆▇█"[(number * 5 + device * 3) % 8], ("blue", "cyan", "green", "yellow")[(number + device) % 4]) for device in range(DEVICES)]
            spans.append(("     ", ""))
        lines.append(Content.assemble(*spans))
    return Content("\n").join(lines)


class BareViews(App[None]):
    """See the module."""

    AUTO_FOCUS = "#home Log"
    CSS = """
    Screen { layout: vertical; }
    ContentSwitcher { height: 1fr; }
    #home, #fleet, #logs { height: 1fr; }
    DataTable, Log { height: 1fr; border: round white; }
    DataTable:focus, Log:focus { border: heavy cyan; }
    Static { height: 1; }
    #grid { height: 20; border: round white; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("0", "view('home')"), Binding("1", "view('fleet')"), Binding("5", "view('logs')"), Binding("o", "order")]

    def __init__(self) -> None:
        super().__init__()
        self._order = 0

    def compose(self) -> ComposeResult:
        yield Static(" bare", id="top", markup=False)
        with ContentSwitcher(initial="home"):
            with Vertical(id="home"):
                yield DataTable(cursor_type="row")
                yield Log()
            with Vertical(id="fleet"):
                yield Static(_grid(), id="grid", markup=False)
                yield DataTable(cursor_type="row")
            with Vertical(id="logs"):
                yield Log()
        yield Static(" bare", id="bottom", markup=False)

    def on_mount(self) -> None:
        """Fill table and log."""
        for table in self.query(DataTable):
            table.border_title = "Nodes"
            for name, width in COLUMNS:
                table.add_column(name, width=width, key=name)
            for number in range(NODES):
                table.add_row(node_name(number), "● up", "10ms", "1s", "8/8", f"{number * 37 % 100}%", f"{number * 53 % 128}.0", f"{number * 71 % 100}%", "-")
        for log in self.query(Log):
            log.border_title = "Log"
            log.write_lines([_line(number) for number in range(KEPT_LINES)])

    def action_view(self, name: str) -> None:
        """Another view."""
        self.query_one(ContentSwitcher).current = name
        self.query_one("#top", Static).update({"home": " bare", "fleet": " 1 Fleet", "logs": " 5 Logs"}[name], layout=False)

    def action_order(self) -> None:
        """Another order of the table."""
        self._order = (self._order + 1) % len(ORDERS)
        self.query_one("#home DataTable", DataTable).sort(COLUMNS[(0, 5, 6, 7, 0)[self._order]][0])
        self.query_one("#bottom", Static).update(f" nodes by {ORDERS[self._order]}", layout=False)

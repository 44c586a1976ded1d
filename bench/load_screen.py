"""What ``bench.load`` runs on a terminal: ``python -m bench.load_screen console|views|log|grid|bare|bare-views [--history FILE] [--hour]``.

``console`` and ``views`` are the console itself (``views`` with the node table between grid and log), its history written
to the file as it comes; ``log`` and ``grid`` an application with that one widget and its half of the feed; ``bare`` and
``bare-views`` Textual alone, without a feed. With ``--hour`` an hour of the fleet goes by as fast as the console takes it
in, each second of it drawn, and the process then says how much memory it has.
"""

from __future__ import annotations

import argparse
import os
import resource
import threading
import time
from pathlib import Path

from textual.app import App, ComposeResult

from bench.bare_screens import BareLine, BareViews
from bench.load_feed import LoadFeed, SystemClock

HOUR_S = 3600


def alone(pane: str, feed: LoadFeed, clock: SystemClock) -> App[None]:
    """An application with that one pane, drawn at the console's rate."""
    from console.tui import panes

    class Alone(App[None]):
        CSS = ".pane { height: 1fr; }"

        def compose(self) -> ComposeResult:
            self.pane = panes.make(pane, feed)
            yield self.pane

        def on_mount(self) -> None:
            self.set_interval(0.1, self.tick)

        def tick(self) -> None:
            if feed.drain():
                self.pane.show(feed.state, clock.wall_s())

    return Alone()


def show_console(shown: tuple[str, ...], feed: LoadFeed, clock: SystemClock, *, hour: bool) -> None:
    """The console with these panes, one above the other."""
    from console.core.layout import Box, LayoutSpec
    from console.tui.app import Options, run

    layout = LayoutSpec(name="bench", root=Box(children=tuple(Box(pane=name, size="1fr") for name in shown)))
    if hour:
        from console.tui import slices

        slices.SLICE_S = 1.0  # nobody types

        def tell() -> None:
            while feed.seconds < HOUR_S:
                time.sleep(0.1)
            now = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
            os.write(2, f"\nMEMORY {now:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} END\n".encode())

        threading.Thread(target=tell, daemon=True).start()
    # A look at every second of the hour: the console keeps one state a second for the time cursor.
    run(feed, lambda wish: None, clock, layout, options=Options(fps=1000.0 if hour else 10.0))


def main() -> None:
    """Run the one that was asked for until the terminal goes away, or the hour is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["console", "views", "log", "grid", "bare", "bare-views"])
    parser.add_argument("--history", type=Path)
    parser.add_argument("--hour", action="store_true")
    options = parser.parse_args()
    clock = SystemClock()
    if options.what.startswith("bare"):
        (BareLine() if options.what == "bare" else BareViews()).run(mouse=False)
        return
    if options.what in ("log", "grid"):
        feed = LoadFeed(clock, fleet=options.what == "grid", log=options.what == "log")
        feed.start()
        alone({"log": "logs", "grid": "fleet-grid"}[options.what], feed, clock).run(mouse=False)
        return
    feed = LoadFeed(clock, fleet=True, log=True, hour=options.hour, history=options.history)
    feed.start()
    show_console(("fleet-grid", "logs") if options.what == "console" else ("fleet-grid", "nodes", "logs"), feed, clock, hour=options.hour)


if __name__ == "__main__":
    main()

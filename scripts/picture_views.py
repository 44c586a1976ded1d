"""Draws docs/img/view-*.svg: the real screen, each of its views, on the recorded fleet that the tests look at.

Usage: picture_views.py [FOLDER]. Nothing is connected to; the same code draws as in a terminal.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from console.core import i18n  # noqa: E402
from console.tui.app import ConsoleApp, Options  # noqa: E402
from console.tui.layout_host import BUILT_IN  # noqa: E402
from console.tui.views import KEYS  # noqa: E402
from console.tui.words import catalogue  # noqa: E402
from tests.console.tui import errand_scene, scene  # noqa: E402

SIZE = (120, 36)
PICTURES: dict[str, tuple[str, tuple[str, ...], str]] = {
    **{f"view-{name}": (name, (), "") for name in KEYS.values()},
    "view-job": ("launch", ("escape", "tab"), ""),
    "view-past": ("training", ("left_curly_bracket",), ""),
    "view-detail": ("fleet", ("down", "down", "enter"), ""),
    "view-chinese": ("fleet", (), "zh"),
}
"""File -> view, keys, language."""
NEWS = {"view-checks": errand_scene.check_told(), "view-job": [errand_scene.planned()]}
"""File -> what errands came to."""
EVENTS = {"view-incident": scene.broken_events()}
"""File -> what has happened besides."""


async def draw(view: str, keys: tuple[str, ...], target: Path) -> None:
    """Write one picture."""
    feed = scene.full_feed()
    feed.said += NEWS.get(target.stem, ())
    feed.pending += EVENTS.get(target.stem, ())
    app = ConsoleApp(feed, feed.submit, scene.fixed_clock(), BUILT_IN, environ={}, options=Options(fps=0.001, view=view, fleet="lab"))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause(0.2)
        picture = app.export_screenshot(title="rankdeck")
    # Lines without trailing blanks, so that the picture can be kept under version control.
    target.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n", "utf-8")
    print(f"drawn: {target}")


def main(folder: Path) -> int:
    """0 when all were drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (view, keys, lang) in PICTURES.items():
        i18n.use(catalogue(lang or "en", {}))
        asyncio.run(draw(view, keys, folder / f"{name}.svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "img"))

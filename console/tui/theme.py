"""The screen's own TCSS, under every layout's: frames, bars, dialogs. And how a layout's TCSS is checked.

On screens of fewer than 30 lines panes have a line above instead of a frame around: six lines more to read.
"""

from __future__ import annotations

from collections.abc import Mapping

from textual.css.stylesheet import Stylesheet, StylesheetParseError
from textual.css.tokenizer import TokenError
from textual.theme import BUILTIN_THEMES

from console.core.i18n import say

THEME = "ansi-dark"
VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-high")]

BASE = """
Screen { layout: vertical; overflow: hidden; scrollbar-size: 0 0; }
#host { height: 1fr; }
#too-small { display: none; height: 1fr; content-align: center middle; text-align: center; }
Screen.-too-small #host, Screen.-too-small .bar, Screen.-too-small CommandLine { display: none; }
Screen.-too-small #too-small { display: block; }

.bar { height: 1; }
.pane {
    min-height: 2; scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto;
    scrollbar-color: ansi_white; scrollbar-background: ansi_default; scrollbar-color-hover: ansi_bright_white;
    scrollbar-background-hover: ansi_default; scrollbar-color-active: ansi_bright_white; scrollbar-background-active: ansi_default;
    border: round ansi_bright_black; border-title-color: ansi_default; border-title-style: bold;
    border-subtitle-color: ansi_bright_black;
}
.-short .pane { border: none; border-top: solid ansi_bright_black; }
.-short Horizontal > .pane { margin: 0 0 0 1; }
.-short Horizontal > .pane:first-child { margin: 0; }
.pane:focus { border: heavy ansi_cyan; border-title-color: ansi_cyan; }
.-short .pane:focus { border: none; border-top: heavy ansi_cyan; }
Screen.-armed .pane { border: heavy ansi_red; }
Screen.-armed .pane:focus { border: double ansi_red; }
Screen.-armed.-short .pane { border: none; border-top: heavy ansi_red; }
Screen.-armed.-short .pane:focus { border: none; border-top: double ansi_red; }

CommandLine { height: 1; }
CommandLine .prompt { width: 1; text-style: bold; color: ansi_cyan; }
CommandLine Input { width: 2fr; min-width: 20; max-width: 48; }
CommandLine .candidates { width: 3fr; color: ansi_bright_black; text-wrap: nowrap; text-overflow: ellipsis; }

ModalScreen { align: center middle; }
.dialog { scrollbar-size: 1 1; width: 92; max-width: 100%; height: auto; max-height: 100%; border: round ansi_cyan; padding: 0 1; overflow-y: auto; }
.dialog.danger { border: heavy ansi_red; }
.dialog Static { height: auto; }
.dialog Input { margin: 1 0 0 0; }
"""


def choose(environ: Mapping[str, str]) -> str:
    """The theme for an environment: TEXTUAL_THEME where it names one, unless NO_COLOR is set.

    NO_COLOR with another theme still paints greys (measured: 1,513 colour codes on the first screen).
    """
    wanted = environ.get("TEXTUAL_THEME", "")
    return wanted if wanted in BUILTIN_THEMES and "NO_COLOR" not in environ else THEME


def checked(css: str) -> tuple[str, str]:
    """(the layout's TCSS, no error), or (nothing, what is wrong with it) when Textual cannot read it."""
    if not css.strip():
        return "", ""
    sheet = Stylesheet(variables={})
    sheet.add_source(css, read_from=("layout", ""))
    try:
        sheet.parse()
    except (StylesheetParseError, TokenError) as error:
        first = str(getattr(error, "message", "") or "").splitlines()
        return "", say("layout colours ignored: {why}", why=first[0] if first else say("not TCSS"))
    return css, ""

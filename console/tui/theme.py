"""The screen's own TCSS, under every layout's: frames, bars, dialogs. And how a layout's TCSS is checked.

On screens of fewer than 30 lines panes have a line above instead of a frame around: six lines more to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from rich.style import Style
from textual.app import App
from textual.css.stylesheet import Stylesheet, StylesheetParseError
from textual.css.tokenizer import TokenError
from textual.theme import BUILTIN_THEMES

from console.core.i18n import say
from console.core.records import dataclass
from console.tui import palette

HIGH_FROM = 30
VERTICAL_BREAKPOINTS = [(0, "-short"), (HIGH_FROM, "-high")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``name``: one of THEMES or of Textual's own; ``textual``: the Textual theme under it; ``ansi``: whether only
    the terminal's own sixteen colours are used; ``paint``: tones that look other than in ``palette.STYLES``, as changes
    of that style in Rich's words; ``bare``: those that look so and nothing else."""

    name: str
    textual: str
    ansi: bool
    paint: Mapping[str, str] = field(default_factory=dict)
    bare: Mapping[str, Style] = field(default_factory=dict)

    @property
    def styles(self) -> Mapping[str, Style]:
        """Tone -> style of all that is changed; worked out for the theme that is chosen alone."""
        return {**{tone: palette.STYLES[tone] + Style.parse(text) for tone, text in self.paint.items()}, **self.bare}

    def adopt(self, app: App[Any]) -> None:
        """Dress the application, and everything that is drawn by tones. To be called before ``App.__init__``: a theme
        that is set later has Textual read all style sheets twice before it paints."""
        app.set_reactive(App.theme, self.textual)
        palette.use(self.styles)


def _paint(**changes: str) -> dict[str, str]:
    return changes


THEMES: Mapping[str, Choice] = {
    "ansi": Choice(name="ansi", textual="ansi-dark", ansi=True),
    "dark": Choice(name="dark", textual="textual-dark", ansi=False, paint=_paint(
        good="#4ec97b", warn="#e5c07b", bad="#ff6b6b", alarm="#ff6b6b", stale="#a98f4e", busy="#56b6c2", key="#56b6c2", heat0="#6b7280", heat1="#4f7cac",
        heat2="#56b6c2", heat3="#4ec97b", heat4="#a3e635", memory="#c678dd", curve="#7dcfff", saved="#4ec97b", restarted="#e5c07b")),
    "light": Choice(name="light", textual="textual-light", ansi=False, paint=_paint(
        good="#116329", warn="#7a4e00", bad="#b3001b", alarm="#b3001b", stale="#7a6a3a", busy="#055d75", key="#055d75", heat0="#7a7a7a", heat1="#1f4e8c",
        heat2="#055d75", heat3="#116329", heat4="#0b3d0b", memory="#7d1a8c", curve="#0550ae", saved="#116329", restarted="#7a4e00")),
    "high-contrast": Choice(name="high-contrast", textual="ansi-dark", ansi=True, paint=_paint(
        good="bold bright_green", warn="bold bright_yellow", bad="bold bright_red", alarm="bold bright_red reverse", stale="not dim bright_yellow underline",
        busy="bold bright_cyan", key="bold bright_cyan", curve="bold bright_white", memory="bright_magenta", heat1="bright_blue", heat2="bright_cyan",
        heat3="bright_green", saved="bold bright_green", restarted="bold bright_yellow"),
        bare={**{tone: Style(dim=False) for tone in ("dim", "off", "heat0", "axis")}, "head": Style(bold=True, underline=True)}),
    # Blue against orange, after Okabe and Ito (Color Universal Design, 2008): told apart by the usual kinds of colour blindness.
    "colour-blind": Choice(name="colour-blind", textual="textual-dark", ansi=False, paint=_paint(
        good="#56b4e9", warn="#f0e442", bad="#e69f00", alarm="#e69f00", stale="#b8ad3a", busy="#cccccc", key="#56b4e9", heat0="#6b7280", heat1="#0072b2",
        heat2="#3b8fc7", heat3="#56b4e9", heat4="#a6dcff", memory="#cc79a7", curve="#56b4e9", saved="#56b4e9", restarted="#f0e442")),
}
THEME = "ansi"

BASE = """
Screen { layout: vertical; overflow: hidden; scrollbar-size: 0 0; }
#host { height: 1fr; }
#too-small { display: none; height: 1fr; content-align: center middle; text-align: center; }
Screen.-too-small #host, Screen.-too-small .bar { display: none; }
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
.pane:focus { border: heavy ansi_cyan; border-title-color: ansi_cyan; }
.-short .pane:focus { border: none; border-top: heavy ansi_cyan; }
Screen.-armed .pane { border: heavy ansi_red; }
Screen.-armed .pane:focus { border: double ansi_red; }
Screen.-armed.-short .pane { border: none; border-top: heavy ansi_red; }
Screen.-armed.-short .pane:focus { border: none; border-top: double ansi_red; }

Screen.-past .pane { border: round ansi_yellow; }
Screen.-past .pane:focus { border: heavy ansi_yellow; }
Screen.-past.-short .pane { border: none; border-top: solid ansi_yellow; }
Screen.-past.-short .pane:focus { border: none; border-top: heavy ansi_yellow; }

ModalScreen { align: center middle; }
.dialog { scrollbar-size: 1 1; width: 92; max-width: 100%; height: auto; max-height: 100%; border: round ansi_cyan; padding: 0 1; overflow-y: auto; }
.dialog.danger { border: heavy ansi_red; }
.dialog Static { height: auto; }
.dialog Input { margin: 1 0 0 0; }
"""


def choose(environ: Mapping[str, str], wanted: str = "") -> Choice:
    """The theme asked for, else the one TEXTUAL_THEME names, else "ansi"; NO_COLOR outranks both.

    NO_COLOR with another theme still paints greys (measured: 1,513 colour codes on the first screen).
    """
    if environ.get("NO_COLOR"):
        return THEMES["high-contrast"] if wanted == "high-contrast" else THEMES[THEME]
    if wanted in THEMES:
        return THEMES[wanted]
    named = environ.get("TEXTUAL_THEME", "")
    if named in BUILTIN_THEMES:
        return Choice(name=named, textual=named, ansi=named.startswith("ansi-"))
    return THEMES[THEME]


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

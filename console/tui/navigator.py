"""Where the operator is: the view on the screen, the one before, and how deep in a drill-down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.i18n import say
from console.tui.views import FIRST_PANE, HOME, KEYS, VIEWS

if TYPE_CHECKING:
    from console.core.fleet.drill import Target
    from console.tui.app import ConsoleApp
    from console.tui.widgets.detail import Detail


class Navigator:
    """``view`` is one of views.VIEWS or HOME, the layout."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self.view = HOME
        self.before = ""

    @property
    def title(self) -> str:
        """What stands on the top line."""
        if self.view == HOME:
            return say(self._app.home_spec.title)
        number = next((key for key, name in KEYS.items() if name == self.view), "")
        return f"{number} {say(VIEWS[self.view].title)}".strip()

    def go(self, view: str) -> None:
        """Show that view; the one on the screen becomes the last one."""
        if view != self.view:
            self.before, self.view = self.view, view
        host = self._app.host
        host.show_spec(self._app.home_spec if view == HOME else VIEWS[view], FIRST_PANE.get(view, ""))

    def last(self) -> bool:
        """Back to the view before; False when there was none."""
        if not self.before:
            return False
        self.go(self.before)
        return True

    def open(self, target: Target, *, as_tree: bool = False) -> None:
        """Drill into the target; from within a drill-down one level deeper."""
        if self.view != "detail":
            self.go("detail")
            self._detail().begin()
        self._detail().open(target, as_tree=as_tree)

    def up(self) -> bool:
        """One step back out of a drill-down; False when not in one."""
        if self.view != "detail":
            return False
        if not self._detail().close():
            self.view = "detail"
            self.go(self.before or HOME)
        return True

    def selected(self) -> Target | None:
        """What the current pane has selected, or what a drill-down is about."""
        from console.core.fleet.drill import Target

        pane = self._app.host.current
        chosen = pane.chosen() if pane is not None else None
        if isinstance(chosen, Target):
            return chosen
        return self._detail().target if self.view == "detail" else None

    def _detail(self) -> Detail:
        from console.tui.widgets.detail import Detail

        pane = self._app.host.pane("detail")
        assert isinstance(pane, Detail)
        return pane

"""A console on which text can do nothing but be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from cnncli.report.visible import visible


class Screen(Console):
    """A console that never reads text as markup, and shows its control characters as escapes.

    Colours and the like are the console's own, put around the text afterwards.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **more)

    def render_str(self, text: str, **more: Any) -> Text:
        """Return a plain string as text; here, since a table measures it by this."""
        return super().render_str(visible(text), **more)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces to print; whatever way text came, no control character is left."""
        for piece in super().render(renderable, options):
            shown = piece.text if piece.control else visible(piece.text)
            yield piece if shown is piece.text else Segment(shown, piece.style)

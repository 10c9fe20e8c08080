"""Where reports go: a terminal of some width, or a pipe that takes whatever width is needed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 100_000


def make_console(stream: TextIO | None = None) -> Console:
    """Return a console that never reads user text as markup and never cuts what it pipes."""
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    # A name in a script this stream cannot show must not end the program.
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not stream.isatty():
        console.width = PIPE_WIDTH
    return console

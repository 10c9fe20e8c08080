"""Where reports go: a terminal of some width, or a pipe that takes whatever width is needed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 100_000


def make_console(stream: TextIO | None = None) -> Console:
    """Return a console that never obeys user text and never cuts what it pipes."""
    from cnncli.report.screen import Screen

    stream = sys.stdout if stream is None else stream
    # A name in a script this stream cannot show must not end the program.
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    console = Screen(file=stream, soft_wrap=False)
    if not stream.isatty():
        console.width = PIPE_WIDTH
    return console

"""What the terminal shows, as one self-contained file: a page or a picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.report.visible import visible
from cnncli.runs.files import whole_file

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100

# Rich's own format fetches a font from the net; the machine's monospace font does as well.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{
        font-size: 18px;
        font-weight: bold;
        font-family: arial, sans-serif;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""

HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>{title}</title>
<style>
{stylesheet}
body {{ color: {foreground}; background-color: {background}; margin: 2em; }}
pre {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; line-height: 1.2; }}
</style>
</head>
<body>
<pre><code style="font-family:inherit">{code}</code></pre>
</body>
</html>
"""


def save_report(path: Path, view: Callable[[Console], None], title: str) -> None:
    """Write what `view` prints as .html or .svg, whole or not at all; raise UsageError.

    `title` is the call, shown above; it and all user text is escaped.
    """
    text = report_text(path.suffix.lower(), view, title)
    with whole_file(path, "--save-report") as stream:
        # What no encoding can say (half of a surrogate pair in a file's name) must not end it.
        stream.write(text.encode("utf-8", "backslashreplace"))


def report_text(suffix: str, view: Callable[[Console], None], title: str) -> str:
    """Return the report as the text of an .html or .svg file."""
    from html import escape

    from rich.terminal_theme import SVG_EXPORT_THEME

    from cnncli.report.screen import Screen
    from cnncli.report.style import make_text

    console = Screen(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        legacy_windows=False,
    )
    console.print(make_text(f"$ {title}", "bold"))
    console.print()
    view(console)
    if suffix == ".svg":
        return console.export_svg(title="cnncli", code_format=SVG, unique_id="cnncli")
    # Rich fills in theme and code; the title is ours, braces doubled against that.
    shown = escape(visible(title)).replace("{", "{{").replace("}", "}}")
    return console.export_html(theme=SVG_EXPORT_THEME, code_format=HTML.replace("{title}", shown))

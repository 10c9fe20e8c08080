"""Planes of tensors as pictures in a terminal, side by side, each with its scale.

Where there is colour, one character shows two elements, one above the other (a half block), or on
a stream that cannot say a half block, one element as a coloured space. Without colour, shades of
ASCII. Large planes are shrunk: a cell then stands for a block of elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnncli.layers.base import shape_text
from cnncli.report.numbers import index_text
from cnncli.report.visible import visible

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

GAP = 3
UNBOUNDED = 1000
"""A console wider than this is a pipe, where a picture takes PIPED columns."""
PIPED = 80
MOST_ROWS = 24
MOST_PANELS = 3
LEAST_WIDTH = 24
"""What a panel's title and scale take."""
SHADES = " .:-=+*#%@"
NOT_FINITE = "!"

Colour = tuple[int, int, int]
Look = Literal["half", "space", "ascii"]

# Blue, light grey, red: below, at and above zero. (Moreland's cool-warm map, five points of it.)
DIVERGING: tuple[Colour, ...] = (
    (59, 76, 192),
    (141, 176, 254),
    (221, 221, 221),
    (244, 152, 122),
    (180, 4, 38),
)
# Dark violet to yellow, evenly brighter. (Viridis, six points of it.)
SEQUENTIAL: tuple[Colour, ...] = (
    (68, 1, 84),
    (65, 68, 135),
    (42, 120, 142),
    (34, 168, 132),
    (122, 209, 81),
    (253, 231, 37),
)
ODD: Colour = (255, 0, 255)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: a plane (H, W), what it is of, and how its blocks shrink."""

    title: str
    plane: NDArray[Any]
    scale: tuple[float, float] | None = None
    """Least and largest value of the colours; None is those of the plane."""
    shrink: Literal["mean", "largest"] = "mean"
    """What a cell shows of its block: the mean, or the element of the largest magnitude."""


def plane_panel(
    name: str,
    array: NDArray[Any],
    plane: tuple[int, ...] = (),
    *,
    shrink: Literal["mean", "largest"] = "mean",
    scale: tuple[float, float] | None = None,
    axes: Sequence[int] = (),
) -> Panel:
    """Return one plane of a tensor of any rank; leading indices that it lacks are zero or its last.

    The title tells which plane it is, for a reader whose tensor has these `axes` of the array.
    """
    import numpy as np

    leading = array.shape[:-2] if array.ndim >= 4 else array.shape[: max(0, array.ndim - 1)]
    if array.ndim == 2:
        leading = ()  # a matrix is itself a plane
    wanted = (*plane, *[0] * len(leading))[: len(leading)]
    index = tuple(min(i, size - 1) for i, size in zip(wanted, leading, strict=True))
    part = np.atleast_2d(np.asarray(array[index]))
    return Panel(
        title=f"{_plane_text(name, index, axes)} {shape_text(array.shape[len(leading) :])}",
        plane=part,
        scale=scale,
        shrink=shrink,
    )


def _plane_text(name: str, index: tuple[int, ...], axes: Sequence[int]) -> str:
    """Return a plane's name: y[0,1], or with its axes in another order y[0,:,:,1]."""
    if list(axes) == sorted(axes):
        return index_text(name, index)
    steps = [*map(str, index), *":" * (len(axes) - len(index))]
    return f"{name}[{','.join(steps[axis] for axis in axes)}]"


def has_plane(array: NDArray[Any], plane: tuple[int, ...]) -> bool:
    """Tell whether a tensor of planes has the plane with these leading indices."""
    leading = array.shape[:-2] if array.ndim >= 4 else array.shape[: max(0, array.ndim - 1)]
    return len(plane) <= len(leading) and all(
        i < size for i, size in zip(plane, leading, strict=False)
    )


def common_scale(*planes: NDArray[Any]) -> tuple[float, float]:
    """Return the least and the largest finite element of some planes."""
    import numpy as np

    values = np.concatenate([plane.astype(np.float64).reshape(-1) for plane in planes])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def show_panels(console: Console, panels: Sequence[Panel]) -> None:
    """Print panels side by side, in as many lines of panels as the width takes."""
    look = _look(console)
    width = console.width if console.width <= UNBOUNDED else PIPED
    abreast = max(1, min(MOST_PANELS, (width + GAP) // (LEAST_WIDTH + GAP)))
    for start in range(0, len(panels), abreast):
        line = panels[start : start + abreast]
        wanted = [max(LEAST_WIDTH, panel.plane.shape[1] * 2) for panel in line]
        most = _share(wanted, width - GAP * (len(line) - 1))
        blocks = [
            _draw(panel, min(one, most), look) for panel, one in zip(line, wanted, strict=True)
        ]
        _print_line(console, blocks, plain=look == "ascii")


def _share(wanted: Sequence[int], width: int) -> int:
    """Return the most columns that each panel may take, so that together they fit the width."""
    most = max(wanted)
    while most > LEAST_WIDTH and sum(min(one, most) for one in wanted) > width:
        most -= 1
    return most


def _look(console: Console) -> Look:
    if console.color_system is None or console.no_color:
        return "ascii"
    try:
        "▀".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return "space"
    return "half"


def _width(block: list[Text]) -> int:
    return max(line.cell_len for line in block)


def _print_line(console: Console, blocks: list[list[Text]], *, plain: bool) -> None:
    """Print blocks side by side; where they are `plain`, without colour, blanks at the end go."""
    from rich.text import Text

    height = max(len(block) for block in blocks)
    for row in range(height):
        line = Text(no_wrap=True, overflow="ignore")
        for number, block in enumerate(blocks):
            part = block[row] if row < len(block) else Text()
            line.append_text(part)
            if number < len(blocks) - 1:
                line.append(" " * (_width(block) - part.cell_len + GAP))
        if plain:
            line.rstrip()
        console.print(line, soft_wrap=True)
    console.print()


def _draw(panel: Panel, width: int, look: Look) -> list[Text]:
    """Return the lines of one panel: title, picture, scale and what the reader must know."""
    from rich.text import Text

    cells, factor, grown = _fit(panel, width, look)
    low, high = panel.scale or common_scale(cells if factor > 1 else panel.plane)
    lines = [Text(visible(panel.title), style="bold")]
    lines += _picture(cells, grown, low, high, look, width)
    lines += _legend(low, high, look, width)
    if factor > 1:
        what = "mean" if panel.shrink == "mean" else "largest"
        lines.append(Text(f"a cell: {what} of {factor}x{factor}", style="dim"))
    if _any_odd(cells):
        odd = Text("not finite", style="dim")
        mark = Text(NOT_FINITE * 2) if look == "ascii" else Text("  ", style=_on(ODD))
        lines.append(Text(" ").join([mark, odd]))
    return lines


def _any_odd(cells: NDArray[Any]) -> bool:
    import numpy as np

    return not bool(np.isfinite(cells).all())


def _fit(panel: Panel, width: int, look: Look) -> tuple[NDArray[Any], int, int]:
    """Return the cells to draw, how many elements an edge each is, how many cells an element is."""
    import numpy as np

    plane = panel.plane.astype(np.float64)
    rows, columns = plane.shape
    most_rows = MOST_ROWS * (2 if look == "half" else 1)
    # A cell of one character is as good as square in half blocks only, but better than none.
    most_columns = width if look != "space" else max(1, width // 2)
    factor = max(1, math.ceil(columns / most_columns), math.ceil(rows / most_rows))
    if factor > 1:
        return _shrink(plane, factor, panel.shrink), factor, 1
    largest = 4 if look == "half" else 2
    return plane, 1, max(1, min(largest, most_columns // columns, most_rows // rows))


def _shrink(plane: NDArray[Any], factor: int, how: str) -> NDArray[Any]:
    """Return a cell for each block of factor x factor elements; blocks at the end are smaller."""
    import numpy as np

    bands = (plane[top : top + factor] for top in range(0, len(plane), factor))
    return np.stack([_shrink_band(band, factor, how) for band in bands])


def _shrink_band(band: NDArray[Any], factor: int, how: str) -> NDArray[Any]:
    """Return the cells of some rows, at most `factor` of them, that one row of cells stands for."""
    import numpy as np

    edge = min(factor, band.shape[1])
    rows, columns = len(band), math.ceil(band.shape[1] / edge)
    padded = np.full((rows, columns * edge), np.nan)
    inside = np.zeros(padded.shape, bool)
    padded[:, : band.shape[1]], inside[:, : band.shape[1]] = band, True
    blocks, real = (
        np.reshape(a.reshape(rows, columns, edge).swapaxes(0, 1), (columns, -1))
        for a in (padded, inside)
    )
    with np.errstate(all="ignore"):
        if how == "mean":
            # An element that is not finite makes its cell so, and is seen.
            return np.asarray(np.where(real, blocks, 0.0).sum(axis=1) / real.sum(axis=1))
        sizes = np.where(real, np.where(np.isnan(blocks), np.inf, np.abs(blocks)), -1.0)
        return np.asarray(blocks[np.arange(columns), sizes.argmax(axis=1)])


def _picture(
    cells: NDArray[Any], grown: int, low: float, high: float, look: Look, width: int
) -> list[Text]:
    import numpy as np
    from rich.text import Text

    lines = []
    if look == "ascii":
        # Characters are twice as high as wide: two make a square, where there is room.
        wide = max(1, min(4, width // cells.shape[1]))
        for row in np.repeat(cells, max(1, wide // 2), axis=0):
            lines.append(Text("".join(_shade(value, low, high) * wide for value in row)))
        return lines
    cells = np.repeat(np.repeat(cells, grown, axis=0), grown, axis=1)
    if look == "space":
        for row in cells:
            lines.append(Text.assemble(*(("  ", _on(_colour(v, low, high))) for v in row)))
        return lines
    for top in range(0, len(cells), 2):
        line = Text()
        for column, value in enumerate(cells[top]):
            above = _rgb(_colour(value, low, high))
            if top + 1 < len(cells):
                below = _rgb(_colour(cells[top + 1][column], low, high))
                line.append("▀", style=f"{above} on {below}")
            else:
                line.append("▀", style=above)
        lines.append(line)
    return lines


def _legend(low: float, high: float, look: Look, width: int) -> list[Text]:
    """Return the scale: its ends beside it, or below it where that is too wide."""
    from rich.text import Text

    start, stop = f"{low:.3g}", f"{high:.3g}"
    if look == "ascii":
        bar = Text(f"[{SHADES}]")
    else:
        steps = [low + (high - low) * i / 7 for i in range(8)]
        bar = Text.assemble(*((" ", _on(_colour(value, low, high))) for value in steps))
    if len(start) + len(stop) + bar.cell_len + 2 <= max(width, LEAST_WIDTH):
        return [Text.assemble(f"{start} ", bar, f" {stop}")]
    return [bar, Text(f"{start} to {stop}")]


def _shade(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return NOT_FINITE
    place = _fraction(value, low, high)
    return SHADES[min(len(SHADES) - 1, int(place * len(SHADES)))]


def _fraction(value: float, low: float, high: float) -> float:
    """Return where a value lies between low and high, 0 to 1."""
    # Halved first, so that nothing overflows.
    span = high / 2 - low / 2
    return min(1.0, max(0.0, (value / 2 - low / 2) / span)) if span > 0 else 0.0


def _colour(value: float, low: float, high: float) -> Colour:
    if not math.isfinite(value):
        return ODD
    if low < 0 < high:
        bound = max(-low, high)
        return _between(DIVERGING, _fraction(value, -bound, bound))
    return _between(SEQUENTIAL, _fraction(value, low, high))


def _between(points: tuple[Colour, ...], place: float) -> Colour:
    position = place * (len(points) - 1)
    index = min(int(position), len(points) - 2)
    part = position - index
    first, second = points[index], points[index + 1]
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _rgb(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _on(colour: Colour) -> str:
    return f"on {_rgb(colour)}"

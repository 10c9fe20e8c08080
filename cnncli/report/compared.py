"""A comparison as tables: what each array holds, how far apart they are, and where."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnncli.checks.difference import Difference
from cnncli.layers.base import shape_text
from cnncli.report.heatmap import common_scale, plane_panel, show_panels
from cnncli.report.numbers import error_text, index_text, number_text
from cnncli.report.style import STYLES, make_table, make_text, numbers, print_table, words
from cnncli.runs.comparing import Compared, Described
from cnncli.runs.memory import size_text

if TYPE_CHECKING:
    from rich.console import Console

BAR = 30


def show_compared(
    console: Console, compared: Compared, *, pictures: bool, plane: tuple[int, ...]
) -> None:
    """Print a comparison whole, with heat maps where `pictures`."""
    _show_arrays(console, compared.arrays)
    if compared.difference is None:
        _show_histogram(console, compared.arrays[0])
    if pictures:
        _show_pictures(console, compared, plane)
    if compared.difference is not None:
        _show_difference(console, compared.difference, compared.arrays)
    console.print(make_text(compared_ending(compared), STYLES[compared.status]))
    hint = layer_hint(compared)
    if hint is not None:
        console.print(make_text(hint, "dim"), soft_wrap=True)


def _show_arrays(console: Console, arrays: Sequence[Described]) -> None:
    full = not console.is_terminal
    table = make_table(words(""), *(one.name for one in arrays))
    table.add_row("source", *(make_text(one.source) for one in arrays))
    table.add_row("shape", *(shape_text(one.array.shape) for one in arrays))
    orders = [f"{one.stored}, {one.order}" if one.order else one.stored for one in arrays]
    table.add_row("stored as", *orders)
    table.add_row("memory", *(size_text(one.array.nbytes) for one in arrays))
    table.add_row("elements", *(str(one.statistics.elements) for one in arrays))
    odd = ("nan", "positive_infinity", "negative_infinity")
    counts = [", ".join(str(getattr(one.statistics, name)) for name in odd) for one in arrays]
    table.add_row("nan, +inf, -inf", *counts)
    for name in ("zeros", "denormal"):
        table.add_row(name, *(str(getattr(one.statistics, name)) for one in arrays))
    for name in ("min", "mean", "max", "std", "sum", "norm"):
        values = [getattr(one.statistics, name) for one in arrays]
        table.add_row(name, *(number_text(value, full=full) for value in values))
    levels = arrays[0].statistics.quantiles or {}
    for level in levels:
        values = [(one.statistics.quantiles or {}).get(level) for one in arrays]
        label = "median" if level == "0.5" else f"{float(level):.0%} below"
        table.add_row(label, *(number_text(value, full=full) for value in values))
    print_table(console, table)


def _show_histogram(console: Console, one: Described) -> None:
    counts, edges = one.statistics.histogram, one.statistics.edges
    if not counts or not edges:
        return
    table = make_table(numbers("from"), numbers("to"), numbers("count"), "histogram")
    most = max(counts)
    for count, start, stop in zip(counts, edges, edges[1:], strict=False):
        bar = "#" * max(1 if count else 0, round(BAR * count / most))
        table.add_row(f"{start:.4g}", f"{stop:.4g}", str(count), bar)
    print_table(console, table)


def _show_pictures(console: Console, compared: Compared, plane: tuple[int, ...]) -> None:
    import numpy as np

    arrays = compared.arrays
    found = None if compared.difference is None else compared.difference.comparison
    if not plane and found is not None and found.mismatched and found.worst is not None:
        # Where nobody asks for a plane, the one that tells most; the panels' titles say which.
        plane = found.worst.index
        console.print(
            make_text(f"the plane of the worst element, {index_text('A', found.worst.index)}")
        )
    panels = [plane_panel(one.name, one.array, plane) for one in arrays]
    if len(panels) == 2 and panels[0].plane.shape == panels[1].plane.shape:
        scale = common_scale(panels[0].plane, panels[1].plane)
        panels = [plane_panel(one.name, one.array, plane, scale=scale) for one in arrays]
        if arrays[0].array.shape == arrays[1].array.shape:
            with np.errstate(all="ignore"):
                a, b = (panel.plane.astype(np.float64) for panel in panels)
                gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
            scale = (0.0, common_scale(gap)[1])
            panels.append(plane_panel("|A - B|", gap, shrink="largest", scale=scale))
    show_panels(console, panels)


def _show_difference(console: Console, difference: Difference, arrays: Sequence[Described]) -> None:
    found = difference.comparison
    if found is not None:
        table = make_table("difference", "absolute", "relative")
        table.add_row("largest", error_text(found.max_abs_error), error_text(found.max_rel_error))
        table.add_row("mean", error_text(difference.mean_abs_error), "")
        table.add_row("root mean square", error_text(difference.rms_error), "")
        table.add_row("mean of A - B", error_text(difference.mean_error), "")
        table.add_row("|A - B| / |A| or |B|", "", error_text(found.norm_rel_error))
        table.add_row("allowed", error_text(difference.atol), error_text(difference.rtol))
        # Rounded up: what is shown must pass when it is typed.
        table.add_row("would pass", upward(found.passing_atol), upward(found.passing_rtol))
        print_table(console, table)
        _show_ulps(console, difference)
        if found.worst is not None and found.max_abs_error != 0:
            full = not console.is_terminal
            got, expected = (
                number_text(value, full=full) for value in (found.worst.got, found.worst.expected)
            )
            place = index_text("", found.worst.index) or "[]"
            console.print(make_text(f"worst: A{place} {got}, B{place} {expected}"))
    for pattern in difference.patterns:
        console.print(make_text(f"where: {pattern.text}"))
    for relation in difference.relations:
        console.print(make_text(f"but:   {relation.text}"))


def _show_ulps(console: Console, difference: Difference) -> None:
    ulps, found = difference.ulps, difference.comparison
    if ulps is None or found is None:
        return
    shares = [f"{count / found.elements:.4g}" for count in ulps.within.values()]
    table = make_table(
        f"ulps of {ulps.dtype}", "largest", numbers("mean"), *(f"<= {k}" for k in ulps.within)
    )
    table.add_row(
        index_text("at A", ulps.worst.index), f"{ulps.max:.4g}", f"{ulps.mean:.3g}", *shares
    )
    print_table(console, table)


def upward(value: float) -> str:
    """Return an error in three digits, rounded up, so that it suffices as a tolerance."""
    import math

    if value == 0 or not math.isfinite(value):
        return error_text(value)
    text = f"{value:.3g}"
    if float(text) >= value:
        return text
    exponent = math.floor(math.log10(value)) - 2
    return f"{(round(value / 10**exponent) + 1) * 10**exponent:.3g}"


def compared_ending(compared: Compared) -> str:
    """Say in words how a comparison ended."""
    difference = compared.difference
    if difference is None:
        one = compared.arrays[0]
        odd = one.statistics.nonfinite
        return f"described: {odd} of {one.statistics.elements} not finite"
    found = difference.comparison
    if found is None:
        a, b = (shape_text(shape) for shape in difference.shapes)
        return f"FAILED: shapes differ: A is {a}, B is {b}"
    if difference.passes:
        exact = ", all equal" if found.max_abs_error == 0 else ""
        return f"passed: {found.elements} elements within the tolerance{exact}"
    text = f"FAILED: {found.mismatched} of {found.elements} elements differ"
    if not difference.atol and not difference.rtol:
        return text
    return f"{text} by more than {difference.atol:g} + {difference.rtol:g}*|B|"


def layer_hint(compared: Compared) -> str | None:
    """Return the command that judges A as a layer's tensor; None where that cannot help.

    No layer's image or weights have fewer than 3 axes or more than 5, and what was drawn or piped
    has no file to name.
    """
    difference, a = compared.difference, compared.arrays[0]
    if difference is None or difference.passes or a.array.ndim not in (3, 4, 5):
        return None
    if a.order is None or a.source.startswith("-"):
        return None
    called = re.search(r"(?:^|[/:])(dx|dw)\b", a.source)
    name = called[1] if called else "y"
    dy = " --dy DY" if called else ""
    expected = shlex.quote(f"{name}={a.source}")
    return (
        f"what is wrong with A as a layer's {name}: cnncli conv --x X --w W{dy} --expect {expected}"
    )

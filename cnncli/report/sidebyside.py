"""One case under several conventions, or by several programs, side by side.

A column each; `*` marks a row whose columns differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnncli.checks.compare import compare
from cnncli.layers.base import shape_text
from cnncli.layers.parameters import show
from cnncli.report.numbers import number_text
from cnncli.report.style import make_table, make_text, print_table, words
from cnncli.runs.result import Result, TensorResult

if TYPE_CHECKING:
    from rich.console import Console

DIFFERENT = "*"
STATISTICS = ("min", "mean", "max", "std", "sum")
LIKE = 1e-9
"""Numbers this near, relative to the largest of them, are one number computed in two ways."""

LIKE_SINGLE = 1e-5

Tensors = Mapping[str, TensorResult]


def show_conventions(console: Console, results: Sequence[Result]) -> None:
    """Print what was resolved, and what came out, with a column for each convention."""
    names = [str(result.convention) for result in results]
    resolved = [result.params or {} for result in results]
    keys = dict.fromkeys(key for params in resolved for key in params)
    rows = [
        (key, [show(params[key]) if key in params else "" for params in resolved]) for key in keys
    ]
    _print(console, "resolved", names, rows)
    differ = any(len({text for text in texts if text}) > 1 for _, texts in rows)
    differ |= _show_tensors(console, names, [result.tensors for result in results])
    if not differ:
        console.print(make_text(f"nothing differs for this case: {', '.join(names)} agree on it"))
        console.print()


def show_implementations(console: Console, result: Result) -> None:
    """Print ours beside what every other implementation computed."""
    ours = {name: t for name, t in result.tensors.items() if t.role != "input"}
    columns: list[Tensors] = [ours, *result.theirs.values()]
    _show_tensors(console, ["ours", *result.theirs], columns)


def _show_tensors(console: Console, names: list[str], columns: Sequence[Tensors]) -> bool:
    """Print a table a tensor; return whether any of their rows differ."""
    differ, full = False, not console.is_terminal
    tensors = dict.fromkeys(
        name for column in columns for name, t in column.items() if t.role != "input"
    )
    for name in tensors:
        found = [column.get(name) for column in columns]
        rows = [("shape", [shape_text(t.shape) if t else "" for t in found])]
        texts = {key: [getattr(t, key) if t else None for t in found] for key in STATISTICS}
        rows += [
            (key, [number_text(value, full=full) for value in values])
            for key, values in texts.items()
        ]
        marked = {key for key, values in texts.items() if _differ(values, found)}
        rows += _value_rows(found, marked, full=full)
        differ |= bool(marked) or len({text for text in rows[0][1] if text}) > 1
        _print(console, name, names, rows, marked)
    return differ


def _value_rows(
    found: Sequence[TensorResult | None], marked: set[str], most: int = 12, *, full: bool
) -> list[tuple[str, list[str]]]:
    """Return the first elements, or where shapes agree those that differ first."""
    import numpy as np

    there = [t.outside for t in found if t is not None]
    first = there[0]
    same = all(array.shape == first.shape for array in there)
    if same:
        tolerance = _likeness(found)
        scale = max((float(np.nanmax(np.abs(a), initial=0)) for a in there), default=0.0)
        off = np.zeros(first.shape, bool)
        for array in there[1:]:
            off |= compare(array, first, tolerance * max(scale, 1e-300)).wrong
        places = [tuple(map(int, place)) for place in np.argwhere(off)[:most]]
        places = places or list(np.ndindex(*first.shape))[: min(most, 4)]
        marked |= {_place(place) for place in places if off[place]}
    else:
        common = tuple(min(sizes) for sizes in zip(*(a.shape for a in there), strict=True))
        places = list(np.ndindex(*common))[:4]
        for place in places:
            values = [float(a[place]) for a in there]
            if _differ(values, found):
                marked.add(_place(place))
    return [
        (_place(p), [number_text(t.outside[p].item(), full=full) if t else "" for t in found])
        for p in places
    ]


def _place(place: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, place))}]"


def _likeness(found: Sequence[TensorResult | None]) -> float:
    single = any(t is not None and t.dtype == "float32" for t in found)
    return LIKE_SINGLE if single else LIKE


def _differ(values: Sequence[float | None], found: Sequence[TensorResult | None]) -> bool:
    """Tell whether numbers differ by more than the rounding of their tensors' largest element."""
    known = [value for value in values if value is not None]
    sizes = [max(abs(t.min), abs(t.max)) for t in found if t is not None]
    allowed = _likeness(found) * max([*map(abs, known), *sizes, 0.0])
    return not all(value == known[0] or abs(value - known[0]) <= allowed for value in known)


def _print(
    console: Console,
    title: str,
    names: list[str],
    rows: Sequence[tuple[str, list[str]]],
    marked: set[str] | None = None,
) -> None:
    table = make_table(*map(words, (title, *names, "")))
    for key, texts in rows:
        known = {text for text in texts if text}
        differs = key in marked if marked is not None and key != "shape" else len(known) > 1
        style = "bold yellow" if differs else ""
        cells: list[Any] = [make_text(text, style) for text in (key, *texts)]
        table.add_row(*cells, DIFFERENT if differs else "")
    print_table(console, table)

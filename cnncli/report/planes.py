"""The planes of a result as heat maps: inputs beside outputs, gradients beside what they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnncli.cases.layout import outward, shape_inside, shape_outside
from cnncli.checks.check import Check
from cnncli.layers.base import shape_text
from cnncli.report.heatmap import Panel, common_scale, plane_panel, show_panels
from cnncli.report.numbers import index_text
from cnncli.report.style import make_text
from cnncli.runs.result import Result, TensorResult

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

PLANES = ("x", "y", "dy", "dx")
"""The tensors with samples and channels, which `--plane` chooses from."""


def show_planes(
    console: Console, result: Result, plane: tuple[int, ...], *, headed: bool = False
) -> None:
    """Print x, w and y side by side, then the gradients; `headed` says of which case.

    A judged gradient that is wrong opens, where no `plane` is asked for, that of its worst element.
    """
    if headed:
        console.print(make_text(result.label, "bold"))
    tensors = {name: t for name, t in result.tensors.items() if t.array.ndim > 1}
    given = [name for name in ("x", "w", "y") if name in tensors]
    slopes = [name for name in tensors if name in ("dy", "dx", "dw")]
    slopes = [name for name in slopes if "numeric" not in result.references.get(name, ())]
    for names in (given, slopes):
        if names:
            show_panels(console, [_panel(tensors[name], plane) for name in names])
    for name, others in result.references.items():
        _show_judged(console, result, name, others, plane)


def _show_judged(
    console: Console,
    result: Result,
    name: str,
    others: Mapping[str, NDArray[Any]],
    plane: tuple[int, ...],
) -> None:
    """Print what a tensor was judged by beside each that was judged: ours, and other people's.

    Without a numeric gradient, it is ours that others are judged by.
    """
    tensor = result.tensors[name]
    ours, layout = tensor.array, tensor.layout
    by, right = ("numeric", others["numeric"]) if "numeric" in others else ("ours", ours)
    judged = {whose: array for whose, array in others.items() if whose != by}
    if by == "numeric":
        judged = {"ours": ours, **judged}
    for whose, array in judged.items():
        is_file = whose not in ("ours", "expected")
        called = f"{name} {'theirs' if is_file else whose}"
        of = f"{name} of {whose}: " if is_file else ""
        if array.shape != right.shape:
            shapes = ", not ".join(
                shape_text(shape_outside(layout, name, one.shape)) for one in (array, right)
            )
            console.print(make_text(f"{of or f'{called}: '}no picture, it is {shapes}"))
            continue
        worst = None if plane else _worst(result, name, whose)
        if worst is not None:
            console.print(
                make_text(f"{of}the plane of the worst element, {index_text(called, worst)}")
            )
        elif of:
            console.print(make_text(of.removesuffix(": ")))
        where = plane if name in PLANES else plane[1:2]
        if worst is not None:
            where = shape_inside(layout, name, worst)
        axes = outward(layout, name, right.ndim)
        show_panels(console, _judged(called, array, by, right, where, axes))


def _worst(result: Result, name: str, whose: str) -> tuple[int, ...] | None:
    """Return the place of the worst element of a tensor that did not pass, as its check has it."""
    found = [
        check.worst.index
        for check in result.checks
        if check.tensor == name and whose in (_whose(check), check.implementation)
        if check.worst is not None and check.worst.index and check.verdict != "pass"
        if check.compares_elements
    ]
    return found[-1] if found else None  # of several given gradients, the last one is shown


def _whose(check: Check) -> str | None:
    return "expected" if check.check == "expect" else check.subject


def _judged(
    called: str,
    array: NDArray[Any],
    by: str,
    right: NDArray[Any],
    where: tuple[int, ...],
    axes: tuple[int, ...],
) -> list[Panel]:
    """Return a tensor, what it is judged by on the same scale, and how far apart they are.

    What was not asked for (--elements) is not finite in the numeric one, and no difference.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        gap = np.abs(array.astype(np.float64) - right)
    if by == "numeric":
        gap[np.isnan(right)] = 0
    panels = [
        plane_panel(called, array, where, axes=axes),
        plane_panel(by, right, where, axes=axes),
        plane_panel("difference", gap, where, shrink="largest", axes=axes),
    ]
    scale = common_scale(panels[0].plane, panels[1].plane)
    most = common_scale(panels[2].plane)[1]
    return [
        *(replace(panel, scale=scale) for panel in panels[:2]),
        replace(panels[2], scale=(0.0, most)),
    ]


def _panel(tensor: TensorResult, plane: tuple[int, ...]) -> Panel:
    """Return a tensor's panel; filters are shown by the channel that they make."""
    where = plane if tensor.name in PLANES else plane[1:2]
    axes = outward(tensor.layout, tensor.name, tensor.array.ndim)
    return plane_panel(tensor.name, tensor.array, where, axes=axes)

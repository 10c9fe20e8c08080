"""The planes of a result as heat maps: inputs beside outputs, gradients beside what they are of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnncli.report.heatmap import Panel, common_scale, plane_panel, show_panels
from cnncli.report.numbers import index_text
from cnncli.report.tables import _text, label
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
        console.print(_text(label(result), "bold"))
    tensors = {name: t for name, t in result.tensors.items() if t.array.ndim > 1}
    given = [name for name in ("x", "w", "y") if name in tensors]
    slopes = [name for name in tensors if name in ("dy", "dx", "dw")]
    if result.references:
        slopes = [name for name in slopes if name not in result.references]
    for names in (given, slopes):
        if names:
            show_panels(console, [_panel(tensors[name], plane) for name in names])
    for name, others in result.references.items():
        subjects = {"ours": result.tensors[name].array, "expected": others.get("expected")}
        for subject, array in subjects.items():
            if array is not None and array.shape == others["numeric"].shape:
                where = plane if name in PLANES else plane[1:2]
                worst = None if plane else _worst(result, name, subject)
                if worst is not None:
                    where = worst
                    place = index_text(f"{name} {subject}", worst)
                    console.print(_text(f"the plane of the worst element, {place}"))
                show_panels(console, _judged(name, subject, array, others["numeric"], where))


def _worst(result: Result, name: str, subject: str) -> tuple[int, ...] | None:
    """Return the place of the worst element of a gradient that did not pass."""
    found = [
        check.worst.index
        for check in result.checks
        if check.check == "gradcheck" and (check.tensor, check.subject) == (name, subject)
        if check.worst is not None and check.worst.index and check.verdict != "pass"
    ]
    return found[-1] if found else None  # of several given gradients, the last one is shown


def _judged(
    name: str,
    subject: str,
    array: NDArray[Any],
    numeric: NDArray[Any],
    where: tuple[int, ...],
) -> list[Panel]:
    """Return a gradient, the numeric one on the same scale, and how far apart they are.

    What was not asked for (--elements) is not finite in the numeric one, and no difference.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        gap = np.abs(array.astype(np.float64) - numeric)
    gap[np.isnan(numeric)] = 0
    panels = [
        plane_panel(f"{name} {subject}", array, where),
        plane_panel("numeric", numeric, where),
        plane_panel("difference", gap, where, shrink="largest"),
    ]
    scale = common_scale(panels[0].plane, panels[1].plane)
    most = common_scale(panels[2].plane)[1]
    return [
        *(replace(panel, scale=scale) for panel in panels[:2]),
        replace(panels[2], scale=(0.0, most)),
    ]


def _panel(tensor: TensorResult, plane: tuple[int, ...]) -> Panel:
    """Return a tensor's panel; filters are shown by the channel that they make."""
    if tensor.name in PLANES:
        return plane_panel(tensor.name, tensor.array, plane)
    return plane_panel(tensor.name, tensor.array, plane[1:2])

"""The planes of a result as heat maps: inputs beside outputs, gradients beside what they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnncli.report.heatmap import Panel, plane_panel, show_panels
from cnncli.report.tables import _text, label
from cnncli.runs.result import Result, TensorResult

if TYPE_CHECKING:
    from rich.console import Console

PLANES = ("x", "y", "dy", "dx")
"""The tensors with samples and channels, which `--plane` chooses from."""


def show_planes(
    console: Console, result: Result, plane: tuple[int, ...], *, headed: bool = False
) -> None:
    """Print x, w and y side by side, then the gradients; `headed` says of which case."""
    if headed:
        console.print(_text(label(result), "bold"))
    tensors = {name: t for name, t in result.tensors.items() if t.array.ndim > 1}
    given = [name for name in ("x", "w", "y") if name in tensors]
    slopes = [name for name in tensors if name in ("dy", "dx", "dw")]
    for names in (given, slopes):
        if names:
            show_panels(console, [_panel(tensors[name], plane) for name in names])


def _panel(tensor: TensorResult, plane: tuple[int, ...]) -> Panel:
    """Return a tensor's panel; filters are shown by the channel that they make."""
    if tensor.name in PLANES:
        return plane_panel(tensor.name, tensor.array, plane)
    return plane_panel(tensor.name, tensor.array, plane[1:2])

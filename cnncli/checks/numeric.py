"""Numeric gradients: how y moves when one element of an input does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.layers.base import Layer, Plan, Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class NumericGradient:
    """The numeric derivative of sum(dy*y) by some elements of one input, and how it was found."""

    values: NDArray[Any]
    """One number an element, in the order of the elements asked for."""
    method: str
    step: float
    evaluations: int


def central_differences(
    layer: Layer,
    plan: Plan,
    tensors: Tensors,
    name: str,
    elements: Sequence[int],
    step: float,
) -> NumericGradient:
    """Return d sum(dy*y) / d `name`[i] for flat elements i, by (y(+step) - y(-step)) / (2 step).

    `tensors` are float64 and hold every input and dy; they come back as they were. The difference
    is taken of y, element by element, before it is weighed with dy and summed, so that no large
    sum cancels.
    """
    import numpy as np

    dy = tensors["dy"]
    moved = dict(tensors)
    moved[name] = varied = tensors[name].copy()
    flat = varied.reshape(-1)
    gradient = np.empty(len(elements))
    for place, element in enumerate(elements):
        kept = flat[element]
        flat[element] = above = kept + step
        y_above = layer.output(plan, moved)
        flat[element] = below = kept - step
        y_below = layer.output(plan, moved)
        flat[element] = kept
        # The step that was really taken: kept + step is rounded.
        gradient[place] = np.sum((y_above - y_below) * dy) / (above - below)
    return NumericGradient(
        values=gradient, method="central", step=step, evaluations=2 * len(elements)
    )

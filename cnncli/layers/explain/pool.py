"""Elements of a pooling: windows and their winners, or means and their divisors."""

from __future__ import annotations

import math
from typing import Any

from cnncli.layers.base import Plan, Tensors
from cnncli.layers.explain.axes import Axis, make_axes
from cnncli.layers.explain.parts import (
    Element,
    Explanation,
    Factor,
    Index,
    Terms,
    grid,
    number,
    regions,
    take,
)


def explain(plan: Plan, tensors: Tensors, name: str, index: Index) -> Explanation:
    """Return what element `index` of y, indices or dx is made of."""
    found: dict[str, Any] = {
        "tensor": name,
        "index": index,
        "element": float(tensors[name][index]),
    }
    arguments = plan.arguments
    axes = make_axes(
        plan.spatial,
        plan.upstream[2:],
        arguments["kernel"],
        arguments["stride"],
        arguments["padding"],
        arguments["dilation"],
    )
    if plan.params["mode"] == "avg":
        return (_mean if name == "y" else _mean_gradient)(plan, axes, tensors, index, found)
    return (_maximum_gradient if name == "dx" else _maximum)(plan, axes, tensors, index, found)


def _window(axes: list[Axis], tensors: Tensors, index: Index) -> Factor:
    """Return the real elements of the window of output `index`, in row-major order."""
    n, c, *place = index
    columns = grid([], [axis.reads(o) for axis, o in zip(axes, place, strict=True)])
    return take("x", tensors, [n, c, *columns[1::2]], columns.shape[1])


def _ranking(window: Factor) -> tuple[int, int | None]:
    """Return the number of the winner, the first NaN or else the first maximum, and the next."""
    import numpy as np

    values = window.values
    winner = int(np.argmax(np.isnan(values))) if np.isnan(values).any() else int(values.argmax())
    others = [i for i in range(len(values)) if i != winner]
    if not others:
        return winner, None
    # The first of the greatest: max() keeps the first, and a NaN is greater than any number.
    second = max(others, key=lambda i: math.inf if math.isnan(values[i]) else values[i])
    return winner, second


def _element(factor: Factor, place: int) -> Element:
    index = tuple(int(i) for i in factor.indices[place])
    return Element(name=factor.name, index=index, value=float(factor.values[place]))


def _select(factor: Factor, places: list[int]) -> Factor:
    return Factor(name=factor.name, indices=factor.indices[places], values=factor.values[places])


def _maximum(
    plan: Plan, axes: list[Axis], tensors: Tensors, index: Index, found: dict[str, Any]
) -> Explanation:
    window = _window(axes, tensors, index)
    winner, second = _ranking(window)
    best = _element(window, winner)
    terms = Terms(label="winner", factors=(_select(window, [winner]),))
    formula = "the largest element of its window; of equal ones the first"
    if found["tensor"] == "indices":
        flat = 0
        for place, size in zip(best.index[2:], plan.spatial, strict=True):
            flat = flat * size + place
        terms = Terms(label="place", factors=(number("row-major place of the winner", flat),))
        formula = "where the winner stands in its plane, row by row"
    others = [place for place in range(len(window.values)) if place != winner]
    facts = {}
    if second is not None:
        facts["margin"] = best.value - float(window.values[second])
    tied = len(others) and second is not None and facts["margin"] == 0
    return Explanation(
        **found,
        formula=formula,
        terms=(terms,),
        reads=regions(window),
        padding=math.prod(axis.kernel for axis in axes) - len(window.values),
        aside=(Terms(label="lost", factors=(_select(window, others),)),) if others else (),
        facts=facts,
        winner=best,
        runner_up=None if second is None else _element(window, second),
        note="a tie: the first in row-major order wins" if tied else None,
    )


def _windows_over(
    axes: list[Axis], tensors: Tensors, index: Index
) -> tuple[Factor, list[tuple[int, ...]]]:
    """Return dy of every window that reads element `index` of x, and those windows' places."""
    n, c, *place = index
    columns = grid([], [axis.feeds(i) for axis, i in zip(axes, place, strict=True)])
    dy = take("dy", tensors, [n, c, *columns[1::2]], columns.shape[1])
    return dy, [tuple(int(i) for i in row) for row in dy.indices]


def _maximum_gradient(
    plan: Plan, axes: list[Axis], tensors: Tensors, index: Index, found: dict[str, Any]
) -> Explanation:
    dy, outputs = _windows_over(axes, tensors, index)
    won: list[int] = []
    lost: list[int] = []
    for place, output in enumerate(outputs):
        window = _window(axes, tensors, output)
        best = _element(window, _ranking(window)[0])
        (won if best.index == index else lost).append(place)
    note = None
    if not outputs:
        note = "no window reads this element"
    elif not won:
        note = "it wins no window, so nothing reaches it"
    return Explanation(
        **found,
        formula="sum of dy of every window that it wins",
        terms=(Terms(label="windows won", factors=(_select(dy, won),)),),
        reads=regions(dy),
        aside=(Terms(label="windows lost", factors=(_select(dy, lost),)),) if lost else (),
        facts={"windows": float(len(outputs)), "won": float(len(won))},
        note=note,
    )


def _divisor(plan: Plan, axes: list[Axis], place: tuple[int, ...]) -> int:
    """Count what a mean is divided by: real elements, or with count_include_pad padding too.

    Never what hangs over the padded input (ceil mode; torch's rule).
    """
    counts = []
    for axis, (before, after), o in zip(axes, plan.arguments["padding"], place, strict=True):
        if not plan.params["count_include_pad"]:
            counts.append(len(axis.reads(o)))
            continue
        end = before + axis.size + after
        starts = (o * axis.stride + k * axis.dilation for k in range(axis.kernel))
        counts.append(sum(start < end for start in starts))
    return max(1, math.prod(counts))


def _mean(
    plan: Plan, axes: list[Axis], tensors: Tensors, index: Index, found: dict[str, Any]
) -> Explanation:
    window = _window(axes, tensors, index)
    divisor = _divisor(plan, axes, index[2:])
    share = number(f"1/{divisor}", 1 / divisor, len(window.values))
    return Explanation(
        **found,
        formula=f"sum of its window's elements, divided by {divisor}",
        terms=(Terms(label="shares", factors=(window, share)),),
        reads=regions(window),
        padding=math.prod(axis.kernel for axis in axes) - len(window.values),
        facts={"divisor": float(divisor)},
    )


def _mean_gradient(
    plan: Plan, axes: list[Axis], tensors: Tensors, index: Index, found: dict[str, Any]
) -> Explanation:
    dy, outputs = _windows_over(axes, tensors, index)
    divisors = [1 / _divisor(plan, axes, output[2:]) for output in outputs]
    return Explanation(
        **found,
        formula="sum of dy/divisor over every window that reads it",
        terms=(Terms(label="shares", factors=(dy, number("1/divisor", divisors, len(divisors)))),),
        reads=regions(dy),
        facts={"windows": float(len(outputs))},
        note=None if outputs else "no window reads this element",
    )

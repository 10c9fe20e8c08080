"""Where the wrong elements of a tensor sit, in words: border, overlap, remainder, one channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnncli.kernels.windows import windows
from cnncli.layers.base import SPATIAL_AXES, Array, Plan


def where_errors_sit(plan: Plan, name: str, wrong: Array) -> list[str]:
    """Return the places that hold every wrong element, and do not hold every element.

    `wrong` marks the wrong elements of tensor `name`. A place that is wrong all over is said so.
    """
    count = int(wrong.sum())
    if not count:
        return []
    if count == wrong.size:
        return ["every element is wrong"]
    if count == 1 and wrong.ndim > 1:
        return ["one element alone is wrong"]
    found = []
    for words, place in _places(plan, name, wrong):
        if place.all() or (wrong & ~place).any():
            continue
        whole = int(place.sum()) == count
        found.append(f"wrong only {words}{', and all over it' if whole else ''}")
    return found or [f"{count} of {wrong.size} elements are wrong, in no pattern with a name"]


def _places(plan: Plan, name: str, wrong: Array) -> Iterator[tuple[str, Array]]:
    axes = _axis_names(plan, name, wrong.ndim)
    index = np.indices(wrong.shape, sparse=True)
    for axis, (words, size) in enumerate(zip(axes, wrong.shape, strict=True)):
        other = tuple(a for a in range(wrong.ndim) if a != axis)
        hit = np.flatnonzero(wrong.any(axis=other) if other else wrong)
        if size > 1 and len(hit) == 1:
            which = f"in {words} {hit[0]}" + (" (the last)" if hit[0] == size - 1 else "")
            yield which, np.broadcast_to(index[axis] == hit[0], wrong.shape)
    if wrong.ndim < 3 or name in ("dw", "w"):
        return
    border = np.zeros(wrong.shape, bool)
    for axis in range(2, wrong.ndim):
        border |= (index[axis] == 0) | (index[axis] == wrong.shape[axis] - 1)
    yield "on the border (first or last row or column)", border
    if name not in ("dx", "x") or "stride" not in plan.arguments or plan.params.get("transposed"):
        return
    cover = _coverage(plan)
    yield "where windows overlap", np.broadcast_to(cover > 1, wrong.shape)
    yield "where windows do not overlap", np.broadcast_to(cover == 1, wrong.shape)
    yield "in the remainder rows, which no window reads", np.broadcast_to(cover == 0, wrong.shape)


def _coverage(plan: Plan) -> Array:
    """Return how many windows read each element of a plane of x."""
    kernel = plan.inputs["w"][2:] if "w" in plan.inputs else plan.arguments["kernel"]
    where = windows(
        plan.spatial,
        kernel,
        plan.arguments["stride"],
        plan.arguments["padding"],
        plan.arguments["dilation"],
        plan.upstream[2:],
    )
    cover = np.zeros(plan.spatial, np.int64)
    for _, _, _, inputs in where.overlaps():
        cover[inputs] += 1
    return cover


def _axis_names(plan: Plan, name: str, rank: int) -> tuple[str, ...]:
    if rank == 1:
        return ("filter" if name in ("db", "b") else "channel",)
    spatial = SPATIAL_AXES.get(rank - 2, tuple(f"axis {axis}" for axis in range(2, rank)))
    if name == "dw":
        first = ("channel", "filter") if plan.params.get("transposed") else ("filter", "channel")
        return (*first, *(f"kernel {axis}" for axis in spatial))
    words = {"H": "row", "W": "column", "D": "slice"}
    return ("sample", "channel", *(words.get(axis, axis) for axis in spatial))

"""Faults that any layer's tensor can have: axes, samples, factors, the upstream gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from cnncli.checks.faults.faultbench import FaultBench
from cnncli.kernels.windows import Array


def need(condition: bool) -> None:
    """Raise ValueError, which says that this geometry has no such fault."""
    if not condition:
        raise ValueError


def need_overlap(b: FaultBench) -> None:
    """Raise ValueError where no element is in two windows."""
    where = b.windows()
    cover = np.zeros(where.spatial, np.int64)
    for _, _, _, inputs in where.overlaps():
        cover[inputs] += 1
    need(bool((cover > 1).any()))


def planes(*box: slice) -> Any:
    """Return the index of a box of every plane."""
    return (..., *box)


def swap_spatial(a: Array) -> Array:
    """Return `a` with its last two axes exchanged."""
    need(a.ndim >= 4)
    return a.swapaxes(-1, -2)


def result_swapped(b: FaultBench) -> list[Array]:
    """H and W of the result exchanged; in the same memory too."""
    right = b.right
    return [swap_spatial(right), swap_spatial(right).reshape(right.shape)]


def dy_swapped(b: FaultBench) -> list[Array]:
    """dy read with its H and W exchanged, cut or filled with zeros to its own shape, or not."""
    dy = b.dy
    swapped = swap_spatial(dy)
    cut = np.zeros_like(dy)
    box = tuple(slice(0, min(p, q)) for p, q in zip(dy.shape, swapped.shape, strict=True))
    cut[box] = swapped[box]
    found = [b.redo(dy=cut), b.redo(dy=swapped.reshape(dy.shape))]
    if b.layer.name == "conv":
        found.append(b.redo(dy=swapped))
    return found


def dy_transposed_in_memory(b: FaultBench) -> Array:
    """dy's memory read as (N, F, OW, OH), then transposed."""
    dy = b.dy
    return b.redo(dy=dy.reshape(swap_spatial(dy).shape).swapaxes(-1, -2))


def dy_ignored(b: FaultBench) -> Array:
    """As if dy were ones."""
    return b.redo(dy=np.ones_like(b.dy))


def dy_constant(b: FaultBench) -> Array:
    """dy replaced by its mean."""
    return b.redo(dy=np.full_like(b.dy, b.dy.mean()))


def zero(b: FaultBench) -> Array:
    """Nothing computed."""
    return np.zeros_like(b.right)


def reshaped(b: FaultBench) -> list[Array]:
    """Two axes exchanged, then reshaped back; or reshaped first, then exchanged."""
    right = b.right
    found = []
    for p, q in combinations(range(right.ndim), 2):
        turned = right.swapaxes(p, q)
        found.append(turned.reshape(right.shape))
        found.append(right.reshape(turned.shape).swapaxes(p, q))
    return found


def axes_exchanged(b: FaultBench) -> list[Array]:
    """The first two axes exchanged, which changes the shape."""
    right = b.right
    need(right.ndim >= 2)
    return [right.swapaxes(0, 1)]


def rotated(b: FaultBench) -> list[Array]:
    """Turned round: the result flipped along every spatial axis."""
    right = b.right
    need(right.ndim >= 3)
    return [np.flip(right, tuple(range(2, right.ndim)))]


def channels_last_out(b: FaultBench) -> list[Array]:
    """Written channels-last: as such, and its memory read as channels-first; and the reverse."""
    right = b.right
    need(right.ndim >= 3)
    last = np.moveaxis(right, 1, -1)
    back = right.reshape(last.shape)
    return [last, last.reshape(right.shape), np.moveaxis(back, -1, 1)]


def channels_last_in(b: FaultBench) -> list[Array]:
    """x's memory, channels-last, read as channels-first; and the reverse."""
    x = b.x
    last = np.moveaxis(x, 1, -1)
    return [b.redo(x=last.reshape(x.shape)), b.redo(x=np.moveaxis(x.reshape(last.shape), -1, 1))]


def x_swapped(b: FaultBench) -> Array:
    """x's memory read with H and W exchanged."""
    return b.redo(x=swap_spatial(b.x).reshape(b.x.shape))


def one_sample_only(b: FaultBench) -> list[Array]:
    """Only the first or the last sample's part; the others' stay zero."""
    right = b.right
    need(right.shape[0] > 1)
    found = []
    for keep in (0, right.shape[0] - 1):
        part = np.zeros_like(right)
        part[keep] = right[keep]
        found.append(part)
    return found


def first_sample_repeated(b: FaultBench) -> list[Array]:
    """The first or last sample's result, in every sample."""
    right = b.right
    need(right.shape[0] > 1)
    return [np.broadcast_to(right[[k]], right.shape) for k in (0, -1)]


def one_sample_summed(b: FaultBench) -> list[Array]:
    """The sum over N missing: one sample's share of a parameter's gradient; or a share for each."""
    dy = b.dy
    need(dy.shape[0] > 1)
    found = []
    for keep in range(dy.shape[0]):
        part = np.zeros_like(dy)
        part[keep] = dy[keep]
        found.append(b.redo(dy=part))
    shares = np.stack(found)
    return [found[0], found[-1], shares]


def one_channel_only(b: FaultBench) -> list[Array]:
    """Only the first or last channel's part."""
    right = b.right
    need(right.ndim >= 2 and right.shape[1] > 1)
    found = []
    for keep in (0, right.shape[1] - 1):
        part = np.zeros_like(right)
        part[:, keep] = right[:, keep]
        found.append(part)
    return found


def last_row_missing(b: FaultBench) -> list[Array]:
    """The last row or column left at zero: a loop that ends one too early over dy."""
    dy, found = b.dy, []
    for axis in range(2, dy.ndim):
        need(dy.shape[axis] > 1)
        part = dy.copy()
        part[(slice(None),) * axis + (-1,)] = 0
        found.append(b.redo(dy=part))
    if len(found) > 1:
        part = dy.copy()
        for axis in range(2, dy.ndim):
            part[(slice(None),) * axis + (-1,)] = 0
        found.append(b.redo(dy=part))
    return found


def bias_axes(b: FaultBench) -> list[Array]:
    """dy summed over other axes than all but the channels."""
    dy = b.dy
    axes = range(dy.ndim)
    every = [c for size in range(1, dy.ndim + 1) for c in combinations(axes, size)]
    right = (0, *b.space)
    return [dy.sum(axis=some) for some in every if some != right]


def _count(b: FaultBench) -> dict[str, int]:
    spatial = math.prod(b.plan.upstream[2:])
    inputs = b.plan.inputs
    window = inputs["w"][2:] if "w" in inputs else b.plan.arguments.get("kernel", (1,))
    return {
        "2": 2,
        "N": b.plan.upstream[0],
        "C": b.plan.inputs["x"][1],
        "OH*OW": spatial,
        "N*OH*OW": b.plan.upstream[0] * spatial,
        "KH*KW": math.prod(window),
    }


def times(what: str) -> Callable[[FaultBench], Array]:
    """Return the fault of a factor too much: 2, N, OH*OW, ..."""

    def make(b: FaultBench) -> Array:
        need(_count(b)[what] > 1)
        return b.right * _count(b)[what]

    return make


def over(what: str) -> Callable[[FaultBench], Array]:
    """Return the fault of a divisor too much."""

    def make(b: FaultBench) -> Array:
        need(_count(b)[what] > 1)
        return b.right / _count(b)[what]

    return make


def negated(b: FaultBench) -> Array:
    """The sign."""
    return -b.right

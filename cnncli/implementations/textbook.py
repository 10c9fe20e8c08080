"""How a convolution is written without a library, to be timed by `bench`; forward alone.

The loops here stop at a case's first outputs; those that judge a case run to their end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnncli.implementations.base import CannotExpressError, Task
from cnncli.implementations.library import Call, Direction
from cnncli.layers.base import Array, Plan

LOOPS_WINDOWS = 400
"""Outputs of a small window that the loops compute of a case: a second or so."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A call to be timed, and the share of the whole case that it computes."""

    call: Call
    share: float = 1.0
    note: str = ""


def tensordot(task: Task, direction: Direction) -> Ready:
    """Contract the windows, a strided view, with w: NumPy's usual one-liner, np.pad included.

    Raises CannotExpressError.
    """
    _refuse_odd(task, direction, "tensordot")
    problem = task.problem
    w, rank, params = problem.tensors["w"], len(problem.plan.spatial), problem.plan.params
    axes = tuple(range(2, 2 + rank))
    spans = tuple(d * (k - 1) + 1 for k, d in zip(w.shape[2:], params["dilation"], strict=True))
    steps = [slice(None, None, s) for s in params["stride"]]
    holes = [slice(None, None, d) for d in params["dilation"]]
    left = (1, *range(2 + rank, 2 + 2 * rank))

    def call() -> Array:
        view = np.lib.stride_tricks.sliding_window_view(_padded(task), spans, axes)
        windows = view[(slice(None), slice(None), *steps, *holes)]
        return np.moveaxis(np.tensordot(windows, w, (left, (1, *axes))), -1, 1)

    return Ready(call=call)


def loops(task: Task, direction: Direction) -> Ready:
    """Seven nested loops over N, F, OH, OW and C, KH, KW, on the case's first outputs.

    Raises CannotExpressError.
    """
    _refuse_odd(task, direction, "loops")
    plan = task.problem.plan
    if len(plan.spatial) != 2:
        raise CannotExpressError("loops are timed with two spatial axes alone")
    filters, rows, columns = plan.upstream[1:]
    depth = math.prod(plan.inputs["w"][1:])
    windows = max(1, min(LOOPS_WINDOWS * 576 // depth, columns))
    x, w = _padded(task), task.problem.tensors["w"]
    whole = plan.upstream[0] * filters * rows * columns
    note = f"loops: timed on {windows} of {whole} outputs and scaled"
    return Ready(call=lambda: _nest(plan, x, w, windows), share=windows / whole, note=note)


TEXTBOOK: dict[str, Callable[[Task, Direction], Ready]] = {"loops": loops, "tensordot": tensordot}


def _refuse_odd(task: Task, direction: Direction, who: str) -> None:
    """Raise CannotExpressError for what the textbook does not write down."""
    if task.problem.layer.name != "conv":
        raise CannotExpressError(f"{who} is timed for convolution alone")
    if direction != "forward":
        raise CannotExpressError(f"{who} is timed forward alone")
    params = task.problem.plan.params
    if params["transposed"] or params["groups"] > 1:
        raise CannotExpressError(f"{who} has no groups and no transposed convolution")


def _padded(task: Task) -> Array:
    padding = task.problem.plan.params["padding"]
    return np.pad(task.problem.tensors["x"], ((0, 0), (0, 0), *padding))


def _nest(plan: Plan, x: Array, w: Array, columns: int) -> Array:
    """Compute the first `columns` outputs of y[0, 0, 0]; x is padded."""
    (sh, sw), (dh, dw) = plan.params["stride"], plan.params["dilation"]
    channels, kh, kw = w.shape[1:]
    y = np.zeros((1, 1, 1, columns), x.dtype)
    for n in range(1):
        for f in range(1):
            for i in range(1):
                for j in range(columns):
                    for c in range(channels):
                        for k in range(kh):
                            for m in range(kw):
                                element = x[n, c, i * sh + k * dh, j * sw + m * dw]
                                y[n, f, i, j] += element * w[f, c, k, m]
    return y

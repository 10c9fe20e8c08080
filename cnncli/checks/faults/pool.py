"""Faults of pooling and padding, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cnncli.checks.faults.common import need, need_overlap, planes
from cnncli.checks.faults.faultbench import FaultBench
from cnncli.checks.ties import find_ties
from cnncli.kernels.windows import Array


def _is(b: FaultBench, mode: str) -> None:
    need(b.plan.params["mode"] == mode)


def _divisor(b: FaultBench) -> Array:
    """How many elements the mean of each window divides by (*O)."""
    where = b.windows()
    real = np.zeros(where.output)
    for _, _, outputs, _ in where.overlaps():
        real[outputs] += 1
    ones = np.ones((1, 1, *where.spatial))
    mean = b.redo(name="y", x=ones)[0, 0]
    need(bool((real > 0).all()))
    return np.asarray(real / mean)


def _scattered(b: FaultBench, columns: list[tuple[Any, Array]]) -> Array:
    """Add up each (inputs, values) into a dx."""
    dx = np.zeros(b.plan.inputs["x"])
    for inputs, values in columns:
        dx[inputs] += values
    return dx


def all_maxima_paid(b: FaultBench) -> Array:
    """Every tied maximum gets the window's whole dy."""
    _is(b, "max")
    y = b.redo(name="y")
    return _scattered(
        b,
        [(i, np.where(b.x[i] == y[o], b.dy[o], 0.0)) for _, _, o, i in b.windows().overlaps()],
    )


def _paid_at_ties(b: FaultBench, shares: Callable[[int], Array]) -> Array:
    """Return dx where a tied window's winners, in order, get these shares of its dy."""
    _is(b, "max")
    ties = find_ties(b.problem)
    if ties is None or not ties.edges:
        raise ValueError
    dx: Array = b.redo(dy=np.where(ties.tied, 0.0, b.dy)).reshape(-1).copy()
    for window, winners in ties.edges.items():
        np.add.at(dx, winners, b.dy.reshape(-1)[window] * shares(len(winners)))
    return dx.reshape(b.plan.inputs["x"])


def ties_shared(b: FaultBench) -> Array:
    """The tied maxima of a window share its dy evenly."""
    return _paid_at_ties(b, lambda count: np.full(count, 1 / count))


def last_tied(b: FaultBench) -> Array:
    """The last of the tied maxima gets the window's dy."""
    return _paid_at_ties(b, lambda count: np.eye(count)[-1])


def _winners(b: FaultBench, numbers: Array) -> list[tuple[Any, Array]]:
    return [(i, np.where(numbers[o] == n, b.dy[o], 0.0)) for n, _, o, i in b.windows().overlaps()]


def overwritten(b: FaultBench) -> list[Array]:
    """Overlapping windows written over each other: the last, or the first, window stays."""
    need_overlap(b)
    found = []
    if b.plan.params["mode"] == "avg":
        shares = [(i, (b.dy / _divisor(b))[o]) for _, _, o, i in b.windows().overlaps()]
        for turn in (shares[::-1], shares):
            dx = np.zeros(b.plan.inputs["x"])
            for inputs, values in turn:
                dx[inputs] = values
            found.append(dx)
        return found
    y = b.redo(name="y")
    parts = [(b.x[i] == y[o], b.dy[o], i) for _, _, o, i in b.windows().overlaps()]
    for order in (parts[::-1], parts):
        # Only the winner is written, or the whole window is, its losers with zero.
        winner, whole = np.zeros(b.plan.inputs["x"]), np.zeros(b.plan.inputs["x"])
        for wins, dy, inputs in order:
            winner[inputs] = np.where(wins, dy, winner[inputs])
            whole[inputs] = np.where(wins, dy, 0.0)
        found += [winner, whole]
    return found


def _padded(b: FaultBench, fill: float) -> Array:
    where = b.windows()
    widths = [(0, 0), (0, 0)]
    for axis, (k, s, d) in enumerate(zip(where.kernel, where.stride, where.dilation, strict=True)):
        size, before, o = where.spatial[axis], where.before[axis], where.output[axis]
        end = (o - 1) * s + (k - 1) * d + 1
        widths.append((before, max(0, end - before - size)))
    return np.pad(b.x, widths, constant_values=fill)


def padding_wins(b: FaultBench) -> Array:
    """Max pooling padded with zeros, which beat negative elements and take their gradient."""
    _is(b, "max")
    need(any(map(any, b.pads)))
    full = _padded(b, 0.0)
    none = tuple((0, 0) for _ in b.pads)
    if b.name == "y":
        return b.redo(x=full, arguments={"padding": none}, spatial=full.shape[2:])
    dx = b.redo(x=full, arguments={"padding": none}, spatial=full.shape[2:])
    box = (slice(p, p + size) for (p, _), size in zip(b.pads, b.plan.spatial, strict=True))
    cropped: Array = dx[planes(*box)]
    return cropped


def other_mode(b: FaultBench) -> Array:
    """The mean's gradient for the maximum, or the maximum's for the mean."""
    to = "avg" if b.plan.params["mode"] == "max" else "max"
    if to == "avg" and b.name == "dx":
        # Where whole windows tie, this is what sharing dy among them gives.
        need(bool((b.redo(name="y") + b.redo(name="y", x=-b.x)).any()))
    arguments = dict(b.plan.arguments)
    arguments.pop("count_include_pad", None)
    if to == "avg":
        arguments["count_include_pad"] = True
    params = {**b.plan.params, "mode": to}
    plan = replace(b.plan, arguments=arguments, params=params, outputs={"y": b.plan.upstream})
    return FaultBench(replace(b.problem, plan=plan), b.name).right


def least(b: FaultBench) -> Array:
    """The minimum in place of the maximum."""
    _is(b, "max")
    result = b.redo(x=-b.x)
    return -result if b.name == "y" else result


def divisor(b: FaultBench) -> list[Array]:
    """The mean divides by the other count: padding in, padding out, or the kernel's size."""
    _is(b, "avg")
    counted = b.redo(arguments={"count_include_pad": not b.argument("count_include_pad")})
    size = float(np.prod(b.argument("kernel")))
    if b.name == "y":
        return [counted, b.right * _divisor(b) / size]
    return [counted, b.redo(dy=b.dy * _divisor(b) / size)]


def divisor_missing(b: FaultBench) -> Array:
    """The sum in place of the mean."""
    _is(b, "avg")
    return b.right * _divisor(b) if b.name == "y" else b.redo(dy=b.dy * _divisor(b))


def stride_is_kernel(b: FaultBench) -> Array:
    """Windows side by side, a kernel apart, for the same dy."""
    need(b.argument("kernel") != b.argument("stride") and b.name == "dx")
    return b.redo(arguments={"stride": b.argument("kernel")})


def kernel_exchanged(b: FaultBench) -> Array:
    """KH and KW exchanged."""
    kernel = b.argument("kernel")
    need(kernel != kernel[::-1])
    return b.redo(arguments={"kernel": kernel[::-1]})


def first_element(b: FaultBench) -> Array:
    """Each window's first element paid, whatever it holds."""
    _is(b, "max")
    numbers = np.zeros(b.dy.shape, np.int64)
    return _scattered(b, _winners(b, numbers))


def pad_not_cropped(b: FaultBench) -> Array:
    """Dx is dy whole: nothing cropped."""
    return b.dy


def pad_border_dropped(b: FaultBench) -> Array:
    """Dy of the border dropped, not added to the elements that it copies."""
    need(b.plan.params["mode"] != "constant")
    return b.redo(arguments={"mode": "constant"})


def pad_other_mode(name: str) -> Callable[[FaultBench], Array]:
    """Return the fault of another mode."""

    def make(b: FaultBench) -> Array:
        need(name != b.argument("mode"))
        return b.redo(arguments={"mode": name})

    return make


def pads_exchanged(b: FaultBench) -> Array:
    """Rows before and after exchanged."""
    other = tuple((q, p) for p, q in b.pads)
    need(other != b.pads)
    return b.redo(arguments={"padding": other})


def pads_of_other_axis(b: FaultBench) -> Array:
    """H's padding on W and W's on H (a forward of another shape; backward, where dy fits)."""
    need(len(b.pads) == 2 and b.pads[0] != b.pads[1])
    return b.redo(arguments={"padding": b.pads[::-1]})


def pad_shifted(b: FaultBench) -> list[Array]:
    """Dx cropped from dy's start, or from its end."""
    sizes, most = b.plan.spatial, b.dy.shape[2:]
    need(all(size <= m for size, m in zip(sizes, most, strict=True)))
    start = b.dy[planes(*(slice(0, size) for size in sizes))]
    end = b.dy[planes(*(slice(m - s, m) for s, m in zip(sizes, most, strict=True)))]
    return [start, end]


def pad_value(b: FaultBench) -> list[Array]:
    """Another value in the border: 0, or 1."""
    _is(b, "constant")
    other = [v for v in (0.0, 1.0) if v != b.plan.params["value"]]
    return [b.redo(params={"value": value}) for value in other]


def from_zero(b: FaultBench) -> Array:
    """The largest of a window and zero: a maximum that started at 0."""
    need(b.plan.params["mode"] == "max")
    return np.maximum(b.right, 0)

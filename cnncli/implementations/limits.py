"""What `bench` measures a layer by: its arithmetic as bare products, its traffic as a bare copy."""

from __future__ import annotations

import math

import numpy as np

from cnncli.implementations.base import Task
from cnncli.implementations.library import Call, Direction
from cnncli.layers.base import Plan


def limit(task: Task, direction: Direction) -> Call:
    """Return the call that takes as little as the machine allows for what this one does."""
    if task.problem.layer.name == "conv":
        return _products(task, direction)
    return _copy(task, direction)


def flops(plan: Plan, direction: Direction) -> int:
    """Multiplications and additions of a convolution; backward is dx and dw together."""
    per_output = 2 * math.prod(plan.inputs["w"][1:])
    positions = math.prod(plan.inputs["x"] if plan.params["transposed"] else plan.upstream)
    return per_output * positions * {"forward": 1, "backward": 2, "step": 3}[direction]


def moved_bytes(plan: Plan, direction: Direction, itemsize: int) -> int:
    """Bytes that must be read and written: x and y, dy and dx; for bn's dx, x once more."""
    x, y = math.prod(plan.inputs["x"]), math.prod(plan.upstream)
    back = x + y + (x if plan.layer == "bn" else 0)
    return itemsize * {"forward": x + y, "backward": back, "step": x + y + back}[direction]


def product_shape(plan: Plan) -> tuple[int, int, int, int]:
    """Groups, rows, depth and columns of the one product that a convolution comes down to."""
    groups, w = plan.params["groups"], plan.inputs["w"]
    windows = plan.inputs["x"] if plan.params["transposed"] else plan.outputs["y"]
    return groups, w[0] // groups, math.prod(w[1:]), windows[0] * math.prod(windows[2:])


def _products(task: Task, direction: Direction) -> Call:
    """np.matmul of the arithmetic: W X forward, W' dY and dY X' backward."""
    plan, dtype = task.problem.plan, task.problem.tensors["x"].dtype
    groups, rows, depth, columns = product_shape(plan)
    rng = np.random.default_rng(0)
    w = rng.random((groups, rows, depth), np.float32).astype(dtype)
    x = rng.random((groups, depth, columns), np.float32).astype(dtype)
    dy = rng.random((groups, rows, columns), np.float32).astype(dtype)
    y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)
    forward = (w, x, y)
    back = [(w.swapaxes(1, 2), dy, dx), (dy, x.swapaxes(1, 2), dw)]
    if plan.params["transposed"]:  # whose forward is a convolution's dx
        forward, back[0] = back[0], forward
    asked = {"forward": [forward], "backward": back, "step": [forward, *back]}[direction]

    def products() -> None:
        for left, right, out in asked:
            np.matmul(left, right, out=out)

    return products


def _copy(task: Task, direction: Direction) -> Call:
    """Copy as many bytes as must be read and written, half of them each."""
    size = moved_bytes(task.problem.plan, direction, 1) // 2
    source = np.ones(max(1, size), task.problem.tensors["x"].dtype)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)

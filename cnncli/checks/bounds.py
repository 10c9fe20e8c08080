"""A tolerance with a reason: how far rounding alone can take each element of a tensor.

A sum of n terms t_i, in any order, in a precision of unit roundoff u, is off by at most about
n * u * sum |t_i| (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2; to
first order in u). The terms' absolute sums are the same layer's, of |x|, |w| and |dy|.
"""

from __future__ import annotations

import math

import numpy as np

from cnncli.checks.check import Comparison
from cnncli.layers.base import Array, Plan, Problem, Tensors

BESIDE = 3
"""Roundings beside the sum: of the inputs to the precision, of each product, of the result."""


def rounding_bound(problem: Problem, name: str, unit: float) -> Array:
    """Return the most that rounding, of unit roundoff `unit`, can move each element of a tensor.

    The problem's tensors hold the inputs and, for gradients, dy. Shape: that tensor's own.
    """
    layer, plan = problem.layer, problem.plan
    wide = {
        key: problem.tensors[key].astype(np.float64)
        for key in (*plan.inputs, "dy")
        if key in problem.tensors
    }
    with np.errstate(all="ignore"):
        if layer.name == "bn":
            return _batch_norm(plan, wide, name, unit)
        is_max = plan.params.get("mode") == "max"
        if name == "indices":
            return np.zeros(plan.outputs[name])
        if name == "y" and (is_max or layer.name == "pad"):
            return unit * np.abs(layer.output(plan, wide))  # moved, not summed
        sizes = {key: np.abs(array) for key, array in wide.items()}
        if name == "y":
            total = layer.output(plan, sizes)
        else:
            if is_max:
                sizes["x"] = wide["x"]  # which decides the winners
            total = layer.backward(plan, sizes)[name]
        return np.asarray((_terms(plan, name) + BESIDE) * unit * total)


def share_of_bound(found: Comparison) -> str:
    """Say how near to its rounding bound a comparison by one came."""
    return f"largest error is {found.largest_share:.3g} of the rounding bound"


def _terms(plan: Plan, name: str) -> int:
    """Return how many terms each element of a tensor sums at most."""
    x, y = plan.inputs["x"], plan.upstream
    if plan.layer == "pad":
        return math.prod(
            max(0, before) + max(0, after) + 1 for before, after in plan.params["padding"]
        )
    if plan.layer == "pool":
        return math.prod(plan.arguments["kernel"])
    groups, window = plan.params["groups"], math.prod(plan.inputs["w"][2:])
    smaller = x if plan.params["transposed"] else y
    terms = {
        "y": x[1] // groups * window + 1,
        "dx": y[1] // groups * window,
        "dw": x[0] * math.prod(smaller[2:]),
        "db": y[0] * math.prod(y[2:]),
    }
    return int(terms[name])


def _batch_norm(plan: Plan, tensors: Tensors, name: str, u: float) -> Array:
    """Follow the rounding of mean, variance and deviation, each to first order, into a tensor."""
    x, dy = tensors["x"], tensors.get("dy")
    axes = (0, *range(2, x.ndim))
    m = x.size // x.shape[1]

    def column(numbers: Array) -> Array:
        return numbers.reshape(-1, *(1 for _ in axes[1:]))

    def mean_of(array: Array) -> Array:
        return np.asarray(array.mean(axis=axes, keepdims=True))

    eps, gamma, beta = plan.params["eps"], column(tensors["gamma"]), column(tensors["beta"])
    if plan.params["training"]:
        mean = mean_of(x)
        var = mean_of(np.square(x - mean))
        mean_off = (m + 2) * u * mean_of(np.abs(x))
        var_off = (m + 4) * u * var + 2 * mean_of(np.abs(x - mean)) * mean_off
    else:
        mean, var = column(tensors["running_mean"]), column(tensors["running_var"])
        mean_off, var_off = u * np.abs(mean), u * var
    if name.startswith("new_"):
        old = tensors[name.removeprefix("new_")]
        new, off = (mean, mean_off) if name.endswith("mean") else (var * m / max(1, m - 1), var_off)
        return np.asarray(4 * u * (np.abs(old) + np.abs(new.reshape(-1))) + 2 * off.reshape(-1))
    sigma = np.sqrt(var + eps)
    sigma_off = var_off / (2 * (var + eps)) + 3 * u  # relative
    hat = (x - mean) / sigma
    hat_off = (2 * u * np.abs(x) + mean_off) / sigma + np.abs(hat) * (sigma_off + 2 * u)
    if name == "y":
        y = hat * gamma
        return np.asarray(np.abs(gamma) * hat_off + 3 * u * (np.abs(y) + np.abs(beta)))
    assert dy is not None
    size = np.abs(dy)
    if name == "dbeta":
        return np.asarray((m + BESIDE) * u * size.sum(axis=axes))
    slope_off = mean_of(size * hat_off) + (m + BESIDE) * u * mean_of(size * np.abs(hat))
    if name == "dgamma":
        return np.asarray(m * slope_off.reshape(-1))
    scale = np.abs(gamma) / sigma
    if not plan.params["training"]:
        return np.asarray(scale * size * (sigma_off + 4 * u))
    slope = mean_of(size * np.abs(hat))
    every = size + mean_of(size) + np.abs(hat) * slope
    parts = (m + BESIDE) * u * mean_of(size) + hat_off * slope + np.abs(hat) * slope_off
    return np.asarray(scale * (every * (sigma_off + 6 * u) + parts))

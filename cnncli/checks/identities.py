"""Exact identities of gradients: equations that need no step, judged relative to their terms.

They see other faults than a numeric gradient and none of its noise. Sources: the layers are linear
(Euler's identity for homogeneous functions; the adjoint's definition), max pooling pays every dy
out, batch normalisation does not change when x is shifted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnncli.checks.bounds import rounding_bound
from cnncli.floats import float_type
from cnncli.layers.base import Array, Plan, Problem


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One equation about a gradient, or one a channel or plane.

    `left` and `right` are its sides, `terms` the sum of the absolute terms that went into them,
    those of the gradient itself too: where these cancel, the sides are rounding and nothing else.
    `rounding` is what rounding may leave beyond a share of the terms, `weights` what an error of 1
    in every element of the gradient could make of the sides.
    """

    text: str
    left: Array
    right: Array
    terms: Array
    weights: Array | float = 1.0
    rounding: Array | float = 0.0


def identities(problem: Problem, name: str, gradient: Array, stored: str) -> list[Identity]:
    """Return the identities that `gradient`, as tensor `name` stored as `stored`, must meet.

    The problem's tensors are float64 and hold the inputs and dy. None where there is none for it.
    """
    layer, plan, tensors = problem.layer, problem.plan, problem.tensors
    source, dy = name[1:], tensors["dy"]
    space = tuple(range(2, dy.ndim))
    found = []
    if layer.name in ("conv", "pad") or (layer.name == "pool" and plan.params["mode"] == "avg"):
        found.append(_adjoint(problem, source, gradient))
    if layer.name == "pool" and _pays_all(plan):
        text = "sum of dx = sum of dy in each (n, c)"
        found.append(_sums(text, gradient, dy, space))
    if layer.name == "pad" and plan.params["mode"] != "constant":
        text = "sum of dx = sum of dy in each (n, c)"
        found.append(_sums(text, gradient, dy, space))
    if layer.name == "bn" and name == "dx" and plan.params["training"]:
        found.append(_sums_to_zero(problem, gradient, stored))
    if layer.name == "bn" and name == "dbeta":
        axes = (0, *space)
        sizes = np.abs(dy).sum(axis=axes) + np.abs(gradient)
        text = "dbeta = sum of dy in each channel"
        found.append(Identity(text=text, left=gradient, right=dy.sum(axis=axes), terms=sizes))
    return found


def _adjoint(problem: Problem, source: str, gradient: Array) -> Identity:
    """<dx, x> = <dy, y(x) - y(0)>, which holds for every input that y is linear in."""
    layer, plan, tensors = problem.layer, problem.plan, problem.tensors
    inputs = {key: tensors[key] for key in plan.inputs}
    if layer.name == "conv":
        # What y has besides goes first: to take it away later would leave its rounding behind.
        for other in ("x",) if source == "b" else ("b",):
            if other in inputs:
                inputs[other] = np.zeros_like(inputs[other])
    value = inputs[source]
    sizes = {key: np.abs(array) for key, array in inputs.items()}
    both = np.stack([value, np.zeros_like(value)])
    y, rest = layer.outputs_for(plan, inputs, source, both)
    most, least = layer.outputs_for(plan, sizes, source, np.abs(both))
    left, right = gradient * value, tensors["dy"] * (y - rest)
    absolute = np.abs(left).sum() + (np.abs(tensors["dy"]) * (most - least)).sum()
    minus = ""
    if layer.name == "conv" and "b" in plan.inputs:
        minus = " - conv(x, w)" if source == "b" else " - b"
    elif plan.params.get("value"):
        minus = " - value"
    y_text = f"(y{minus})" if minus else "y"
    return Identity(
        text=f"sum(d{source}*{source}) = sum(dy*{y_text})",
        left=np.asarray(left.sum()),
        right=np.asarray(right.sum()),
        terms=np.asarray(absolute),
        weights=np.asarray(np.abs(value).sum()),
    )


def _sums_to_zero(problem: Problem, gradient: Array, stored: str) -> Identity:
    """Batch normalisation does not change when x is shifted, so its dx sums to 0.

    dx = gamma/sigma * (dy - mean(dy) - xhat * mean(dy*xhat)) may be of rounding alone, as for a
    constant dy; and a large mean of x leaves a rounding in xhat that no share of dy covers.
    """
    tensors = problem.tensors
    x, size = tensors["x"], np.abs(tensors["dy"])
    axes = (0, *range(2, x.ndim))
    columns = (-1, *(1 for _ in axes[1:]))
    sigma = np.sqrt(x.var(axis=axes, keepdims=True) + problem.plan.params["eps"])
    hat = np.abs(x - x.mean(axis=axes, keepdims=True)) / sigma
    means = [part.mean(axis=axes, keepdims=True) for part in (size, size * hat)]
    each = np.abs(tensors["gamma"]).reshape(columns) / sigma * (size + means[0] + hat * means[1])
    unit = float_type(stored).unit_roundoff
    sums = gradient.sum(axis=axes)
    return Identity(
        text="dx sums to 0 in each channel",
        left=sums,
        right=np.zeros_like(sums),
        terms=each.sum(axis=axes) + np.abs(gradient).sum(axis=axes),
        weights=gradient.size / sums.size,
        rounding=rounding_bound(problem, "dx", unit).sum(axis=axes),
    )


def _sums(text: str, gradient: Array, dy: Array, space: tuple[int, ...]) -> Identity:
    sizes = np.abs(gradient).sum(axis=space) + np.abs(dy).sum(axis=space)
    return Identity(
        text=text,
        left=gradient.sum(axis=space),
        right=dy.sum(axis=space),
        terms=sizes,
        weights=gradient.size / sizes.size,
    )


def _pays_all(plan: Plan) -> bool:
    """Tell whether every dy goes to real elements whole: no share is lost to padding."""
    if plan.params["mode"] == "max" or not plan.params["count_include_pad"]:
        return True
    return not any(before or after for before, after in plan.params["padding"])

"""How much arithmetic a case takes, from shapes alone."""

from __future__ import annotations

import math

from cnncli.layers.base import Plan


def operations(plan: Plan, *, backward: bool) -> int:
    """Return the floating-point operations that the layer's definition takes.

    A convolution's product and sum count as two, and each of its two large gradients takes as many
    as its forward. Pooling takes one an element of a window; batch norm about eight an element
    (mean, variance, scale and shift), and twelve more backward. Padding only moves numbers.
    """
    y = math.prod(plan.upstream)
    if plan.layer == "conv":
        w = plan.inputs["w"]
        # Either every output sums a filter, or, transposed, every input spreads one.
        ends = plan.inputs["x"] if plan.params["transposed"] else plan.upstream
        forward = 2 * math.prod(ends) * math.prod(w[1:])
        bias = y if "b" in plan.inputs else 0
        return (3 * forward if backward else forward) + bias * (2 if backward else 1)
    if plan.layer == "pool":
        is_average = plan.params["mode"] == "avg"
        forward = y * int(math.prod(plan.params["kernel"]))
        gradient = forward if is_average else y
        return forward + gradient if backward else forward
    if plan.layer == "bn":
        return y * (20 if backward else 8)
    return 0

"""Elements of a convolution, direct or transposed.

Both relate an image (x; transposed: y) to windows over it (y; transposed: x) by one rule: window o
with offset k meets the image at o*stride + k*dilation - before, weighted with
w[window's channel, image's channel in its group, k]. So there are three kinds of element: of the
windows, of the image, of w.
"""

from __future__ import annotations

import math
from typing import Any

from cnncli.layers.base import Plan, Tensors
from cnncli.layers.explain.axes import Axis, make_axes
from cnncli.layers.explain.parts import Explanation, Index, Terms, grid, regions, take


def explain(plan: Plan, tensors: Tensors, name: str, index: Index) -> Explanation:
    """Return the products that element `index` of y, dx, dw or db sums."""
    element = float(tensors[name][index])
    found: dict[str, Any] = {"tensor": name, "index": index, "element": element}
    if name == "db":
        return _bias_gradient(tensors, index, found)
    transposed = plan.params["transposed"]
    image, windows = ("y", "x") if transposed else ("x", "y")
    shapes = {"x": plan.inputs["x"], "y": plan.upstream}
    axes = make_axes(
        shapes[image][2:],
        shapes[windows][2:],
        plan.inputs["w"][2:],
        plan.arguments["stride"],
        plan.arguments["padding"],
        plan.arguments["dilation"],
    )
    per_group = (
        shapes[image][1] // plan.params["groups"],
        shapes[windows][1] // plan.params["groups"],
    )
    # What stands for the image and for the windows: y has no values to read but dy's.
    values = {"x": "x", "y": "dy"}
    if name == "dw":
        return _weights(axes, tensors, index, (values[image], values[windows]), per_group, found)
    if (name == "y") == transposed:
        result = _of_image(axes, tensors, index, values[windows], per_group, found)
    else:
        result = _of_window(axes, tensors, index, values[image], per_group, found)
    if name == "y" and "b" in tensors:
        bias = Terms(label="bias", factors=(take("b", tensors, [index[1]], 1),))
        result = _with_bias(result, bias)
    return result


def _with_bias(explanation: Explanation, bias: Terms) -> Explanation:
    from dataclasses import replace

    return replace(
        explanation,
        terms=(*explanation.terms, bias),
        formula=f"{explanation.formula} + b[{explanation.index[1]}]",
    )


def _of_window(
    axes: list[Axis],
    tensors: Tensors,
    index: Index,
    image: str,
    per_group: tuple[int, int],
    found: dict[str, Any],
) -> Explanation:
    """An element of the windows: its receptive field in the image, each weighted."""
    n, channel, *place = index
    group = channel // per_group[1]
    reads = [axis.reads(o) for axis, o in zip(axes, place, strict=True)]
    columns = grid([range(per_group[0])], reads)
    c, offsets, inputs = columns[0], columns[1::2], columns[2::2]
    count = columns.shape[1]
    w = take("w", tensors, [channel, c, *offsets], count)
    x = take(image, tensors, [n, c + group * per_group[0], *inputs], count)
    whole = math.prod(axis.kernel for axis in axes) * per_group[0]
    return Explanation(
        **found,
        formula=f"sum of w*{image} over the channels of its group and its window",
        terms=(Terms(label="products", factors=(w, x)),),
        reads=regions(x, w),
        padding=whole - count,
    )


def _of_image(
    axes: list[Axis],
    tensors: Tensors,
    index: Index,
    windows: str,
    per_group: tuple[int, int],
    found: dict[str, Any],
) -> Explanation:
    """An element of the image: every window that meets it, each weighted."""
    n, channel, *place = index
    group, local = divmod(channel, per_group[0])
    feeds = [axis.feeds(i) for axis, i in zip(axes, place, strict=True)]
    columns = grid([range(per_group[1])], feeds)
    f, offsets, outputs = columns[0] + group * per_group[1], columns[1::2], columns[2::2]
    count = columns.shape[1]
    w = take("w", tensors, [f, local, *offsets], count)
    dy = take(windows, tensors, [n, f, *outputs], count)
    note = None if count else "no window meets this element: it is a remainder, or skipped"
    return Explanation(
        **found,
        formula=f"sum of w*{windows} over every window that meets it",
        terms=(Terms(label="products", factors=(w, dy)),),
        reads=regions(dy, w),
        note=note,
    )


def _weights(
    axes: list[Axis],
    tensors: Tensors,
    index: Index,
    names: tuple[str, str],
    per_group: tuple[int, int],
    found: dict[str, Any],
) -> Explanation:
    """An element of w: every window of every sample, with what it meets at that offset."""
    image, windows = names
    channel, local, *offset = index
    group = channel // per_group[1]
    matches = [axis.matches(k) for axis, k in zip(axes, offset, strict=True)]
    samples = len(tensors[image])
    columns = grid([range(samples)], matches)
    n, outputs, inputs = columns[0], columns[1::2], columns[2::2]
    count = columns.shape[1]
    dy = take(windows, tensors, [n, channel, *outputs], count)
    x = take(image, tensors, [n, local + group * per_group[0], *inputs], count)
    whole = samples * math.prod(axis.outputs for axis in axes)
    return Explanation(
        **found,
        formula=f"sum of {windows}*{image} over all samples and windows, at this offset",
        terms=(Terms(label="products", factors=(dy, x)),),
        reads=regions(dy, x),
        padding=whole - count,
    )


def _bias_gradient(tensors: Tensors, index: Index, found: dict[str, Any]) -> Explanation:
    """An element of b: all of dy's channel."""
    dy = tensors["dy"]
    columns = grid([range(size) for size in (dy.shape[0], *dy.shape[2:])])
    factor = take("dy", tensors, [columns[0], index[0], *columns[1:]], columns.shape[1])
    return Explanation(
        **found,
        formula="sum of dy over its channel: every sample and position",
        terms=(Terms(label="elements", factors=(factor,)),),
        reads=regions(factor),
    )

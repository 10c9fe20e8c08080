"""The order of a tensor's axes outside: read, shown and written so; inside all is NCHW.

`nhwc` puts the channels last and, of weights, the kernel first: x (N, *S, C), w (*K, C/groups, F),
a transposed convolution's w (*K, F/groups, C); TensorFlow's and Keras's order. Vectors have one.
"""

from __future__ import annotations

from cnncli.layers.base import Array, Shape

LAYOUTS = ("nchw", "nhwc")

VECTORS = 2
"""A tensor of no more axes has no layout (a vector a channel)."""


def outward(layout: str, name: str, rank: int) -> tuple[int, ...]:
    """Return which of our axes stands at each place of tensor `name` (or its gradient) outside."""
    axes = tuple(range(rank))
    if layout == "nchw" or rank <= VECTORS:
        return axes
    return (*axes[2:], 1, 0) if name in ("w", "dw") else (0, *axes[2:], 1)


def inward(layout: str, name: str, rank: int) -> tuple[int, ...]:
    """Return which axis outside is each of our axes of tensor `name` (or its gradient)."""
    axes = outward(layout, name, rank)
    return tuple(axes.index(axis) for axis in range(rank))


def shape_inside(layout: str, name: str, shape: Shape) -> Shape:
    """Return the shape as NCHW of a tensor whose shape outside is `shape`."""
    return tuple(shape[axis] for axis in inward(layout, name, len(shape)))


def shape_outside(layout: str, name: str, shape: Shape) -> Shape:
    """Return the shape outside of a tensor whose shape is NCHW `shape`."""
    return tuple(shape[axis] for axis in outward(layout, name, len(shape)))


def to_inside(layout: str, name: str, array: Array) -> Array:
    """Return an array from outside as NCHW, contiguous."""
    import numpy as np

    if layout == "nchw" or array.ndim <= VECTORS:
        return array
    return np.ascontiguousarray(array.transpose(inward(layout, name, array.ndim)))


def to_outside(layout: str, name: str, array: Array) -> Array:
    """Return an NCHW array in the order of the axes outside: a view, of the same memory."""
    return array.transpose(outward(layout, name, array.ndim))

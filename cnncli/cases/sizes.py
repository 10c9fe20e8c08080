"""Shapes as people write them: `2x3x8x8`, `[2, 3, 8, 8]`, and growing one by zeros."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias

from cnncli.cases.node import Node
from cnncli.errors import TensorError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]

MAX_AXES = 32
MAX_BYTES = 2**63 - 1
"""What an array may measure at most, so that its size in bytes is a machine number."""

_SIZE = re.compile(r"[0-9]{1,30}\Z")


def shape_text(shape: Shape) -> str:
    """Return a shape as it is written in a source: `2x3x8x8`."""
    return "x".join(map(str, shape))


def read_shape(text: str) -> Shape:
    """Return the shape that `2x3x8x8` stands for; raise TensorError where it is none."""
    words = text.split("x")
    if not all(_SIZE.match(word) for word in words):
        other = re.split(r"[xX*, ]+", text.strip("()[] "))
        meant = f": {'x'.join(other)}" if all(_SIZE.match(word) for word in other) else ""
        raise TensorError(
            f"{_clip(text)!r} is not a shape; sizes are whole numbers with an x between them"
            + (meant or ", as in 2x3x8x8")
        )
    return check_shape(tuple(int(word) for word in words))


def read_shape_node(node: Node, what: str) -> Shape:
    """Return the shape in a list of sizes, or in text; raise CnncliError at its place."""
    try:
        if isinstance(node.value, list):
            if not node.value:
                raise TensorError(f"{what} is empty")
            return check_shape(tuple(item.integer(f"a size in {what}") for item in node.value))
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            # As it was written: YAML reads 0x3 as a hexadecimal 3.
            return read_shape(node.text or str(node.value))
        return read_shape(node.string(what))
    except TensorError as error:
        raise error.at(node.where) from None


def check_shape(shape: Shape) -> Shape:
    """Return the shape; raise TensorError where it holds nothing or more than can be counted."""
    if len(shape) > MAX_AXES:
        raise TensorError(f"a tensor has at most {MAX_AXES} axes, but this one has {len(shape)}")
    if any(size < 1 for size in shape):
        least = next(size for size in shape if size < 1)
        raise TensorError(f"every size is 1 or more, but {_clip(shape_text(shape))} has {least}")
    if math.prod(shape) * 8 > MAX_BYTES:
        raise TensorError(f"{_clip(shape_text(shape))} is more numbers than any memory holds")
    return shape


def extended(shape: Shape, zero_extend: Shape | None) -> Shape:
    """Return the shape after zeros were appended; raise TensorError where it would not grow to it.

    Zeros only ever go to the end of an axis, so the new shape has the same axes and is nowhere
    smaller.
    """
    if zero_extend is None:
        return shape
    if len(zero_extend) != len(shape) or any(
        new < old for new, old in zip(zero_extend, shape, strict=True)
    ):
        raise TensorError(
            f"zero_extend {shape_text(zero_extend)} must have the axes of the tensor's own shape "
            f"{shape_text(shape) or '() (no axes)'} and be nowhere smaller"
        )
    return zero_extend


def _clip(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def append_zeros(array: NDArray[Any], shape: Shape | None) -> NDArray[Any]:
    """Return the array with zeros at the end of every axis up to `shape` (None: as it is)."""
    if shape is None or extended(array.shape, shape) == array.shape:
        return array
    import numpy as np

    grown = np.zeros(shape, array.dtype)
    grown[tuple(slice(size) for size in array.shape)] = array
    return grown


def bytes_with_zeros(peak: int, itemsize: int, shape: Shape, zero_extend: Shape | None) -> int:
    """Return the peak bytes of making an array of `shape`, which takes `peak`, and growing it."""
    grown = extended(shape, zero_extend)
    if grown == shape:
        return peak
    return max(peak, (math.prod(shape) + math.prod(grown)) * itemsize)

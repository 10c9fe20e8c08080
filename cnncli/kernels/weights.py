"""The weight gradient of a convolution: products of dy with the windows, a block of dw each.

A block is some channels of dw, which gathers its own windows; or some filters, where a pointwise
convolution gathers none. A thread takes a block, and a block sums over the same tiles in the same
order whoever takes it: how many threads there are never changes a bit of the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from cnncli.kernels.im2col import Buffers, columns, is_pointwise, positions
from cnncli.kernels.threads import each
from cnncli.kernels.windows import Array, Box, Windows, tiles

COLUMN_BYTES = 4 << 20  # the windows of one product
DY_BYTES = 8 << 20  # dy of the images that share a tile, in the order of the windows
ROWS = 576  # of windows that a block takes
FILTERS = 128  # of a block of a pointwise convolution
SMALL = 1 << 22  # products of two numbers up to which another block costs more than it saves
POINTWISE = 256  # positions of a plane from which a pointwise convolution takes images as they lie


@dataclass(frozen=True, slots=True)
class Block:
    """Some groups; of each some filters, and channels: all of them or of one group some."""

    groups: slice
    filters: slice
    inputs: slice
    """The channels of x."""
    columns: slice
    """The columns of dw as (G, F/G, C/G * K)."""


def backward_weight(dy: Array, x: Array, where: Windows, groups: int, dw: Array) -> None:
    """dw[f, c, k] = sum over n, o of dy[n, f, o] * x[n, c, where o's k reads]; dw (F, C/G, *K)."""
    n, plane = len(x), math.prod(where.output)
    matrix = dw.reshape(groups, len(dw) // groups, -1)  # (G, F/G, C/G * K)
    blocks = list(_blocks(where, groups, dw, SMALL // (n * plane)))
    most = _most(where, blocks, math.prod(where.kernel) * dw.itemsize)
    together = n if most <= plane else max(1, DY_BYTES // (len(dw) * plane * dw.itemsize))

    def add(source: Array, grads: _Grads, first: bool, block: Block, buffers: Buffers) -> None:
        target = matrix[block.groups, block.filters, block.columns]
        for box in tiles((len(source), *where.output), most):
            windows = columns(source[box[0], block.inputs], where.tile(box[1:]), buffers)
            windows = windows.reshape(len(target), -1, windows.shape[1]).swapaxes(1, 2)
            part = grads.tile(box)[block.groups, block.filters]
            if first:
                np.matmul(part, windows, out=target)
            else:
                target += np.matmul(part, windows, out=buffers.product.take(target.shape))
            first = False

    for (images,) in tiles((n,), together):
        grads = _Grads(dy[images], groups, dw.dtype, joined=most > plane)
        task = partial(add, x[images], grads, images.start == 0)
        each(blocks, task, lambda: Buffers(dw.dtype))


class _Grads:
    """Tiles of dy (N, F, *O) as (G, F/G, positions): cut from one copy where they join images."""

    def __init__(self, dy: Array, groups: int, dtype: np.dtype[np.generic], *, joined: bool):
        self.dy, self.groups, self.dtype = dy, groups, dtype
        whole = (slice(0, len(dy)), *(slice(0, size) for size in dy.shape[2:]))
        self.joined = positions(dy, whole, groups, dtype) if joined else None

    def tile(self, box: Box) -> Array:
        """Return one tile, some images if they are joined."""
        if self.joined is None:
            return positions(self.dy, box, self.groups, self.dtype)
        plane = math.prod(self.dy.shape[2:])
        return self.joined[..., box[0].start * plane : box[0].stop * plane]


def _most(where: Windows, blocks: list[Block], row_bytes: int) -> int:
    """Positions of a tile, as many as the windows of the largest block allow."""
    plane = math.prod(where.output)
    if is_pointwise(where) and plane >= POINTWISE:
        return plane  # nothing to gather: an image a product, where it lies
    rows: int = max(block.inputs.stop - block.inputs.start for block in blocks)
    return max(1, COLUMN_BYTES // (rows * row_bytes))


def _blocks(where: Windows, groups: int, dw: Array, least: int) -> Iterator[Block]:
    """Cut dw (F, C/G, *K) into blocks of at least so many elements, two or more if it can be."""
    f, c, taps = len(dw) // groups, dw.shape[1], math.prod(where.kernel)
    if is_pointwise(where) and f >= c:
        for some, filters in tiles((groups, f), FILTERS):
            yield Block(some, filters, slice(some.start * c, some.stop * c), slice(0, c))
        return
    most = max(1, min(ROWS // taps, -(-c * groups // 2)), -(-least // (f * taps)))
    for some, channels in tiles((groups, c), most):
        start = some.start * c + channels.start
        many = (some.stop - some.start) * (channels.stop - channels.start)
        taken = slice(channels.start * taps, channels.stop * taps)
        yield Block(some, slice(0, f), slice(start, start + many), taken)

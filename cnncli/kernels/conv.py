"""Convolution (cross-correlation, as every framework means it) by blocked im2col and product.

    y[n, f, o] = b[f] + sum over c, k of w[f, c, k] * x[n, c, o*stride + k*dilation - before]

A tile is some images, or some rows of one image. Its windows are gathered into a block of bounded
size, and one matrix product (a product a group) makes its outputs; a pointwise convolution needs no
gathering. Few channels and filters a group go another way (depthwise.py). The axes of matrices:
(G, F/G, C/G * K) weights, (G, C/G * K, positions) columns, (G, F/G, positions) outputs, where
positions are (N, *O) of the tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from cnncli.kernels import depthwise, phases
from cnncli.kernels.buffer import Buffer
from cnncli.kernels.threads import count, each
from cnncli.kernels.windows import (
    PADDED_BYTES,
    Array,
    Box,
    Ints,
    Pads,
    Windows,
    gather,
    lengths,
    output_size,
    scatter_add,
    tiles,
    windows,
)

# A block should stay in the cache between the gathering and the product, yet have enough columns
# for the product to run at full speed, within a limit on memory.
BLOCK_BYTES = 2 << 20
BLOCK_POSITIONS = 256
LIMIT_BYTES = 8 << 20


def forward(
    x: Array,
    w: Array,
    b: Array | None,
    *,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Array:
    """Convolve x (N, C, *S) with w (F, C/groups, *K), add b (F): y (N, F, *O)."""
    spatial, kernel = x.shape[2:], w.shape[2:]
    output = tuple(
        output_size(size, k, s, before, after, d, False)
        for size, k, s, (before, after), d in zip(
            spatial, kernel, stride, padding, dilation, strict=True
        )
    )
    where = windows(spatial, kernel, stride, padding, dilation, output)
    return _correlate(x, w, b, where, groups)


def backward_input(
    dy: Array,
    w: Array,
    spatial: Ints,
    *,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Array:
    """Gradient to x (N, C, *spatial) from dy (N, F, *O); also transposed convolution's forward.

    dx[n, c, i] = sum of w[f, c, k] dy[n, f, o] over f, k, o: o*stride + k*dilation - before == i.
    Rows that no window reads (a remainder of the stride) get zero. With stride 1 this is itself a
    convolution, of dy with the flipped kernel, F and C exchanged, before' = extent - 1 - before.
    """
    n, output, kernel = dy.shape[0], dy.shape[2:], w.shape[2:]
    where = windows(spatial, kernel, stride, padding, dilation, output)
    if all(s == 1 for s in stride) and w.nbytes <= LIMIT_BYTES:
        return _correlate(dy, _transposed(w, groups), None, _reversed(where), groups)
    dtype = np.result_type(dy, w)
    c = w.shape[1] * groups
    dx = np.zeros((n, c, *spatial), dtype)
    if depthwise.suits(w, groups):
        depthwise.backward_input(dy, w, where, groups, dx)
        return dx
    if w.nbytes <= LIMIT_BYTES and phases.suits(dy, w, where, groups, dtype.itemsize):
        phases.backward_input(dy, w, where, groups, dx)
        return dx
    matrix = _weights(w, groups, dtype).swapaxes(1, 2)  # (G, C/G * K, F/G)

    def spread(boxes: list[Box], buffer: Buffer) -> None:
        for images, *rows in boxes:
            grads = _positions(dy, (images, *rows), groups, dtype)
            columns = buffer.take((*matrix.shape[:2], grads.shape[2]))
            np.matmul(matrix, grads, out=columns)
            columns = columns.reshape(c, *kernel, *lengths((images, *rows)))  # (C, *K, N, *O)
            scatter_add(columns, where.tile(tuple(rows)), dx[images])

    # The windows of two tiles of one image overlap: one thread takes all tiles of an image.
    each(_by_image(_tiles(n, where, w, groups, dtype.itemsize)), spread, lambda: Buffer(dtype))
    return dx


def backward_weight(
    dy: Array,
    x: Array,
    kernel: Ints,
    *,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Array:
    """Gradient to w (F, C/groups, *kernel) from dy (N, F, *O) and x (N, C, *S).

    dw[f, c, k] = sum over n, o of dy[n, f, o] * x[n, c, o*stride + k*dilation - before]
    so the columns of the forward pass, times dy, summed over tiles.
    """
    n, f, *output = dy.shape
    c, spatial = x.shape[1], x.shape[2:]
    where = windows(spatial, kernel, stride, padding, dilation, tuple(output))
    dtype = np.result_type(dy, x)
    dw = np.zeros((f, c // groups, *kernel), dtype)
    if depthwise.suits(dw, groups):
        depthwise.backward_weight(dy, x, where, groups, dw)
        return dw
    matrix = dw.reshape(groups, f // groups, -1)  # (G, F/G, C/G * K)
    some = max(1, LIMIT_BYTES // (groups * matrix.shape[2] * dtype.itemsize))
    buffer = Buffer(dtype)
    for number, box in enumerate(_tiles(n, where, dw, groups, dtype.itemsize)):
        columns = _columns(x, where, box, groups, buffer).swapaxes(1, 2)
        grads = _positions(dy, box, groups, dtype)
        for (filters,) in tiles((f // groups,), some):
            if number == 0:
                np.matmul(grads[:, filters], columns, out=matrix[:, filters])
            else:
                matrix[:, filters] += np.matmul(grads[:, filters], columns)
    return dw


def backward_bias(dy: Array) -> Array:
    """Gradient to b (F): the sum of dy (N, F, *O) over everything but F."""
    n, f = dy.shape[:2]
    sums: Array = np.ascontiguousarray(dy).reshape(n, f, -1).sum(axis=2).sum(axis=0)
    return sums


def workspace_bytes(
    x_shape: Ints, w_shape: Ints, out_spatial: Ints, groups: int, itemsize: int
) -> int:
    """Bound the memory that any of the passes takes beyond its (C-contiguous) arguments and result.

    The block of columns with its outputs, one partial dw, and for stride 1 the flipped weights.
    """
    rows = (w_shape[1] * groups * math.prod(w_shape[2:]) + w_shape[0]) * itemsize
    planes = x_shape[0] * max(math.prod(x_shape[2:]), math.prod(out_spatial))
    weights = math.prod(w_shape) * itemsize
    block = min(planes * rows, max(rows, LIMIT_BYTES))
    part = min(weights, max(rows, LIMIT_BYTES))
    threads = count()
    each_one = max(block + part + PADDED_BYTES + (64 << 10), phases.WORKSPACE_BYTES)
    return max(depthwise.workspace_bytes(threads), threads * each_one + min(weights, LIMIT_BYTES))


def _correlate(x: Array, w: Array, b: Array | None, where: Windows, groups: int) -> Array:
    """Compute y (N, F, *where.output) of the formula above."""
    n, f = x.shape[0], w.shape[0]
    dtype = np.result_type(x, w) if b is None else np.result_type(x, w, b)
    y = np.empty((n, f, *where.output), dtype)
    if depthwise.suits(w, groups):
        depthwise.forward(x, w, b, where, groups, y)
        return y
    matrix = _weights(w, groups, dtype)
    bias = None if b is None else b.reshape(groups, -1, 1)

    def fill(box: Box, buffer: Buffer) -> None:
        images, rows = box[0], box[1:]
        columns = _columns(x, where, box, groups, buffer)
        if images.stop - images.start == 1:
            # a box is one run of the plane, so this reshape is a view and the product lands in y
            part = y[(images.start, slice(None), *rows)].reshape(groups, f // groups, -1)
            np.matmul(matrix, columns, out=part)
        else:
            part = np.matmul(matrix, columns)
        if bias is not None:
            part += bias
        if images.stop - images.start > 1:
            y[images] = part.reshape(f, *lengths(box)).swapaxes(0, 1)  # (F, N, *O) -> (N, F, *O)

    each(_tiles(n, where, w, groups, dtype.itemsize), fill, lambda: Buffer(dtype))
    return y


def _tiles(n: int, where: Windows, w: Array, groups: int, itemsize: int) -> Iterator[Box]:
    """Cut (N, *O) into tiles whose columns and outputs fit a block."""
    plane = math.prod(where.output)
    row = (w.shape[1] * groups * math.prod(where.kernel) + w.shape[0]) * itemsize
    most = max(1, min(max(BLOCK_BYTES // row, BLOCK_POSITIONS), LIMIT_BYTES // row))
    if _is_pointwise(where) and plane >= BLOCK_POSITIONS:
        most = plane  # nothing to gather: an image a product, where it lies
    return tiles((n, *where.output), most)


def _by_image(boxes: Iterable[Box]) -> list[list[Box]]:
    """Put the tiles of the same images together."""
    return [list(same) for _, same in groupby(boxes, key=lambda box: box[0].start)]


def _is_pointwise(where: Windows) -> bool:
    """Whether window o is element o and nothing else."""
    return (
        where.spatial == where.output
        and all(k == 1 for k in where.kernel)
        and all(s == 1 for s in where.stride)
        and not any(where.before)
    )


def _weights(w: Array, groups: int, dtype: np.dtype[np.generic]) -> Array:
    """Weights as (G, F/G, C/G * K)."""
    return np.ascontiguousarray(w, dtype).reshape(groups, w.shape[0] // groups, -1)


def _positions(a: Array, box: Box, groups: int, dtype: np.dtype[np.generic]) -> Array:
    """Return one tile of a (N, channels, *O) as (G, channels/G, positions), a view if it can be."""
    tile = a[(box[0], slice(None), *box[1:])].swapaxes(0, 1)
    return np.ascontiguousarray(tile, dtype).reshape(groups, a.shape[1] // groups, -1)


def _columns(x: Array, where: Windows, box: Box, groups: int, buffer: Buffer) -> Array:
    """Windows of one tile as (G, C/G * K, positions)."""
    if _is_pointwise(where):
        return _positions(x, box, groups, buffer.flat.dtype)
    c = x.shape[1]
    columns = buffer.take((c, *where.kernel, *lengths(box)))
    gather(x[box[0]], where.tile(box[1:]), columns)
    return columns.reshape(groups, c // groups * math.prod(where.kernel), -1)


def _transposed(w: Array, groups: int) -> Array:
    """Flip each kernel and exchange F and C within the groups: (F, C/G, *K) -> (C, F/G, *K)."""
    f, c, *kernel = w.shape
    flipped = np.flip(w, tuple(range(2, w.ndim))).reshape(groups, f // groups, c, *kernel)
    return flipped.swapaxes(1, 2).reshape(groups * c, f // groups, *kernel)


def _reversed(where: Windows) -> Windows:
    """Windows of dy that feed each element of x, for stride 1."""
    reach = (d * (k - 1) for k, d in zip(where.kernel, where.dilation, strict=True))
    before = tuple(r - b for r, b in zip(reach, where.before, strict=True))
    return replace(where, spatial=where.output, before=before, output=where.spatial)

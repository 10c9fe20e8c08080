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
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cnncli.kernels.im2col import Buffers, columns, is_pointwise, positions
from cnncli.kernels.threads import count, each
from cnncli.kernels.windows import (
    PADDED_BYTES,
    Array,
    Box,
    Ints,
    Pads,
    Windows,
    by_image,
    lengths,
    output_size,
    scatter_add,
    tiles,
    windows,
)

# A block should stay in the cache between the gathering and the product, yet have enough columns
# for the product to run at full speed, within a limit on memory.
BLOCK_BYTES = 6 << 20
BLOCK_POSITIONS = 256
LIMIT_BYTES = 8 << 20
FEW = 4  # products a tap and group up to which summing taps beats a product of matrices


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
    # The quick ways multiply w with zeros laid around dy, which is nothing where w is finite.
    quick = w.nbytes <= LIMIT_BYTES and _is_finite(w)
    if quick and all(s == 1 for s in stride):
        return _correlate(dy, _transposed(w, groups), None, _reversed(where), groups)
    dtype = np.result_type(dy, w)
    c = w.shape[1] * groups
    dx = np.zeros((n, c, *spatial), dtype)
    if _is_depthwise(w, groups):
        from cnncli.kernels import depthwise

        depthwise.backward_input(dy, w, where, groups, dx)
        return dx
    from cnncli.kernels import phases

    if quick and phases.suits(dy, w, where, groups, dtype.itemsize):
        phases.backward_input(dy, w, where, groups, dx)
        return dx
    matrix = _weights(w, groups, dtype).swapaxes(1, 2)  # (G, C/G * K, F/G)

    def spread(boxes: list[Box], buffers: Buffers) -> None:
        for images, *rows in boxes:
            grads = positions(dy, (images, *rows), groups, dtype)
            shares = buffers.columns.take((*matrix.shape[:2], grads.shape[2]))
            np.matmul(matrix, grads, out=shares)
            shares = shares.reshape(c, *kernel, *lengths((images, *rows)))  # (C, *K, N, *O)
            scatter_add(shares, where.tile(tuple(rows)), dx[images])

    # The windows of two tiles of one image overlap: one thread takes all tiles of an image.
    each(by_image(_tiles(n, where, w, groups, dtype.itemsize)), spread, lambda: Buffers(dtype))
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
    """
    spatial, output = x.shape[2:], dy.shape[2:]
    where = windows(spatial, kernel, stride, padding, dilation, output)
    dw = np.zeros((dy.shape[1], x.shape[1] // groups, *kernel), np.result_type(dy, x))
    if _is_depthwise(dw, groups):
        from cnncli.kernels import depthwise

        depthwise.backward_weight(dy, x, where, groups, dw)
    else:
        from cnncli.kernels import weights

        weights.backward_weight(dy, x, where, groups, dw)
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

    The columns of a tile with its outputs, one partial dw, and for stride 1 the flipped weights.
    """
    rows = (w_shape[1] * groups * math.prod(w_shape[2:]) + w_shape[0]) * itemsize
    planes = x_shape[0] * max(math.prod(x_shape[2:]), math.prod(out_spatial))
    w_bytes = math.prod(w_shape) * itemsize
    part = min(w_bytes, max(rows, LIMIT_BYTES))
    tile = min(planes * rows, max(rows, LIMIT_BYTES)) + part
    # Depthwise and strided passes lay out some copies of a tile, of which a small case has little.
    tile = min(max(tile, 2 * LIMIT_BYTES), 8 * planes * rows + part) + (64 << 10)
    return count() * (tile + PADDED_BYTES) + min(w_bytes, LIMIT_BYTES)


def _correlate(x: Array, w: Array, b: Array | None, where: Windows, groups: int) -> Array:
    """Compute y (N, F, *where.output) of the formula above."""
    n, f = x.shape[0], w.shape[0]
    dtype = np.result_type(x, w) if b is None else np.result_type(x, w, b)
    y = np.empty((n, f, *where.output), dtype)
    if _is_depthwise(w, groups):
        from cnncli.kernels import depthwise

        depthwise.forward(x, w, b, where, groups, y)
        return y
    matrix = _weights(w, groups, dtype)
    bias = None if b is None else b.reshape(groups, -1, 1)

    def fill(box: Box, buffers: Buffers) -> None:
        images, rows = box[0], box[1:]
        windows = columns(x[images], where.tile(rows), buffers)
        windows = windows.reshape(groups, -1, windows.shape[1])
        shape = (groups, f // groups, windows.shape[2])
        if images.stop - images.start == 1:
            # a box is one run of the plane, so this reshape is a view and the product lands in y
            part = y[(images.start, slice(None), *rows)].reshape(shape)
        else:
            part = buffers.product.take(shape)
        np.matmul(matrix, windows, out=part)
        if bias is not None:
            part += bias
        if images.stop - images.start > 1:
            y[images] = part.reshape(f, *lengths(box)).swapaxes(0, 1)  # (F, N, *O) -> (N, F, *O)

    each(_tiles(n, where, w, groups, dtype.itemsize), fill, lambda: Buffers(dtype))
    return y


def _tiles(n: int, where: Windows, w: Array, groups: int, itemsize: int) -> Iterator[Box]:
    """Cut (N, *O) into tiles whose columns and outputs fit a block."""
    plane = math.prod(where.output)
    row = (w.shape[1] * groups * math.prod(where.kernel) + w.shape[0]) * itemsize
    most = max(1, min(max(BLOCK_BYTES // row, BLOCK_POSITIONS), LIMIT_BYTES // row))
    if is_pointwise(where) and plane >= BLOCK_POSITIONS:
        most = plane  # nothing to gather: an image a product, where it lies
    elif BLOCK_POSITIONS // 2 <= plane <= most < 4 * plane:
        most = plane  # the product of one image lands in y
    return tiles((n, *where.output), most)


def _is_depthwise(w: Array, groups: int) -> bool:
    """Whether weights (F, C/groups, *K) have few filters and channels a group."""
    return groups > 1 and w.shape[0] // groups * w.shape[1] <= FEW


def _is_finite(w: Array) -> bool:
    """Whether all of w is finite; False, too, where its sum is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(w.sum()))


def _weights(w: Array, groups: int, dtype: np.dtype[np.generic]) -> Array:
    """Weights as (G, F/G, C/G * K)."""
    return np.ascontiguousarray(w, dtype).reshape(groups, w.shape[0] // groups, -1)


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

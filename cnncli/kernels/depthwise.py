"""Convolution with few filters and channels a group: taps are summed over long runs by np.einsum.

A product of matrices would have next to nothing to sum over, and would need its windows copied. The
axes are those of conv.py, with C channels and M filters a group: x (N, G*C, *S), w (G*M, C, *K), y
(N, G*M, *O).
"""

from __future__ import annotations

import math

import numpy as np

from cnncli.kernels import runs
from cnncli.kernels.buffer import Buffer
from cnncli.kernels.rows import copy_rows
from cnncli.kernels.threads import each
from cnncli.kernels.windows import (
    Array,
    Box,
    Index,
    Ints,
    Windows,
    gather,
    lengths,
    scatter_add,
    tiles,
)

TILE_BYTES = 2 << 20  # a tile's windows and sums; a smaller one costs more calls than it saves
SMALL = 1 << 17  # elements of dy up to which a thread costs more than it saves
N, G, M, C, P, K = range(6)  # np.einsum's names of axes; those of the kernel begin at K


def forward(x: Array, w: Array, b: Array | None, where: Windows, groups: int, y: Array) -> None:
    """y[n, g, m, o] = b[g, m] + sum over c, k of w[g, m, c, k] x[n, g, c, where o's k reads]."""
    taps, kernel = _taps(w, groups, y.dtype), [*range(K, K + len(where.kernel))]
    bias = None if b is None else b.reshape(-1, *(1,) * len(kernel))

    def fill(box: Box, buffers: _Buffers) -> None:
        cut = _cut(box, taps.shape[1])
        columns, shape = _columns(x, where, box, taps.shape[2], buffers, where.kernel[-1])
        tap = taps[box[1]]
        sums_shape = (len(columns), *tap.shape[:2], columns.shape[-1])
        direct = _is_run(box, where, shape)
        sums = y[cut].reshape(sums_shape) if direct else buffers.positions.take(sums_shape)
        np.einsum(columns, [N, G, C, *kernel, P], tap, [G, M, C, *kernel], [N, G, M, P], out=sums)
        part = y[cut]
        if not direct:
            copy_rows(part, sums.reshape(*part.shape[:2], *shape)[_outputs(box)])
        if bias is not None:
            part += bias[cut[1]]

    boxes = tiles((len(y), groups, *where.output), _most(len(y), groups, where, w, y.itemsize))
    each(boxes, fill, lambda: _Buffers(y.dtype))


def backward_input(dy: Array, w: Array, where: Windows, groups: int, dx: Array) -> None:
    """dx[n, g, c, o*stride + k*dilation - before] += sum over m of w[g, m, c, k] dy[n, g, m, o]."""
    taps = _taps(w, groups, dx.dtype).reshape(groups, -1, w.shape[1], math.prod(where.kernel))
    many, few = taps.shape[1:3]
    most = max(1, TILE_BYTES // ((few * taps.shape[3] + many) * dx.itemsize))

    def spread(planes: Box, buffer: Buffer) -> None:
        channels, target = planes[1], dx[_cut(planes, few)]
        for rows in tiles(where.output, most):
            grads = dy[_cut((*planes, *rows), many)]
            n, g = len(grads), channels.stop - channels.start
            columns = buffer.take((n, g, few, taps.shape[3], grads[0, 0].size))
            grads = grads.reshape(n, g, many, -1)
            np.einsum(
                taps[channels], [G, M, C, K], grads, [N, G, M, P], [N, G, C, K, P], out=columns
            )
            windows = columns.reshape(n, g * few, *where.kernel, *lengths(rows))
            scatter_add(np.moveaxis(windows, 0, 1 + len(rows)), where.tile(rows), target)

    planes = tiles((dx.shape[0], groups), max(1, most // math.prod(where.output)))
    each(planes, spread, lambda: Buffer(dx.dtype))


def backward_weight(dy: Array, x: Array, where: Windows, groups: int, dw: Array) -> None:
    """dw[g, m, c, k] += sum over n, o of dy[n, g, m, o] x[n, g, c, where o's k reads]."""
    sums = dw.reshape(groups, -1, *dw.shape[1:])
    many, few = sums.shape[1:3]
    n, most = len(x), _most(len(x), groups, where, dw, dw.itemsize)
    blocks = 1 if dy.size <= SMALL else 2
    together = max(1, min(most // math.prod(where.output), -(-groups // blocks)))

    def add(block: Box, buffers: _Buffers) -> None:
        (channels,) = block
        for images, *rows in tiles((n, *where.output), max(1, most // together)):
            box = (images, channels, *rows)
            found = _dots(dy, x, where, box, many, few, buffers)
            if not np.isfinite(found).all():
                # Where windows wrap, a zero may have met an element that no window holds there.
                found = _dots(dy, x, where, box, many, few, buffers, apart=True)
            sums[channels] += found

    # A thread takes channels, and all of their images and rows in turn.
    each(tiles((groups,), together), add, lambda: _Buffers(dw.dtype))


def _dots(
    dy: Array,
    x: Array,
    where: Windows,
    box: Box,
    many: int,
    few: int,
    buffers: _Buffers,
    *,
    apart: bool = False,
) -> Array:
    """One tile's share of dw, (G, M, C, *K); with `apart` every window is copied."""
    columns, shape = _columns(x, where, box, few, buffers, apart=apart)
    grads = dy[_cut(box, many)]
    if not (dy.flags.c_contiguous and _is_run(box, where, shape)):
        laid = buffers.positions.take((*grads.shape[:2], *shape))
        laid.fill(0)  # where windows wrap
        copy_rows(laid[_outputs(box)], grads)
        grads = laid
    grads = grads.reshape(*columns.shape[:2], many, *(1,) * len(where.kernel), 1, 1, -1)
    # A BLAS dot a tap: matmul takes vectors as they lie, and np.vecdot the conjugate.
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.matmul(grads, columns[:, :, None, ..., None])[..., 0, 0]
        return products.sum(axis=0)  # type: ignore[no-any-return]


class _Buffers:
    """The workspaces of one thread."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.windows, self.positions, self.padded = Buffer(dtype), Buffer(dtype), Buffer(dtype)


def _taps(w: Array, groups: int, dtype: np.dtype[np.generic]) -> Array:
    """Weights as (G, M, C, *K)."""
    return w.astype(dtype, copy=False).reshape(groups, w.shape[0] // groups, *w.shape[1:])


def _most(n: int, groups: int, where: Windows, w: Array, itemsize: int) -> int:
    """Outputs (N, G, *O) of a tile: more where windows are runs, which copy KW elements alone."""
    many, few = w.shape[0] // groups, w.shape[1]
    most: list[int] = [
        max(1, TILE_BYTES // ((few * copies + many) * itemsize))
        for copies in (where.kernel[-1], math.prod(where.kernel))
    ]
    for _, _, *rows in tiles((n, groups, *where.output), most[0]):
        return most[0] if runs.fits(where.tile(tuple(rows))) else most[1]
    return 1


def _cut(box: Box, each: int) -> Index:
    """Index an array of `each` channels a group by a box of (N, G, *O)."""
    images, channels, *rows = box
    return (images, slice(channels.start * each, channels.stop * each), *rows)


def _is_run(box: Box, where: Windows, positions: Ints) -> bool:
    """Whether the positions of a tile are its outputs, and these lie in y without gaps."""
    return positions == lengths(box[2:]) and positions[1:] == where.output[1:]


def _outputs(box: Box) -> Index:
    """Index a box's outputs among its positions."""
    return (..., *(slice(0, length) for length in lengths(box[2:])))


def _columns(
    x: Array,
    where: Windows,
    box: Box,
    few: int,
    buffers: _Buffers,
    copies: int = 1,
    *,
    apart: bool = False,
) -> tuple[Array, Ints]:
    """Return the windows of a tile, (N, G, C, *K, positions), and the shape of its positions.

    With `apart` the positions are the outputs, and nothing else.
    """
    images, channels, *rows = box
    source, tile = x[_cut((images, channels), few)], where.tile(tuple(rows))
    n, c = source.shape[:2]
    if runs.keeps_rows(tile):
        columns, shape = runs.lay_out_rows(source, tile, buffers.windows), tile.output
    elif runs.fits(tile) and not apart:
        columns, shape = runs.lay_out(source, tile, buffers.windows, copies), runs.positions(tile)
    else:
        copied = buffers.windows.take((c, *where.kernel, n, *tile.output))
        gather(source, tile, copied, buffers.padded)
        columns = np.moveaxis(copied.reshape(c, *where.kernel, n, -1), -2, 0)
        shape = tile.output
    return columns.reshape(n, c // few, few, *columns.shape[2:]), shape

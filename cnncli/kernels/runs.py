"""Windows of stride 1 as long runs of memory, without copying them apart.

Where the padded input of a tile lies in one piece, the elements that one kernel offset reads for
all outputs are the same piece, shifted. So an operation on them is one long loop in place of one
a row; it also computes some positions that are no output (where a window wraps into the next row),
which are left out when the result is copied to its place. Where rows of windows are as wide as rows
of the input, the input's own layout does: then every position is an output, and what an offset of
the last axis reads by wrapping is zero in a copy of its own. The axes of what follows: *L are the
padded sizes that the windows read, *O outputs, (O1, *L2) the positions of a run, flattened.
"""

from __future__ import annotations

import math

import numpy as np

from cnncli.kernels.buffer import Buffer
from cnncli.kernels.windows import Array, Ints, Windows, extent, fill_padded, real_elements

WASTE = 2  # elements laid out for an output, up to which runs pay


def fits(where: Windows) -> bool:
    """Whether windows can be laid out as runs, and that pays."""
    read = where.padded_shape((1, 1))
    return all(s == 1 for s in where.stride) and math.prod(read) <= WASTE * math.prod(where.output)


def positions(where: Windows) -> Ints:
    """Shape (O1, *L2) of the positions of a run: outputs, and beside them what wraps."""
    return (where.output[0], *where.padded_shape((1, 1))[3:])


def keeps_rows(where: Windows) -> bool:
    """Whether rows of windows lie over rows of the input, of the same width, and that pays."""
    return (
        len(where.output) == 2
        and all(s == 1 for s in where.stride)
        and where.output[1] == where.spatial[1]
        and where.padded_shape((1, 1))[2] <= WASTE * where.output[0]
        and 0 <= where.before[1] < extent(where.kernel[1], where.dilation[1])
    )


def lay_out_rows(x: Array, where: Windows, buffer: Buffer) -> Array:
    """View the windows of x (N, C, H, W) whose rows they keep: (N, C, KH, KW, OH * W)."""
    n, c, _, width = x.shape
    rows = where.padded_shape(x.shape)[2]
    before, size = where.before[1], rows * width
    reach = extent(where.kernel[1], where.dilation[1]) - 1
    laid = buffer.take((where.kernel[1], n, c, size + reach))
    (*_, inside, _), (*_, source, _) = real_elements(where, (n, c, rows, width + reach))
    for number in range(where.kernel[1]):
        copy, shift = laid[number], number * where.dilation[1] - before
        copy[..., :before] = 0
        copy[..., before + size :] = 0
        planes = copy[..., before : before + size].reshape(n, c, rows, width)
        planes[:, :, : inside.start] = 0
        planes[:, :, inside.stop :] = 0
        planes[:, :, inside] = x[:, :, source]
        wrapped = slice(0, shift) if shift > 0 else slice(max(0, width + shift), width)
        planes[..., wrapped] = 0
    item = laid.itemsize
    steps = (where.dilation[0] * width * item, laid.strides[0] + where.dilation[1] * item, item)
    shape = (n, c, *where.kernel, where.output[0] * width)
    return np.ndarray(shape, laid.dtype, laid, 0, (*laid.strides[1:3], *steps))


def lay_out(x: Array, where: Windows, buffer: Buffer, copies: int = 1) -> Array:
    """View the windows of x (N, C, *S), stride 1, as runs: (N, C, *K, positions).

    It is zero in padding. With `copies` = KW every offset of the last axis reads a copy of its own
    (np.einsum takes the longest stride for its outer loop, and would tie).
    """
    n, c = x.shape[:2]
    lengths = where.padded_shape(x.shape)[2:]
    pitches = [math.prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
    size = math.prod(lengths)
    # What the last positions of a run read beyond the padded input; no output reads it.
    reach = [extent(k, d) - 1 for k, d in zip(where.kernel, where.dilation, strict=True)]
    spare = sum(r * pitch for r, pitch in list(zip(reach, pitches, strict=True))[1:])
    # A copy after the other, lest NumPy take their memory to overlap and copy twice.
    laid = buffer.take((copies, n, c, size + spare))
    first = laid[0]
    first[..., size:] = 0
    fill_padded(x, where, first[..., :size].reshape(n, c, *lengths))
    for number in range(1, copies):
        shift = number * where.dilation[-1]
        laid[number, ..., : size + spare - shift] = first[..., shift:]
    item = laid.itemsize
    steps = [d * pitch * item for d, pitch in zip(where.dilation, pitches, strict=True)]
    if copies > 1:
        steps[-1] = laid.strides[0]
    return np.ndarray(
        (n, c, *where.kernel, where.output[0] * pitches[0]),
        laid.dtype,
        laid,
        0,
        (*laid.strides[1:3], *steps, item),
    )

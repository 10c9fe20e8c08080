"""The input gradient of a strided convolution, gathered by phase of the stride.

Offset k of window o reads row o*stride + k*dilation - before; with k*dilation = q*stride + r, that
is row o + q of phase r. Within a phase windows lie side by side, so that what one offset gives to a
tile of windows is added to one run of memory, at a shift; the phases are put in their places once
at the end. Runs are as long as whole tiles where rows of dy are laid out with zeros after them, as
many as rows of a phase are longer (Q) than rows of windows (O).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from cnncli.kernels.buffer import Buffer
from cnncli.kernels.rows import copy_rows
from cnncli.kernels.threads import each
from cnncli.kernels.windows import Array, Box, Index, Ints, Windows, by_image, tiles

COLUMN_BYTES = 4 << 20  # the product of some kernel offsets with a tile of dy
TILE_BYTES = 9 << 19  # the tile of dy and its phases
ROWS = 128  # of a product, at which it runs at full speed
SMALL = 1 << 18  # products of two numbers up to which strided rows cost less
WASTE = 1.25  # elements laid out for one of dy, up to which runs pay


@dataclass(frozen=True, slots=True)
class Phases:
    """How a tile's windows lie over the phases; Q rows of each hold what any window reads."""

    where: Windows
    rows: Ints

    @classmethod
    def of(cls, where: Windows) -> Phases:
        """Return the phases of a tile."""
        axes = zip(where.output, where.kernel, where.dilation, where.stride, strict=True)
        return cls(where, tuple(o + d * (k - 1) // s for o, k, d, s in axes))

    @property
    def read(self) -> list[Ints]:
        """The phases that windows read; where the stride exceeds the kernel there are others."""
        axes = zip(self.where.kernel, self.where.dilation, self.where.stride, strict=True)
        return list(product(*(sorted({i * d % s for i in range(k)}) for k, d, s in axes)))

    @property
    def run(self) -> Ints:
        """Shape of dy laid out: (O1, *Q2)."""
        return (self.where.output[0], *self.rows[1:])

    @property
    def pitches(self) -> Ints:
        """Elements from one row to the next, of each axis of a phase."""
        return tuple(math.prod(self.rows[axis + 1 :]) for axis in range(len(self.rows)))

    @property
    def size(self) -> int:
        """Elements of a phase, and after them the zeros of the last offset's run."""
        lacking = zip(self.rows[1:], self.where.output[1:], self.pitches[1:], strict=True)
        return math.prod(self.rows) + sum((q - o) * pitch for q, o, pitch in lacking)

    def offsets(self) -> Iterator[tuple[int, int]]:
        """Yield the number of each kernel offset's phase, and the shift of its run there."""
        numbers = {phase: number for number, phase in enumerate(self.read)}
        steps = list(zip(self.where.dilation, self.where.stride, strict=True))
        for offset in product(*map(range, self.where.kernel)):
            parts = [divmod(k * d, s) for k, (d, s) in zip(offset, steps, strict=True)]
            shift = sum(q * pitch for (q, _), pitch in zip(parts, self.pitches, strict=True))
            yield numbers[tuple(r for _, r in parts)], shift

    def places(self) -> Iterator[tuple[Index, Index]]:
        """Yield of each phase the rows that are no padding, and where they stand in the input."""
        for phase in self.read:
            inside, there = [], []
            for r, s, before, size, rows in zip(
                phase,
                self.where.stride,
                self.where.before,
                self.where.spatial,
                self.rows,
                strict=True,
            ):
                start = max(0, -((r - before) // s))
                stop = max(start, min(rows, (size - 1 + before - r) // s + 1))
                first = start * s + r - before
                inside.append(slice(start, stop))
                there.append(slice(first, first + (stop - start) * s, s))
            yield (..., *inside), (..., *there)


def suits(dy: Array, w: Array, where: Windows, groups: int, itemsize: int) -> bool:
    """Whether there is much to do, and few zeros after rows of dy and of the phases."""
    if dy.size * w[0].size <= SMALL:
        return False
    for _, *cut in _boxes(dy, w, where, groups, itemsize):
        tile = Phases.of(where.tile(tuple(cut)))
        windows = math.prod(tile.where.output)
        return math.prod(tile.run) <= WASTE * windows and tile.size <= 2 * windows
    return True


def backward_input(dy: Array, w: Array, where: Windows, groups: int, dx: Array) -> None:
    """dx[n, c, o*stride + k*dilation - before] += sum over f of w[f, c, k] dy[n, f, o]."""
    f, few, count = w.shape[0] // groups, w.shape[1], math.prod(where.kernel)
    # (G, K, C/G, F/G): the rows of some offsets are one matrix
    taps = w.reshape(groups, f, few, count).transpose(0, 3, 2, 1).astype(dx.dtype, order="C")

    def spread(boxes: list[Box], buffers: _Buffers) -> None:
        for box in boxes:
            tile = Phases.of(where.tile(box[1:]))
            phases = _gathered(taps, _laid_out(dy, box, tile, buffers), tile, buffers)
            result = dx[box[0]].swapaxes(0, 1)
            for phase, (inside, there) in zip(phases, tile.places(), strict=True):
                sums = phase.reshape(*result.shape[:2], -1)[..., : math.prod(tile.rows)]
                sums = sums.reshape(*result.shape[:2], *tile.rows)[inside]
                if len(boxes) == 1:
                    result[there] = sums
                else:
                    result[there] += sums

    # The windows of two tiles of one image overlap: one thread takes all tiles of an image.
    boxes = _boxes(dy, w, where, groups, dx.itemsize)
    each(by_image(boxes), spread, lambda: _Buffers(dx.dtype))


def _laid_out(dy: Array, box: Box, tile: Phases, buffers: _Buffers) -> Array:
    """Copy a tile of dy with the zeros after its rows: (F, N, run)."""
    part = dy[(box[0], slice(None), *box[1:])].swapaxes(0, 1)
    laid = buffers.laid.take((*part.shape[:2], *tile.run))
    laid.fill(0)
    outputs: Index = (..., *(slice(0, length) for length in tile.where.output))
    copy_rows(laid[outputs], part)
    return laid.reshape(*part.shape[:2], -1)


def _gathered(taps: Array, grads: Array, tile: Phases, buffers: _Buffers) -> Array:
    """Add up the shares of every kernel offset: (phases, G, C/G, N, size)."""
    groups, count, few, f = taps.shape
    n, run = grads.shape[1:]
    phases = buffers.phases.take((len(tile.read), groups, few, n, tile.size))
    phases.fill(0)
    offsets = list(tile.offsets())
    together = _together(count, groups * few)
    for start in range(0, count, together):
        some = offsets[start : start + together]
        rows = taps[:, start : start + together].reshape(groups, -1, f)
        columns = buffers.columns.take((groups, rows.shape[1], n * run))
        np.matmul(rows, grads.reshape(groups, f, n * run), out=columns)
        shares = columns.reshape(groups, len(some), few, n, run)
        for number, (phase, shift) in enumerate(some):
            target = phases[phase][..., shift : shift + run]
            target += shares[:, number]
    return phases


class _Buffers:
    """The workspaces of one thread."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.laid, self.columns, self.phases = Buffer(dtype), Buffer(dtype), Buffer(dtype)


def _together(count: int, channels: int) -> int:
    """Kernel offsets, of `count`, whose shares one product gives."""
    return min(count, max(1, ROWS // channels))


def _boxes(dy: Array, w: Array, where: Windows, groups: int, itemsize: int) -> Iterator[Box]:
    """Cut (N, *O) into tiles."""
    channels: int = w.shape[1] * groups
    columns = _together(math.prod(where.kernel), channels) * channels * itemsize
    phases = math.prod(map(min, where.stride, where.kernel))  # or fewer
    laid = (len(w) + channels * phases) * itemsize
    most = max(1, min(COLUMN_BYTES // columns, TILE_BYTES // laid))
    return tiles((len(dy), *where.output), most)

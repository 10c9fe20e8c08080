"""Where windows lie over an input: the one output-size formula, gathering windows and its adjoint.

Along one axis, offset k of window o reads the input at o*stride + k*dilation - before. Whatever
falls outside the input is padding; it is left out by clipping, or where a tile is gathered, by a
padded copy of what that tile alone reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli.kernels.rows import copy_rows

if TYPE_CHECKING:
    from cnncli.kernels.buffer import Buffer

Array = NDArray[Any]
Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Box = tuple[slice, ...]
Index = tuple[Any, ...]

# Up to this size a tile's input is padded, so that one strided copy gathers all of its windows.
PADDED_BYTES = 2 << 20


def extent(kernel: int, dilation: int) -> int:
    """Input elements that one window spans along an axis, holes included: d*(k-1) + 1."""
    return dilation * (kernel - 1) + 1


def output_size(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil_mode: bool
) -> int:
    """Count the windows along one axis; zero or less where the geometry has none.

    floor((size + before + after - extent) / stride) + 1. With `ceil_mode` the division rounds up
    and the last window may overhang the end, but windows that would start beyond the input and
    its left padding are dropped (torch's rule).
    """
    span = size + before + after - extent(kernel, dilation)
    if ceil_mode:
        return min(-(-span // stride) + 1, -(-(size + before) // stride))
    return span // stride + 1


def valid_range(
    size: int, stride: int, before: int, shift: int, output: int
) -> tuple[int, int, slice]:
    """Outputs o of one axis with 0 <= o*stride + shift - before < size, and what they read.

    `shift` is k*dilation for kernel offset k. Returns start and stop of the outputs and the slice
    of the input, of equal lengths; where no output qualifies, start == stop and the slice is empty.
    `before` may be negative (a crop, or a tile that starts further in).
    """
    start = max(0, -((shift - before) // stride))
    stop = min(output, (size - 1 + before - shift) // stride + 1)
    if stop <= start:
        return 0, 0, slice(0, 0, stride)
    first = start * stride + shift - before
    return start, stop, slice(first, first + (stop - 1 - start) * stride + 1, stride)


@dataclass(frozen=True, slots=True)
class Windows:
    """How windows lie over the spatial axes of an input; one number an axis in every field."""

    spatial: Ints
    kernel: Ints
    stride: Ints
    before: Ints
    dilation: Ints
    output: Ints

    def tile(self, box: Box) -> Windows:
        """Return the windows of a box of outputs alone, numbered from zero, over the same input."""
        if lengths(box) == self.output:
            return self
        return replace(
            self,
            before=tuple(
                b - part.start * s for b, part, s in zip(self.before, box, self.stride, strict=True)
            ),
            output=lengths(box),
        )

    def overlaps(self) -> Iterator[tuple[int, Index, Index, Index]]:
        """Yield (number, offset, outputs, inputs) of each kernel offset, in row-major order.

        All three index arrays: `offset` one of leading (channels, *K), `outputs` one of trailing *O
        for the windows whose element at that offset is real, `inputs` one of trailing *S for those
        elements. An offset that only ever meets padding is left out; its number is not reused.
        """
        axes = [
            [valid_range(size, stride, before, k * dilation, output) for k in range(kernel)]
            for size, kernel, stride, before, dilation, output in self._axes()
        ]
        for number, offset in enumerate(product(*map(range, self.kernel))):
            ranges = [axis[k] for axis, k in zip(axes, offset, strict=True)]
            if all(start < stop for start, stop, _ in ranges):
                outputs = (slice(start, stop) for start, stop, _ in ranges)
                inputs = (taken for _, _, taken in ranges)
                yield number, (slice(None), *offset), (..., *outputs), (..., *inputs)

    def window(self, axis: int, o: int) -> tuple[int, int, slice]:
        """Return start and stop of the real offsets of window o along an axis, and what they read.

        Where all of it is padding, start == stop and the slice is empty.
        """
        before = self.before[axis] - o * self.stride[axis]
        return valid_range(self.spatial[axis], self.dilation[axis], before, 0, self.kernel[axis])

    def _axes(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Return the fields, an axis at a time."""
        return zip(
            self.spatial,
            self.kernel,
            self.stride,
            self.before,
            self.dilation,
            self.output,
            strict=True,
        )

    def padded_shape(self, shape: Ints) -> Ints:
        """Shape of an input (N, C, *S) cut and padded to what the windows read."""
        reach = (
            (output - 1) * stride + extent(kernel, dilation)
            for _, kernel, stride, _, dilation, output in self._axes()
        )
        return (*shape[:2], *reach)

    def inside(self) -> bool:
        """Whether no window reaches beyond the input."""
        return all(
            before <= 0 and (output - 1) * stride - before + extent(kernel, dilation) <= size
            for size, kernel, stride, before, dilation, output in self._axes()
        )

    def passes(self) -> list[Windows]:
        """Split into one-axis windows, first axis first, each over the output of the one before.

        For a reduction that is separable (a sum, a maximum) the passes in turn equal the whole.
        """
        passes = []
        rank = len(self.spatial)
        ones, spatial = (1,) * rank, self.spatial
        for axis in range(rank):

            def only(values: Ints, others: Ints, axis: int = axis) -> Ints:
                return (*others[:axis], values[axis], *others[axis + 1 :])

            output = only(self.output, spatial)
            passes.append(
                Windows(
                    spatial=spatial,
                    kernel=only(self.kernel, ones),
                    stride=only(self.stride, ones),
                    before=only(self.before, (0,) * rank),
                    dilation=only(self.dilation, ones),
                    output=output,
                )
            )
            spatial = output
        return passes


def windows(
    spatial: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, output: Ints
) -> Windows:
    """Windows of a layer with (before, after) padding; the end needs no more than `output`."""
    return Windows(spatial, kernel, stride, tuple(b for b, _ in padding), dilation, output)


def counts(
    size: int, kernel: int, stride: int, before: int, dilation: int, output: int
) -> list[int]:
    """Count the real elements in each window of one axis; a zero is a window of padding alone."""
    covered = np.zeros(output, np.int64)
    for k in range(kernel):
        start, stop, _ = valid_range(size, stride, before, k * dilation, output)
        covered[start:stop] += 1
    counted: list[int] = covered.tolist()
    return counted


def lengths(box: Box) -> Ints:
    """Shape of a box of slices."""
    return tuple([part.stop - part.start for part in box])


def tiles(shape: Ints, most: int) -> Iterator[Box]:
    """Cut an array of `shape` into boxes of at most `most` (or one) elements, in row-major order.

    Leading axes are cut first, so every box is one run of the flattened array; its lengths along
    an axis are as equal as they can be.
    """
    if math.prod(shape) <= most:
        # All of it: small cases come this way, and should not pay for the rest.
        return iter([tuple([slice(0, size) for size in shape])] if all(shape) else [])
    steps = list(shape)
    for axis, size in enumerate(shape):
        inner = math.prod(shape[axis + 1 :])
        fit = max(1, min(size, most // max(1, inner)))
        steps[axis] = math.ceil(size / math.ceil(size / fit)) if size else 1
        if fit * inner <= most:
            break
    ranges = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, steps, strict=True)
    ]
    return product(*ranges)


def by_image(boxes: Iterable[Box]) -> list[list[Box]]:
    """Put the tiles (N, *O) of the same images together."""
    return [list(same) for _, same in groupby(boxes, key=lambda box: box[0].start)]


def gather(x: Array, where: Windows, out: Array, spare: Buffer) -> None:
    """Copy every window's elements into `out`, zeros for padding (im2col).

    x (N, C, *S) -> out (C, *K, N, *O); `spare` holds a padded copy of x.
    """
    padded = where.padded_shape(x.shape)
    if math.prod(padded) * out.itemsize <= PADDED_BYTES:
        copy = spare.take(padded)
        fill_padded(x, where, copy)
        copy_rows(out, _view(copy, where))
        return
    if not where.inside():
        out.fill(0)
    for _, offset, outputs, inputs in where.overlaps():
        out[offset][outputs] = x[inputs].swapaxes(0, 1)


def real_elements(where: Windows, shape: Ints) -> tuple[Index, Index]:
    """Index the elements that are no padding in an input padded to `shape`, and in the input."""
    padded: list[slice] = [slice(None), slice(None)]
    source = padded.copy()
    for size, length, before in zip(where.spatial, shape[2:], where.before, strict=True):
        start, stop = max(0, before), min(length, size + before)
        padded.append(slice(start, max(start, stop)))
        source.append(slice(start - before, max(start, stop) - before))
    return tuple(padded), tuple(source)


def fill_padded(x: Array, where: Windows, out: Array) -> None:
    """Copy what windows read of x (N, C, *S) to `out`, of the padded shape; zeros for padding."""
    padded, source = real_elements(where, out.shape)
    if not where.inside():
        out.fill(0)
    copy_rows(out[padded], x[source])


def _view(padded: Array, where: Windows) -> Array:
    """View the windows of a padded input: (N, C, *P) -> (C, *K, N, *O)."""
    strides = padded.strides[2:]
    kernel = (s * d for s, d in zip(strides, where.dilation, strict=True))
    steps = (s * step for s, step in zip(strides, where.stride, strict=True))
    n, c = padded.shape[:2]
    shape = (c, *where.kernel, n, *where.output)
    # as_strided does the same, and takes longer than a small case's product.
    return np.ndarray(
        shape, padded.dtype, padded, 0, (padded.strides[1], *kernel, padded.strides[0], *steps)
    )


def scatter_add(columns: Array, where: Windows, out: Array) -> None:
    """Add every window's elements back to where they were read, the adjoint of `gather` (col2im).

    columns (C, *K, N, *O) -> added to out (N, C, *S); the shares of padding are dropped.
    """
    for _, offset, outputs, inputs in where.overlaps():
        out[inputs] += columns[offset][outputs].swapaxes(0, 1)

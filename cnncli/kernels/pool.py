"""Max and average pooling: one reduction over each window, over any number of spatial axes.

A maximum and a sum over a box are separable: a pass along each axis in turn, first axis first,
gives the same at K1 + K2 in place of K1 * K2 operations an output. The last pass goes over rows as
one long run, at stride 1, and what wraps into the next row is left out with what the stride skips.
Planes are taken some at a time, so that the passes meet in the cache. `output` is the output's
spatial shape, which says how far the windows may overhang the end (ceil mode).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from cnncli.kernels.buffer import Buffer
from cnncli.kernels.rows import copy_rows
from cnncli.kernels.windows import (
    Array,
    Box,
    Index,
    Ints,
    Pads,
    Windows,
    counts,
    real_elements,
    tiles,
    windows,
)

TILE_BYTES = 2 << 20  # smaller ones cost more calls than the cache saves
PADDED_WASTE = 4  # padded elements for one of x, up to which planes are padded
RUN_WASTE = 4  # elements of a run for one that is needed, up to which a run pays


def max_forward(
    x: Array, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, output: Ints
) -> Array:
    """Maximum of each window of x (N, C, *S): y (N, C, *O), of x's dtype; a NaN wins.

    Padding counts as less than any element; a window of padding alone gives the least value.
    """
    where = windows(x.shape[2:], kernel, stride, padding, dilation, output)
    y = np.empty((*x.shape[:2], *output), x.dtype)
    for planes, maxima in _reduced(x, where, np.maximum, _least(x.dtype)):
        copy_rows(y[planes], maxima)
    return y


def max_winners(
    x: Array, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, output: Ints
) -> Array:
    """Number, in row-major order of the kernel, of each window's first maximum: (N, C, *O).

    The first NaN where there is one. Never padding, also where all elements are minus infinity; a
    window of padding alone has no winner and gets the number of offsets, which is none of them.
    The dtype is the smallest unsigned integer that holds that number.
    """
    where = windows(x.shape[2:], kernel, stride, padding, dilation, output)
    offsets = math.prod(kernel)
    if math.prod(output) < offsets:
        return _winners_by_window(x, where)
    y = max_forward(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, output=output
    )
    winners = np.zeros(y.shape, np.min_scalar_type(offsets))
    for planes in _planes(x):
        source, most, numbers = x[planes], y[planes], winners[planes]
        some_odd = np.isnan(most).any()
        found = np.zeros(most.shape, bool)
        done = 0
        # A winner's number is how many offsets come before it: count those at which none was found.
        for number, _, outputs, inputs in where.overlaps():
            numbers += np.logical_not(found) * winners.dtype.type(number - done)
            done = number
            elements = source[inputs]
            match = elements == most[outputs]
            if some_odd:
                match |= np.isnan(elements)  # most is NaN there, and equals nothing
            found[outputs] |= match
        numbers += np.logical_not(found) * winners.dtype.type(offsets - done)
    return winners


def _winners_by_window(x: Array, where: Windows) -> Array:
    """Do what max_winners does a window at a time, for few windows of many offsets."""
    offsets = math.prod(where.kernel)
    winners = np.full((*x.shape[:2], *where.output), offsets, np.min_scalar_type(offsets))
    for planes, place in product(_planes(x), np.ndindex(where.output)):
        real = [where.window(axis, o) for axis, o in enumerate(place)]
        inside: Index = (..., *(inputs for _, _, inputs in real))
        window = x[planes][inside]
        if window.size:
            first = window.reshape(*window.shape[:2], -1).argmax(axis=2)  # of a NaN, too
            offset = np.unravel_index(first, window.shape[2:])
            starts = (start for start, _, _ in real)
            whole = tuple(o + start for o, start in zip(offset, starts, strict=True))
            winners[planes][(..., *place)] = np.ravel_multi_index(whole, where.kernel)
    return winners


def max_indices(
    x: Array, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, output: Ints
) -> Array:
    """Where each window's first maximum stands in its flattened, unpadded plane: int64 (N, C, *O).

    torch's `return_indices`. No window may be padding alone.
    """
    winners = max_winners(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, output=output
    )
    spatial, rank = x.shape[2:], len(output)
    first = np.zeros((1,) * rank, np.int64)  # flat index of each window's (perhaps padded) start
    offset = np.zeros((1,) * rank, np.int64)  # flat distance of each kernel offset from there
    for axis in range(rank):
        pitch = math.prod(spatial[axis + 1 :])
        line = tuple(-1 if other == axis else 1 for other in range(rank))
        starts = np.arange(output[axis], dtype=np.int64) * stride[axis] - padding[axis][0]
        steps = np.arange(kernel[axis], dtype=np.int64) * dilation[axis]
        first = first + (starts * pitch).reshape(line)
        offset = offset + (steps * pitch).reshape(line)
    indices: Array = first + offset.reshape(-1)[winners]
    return indices


def max_backward(dy: Array, indices: Array, spatial: Ints) -> Array:
    """Gradient to x (N, C, *spatial): each dy (N, C, *O) added where max_indices says it belongs.

    dx[i] = sum over o with indices[o] == i of dy[o], so that overlapping windows with one winner
    add up.
    """
    dx = np.zeros((*dy.shape[:2], math.prod(spatial)), dy.dtype)
    buffer = Buffer(indices.dtype)
    for planes in _planes(dy):
        target = dx[planes]
        starts = np.arange(0, target.size, target.shape[2]).reshape(*target.shape[:2], 1)
        flat = buffer.take((*target.shape[:2], math.prod(dy.shape[2:])))
        np.add(indices[planes].reshape(flat.shape), starts, out=flat)
        np.add.at(target.reshape(-1), flat.reshape(-1), dy[planes].reshape(-1))
    return dx.reshape(*dy.shape[:2], *spatial)


def average_forward(
    x: Array,
    *,
    kernel: Ints,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    output: Ints,
    count_include_pad: bool,
) -> Array:
    """Mean of each window of x (N, C, *S): y (N, C, *O).

    Divided by the number of real elements, or with `count_include_pad` of real and padding
    elements, but never of what overhangs the padded input (torch's rule).
    """
    where = windows(x.shape[2:], kernel, stride, padding, dilation, output)
    y = np.empty((*x.shape[:2], *output), x.dtype)
    divisor = _divisor(where, padding, count_include_pad).astype(x.dtype)
    # Infinities meet in runs that no window holds, and may meet in windows, as in any product.
    with np.errstate(invalid="ignore", over="ignore"):
        for planes, sums in _reduced(x, where, np.add, 0):
            np.divide(sums, divisor, out=y[planes])
    return y


def average_backward(
    dy: Array,
    spatial: Ints,
    *,
    kernel: Ints,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    output: Ints,
    count_include_pad: bool,
) -> Array:
    """Gradient to x (N, C, *spatial): each dy (N, C, *O) shared evenly in its window.

    dx[i] = sum over k, o with o*stride + k*dilation - before == i of dy[o] / divisor[o]; the
    forward passes, each transposed, in reverse order.
    """
    where = windows(spatial, kernel, stride, padding, dilation, output)
    dx = np.empty((*dy.shape[:2], *spatial), dy.dtype)
    divisor = _divisor(where, padding, count_include_pad).astype(dy.dtype)
    buffers = _Pair(dy.dtype)
    for planes in _planes(dx):
        part = buffers.take(dy[planes].shape)
        np.divide(dy[planes], divisor, out=part)
        passes = where.passes()
        for number, step in reversed(list(enumerate(passes))):
            shape = (*part.shape[:2], *step.spatial)
            result = dx[planes] if number == 0 else buffers.take(shape)
            result.fill(0)
            if step.output[number] < step.kernel[number]:
                lead = (slice(None),) * (2 + number)
                for o in range(step.output[number]):
                    _, _, inputs = step.window(number, o)
                    result[(*lead, inputs)] += part[(*lead, slice(o, o + 1))]
            else:
                for _, _, outputs, elements in step.overlaps():
                    result[elements] += part[outputs]
            part = result
    return dx


class _Pair:
    """Two workspaces in turn: what one pass writes, the next reads."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.next, self.last = Buffer(dtype), Buffer(dtype)

    def take(self, shape: Ints) -> Array:
        """Return an uninitialised array; it overwrites the one before the last."""
        self.next, self.last = self.last, self.next
        return self.last.take(shape)


def _planes(x: Array, spatial: Ints | None = None) -> Iterator[Box]:
    """Cut (N, C) into boxes of planes, of x's or of another spatial shape, that fit the cache."""
    plane = max(1, math.prod(x.shape[2:] if spatial is None else spatial) * x.itemsize)
    return tiles(x.shape[:2], max(1, TILE_BYTES // plane))


def _reduced(
    x: Array, where: Windows, operation: np.ufunc, neutral: complex
) -> Iterator[tuple[Box, Array]]:
    """Yield planes (n, c) of x (N, C, *S) and `operation` over each of their windows (n, c, *O).

    `neutral` stands for padding. What is yielded is overwritten by the next.
    """
    buffers = _Pair(x.dtype)
    padded = np.empty(0, x.dtype)
    read = where.padded_shape(x.shape)[2:]
    clip = math.prod(read) > PADDED_WASTE * math.prod(where.spatial)
    for planes in _planes(x, where.spatial if clip else read):
        part, inner = x[planes], where
        if clip:
            yield planes, _clipped(part, where, operation, neutral, buffers)
            continue
        if not where.inside():
            shape = where.padded_shape(part.shape)
            if padded.shape != shape:  # later tiles leave the padding as it is
                padded = np.full(shape, neutral, x.dtype)
            there, here = real_elements(where, shape)
            copy_rows(padded[there], part[here])
            part = padded
            inner = replace(where, spatial=shape[2:], before=(0,) * len(shape[2:]))
        for axis in range(2, part.ndim):
            part = _along(part, axis, inner, operation, buffers)
        yield planes, part


def _clipped(
    x: Array, where: Windows, operation: np.ufunc, neutral: complex, buffers: _Pair
) -> Array:
    """Reduce over windows that are mostly padding, which is left out."""
    for step in where.passes():
        reduced = buffers.take((*x.shape[:2], *step.output))
        reduced.fill(neutral)
        for _, _, outputs, inputs in step.overlaps():
            operation(reduced[outputs], x[inputs], out=reduced[outputs])
        x = reduced
    return x


def _along(x: Array, axis: int, where: Windows, operation: np.ufunc, buffers: _Pair) -> Array:
    """Reduce the windows' extent along one axis of x, all of them inside x."""
    kernel, stride = where.kernel[axis - 2], where.stride[axis - 2]
    dilation, output = where.dilation[axis - 2], where.output[axis - 2]
    first, span = -where.before[axis - 2], (output - 1) * stride + 1
    lead: Index = (slice(None),) * axis
    if kernel == 1:
        return x[(*lead, slice(first, first + span, stride))]
    reach, size = first + (kernel - 1) * dilation, x.shape[axis]
    if output < kernel:
        reduced = buffers.take((*x.shape[:axis], output, *x.shape[axis + 1 :]))
        for o in range(output):
            window = slice(first + o * stride, reach + o * stride + 1, dilation)
            operation.reduce(x[(*lead, window)], axis=axis, out=reduced[(*lead, o)])
        return reduced
    if axis == x.ndim - 1 and x.flags.c_contiguous and size <= RUN_WASTE * output:
        # One run of memory, at stride 1: `reduced` holds the windows, and beside them what wraps.
        whole = buffers.take(x.shape)
        run, target = x.reshape(-1), whole.reshape(-1)[: x.size - reach]
        parts = [run[first + k * dilation :][: target.size] for k in range(kernel)]
        reduced = whole[(*lead, slice(0, span, stride))]
    else:
        starts = range(first, reach + 1, dilation)
        parts = [x[(*lead, slice(start, start + span, stride))] for start in starts]
        target = reduced = buffers.take(parts[0].shape)
    operation(parts[0], parts[1], out=target)
    for part in parts[2:]:
        operation(target, part, out=target)
    return reduced


def _least(dtype: np.dtype[Any]) -> complex | bool:
    """Return a value that no element of `dtype` is less than."""
    if dtype.kind == "b":
        return False
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min)
    return complex(-math.inf, -math.inf) if dtype.kind == "c" else -math.inf


def _divisor(where: Windows, padding: Pads, count_include_pad: bool) -> Array:
    """Count the elements that each window divides by (*O), at least one.

    A product over axes of the elements inside the input, or inside the padded input.
    """
    rank = len(where.spatial)
    divisor = np.ones((1,) * rank)
    for axis, (size, kernel, stride, (before, after), dilation, output) in enumerate(
        zip(
            where.spatial,
            where.kernel,
            where.stride,
            padding,
            where.dilation,
            where.output,
            strict=True,
        )
    ):
        if count_include_pad:
            inside = counts(size + before + after, kernel, stride, 0, dilation, output)
        else:
            inside = counts(size, kernel, stride, before, dilation, output)
        line = tuple(-1 if other == axis else 1 for other in range(rank))
        divisor = divisor * np.maximum(inside, 1).reshape(line)
    return divisor

"""Padding of the spatial axes in five modes, an axis at a time, by slices; negative padding crops.

Cropping comes first: the other modes than constant then read the cropped array. How each border
reads the interior (torch's names; NumPy's are constant, reflect, edge, wrap, symmetric):

    constant   v v | a b c | v v        replicate  a a | a b c | c c
    reflect    c b | a b c | b a        symmetric  b a | a b c | c b
    circular   b c | a b c | a b
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnncli.kernels.rows import copy_rows
from cnncli.kernels.windows import Array, Index, Ints, Pads


def forward(x: Array, padding: Pads, mode: str, value: complex) -> Array:
    """Pad x (N, C, *S) to (N, C, *(before + S + after)), of x's dtype.

    The border is at most the cropped size wide, for reflect one less; constant and replicate have
    no limit. `value` fills the border in constant mode.
    """
    kept, inner = _kept(x.shape[2:], padding), _inner(x.shape[2:], padding)
    output = tuple(size + b + a for size, (b, a) in zip(x.shape[2:], padding, strict=True))
    y = np.empty((*x.shape[:2], *output), x.dtype)
    copy_rows(y[inner], x[kept])
    for border, source in _borders(inner, output, mode):
        if mode == "constant":
            y[border] = value
        else:
            y[border] = y[source]
    return y


def backward(dy: Array, spatial: Ints, padding: Pads, mode: str) -> Array:
    """Gradient to x (N, C, *spatial): each border's dy, added to the elements it was read from.

    The forward's copies transposed, in reverse order; what was cropped gets zero.
    """
    kept, inner = _kept(spatial, padding), _inner(spatial, padding)
    if mode != "constant":
        dy = dy.copy()
        for border, source in reversed(list(_borders(inner, dy.shape[2:], mode))):
            share, target = dy[border], dy[source]
            for axis in range(2, dy.ndim):
                if target.shape[axis] != share.shape[axis]:  # replicate: one element read by many
                    share = share.sum(axis=axis, keepdims=True)
            target += share
    dx = np.empty((*dy.shape[:2], *spatial), dy.dtype)
    if any(edge < 0 for pair in padding for edge in pair):
        dx.fill(0)
    copy_rows(dx[kept], dy[inner])
    return dx


def _kept(spatial: Ints, padding: Pads) -> Index:
    """Index what cropping leaves of the input."""
    sizes = zip(spatial, padding, strict=True)
    return (..., *(slice(max(0, -b), size - max(0, -a)) for size, (b, a) in sizes))


def _inner(spatial: Ints, padding: Pads) -> Index:
    """Index where the output holds what was kept."""
    sizes = zip(spatial, padding, strict=True)
    return (..., *(slice(max(0, b), size + b + min(0, a)) for size, (b, a) in sizes))


def _borders(inner: Index, output: Ints, mode: str) -> Iterator[tuple[Index, Index]]:
    """Yield (border, source) indices of the output, first axis first.

    Along axes already padded they span the output, along those still to come the interior; the
    source is read in the order in which it fills the border. (In constant mode it means nothing.)
    """
    for axis, size in enumerate(output):
        part, rest = inner[axis + 1], inner[axis + 2 :]
        done = (..., *(slice(0, length) for length in output[:axis]))
        for border, source in (
            (slice(0, part.start), _before(part, part.start, mode)),
            (slice(part.stop, size), _after(part, size - part.stop, mode)),
        ):
            if border.start < border.stop:
                yield (*done, border, *rest), (*done, source, *rest)


def _before(part: slice, width: int, mode: str) -> slice:
    """Return what a border of `width` at the start of an axis reads of its interior."""
    start, stop = part.start, part.stop
    if mode == "reflect":
        return slice(start + width, start, -1)
    if mode == "symmetric":
        return _backwards(start, start + width)
    if mode == "circular":
        return slice(stop - width, stop)
    return slice(start, start + 1)


def _after(part: slice, width: int, mode: str) -> slice:
    """Return what a border of `width` at the end of an axis reads of its interior."""
    start, stop = part.start, part.stop
    if mode == "reflect":
        return _backwards(stop - 1 - width, stop - 1)
    if mode == "symmetric":
        return _backwards(stop - width, stop)
    if mode == "circular":
        return slice(start, start + width)
    return slice(stop - 1, stop)


def _backwards(start: int, stop: int) -> slice:
    """Return slice(start, stop), last element first."""
    return slice(stop - 1, start - 1 if start > 0 else None, -1)

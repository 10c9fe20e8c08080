"""Direct sums: each layer written down as its definition, element by element, to judge kernels by.

Nothing here uses the package. Slow, so for small arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def output_size(
    size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, ceil: bool
) -> int:
    """Count windows by laying them out one after another."""
    before, after = pads
    end = size + before + after
    span = dilation * (kernel - 1) + 1
    starts = [start for start in range(0, end, stride) if start + span <= end]
    if ceil:
        if starts and starts[-1] + span < end:
            starts.append(starts[-1] + stride)
        starts = [start for start in starts if start < size + before]
    return len(starts)


def places(
    spatial: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, output: Ints
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (output index, kernel offset, input index) of every real element of every window."""
    for o in np.ndindex(*output):
        for k in np.ndindex(*kernel):
            i = tuple(
                o[a] * stride[a] + k[a] * dilation[a] - padding[a][0] for a in range(len(spatial))
            )
            if all(0 <= i[a] < spatial[a] for a in range(len(spatial))):
                yield o, k, i


def conv(
    x: Array,
    w: Array,
    b: Array,
    dy: Array,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> tuple[Array, Array, Array, Array]:
    """Return y, dx, dw, db."""
    f, c = w.shape[:2]
    y = np.zeros(dy.shape) + b.reshape(-1, *(1,) * (x.ndim - 2))
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(f)
    for o, k, i in places(x.shape[2:], w.shape[2:], stride, padding, dilation, dy.shape[2:]):
        here: Any = (..., *o)
        there: Any = (..., *i)
        tap: Any = (..., *k)
        for g in range(groups):
            fs, cs = slice(g * (f // groups), (g + 1) * (f // groups)), slice(g * c, (g + 1) * c)
            y[:, fs][here] += x[:, cs][there] @ w[fs][tap].T
            dx[:, cs][there] += dy[:, fs][here] @ w[fs][tap]
            dw[fs][tap] += dy[:, fs][here].T @ x[:, cs][there]
    for index in np.ndindex(*dy.shape):
        db[index[1]] += dy[index]
    return y, dx, dw, db


def max_pool(
    x: Array, dy: Array, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints
) -> tuple[Array, Array, Array, Array]:
    """Return y, dx, winners' kernel offset numbers, winners' flat indices."""
    y, dx = np.zeros(dy.shape, x.dtype), np.zeros(x.shape, dy.dtype)
    winners, indices = np.zeros(dy.shape, np.int64), np.zeros(dy.shape, np.int64)
    seen = np.zeros(dy.shape[2:], bool)
    where = {}
    for o, k, i in places(x.shape[2:], kernel, stride, padding, dilation, dy.shape[2:]):
        for n, c in np.ndindex(*x.shape[:2]):
            value, best = x[(n, c, *i)], y[(n, c, *o)]
            if not seen[o] or (not np.isnan(best) and (value > best or np.isnan(value))):
                y[(n, c, *o)] = value
                winners[(n, c, *o)] = np.ravel_multi_index(k, kernel)
                indices[(n, c, *o)] = np.ravel_multi_index(i, x.shape[2:])
                where[n, c, o] = i
        seen[o] = True
    for (n, c, o), i in where.items():
        dx[(n, c, *i)] += dy[(n, c, *o)]
    return y, dx, winners, indices


def average_pool(
    x: Array, dy: Array, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, counted: bool
) -> tuple[Array, Array]:
    """Return y, dx."""
    spatial, output = x.shape[2:], dy.shape[2:]
    # the padded input is an input without padding, so its real elements are what is counted
    wide = tuple(s + b + a for s, (b, a) in zip(spatial, padding, strict=True))
    none = ((0, 0),) * len(spatial)
    divisor = np.zeros(output)
    for o, _, _ in (
        places(wide, kernel, stride, none, dilation, output)
        if counted
        else places(spatial, kernel, stride, padding, dilation, output)
    ):
        divisor[o] += 1
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for o, _, i in places(spatial, kernel, stride, padding, dilation, output):
        y[(..., *o)] += x[(..., *i)] / divisor[o]
        dx[(..., *i)] += dy[(..., *o)] / divisor[o]
    return y, dx


def pad_source(p: int, size: int, pads: tuple[int, int], mode: str) -> int | None:
    """Return which input element output element p of one axis shows; None for the constant."""
    first, last = max(0, -pads[0]), size - 1 - max(0, -pads[1])
    i = p - pads[0]
    if first <= i <= last:
        return i
    if mode == "constant":
        return None
    if mode == "replicate":
        return min(max(i, first), last)
    if mode == "circular":
        return first + (i - first) % (last - first + 1)
    off = 0 if mode == "reflect" else 1
    return 2 * first - off - i if i < first else 2 * last + off - i


def pad(x: Array, dy: Array, padding: Pads, mode: str, value: float) -> tuple[Array, Array]:
    """Return y, dx."""
    spatial = x.shape[2:]
    y, dx = np.full(dy.shape, value, x.dtype), np.zeros(x.shape, dy.dtype)
    p: Any
    for p in np.ndindex(*dy.shape[2:]):
        i: Any = [pad_source(p[a], spatial[a], padding[a], mode) for a in range(len(spatial))]
        if None not in i:
            y[(..., *p)] = x[(..., *i)]
            dx[(..., *i)] += dy[(..., *p)]
    return y, dx


def batchnorm(
    x: Array, gamma: Array, beta: Array, eps: float, dy: Array, fixed: tuple[Array, Array] | None
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return mean, var, y, dx, dgamma, dbeta; with `fixed` mean and var, inference.

    Training goes back through the graph one operation at a time (the course-book derivation).
    """
    c = x.shape[1]
    means, variances = np.zeros(c), np.zeros(c)
    y, dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(x.shape), np.zeros(c), np.zeros(c)
    for j in range(c):
        xs, ds = [float(v) for v in x[:, j].flat], [float(v) for v in dy[:, j].flat]
        m = len(xs)
        mean = sum(xs) / m if fixed is None else float(fixed[0][j])
        var = sum((v - mean) ** 2 for v in xs) / m if fixed is None else float(fixed[1][j])
        sigma = (var + eps) ** 0.5
        hats = [(v - mean) / sigma for v in xs]
        means[j], variances[j] = mean, var
        dgamma[j], dbeta[j] = sum(d * h for d, h in zip(ds, hats, strict=True)), sum(ds)
        dhat = [d * gamma[j] for d in ds]
        back = [d / sigma for d in dhat]
        if fixed is None:
            terms = zip(dhat, xs, strict=True)
            dvar = sum(d * (v - mean) for d, v in terms) * -0.5 * sigma**-3
            dmean = -sum(dhat) / sigma
            back = [
                d + dvar * 2 * (v - mean) / m + dmean / m for d, v in zip(back, xs, strict=True)
            ]
        y[:, j] = np.reshape([gamma[j] * h + beta[j] for h in hats], x[:, j].shape)
        dx[:, j] = np.reshape(back, x[:, j].shape)
    return means, variances, y, dx, dgamma, dbeta

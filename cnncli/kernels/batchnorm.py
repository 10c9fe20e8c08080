"""Batch normalisation: each channel of x (N, C, *S) centred, scaled and mapped to beta and gamma.

    xhat = (x - mean) / sqrt(var + eps),    y = gamma * xhat + beta

Numbers of one channel are float64 (or complex128) whatever x is: they cost nothing, and a mean of
1e6 rounded to float32 would move every y by 0.03. Arrays keep x's dtype: x is first centred on the
mean rounded to that dtype, which is exact for x near it, and the rest of the mean follows as part
of a channel's constant. Channels are taken some at a time, so that the passes meet in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cnncli.kernels.buffer import Buffer
from cnncli.kernels.windows import Array, tiles

TILE_BYTES = 256 << 10


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, both (C), float64 or complex128.

    Two passes, corrected: with m0 a first mean and d = x - m0, the mean is m0 + mean(d) and the
    variance mean(d**2) - mean(d)**2, where mean(d) is the rounding of m0 (Chan, Golub and LeVeque
    1983). The square is no square of a modulus: complex x keeps the function analytic.
    """
    c = x.shape[1]
    wide = np.result_type(x.dtype, np.float64)
    mean, var = np.empty(c, wide), np.empty(c, wide)
    count = x.size // max(1, c)
    buffer = Buffer(x.dtype)
    for channels in _channels(x):
        part = x[:, channels]
        first = (_sums(part) / count).astype(x.dtype)
        centred = np.subtract(part, _column(first, x), out=buffer.take(part.shape))
        rest = _sums(centred) / count
        mean[channels] = first + rest
        var[channels] = _dots(centred, centred) / count - rest * rest
    return mean, var


def normalize(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Compute y (N, C, *S), of x's dtype, with gamma, beta, mean and var of each channel (C)."""
    y = np.empty(x.shape, _result(x, gamma, beta, mean, var))
    scale = gamma / np.sqrt(_wide(var) + eps)
    near, rest = _split(mean, y.dtype)
    shift = beta - rest * scale
    for channels in _channels(y):
        part = y[:, channels]
        np.subtract(x[:, channels], _column(near[channels], y), out=part)
        part *= _column(scale[channels], y)
        part += _column(shift[channels], y)
    return y


def backward_training(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) where mean and var are the statistics of x itself.

    With m = N * prod(S): dbeta = sum dy, dgamma = sum dy * xhat, and through mean and variance
    dx = gamma/sigma * (dy - dbeta/m - xhat * dgamma/m), sigma = sqrt(var + eps) (Ioffe and Szegedy
    2015, with the sums collected).
    """
    dx = np.empty(x.shape, _result(dy, x, gamma, mean, var))
    dgamma, dbeta = np.empty(gamma.shape, dx.dtype), np.empty(gamma.shape, dx.dtype)
    inverse = 1 / np.sqrt(_wide(var) + eps)
    near, rest = _split(mean, dx.dtype)
    count = x.size // max(1, x.shape[1])
    buffer = Buffer(dx.dtype)
    for channels in _channels(dx):
        grads, target = dy[:, channels], dx[:, channels]
        part = buffer.take(grads.shape)
        np.subtract(x[:, channels], _column(near[channels], dx), out=part)
        total = _sums(grads)
        slope = (_dots(grads, part) - rest[channels] * total) * inverse[channels]
        dgamma[channels], dbeta[channels] = slope, total
        # dx = scale * (dy - total/m) - bend * (x - mean), where x - mean = part - rest
        scale = gamma[channels] * inverse[channels]
        bend = scale * inverse[channels] * slope / count
        part *= _column(-bend, dx)
        part += _column(bend * rest[channels] - scale * total / count, dx)
        np.multiply(grads, _column(scale, dx), out=target)
        target += part
    return dx, dgamma, dbeta


def backward_inference(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) where mean and var are given and constant.

    dx = gamma/sigma * dy, dgamma = sum dy * xhat, dbeta = sum dy; sigma = sqrt(var + eps).
    """
    dx = np.empty(x.shape, _result(dy, x, gamma, mean, var))
    dgamma, dbeta = np.empty(gamma.shape, dx.dtype), np.empty(gamma.shape, dx.dtype)
    inverse = 1 / np.sqrt(_wide(var) + eps)
    near, rest = _split(mean, dx.dtype)
    buffer = Buffer(dx.dtype)
    for channels in _channels(dx):
        grads = dy[:, channels]
        part = buffer.take(grads.shape)
        np.subtract(x[:, channels], _column(near[channels], dx), out=part)
        total = _sums(grads)
        dgamma[channels] = (_dots(grads, part) - rest[channels] * total) * inverse[channels]
        dbeta[channels] = total
        scale = gamma[channels] * inverse[channels]
        np.multiply(grads, _column(scale, dx), out=dx[:, channels])
    return dx, dgamma, dbeta


def _channels(x: Array) -> Iterator[slice]:
    """Cut the channels of x (N, C, *S) into runs that fit the cache."""
    each = max(1, x.size // max(1, x.shape[1]) * x.itemsize)
    for (channels,) in tiles((x.shape[1],), max(1, TILE_BYTES // each)):
        yield channels


def _sums(x: Array) -> Array:
    """Sum each channel of x (N, c, *S), planes pairwise, then over N widened: (c)."""
    planes: Array = x.reshape(*x.shape[:2], math.prod(x.shape[2:])).sum(axis=2)
    return _wide(planes).sum(axis=0)  # type: ignore[no-any-return]


def _dots(a: Array, b: Array) -> Array:
    """Sum a * b (N, c, *S) over each channel, planes by a BLAS dot, then over N widened: (c).

    A product of matrices, since np.vecdot takes the conjugate, which is not analytic.
    """
    planes = (*a.shape[:2], math.prod(a.shape[2:]))
    rows, columns = a.reshape(planes)[..., None, :], b.reshape(planes)[..., None]
    return _wide(np.matmul(rows, columns)[..., 0, 0]).sum(axis=0)  # type: ignore[no-any-return]


def _wide(a: Array) -> Array:
    """Return a's numbers in float64 or complex128."""
    return a.astype(np.result_type(a.dtype, np.float64), copy=False)


def _result(x: Array, gamma: Array, *rest: Array) -> np.dtype[np.generic]:
    """Dtype of an array result: x's and gamma's, complex if any other is."""
    dtype = np.result_type(x, gamma)
    return np.result_type(dtype, np.complex64) if any(map(np.iscomplexobj, rest)) else dtype


def _split(mean: Array, dtype: np.dtype[np.generic]) -> tuple[Array, Array]:
    """Split the mean in two: rounded to `dtype`, and what that left out."""
    near = mean.astype(dtype)
    return near, mean - near


def _column(numbers: Array, like: Array) -> Array:
    """Return a channel's numbers (c), in the dtype of `like`, to broadcast over (N, c, *S)."""
    return numbers.astype(like.dtype, copy=False).reshape(-1, *(1,) * (like.ndim - 2))

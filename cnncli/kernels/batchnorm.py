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

TILE_BYTES = 2 << 20  # smaller ones cost more calls than the cache saves
LONG = 4096  # numbers a channel from which a call a channel costs less than NumPy's broadcast


def forward_training(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise x (N, C, *S) by its own statistics: y of x's dtype, and mean and var (C)."""
    y = np.empty(x.shape, _result(x, gamma, beta))
    wide = np.result_type(x.dtype, np.float64)
    mean, var = np.empty(x.shape[1], wide), np.empty(x.shape[1], wide)
    source, target = _planes(x), _planes(y)
    buffer = Buffer(x.dtype)
    for channels in _channels(x):
        near, rest, spread, centred = _moments(source[:, channels], buffer)
        mean[channels], var[channels] = near + rest, spread
        scale = gamma[channels] / np.sqrt(spread + eps)
        part = target[:, channels]
        _by_channel(np.multiply, centred, scale, part)
        _by_channel(np.add, part, beta[channels] - rest * scale, part)
    return y, mean, var


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, both (C), float64 or complex128."""
    wide = np.result_type(x.dtype, np.float64)
    mean, var = np.empty(x.shape[1], wide), np.empty(x.shape[1], wide)
    source = _planes(x)
    buffer = Buffer(x.dtype)
    for channels in _channels(x):
        near, rest, var[channels], _ = _moments(source[:, channels], buffer)
        mean[channels] = near + rest
    return mean, var


def normalize(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """Compute y (N, C, *S), of x's dtype, with gamma, beta, mean and var of each channel (C)."""
    y = np.empty(x.shape, _result(x, gamma, beta, mean, var))
    scale = gamma / np.sqrt(_wide(var) + eps)
    near, rest = _split(mean, y.dtype)
    shift = beta - rest * scale
    source, target = _planes(x), _planes(y)
    for channels in _channels(y):
        part = target[:, channels]
        _by_channel(np.subtract, source[:, channels], near[channels], part)
        _by_channel(np.multiply, part, scale[channels], part)
        _by_channel(np.add, part, shift[channels], part)
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
    source, upstream, result = _planes(x), _planes(dy), _planes(dx)
    buffer = Buffer(dx.dtype)
    for channels in _channels(dx):
        grads, target = upstream[:, channels], result[:, channels]
        part = buffer.take(grads.shape)
        _by_channel(np.subtract, source[:, channels], near[channels], part)
        total = _sums(grads)
        slope = (_dots(grads, part) - rest[channels] * total) * inverse[channels]
        dgamma[channels], dbeta[channels] = slope, total
        # dx = scale * (dy - total/m) - bend * (x - mean), where x - mean = part - rest
        scale = gamma[channels] * inverse[channels]
        bend = scale * inverse[channels] * slope / count
        _by_channel(np.multiply, part, -bend, part)
        _by_channel(np.add, part, bend * rest[channels] - scale * total / count, part)
        _by_channel(np.multiply, grads, scale, target)
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
    source, upstream, result = _planes(x), _planes(dy), _planes(dx)
    buffer = Buffer(dx.dtype)
    for channels in _channels(dx):
        grads = upstream[:, channels]
        part = buffer.take(grads.shape)
        _by_channel(np.subtract, source[:, channels], near[channels], part)
        total = _sums(grads)
        dgamma[channels] = (_dots(grads, part) - rest[channels] * total) * inverse[channels]
        dbeta[channels] = total
        scale = gamma[channels] * inverse[channels]
        _by_channel(np.multiply, grads, scale, result[:, channels])
    return dx, dgamma, dbeta


def _moments(x: Array, buffer: Buffer) -> tuple[Array, Array, Array, Array]:
    """Return a first mean m0 of x (N, c, P), mean - m0 and the biased variance (c), and x - m0.

    Two passes, corrected: with d = x - m0 the mean is m0 + mean(d) and the variance mean(d**2) -
    mean(d)**2, where mean(d) is the rounding of m0 (Chan, Golub and LeVeque 1983). The square is no
    square of a modulus: complex x keeps the function analytic.
    """
    count = x.shape[0] * x.shape[2]
    near = _wide(np.matmul(x, np.ones(x.shape[2], x.dtype))).sum(axis=0) / count
    near = near.astype(x.dtype)
    centred = buffer.take(x.shape)
    _by_channel(np.subtract, x, near, centred)
    rest = _sums(centred) / count
    return near, rest, _dots(centred, centred) / count - rest * rest, centred


def _planes(x: Array) -> Array:
    """View x (N, C, *S), or copy it if need be, as (N, C, P)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _channels(x: Array) -> Iterator[slice]:
    """Cut the channels of x (N, C, *S) into runs that fit the cache."""
    one = max(1, x.size // max(1, x.shape[1]) * x.itemsize)
    for (channels,) in tiles((x.shape[1],), max(1, TILE_BYTES // one)):
        yield channels


def _by_channel(operation: np.ufunc, a: Array, numbers: Array, out: Array) -> None:
    """Write operation(a, a channel's number) of a (N, c, P) and numbers (c) to `out`, in its dtype.

    NumPy takes twice as long to broadcast a column as to broadcast one number.
    """
    numbers = numbers.astype(np.result_type(a, out), copy=False)
    if a.shape[0] * a.shape[2] < LONG:
        operation(a, numbers[:, None], out=out)
        return
    for channel, number in enumerate(numbers):
        operation(a[:, channel], number, out=out[:, channel])


def _sums(x: Array) -> Array:
    """Sum each channel of x (N, c, P), planes pairwise, then over N widened: (c)."""
    return _wide(x.sum(axis=2)).sum(axis=0)  # type: ignore[no-any-return]


def _dots(a: Array, b: Array) -> Array:
    """Sum a * b (N, c, P) over each channel, planes by a BLAS dot, then over N widened: (c).

    A product of matrices, since np.vecdot takes the conjugate, which is not analytic.
    """
    products = np.matmul(a[..., None, :], b[..., None])[..., 0, 0]
    return _wide(products).sum(axis=0)  # type: ignore[no-any-return]


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

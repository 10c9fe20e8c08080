from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnncli.kernels import batchnorm
from tests.kernels import direct
from tests.kernels.geometry import adjoint, close, tiny_tiles

Array = NDArray[Any]
EPS = 1e-5
FAST = settings(deadline=None, derandomize=True, max_examples=200)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, Array, Array, Array, bool]:
    """Return x, gamma, beta, dy and whether to cut small tiles."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    c = draw(st.integers(1, 4))
    shape = (draw(st.integers(2, 4)), c, *(draw(st.integers(1, 5)) for _ in range(rank)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread, centre = rng.uniform(0.5, 3, (c, *(1,) * rank)), rng.normal(0, 5, (c, *(1,) * rank))
    x = rng.standard_normal(shape) * spread + centre
    gamma, beta = rng.standard_normal((2, c))
    return x, gamma, beta, rng.standard_normal(shape), draw(st.booleans())


@FAST
@given(cases())
def test_training_equals_direct(case: tuple[Array, Array, Array, Array, bool]) -> None:
    x, gamma, beta, dy, tiny = case
    means, variances, y, dx, dgamma, dbeta = direct.batchnorm(x, gamma, beta, EPS, dy, None)
    with tiny_tiles(tiny):
        mean, var = batchnorm.statistics(x)
        got = batchnorm.normalize(x, gamma, beta, mean, var, EPS)
        at_once = batchnorm.forward_training(x, gamma, beta, EPS)
        back = batchnorm.backward_training(dy, x, gamma, mean, var, EPS)
    for a, e in zip(at_once, (y, means, variances), strict=True):
        close(a, e)
    close(mean, means)
    close(var, variances)
    close(got, y)
    # dx is a difference of terms this large: where few elements make it vanish, they set the scale
    scale = np.abs(gamma / np.sqrt(var + EPS)).max() * np.abs(dy).max()
    assert np.abs(back[0] - dx).max() <= 1e-12 * scale
    close(back[1], dgamma)
    close(back[2], dbeta)


@FAST
@given(cases())
def test_inference_equals_direct_and_adjoint(
    case: tuple[Array, Array, Array, Array, bool],
) -> None:
    x, gamma, beta, dy, tiny = case
    rng = np.random.default_rng(x.size)
    mean, var = rng.standard_normal(gamma.shape), rng.uniform(0.5, 2, gamma.shape)
    _, _, y, dx, dgamma, dbeta = direct.batchnorm(x, gamma, beta, EPS, dy, (mean, var))
    with tiny_tiles(tiny):
        got = batchnorm.normalize(x, gamma, beta, mean, var, EPS)
        back = batchnorm.backward_inference(dy, x, gamma, mean, var, EPS)
    for a, e in zip((got, *back), (y, dx, dgamma, dbeta), strict=True):
        close(a, e)
    # affine in x: without mean and beta it is linear
    zero = np.zeros_like(gamma)
    linear = batchnorm.normalize(x, gamma, zero, zero, var, EPS)
    adjoint(linear * dy, x * back[0], np.abs(linear * dy))
    # and linear in gamma and beta together
    column = (-1, *(1,) * (x.ndim - 2))
    hat = batchnorm.normalize(x, np.ones_like(gamma), zero, mean, var, EPS)
    terms = np.abs(hat * gamma.reshape(column) * dy) + np.abs(beta.reshape(column) * dy)
    rounding = np.abs(mean.reshape(column) * gamma.reshape(column) * dy)  # x - mean cancels
    adjoint(got * dy, gamma * back[1] + beta * back[2], terms + rounding)


@FAST
@given(cases(), st.booleans())
def test_equals_torch(case: tuple[Array, Array, Array, Array, bool], training: bool) -> None:
    torch = pytest.importorskip("torch", reason="the differential test needs torch")
    x, gamma, beta, dy, _ = case
    mean, var = batchnorm.statistics(x) if training else (beta - 1, np.abs(gamma) + 0.5)
    tx, tg, tb = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta))
    tm, tv = (torch.tensor(a) for a in (mean, var))
    ty = torch.nn.functional.batch_norm(tx, tm, tv, tg, tb, training, 0.1, EPS)
    ty.backward(torch.tensor(dy))
    backward = batchnorm.backward_training if training else batchnorm.backward_inference
    dx, dgamma, dbeta = backward(dy, x, gamma, mean, var, EPS)
    close(batchnorm.normalize(x, gamma, beta, mean, var, EPS), ty.detach().numpy(), 1e-11)
    scale = np.abs(gamma / np.sqrt(var + EPS)).max() * np.abs(dy).max()
    assert np.abs(dx - tx.grad.numpy()).max() <= 1e-11 * scale
    close(dgamma, tg.grad.numpy(), 1e-11)
    close(dbeta, tb.grad.numpy(), 1e-11)


def whole(x: Array, gamma: Array, beta: Array) -> Array:
    """Return y in training, through the statistics."""
    return batchnorm.forward_training(x, gamma, beta, EPS)[0]


@pytest.mark.parametrize("shape", [(3, 2, 7), (2, 3, 4, 5), (2, 2, 3, 2, 4)])
def test_complex_step_agrees(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(11)
    x, dy = rng.standard_normal((2, *shape)) * 2 + 3
    gamma, beta = rng.standard_normal((2, shape[1]))
    mean, var = batchnorm.statistics(x)
    dx, dgamma, dbeta = batchnorm.backward_training(dy, x, gamma, mean, var, EPS)
    numeric = np.zeros(shape)
    for index in np.ndindex(*shape):
        step = np.zeros(shape, complex)
        step[index] = 1e-20j
        numeric[index] = (whole(x + step, gamma, beta).imag * dy).sum() / 1e-20
    assert np.abs(numeric - dx).max() <= 1e-13 * np.abs(dx).max()
    for j in range(shape[1]):
        unit = np.zeros(shape[1], complex)
        unit[j] = 1e-20j
        for got, y in (
            (dgamma[j], whole(x, gamma + unit, beta)),
            (dbeta[j], whole(x, gamma, beta + unit)),
        ):
            assert abs((y.imag * dy).sum() / 1e-20 - got) <= 1e-13 * np.abs(dy).sum()


def test_complex_step_in_given_statistics() -> None:
    x, one = np.arange(6.0).reshape(1, 1, 6), np.ones(1)
    y = batchnorm.normalize(x, one, 0 * one, one + 1e-20j, one, 0)
    np.testing.assert_allclose(y.imag, np.full(x.shape, -1e-20), rtol=1e-15)


def test_backward_is_linear_over_complex_dy() -> None:
    rng = np.random.default_rng(12)
    x, dy = rng.standard_normal((2, 3, 2, 4))
    gamma = rng.standard_normal(2)
    mean, var = batchnorm.statistics(x)
    for backward in (batchnorm.backward_training, batchnorm.backward_inference):
        real = backward(dy, x, gamma, mean, var, EPS)
        turned = backward(dy * 1j, x, gamma, mean, var, EPS)
        for a, b in zip(real, turned, strict=True):
            assert b.dtype == np.complex128
            close(b, a * 1j)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centre", [0.0, 1e6])
def test_far_from_zero(dtype: type[np.generic], centre: float) -> None:
    rng = np.random.default_rng(13)
    x = np.asarray(rng.standard_normal((8, 3, 16, 17)) + centre, dtype)
    dy = np.asarray(rng.standard_normal(x.shape), dtype)
    gamma, beta = np.array([1.5, -2, 0.5], dtype), np.array([0.25, 0, -1], dtype)
    exact = x.astype(np.longdouble)
    mean, var = exact.mean((0, 2, 3)), exact.var((0, 2, 3))
    column = (1, 3, 1, 1)
    hat = (exact - mean.reshape(column)) / np.sqrt(var + EPS).reshape(column)
    tolerance = 1e-6 if dtype is np.float32 else 1e-9
    got = batchnorm.statistics(x)
    assert np.abs(got[0] - mean).max() <= tolerance
    assert np.abs(got[1] - var).max() <= tolerance
    expected = hat * gamma.reshape(column) + beta.reshape(column)
    for y in (
        batchnorm.normalize(x, gamma, beta, *got, EPS),
        batchnorm.forward_training(x, gamma, beta, EPS)[0],
    ):
        assert y.dtype == dtype
        assert np.abs(y - expected).max() <= 10 * tolerance
    dx, dgamma, dbeta = batchnorm.backward_training(dy, x, gamma, *got, EPS)
    assert {a.dtype for a in (dx, dgamma, dbeta)} == {np.dtype(dtype)}
    slope = (dy * hat).sum((0, 2, 3))
    total = dy.sum((0, 2, 3), dtype=np.longdouble)
    m = x.size // 3
    inside = dy - (total.reshape(column) + hat * slope.reshape(column)) / m
    whole_dx = (gamma / np.sqrt(var + EPS)).reshape(column) * inside
    assert np.abs(dx - whole_dx).max() <= 10 * tolerance
    assert np.abs(dgamma - slope).max() <= 100 * tolerance
    assert np.abs(dbeta - total).max() <= 100 * tolerance


def test_layout_makes_no_difference() -> None:
    rng = np.random.default_rng(14)
    x, dy = rng.standard_normal((2, 3, 4, 6, 5))
    gamma, beta = rng.standard_normal((2, 4))
    other_x, other_dy = np.asfortranarray(x), dy.T.copy().T
    mean, var = batchnorm.statistics(x)
    assert np.array_equal(batchnorm.statistics(other_x), (mean, var))
    one = batchnorm.backward_training(dy, x, gamma, mean, var, EPS)
    two = batchnorm.backward_training(other_dy, other_x, gamma, mean, var, EPS)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    y, other = (batchnorm.normalize(a, gamma, beta, mean, var, EPS) for a in (x, other_x))
    assert np.array_equal(y, other)

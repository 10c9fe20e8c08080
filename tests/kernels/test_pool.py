from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnncli.kernels import pool
from tests.kernels import direct
from tests.kernels.geometry import Geometry, adjoint, close, geometries, tiny_tiles

Array = NDArray[Any]
FAST = settings(deadline=None, derandomize=True, max_examples=200)


def arrays(g: Geometry, kind: str = "normal") -> tuple[Array, Array]:
    """Return x and dy; of a kind full of ties, infinities or NaN for max pooling."""
    rng = g.rng()
    shape = (g.n, g.c, *g.spatial)
    dy = rng.standard_normal((g.n, g.c, *g.output))
    if kind == "normal":
        return rng.standard_normal(shape), dy
    values = {
        "ties": [0.0, 1.0, 2.0],
        "infinite": [-np.inf, -np.inf, -np.inf, -np.inf, 1.0, np.inf],
        "nan": [np.nan, -np.inf, 1.0, 2.0, 3.0],
    }
    return rng.choice(values[kind], shape), dy


@FAST
@given(geometries(pooling=True), st.sampled_from(["normal", "ties", "infinite", "nan"]))
def test_max_equals_direct(g: Geometry, kind: str) -> None:
    x, dy = arrays(g, kind)
    y, dx, winners, indices = direct.max_pool(x, dy, g.kernel, g.stride, g.padding, g.dilation)
    with tiny_tiles(g.small_tiles):
        assert np.array_equal(pool.max_forward(x, **g.pool()), y, equal_nan=True)
        got = pool.max_winners(x, **g.pool())
        assert np.array_equal(got, winners)
        assert got.dtype == np.uint8
        flat = pool.max_indices(x, **g.pool())
        close(pool.max_backward(dy, flat, g.spatial), dx)
    assert np.array_equal(flat, indices)
    assert flat.dtype == np.int64


@FAST
@given(geometries(pooling=True), st.booleans())
def test_average_equals_direct(g: Geometry, counted: bool) -> None:
    x, dy = arrays(g)
    y, dx = direct.average_pool(x, dy, g.kernel, g.stride, g.padding, g.dilation, counted)
    with tiny_tiles(g.small_tiles):
        got = pool.average_forward(x, **g.pool(), count_include_pad=counted)
        back = pool.average_backward(dy, g.spatial, **g.pool(), count_include_pad=counted)
    close(got, y)
    close(back, dx)
    terms = pool.average_forward(np.abs(x), **g.pool(), count_include_pad=counted) * np.abs(dy)
    adjoint(got * dy, x * back, terms)


@FAST
@given(geometries(pooling=True, symmetric=True), st.booleans())
def test_max_equals_torch(g: Geometry, ties: bool) -> None:
    torch = pytest.importorskip("torch", reason="the differential test needs torch")
    x, dy = arrays(g, "ties" if ties else "normal")
    rank = len(g.spatial)
    tx = torch.tensor(x, requires_grad=True)
    function = getattr(torch.nn.functional, f"max_pool{rank}d")
    ty, ti = function(
        tx,
        g.kernel,
        g.stride,
        tuple(before for before, _ in g.padding),
        g.dilation,
        ceil_mode=g.output != plain(g),
        return_indices=True,
    )
    assert tuple(ty.shape[2:]) == g.output
    ty.backward(torch.tensor(dy))
    indices = pool.max_indices(x, **g.pool())
    assert np.array_equal(pool.max_forward(x, **g.pool()), ty.detach().numpy())
    assert np.array_equal(indices, ti.numpy())
    close(pool.max_backward(dy, indices, g.spatial), tx.grad.numpy())


@FAST
@given(geometries(pooling=True, symmetric=True, dilated=False), st.booleans())
def test_average_equals_torch(g: Geometry, counted: bool) -> None:
    torch = pytest.importorskip("torch", reason="the differential test needs torch")
    x, dy = arrays(g)
    tx = torch.tensor(x, requires_grad=True)
    function = getattr(torch.nn.functional, f"avg_pool{len(g.spatial)}d")
    padding = tuple(before for before, _ in g.padding)
    if len(g.spatial) == 3:  # torch refuses an input smaller than the kernel there
        assume(all(size >= k for size, k in zip(g.spatial, g.kernel, strict=True)))
    ty = function(tx, g.kernel, g.stride, padding, g.output != plain(g), counted)
    ty.backward(torch.tensor(dy))
    close(pool.average_forward(x, **g.pool(), count_include_pad=counted), ty.detach().numpy())
    back = pool.average_backward(dy, g.spatial, **g.pool(), count_include_pad=counted)
    close(back, tx.grad.numpy())


def plain(g: Geometry) -> tuple[int, ...]:
    """Return the output without ceil mode; where it is the same, the mode makes no difference."""
    return tuple(
        direct.output_size(size, kernel, stride, pads, dilation, False)
        for size, kernel, stride, pads, dilation in zip(
            g.spatial, g.kernel, g.stride, g.padding, g.dilation, strict=True
        )
    )


@pytest.mark.parametrize(
    "dtype",
    [np.float16, np.float32, np.complex128, np.int8, np.uint8, np.int64, np.uint16, np.bool_],
)
def test_max_keeps_dtype(dtype: type[np.generic]) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-100, 100, (2, 3, 7, 6)).astype(dtype)
    g: dict[str, Any] = {
        "kernel": (3, 2),
        "stride": (2, 1),
        "padding": ((1, 1), (1, 0)),
        "dilation": (1, 2),
        "output": (4, 5),
    }
    dy = np.ones((2, 3, 4, 5), np.float32)
    expected = direct.max_pool(
        x.real.astype(float), dy, g["kernel"], g["stride"], g["padding"], g["dilation"]
    )
    y = pool.max_forward(x, **g)
    assert y.dtype == dtype
    assert np.array_equal(y, expected[0].astype(dtype))
    assert np.array_equal(pool.max_winners(x, **g), expected[2])
    dx = pool.max_backward(dy, pool.max_indices(x, **g), (7, 6))
    assert dx.dtype == np.float32
    assert np.array_equal(dx, expected[1])
    if np.dtype(dtype).kind in "fc":
        average = pool.average_forward(x, **g, count_include_pad=True)
        assert average.dtype == dtype
        again = pool.average_backward(average, (7, 6), **g, count_include_pad=False)
        assert again.dtype == dtype


def test_wide_kernel_needs_a_wider_number() -> None:
    x = np.arange(300.0).reshape(1, 1, 300)
    g: dict[str, Any] = {
        "kernel": (290,),
        "stride": (5,),
        "padding": ((0, 0),),
        "dilation": (1,),
        "output": (3,),
    }
    winners = pool.max_winners(x, **g)
    assert winners.tolist() == [[[289, 289, 289]]]
    assert pool.max_indices(x, **g).tolist() == [[[289, 294, 299]]]


def test_dy_that_is_not_finite_stays_with_its_winner() -> None:
    g: dict[str, Any] = {
        "kernel": (2,),
        "stride": (2,),
        "padding": ((0, 0),),
        "dilation": (1,),
        "output": (2,),
    }
    indices = pool.max_indices(np.array([[[1.0, 2, 4, 3]]]), **g)
    dx = pool.max_backward(np.array([[[np.inf, np.nan]]]), indices, (4,))
    assert np.array_equal(dx, [[[0, np.inf, np.nan, 0]]], equal_nan=True)


def test_complex_step_of_the_maximum() -> None:
    rng = np.random.default_rng(8)
    g: dict[str, Any] = {
        "kernel": (2, 3),
        "stride": (1, 2),
        "padding": ((0, 1), (1, 0)),
        "dilation": (1, 1),
        "output": (5, 3),
    }
    x, v = rng.standard_normal((2, 2, 2, 5, 6))
    dy = rng.standard_normal((2, 2, 5, 3))
    moved = (pool.max_forward(x + 1e-20j * v, **g).imag / 1e-20 * dy).sum()
    dx = pool.max_backward(dy, pool.max_indices(x, **g), (5, 6))
    assert abs(moved - (dx * v).sum()) <= 1e-13 * np.abs(dx * v).sum()


def test_noncontiguous_input() -> None:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((6, 5, 3, 2)).T
    g: dict[str, Any] = {
        "kernel": (2, 3),
        "stride": (1, 2),
        "padding": ((0, 1), (1, 0)),
        "dilation": (1, 1),
        "output": (5, 3),
    }
    solid = np.ascontiguousarray(x)
    assert np.array_equal(pool.max_forward(x, **g), pool.max_forward(solid, **g))
    assert np.array_equal(pool.max_winners(x, **g), pool.max_winners(solid, **g))
    one, two = (pool.average_forward(a, **g, count_include_pad=False) for a in (x, solid))
    assert np.array_equal(one, two)


def test_window_of_padding_alone_has_no_winner() -> None:
    g: dict[str, Any] = {
        "kernel": (2,),
        "stride": (1,),
        "padding": ((2, 0),),
        "dilation": (1,),
        "output": (3,),
    }
    x = np.array([[[3.0, 4.0]]])
    assert pool.max_forward(x, **g).tolist() == [[[-np.inf, 3, 4]]]
    assert pool.max_winners(x, **g).tolist() == [[[2, 1, 1]]]  # 2 is none of the offsets 0 and 1
    assert pool.average_forward(x, **g, count_include_pad=False).tolist() == [[[0, 3, 3.5]]]


def test_windows_of_padding_mostly_take_no_memory_for_it() -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 8, 9))
    args: dict[str, Any] = {"kernel": (3, 3), "stride": (1, 1), "padding": ((400, 400), (400, 400))}
    args |= {"dilation": (400, 400), "output": (8, 9)}
    tracemalloc.start()
    try:
        y = pool.max_forward(x, **args)
        mean = pool.average_forward(x, **args, count_include_pad=False)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert np.array_equal(y, x)
    assert np.array_equal(mean, x)


def test_what_wraps_between_rows_stays_out_of_the_results() -> None:
    # Rows are reduced as one run: inf of one row meets -inf of the next in no window.
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    x[0, 0, :, -1], x[0, 0, :, 0] = np.inf, -np.inf
    args: dict[str, Any] = {"kernel": (2, 2), "stride": (1, 1), "padding": ((0, 0), (0, 0))}
    args |= {"dilation": (1, 1), "output": (3, 5)}
    y = pool.average_forward(x, **args, count_include_pad=True)
    expected = (x[..., :-1, :-1] + x[..., 1:, :-1] + x[..., :-1, 1:] + x[..., 1:, 1:]) / 4
    assert not np.isnan(y).any()
    assert np.array_equal(y, expected)

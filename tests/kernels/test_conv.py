from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from cnncli.kernels import conv, threads
from tests.kernels import direct
from tests.kernels.geometry import Geometry, adjoint, close, geometries, tiny_tiles

Array = NDArray[Any]
FAST = settings(deadline=None, derandomize=True, max_examples=250)
MIB = 1 << 20


def arrays(g: Geometry) -> tuple[Array, Array, Array, Array]:
    """Return x, w, b, dy."""
    rng = g.rng()
    x = rng.standard_normal((g.n, g.c, *g.spatial))
    w = rng.standard_normal((g.f, g.c // g.groups, *g.kernel))
    return x, w, rng.standard_normal(g.f), rng.standard_normal((g.n, g.f, *g.output))


@FAST
@given(geometries())
def test_equals_direct_sum(g: Geometry) -> None:
    x, w, b, dy = arrays(g)
    y, dx, dw, db = direct.conv(x, w, b, dy, g.stride, g.padding, g.dilation, g.groups)
    with tiny_tiles(g.small_tiles):
        close(conv.forward(x, w, b, **g.conv()), y)
        close(conv.backward_input(dy, w, g.spatial, **g.conv()), dx)
        close(conv.backward_weight(dy, x, g.kernel, **g.conv()), dw)
        close(conv.backward_bias(dy), db)


@FAST
@given(geometries())
def test_adjoints_and_layout(g: Geometry) -> None:
    x, w, _, dy = arrays(g)
    y = conv.forward(x, w, None, **g.conv())
    dx = conv.backward_input(dy, w, g.spatial, **g.conv())
    dw = conv.backward_weight(dy, x, g.kernel, **g.conv())
    terms = conv.forward(np.abs(x), np.abs(w), None, **g.conv()) * np.abs(dy)
    adjoint(y * dy, x * dx, terms)
    adjoint(y * dy, w * dw, terms)

    def strange(a: Array) -> Array:
        return np.repeat(np.asfortranarray(a), 2, axis=-1)[..., ::-2][..., ::-1]

    assert np.array_equal(conv.forward(strange(x), strange(w), None, **g.conv()), y)
    again = conv.backward_input(strange(dy), strange(w), g.spatial, **g.conv())
    assert np.array_equal(again, dx)
    assert np.array_equal(conv.backward_weight(strange(dy), strange(x), g.kernel, **g.conv()), dw)


@pytest.mark.parametrize(
    ("spatial", "kernel", "pad"),
    [
        ((9,), (4,), 1),
        ((7, 9), (3, 2), 1),
        ((7, 9), (3, 5), 2),
        ((6, 7, 8), (3, 2, 3), 1),
        ((5, 6, 4), (1, 3, 3), 1),
        ((4, 5, 6), (2, 2, 1), 0),
    ],
)
@pytest.mark.parametrize(("c", "f"), [(1, 1), (1, 2), (2, 1)])
def test_depthwise_runs_equal_direct_sum(
    spatial: tuple[int, ...], kernel: tuple[int, ...], pad: int, c: int, f: int
) -> None:
    # Few channels a group, stride 1, and outputs enough to be worth laying out as runs.
    rng, rank, groups = np.random.default_rng(8), len(spatial), 3
    output = tuple(size + 2 * pad - k + 1 for size, k in zip(spatial, kernel, strict=True))
    x = rng.standard_normal((2, groups * c, *spatial))
    w = rng.standard_normal((groups * f, c, *kernel))
    b, dy = rng.standard_normal(groups * f), rng.standard_normal((2, groups * f, *output))
    args: dict[str, Any] = {"stride": (1,) * rank, "padding": ((pad, pad),) * rank}
    args |= {"dilation": (1,) * rank, "groups": groups}
    y, dx, dw, _ = direct.conv(x, w, b, dy, **args)
    close(conv.forward(x, w, b, **args), y)
    close(conv.backward_input(dy, w, spatial, **args), dx)
    close(conv.backward_weight(dy, x, kernel, **args), dw)


@pytest.mark.parametrize(
    ("groups", "pad", "stride"), [(4, 0, 1), (4, 1, 1), (4, 1, 2), (1, 0, 2), (1, 1, 2), (1, 0, 1)]
)
def test_what_is_not_finite_stays_in_its_windows(groups: int, pad: int, stride: int) -> None:
    # Planes large enough for every way of laying windows out; none may multiply an inf that no
    # window holds with a zero of its own. (Padding is zero, and 0 times inf is NaN.)
    rng, c = np.random.default_rng(9), 4 // groups
    x, w = rng.standard_normal((2, 4, 21, 27)), rng.standard_normal((4 * 8, c, 3, 3))
    if groups > 1:
        w = w[:4]
    args: dict[str, Any] = {"stride": (stride,) * 2, "padding": ((pad, pad),) * 2}
    args |= {"dilation": (1, 1), "groups": groups}
    y = conv.forward(x, w, None, **args)
    dy = rng.standard_normal(y.shape)

    def results(x: Array, w: Array) -> tuple[Array, Array, Array]:
        y, dx, dw, _ = direct.conv(x, w, np.zeros(len(w)), dy, **args)
        return y, dx, dw

    for place in ((0, 1, 9, 0), (1, 2, 4, 26), (0, 0, 9, 12)):
        odd = x.copy()
        odd[place] = np.inf
        with np.errstate(invalid="ignore"):
            y, _, dw = results(odd, w)
            got = conv.forward(odd, w, None, **args), conv.backward_weight(dy, odd, (3, 3), **args)
        assert np.array_equal(np.isfinite(got[0]), np.isfinite(y))
        assert np.array_equal(np.isfinite(got[1]), np.isfinite(dw))
    for tap in ((0, 0, 0, 0), (3, c - 1, 2, 1)):
        odd = w.copy()
        odd[tap] = np.inf
        with np.errstate(invalid="ignore"):
            _, dx, _ = results(x, odd)
            found = conv.backward_input(dy, odd, (21, 27), **args)
        assert np.array_equal(np.isfinite(found), np.isfinite(dx))


@FAST
@given(geometries())
def test_equals_torch(g: Geometry) -> None:
    torch = pytest.importorskip("torch", reason="the differential test needs torch")
    x, w, b, dy = arrays(g)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    pads = [p for pair in reversed(g.padding) for p in pair]
    function = getattr(torch.nn.functional, f"conv{len(g.spatial)}d")
    padded = torch.nn.functional.pad(tensors[0], pads)
    ty = function(padded, *tensors[1:], stride=g.stride, dilation=g.dilation, groups=g.groups)
    ty.backward(torch.tensor(dy))
    close(conv.forward(x, w, b, **g.conv()), ty.detach().numpy())
    close(conv.backward_input(dy, w, g.spatial, **g.conv()), tensors[0].grad.numpy())
    close(conv.backward_weight(dy, x, g.kernel, **g.conv()), tensors[1].grad.numpy())


@settings(FAST, max_examples=60)
@given(geometries())
def test_threads_change_no_bit(g: Geometry) -> None:
    x, w, b, dy = arrays(g)
    results = []
    for number in (1, 3):
        threads.set_threads(number)
        with tiny_tiles():
            results.append(
                (
                    conv.forward(x, w, b, **g.conv()),
                    conv.backward_input(dy, w, g.spatial, **g.conv()),
                    conv.backward_weight(dy, x, g.kernel, **g.conv()),
                )
            )
    for one, three in zip(*results, strict=True):
        assert np.array_equal(one, three)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@settings(FAST, max_examples=60)
@given(geometries())
def test_dtypes(dtype: type[np.generic], g: Geometry) -> None:
    x, w, b, dy = arrays(g)
    expected = (
        conv.forward(x, w, b, **g.conv()),
        conv.backward_input(dy, w, g.spatial, **g.conv()),
        conv.backward_weight(dy, x, g.kernel, **g.conv()),
        conv.backward_bias(dy),
    )
    turn: complex = 1
    if dtype is np.complex128:  # every result is linear in each argument: no conjugate, no modulus
        turn = 1j
    x, w, b, dy = (a.astype(dtype) for a in (x, w, b, dy))
    got = (
        conv.forward(x * turn, w, b * turn, **g.conv()),
        conv.backward_input(dy * turn, w, g.spatial, **g.conv()),
        conv.backward_weight(dy * turn, x, g.kernel, **g.conv()),
        conv.backward_bias(dy * turn),
    )
    for a, e in zip(got, expected, strict=True):
        assert a.dtype == dtype
        close(a, e * turn, 1e-5 if dtype is np.float32 else 1e-12)


def test_complex_step_in_one_argument() -> None:
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((2, 4, 5, 4)), rng.standard_normal((6, 2, 2, 3))
    args: dict[str, Any] = {
        "stride": (2, 1),
        "padding": ((1, 0), (0, 2)),
        "dilation": (1, 1),
        "groups": 2,
    }
    for real in (conv.forward(x + 1e-20j, w, None, **args), conv.forward(x, w + 0j, None, **args)):
        close(real.real, conv.forward(x, w, None, **args))
        assert real.dtype == np.complex128


@pytest.mark.parametrize(
    ("x", "w", "groups"),
    [((2, 6, 19, 17), (4, 6, 1, 1), 1), ((2, 6, 19, 17), (9, 2, 1, 1), 3)],
)
def test_pointwise_large_plane(x: tuple[int, ...], w: tuple[int, ...], groups: int) -> None:
    g = Geometry(
        x[0], groups, x[1], w[0], x[2:], (1, 1), (1, 1), ((0, 0),) * 2, (1, 1), x[2:], 1, False
    )
    values, weights, b, dy = arrays(g)
    y, dx, dw, _ = direct.conv(values, weights, b, dy, g.stride, g.padding, g.dilation, groups)
    close(conv.forward(values, weights, b, **g.conv()), y)
    close(conv.backward_input(dy, weights, g.spatial, **g.conv()), dx)
    close(conv.backward_weight(dy, values, g.kernel, **g.conv()), dw)


def test_window_of_padding_alone_gives_the_bias() -> None:
    x, w = np.ones((1, 2, 3)), np.ones((3, 2, 2))
    y = conv.forward(
        x, w, np.array([5.0, 6, 7]), stride=(1,), padding=((4, 3),), dilation=(1,), groups=1
    )
    assert y[0].tolist() == [[b, b, b, b + 2, b + 4, b + 4, b + 2, b, b] for b in (5.0, 6.0, 7.0)]


def test_unread_rows_get_zero() -> None:
    dx = conv.backward_input(
        np.ones((1, 1, 2)),
        np.ones((1, 1, 2)),
        (7,),
        stride=(3,),
        padding=((0, 0),),
        dilation=(1,),
        groups=1,
    )
    assert dx.ravel().tolist() == [1, 1, 0, 1, 1, 0, 0]


def peak(call: Callable[[], Array]) -> int:
    """Return the bytes a call takes at most beyond its result."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "pad", "groups"),
    [
        ((2, 3, 224, 224), (64, 3, 7, 7), 2, 3, 1),
        ((2, 64, 56, 56), (64, 64, 3, 3), 1, 1, 1),
        ((4, 512, 7, 7), (512, 512, 3, 3), 1, 1, 1),
        ((4, 512, 7, 7), (512, 512, 3, 3), 2, 1, 1),
        ((2, 64, 56, 56), (256, 64, 1, 1), 1, 0, 1),
        ((2, 128, 56, 56), (128, 1, 3, 3), 1, 1, 128),
        ((2, 128, 56, 56), (128, 4, 3, 3), 1, 1, 32),
        ((1, 2, 40, 41, 42), (3, 2, 3, 3, 3), 1, 1, 1),
        ((1, 2, 40000), (3, 2, 9), 1, 4, 1),
        ((4, 128, 56, 56), (128, 128, 3, 3), 2, 1, 1),
        ((2, 3, 224, 224), (64, 3, 11, 11), 4, 2, 1),
        ((2, 128, 56, 56), (128, 1, 5, 5), 2, 2, 128),
        ((2, 3, 8, 8), (4, 3, 3, 3), 1, 1, 1),
        ((2, 3, 9, 9), (4, 3, 3, 3), 2, 1, 1),
        ((2, 4, 9, 9), (4, 1, 3, 3), 1, 1, 4),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_workspace_is_bounded(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: int,
    pad: int,
    groups: int,
    dtype: type[np.generic],
) -> None:
    rank = len(x_shape) - 2
    x, w = np.ones(x_shape, dtype), np.ones(w_shape, dtype)
    b = np.ones(w_shape[0], dtype)
    args: dict[str, Any] = {
        "stride": (stride,) * rank,
        "padding": ((pad, pad),) * rank,
        "dilation": (1,) * rank,
        "groups": groups,
    }
    dy = conv.forward(x, w, b, **args)
    bound = conv.workspace_bytes(x_shape, w_shape, dy.shape[2:], groups, x.itemsize)
    assert bound <= 32 * MIB
    assert peak(lambda: conv.forward(x, w, b, **args)) <= bound
    assert peak(lambda: conv.backward_input(dy, w, x_shape[2:], **args)) <= bound
    assert peak(lambda: conv.backward_weight(dy, x, w_shape[2:], **args)) <= bound

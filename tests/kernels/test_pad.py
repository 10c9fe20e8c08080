from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnncli.kernels import pad
from tests.kernels import direct
from tests.kernels.geometry import Pads, adjoint

Array = NDArray[Any]
MODES = ["constant", "reflect", "replicate", "circular", "symmetric"]
FAST = settings(deadline=None, derandomize=True, max_examples=300)


@st.composite
def cases(draw: st.DrawFn, cropping: bool = True) -> tuple[Array, Array, Pads, str]:
    """Return x, dy, padding, mode."""
    mode = draw(st.sampled_from(MODES))
    spatial, padding = [], []
    for _ in range(draw(st.sampled_from([1, 2, 2, 3]))):
        size = draw(st.integers(1, 6))
        crops = [draw(st.integers(0, 2)) if cropping else 0 for _ in range(2)]
        if sum(crops) >= size:
            crops = [0, 0]
        left = size - sum(crops)
        most = {"reflect": left - 1, "symmetric": left, "circular": left}.get(mode, left + 2)
        pads = [-crop if crop else draw(st.integers(0, most)) for crop in crops]
        spatial.append(size)
        padding.append((pads[0], pads[1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    x = rng.standard_normal((*shape, *spatial))
    output = [size + before + after for size, (before, after) in zip(spatial, padding, strict=True)]
    return x, rng.standard_normal((*shape, *output)), tuple(padding), mode


@FAST
@given(cases())
def test_equals_direct(case: tuple[Array, Array, Pads, str]) -> None:
    x, dy, padding, mode = case
    y, dx = direct.pad(x, dy, padding, mode, 1.5)
    assert np.array_equal(pad.forward(x, padding, mode, 1.5), y)
    kept = dy.copy()
    got = pad.backward(dy, x.shape[2:], padding, mode)
    assert np.array_equal(dy, kept)  # the argument is not the workspace
    assert got.shape == dx.shape
    assert np.abs(got - dx).max() <= 1e-12 * max(1, np.abs(dx).max())


@FAST
@given(cases())
def test_adjoint(case: tuple[Array, Array, Pads, str]) -> None:
    x, dy, padding, mode = case
    y = pad.forward(x, padding, mode, 0)
    dx = pad.backward(dy, x.shape[2:], padding, mode)
    adjoint(y * dy, x * dx, np.abs(y * dy))


@FAST
@given(cases(cropping=False))
def test_equals_numpy_and_torch(case: tuple[Array, Array, Pads, str]) -> None:
    x, dy, padding, mode = case
    names = {"replicate": "edge", "circular": "wrap"}
    every: Any = ((0, 0), (0, 0), *padding)
    name: Any = names.get(mode, mode)
    y = pad.forward(x, padding, mode, 0)
    assert np.array_equal(y, np.pad(x, every, mode=name))
    torch = pytest.importorskip("torch", reason="the differential test needs torch")
    if mode == "symmetric":  # torch has no such mode
        return
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.pad(tx, [p for pair in reversed(padding) for p in pair], mode)
    ty.backward(torch.tensor(dy))
    assert np.array_equal(y, ty.detach().numpy())
    dx = pad.backward(dy, x.shape[2:], padding, mode)
    assert np.abs(dx - tx.grad.numpy()).max() <= 1e-12 * np.abs(dx).max()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.uint8, np.float16, np.float32, np.complex128]
)
def test_keeps_dtype(dtype: type[np.generic], mode: str) -> None:
    x = np.arange(24).reshape(1, 2, 3, 4).astype(dtype)
    y = pad.forward(x, ((1, 2), (-1, 1)), mode, 1)
    assert y.dtype == dtype
    assert np.array_equal(y[:, :, 1:-2, :-1], x[:, :, :, 1:])
    if np.dtype(dtype).kind in "fc":
        assert pad.backward(y, (3, 4), ((1, 2), (-1, 1)), mode).dtype == dtype


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        ("constant", [9, 9, 1, 2, 3, 9]),
        ("reflect", [3, 2, 1, 2, 3, 2]),
        ("replicate", [1, 1, 1, 2, 3, 3]),
        ("circular", [2, 3, 1, 2, 3, 1]),
        ("symmetric", [2, 1, 1, 2, 3, 3]),
    ],
)
def test_by_hand(mode: str, row: list[int]) -> None:
    x = np.array([[[1, 2, 3]]])
    assert pad.forward(x, ((2, 1),), mode, 9).tolist() == [[row]]
    # cropping comes first: the border reads what is left
    longer = np.array([[[1, 2, 3, 4]]])
    assert pad.forward(longer, ((2, -1),), mode, 9).tolist() == [[row[:-1]]]


def test_noncontiguous() -> None:
    x = np.arange(120.0).reshape(5, 4, 3, 2).T
    for mode in MODES:
        padding = ((1, 2), (2, 0))
        y = pad.forward(x, padding, mode, 0)
        assert np.array_equal(y, pad.forward(np.ascontiguousarray(x), padding, mode, 0))
        dx = pad.backward(np.asfortranarray(y), (4, 5), padding, mode)
        assert np.array_equal(dx, pad.backward(y, (4, 5), padding, mode))

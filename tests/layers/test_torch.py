"""Shapes, outputs and gradients against torch, on the command's own path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.errors import CnncliError
from cnncli.runs.result import Result
from tests.extras import optional
from tests.layers.cases import run, sized

torch = optional("torch")
functional = torch.nn.functional

SETTINGS = settings(deadline=None, derandomize=True, max_examples=120)
TOLERANCE = 1e-12


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Window:
    """A sliding window's geometry, symmetric in padding as torch wants it."""

    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.spatial)

    @property
    def params(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation")
        return {name: list(getattr(self, name)) for name in names}

    @property
    def torchs(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}


@st.composite
def windows(draw: st.DrawFn, pooling: bool = False) -> Window:
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    rows = []
    for _ in range(rank):
        kernel = draw(st.integers(1, 3))
        pad = draw(st.integers(0, kernel // 2 if pooling else 3))
        size = draw(st.integers(1, 5 if rank == 3 else 9))
        rows.append((size, kernel, draw(st.integers(1, 3)), pad, draw(st.integers(1, 2))))
    return Window(*zip(*rows, strict=True))


def attempt(call: Any) -> Any:
    """Return what a call gives, or None where it refuses."""
    try:
        return call()
    except (CnncliError, RuntimeError, ValueError):
        return None


def given_to_torch(result: Result, *names: str) -> list[Any]:
    return [
        torch.tensor(result.tensors[name].array, requires_grad=True)
        if name in result.tensors
        else None
        for name in names
    ]


def agree(result: Result, y: Any, **inputs: Any) -> None:
    """Assert that y, and the gradient of every input for the case's dy, are torch's."""
    y.backward(torch.tensor(result.tensors["dy"].array))
    near(result, "y", y.detach())
    for name, tensor in inputs.items():
        if tensor is None:
            assert "d" + name not in result.tensors
        else:
            near(result, "d" + name, tensor.grad)


def near(result: Result, name: str, theirs: Any) -> None:
    ours, other = result.tensors[name].array, theirs.numpy()
    assert ours.shape == other.shape
    assert ours.dtype == other.dtype
    worst = np.abs(ours - other).max()
    assert worst <= TOLERANCE * max(1.0, np.abs(other).max()), (name, worst)


@SETTINGS
@given(windows(), st.sampled_from([1, 1, 2, 3]), st.integers(1, 3), st.integers(1, 3), st.data())
def test_conv(window: Window, groups: int, c: int, f: int, data: st.DataObject) -> None:
    n, bias = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    filters = f * groups if data.draw(st.integers(0, 5)) else f
    x, w = (n, c * groups, *window.spatial), (filters, c, *window.kernel)
    tensors = {"x": sized("normal", *x), "w": sized("normal", *w), "dy": "normal"}
    tensors |= {"b": "normal"} if bias else {}
    theirs = getattr(functional, f"conv{window.rank}d")
    ours = attempt(lambda: run("conv", {**window.params, "groups": groups}, tensors))
    shape = attempt(
        lambda: theirs(torch.zeros(x), torch.zeros(w), groups=groups, **window.torchs).shape
    )
    if ours is None or shape is None:
        assert ours is shape
        return
    x_, w_, b_ = given_to_torch(ours, "x", "w", "b")
    agree(ours, theirs(x_, w_, b_, groups=groups, **window.torchs), x=x_, w=w_, b=b_)


@SETTINGS
@given(windows(), st.integers(1, 3), st.integers(1, 3))
def test_conv_same(window: Window, c: int, f: int) -> None:
    tensors = {"x": sized("normal", 2, c, *window.spatial), "dy": "normal"}
    tensors["w"] = sized("normal", f, c, *window.kernel)
    ours = run("conv", {"padding": "same", "dilation": list(window.dilation)}, tensors)
    x, w = given_to_torch(ours, "x", "w")
    agree(ours, _same(window, x, w), x=x, w=w)


def _same(window: Window, x: Any, w: Any) -> Any:
    pads = []
    for k, d in reversed(list(zip(window.kernel, window.dilation, strict=True))):
        total = d * (k - 1)
        pads += [total // 2, total - total // 2]
    padded = functional.pad(x, pads)
    return getattr(functional, f"conv{window.rank}d")(padded, w, dilation=window.dilation)


@SETTINGS
@given(windows(), st.sampled_from([1, 1, 2]), st.integers(1, 3), st.integers(1, 3), st.data())
def test_conv_transposed(window: Window, groups: int, c: int, f: int, data: st.DataObject) -> None:
    extra = [data.draw(st.sampled_from([0, 0, 1, 2])) for _ in range(window.rank)]
    x, w = (2, c * groups, *window.spatial), (c * groups, f, *window.kernel)
    tensors = {"x": sized("normal", *x), "w": sized("normal", *w), "b": "normal", "dy": "normal"}
    params = {"transposed": True, "output_padding": extra, "groups": groups, **window.params}
    theirs = getattr(functional, f"conv_transpose{window.rank}d")
    options = {"groups": groups, "output_padding": tuple(extra), **window.torchs}
    ours = attempt(lambda: run("conv", params, tensors))
    shape = attempt(lambda: theirs(torch.zeros(x), torch.zeros(w), **options).shape)
    if ours is None or shape is None:
        assert ours is None
        assert shape is None or 0 in shape
        return
    x_, w_, b_ = given_to_torch(ours, "x", "w", "b")
    agree(ours, theirs(x_, w_, b_, **options), x=x_, w=w_, b=b_)


@SETTINGS
@given(windows(pooling=True), st.booleans(), st.integers(1, 3))
def test_max_pool(window: Window, ceil_mode: bool, c: int) -> None:
    x = (2, c, *window.spatial)
    params = {"kernel": list(window.kernel), "ceil_mode": ceil_mode, **window.params}
    theirs = getattr(functional, f"max_pool{window.rank}d")
    options = {"kernel_size": window.kernel, "ceil_mode": ceil_mode, **window.torchs}
    fault = ""
    try:
        ours = run("pool", params, {"x": sized("distinct", *x), "dy": "normal"})
    except CnncliError as error:
        fault = str(error)
    y = attempt(lambda: theirs(torch.ones(x), **options))
    if fault or y is None:
        # torch gives minus infinity where a dilated window holds padding alone.
        assert fault
        assert y is None or ("padding alone" in fault and bool(torch.isinf(y).any()))
        return
    (x_,) = given_to_torch(ours, "x")
    y, indices = theirs(x_, return_indices=True, **options)
    agree(ours, y, x=x_)
    assert np.array_equal(ours.tensors["indices"].array, indices.numpy())


@SETTINGS
@given(windows(pooling=True), st.booleans(), st.booleans(), st.integers(1, 3))
def test_average_pool(window: Window, ceil_mode: bool, counted: bool, c: int) -> None:
    x = (2, c, *window.spatial)
    params = {"kernel": list(window.kernel), "ceil_mode": ceil_mode, **window.params}
    params |= {"mode": "avg", "count_include_pad": counted, "dilation": 1}
    theirs = getattr(functional, f"avg_pool{window.rank}d")
    options = {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "ceil_mode": ceil_mode,
        "count_include_pad": counted,
    }
    ours = attempt(lambda: run("pool", params, {"x": sized("normal", *x), "dy": "normal"}))
    y = attempt(lambda: theirs(torch.ones(x), **options))
    if ours is None or y is None:
        # In 3-D torch also refuses a window above the input that fits the padded one.
        smaller = any(size < k for size, k in zip(window.spatial, window.kernel, strict=True))
        assert ours is y or (y is None and window.rank == 3 and smaller)
        return
    (x_,) = given_to_torch(ours, "x")
    agree(ours, theirs(x_, **options), x=x_)


@SETTINGS
@given(windows(), st.integers(1, 3), st.integers(2, 3), st.booleans(), st.booleans(), st.data())
def test_batch_norm(
    window: Window, c: int, n: int, training: bool, affine: bool, data: st.DataObject
) -> None:
    x = (n, c, *window.spatial)
    momentum, eps = data.draw(st.floats(0.01, 1)), data.draw(st.sampled_from([1e-5, 1e-3, 0.5]))
    tensors = {"x": sized("normal", *x) + ",loc=3,scale=2", "dy": "normal"}
    tensors |= {"gamma": "normal", "beta": "normal"} if affine else {}
    tensors |= {"running_mean": "normal", "running_var": "uniform"}
    params = {"training": training, "eps": eps} | ({"momentum": momentum} if training else {})
    ours = run("bn", params, tensors)
    mean, var = (
        torch.tensor(ours.tensors[name].array.copy()) for name in ("running_mean", "running_var")
    )
    x_, gamma, beta = given_to_torch(ours, "x", "gamma", "beta")
    y = functional.batch_norm(x_, mean, var, gamma, beta, training, momentum, eps)
    agree(ours, y, x=x_, gamma=gamma, beta=beta)
    if training:
        near(ours, "new_running_mean", mean)
        near(ours, "new_running_var", var)


MODES = ("constant", "reflect", "replicate", "circular")


@SETTINGS
@given(windows(), st.sampled_from(MODES), st.data())
def test_pad(window: Window, mode: str, data: st.DataObject) -> None:
    low = -2 if mode == "constant" else 0
    pairs = [[data.draw(st.integers(low, 4)) for _ in range(2)] for _ in window.spatial]
    x = (2, 3, *window.spatial)
    flat = [number for pair in reversed(pairs) for number in pair]
    params = {"padding": pairs, "mode": mode} | ({"value": 1.5} if mode == "constant" else {})
    value = {"value": 1.5} if mode == "constant" else {}
    ours = attempt(lambda: run("pad", params, {"x": sized("normal", *x), "dy": "normal"}))
    shape = attempt(lambda: functional.pad(torch.zeros(x), flat, mode=mode, **value).shape)
    # Ours crops first and then needs a row to pad from; torch also takes 1:-1 of one row.
    axes = zip(window.spatial, pairs, strict=True)
    emptied = any(size + min(a, 0) + min(b, 0) < 1 for size, (a, b) in axes)
    if ours is None or shape is None:
        assert ours is None
        assert shape is None or emptied
        return
    (x_,) = given_to_torch(ours, "x")
    agree(ours, functional.pad(x_, flat, mode=mode, **value), x=x_)

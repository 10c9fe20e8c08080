"""Kernels at the tiles' real sizes, on up to three threads, against torch in float64.

The kernels' own tests shrink the tiles; here the arrays are large enough to be cut. `python -m
tests.suites.test_tiles SECONDS [SEED]` goes on for longer.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cnncli.kernels import batchnorm, conv, pool, threads
from tests.extras import optional

Array = NDArray[Any]
LARGEST = {1: 3000, 2: 70, 3: 16}
MANY_ELEMENTS, MANY_PRODUCTS = 4e6, 3e8


class Draw:
    """One random geometry and its arrays."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rank = rank = self.one(1, 2, 2, 2, 3)
        self.groups = self.one(1, 1, 2, 8, 32)
        grouped = self.groups > 1
        self.c = self.one(1, 1, 2, 3) if grouped else self.one(1, 3, 8, 40)
        self.f = self.one(1, 1, 2, 4, 5) if grouped else self.one(1, 3, 40, 130)
        self.kernel = self.each(1, 1, 2, 3, 3, 5, 7)
        self.stride = (1,) * rank if self.one(0, 1) else self.each(1, 1, 2, 3, 4)
        self.dilation = self.each(1, 1, 1, 2, 3)
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        self.pads = tuple(self.one(span // 2, int(rng.integers(0, span + 1))) for span in spans)
        self.spatial = tuple(
            max(1, span - 2 * pad) + int(rng.integers(0, LARGEST[rank]))
            for span, pad in zip(spans, self.pads, strict=True)
        )
        self.output = tuple(
            (size + 2 * pad - span) // s + 1
            for size, pad, span, s in zip(self.spatial, self.pads, spans, self.stride, strict=True)
        )
        self.n = int(rng.integers(1, 7))
        self.dtype = [np.float32, np.float64][self.one(0, 1)]
        self.tolerance = 1e-12 if self.dtype is np.float64 else 3e-5

    def one(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def each(self, *choices: int) -> tuple[int, ...]:
        return tuple(self.one(*choices) for _ in range(self.rank))

    def array(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(self.dtype)

    @property
    def too_large(self) -> bool:
        elements = (
            self.n * self.groups * max(self.c * _size(self.spatial), self.f * _size(self.output))
        )
        products = self.n * self.groups * self.f * self.c * _size(self.output) * _size(self.kernel)
        return elements > MANY_ELEMENTS or products > MANY_PRODUCTS

    def close(self, got: Array, expected: Any, times: float = 1) -> None:
        wanted = expected.detach().numpy()
        assert got.shape == wanted.shape, vars(self)
        assert got.dtype == self.dtype
        error = np.abs(got - wanted).max(initial=0)
        assert error <= times * self.tolerance * np.abs(wanted).max(initial=1e-30), vars(self)


def compare(rng: np.random.Generator, torch: Any) -> bool:
    """Compare one random geometry; tell whether it was of a size to compute."""
    draw = Draw(rng)
    if draw.too_large:
        return False
    threads.set_threads(draw.one(1, 2, 3))
    x = draw.array(draw.n, draw.groups * draw.c, *draw.spatial)
    _compare_conv(draw, torch, x)
    if all(size >= k for size, k in zip(draw.spatial, draw.kernel, strict=True)):
        _compare_pool(draw, torch, x)
    if draw.n * _size(draw.spatial) > 20:
        _compare_batchnorm(draw, torch, x)
    return True


def _compare_conv(draw: Draw, torch: Any, x: Array) -> None:
    w = draw.array(draw.groups * draw.f, draw.c, *draw.kernel)
    b, dy = draw.array(len(w)), draw.array(draw.n, len(w), *draw.output)
    leaves = [_leaf(torch, a) for a in (x, w, b)]
    windows: dict[str, Any] = {"stride": draw.stride, "dilation": draw.dilation}
    windows["groups"] = draw.groups
    y = getattr(torch.nn.functional, f"conv{draw.rank}d")(*leaves, padding=draw.pads, **windows)
    y.backward(torch.from_numpy(dy).double())
    padding = tuple((pad, pad) for pad in draw.pads)
    draw.close(conv.forward(x, w, b, padding=padding, **windows), y)
    dx = conv.backward_input(dy, w, draw.spatial, padding=padding, **windows)
    draw.close(dx, leaves[0].grad)
    dw = conv.backward_weight(dy, x, draw.kernel, padding=padding, **windows)
    draw.close(dw, leaves[1].grad, 30)


def _compare_pool(draw: Draw, torch: Any, x: Array) -> None:
    pads, ceil = tuple(min(k // 2, draw.one(0, 1, 2)) for k in draw.kernel), bool(draw.one(0, 1))
    for mode in ("avg", "max"):
        leaf = _leaf(torch, x)
        function = getattr(torch.nn.functional, f"{mode}_pool{draw.rank}d")
        more = {"count_include_pad": False} if mode == "avg" else {"return_indices": True}
        result = function(leaf, draw.kernel, draw.stride, pads, ceil_mode=ceil, **more)
        y, indices = (result, None) if mode == "avg" else result
        dy = draw.array(*y.shape)
        y.backward(torch.from_numpy(dy).double())
        windows: dict[str, Any] = {"kernel": draw.kernel, "stride": draw.stride}
        windows |= {"padding": tuple((pad, pad) for pad in pads), "output": tuple(y.shape[2:])}
        windows["dilation"] = (1,) * draw.rank
        if indices is None:
            windows["count_include_pad"] = False
            draw.close(pool.average_forward(x, **windows), y)
            draw.close(pool.average_backward(dy, draw.spatial, **windows), leaf.grad)
            continue
        draw.close(pool.max_forward(x, **windows), y, 0)
        places = pool.max_indices(x, **windows)
        assert np.array_equal(places, indices.numpy()), vars(draw)
        draw.close(pool.max_backward(dy, places, draw.spatial), leaf.grad)


def _compare_batchnorm(draw: Draw, torch: Any, x: Array) -> None:
    gamma, beta, dy = draw.array(x.shape[1]), draw.array(x.shape[1]), draw.array(*x.shape)
    leaves = [_leaf(torch, a) for a in (x, gamma, beta)]
    y = torch.nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], True, 0.1, 1e-5)
    y.backward(torch.from_numpy(dy).double())
    got, mean, var = batchnorm.forward_training(x, gamma, beta, 1e-5)
    draw.close(got, y, 10)
    gradients = batchnorm.backward_training(dy, x, gamma, mean, var, 1e-5)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        draw.close(gradient, leaf.grad, 100)


def _leaf(torch: Any, array: Array) -> Any:
    return torch.from_numpy(array).double().requires_grad_(True)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


@pytest.mark.parametrize("seed", range(4))
def test_kernels_equal_torch_where_tiles_are_cut(seed: int) -> None:
    torch = optional("torch")
    rng = np.random.default_rng(seed)
    assert sum(compare(rng, torch) for _ in range(60)) > 30


def main(seconds: float, seed: int) -> None:
    """Compare until the time is over, and print how much was compared."""
    torch = optional("torch")
    rng, end, done = np.random.default_rng(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        done += compare(rng, torch)
    print(f"{done} geometries agree with torch")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)

"""Random geometries for the kernels' tests, and the comparisons that they are judged by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnncli.kernels import batchnorm, conv, depthwise, phases, pool, weights
from tests.kernels import direct

Array = NDArray[Any]
Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Geometry:
    """One call's geometry, and the seed of its arrays."""

    n: int
    groups: int
    c: int
    f: int
    spatial: Ints
    kernel: Ints
    stride: Ints
    padding: Pads
    dilation: Ints
    output: Ints
    seed: int
    small_tiles: bool

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def conv(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def pool(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "output": self.output,
        }


@st.composite
def geometries(
    draw: st.DrawFn, pooling: bool = False, symmetric: bool = False, dilated: bool = True
) -> Geometry:
    """Draw uneven axes, asymmetric padding, remainder rows; to pool, ceil mode, no empty window."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    ceil = pooling and draw(st.booleans())
    unit = draw(st.integers(0, 3)) == 0  # stride 1 on every axis has a path of its own
    axes = []
    for _ in range(rank):
        kernel = draw(st.integers(1, 3))
        stride = 1 if unit else draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 2)) if dilated else 1
        span = dilation * (kernel - 1) + 1
        most = kernel // 2 if pooling else span + 1
        before = draw(st.integers(0, most))
        after = before if symmetric else draw(st.integers(0, most))
        size = max(1, span - before - after) + draw(st.integers(0, 3 if rank == 3 else 7))
        output = direct.output_size(size, kernel, stride, (before, after), dilation, ceil)
        if pooling:  # every window has a real element
            real = {
                o[0]
                for o, _, _ in direct.places(
                    (size,), (kernel,), (stride,), ((before, after),), (dilation,), (output,)
                )
            }
            assume(len(real) == output)
        axes.append((size, kernel, stride, (before, after), dilation, output))
    spatial, kernels, strides, padding, dilations, outputs = zip(*axes, strict=True)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return Geometry(
        n=draw(st.integers(1, 3)),
        groups=groups,
        c=groups * draw(st.integers(1, 3)),
        f=groups * draw(st.sampled_from([1, 2, 3, 5])),
        spatial=spatial,
        kernel=kernels,
        stride=strides,
        padding=padding,
        dilation=dilations,
        output=outputs,
        seed=draw(st.integers(0, 2**32 - 1)),
        small_tiles=draw(st.booleans()),
    )


@contextmanager
def tiny_tiles(wanted: bool = True) -> Iterator[None]:
    """Make the kernels cut even small arrays into many tiles."""
    sizes: dict[Any, dict[str, Any]] = {
        conv: {
            "BLOCK_BYTES": 200,
            "BLOCK_POSITIONS": 5,
            "LIMIT_BYTES": 2000,
        },
        depthwise: {"TILE_BYTES": 150, "SMALL": 0},
        phases: {"COLUMN_BYTES": 300, "TILE_BYTES": 400, "ROWS": 4, "WASTE": 4, "SMALL": 0},
        weights: {
            "COLUMN_BYTES": 400,
            "DY_BYTES": 300,
            "ROWS": 5,
            "FILTERS": 2,
            "SMALL": 0,
            "POINTWISE": 6,
        },
        pool: {"TILE_BYTES": 300},
        batchnorm: {"TILE_BYTES": 100, "LONG": 6},
    }
    with ExitStack() as stack:
        for module, values in sizes.items():
            if wanted:
                stack.enter_context(mock.patch.multiple(module, **values))
        yield


def close(got: Array, expected: Array, tolerance: float = 1e-12) -> None:
    """Assert shape, and every element to `tolerance` of the largest expected one."""
    assert got.shape == expected.shape
    if not expected.size:
        return
    worst = float(np.abs(got - expected).max())
    assert worst <= tolerance * max(float(np.abs(expected).max()), 1e-3), worst


def adjoint(left: Array, right: Array, terms: Array) -> None:
    """Assert that two inner products are equal to 1e-14 of the sum of their absolute terms."""
    assert abs(left.sum() - right.sum()) <= 1e-14 * terms.sum()

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.kernels import windows
from cnncli.kernels.buffer import Buffer
from tests.kernels import direct
from tests.kernels.geometry import Geometry, adjoint, geometries

FAST = settings(deadline=None, derandomize=True, max_examples=200)


@FAST
@given(
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(1, 3),
    st.booleans(),
)
def test_output_size_counts_windows(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil: bool
) -> None:
    got = windows.output_size(size, kernel, stride, before, after, dilation, ceil)
    if windows.extent(kernel, dilation) <= size + before + after:
        pads = (before, after)
        assert got == direct.output_size(size, kernel, stride, pads, dilation, ceil)
    elif not ceil:
        assert got <= 0


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((23, 6, 3, 2, 2, 1, False), 8),
        ((224, 7, 2, 2, 3, 1, False), 112),
        ((5, 2, 2, 0, 0, 1, False), 2),
        ((5, 2, 2, 0, 0, 1, True), 3),
        # the third window would start in the right padding: dropped (pytorch#183528, onnx#4958)
        ((4, 1, 3, 0, 1, 1, True), 2),
        ((2, 3, 2, 0, 0, 1, True), 1),
        ((2, 3, 1, 0, 0, 1, False), 0),
    ],
)
def test_output_size_by_hand(
    arguments: tuple[int, int, int, int, int, int, bool], count: int
) -> None:
    assert windows.output_size(*arguments) == count


@FAST
@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(-6, 6),
    st.integers(0, 8),
    st.integers(0, 9),
)
def test_valid_range(size: int, stride: int, before: int, shift: int, output: int) -> None:
    start, stop, taken = windows.valid_range(size, stride, before, shift, output)
    reads = {o: o * stride + shift - before for o in range(output)}
    real = {o: i for o, i in reads.items() if 0 <= i < size}
    assert list(range(start, stop)) == list(real)
    assert list(range(size))[taken] == list(real.values())


@FAST
@given(geometries())
def test_gather_and_scatter(g: Geometry) -> None:
    rng = g.rng()
    where = windows.windows(g.spatial, g.kernel, g.stride, g.padding, g.dilation, g.output)
    x = rng.standard_normal((g.n, g.c, *g.spatial))
    got = np.full((g.c, *g.kernel, g.n, *g.output), np.nan)
    windows.gather(x, where, got, Buffer(x.dtype))
    expected = np.zeros(got.shape)
    for o, k, i in direct.places(g.spatial, g.kernel, g.stride, g.padding, g.dilation, g.output):
        expected[(slice(None), *k, slice(None), *o)] = x[(..., *i)].T
    assert np.array_equal(got, expected)

    columns = rng.standard_normal(got.shape)
    dx = np.zeros(x.shape)
    windows.scatter_add(columns, where, dx)
    adjoint(got * columns, x * dx, np.abs(got * columns))


@FAST
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 60))
def test_tiles_cover_once_in_runs(shape: list[int], most: int) -> None:
    numbers = np.arange(np.prod(shape)).reshape(shape)
    boxes = [numbers[box].ravel().tolist() for box in windows.tiles(tuple(shape), most)]
    assert [number for box in boxes for number in box] == numbers.ravel().tolist()
    assert max(map(len, boxes)) <= most


def test_counts() -> None:
    # size 3 with one zero before: windows at -1, 1, 3 of two elements
    assert windows.counts(3, 2, 2, 1, 1, 3) == [1, 2, 0]

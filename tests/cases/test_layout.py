"""NHWC outside: the same numbers as NCHW, axes moved; judged by torch-free transposes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.errors import GeometryError
from tests.building import result_of

MOVES = {"w": (2, 3, 1, 0), "dw": (2, 3, 1, 0)}


def _moved(name: str, array: Any) -> Any:
    return array.transpose(MOVES.get(name, (0, 2, 3, 1))) if array.ndim == 4 else array


CASES: list[tuple[str, dict[str, Any], dict[str, tuple[int, ...]]]] = [
    (
        "conv",
        {"stride": [2, 1], "padding": [[0, 1], [2, 0]]},
        {"x": (2, 3, 7, 6), "w": (4, 3, 3, 2), "b": (4,)},
    ),
    (
        "conv",
        {"stride": [2, 3], "transposed": True, "groups": 2},
        {"x": (2, 4, 3, 5), "w": (4, 3, 3, 2)},
    ),
    ("pool", {"kernel": [3, 2], "stride": 1}, {"x": (2, 3, 7, 6)}),
    ("bn", {}, {"x": (2, 3, 7, 6), "gamma": (3,)}),
    ("pad", {"padding": [[1, 0], [2, 3]], "mode": "reflect"}, {"x": (2, 3, 7, 6)}),
]


@pytest.mark.parametrize("layer, params, shapes", CASES)
def test_nhwc_is_nchw_moved(layer: str, params: Any, shapes: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    inside = result_of(layer, params, _saved(arrays, tmp_path / "nchw"), backward=True)
    arrays["dy"] = inside.tensors["dy"].array
    moved = {name: _moved(name, array) for name, array in arrays.items()}
    outside = result_of(layer, params, _saved(moved, tmp_path / "nhwc"), layout="nhwc")
    assert set(outside.tensors) == set(inside.tensors)
    for name, tensor in inside.tensors.items():
        np.testing.assert_array_equal(outside.tensors[name].array, _moved(name, tensor.array))


def _saved(arrays: dict[str, Any], folder: Path) -> dict[str, str]:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {name: str(folder / f"{name}.npy") for name in arrays}


def test_checks_stand_where_the_layout_has_them() -> None:
    """channel_mean is over the last axis, and worst places index the array as it is shown."""
    x = {"values": [[[[1, 10], [2, 20], [3, 30]]]]}  # (N, H, W, C) = (1, 1, 3, 2)
    found = result_of(
        "pad",
        {"padding": 0},
        {"x": x},
        layout="nhwc",
        expect={
            "y": [{"channel_mean": [2, 20]}, {"values": [[[[1, 10], [2, 20], [3, 31]]]]}],
        },
    )
    mean, values = found.checks
    assert mean.verdict == "pass"
    assert values.verdict == "fail"
    assert values.worst is not None
    assert values.worst.index == (0, 0, 2, 1)


def test_gradcheck_places_its_worst_element_outside(tmp_path: Path) -> None:
    dx = np.zeros((1, 2, 3, 4))
    dx[0, 1, 2, 3] = 100
    np.save(tmp_path / "dx.npy", dx)
    found = result_of(
        "pad",
        {"padding": 0},
        {"x": "normal:1x2x3x4", "dy": "zeros"},
        layout="nhwc",
        expect={"dx": {"npy": str(tmp_path / "dx.npy")}},
        gradcheck=True,
    )
    theirs = next(check for check in found.checks if check.subject == "expected")
    assert theirs.verdict == "fail"
    assert theirs.worst is not None
    assert theirs.worst.index == (0, 1, 2, 3)


def test_a_mismatch_that_nhwc_would_cure_says_so() -> None:
    with pytest.raises(GeometryError, match="--layout nhwc these shapes fit: x 2x3x7x6, w 4x3x3x2"):
        result_of("conv", {}, {"x": "normal:2x7x6x3", "w": "normal:3x2x3x4"})
    with pytest.raises(GeometryError) as error:
        result_of("conv", {}, {"x": "normal:2x7x6x3", "w": "normal:4x5x2x2"})
    assert "nhwc" not in error.value.message

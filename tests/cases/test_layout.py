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
    found = result_of(layer, params, _saved(moved, tmp_path / "nhwc"), layout="nhwc")
    assert set(found.tensors) == set(inside.tensors)
    for name, tensor in inside.tensors.items():
        outside = _moved(name, tensor.array)
        np.testing.assert_array_equal(found.tensors[name].outside, outside)
        assert found.tensors[name].shape == outside.shape
        np.testing.assert_array_equal(found.tensors[name].array, tensor.array)


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


def test_at_and_squares_stand_where_the_layout_has_them() -> None:
    """`at` counts the axes of the layout, and so do the places of what it finds there."""
    x = np.arange(2 * 3 * 4 * 2.0).reshape(2, 3, 4, 2)  # (N, H, W, C)
    other = x.copy()
    other[1, 2, 0, 1] += 5
    found = result_of(
        "pad",
        {"padding": 0},
        {"x": {"values": x.tolist()}},
        layout="nhwc",
        expect={
            "y": [
                {"at": [1, 2], "values": x[1, 2].tolist()},
                {"at": [1, "1:3", 0], "values": other[1, 1:3, 0].tolist()},
                {"at": ["0:1"], "values": x[:1, :, :, :1].tolist()},
                {"shape": [2, 3, 4, 2]},
                {"shape": [2, 2, 3, 4]},
            ]
        },
    )
    right, wrong, slices, shape, other_shape = found.checks
    assert (right.verdict, wrong.verdict, shape.verdict) == ("pass", "fail", "pass")
    assert wrong.worst is not None
    assert wrong.worst.index == (1, 2, 0, 1)
    assert (slices.got, slices.expected) == ([1, 3, 4, 2], [1, 3, 4, 1])
    assert (other_shape.got, other_shape.expected) == ([2, 3, 4, 2], [2, 2, 3, 4])


@pytest.mark.parametrize("gradcheck", [False, True])
def test_a_wrong_shape_is_told_in_the_layout(gradcheck: bool, tmp_path: Path) -> None:
    dx = np.zeros((2, 7, 6, 1))
    np.save(tmp_path / "long.npy", dx[:, :5])
    np.save(tmp_path / "flat.npy", dx[..., 0])
    for name, shape in (("long", "2x5x6x1"), ("flat", "2x7x6")):
        found = result_of(
            "pad",
            {"padding": 0},
            {"x": "normal:2x7x6x1", "dy": "zeros"},
            layout="nhwc",
            backward=True,
            expect={"dx": {"npy": str(tmp_path / f"{name}.npy")}},
            **({"gradcheck": True} if gradcheck else {}),
        )
        wrong = found.checks[-1]
        assert wrong.note is not None
        assert f"ours is 2x7x6x1, the given one {shape}" in wrong.note
        assert [2, 7, 6, 1] in (wrong.got, wrong.expected)
    assert wrong.diagnosis is not None
    assert "2x7x6 should be 2x7x6x1: add the last axis, of length 1" in wrong.diagnosis[0]["cause"]


CONV_NHWC: dict[str, str] = {"x": "normal:2x7x6x3", "w": "normal:3x2x3x4"}


@pytest.mark.parametrize(
    ("layer", "params", "tensors", "message"),
    [
        ("conv", {}, {**CONV_NHWC, "dy": "normal:2x9x8x7"}, "must be 2x5x5x4 .*, but is 2x9x8x7"),
        ("conv", {}, {"x": "normal:2x7x6x3", "w": "normal:3x2x5x4"}, "3x2x5x4.*2x7x6x3"),
        ("conv", {}, {"x": "normal:2x7x6x3", "w": "normal:5x3x4"}, "has 3: 5x3x4"),
        ("conv", {}, {"x": "normal:2x7x6x3"}, "--w normal:3x3x3x4"),
        ("pad", {"padding": 0}, {"x": "normal:2x3x4x5x6x7"}, r"N, 1 to 3 spatial ones and C\).*7$"),
        ("pad", {"padding": 0}, {}, "--x normal:2x8x8x3"),
        (
            "pad",
            {"padding": [[2**31 - 1, 2**31 - 1]] * 2},
            {"x": "normal:1x2x3x2"},
            "1x4294967296x4294967297x2, more",
        ),
        ("conv", {"transposed": True}, {"x": "normal:2x7x6x3", "w": "normal:3x2x4x5"}, "3x2x4x5"),
    ],
)
def test_errors_show_shapes_as_the_layout_has_them(
    layer: str, params: dict[str, Any], tensors: dict[str, str], message: str
) -> None:
    with pytest.raises(GeometryError, match=message):
        result_of(layer, params, tensors, layout="nhwc", backward=True)


def test_a_mismatch_that_nhwc_would_cure_says_so() -> None:
    with pytest.raises(GeometryError, match="--layout nhwc these shapes fit: x 2x3x7x6, w 4x3x3x2"):
        result_of("conv", {}, {"x": "normal:2x7x6x3", "w": "normal:3x2x3x4"})
    with pytest.raises(GeometryError) as error:
        result_of("conv", {}, {"x": "normal:2x7x6x3", "w": "normal:4x5x2x2"})
    assert "nhwc" not in error.value.message


def _hint(**tensors: str) -> str:
    with pytest.raises(GeometryError) as error:
        result_of("conv", {}, tensors, backward=True)
    return error.value.message.partition("; ")[2]


def test_x_alone_may_be_channels_last() -> None:
    """With w as torch has it, --layout nhwc would compute with another kernel than is meant."""
    alone = "with x.transpose(0, 3, 1, 2) w fits as it is: x 2x3x8x9"
    layout = "with --layout nhwc these shapes fit: x 2x3x8x9, w {} as NCHW"
    assert _hint(x="normal:2x8x9x3", w="normal:4x3x2x3") == alone
    square = _hint(x="normal:2x8x9x3", w="normal:4x3x3x3")
    assert square == f"{alone} (kernel 3x3); or {layout.format('3x3x4x3')} (kernel 4x3)"
    last = _hint(x="normal:2x8x9x3", w="normal:3x3x3x4")
    assert last == f"{layout.format('4x3x3x3')} (kernel 3x3); or {alone} (kernel 3x4)"
    with_dy = _hint(x="normal:2x8x9x3", w="normal:4x3x2x3", dy="normal:2x7x7x4")
    assert with_dy == (
        "with x.transpose(0, 3, 1, 2) and the same of dy w fits as it is: x 2x3x8x9, dy 2x4x7x7"
    )
    signal = _hint(x="normal:2x9x3", w="normal:4x3x2")
    assert signal.startswith("with x.transpose(0, 2, 1) w fits as it is: x 2x3x9 (kernel 2); or")


def test_texts_of_checks_name_elements_as_the_layout_has_them(tmp_path: Path) -> None:
    dx = np.zeros((2, 3, 4, 5))
    dx[1, 2, 0, 4] = np.nan
    np.save(tmp_path / "dx.npy", dx)
    found = result_of(
        "pad",
        {"padding": 0},
        {"x": "normal:2x3x4x5", "dy": "zeros"},
        layout="nhwc",
        backward=True,
        expect={"dx": {"npy": str(tmp_path / "dx.npy")}},
    )
    (check,) = found.checks
    assert check.sits is not None
    assert "1 of 120 element is NaN, dx[1,2,0,4] is nan" in check.sits
    found = result_of(
        "conv", {}, {"x": "normal:2x7x6x3", "w": "zeros:3x2x3x4"}, layout="nhwc", gradcheck=True
    )
    notes = [check.note for check in found.checks if check.note]
    assert any(note.endswith("such as --w normal:3x2x3x4") for note in notes)

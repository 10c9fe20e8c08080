from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import CnncliError, MemoryBoundError
from cnncli.runs.one import run_case
from cnncli.runs.options import RunOptions
from tests.layers.cases import entry, run


def test_legacy_draws_in_the_order_written_then_what_was_left_out() -> None:
    tensors = {"w": "normal:3x2x2x2", "x": "normal:2x2x4x5", "b": "normal"}
    result = run("conv", {}, tensors, seed=231, rng="legacy", backward=True)
    np.random.seed(231)  # what a notebook does
    w, x = np.random.randn(3, 2, 2, 2), np.random.randn(2, 2, 4, 5)
    b, dy = np.random.randn(3), np.random.randn(2, 3, 3, 4)
    for name, expected in (("w", w), ("x", x), ("b", b), ("dy", dy)):
        assert np.array_equal(result.tensors[name].array, expected)


def test_pcg64_gives_each_tensor_a_stream_of_its_own() -> None:
    few = run("conv", {}, {"x": "normal:1x2x3x4", "w": "normal:2x2x2x2"}, seed=5)
    many = run("conv", {}, {"b": "normal", "w": "normal:2x2x2x2", "x": "normal:1x2x3x4"}, seed=5)
    for name in ("x", "w"):
        assert np.array_equal(few.tensors[name].array, many.tensors[name].array)
    expected = np.random.default_rng([5, *b"x"]).standard_normal((1, 2, 3, 4))
    assert np.array_equal(few.tensors["x"].array, expected)


def test_left_out() -> None:
    result = run("bn", {}, {"x": "normal:2x3x4"}, backward=True)
    assert np.array_equal(result.tensors["gamma"].array, np.ones(3))
    assert np.array_equal(result.tensors["beta"].array, np.zeros(3))
    assert result.tensors["dy"].array.std() > 0.5
    assert "b" not in run("conv", {}, {"x": "ones:1x1x2x2", "w": "ones:1x1x1x1"}).tensors


@pytest.mark.parametrize(
    "layer, params, kept",
    [
        ("pad", {"padding": 1}, True),
        ("pool", {"kernel": 2}, True),
        ("pool", {"kernel": 2, "mode": "avg"}, False),
        ("bn", {}, False),
    ],
)
@pytest.mark.parametrize("stored", ["float32", "int64", "uint8", "bool", ">f4", "float16"])
def test_precision(
    layer: str, params: dict[str, object], kept: bool, stored: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.arange(24).reshape(1, 2, 3, 4).astype(stored))
    name = np.dtype(stored).newbyteorder("=").name
    tensors = {"x": str(tmp_path / "x.npy"), "dy": "normal"}
    x = run(layer, params, tensors).tensors["x"]
    assert (x.stored, x.dtype) == (name, name if kept else "float64")
    result = run(layer, params, tensors, dtype="float32")
    assert {t.dtype for t in result.tensors.values()} <= {"float32", "int64"}
    assert result.tensors["dx"].dtype == "float32"


def test_memory_counts_what_the_layer_and_the_checks_need() -> None:
    tensors = {"x": "normal:4x8x64x64", "w": "normal:8x8x3x3"}
    for more in ({}, {"backward": True}, {"expect": {"y": {"npy": "zeros:4x8x512x512"}}}):
        case = entry("conv", {}, tensors, **more).build()
        with pytest.raises(MemoryBoundError, match="--max-memory"):
            run_case(case, RunOptions(max_memory=3 << 20))


def test_an_error_names_tensor_and_place_once(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with pytest.raises(CnncliError) as caught:
        run("pad", {"padding": 1}, {"x": str(path)})
    assert str(caught.value).count(str(path)) == 1
    assert caught.value.where == "the test"
    assert caught.value.message.startswith("x: ")

"""The three conventions' defaults and meanings, each written down from its library's manual."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncli.errors import ConfigError
from tests.building import result_of

# torch 2: MaxPool2d, AvgPool2d, BatchNorm2d; ONNX opset 21; Keras 3.
DEFAULTS: dict[str, dict[str, Any]] = {
    "torch": {"stride": (2, 3), "count_include_pad": True, "eps": 1e-5, "momentum": 0.1},
    "onnx": {"stride": (1, 1), "count_include_pad": False, "eps": 1e-5, "momentum": 0.9},
    "keras": {"stride": (2, 3), "count_include_pad": False, "eps": 1e-3, "momentum": 0.99},
}
RUNNING = {"running_mean": "normal:3", "running_var": "uniform:3,low=1,high=2"}


@pytest.mark.parametrize("convention", DEFAULTS)
def test_defaults_are_the_librarys(convention: str) -> None:
    want = DEFAULTS[convention]
    pool = result_of(
        "pool", {"kernel": [2, 3], "mode": "avg"}, {"x": "normal:2x3x7x8"}, convention=convention
    )
    assert pool.params is not None
    assert pool.params["stride"] == want["stride"]
    assert pool.params["count_include_pad"] == want["count_include_pad"]
    assert pool.record()["convention"] == convention
    bn = result_of(
        "bn",
        {"training": True},
        {"x": "normal:2x3x4x5", **RUNNING},
        convention=convention,
    )
    assert bn.params is not None
    assert (bn.params["eps"], bn.params["momentum"]) == (want["eps"], want["momentum"])


@pytest.mark.parametrize("convention", DEFAULTS)
def test_what_is_written_wins_over_the_convention(convention: str) -> None:
    params = {"kernel": 2, "stride": 3, "mode": "avg", "count_include_pad": False}
    found = result_of("pool", params, {"x": "normal:2x3x7x8"}, convention=convention)
    assert found.params is not None
    assert found.params["stride"] == (3, 3)
    assert found.params["count_include_pad"] is False


@pytest.mark.parametrize(
    "convention, new, unbiased", [("torch", 0.25, True), ("onnx", 0.75, False), ("keras", 0.75, 0)]
)
def test_momentum_and_running_variance(convention: str, new: float, unbiased: bool) -> None:
    found = result_of(
        "bn",
        {"training": True, "momentum": 0.25},
        {"x": "normal:2x3x4x5", **RUNNING},
        convention=convention,
    )
    t = {name: tensor.array for name, tensor in found.tensors.items()}
    mean, var = t["x"].mean((0, 2, 3)), t["x"].var((0, 2, 3), ddof=int(unbiased))
    np.testing.assert_allclose(
        t["new_running_mean"], (1 - new) * t["running_mean"] + new * mean, rtol=1e-12
    )
    np.testing.assert_allclose(
        t["new_running_var"], (1 - new) * t["running_var"] + new * var, rtol=1e-12
    )


def test_keras_never_counts_padding() -> None:
    params = {"kernel": 2, "mode": "avg", "count_include_pad": True}
    with pytest.raises(ConfigError, match="never counts padding"):
        result_of("pool", params, {"x": "normal:1x1x4x4"}, convention="keras")


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of torch, onnx, keras"):
        result_of("pad", {"padding": 1}, {"x": "normal:1x1x4x4"}, convention="caffe")

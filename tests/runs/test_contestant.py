"""A contender that computed something else would make every ratio a lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncli.cases.probes import PROBES
from cnncli.implementations import torch as ours_of_torch
from cnncli.implementations.base import CannotExpressError, Computed, Task
from cnncli.implementations.library import Direction
from cnncli.implementations.table import resolve_library
from cnncli.implementations.torch import Torch
from cnncli.runs.contest import Answer, Prepare
from cnncli.runs.contestant import Contestant, make_ready, make_task
from tests.building import case_of
from tests.extras import optional

CONV = {"x": "normal:2x4x9x8", "w": "normal:6x4x3x2", "b": "normal"}
UNEVEN = {"stride": [2, 1], "padding": [[0, 1], [2, 1]], "dilation": [1, 2]}
GROUPS = {"padding": 1, "groups": 2}, {"x": "normal:2x4x9x8", "w": "normal:6x2x3x2"}
POOL = {"kernel": 3, "stride": 2, "padding": 1}, {"x": "normal:2x3x9x8"}
RUNNING = {"running_mean": "normal:3", "running_var": "uniform:3,low=1,high=2"}
CASES = [
    *((layer, dict(p.params), dict(p.tensors)) for layer, probes in PROBES.items() for p in probes),
    ("pool", {"kernel": 3, "stride": 1, "padding": 2}, {"x": "normal:2x3x9x8"}),
    ("pool", {"kernel": 3, "stride": 2, "padding": [[0, 1], [2, 0]]}, {"x": "normal:2x3x9x8"}),
    (
        "conv",
        {"transposed": True, "stride": 2, "padding": [[0, 1], [2, 1]]},
        {"x": "normal:2x4x5x6", "w": "normal:4x3x3x4"},
    ),
    ("bn", {"training": True, "momentum": 0.3}, {"x": "normal:4x3x5x6", **RUNNING}),
]


def request(
    layer: str, params: Any, tensors: Any, direction: Direction = "forward", dtype: str = "float64"
) -> Prepare:
    case = case_of(layer, dict(params), dict(tensors), dtype=dtype)
    return Prepare(case=case, direction=direction, min_time=0.0)


def task(
    layer: str, params: Any, tensors: Any, direction: Direction = "forward", dtype: str = "float64"
) -> Task:
    return make_task(request(layer, params, tensors, direction, dtype))


def judged(name: str, one: Task) -> Computed:
    """Return what `--against` makes of a task."""
    (computed,) = resolve_library(name).compute([one])
    assert computed.trouble is None
    return computed


@pytest.mark.parametrize(("layer", "params", "tensors"), CASES)
def test_torch_is_timed_wherever_it_judges(layer: str, params: Any, tensors: Any) -> None:
    optional("torch")
    forward = task(layer, params, tensors)
    if judged("torch", forward).unsaid is not None:
        with pytest.raises(CannotExpressError):
            make_ready("torch", forward, "forward", 1)
        return
    call, ours = (make_ready(who, forward, "forward", 1).call for who in ("torch", "cnncli"))
    for _ in range(3):  # what is timed is the same every time
        (y,) = call()
        assert not y.requires_grad
        np.testing.assert_allclose(y.numpy(), ours(), rtol=1e-9, atol=1e-9)
    both: tuple[Direction, ...] = ("backward", "step")
    for direction in both:
        back = task(layer, params, tensors, direction)
        call, ours = (make_ready(who, back, direction, 1).call for who in ("torch", "cnncli"))
        expected = ours()
        wanted = [*(["y"] if direction == "step" else []), *back.problem.plan.gradients]
        for _ in range(2):
            for name, array in zip(wanted, call(), strict=True):
                found = array.detach().numpy()
                np.testing.assert_allclose(found, expected[name], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("layer", "params", "tensors"), CASES)
def test_onnxruntime_is_timed_wherever_it_judges(layer: str, params: Any, tensors: Any) -> None:
    one = task(layer, params, tensors, dtype="float32")
    if judged("onnx", one).unsaid is not None:
        with pytest.raises(CannotExpressError):
            make_ready("onnx", one, "forward", 1)
        return
    call, ours = (make_ready(who, one, "forward", 1).call for who in ("onnx", "cnncli"))
    for _ in range(3):
        (y,) = call()
        scale = 1 + float(np.abs(one.problem.tensors["x"]).max())
        np.testing.assert_allclose(y, ours(), rtol=1e-3, atol=1e-5 * scale)
    back = task(layer, params, tensors, "backward", dtype="float32")
    with pytest.raises(CannotExpressError, match="onnx gives no gradients"):
        make_ready("onnx", back, "backward", 1)


def test_a_library_that_computes_in_another_type_is_not_timed() -> None:
    with pytest.raises(CannotExpressError, match="onnx has no kernel for this case in float64"):
        make_ready("onnx", task("conv", UNEVEN, CONV), "forward", 1)


def test_what_is_timed_is_the_text_that_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    optional("torch")
    monkeypatch.setattr(ours_of_torch, "write_torch", lambda plan: "import math\n\ny = x + 1\n")
    one = task("pad", {"padding": 0}, {"x": "normal:1x2x3x4"})
    expected = one.problem.tensors["x"] + 1
    np.testing.assert_array_equal(judged("torch", one).tensors["y"], expected)
    (y,) = make_ready("torch", one, "forward", 1).call()
    np.testing.assert_array_equal(y.numpy(), expected)


def test_what_a_library_raises_is_why_it_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    optional("torch")

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no\nsuch luck")

    monkeypatch.setattr(Torch, "prepare", fails)
    asked = request("conv", UNEVEN, CONV)
    assert Contestant("torch", 1).prepare(asked) == Answer(
        reason="torch: RuntimeError: no such luck"
    )
    monkeypatch.setattr(type(asked.case.layer), "output", fails)
    with pytest.raises(RuntimeError, match="such luck"):  # of ours it is a fault
        Contestant("cnncli", 1).prepare(asked)


def test_tensordot_and_loops_compute_the_same() -> None:
    one = task("conv", UNEVEN, {name: CONV[name] for name in ("x", "w")})
    y = make_ready("cnncli", one, "forward", 1).call()
    found = make_ready("tensordot", one, "forward", 1).call()
    np.testing.assert_allclose(found, y, atol=1e-12)
    nest = make_ready("loops", one, "forward", 1)
    some = nest.call()
    np.testing.assert_allclose(some[0, 0, 0], y[0, 0, 0, : some.size], atol=1e-12)
    assert nest.share == some.size / y.size


@pytest.mark.parametrize("who", ["tensordot", "loops"])
def test_what_the_textbook_has_not_is_said(who: str) -> None:
    with pytest.raises(CannotExpressError, match="convolution alone"):
        make_ready(who, task("pool", *POOL), "forward", 1)
    with pytest.raises(CannotExpressError, match="groups"):
        make_ready(who, task("conv", *GROUPS), "forward", 1)
    with pytest.raises(CannotExpressError, match="forward alone"):
        make_ready(who, task("conv", UNEVEN, CONV, "backward"), "backward", 1)

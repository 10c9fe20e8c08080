"""A contender that computed something else would make every ratio a lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncli.cases.case import build_case
from cnncli.cases.node import from_data
from cnncli.implementations.base import CannotExpressError
from cnncli.implementations.contenders import Direction, Job, flops, make_ready, moved_bytes
from cnncli.runs.contest import Prepare
from cnncli.runs.contestant import make_job

CONV = {"x": "normal:2x4x9x8", "w": "normal:6x4x3x2", "b": "normal"}
UNEVEN = {"stride": [2, 1], "padding": [[0, 1], [2, 1]], "dilation": [1, 2]}
CASES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("conv", UNEVEN, CONV),
    ("conv", {"padding": 1, "groups": 2}, {"x": "normal:2x4x9x8", "w": "normal:6x2x3x2"}),
    ("conv", {"transposed": True, "stride": 2}, {"x": "normal:2x4x5x6", "w": "normal:4x3x3x2"}),
    ("pool", {"kernel": 3, "stride": 2, "padding": 1}, {"x": "normal:2x3x9x8"}),
    ("pool", {"kernel": 3, "stride": 2, "padding": 1, "mode": "avg"}, {"x": "normal:2x3x9x8"}),
    ("bn", {}, {"x": "normal:4x3x5x6", "gamma": "normal", "beta": "normal"}),
    ("pad", {"padding": [[1, 2], [0, 3]], "value": 2.5}, {"x": "normal:2x3x6x5"}),
    ("pad", {"padding": [[1, 2], [0, 3]], "mode": "reflect"}, {"x": "normal:2x3x6x5"}),
]


def job(
    layer: str,
    params: dict[str, Any],
    tensors: dict[str, str],
    direction: Direction = "forward",
    dtype: str = "float64",
) -> Job:
    data = {"layer": layer, "params": params, "tensors": tensors, "dtype": dtype}
    node = from_data(data, "a test").mapping("a case")
    case = build_case(node, name="a", file=None, where="a test", reproduce="")
    made = make_job(Prepare(case=case, direction=direction, min_time=0.0))
    assert isinstance(made, Job)
    return made


@pytest.mark.parametrize(("layer", "params", "tensors"), CASES)
def test_torch_computes_the_same(
    layer: str, params: dict[str, Any], tensors: dict[str, str]
) -> None:
    pytest.importorskip("torch", reason="torch is what is timed")
    one = job(layer, params, tensors)
    y = make_ready("torch", one, 1).call()
    np.testing.assert_allclose(y.numpy(), make_ready("cnncli", one, 1).call(), atol=1e-12)
    for direction in ("backward", "step"):
        back = job(layer, params, tensors, direction)
        ours, theirs = make_ready("cnncli", back, 1).call(), make_ready("torch", back, 1).call()
        for name, gradient in zip(back.plan.gradients, theirs, strict=True):
            np.testing.assert_allclose(gradient.numpy(), ours[name], atol=1e-11)


@pytest.mark.parametrize(("layer", "params", "tensors"), CASES)
def test_onnxruntime_computes_the_same(
    layer: str, params: dict[str, Any], tensors: dict[str, str]
) -> None:
    one = job(layer, params, tensors, dtype="float32")
    if layer == "bn":
        with pytest.raises(CannotExpressError, match="training"):
            make_ready("onnxruntime", one, 1)
        return
    (y,) = make_ready("onnxruntime", one, 1).call()
    np.testing.assert_allclose(y, make_ready("cnncli", one, 1).call(), atol=1e-4)


def test_tensordot_and_loops_compute_the_same() -> None:
    one = job("conv", UNEVEN, {name: CONV[name] for name in ("x", "w")})
    y = make_ready("cnncli", one, 1).call()
    np.testing.assert_allclose(make_ready("tensordot", one, 1).call(), y, atol=1e-12)
    nest = make_ready("loops", one, 1)
    some = nest.call()
    np.testing.assert_allclose(some[0, 0, 0], y[0, 0, 0, : some.size], atol=1e-12)
    assert nest.share == some.size / y.size


@pytest.mark.parametrize("who", ["tensordot", "loops"])
def test_what_the_textbook_has_not_is_said(who: str) -> None:
    with pytest.raises(CannotExpressError, match="convolution alone"):
        make_ready(who, job(*CASES[3]), 1)
    with pytest.raises(CannotExpressError, match="groups"):
        make_ready(who, job(*CASES[1]), 1)
    with pytest.raises(CannotExpressError, match="forward alone"):
        make_ready(who, job(*CASES[0], "backward"), 1)


def test_work_is_counted() -> None:
    plan = job("conv", UNEVEN, CONV).plan
    n, f, oh, ow = plan.upstream
    assert flops(plan, "forward") == 2 * n * f * oh * ow * 4 * 3 * 2
    assert flops(plan, "backward") == 2 * flops(plan, "forward")
    transposed = job(*CASES[2]).plan
    assert flops(transposed, "forward") == 2 * 2 * 4 * 5 * 6 * 3 * 3 * 2
    pool = job(*CASES[3]).plan
    assert moved_bytes(pool, "forward", 8) == 8 * (2 * 3 * 9 * 8 + 2 * 3 * 5 * 4)
    bn = job(*CASES[5]).plan
    assert moved_bytes(bn, "backward", 4) == 4 * 3 * 4 * 3 * 5 * 6

"""Verdicts on one function's results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncli.cases.assertions import Tolerance
from cnncli.cases.calls import parse_calls
from cnncli.cases.node import from_data
from cnncli.checks.against import judge as judge_computed
from cnncli.checks.check import Check
from cnncli.implementations.base import Computed, Task
from cnncli.layers.base import Problem, Request
from cnncli.layers.table import LAYERS

POOL = LAYERS["pool"]


def judge(
    x: Any,
    theirs: Any,
    name: str = "dx",
    changed: tuple[str, ...] = (),
    tolerance: Tolerance = Tolerance(),  # noqa: B008  # it is frozen
) -> Check:
    """Judge one tensor of a max pooling, kernel 2, stride 1."""
    params = POOL.Params(kernel=2, stride=1)
    request = Request(params=params, given={}, tensors={}, shapes={"x": x.shape})
    plan = POOL.plan(request)
    tensors = {"x": x, "dy": np.random.default_rng(0).normal(size=plan.upstream)}
    tensors |= POOL.forward(plan, tensors) | POOL.backward(plan, tensors)
    got = theirs(tensors) if callable(theirs) else theirs
    computed = Computed(tensors={name: got}, stored=None, changed=changed)
    return judge_call(Problem(layer=POOL, plan=plan, tensors=tensors), name, computed, tolerance)


def judge_call(problem: Problem, name: str, computed: Computed, tolerance: Tolerance) -> Check:
    """Judge one tensor, which a function f was called for."""
    calls = parse_calls(from_data({name: "f(x)"}, "here"), problem.layer)
    task = Task(problem=problem, backward=True, calls=calls)
    (check,) = judge_computed("a.py", task, computed, problem, tolerance).checks
    return check


X = np.random.default_rng(1).normal(size=(2, 3, 4, 5))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_small_tensors_are_no_excuse(scale: float) -> None:
    assert judge(X * scale, lambda t: t["y"] * (1 + 1e-12), "y").verdict == "pass"
    assert judge(X * scale, lambda t: t["y"] * (1 + 1e-5), "y").verdict == "fail"
    assert judge(X * scale, lambda t: t["y"] * 0, "y").verdict == "fail"


def test_a_nan_never_passes() -> None:
    spoilt = lambda t: np.where(t["y"] == t["y"].max(), np.nan, t["y"])  # noqa: E731
    assert judge(X, spoilt, "y").verdict == "fail"
    assert judge(X, lambda t: t["y"] * np.nan, "y").verdict == "fail"


def test_ties_only() -> None:
    """A gradient that is wrong at ties, and one that is wrong elsewhere too."""
    x = np.random.default_rng(2).integers(0, 3, size=(2, 3, 4, 5)).astype(float)

    def last_wins(t: Any) -> Any:
        dx = np.zeros_like(t["x"])
        for n, c, i, j in np.ndindex(t["dy"].shape):
            window = t["x"][n, c, i : i + 2, j : j + 2]
            k, m = np.argwhere(window == window.max())[-1]
            dx[n, c, i + k, j + m] += t["dy"][n, c, i, j]
        return dx

    assert judge(x, last_wins).reason == "wrong at ties only"
    untied = X.copy()
    assert judge(untied, last_wins).verdict == "pass"
    assert judge(x, lambda t: last_wins(t) * 2).reason == "wrong values"


def test_whole_numbers_that_cut_are_told() -> None:
    check = judge(X * 9, lambda t: t["y"].astype(np.int64), "y")
    assert check.reason == "wrong values"
    assert "whole number" in check.headline


def test_shapes_never_broadcast() -> None:
    check = judge(X, lambda t: t["y"][:1, :, :, :], "y")
    assert check.reason == "wrong shape"


def test_float32_results_are_judged_by_its_precision() -> None:
    assert judge(X, lambda t: t["y"].astype(np.float32), "y").verdict == "pass"
    assert judge(X, lambda t: (t["y"] * (1 + 1e-3)).astype(np.float32), "y").verdict == "fail"


@pytest.mark.parametrize("tolerance", [Tolerance(), Tolerance(derived=True)])
def test_nobody_chooses_a_looser_tolerance_than_float32(tolerance: Tolerance) -> None:
    for offset in (0.1, 0.0):
        spoil = lambda t: (t["y"] + offset).astype(np.float16)  # noqa: B023, E731
        check = judge(X * 30, spoil, "y", tolerance=tolerance)
        assert (check.verdict, check.reason) == ("fail", "wrong values")
        assert "returns float16, which holds 3 digits: judged as float32" in check.headline
        assert "which it computes in" not in check.headline
    exact = judge(np.round(X), lambda t: t["y"].astype(np.float16), "y", tolerance=tolerance)
    assert exact.verdict == "pass"
    assert "judged as float32" in (exact.note or "")
    narrow = judge(X.astype(np.float16), lambda t: t["y"].astype(np.float16), "y")
    assert narrow.verdict == "pass"


def test_a_derived_tolerance_holds_for_people_too() -> None:
    wrong, right = (
        judge(X, lambda t: t["y"] * (1 + off), "y", tolerance=Tolerance(derived=True))  # noqa: B023
        for off in (1e-9, 0.0)
    )
    assert (wrong.verdict, right.verdict) == ("fail", "pass")
    assert wrong.bound_share is not None
    assert wrong.bound_share > 1


def test_how_a_tensor_is_judged_is_no_cause() -> None:
    check = judge(X, lambda t: np.sin(t["y"]).astype(np.float32), "y")
    assert check.headline == "wrong values"


def test_writing_into_an_argument_is_told_whatever_else_is_wrong() -> None:
    right = judge(X, lambda t: t["y"], "y", changed=("x", "x"))
    assert (right.verdict, right.reason) == ("fail", "changed its input")
    assert (right.changed, right.also_changed) == (["x"], None)
    for spoil in (lambda t: -t["y"], lambda t: t["y"][:1], lambda t: np.sin(t["y"])):
        wrong, innocent = (judge(X, spoil, "y", changed=names) for names in (("x", "dy"), ()))
        assert wrong.also_changed == "it wrote into x, dy, which belong to its caller"
        assert (wrong.verdict, wrong.reason) == ("fail", innocent.reason)
        assert wrong.diagnosis == innocent.diagnosis
        assert (innocent.changed, innocent.also_changed) == (None, None)


def judge_conv(theirs: Any) -> Check:
    layer = LAYERS["conv"]
    shapes = {"x": (2, 3, 7, 6), "w": (4, 3, 3, 2)}
    request = Request(params=layer.Params(), given={}, tensors={}, shapes=shapes)
    plan = layer.plan(request)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    y = layer.forward(plan, tensors)["y"]
    got = theirs(layer, plan, tensors, y)
    problem = Problem(layer=layer, plan=plan, tensors={**tensors, "y": y})
    return judge_call(problem, "y", Computed(tensors={"y": got}, stored=None), Tolerance())


def test_float32_inside_is_told_and_nothing_else_is_taken_for_it() -> None:
    def inside(layer: Any, plan: Any, tensors: Any, y: Any) -> Any:
        narrow = {name: array.astype(np.float32) for name, array in tensors.items()}
        return layer.forward(plan, narrow)["y"].astype(np.float64)

    check = judge_conv(inside)
    assert check.reason == "wrong values"
    assert check.headline == "y is right to about 1e-7: something was computed in float32"
    for spoil in (
        lambda _, __, ___, y: y + 1e-4 * np.sin(1e3 * y),  # a hundred times too much
        lambda _, __, ___, y: np.where(y == y.max(), y + 1e-4, y),
        lambda _, __, ___, y: y + 3e-7 * y,  # which follows y
        lambda _, __, ___, y: np.where(y == y.max(), np.nan, y),
    ):
        assert "float32" not in judge_conv(spoil).headline

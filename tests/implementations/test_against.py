"""Every implementation on every probe, and what a wrong, absent or unable one comes to."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from cnncli.cases.assertions import Tolerance
from cnncli.cases.probes import PROBES, Probe
from cnncli.cases.tensors import plan_for
from cnncli.errors import MissingExtraError, UsageError
from cnncli.implementations import table
from cnncli.implementations.base import CannotExpressError, Computed, Task, one_by_one
from cnncli.layers.base import Problem
from cnncli.runs.result import by_implementation
from tests.building import case_of, check_against, result_of
from tests.extras import optional

ALL = [(layer, probe) for layer, probes in PROBES.items() for probe in probes]
NAMES = ["loops", "torch", "onnx"]
CONV = {"x": "normal:2x3x6x5", "w": "normal:4x3x3x2", "b": "normal:4"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer, probe", ALL, ids=lambda v: getattr(v, "name", v))
def test_every_probe_agrees(name: str, layer: str, probe: Probe) -> None:
    if name == "torch":
        optional(name)
    found = result_of(layer, dict(probe.params), dict(probe.tensors), against=name, backward=True)
    assert found.status in ("passed", "skipped")
    judged = {check.tensor for check in found.checks if check.verdict == "pass"}
    if found.status == "passed":
        assert "y" in judged
        if name != "onnx":
            assert {"dx", "y"} <= judged
    elif name == "loops" or probe.name != "symmetric":
        pytest.fail(f"{name} should be able to say {probe.name}: {found.error}")


@pytest.mark.parametrize(
    "layer, params, tensors",
    [
        (layer, dict(probe.params), dict(probe.tensors))
        for layer, probe in ALL
        if layer == "bn" and probe.name in ("training", "inference")
    ],
)
@pytest.mark.parametrize("convention", ["torch", "onnx", "keras"])
@pytest.mark.parametrize("name", NAMES)
def test_running_statistics_of_every_convention(
    layer: str, params: Any, tensors: Any, convention: str, name: str
) -> None:
    if name == "torch":
        optional(name)
    running = {"running_mean": "normal:3", "running_var": "uniform:3,low=1,high=2"}
    found = result_of(
        layer,
        {**params, "training": True, "momentum": 0.3},
        {**tensors, **running},
        convention=convention,
        against=name,
    )
    assert found.status == "passed"
    assert {c.tensor for c in found.checks} == {"y", "new_running_mean", "new_running_var"}


class Fake:
    """An implementation that does what a test says."""

    label = key = "fake 1"
    by_call = False

    def __init__(self, act: Callable[[Task], Computed]) -> None:
        self._act = act

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        return one_by_one(self._act, tasks)


def _judge(act: Callable[[Task], Computed]) -> list[Any]:
    case = case_of("conv", {}, CONV)
    shapes = {"x": (2, 3, 6, 5), "w": (4, 3, 3, 2), "b": (4,)}
    rng = np.random.default_rng(1)
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    plan = plan_for(case, shapes)
    task = Task(problem=Problem(layer=case.layer, plan=plan, tensors=arrays), backward=False)
    ours = arrays | case.layer.forward(plan, arrays)
    return check_against(Fake(act), task, ours, Tolerance()).checks


def _y(task: Task) -> Any:
    problem = task.problem
    return problem.layer.output(problem.plan, problem.tensors)


def _off(task: Task, by: float) -> Computed:
    y = _y(task)
    y[1, 2, 0, 1] += by
    return Computed(tensors={"y": y})


def test_one_wrong_element_is_found_where_it_is() -> None:
    (check,) = _judge(lambda task: _off(task, 1e-3))
    assert (check.verdict, check.reason, check.comparison.mismatched) == ("fail", "wrong values", 1)
    assert check.worst.index == (1, 2, 0, 1)
    assert check.worst.got - check.worst.expected == pytest.approx(1e-3)
    assert check.comparison.sum_squared_error == pytest.approx(1e-6)
    (fine,) = _judge(lambda task: _off(task, 1e-12))
    assert fine.verdict == "pass"


def test_float32_is_judged_as_float32_and_says_so() -> None:
    def single(task: Task) -> Computed:
        y = _y(task).astype(np.float32)
        return Computed(tensors={"y": y}, stored="float32")

    (check,) = _judge(single)
    assert check.verdict == "pass"
    assert "float32" in check.note
    assert check.comparison.max_abs_error > 1e-9


def test_what_goes_wrong_has_its_word() -> None:
    def raises(task: Task) -> Computed:
        raise ValueError("no such luck")

    def unable(task: Task) -> Computed:
        raise CannotExpressError("has no convolution")

    (check,) = _judge(raises)
    assert (check.verdict, check.reason, check.note) == (
        "fail",
        "exception",
        "ValueError: no such luck",
    )
    (check,) = _judge(unable)
    assert (check.verdict, check.reason) == ("skipped", "has no convolution")
    (check,) = _judge(lambda task: Computed(tensors={}))
    assert (check.verdict, check.reason) == ("fail", "missing")
    (check,) = _judge(lambda task: Computed(tensors={"y": np.zeros((2, 4, 4))}))
    assert (check.verdict, check.reason, check.got) == ("fail", "wrong shape", [2, 4, 4])
    nan = _judge(lambda task: Computed(tensors={"y": np.full((2, 4, 4, 4), np.nan)}))
    assert nan[0].verdict == "fail"


def test_a_case_that_nobody_could_say_is_skipped_not_passed() -> None:
    optional("torch")
    params = {"padding": 1, "mode": "symmetric"}
    found = result_of("pad", params, {"x": "normal:1x1x3x4"}, against="torch")
    assert found.status == "skipped"
    assert found.error is not None
    assert "no symmetric padding" in found.error.message
    both = result_of("pad", params, {"x": "normal:1x1x3x4"}, against=["torch", "loops"])
    assert both.status == "passed"
    assert [part.status for part in by_implementation(both)] == ["skipped", "passed"]


def test_several_implementations_give_a_result_each() -> None:
    optional("torch")
    found = result_of(
        "conv", {}, CONV, against=["loops", "torch"], expect={"y": {"shape": [2, 4, 4, 4]}}
    )
    parts = [part.record() for part in by_implementation(found)]
    assert [[c.get("implementation") for c in part["checks"]] for part in parts] == [
        [None, "loops"],
        [None, parts[1]["checks"][1]["implementation"]],
    ]
    assert parts[1]["checks"][1]["implementation"].startswith("torch ")
    worst = parts[0]["checks"][1]["worst"]
    assert set(worst) == {"index", "got", "expected"}


def test_names_are_judged_before_anything_is_computed() -> None:
    with pytest.raises(UsageError, match=r"'torhc' \(did you mean torch\?\)"):
        result_of("conv", {}, CONV, against="torhc")


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cnncli\[torch\]'"):
        table.resolve("torch", "--against")
    if importlib.util.find_spec("tensorflow") is None:
        with pytest.raises(MissingExtraError, match=r"cnncli\[keras\]"):
            table.resolve("keras")


def test_loops_refuse_what_would_take_minutes() -> None:
    tensors = {"x": "zeros:1x64x64x64", "w": "zeros:64x64x3x3"}
    found = result_of("conv", {"padding": 1}, tensors, against="loops")
    assert found.status == "skipped"
    assert found.error is not None
    assert "steps of a Python loop" in found.error.message


def test_minus_infinity_beside_padding_is_not_guessed() -> None:
    optional("torch")
    x = {"values": [[[[float("-inf")] * 3] * 3]]}
    found = result_of(
        "pool", {"kernel": 2, "stride": 1, "padding": [[0, 1], [0, 0]]}, {"x": x}, against="torch"
    )
    assert found.status == "skipped"
    loops = result_of(
        "pool", {"kernel": 2, "stride": 1, "padding": [[0, 1], [0, 0]]}, {"x": x}, against="loops"
    )
    assert loops.status == "passed"

"""Cases and results from plain data, for tests that judge what a whole case gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnncli.cases.assertions import Tolerance
from cnncli.cases.case import Case, build_case
from cnncli.cases.node import from_data
from cnncli.cases.tensors import plan_for
from cnncli.checks.against import Judged, judge
from cnncli.implementations.base import Implementation, Task
from cnncli.layers.base import Problem
from cnncli.runs.one import run_case
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Result


def case_of(layer: str, params: dict[str, Any], tensors: dict[str, Any], **more: Any) -> Case:
    """Return the case that a config with these keys would hold."""
    data = {"layer": layer, "params": params, "tensors": tensors, **more}
    entries = from_data(data, "test").mapping("a case")
    return build_case(entries, name="test", file=None, where="test", reproduce="")


def result_of(layer: str, params: dict[str, Any], tensors: dict[str, Any], **more: Any) -> Result:
    """Return what that case gives."""
    return run_case(case_of(layer, params, tensors, **more), RunOptions())


def task_of(
    layer: str, params: dict[str, Any], arrays: dict[str, Any], *, convention: str = "torch"
) -> Task:
    """Return the task of computing a layer of given arrays, forward and backward, dy random."""
    case = case_of(layer, params, {}, convention=convention)
    plan = plan_for(case, {name: array.shape for name, array in arrays.items()})
    inputs = dict(arrays)
    for name, shape in plan.inputs.items():
        inputs.setdefault(name, np.ones(shape) if name == "gamma" else np.zeros(shape))
    inputs["dy"] = np.random.default_rng(5).standard_normal(plan.upstream)
    problem = Problem(layer=case.layer, plan=plan, tensors=inputs)
    return Task(problem=problem, backward=True, convention=convention)


def ours_of(task: Task) -> dict[str, Any]:
    """Return everything that our kernels compute of a task, its inputs too."""
    layer, plan, tensors = task.problem.layer, task.problem.plan, task.problem.tensors
    return tensors | layer.forward(plan, tensors) | layer.backward(plan, tensors)


def check_against(
    implementation: Implementation, task: Task, ours: Mapping[str, Any], tolerance: Tolerance
) -> Judged:
    """Return the verdicts on what an implementation makes of one task."""
    (computed,) = implementation.compute([task])
    right = task.problem.changed(**ours)
    return judge(implementation.label, task, computed, right, tolerance)

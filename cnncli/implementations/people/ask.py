"""What a case asks of people's functions: its calls, and x padded beforehand where they say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnncli.cases.calls import resolve_call
from cnncli.cases.case import Case
from cnncli.errors import ConfigError, GeometryError
from cnncli.implementations.base import Task
from cnncli.layers.base import Problem, Request


def ask_people(case: Case, problem: Problem) -> Task:
    """Return what a case asks; raise ConfigError or GeometryError where it cannot be called.

    `problem` holds all of the case's tensors, those that we computed too.
    """
    if not case.call:
        raise ConfigError(
            "needs to know how people's functions are called: call in the case, or "
            '--call "y=conv(x, w, stride)"',
            case.where,
        )
    if case.settings.layout != "nchw":
        raise ConfigError(
            "people's functions are called with N, C, H, W, and the layout is "
            f"{case.settings.layout}: save the arrays as N, C, H, W, and leave the layout out",
            case.where,
        )
    calls = tuple(resolve_call(call, problem.plan) for call in case.call)
    pads = any(call.uses("pad") or any(t.padded for t in call.targets) for call in calls)
    padded = _padded(case, problem) if pads else None
    for call in calls:
        for target in call.judged:
            if target.name not in problem.tensors:
                raise GeometryError(f"{target.name} is not computed in this case", call.where)
    return Task(
        problem=problem,
        backward=case.wants_backward,
        convention=case.settings.convention,
        calls=calls,
        padded=padded,
    )


def _padded(case: Case, problem: Problem) -> Problem:
    """Return the problem with x padded beforehand, and its dx: the gradient of the padded x."""
    plan, arrays = problem.plan, problem.tensors
    if plan.params.get("transposed") or plan.params.get("ceil_mode"):
        raise GeometryError("pad(x) has no meaning with transposed or ceil_mode", case.where)
    pairs = plan.params["padding"]
    value = -np.inf if plan.params.get("mode") == "max" else 0.0
    x = np.pad(arrays["x"], ((0, 0), (0, 0), *map(tuple, pairs)), constant_values=value)
    params = replace(case.params, padding=0, **{n: plan.params[n] for n in ("stride", "dilation")})
    if plan.params.get("count_include_pad") is False and any(map(any, pairs)):
        raise GeometryError(
            "pad(x) hides which values are padding; set count_include_pad", case.where
        )
    shapes = {name: array.shape for name, array in arrays.items() if name in plan.inputs}
    request = Request(
        params=params,
        given={},
        tensors={},
        shapes={**shapes, "x": x.shape},
        convention=case.settings.convention,
    )
    padded = replace(problem, plan=problem.layer.plan(request), tensors={**arrays, "x": x})
    if "dy" not in arrays:
        return padded
    return padded.changed(dx=problem.layer.backward(padded.plan, padded.tensors)["dx"])

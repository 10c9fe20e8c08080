"""One case to one result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.cases.case import Case
from cnncli.cases.tensors import (
    Ingredients,
    Made,
    load_reference,
    make_tensors,
    needed_bytes,
    open_ingredients,
    request_for,
)
from cnncli.checks.check import Check
from cnncli.errors import CnncliError, GeometryError, MemoryBoundError
from cnncli.layers.base import Plan
from cnncli.runs.memory import judge_memory
from cnncli.runs.result import Fault, Result, Status, TensorResult, describe

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a command asks of every case that it runs."""

    max_memory: int | None = None
    """Bytes; None is half of what is free."""


def run_case(case: Case, options: RunOptions) -> Result:
    """Return what the case gives; raise CnncliError, at its place, where its input is bad."""
    import numpy as np

    started = time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            plan, tensors, checks = _compute(case, options)
    except CnncliError as error:
        raise error.at(case.where) from None
    except MemoryError:
        raise MemoryBoundError("this case needs more memory than there is", case.where) from None
    return Result(
        name=case.name,
        file=case.file,
        layer=case.layer.name,
        params=plan.params,
        status=_status(checks),
        tensors=tensors,
        checks=checks,
        seconds=time.perf_counter() - started,
        reproduce=case.reproduce,
    )


@dataclass(frozen=True, kw_only=True)
class PlannedCase:
    """What a case would do, known without reading or computing any of its tensors."""

    layer: str
    plan: Plan
    needed_bytes: int


def plan_case(case: Case, options: RunOptions) -> PlannedCase:
    """Return what the case would do; raise CnncliError, at its place, where its input is bad."""
    try:
        with open_ingredients(case) as ingredients:
            plan, needed = _judge(ingredients, options)
    except CnncliError as error:
        raise error.at(case.where) from None
    return PlannedCase(layer=case.layer.name, plan=plan, needed_bytes=needed)


def _judge(ingredients: Ingredients, options: RunOptions) -> tuple[Plan, int]:
    """Return the plan of a case and the memory that it needs, both judged."""
    case = ingredients.case
    plan = case.layer.plan(request_for(case, ingredients.shapes))
    _judge_expected_names(case, plan)
    needed = needed_bytes(ingredients, plan, backward=case.wants_backward)
    judge_memory(needed, options.max_memory)
    return plan, needed


def invalid(error: CnncliError, *, name: str, file: str | None, reproduce: str) -> Result:
    """Return the result of a case whose input is bad."""
    fault = Fault(message=error.message, where=error.where)
    return Result(name=name, file=file, status="invalid", error=fault, reproduce=reproduce)


def _status(checks: list[Check]) -> Status:
    if not checks:
        return "done"
    return "failed" if any(check.fails_case for check in checks) else "passed"


def _compute(case: Case, options: RunOptions) -> tuple[Plan, dict[str, TensorResult], list[Check]]:
    with open_ingredients(case) as ingredients:
        plan, _ = _judge(ingredients, options)
        made = make_tensors(ingredients, plan, backward=case.wants_backward)
        tensors = _run_layer(case, plan, made)
        return plan, tensors, _check(ingredients, plan, tensors)


def _run_layer(case: Case, plan: Plan, made: dict[str, Made]) -> dict[str, TensorResult]:
    """Return every tensor of the case, in the layer's own order."""
    arrays = {name: tensor.array for name, tensor in made.items()}
    case.layer.judge_values(plan, arrays)
    outputs = case.layer.forward(plan, arrays)
    gradients = case.layer.backward(plan, arrays | outputs) if case.wants_backward else {}
    tensors = {
        name: describe(name, "input", tensor.array, tensor.source, tensor.stored)
        for name, tensor in made.items()
    }
    for name, array in outputs.items():
        tensors[name] = describe(name, "output", array, None, str(array.dtype))
    for name, array in gradients.items():
        tensors[name] = describe(name, "gradient", array, None, str(array.dtype))
    return {name: tensors[name] for name in case.layer.tensor_names if name in tensors}


def _judge_expected_names(case: Case, plan: Plan) -> None:
    """Refuse an expectation of a tensor that this case, for all its layer, does not have."""
    there = {*plan.inputs, *plan.outputs, *plan.gradients, "dy"}
    for name, assertions in case.expect.items():
        if name not in there:
            reason = {
                "db": "db needs a bias: give b, such as --b zeros",
                "indices": "only max pooling has indices",
            }.get(name, f"{name} is not computed for these parameters and tensors")
            raise GeometryError(reason, assertions[0].where)


def _check(ingredients: Ingredients, plan: Plan, tensors: dict[str, TensorResult]) -> list[Check]:
    from cnncli.checks.expect import check_assertion

    case = ingredients.case
    checks: list[Check] = []
    judged: dict[str, tuple[NDArray[Any], str]] = {}
    for name, assertions in case.expect.items():
        tensor = tensors[name]
        for assertion in assertions:
            reference, stored = None, "float64"
            if assertion.source is not None:
                shape = tensor.array.shape
                reference, stored = load_reference(ingredients, assertion.source, name, shape)
                if assertion.kind == "npy" and _is_gradchecked(case, name):
                    judged[name] = (reference, stored)
                    continue
            checks.append(
                check_assertion(assertion, name, tensor.array, tensor.stored, reference, stored)
            )
    if case.gradcheck is not None:
        from cnncli.checks.gradcheck import check_gradients

        arrays = {name: tensor.array for name, tensor in tensors.items()}
        checks += check_gradients(
            case.layer, plan, arrays, judged, case.gradcheck, case.settings.seed
        )
    return checks


def _is_gradchecked(case: Case, name: str) -> bool:
    if case.gradcheck is None or name not in case.layer.gradient_names:
        return False
    return case.gradcheck.wrt is None or name[1:] in case.gradcheck.wrt

"""One case to one result: tensors are made, the layer is run, and `verdicts` judges what came."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli.cases.case import Case
from cnncli.cases.layout import shape_outside
from cnncli.cases.tensors import (
    Ingredients,
    Made,
    make_tensors,
    needed_bytes,
    open_ingredients,
    plan_for,
)
from cnncli.checks.check import Check
from cnncli.errors import CnncliError, GeometryError, MemoryBoundError
from cnncli.layers.base import Plan, Problem, Tensors
from cnncli.runs.memory import judge_memory
from cnncli.runs.options import RunOptions
from cnncli.runs.result import References, Result, Role, TensorResult, skip_reason, status_of

if TYPE_CHECKING:
    from cnncli.layers.explain.parts import Explanation


def run_case(case: Case, options: RunOptions) -> Result:
    """Return what the case gives; raise CnncliError, at its place, where its input is bad."""
    started = time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            computed = compute(case, options)
    except CnncliError as error:
        raise error.at(case.where) from None
    except MemoryError:
        raise MemoryBoundError("this case needs more memory than there is", case.where) from None
    return Result(
        name=case.name,
        file=case.file,
        layer=case.layer.name,
        convention=case.settings.convention,
        layout=case.settings.layout,
        params=computed.plan.params,
        status=status_of(computed.checks),
        error=skip_reason(computed.checks),
        theirs=computed.theirs,
        tensors=computed.tensors,
        checks=computed.checks,
        explanations=computed.explanations,
        references=computed.references,
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
    plan = plan_for(case, ingredients.shapes)
    _judge_expected_names(case, plan)
    if case.against:
        from cnncli.implementations.names import judge_installed, judge_name
    for asked in case.against:
        judge_name(asked.text, asked.where, asked.base)
        judge_installed(asked.text, asked.where)
    needed = needed_bytes(ingredients, plan, backward=case.wants_backward)
    if options.shown_bytes:
        shown = dict(plan.outputs) | (dict(plan.gradients) if case.wants_backward else {})
        needed += options.shown_bytes * sum(math.prod(shape) for shape in shown.values())
    judge_memory(needed, options.max_memory, options.jobs)
    return plan, needed


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a case gave, before it is a result."""

    plan: Plan
    tensors: dict[str, TensorResult]
    checks: list[Check]
    theirs: dict[str, dict[str, TensorResult]]
    """What each other implementation computed, by its label."""
    explanations: list[Explanation]
    references: References

    @property
    def arrays(self) -> Tensors:
        """Every tensor, NCHW."""
        return {name: tensor.array for name, tensor in self.tensors.items()}


def compute(case: Case, options: RunOptions) -> Outcome:
    """Return all that a case gives; raise CnncliError where its input is bad."""
    layer, layout = case.layer, case.settings.layout
    with open_ingredients(case) as ingredients:
        plan, _ = _judge(ingredients, options)
        explain = None
        if options.explain:
            from cnncli.runs.explaining import explain_targets, judge_targets

            # Which elements are to be explained is judged before anything is computed.
            targets = judge_targets(
                options.explain, layer, plan, backward=case.wants_backward, layout=layout
            )
            explain = partial(explain_targets, targets, layer, plan)
        made = make_tensors(ingredients, plan, backward=case.wants_backward)
        tensors = _run_layer(case, plan, made)
        arrays = {name: tensor.array for name, tensor in tensors.items()}
        checks: list[Check] = []
        theirs: dict[str, dict[str, TensorResult]] = {}
        references: References = {}
        if case.expect or case.gradcheck is not None or case.against:
            # Start-up: what judges takes as long to load as what computes.
            from cnncli.runs.verdicts import judge_case

            problem = Problem(layer=layer, plan=plan, tensors=arrays)
            found = judge_case(ingredients, problem, tensors, options)
            checks, references = found.checks, found.references
            for label, some in found.theirs.items():
                theirs[label] = {
                    name: describe(name, tensors[name].role, array, label, str(array.dtype), layout)
                    for name, array in some.items()
                }
        return Outcome(
            plan=plan,
            tensors=tensors,
            checks=checks,
            theirs=theirs,
            explanations=[] if explain is None else explain(arrays, layout),
            references=references,
        )


def _run_layer(case: Case, plan: Plan, made: dict[str, Made]) -> dict[str, TensorResult]:
    """Return every tensor of the case, NCHW, in the layer's own order."""
    arrays = {name: tensor.array for name, tensor in made.items()}
    case.layer.judge_values(plan, arrays)
    outputs = case.layer.forward(plan, arrays)
    gradients = case.layer.backward(plan, arrays | outputs) if case.wants_backward else {}
    tensors = {}

    def add(name: str, role: Role, array: NDArray[Any], source: str | None, stored: str) -> None:
        tensors[name] = describe(name, role, array, source, stored, case.settings.layout)

    for name, tensor in made.items():
        add(name, "input", tensor.array, tensor.source, tensor.stored)
    for name in plan.outputs:  # and not what forward left for backward alone
        add(name, "output", outputs[name], None, str(outputs[name].dtype))
    for name, array in gradients.items():
        add(name, "gradient", array, None, str(array.dtype))
    return {name: tensors[name] for name in case.layer.tensor_names if name in tensors}


def describe(
    name: str,
    role: Role,
    array: NDArray[Any],
    source: str | None,
    stored: str,
    layout: str = "nchw",
) -> TensorResult:
    """Return an NCHW array with its statistics, which count every element, finite or not."""
    with np.errstate(all="ignore"):
        wide = array if array.dtype == np.float64 else array.astype(np.float64)
        total = float(wide.sum()) if array.dtype.kind not in "iu" else float(array.sum())
        return TensorResult(
            name=name,
            role=role,
            shape=shape_outside(layout, name, array.shape),
            dtype=str(array.dtype),
            layout=layout,
            source=source,
            stored=stored,
            min=float(wide.min()),
            max=float(wide.max()),
            mean=float(wide.mean()),
            std=float(wide.std()),
            sum=total,
            nonfinite=int(array.size - np.isfinite(wide).sum()),
            held=array,
        )


def _judge_expected_names(case: Case, plan: Plan) -> None:
    """Refuse an expectation of a tensor that this case, for all its layer, does not have."""
    there = {*plan.inputs, *plan.outputs, *plan.gradients}
    if case.wants_backward:
        there.add("dy")
    for name, assertions in case.expect.items():
        if name not in there:
            reason = {
                "db": "db needs a bias: give b, such as --b zeros",
                "indices": "only max pooling has indices",
                "dy": "dy is there with backward only",
            }.get(name, f"{name} is not computed for these parameters and tensors")
            raise GeometryError(reason, assertions[0].where)
    if case.gradcheck is not None and case.gradcheck.wrt is not None:
        known = [name[1:] for name in plan.gradients]
        if not set(known) & set(case.gradcheck.wrt):
            asked = ", ".join(case.gradcheck.wrt) or "nothing"
            raise GeometryError(
                f"wrt: {asked} leaves no gradient to check; this case has those of "
                f"{', '.join(known)}",
                case.where,
            )

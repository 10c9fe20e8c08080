"""One case to one result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnncli.cases.assertions import CHANNEL_STATISTICS
from cnncli.cases.case import Case
from cnncli.cases.layout import outward, to_inside, to_outside
from cnncli.cases.tensors import (
    Ingredients,
    Made,
    load_reference,
    make_tensors,
    needed_bytes,
    open_ingredients,
    plan_for,
)
from cnncli.checks.check import Check
from cnncli.errors import CnncliError, GeometryError, MemoryBoundError, UsageError
from cnncli.layers.base import Plan, Problem, Shape, Tensors
from cnncli.runs.memory import judge_memory
from cnncli.runs.result import Fault, References, Result, Role, TensorResult, describe
from cnncli.runs.split import skip_reason, status_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnncli.cases.sourcetypes import Source
    from cnncli.layers.explain.parts import Explanation
    from cnncli.runs.explaining import Target


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a command asks of every case that it runs."""

    max_memory: int | None = None
    """Bytes; None is half of what is free."""
    progress: Callable[[str, int, int], None] | None = None
    """Told of a long gradient check the tensor, the evaluations made and those there will be."""
    explain: tuple[str, ...] = ()
    """Elements whose arithmetic is wanted, as `--explain` writes them."""
    keep_references: bool = False
    """Keep what tensors were judged by and beside, to be seen with them."""
    user_seconds: float = 10.0
    """How long people's own functions may take for a case."""
    run_all: bool = False
    """Carry out all of a submission, not its definitions alone."""


def run_case(case: Case, options: RunOptions) -> Result:
    """Return what the case gives; raise CnncliError, at its place, where its input is bad."""
    import numpy as np

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
        from cnncli.implementations.table import judge_installed, judge_name
        from cnncli.implementations.usercode.find import is_submission

        for asked in case.against:
            if not is_submission(asked.text):
                judge_name(asked.text, asked.where)
                judge_installed(asked.text, asked.where)
    needed = needed_bytes(ingredients, plan, backward=case.wants_backward)
    judge_memory(needed, options.max_memory)
    return plan, needed


def invalid(error: CnncliError, *, name: str, file: str | None, reproduce: str) -> Result:
    """Return the result of a case whose input is bad."""
    fault = Fault(message=error.message, where=error.where)
    return Result(name=name, file=file, status="invalid", error=fault, reproduce=reproduce)


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


def compute(case: Case, options: RunOptions) -> Outcome:
    """Return all that a case gives; raise CnncliError where its input is bad."""
    with open_ingredients(case) as ingredients:
        plan, _ = _judge(ingredients, options)
        if options.explain and case.settings.layout != "nchw":
            raise UsageError(
                f"an element's index is NCHW, and the layout is {case.settings.layout}; "
                "explain the case with --layout nchw",
                "--explain",
            )
        targets = _targets(case, plan, options)
        made = make_tensors(ingredients, plan, backward=case.wants_backward)
        tensors = _run_layer(case, plan, made)
        references: References = {}
        keep = references if options.keep_references else None
        checks = _check(ingredients, plan, tensors, options, keep)
        found, theirs = _check_against(case, plan, tensors, options, keep)
        return Outcome(
            plan=plan,
            tensors=tensors,
            checks=checks + found,
            theirs=theirs,
            explanations=_explanations(targets, case, plan, tensors),
            references=references,
        )


def _targets(case: Case, plan: Plan, options: RunOptions) -> list[Target]:
    """Judge, before anything is computed, which elements are to be explained."""
    if not options.explain:
        return []
    from cnncli.runs.explaining import judge_targets

    return judge_targets(options.explain, case.layer, plan, backward=case.wants_backward)


def _explanations(
    targets: list[Target], case: Case, plan: Plan, tensors: dict[str, TensorResult]
) -> list[Explanation]:
    if not targets:
        return []
    from cnncli.runs.explaining import explain_targets

    return explain_targets(targets, case.layer, plan, tensors)


def _run_layer(case: Case, plan: Plan, made: dict[str, Made]) -> dict[str, TensorResult]:
    """Return every tensor of the case, in the layer's own order."""
    arrays = {name: tensor.array for name, tensor in made.items()}
    case.layer.judge_values(plan, arrays)
    outputs = case.layer.forward(plan, arrays)
    gradients = case.layer.backward(plan, arrays | outputs) if case.wants_backward else {}
    tensors = {}

    def add(name: str, role: Role, array: NDArray[Any], source: str | None, stored: str) -> None:
        outside = to_outside(case.settings.layout, name, array)
        tensors[name] = describe(name, role, outside, source, stored)

    for name, tensor in made.items():
        add(name, "input", tensor.array, tensor.source, tensor.stored)
    for name in plan.outputs:  # and not what forward left for backward alone
        add(name, "output", outputs[name], None, str(outputs[name].dtype))
    for name, array in gradients.items():
        add(name, "gradient", array, None, str(array.dtype))
    return {name: tensors[name] for name in case.layer.tensor_names if name in tensors}


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


def _check(
    ingredients: Ingredients,
    plan: Plan,
    tensors: dict[str, TensorResult],
    options: RunOptions,
    keep: References | None,
) -> list[Check]:
    case = ingredients.case
    if case.expect:
        from cnncli.checks.expect import judge_assertion
        from cnncli.checks.lookalike import with_lookalike
    layout = case.settings.layout
    outside = {name: tensor.array for name, tensor in tensors.items()}
    inside = {name: to_inside(layout, name, array) for name, array in outside.items()}
    checks: list[Check] = []
    judged: dict[str, list[tuple[NDArray[Any], str]]] = {}
    given: dict[str, list[tuple[Source, Shape]]] = {}
    for name, assertions in case.expect.items():
        tensor = tensors[name]
        for assertion in assertions:
            reference, stored = None, "float64"
            if assertion.source is not None:
                shape = tensor.array.shape
                reference, stored = load_reference(ingredients, assertion.source, name, shape)
                if assertion.kind == "npy" and _is_gradchecked(case, name):
                    given_gradient = (to_inside(layout, name, reference), stored)
                    judged.setdefault(name, []).append(given_gradient)
                    given.setdefault(name, []).append((assertion.source, reference.shape))
                    if not assertion.tolerance.derived:
                        continue
            whole = assertion.is_whole
            written = () if reference is None else reference.shape
            if whole and reference is not None:
                reference = to_inside(layout, name, reference)
            arrays = inside if whole or assertion.kind in CHANNEL_STATISTICS else outside
            problem = Problem(layer=case.layer, plan=plan, tensors=arrays)
            given_array = None if reference is None else (reference, stored)
            check = judge_assertion(assertion, problem, name, tensor.stored, given_array)
            if whole and assertion.source is not None:
                check = with_lookalike(check, plan, assertion.source, written, layout)
            checks.append(_placed_outside(check, layout) if whole else check)
            if assertion.kind == "npy" and reference is not None:
                _keep(keep, "expected", {name: reference}, tensors, layout)
    if case.gradcheck is not None:
        from cnncli.checks.gradients import check_gradients

        numeric: dict[str, NDArray[Any]] = {}
        found = check_gradients(
            Problem(layer=case.layer, plan=plan, tensors=inside),
            judged,
            case.gradcheck,
            case.settings.seed,
            options.progress,
            None if keep is None else numeric,
        )
        for one in found:
            arrays_given = given.get(one.tensor, []) if one.subject == "expected" else []
            is_alone = len(arrays_given) == 1 and not one.identity
            check = with_lookalike(one, plan, *arrays_given[0], layout) if is_alone else one
            checks.append(_placed_outside(check, layout))
        last = {name: arrays[-1][0] for name, arrays in judged.items() if name in numeric}
        _keep(keep, "numeric", numeric, tensors, layout)
        _keep(keep, "expected", last, tensors, layout)
    return [_doubt_dy(check, case) for check in checks]


def _doubt_dy(check: Check, case: Case) -> Check:
    """Return the check, which of a wrong gradient of others asks whether it was of our own dy."""
    is_theirs = check.check == "expect" or check.subject == "expected"
    gradients = case.layer.gradient_names
    if check.verdict != "fail" or not is_theirs or "dy" in case.sources:
        return check
    if check.tensor not in gradients or not check.compares_elements:
        return check  # not of a gradient's values
    doubt = "dy was not given, so it was made here: was this gradient computed with that dy?"
    return replace(check, note=f"{check.note}; {doubt}" if check.note else doubt)


def _check_against(
    case: Case,
    plan: Plan,
    tensors: dict[str, TensorResult],
    options: RunOptions,
    keep: References | None,
) -> tuple[list[Check], dict[str, dict[str, TensorResult]]]:
    """Return the verdicts of every implementation that the case names, and what each computed."""
    if not case.against:
        return [], {}
    from cnncli.checks.against import check_against
    from cnncli.implementations.base import Task
    from cnncli.implementations.table import resolve
    from cnncli.implementations.usercode.find import is_submission

    layout = case.settings.layout
    arrays = {name: to_inside(layout, name, t.array) for name, t in tensors.items()}
    given = {name: array for name, array in arrays.items() if name in plan.inputs or name == "dy"}
    checks: list[Check] = []
    theirs: dict[str, dict[str, TensorResult]] = {}

    for asked in case.against:
        if is_submission(asked.text):
            from cnncli.runs.alone import judge_files

            for alone in judge_files(case, plan, arrays, asked, options):
                _keep(keep, alone.label, alone.arrays, tensors, layout)
                found = _forgiven(case, plan, arrays, alone.checks, alone.arrays)
                checks += [_placed_outside(check, layout) for check in found]
            continue
        task = Task(
            problem=Problem(
                layer=case.layer,
                plan=plan,
                # Copies, since whatever computes may write into what it is given.
                tensors={name: array.copy() for name, array in given.items()},
            ),
            backward=case.wants_backward,
            convention=case.settings.convention,
        )
        judged = check_against(resolve(asked.text, asked.where), task, arrays, case.tolerance)
        _keep(keep, judged.label, judged.tensors, tensors, layout)
        found = _forgiven(case, plan, arrays, judged.checks, judged.tensors)
        checks += [_placed_outside(check, layout) for check in found]
        theirs[judged.label] = {
            name: describe(
                name,
                tensors[name].role,
                to_outside(layout, name, array),
                judged.label,
                str(array.dtype),
            )
            for name, array in judged.tensors.items()
        }
    return checks, theirs


def _keep(
    keep: References | None,
    whose: str,
    arrays: Tensors,
    tensors: dict[str, TensorResult],
    layout: str,
) -> None:
    """Put arrays of this case's tensors, with as many axes, into `keep`, where it is wanted."""
    for name, array in arrays.items():
        if keep is not None and name in tensors and array.ndim == tensors[name].array.ndim:
            keep.setdefault(name, {})[whose] = to_outside(layout, name, array)


def _forgiven(
    case: Case, plan: Plan, ours: Tensors, checks: Sequence[Check], theirs: Tensors
) -> list[Check]:
    """Return checks as a gradient check judges ties, where the case is one of gradients."""
    from cnncli.checks.ties import forgive_ties

    problem = Problem(layer=case.layer, plan=plan, tensors=ours)
    return [
        forgive_ties(check, problem, theirs.get(check.tensor))
        if _is_gradchecked(case, check.tensor)
        else check
        for check in checks
    ]


def _placed_outside(check: Check, layout: str) -> Check:
    """Return a check made on NCHW arrays with its worst place as the layout has it."""
    found = check.comparison
    if found is None or found.worst is None or layout == "nchw":
        return check
    axes = outward(layout, check.tensor, len(found.worst.index))
    index = tuple(found.worst.index[axis] for axis in axes)
    return replace(check, comparison=replace(found, worst=replace(found.worst, index=index)))


def _is_gradchecked(case: Case, name: str) -> bool:
    if case.gradcheck is None or name not in case.layer.gradient_names:
        return False
    return case.gradcheck.wrt is None or name[1:] in case.gradcheck.wrt

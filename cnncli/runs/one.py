"""One case to one result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnncli.cases.case import Case
from cnncli.cases.layout import shape_outside, to_inside
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
from cnncli.checks.order import inside, outside
from cnncli.errors import CnncliError, GeometryError, MemoryBoundError
from cnncli.layers.base import Plan, Problem, Shape, Tensors
from cnncli.runs.memory import judge_memory
from cnncli.runs.result import References, Result, Role, TensorResult, skip_reason, status_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnncli.cases.against import Against
    from cnncli.cases.sourcetypes import Source
    from cnncli.implementations.base import Implementation
    from cnncli.layers.explain.parts import Explanation
    from cnncli.runs.against import Prepared
    from cnncli.runs.explaining import Target


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a command asks of every case that it runs."""

    max_memory: int | None = None
    """Bytes; None is half of what is free, shared among the jobs."""
    jobs: int = 1
    """How many cases run at once."""
    shown_bytes: int = 0
    """What it takes to show an element of an output or gradient: see cli/call."""
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


def compute(case: Case, options: RunOptions) -> Outcome:
    """Return all that a case gives; raise CnncliError where its input is bad."""
    with open_ingredients(case) as ingredients:
        plan, _ = _judge(ingredients, options)
        targets = _targets(case, plan, options)
        made = make_tensors(ingredients, plan, backward=case.wants_backward)
        tensors = _run_layer(case, plan, made)
        references: References = {}
        keep = references if options.keep_references else None
        checks = _check(ingredients, plan, tensors, options, keep)
        found, theirs = _check_against(case, plan, tensors, options, keep)
        ranks = {name: tensor.array.ndim for name, tensor in tensors.items()}
        return Outcome(
            plan=plan,
            tensors=tensors,
            checks=[
                outside(check, case.settings.layout, ranks.get(check.tensor, 0))
                for check in (*checks, *found)
            ],
            theirs=theirs,
            explanations=_explanations(targets, case, plan, tensors),
            references=references,
        )


def _targets(case: Case, plan: Plan, options: RunOptions) -> list[Target]:
    """Judge, before anything is computed, which elements are to be explained."""
    if not options.explain:
        return []
    from cnncli.runs.explaining import judge_targets

    return judge_targets(
        options.explain,
        case.layer,
        plan,
        backward=case.wants_backward,
        layout=case.settings.layout,
    )


def _explanations(
    targets: list[Target], case: Case, plan: Plan, tensors: dict[str, TensorResult]
) -> list[Explanation]:
    if not targets:
        return []
    from cnncli.runs.explaining import explain_targets

    arrays = {name: tensor.array for name, tensor in tensors.items()}
    return explain_targets(targets, case.layer, plan, arrays, case.settings.layout)


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
    import numpy as np

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
    arrays = {name: tensor.array for name, tensor in tensors.items()}
    problem = Problem(layer=case.layer, plan=plan, tensors=arrays)
    checks: list[Check] = []
    judged: dict[str, list[tuple[NDArray[Any], str]]] = {}
    given: dict[str, list[tuple[Source, Shape]]] = {}
    for name, assertions in case.expect.items():
        tensor = tensors[name]
        for assertion in assertions:
            reference, stored = None, "float64"
            written: Shape = ()
            if assertion.source is not None:
                reference, stored = load_reference(
                    ingredients, assertion.source, name, tensor.shape
                )
                written = reference.shape
                if not assertion.index and reference.ndim == tensor.array.ndim:
                    reference = to_inside(layout, name, reference)
                if assertion.kind == "npy" and is_gradchecked(case, name):
                    judged.setdefault(name, []).append((reference, stored))
                    given.setdefault(name, []).append((assertion.source, written))
                    if not assertion.tolerance.derived:
                        continue
            # Who writes a shape or an index writes it of the tensor as it stands outside.
            as_written = assertion.kind == "shape" or assertion.index
            own = {name: tensor.outside} if as_written else {}
            given_array = None if reference is None else (reference, stored)
            check = judge_assertion(
                assertion, problem.changed(**own), name, tensor.stored, given_array
            )
            if as_written:
                check = inside(check, layout, tensor.array.ndim)
            elif assertion.is_whole and assertion.source is not None:
                check = with_lookalike(check, plan, assertion.source, written, layout)
            checks.append(check)
            if assertion.kind == "npy" and reference is not None:
                _keep(keep, "expected", {name: reference}, tensors)
    if case.gradcheck is not None:
        from cnncli.checks.gradients import check_gradients

        numeric: dict[str, NDArray[Any]] = {}
        found = check_gradients(
            problem,
            judged,
            case.gradcheck,
            case.settings.seed,
            options.progress,
            None if keep is None else numeric,
        )
        for one in found:
            arrays_given = given.get(one.tensor, []) if one.subject == "expected" else []
            is_alone = len(arrays_given) == 1 and not one.identity
            is_named = with_lookalike(one, plan, *arrays_given[0], layout) if is_alone else one
            checks.append(is_named)
        last = {name: each[-1][0] for name, each in judged.items() if name in numeric}
        _keep(keep, "numeric", numeric, tensors)
        _keep(keep, "expected", last, tensors)
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
    from cnncli.runs.against import judge_all, prepare

    arrays = {name: tensor.array for name, tensor in tensors.items()}
    problem = Problem(layer=case.layer, plan=plan, tensors=arrays)
    checks: list[Check] = []
    theirs: dict[str, dict[str, TensorResult]] = {}
    for asked in case.against:
        implementations = resolve_asked(asked, options)
        by_call = any(one.takes_all for one in implementations)
        prepared = prepare(case, problem, by_call=by_call)
        for implementation in implementations:
            label = implementation.label
            if label in theirs:
                continue  # asked by two of its names
            (judged,) = judge_all(implementation, [prepared])
            _keep(keep, label, judged.tensors, tensors)
            told = [_with_notes(check, judged.computed.notes) for check in judged.checks]
            checks += _forgiven(case, plan, arrays, told, judged.tensors)
            if by_call:
                continue  # what a function gave may be of any type, and is no result of the case
            theirs[label] = {
                name: describe(
                    name,
                    tensors[name].role,
                    array,
                    label,
                    str(array.dtype),
                    case.settings.layout,
                )
                for name, array in judged.tensors.items()
            }
    return checks, theirs


def resolve_asked(asked: Against, options: RunOptions) -> list[Implementation]:
    """Return the implementations that a case's or a batch's `against` names, within its limits.

    Raises UsageError or MissingExtraError where there is none, or where it cannot start.
    """
    from cnncli.implementations.table import resolve
    from cnncli.runs.against import judge_limits, limits_of

    limits = limits_of(options.max_memory, options.user_seconds)
    found = resolve(asked.text, asked.where, asked.base, limits=limits, run_all=options.run_all)
    if any(one.takes_all for one in found):
        judge_limits(options.max_memory)
    return found


def prepare_case(case: Case, options: RunOptions) -> Prepared:
    """Compute a case and return it ready for people's functions; raise CnncliError at its place."""
    import numpy as np

    from cnncli.runs.against import prepare

    try:
        with np.errstate(all="ignore"):
            made = compute(replace(case, against=(), gradcheck=None), options)
        arrays = {name: one.array for name, one in made.tensors.items()}
        problem = Problem(layer=case.layer, plan=made.plan, tensors=arrays)
        return prepare(case, problem, by_call=True)
    except CnncliError as error:
        raise error.at(case.where) from None


def _with_notes(check: Check, notes: Sequence[str]) -> Check:
    """Return a check with what loading an implementation's file showed."""
    joined = "; ".join(text for text in (check.note, *notes) if text)
    return replace(check, note=joined or None)


def _keep(
    keep: References | None,
    whose: str,
    arrays: Tensors,
    tensors: dict[str, TensorResult],
) -> None:
    """Put arrays of this case's tensors, with as many axes, into `keep`, where it is wanted."""
    for name, array in arrays.items():
        if keep is not None and name in tensors and array.ndim == tensors[name].array.ndim:
            keep.setdefault(name, {})[whose] = array


def _forgiven(
    case: Case, plan: Plan, ours: Tensors, checks: Sequence[Check], theirs: Tensors
) -> list[Check]:
    """Return checks as a gradient check judges ties, where the case is one of gradients."""
    from cnncli.checks.ties import forgive_ties

    problem = Problem(layer=case.layer, plan=plan, tensors=ours)
    return [
        forgive_ties(check, problem, theirs.get(check.tensor))
        if is_gradchecked(case, check.tensor)
        else check
        for check in checks
    ]


def is_gradchecked(case: Case, name: str) -> bool:
    """Tell whether the case checks gradient `name` by a numeric one."""
    if case.gradcheck is None or name not in case.layer.gradient_names:
        return False
    return case.gradcheck.wrt is None or name[1:] in case.gradcheck.wrt

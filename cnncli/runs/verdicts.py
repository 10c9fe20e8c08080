"""The verdicts on a case that was computed: is each array what it should be?

Three ask: what the case expects, the numeric gradients, and whoever else computes the case. Arrays
are judged NCHW; a check tells places and shapes in the order of the case's layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from cnncli.cases.assertions import Assertion
from cnncli.cases.case import Case
from cnncli.cases.layout import to_inside
from cnncli.cases.sources import Source
from cnncli.cases.tensors import Ingredients, load_reference
from cnncli.checks.axisorder import inside, outside
from cnncli.checks.check import Check
from cnncli.checks.expect import judge_assertion
from cnncli.checks.gradients import check_gradients
from cnncli.checks.lookalike import with_lookalike
from cnncli.checks.ties import forgive_ties
from cnncli.layers.base import Problem, Shape, Tensors
from cnncli.runs.options import RunOptions
from cnncli.runs.result import References, TensorResult


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What was found of a case."""

    checks: list[Check] = field(default_factory=list)
    theirs: dict[str, Tensors] = field(default_factory=dict)
    """What each library that the case names computed, by its label."""
    references: References = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Gradient:
    """A gradient that was given, which the numeric one judges beside ours; `shape` as written."""

    array: NDArray[Any]
    stored: str
    source: Source
    shape: Shape


def judge_case(
    ingredients: Ingredients,
    problem: Problem,
    tensors: dict[str, TensorResult],
    options: RunOptions,
) -> Verdicts:
    """Return the verdicts on a case, all its tensors in `problem`, and in `tensors` what is told.

    Raises CnncliError where what it is judged by cannot be read, or asked.
    """
    case, layout = ingredients.case, ingredients.case.settings.layout
    references: References = {}
    keep = references if options.keep_references else None
    expected, given = _judge_expected(ingredients, problem, tensors, keep)
    gradients = _judge_gradients(case, problem, given, options, keep)
    own = [_doubt_dy(check, case) for check in (*expected, *gradients)]
    others, theirs = _judge_by_others(case, problem, options, keep)
    ranks = {name: array.ndim for name, array in problem.tensors.items()}
    return Verdicts(
        checks=[outside(one, layout, ranks.get(one.tensor, 0)) for one in (*own, *others)],
        theirs=theirs,
        references=references,
    )


def _judge_expected(
    ingredients: Ingredients,
    problem: Problem,
    tensors: dict[str, TensorResult],
    keep: References | None,
) -> tuple[list[Check], dict[str, list[_Gradient]]]:
    """Return the verdicts on what the case expects, and the gradients that it leaves to another."""
    case = ingredients.case
    checks: list[Check] = []
    left: dict[str, list[_Gradient]] = {}
    for name, assertions in case.expect.items():
        for one in assertions:
            given, written = _load(ingredients, one, name, tensors[name])
            is_file = one.kind == "npy" and given is not None
            if is_file and is_gradchecked(case, name):
                assert given is not None
                assert one.source is not None
                array, stored = given
                gradient = _Gradient(array=array, stored=stored, source=one.source, shape=written)
                left.setdefault(name, []).append(gradient)
                if not one.tolerance.derived:
                    continue
            checks.append(_judge(case, problem, one, name, tensors[name], given, written))
            if is_file and given is not None:
                _keep(keep, "expected", {name: given[0]}, problem)
    return checks, left


def _load(
    ingredients: Ingredients, assertion: Assertion, name: str, tensor: TensorResult
) -> tuple[tuple[NDArray[Any], str] | None, Shape]:
    """Return the array that an assertion gives, NCHW, with its stored type; and its own shape."""
    if assertion.source is None:
        return None, ()
    array, stored = load_reference(ingredients, assertion.source, name, tensor.shape)
    written = array.shape
    if not assertion.index and array.ndim == tensor.array.ndim:
        array = to_inside(ingredients.case.settings.layout, name, array)
    return (array, stored), written


def _judge(
    case: Case,
    problem: Problem,
    assertion: Assertion,
    name: str,
    tensor: TensorResult,
    given: tuple[NDArray[Any], str] | None,
    written: Shape,
) -> Check:
    layout = case.settings.layout
    # Who writes a shape or an index writes it of the tensor as it stands outside.
    as_written = assertion.kind == "shape" or assertion.index
    own = {name: tensor.outside} if as_written else {}
    check = judge_assertion(assertion, problem.changed(**own), name, tensor.stored, given)
    if as_written:
        return inside(check, layout, tensor.array.ndim)
    if assertion.is_whole and assertion.source is not None:
        return with_lookalike(check, problem.plan, assertion.source, written, layout)
    return check


def _judge_gradients(
    case: Case,
    problem: Problem,
    given: dict[str, list[_Gradient]],
    options: RunOptions,
    keep: References | None,
) -> list[Check]:
    """Return the verdicts of the numeric gradients on ours, and on those that were given."""
    if case.gradcheck is None:
        return []
    numeric: dict[str, NDArray[Any]] = {}
    found = check_gradients(
        problem,
        {name: [(one.array, one.stored) for one in some] for name, some in given.items()},
        case.gradcheck,
        case.settings.seed,
        options.progress,
        None if keep is None else numeric,
    )
    checks = []
    for check in found:
        some = given.get(check.tensor, []) if check.subject == "expected" else []
        if len(some) == 1 and not check.identity:
            layout = case.settings.layout
            (one,) = some
            checks.append(with_lookalike(check, problem.plan, one.source, one.shape, layout))
        else:
            checks.append(check)
    last = {name: some[-1].array for name, some in given.items() if name in numeric}
    _keep(keep, "numeric", numeric, problem)
    _keep(keep, "expected", last, problem)
    return checks


def _doubt_dy(check: Check, case: Case) -> Check:
    """Return the check, which of a wrong gradient of others asks whether it was of our own dy."""
    if check.verdict != "fail" or not check.judges_given or "dy" in case.sources:
        return check
    if check.tensor not in case.layer.gradient_names or not check.compares_elements:
        return check  # not of a gradient's values
    doubt = "dy was not given, so it was made here: was this gradient computed with that dy?"
    return _noted(check, [doubt])


def _judge_by_others(
    case: Case, problem: Problem, options: RunOptions, keep: References | None
) -> tuple[list[Check], dict[str, Tensors]]:
    """Return the verdicts of every implementation that the case names, and what each computed."""
    if not case.against:
        return [], {}
    # Start-up: all libraries' ways to say a case, and what runs people's code.
    from cnncli.runs.against import ask, judge_all, resolve_asked

    checks: list[Check] = []
    theirs: dict[str, Tensors] = {}
    for named in case.against:
        implementations = resolve_asked(named, options)
        by_call = any(one.by_call for one in implementations)
        asked = ask(case, problem, by_call=by_call)
        for implementation in implementations:
            label = implementation.label
            if label in theirs:
                continue  # asked by two of its names
            (judged,) = judge_all(implementation, [asked])
            _keep(keep, label, judged.tensors, problem)
            noted = [_noted(check, judged.computed.notes) for check in judged.checks]
            checks += forgive_gradients(case, problem, noted, judged.tensors)
            if not by_call:  # what a function gave may be of any type, and is no result of the case
                theirs[label] = judged.tensors
    return checks, theirs


def forgive_gradients(
    case: Case, problem: Problem, checks: Sequence[Check], theirs: Tensors
) -> list[Check]:
    """Return checks as a gradient check judges ties, where the case is one of gradients."""
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


def _noted(check: Check, notes: Sequence[str]) -> Check:
    """Return a check with more notes, such as what loading an implementation's file showed."""
    return replace(check, note="; ".join(filter(None, [check.note, *notes])) or None)


def _keep(keep: References | None, whose: str, arrays: Tensors, problem: Problem) -> None:
    """Put arrays of this case's tensors, with as many axes, into `keep`, where it is wanted."""
    ours = problem.tensors
    for name, array in arrays.items():
        if keep is not None and name in ours and array.ndim == ours[name].ndim:
            keep.setdefault(name, {})[whose] = array

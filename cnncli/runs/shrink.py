"""The smallest geometry at which a submission's function still goes wrong, and its first element.

Axes and parameters shrink greedily, many candidates a process; a candidate counts only where the
reason and, if one is known, the cause stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.cases.case import Case
from cnncli.cases.commandline import command_line
from cnncli.cases.sources import Random, Source
from cnncli.checks.against import rights_of
from cnncli.checks.check import Check
from cnncli.checks.reasons import EXCEPTION, SHAPE, TIES, UNKNOWN, VALUES
from cnncli.errors import CnncliError
from cnncli.implementations.base import Implementation
from cnncli.layers.base import Problem, shape_text
from cnncli.layers.parameters import show
from cnncli.runs.against import AskedCase, judge_all
from cnncli.runs.exercise import make_exercise
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Result

ROUNDS = 25
MOST_TERMS = 12
REASONS = (VALUES, SHAPE, TIES, EXCEPTION)
SECONDS = 2.0
LEAST = {"kernel": 1, "stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}
"""The parameters that shrink, an axis at a time, and how far."""


def shrink_all(
    submission: Implementation,
    cases: Sequence[AskedCase],
    results: Sequence[Result],
    options: RunOptions,
) -> dict[str, str]:
    """Return, of every function that is wrong, its smallest wrong case in words."""
    texts: dict[str, str] = {}
    options = replace(options, progress=None)
    for one, result in zip(cases, results, strict=True):
        theirs = (check for check in result.failing if check.check == "against")
        first = next(theirs, None)
        if first is None or first.reason not in REASONS or one.function in texts:
            continue
        if any(not isinstance(source, Random) for source in one.case.sources.values()):
            texts[one.function] = f"{one.function}: not shrunk, since its tensors are from files"
            continue
        small, check = _shrink(submission, one, first, options)
        command = _command(small, submission, options)
        texts[one.function] = _told(small, _explained(check, first), command)
    return texts


def _shrink(
    submission: Implementation, asked: AskedCase, check: Check, options: RunOptions
) -> tuple[AskedCase, Check]:
    best, found = asked, check
    for _ in range(ROUNDS):
        smaller = []
        for case in _candidates(best):
            try:
                one = make_exercise(case, options)
            except CnncliError:
                continue  # no such geometry
            if _size(one) < _size(best):
                smaller.append(replace(one, task=replace(one.task, seconds=SECONDS)))
        smaller.sort(key=_size)
        if not smaller:
            break
        judged = judge_all(submission, smaller)
        wrong = (
            (one, same)
            for one, found_there in zip(smaller, judged, strict=True)
            if (same := _same(check, found_there.checks)) is not None
        )
        first = next(wrong, None)
        if first is None:
            break
        best, found = first
    return best, found


def _same(check: Check, others: Sequence[Check]) -> Check | None:
    """Return the check that fails as `check` does: the reason, and the cause where one is known."""
    known = _causes(check)
    for other in others:
        is_alike = other.tensor == check.tensor and other.reason == check.reason
        if is_alike and check.reason == EXCEPTION:
            is_alike = _exception(other) == _exception(check)
        if is_alike and (not known or known[0] in _causes(other)):
            return other
    return None


def _causes(check: Check) -> list[str]:
    """Return the causes that explain a check, the likeliest first."""
    return [str(row["cause"]) for row in check.diagnosis or () if row["cause"] != UNKNOWN]


def _exception(check: Check) -> str:
    """Return the exception that a check tells, without what it says."""
    return (check.note or "").partition(":")[0]


def _explained(small: Check, whole: Check) -> Check:
    """Return the small case's check with those causes alone that explain the whole case too."""
    rows = [row for row in small.diagnosis or () if row["cause"] in _causes(whole)]
    return replace(small, diagnosis=rows or None)


def _size(asked: AskedCase) -> tuple[int, int]:
    """Return how large a case is: elements, then how far its parameters are from plain."""
    plan = asked.problem.plan
    elements = sum(math.prod(shape) for shape in (*plan.inputs.values(), plan.upstream))
    numbers = [plan.params.get(name) or () for name in LEAST]
    flat = [n for value in numbers for n in value]
    return elements, sum(n if isinstance(n, int) else sum(n) for n in flat)


def _candidates(asked: AskedCase) -> Iterator[Case]:
    """Yield every case with one thing smaller."""
    case, plan = asked.case, asked.problem.plan
    sources: dict[str, Source] = {}
    for name in case.layer.source_names:  # the order in which a command's tensors are drawn
        source = case.sources.get(name)
        if isinstance(source, Random):
            sources[name] = replace(source, shape=plan.inputs.get(name), zero_extend=None)
    given_names = [name for name in LEAST if name in case.given and name in plan.params]
    shrinking = {name: plan.params[name] for name in given_names}
    given = replace(case, sources=sources, params=replace(case.params, **shrinking))
    is_transposed = bool(plan.params.get("transposed"))
    groups = int(plan.params.get("groups", 1))
    for axis, size in enumerate(plan.inputs["x"]):
        for less in _less(size):
            changed = {"x": (axis, less)}
            if axis == 1:
                channel = {name: (0, less) for name in sources if name not in ("x", "w", "b", "dy")}
                w = (0, less) if is_transposed else (1, less // groups)
                changed |= {**channel, "w": w}
            yield _resized(given, changed)
    for axis, size in enumerate(plan.inputs.get("w", ())):
        is_filters = axis == (1 if is_transposed else 0)
        for less in _less(size) if is_filters or axis > 1 else ():
            b = {"b": (0, less * groups if is_transposed else less)} if is_filters else {}
            yield _resized(given, {"w": (axis, less), **b})
    for name, values in shrinking.items():
        for axis, value in enumerate(values):
            smaller: list[Any] = (
                list(_less(value, LEAST[name]))
                if isinstance(value, int)
                else list(_less_pair(value))
            )
            for less_value in smaller:
                changed_axes = (*values[:axis], less_value, *values[axis + 1 :])
                yield replace(given, params=replace(given.params, **{name: changed_axes}))


def _less(size: int, floor: int = 1) -> list[int]:
    return sorted({floor, size // 2, size - 1} & set(range(floor, size)))


def _less_pair(pair: tuple[int, int]) -> list[tuple[int, int]]:
    before, after = pair
    return [(b, a) for b, a in ((0, 0), (before - 1, after - 1)) if 0 <= b < before and a >= 0]


def _resized(case: Case, changed: dict[str, tuple[int, int]]) -> Case:
    sources = dict(case.sources)
    for name, (axis, size) in changed.items():
        source = sources.get(name)
        if isinstance(source, Random) and source.shape is not None:
            shape = (*source.shape[:axis], size, *source.shape[axis + 1 :])
            sources[name] = replace(source, shape=shape)
    return replace(case, sources=sources)


def _told(small: AskedCase, check: Check, command: str) -> str:
    """Say a small case whole: shapes, parameters, the command, and its first wrong element."""
    plan = small.problem.plan
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in plan.inputs.items())
    numbers = {n: v for n, v in plan.params.items() if n in ("kernel", "stride", "padding")}
    shown = ", ".join(f"{name} {show(value)}" for name, value in numbers.items())
    lines = [
        f"{small.function}: {check.headline}",
        f"  smallest geometry found: {shapes}{'; ' + shown if shown else ''}",
        f"  {command}",
    ]
    if check.worst is not None:
        place = ",".join(map(str, check.worst.index))
        lines.append(
            f"  {check.tensor}[{place}] is {check.worst.got:.6g}, "
            f"should be {check.worst.expected:.6g}"
        )
        rights = rights_of(small.task, small.problem)
        (right,) = (one.problem for one in rights if one.name == check.tensor)
        terms = _terms(check, right)
        if terms:
            lines.append(f"  {check.tensor}[{place}] = {terms}")
    return "\n".join(lines)


def _command(small: AskedCase, submission: Implementation, options: RunOptions) -> str:
    """Return the command that runs the small case."""
    more = ["--run-all"] if options.run_all else []
    return command_line(small.case, "--against", submission.label, *more)


def _terms(check: Check, right: Problem) -> str:
    """Write the right element as the sum that it is: of x for y, of dy for a gradient.

    The factor of each is the derivative, taken by our backward one dy at a time; y of batch norm is
    no sum of x.
    """
    assert check.worst is not None
    layer, plan, index = right.layer, right.plan, check.worst.index
    name, tensors = check.tensor, right.tensors
    if layer.name == "bn" and name == "y":
        return ""
    one = np.zeros(plan.upstream)
    if name == "y":
        one[index] = 1
        factors, source = layer.backward(plan, {**tensors, "dy": one})["dx"], "x"
        rest = float(tensors[name][index] - np.vdot(factors, tensors["x"]))
    elif name in plan.gradients:
        factors, source, rest = np.zeros(plan.upstream), "dy", 0.0
        for place in np.ndindex(plan.upstream):
            one[place] = 1
            factors[place] = layer.backward(plan, {**tensors, "dy": one})[name][index]
            one[place] = 0
    else:
        return ""
    return _sum_text(factors, tensors[source], source, rest)


def _sum_text(factors: NDArray[Any], values: NDArray[Any], source: str, rest: float) -> str:
    places = [tuple(int(i) for i in place) for place in np.argwhere(factors)]
    shown = [
        f"{factors[p]:.6g}*{source}[{','.join(map(str, p))}] ({values[p]:.6g})"
        for p in places[:MOST_TERMS]
    ]
    if len(places) > MOST_TERMS:
        shown.append(f"{len(places) - MOST_TERMS} more terms")
    if abs(rest) > 1e-12 * max(1.0, float(np.abs(values).max(initial=0))):
        shown.append(f"{rest:.6g}")
    return " + ".join(shown) or "0: nothing reaches it"

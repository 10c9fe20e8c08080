"""The smallest geometry at which a submission's function still goes wrong, and its first element.

Axes, kernel, stride, padding and dilation shrink greedily, many candidates a process; a candidate
counts only where the reason and, if one is known, the cause stay the same.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.cases.case import Case
from cnncli.cases.sources import Random, Source
from cnncli.checks.against import rights_of
from cnncli.checks.check import Check
from cnncli.checks.reasons import EXCEPTION, SHAPE, TIES, VALUES
from cnncli.errors import CnncliError
from cnncli.implementations.base import Implementation
from cnncli.layers.base import Problem, shape_text
from cnncli.runs.against import Prepared, judge_all
from cnncli.runs.one import RunOptions, prepare_case
from cnncli.runs.result import Result

ROUNDS = 25
MOST_TERMS = 12
REASONS = (VALUES, SHAPE, TIES, EXCEPTION)
SECONDS = 2.0


def shrink_all(
    submission: Implementation,
    prepared: Sequence[Prepared],
    results: Sequence[Result],
    options: RunOptions,
) -> dict[str, str]:
    """Return, of every function that is wrong, its smallest wrong case in words."""
    texts: dict[str, str] = {}
    options = replace(options, progress=None)
    for one, result in zip(prepared, results, strict=True):
        first = next((check for check in result.checks if check.fails_case), None)
        if first is None or first.reason not in REASONS or one.function in texts:
            continue
        if any(not isinstance(source, Random) for source in one.case.sources.values()):
            texts[one.function] = f"{one.function}: not shrunk, since its tensors are from files"
            continue
        small, check = _shrink(submission, one, first, options)
        texts[one.function] = _told(submission, small, check)
    return texts


def _shrink(
    submission: Implementation, prepared: Prepared, check: Check, options: RunOptions
) -> tuple[Prepared, Check]:
    best, found = prepared, check
    for _ in range(ROUNDS):
        smaller = []
        for case in _candidates(best):
            try:
                one = prepare_case(case, options)
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
    for other in others:
        if other.tensor == check.tensor and other.reason == check.reason:
            known = [row["cause"] for row in check.diagnosis or () if row["cause"] != "unknown"]
            causes = [row["cause"] for row in other.diagnosis or ()]
            if not known or known[0] in causes:
                return other
    return None


def _size(prepared: Prepared) -> tuple[int, int]:
    """Return how large a case is: elements, then how far its parameters are from plain."""
    plan = prepared.problem.plan
    elements = sum(math.prod(shape) for shape in (*plan.inputs.values(), plan.upstream))
    numbers = [plan.params.get(name, ()) for name in ("stride", "dilation", "padding")]
    flat = [n for value in numbers for n in value]
    return elements, sum(n if isinstance(n, int) else sum(n) for n in flat)


def _candidates(prepared: Prepared) -> Iterator[Case]:
    """Yield every case with one thing smaller."""
    case, plan = prepared.case, prepared.problem.plan
    sources: dict[str, Source] = {
        name: replace(source, shape=plan.inputs[name])
        for name, source in case.sources.items()
        if isinstance(source, Random) and name in plan.inputs
    }
    dy = case.sources.get("dy")
    if isinstance(dy, Random):
        sources["dy"] = replace(dy, shape=None)
    params = {n: v for n, v in plan.params.items() if hasattr(case.params, n)}
    params = {n: v for n, v in params.items() if n in case.given}
    if "kernel" in params or "kernel" in plan.params:
        params["kernel"] = plan.params["kernel"]
    given = replace(case, sources=sources, params=replace(case.params, **params))
    x = plan.inputs["x"]
    for axis, size in enumerate(x):
        for less in _less(size):
            changed = {"x": (axis, less)}
            if axis == 1:
                changed |= {n: (1 if n == "w" else 0, less) for n in sources if n not in ("x", "b")}
            yield _resized(given, {n: to for n, to in changed.items() if n != "dy"})
    for axis, size in enumerate(plan.inputs.get("w", ())):
        for less in _less(size) if axis != 1 else ():
            changed = {"w": (axis, less)} | ({"b": (0, less)} if axis == 0 else {})
            yield _resized(given, changed)
    for name in set(params) & {"kernel", "stride", "dilation", "padding"}:
        for axis, value in enumerate(params[name]):
            floor = 0 if name == "padding" else 1
            smaller: list[Any] = (
                list(_less(value, floor)) if isinstance(value, int) else list(_less_pair(value))
            )
            for less_value in smaller:
                changed_axes = (*params[name][:axis], less_value, *params[name][axis + 1 :])
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


def _told(submission: Implementation, small: Prepared, check: Check) -> str:
    """Say a small case whole: shapes, parameters, the command, and its first wrong element."""
    plan = small.problem.plan
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in plan.inputs.items())
    numbers = {n: v for n, v in plan.params.items() if n in ("kernel", "stride", "padding")}
    shown = ", ".join(f"{name} {_plain(value)}" for name, value in numbers.items())
    lines = [
        f"{small.function}: {check.headline}",
        f"  smallest geometry found: {shapes}{'; ' + shown if shown else ''}",
        f"  {_command(small, submission)}",
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


def _plain(value: Any) -> str:
    pairs = [f"{one[0]}:{one[1]}" if isinstance(one, tuple | list) else str(one) for one in value]
    return ",".join(pairs)


def _command(small: Prepared, submission: Implementation) -> str:
    """Return the command that runs the small case."""
    case, plan = small.case, small.problem.plan
    words = ["cnncli", case.layer.name]
    for name, source in case.sources.items():
        words += [f"--{name.replace('_', '-')}", source.text]
    for name in ("kernel", "stride", "padding", "dilation"):
        if name in plan.params and (name in case.given or name == "kernel"):
            words += [f"--{name}", _plain(plan.params[name])]
    for name in ("mode", "groups", "eps"):
        if name in case.given:
            words += [f"--{name}", str(plan.params[name])]
    words += ["--seed", str(case.settings.seed)]
    if case.settings.rng != "pcg64":
        words += ["--rng", case.settings.rng]
    for call in case.call:
        targets = ", ".join(f"pad({t.name})" if t.padded else t.name for t in call.targets)
        words += ["--call", f"{targets}={call.text}"]
    return shlex.join([*words, "--against", submission.label])


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

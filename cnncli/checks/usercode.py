"""Verdicts on people's own functions: what each gave, held against ours, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.cases.assertions import Tolerance
from cnncli.cases.calls import Call
from cnncli.cases.node import nearest
from cnncli.checks.against import JUDGED_AS, ROUNDINGS, judge_tensor
from cnncli.checks.bounds import rounding_bound
from cnncli.checks.check import CHANGED, Check, wrote_into
from cnncli.checks.diagnosis import explain
from cnncli.checks.ties import find_ties
from cnncli.floats import FLOAT32, default_tolerance, float_type
from cnncli.implementations.base import Computed
from cnncli.implementations.usercode.isolate import Outcome, Returned, Trouble
from cnncli.layers.base import Layer, Plan, Problem, Tensors, shape_text

VALUES = "wrong values"
SHAPE = "wrong shape"
TIES = "wrong at ties only"
MISSING = "missing"
UNSTEADY = (
    "right when called first, not when called again: it keeps something from call to call "
    "(a global, a cache by shape, random numbers)"
)


@dataclass(frozen=True, kw_only=True)
class Right:
    """What one tensor should be, and the case that it is right for (x padded, where so asked)."""

    plan: Plan
    tensors: Tensors
    array: NDArray[Any]


def judge_outcome(
    label: str,
    layer: Layer,
    calls: Sequence[Call],
    outcome: Outcome,
    right: Mapping[str, Right],
    tolerance: Tolerance,
    broken: Sequence[str] = (),
) -> list[Check]:
    """Return a check for every judged tensor: right, or the first reason why it is not.

    `broken` says what of the file could not be loaded, which explains a missing function.
    """
    checks = []
    for call in calls:
        for target in call.judged:
            returned = outcome.returned.get(target.name)
            if returned is None:
                check = _troubled(label, target.name, call, outcome.trouble, broken)
            else:
                check = _judge(label, layer, target.name, returned, right[target.name], tolerance)
            if check.verdict == "pass" and target.name in outcome.unsteady:
                check = _unsteady(check)
            if outcome.changed:
                changed = list(dict.fromkeys(outcome.changed))
                check = replace(check, changed=changed)
                if check.verdict == "pass":
                    note = wrote_into(changed)
                    check = replace(check, verdict="fail", reason=CHANGED, note=note)
            checks.append(check)
    return checks


def _unsteady(check: Check) -> Check:
    """Return a right check as one that fails since the function is not right a second time."""
    cause = {"cause": UNSTEADY, "distance": 0.0, "fault": "kept from call to call",
             "look": "look for a global, a default argument or a seed"}  # fmt: skip
    note = "; ".join(filter(None, [UNSTEADY, check.note]))
    return replace(check, verdict="fail", reason=VALUES, note=note, diagnosis=[cause])


def _troubled(
    label: str, name: str, call: Call, trouble: Trouble | None, broken: Sequence[str]
) -> Check:
    if trouble is None:
        trouble = Trouble(reason="exception", message="it gave no result")
    notes = []
    if trouble.function not in (None, call.function):
        notes.append(f"in {trouble.function}, called before")
    if trouble.reason == MISSING:
        function = trouble.function or call.function
        notes.append(f"there is no function {function}{nearest(function, trouble.defined)}")
        notes += [trouble.message] if trouble.message else []
        notes += broken[:3]
    elif trouble.message:
        notes.append(trouble.message)
    if trouble.line:
        notes.append(f"{trouble.line}: {trouble.text}" if trouble.text else trouble.line)
    return Check(
        check="against",
        implementation=label,
        tensor=name,
        verdict="fail",
        reason=trouble.reason,
        note="; ".join(notes) or None,
    )


def _judge(
    label: str, layer: Layer, name: str, returned: Returned, right: Right, tolerance: Tolerance
) -> Check:
    ours = right.array
    if returned.array is None:
        if returned.refused is not None:
            return Check(
                check="against",
                implementation=label,
                tensor=name,
                verdict="fail",
                reason=SHAPE,
                note=f"it returned {returned.refused}",
            )
        shape = returned.shape or ()
        return Check(
            check="against",
            implementation=label,
            tensor=name,
            verdict="fail",
            reason=SHAPE,
            got=list(shape),
            expected=list(ours.shape),
            note=f"{shape_text(shape)} should be {shape_text(ours.shape)}",
        )
    theirs, stored = returned.array, str(returned.array.dtype)
    if ours.dtype.kind == "f" and theirs.dtype.kind != "f":
        theirs = theirs.astype(np.float64)
    computed = Computed(tensors={name: theirs}, stored=_judged_as(stored, ours))
    problem = Problem(layer=layer, plan=right.plan, tensors=right.tensors)
    allowed = _tolerance(computed.stored, ours, tolerance)
    check = judge_tensor(label, name, computed, ours, allowed, problem)
    if stored == "float16" != computed.stored and ours.dtype.kind == "f":
        check = replace(check, note=_narrow_note(check.note, tolerance))
    if check.verdict != "fail":
        return check
    wrong = None if check.comparison is None else check.comparison.wrong
    if check.reason == VALUES and wrong is not None:
        ties = tied_places(problem, name)
        if ties is not None and not (wrong & ~ties).any():
            check = replace(check, reason=TIES)
    if stored[0] in "iub" and ours.dtype.kind == "f" and check.reason == VALUES:
        note = f"it is of {stored}, which cuts every value to a whole number"
        if np.array_equal(theirs, np.trunc(ours)):
            cause = {"cause": note, "distance": 0.0, "fault": "whole numbers",
                     "look": "make the array that results are written to of float64"}  # fmt: skip
            return replace(check, note=note, diagnosis=[cause])
        check = replace(check, note=note)
    found = _explained(check, problem, theirs, stored)
    unknown = [row["cause"] for row in found.diagnosis or ()] == ["unknown"]
    if unknown and stored == "float64" and _is_of_float32(check, problem, ours, theirs):
        assert check.comparison is not None
        far = check.comparison.norm_rel_error
        digits = f"1e{round(math.log10(far))}"
        cause = {"cause": f"{name} is right to about {digits}: something was computed in float32",
                 "distance": far, "fault": "float32 inside",
                 "look": "look for np.float32, or a library that computes in it"}  # fmt: skip
        return replace(found, diagnosis=[cause], runner_up=None, sits=None)
    return found


def _is_of_float32(
    check: Check, problem: Problem, ours: NDArray[Any], theirs: NDArray[Any]
) -> bool:
    """Tell whether the errors are such as float32 makes in each element's own sum.

    Its bound alone is loose: they must be small as a whole too, and not follow the tensor itself,
    as an eps in the wrong place does.
    """
    far = 0.0 if check.comparison is None else check.comparison.norm_rel_error
    unit = FLOAT32.unit_roundoff
    if ours.dtype != np.float64 or not unit / 100 < far < 8 * unit:
        return False
    bound = rounding_bound(problem, check.tensor, unit)
    with np.errstate(all="ignore"):
        error = theirs - ours
        size = float(np.linalg.norm(error) * np.linalg.norm(ours))
        follows = abs(float(np.vdot(error, ours))) / size
        return bool((np.abs(error) <= bound).all()) and follows < 0.5


def _judged_as(stored: str, ours: NDArray[Any]) -> str:
    """Return the type that a result is judged as: no coarser than float32, or than the case is.

    Whoever returns float16 would else choose a tolerance that hides an error of a tenth.
    """
    if stored not in ("float16", "float32", "float64"):
        return "float64"
    return "float32" if stored == "float16" != str(ours.dtype) else stored


def _narrow_note(note: str | None, tolerance: Tolerance) -> str:
    text = "it returns float16, which holds 3 digits"
    if tolerance.rtol is None and tolerance.atol is None:
        text += ": judged as float32"
    kept = [part for part in (note or "").split("; ") if not part.startswith(JUDGED_AS)]
    return "; ".join(filter(None, [text, *kept]))


def _tolerance(stored: str, ours: NDArray[Any], given: Tolerance) -> Tolerance:
    """Return what was given, or a tolerance no larger than a rounding of the largest element.

    The default `atol` alone would pass zeros for a tensor whose every element is below it.
    """
    if given.rtol is not None or given.atol is not None or ours.dtype.kind != "f":
        return given
    rtol, atol = default_tolerance(stored, str(ours.dtype))
    finite = np.abs(ours[np.isfinite(ours)])
    largest = float(finite.max(initial=0))
    eps = max(float_type(kind).eps for kind in (stored, str(ours.dtype)))
    rounding = ROUNDINGS * eps * largest
    atol = max(rounding, min(atol, rtol * largest)) if largest else atol
    return replace(given, rtol=rtol, atol=atol)


def _explained(check: Check, problem: Problem, theirs: NDArray[Any], stored: str) -> Check:
    if check.tensor not in {"y", *problem.plan.gradients}:
        return check
    found = explain(check, problem, theirs, stored)
    if check.reason == TIES and (found.diagnosis or [{}])[0].get("cause") == "unknown":
        return replace(found, diagnosis=None)
    return found


def tied_places(problem: Problem, name: str) -> NDArray[np.bool_] | None:
    """Return which elements of max pooling's dx or indices hang on a tie; None elsewhere."""
    plan = problem.plan
    ties = find_ties(problem.changed(dy=np.ones(plan.upstream)))
    if ties is None or name not in ("dx", "indices"):
        return None
    shape = plan.inputs["x"] if name == "dx" else plan.upstream
    mask = np.zeros(int(np.prod(shape)), bool)
    for window, elements in ties.edges.items():
        if name == "dx":
            mask[elements] = True
        else:
            mask[window] = True
    return mask.reshape(shape)


def headline(check: Check) -> str:
    """Say in a line why a check failed: its cause, if one is known, else its reason."""
    known = [str(row["cause"]) for row in check.diagnosis or () if row["cause"] != "unknown"]
    if known:
        return " (or: ".join(known[:2]) + (")" if len(known) > 1 else "")
    if check.reason == VALUES and check.note and check.note.startswith(JUDGED_AS):
        return VALUES  # how it was judged is no cause
    if check.reason in ("exception", SHAPE, MISSING, CHANGED, VALUES) and check.note:
        return f"{check.reason}: {check.note}"
    return check.reason or check.verdict

"""Judging a case by what an implementation computes of it, tensor by tensor.

Libraries and people's functions are judged alike. What is judged are the tensors that a task asks
for, and how strictly hangs on what is known of the precision that they were computed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.cases.assertions import Tolerance
from cnncli.cases.node import nearest
from cnncli.checks.bounds import rounding_bound, share_of_bound
from cnncli.checks.check import Check, wrote_into
from cnncli.checks.compare import allowed_error, compare, why_untested
from cnncli.checks.mistakes import explain_mistake
from cnncli.checks.reasons import CHANGED, JUDGED_AS, MISSING, SHAPE, VALUES
from cnncli.floats import default_tolerance, float_type, unit_roundoff
from cnncli.implementations.base import Computed, Task, Trouble
from cnncli.layers.base import Problem, Shape, Tensors, shape_text

ROUNDINGS = 10
"""Units in the last place of the largest element that two right sums may differ by."""
UNSTEADY = (
    "right when called first, not when called again: it keeps something from call to call "
    "(a global, a cache by shape, random numbers)"
)


@dataclass(frozen=True, kw_only=True)
class Right:
    """One tensor that a task asks for, and the problem that holds it as it should be.

    That problem is the case's own, or has x padded beforehand. `function` is the one of people's
    that a call asks for the tensor; what a library computes has none.
    """

    name: str
    problem: Problem
    function: str | None = None

    @property
    def array(self) -> NDArray[Any]:
        """The tensor as it should be."""
        return self.problem.tensors[self.name]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A task, what an implementation made of it, and the verdicts on that.

    `ours` is the problem with every output and gradient as we computed it.
    """

    task: Task
    ours: Problem
    tolerance: Tolerance
    computed: Computed
    checks: list[Check]

    @property
    def tensors(self) -> Tensors:
        """What was computed of the tensors of `ours`, which the gradient of a padded x is not."""
        return {
            right.name: self.computed.tensors[right.name]
            for right in rights_of(self.task, self.ours)
            if right.problem is self.ours and right.name in self.computed.tensors
        }


def rights_of(task: Task, ours: Problem) -> list[Right]:
    """Return what a task asks for: the results of its calls, or every output and gradient."""
    if not task.calls:
        plan = task.problem.plan
        names = [*plan.outputs, *(plan.gradients if task.backward else ())]
        return [Right(name=name, problem=ours) for name in names]
    rights = []
    for call in task.calls:
        for target in call.judged:
            problem = task.padded if target.padded else ours
            assert problem is not None  # whoever made the task saw that the call wants it
            rights.append(Right(name=target.name, problem=problem, function=call.function))
    return rights


def judge(
    label: str, task: Task, computed: Computed, ours: Problem, tolerance: Tolerance
) -> Judged:
    """Return a check for every tensor that the task asks for, `got` theirs and `expected` ours.

    What the implementation `label` cannot say is skipped with its reason; that is no pass.
    """
    trouble = computed.trouble
    if computed.unsaid is not None:
        checks = [_skipped(label, "y", computed.unsaid)]
    elif trouble is not None and not task.calls:
        checks = [_failed(label, "y", trouble.reason, note=trouble.message or None)]
    else:
        rights = rights_of(task, ours)
        checks = [_judge(label, right, computed, tolerance) for right in rights]
    return Judged(task=task, ours=ours, tolerance=tolerance, computed=computed, checks=checks)


def _judge(label: str, right: Right, computed: Computed, tolerance: Tolerance) -> Check:
    """Return the verdict on one tensor: right, or the first reason why it is not."""
    if right.name in computed.tensors:
        check = _judge_tensor(label, right, computed, tolerance)
    else:
        check = _judge_absent(label, right, computed)
    if check.verdict == "pass" and right.name in computed.unsteady:
        cause = {"cause": UNSTEADY, "distance": 0.0, "fault": "kept from call to call",
                 "look": "look for a global, a default argument or a seed"}  # fmt: skip
        note = "; ".join(filter(None, [UNSTEADY, check.note]))
        check = replace(check, verdict="fail", reason=VALUES, note=note, diagnosis=[cause])
    if computed.changed:
        changed = list(dict.fromkeys(computed.changed))
        check = replace(check, changed=changed)
        if check.verdict == "pass":
            check = replace(check, verdict="fail", reason=CHANGED, note=wrote_into(changed))
    return check


def _judge_absent(label: str, right: Right, computed: Computed) -> Check:
    """Return why there is no array of a tensor."""
    name = right.name
    if name in computed.refused:
        return _failed(label, name, SHAPE, note=f"it returned {computed.refused[name]}")
    if name in computed.shapes:
        return _of_other_shape(label, right, computed.shapes[name])
    if name in computed.reasons:
        return _skipped(label, name, computed.reasons[name])
    if right.function is None:
        return _failed(label, name, MISSING, note=f"it gives no {name}")
    trouble = computed.trouble or Trouble(reason="exception", message="it gave no result")
    notes = _told(trouble, right.function, computed.broken)
    return _failed(label, name, trouble.reason, note="; ".join(notes) or None)


def _told(trouble: Trouble, called: str, broken: Sequence[str]) -> list[str]:
    """Say what is known of why the function `called` gave nothing."""
    notes = []
    if trouble.function not in (None, called):
        notes.append(f"in {trouble.function}, called before")
    if trouble.reason == MISSING:
        function = trouble.function or called
        notes.append(f"there is no function {function}{nearest(function, trouble.defined)}")
        notes += [trouble.message] if trouble.message else []
        notes += broken[:3]
    elif trouble.message:
        notes.append(trouble.message)
    if trouble.line:
        notes.append(f"{trouble.line}: {trouble.text}" if trouble.text else trouble.line)
    return notes


def _judge_tensor(label: str, right: Right, computed: Computed, tolerance: Tolerance) -> Check:
    """Return the verdict on an array, judged by the type in which it was computed."""
    name, ours = right.name, right.array
    theirs, returned = computed.tensors[name], computed.stored_of(name)
    if ours.dtype.kind == "f" and theirs.dtype.kind != "f":
        theirs = theirs.astype(np.float64)
    if theirs.shape == ours.shape:
        check = _compared(label, right, theirs, computed, tolerance)
    else:
        check = _of_other_shape(label, right, theirs.shape)
    if check.verdict != "fail" or right.function is None:
        return check  # what a library does wrong is no mistake of a learner's
    return explain_mistake(check, right.problem, theirs, returned)


def _compared(
    label: str, right: Right, theirs: NDArray[Any], computed: Computed, tolerance: Tolerance
) -> Check:
    """Return the verdict on an array of the right shape, by rounding bounds if they are wanted."""
    name, ours, returned = right.name, right.array, computed.stored_of(right.name)
    stored = _judged_as(returned, ours)
    is_narrow = ours.dtype.kind == "f" and returned == "float16" != stored
    notes = [] if computed.note is None else [computed.note]
    if is_narrow:
        judged = "" if _is_given(tolerance) else f": {JUDGED_AS}{stored}"
        notes.append(f"it returns float16, which holds 3 digits{judged}")
    elif ours.dtype.kind == "f" and unit_roundoff(stored) > unit_roundoff(str(ours.dtype)):
        notes.append(f"{JUDGED_AS}{stored}, which it computes in")
    equal_nan = bool(tolerance.equal_nan)
    rtol: float | None = None
    atol: float | None = None
    unit = None
    if tolerance.derived:
        unit = unit_roundoff(stored, str(ours.dtype))
        bound = rounding_bound(right.problem, name, unit)
        found = compare(theirs, ours, bound, equal_nan=equal_nan, by_share=True)
        notes.insert(1 if is_narrow else 0, share_of_bound(found))
    else:
        rtol, atol = _tolerance(ours, stored, tolerance, is_declared=computed.stored is not None)
        found = compare(theirs, ours, allowed_error(ours, rtol, atol), equal_nan=equal_nan)
        if not found.mismatched:
            notes += filter(None, [why_untested(name, ours, atol)])
    return Check(
        check="against",
        implementation=label,
        tensor=name,
        verdict="fail" if found.mismatched else "pass",
        reason=VALUES if found.mismatched else None,
        comparison=found,
        rtol=rtol,
        atol=atol,
        unit_roundoff=unit,
        note="; ".join(notes) or None,
    )


def _is_given(tolerance: Tolerance) -> bool:
    return tolerance.rtol is not None or tolerance.atol is not None


def _judged_as(stored: str, ours: NDArray[Any]) -> str:
    """Return the type that a tensor is judged as: no coarser than float32, or than the case is.

    Whoever returns float16 would else choose a tolerance that hides an error of a tenth.
    """
    if stored not in ("float16", "float32", "float64"):
        return "float64"
    return "float32" if stored == "float16" != str(ours.dtype) else stored


def _tolerance(
    ours: NDArray[Any], stored: str, given: Tolerance, *, is_declared: bool
) -> tuple[float, float]:
    """Return (rtol, atol): what was given, or that of the least precise type.

    Sums that cancel are as uncertain as their largest terms: ten roundings of the largest element
    of ours. Where it `is_declared` in what an implementation computes, `atol` is at least that by
    default. Elsewhere it is no larger than need be: the usual one would pass zeros for a tensor
    whose every element is below it.
    """
    if _is_given(given):
        return given.rtol or 0.0, given.atol or 0.0
    if ours.dtype.kind != "f":
        return 0.0, 0.0  # places and whole numbers are exact
    types = (stored, str(ours.dtype))
    rtol, atol = default_tolerance(*types)
    largest = float(np.abs(ours[np.isfinite(ours)]).max(initial=0))
    if is_declared:
        narrow = "float32" if "float32" in types else "float64"
        return rtol, max(atol, ROUNDINGS * float_type(narrow).eps * largest)
    rounding = ROUNDINGS * max(float_type(kind).eps for kind in types) * largest
    return rtol, max(rounding, min(atol, rtol * largest)) if largest else atol


def _of_other_shape(label: str, right: Right, shape: Shape) -> Check:
    expected = right.array.shape
    return _failed(
        label,
        right.name,
        SHAPE,
        got=list(shape),
        expected=list(expected),
        note=f"{shape_text(shape)} should be {shape_text(expected)}",
    )


def _skipped(label: str, name: str, reason: str) -> Check:
    return Check(
        check="against", implementation=label, tensor=name, verdict="skipped", reason=reason
    )


def _failed(label: str, name: str, reason: str, **details: Any) -> Check:
    return Check(
        check="against",
        implementation=label,
        tensor=name,
        verdict="fail",
        reason=reason,
        **details,
    )

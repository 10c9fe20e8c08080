"""Judging a case by what another implementation computes of it, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.cases.assertions import Tolerance
from cnncli.checks.bounds import rounding_bound, share_of_bound
from cnncli.checks.check import Check
from cnncli.checks.compare import allowed_error, compare, why_untested
from cnncli.floats import default_tolerance, float_type, unit_roundoff
from cnncli.implementations.base import Computed, Implementation, Task
from cnncli.layers.base import Problem, Tensors, shape_text

JUDGED_AS = "judged as "
"""How a note begins that says in which precision a tensor is judged."""
ROUNDINGS = 10
"""Units in the last place of the largest element that two right sums may differ by."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What an implementation gave, and the verdicts on it."""

    label: str
    checks: list[Check]
    tensors: Tensors = field(default_factory=dict)


def check_against(
    implementation: Implementation,
    task: Task,
    ours: Mapping[str, NDArray[Any]],
    tolerance: Tolerance,
) -> Judged:
    """Return a check for every output and gradient of the plan, `got` theirs and `expected` ours.

    What the implementation cannot say is skipped with its reason; that is no pass. An exception of
    its own is a verdict; a CnncliError (a package that is missing) is raised.
    """
    label, plan = implementation.label, task.problem.plan
    (computed,) = implementation.compute([task])
    if computed.unsaid is not None:
        return Judged(label=label, checks=[_skipped(label, "y", computed.unsaid)])
    if computed.trouble is not None:
        trouble = computed.trouble
        failed = _failed(label, "y", trouble.reason, note=trouble.message or None)
        return Judged(label=label, checks=[failed])
    wanted = [*plan.outputs, *(plan.gradients if task.backward else ())]
    checks = [
        judge_tensor(label, name, computed, ours[name], tolerance, task.problem) for name in wanted
    ]
    found = {name: computed.tensors[name] for name in wanted if name in computed.tensors}
    return Judged(label=label, checks=checks, tensors=found)


def judge_tensor(
    label: str,
    name: str,
    computed: Computed,
    ours: NDArray[Any],
    tolerance: Tolerance,
    problem: Problem,
) -> Check:
    """Return the verdict on one tensor, which `computed` has or says why not.

    A derived tolerance is each element's rounding bound, of the problem's own tensors.
    """
    if name not in computed.tensors:
        if name in computed.reasons:
            return _skipped(label, name, computed.reasons[name])
        return _failed(label, name, "missing", note=f"it gives no {name}")
    theirs = computed.tensors[name]
    if theirs.shape != ours.shape:
        return _failed(
            label,
            name,
            "wrong shape",
            got=list(theirs.shape),
            expected=list(ours.shape),
            note=f"{shape_text(theirs.shape)} should be {shape_text(ours.shape)}",
        )
    notes = [] if computed.note is None else [computed.note]
    if ours.dtype.kind == "f" and _is_coarser(computed.stored, str(ours.dtype)):
        notes.append(f"{JUDGED_AS}{computed.stored}, which it computes in")
    equal_nan = bool(tolerance.equal_nan)
    rtol: float | None = None
    atol: float | None = None
    unit = None
    if tolerance.derived:
        unit = unit_roundoff(computed.stored, str(ours.dtype))
        bound = rounding_bound(problem, name, unit)
        found = compare(theirs, ours, bound, equal_nan=equal_nan, by_share=True)
        notes.insert(0, share_of_bound(found))
    else:
        rtol, atol = _tolerance(ours, computed.stored, tolerance)
        found = compare(theirs, ours, allowed_error(ours, rtol, atol), equal_nan=equal_nan)
        if not found.mismatched:
            notes += filter(None, [why_untested(name, ours, atol)])
    return Check(
        check="against",
        implementation=label,
        tensor=name,
        verdict="fail" if found.mismatched else "pass",
        reason="wrong values" if found.mismatched else None,
        comparison=found,
        rtol=rtol,
        atol=atol,
        unit_roundoff=unit,
        note="; ".join(notes) or None,
    )


def _is_coarser(stored: str, ours: str) -> bool:
    return unit_roundoff(stored) > unit_roundoff(ours)


def _tolerance(ours: NDArray[Any], stored: str, given: Tolerance) -> tuple[float, float]:
    """Return (rtol, atol): what was given, or that of the least precise type.

    Sums that cancel are as uncertain as their largest terms, so by default `atol` is also at least
    ten roundings of the largest element of ours.
    """
    if given.rtol is not None or given.atol is not None:
        return given.rtol or 0.0, given.atol or 0.0
    types = [name for name in (stored, str(ours.dtype)) if ours.dtype.kind == "f"]
    if not types:
        return 0.0, 0.0  # places and whole numbers are exact
    rtol, atol = default_tolerance(*types)
    narrow = "float32" if "float32" in types else "float64"
    finite = ours[np.isfinite(ours)]
    largest = float(np.abs(finite).max(initial=0))
    return rtol, max(atol, ROUNDINGS * float_type(narrow).eps * largest)


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

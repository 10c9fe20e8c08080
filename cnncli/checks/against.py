"""Judging a case by what another implementation computes of it, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cnncli.cases.assertions import Assertion, Tolerance
from cnncli.checks.check import Check, why_untested
from cnncli.checks.compare import compare
from cnncli.floats import default_tolerance, float_type, unit_roundoff
from cnncli.implementations.base import Computed, Implementation, Task
from cnncli.layers.base import Layer, Plan, Tensors, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    checks = [judge_tensor(label, name, computed, ours[name], tolerance) for name in wanted]
    if tolerance.derived:
        checks = [_by_rounding_bound(check, task, computed, ours, tolerance) for check in checks]
    found = {name: computed.tensors[name] for name in wanted if name in computed.tensors}
    return Judged(label=label, checks=checks, tensors=found)


def _by_rounding_bound(
    check: Check,
    task: Task,
    computed: Computed,
    ours: Mapping[str, NDArray[Any]],
    tolerance: Tolerance,
) -> Check:
    """Return the check judged anew by the rounding bound of each element's own sum."""
    if check.elements is None:  # skipped, missing or of another shape: nothing was compared
        return check
    name = check.tensor
    problem = task.problem
    tensors = {**problem.tensors, name: computed.tensors[name]}
    types = (computed.stored, str(ours[name].dtype))
    return judge_by_rounding(
        check, problem.layer, problem.plan, tensors, ours[name], types, tolerance
    )


def judge_by_rounding(
    check: Check,
    layer: Layer,
    plan: Plan,
    tensors: Tensors,
    ours: NDArray[Any],
    types: tuple[str, str],
    tolerance: Tolerance,
) -> Check:
    """Return a check of values judged anew by rounding bounds; `tensors` holds what is judged."""
    from cnncli.checks.derived import check_derived

    assertion = Assertion(kind="npy", where="--tolerance", tolerance=tolerance)
    found = check_derived(layer, plan, tensors, assertion, check.tensor, ours, types)
    note = "; ".join(text for text in (found.note, check.note) if text)
    return replace(
        check,
        verdict=found.verdict,
        reason="wrong values" if found.verdict == "fail" else None,
        mismatched=found.mismatched,
        rtol=None,
        atol=None,
        bound_share=found.bound_share,
        unit_roundoff=found.unit_roundoff,
        worst=found.worst,
        note=note or None,
    )


def judge_tensor(
    label: str, name: str, computed: Computed, ours: NDArray[Any], tolerance: Tolerance
) -> Check:
    """Return the verdict on one tensor, which `computed` has or says why not."""
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
    rtol, atol = _tolerance(ours, computed.stored, tolerance)
    equal_nan = bool(tolerance.equal_nan)
    found = compare(theirs, ours, rtol=rtol, atol=atol, equal_nan=equal_nan)
    notes = [] if computed.note is None else [computed.note]
    if ours.dtype.kind == "f" and _is_coarser(computed.stored, str(ours.dtype)):
        notes.append(f"{JUDGED_AS}{computed.stored}, which it computes in")
    if not found.mismatched:
        notes += filter(None, [why_untested(name, ours, atol)])
    return Check(
        check="against",
        implementation=label,
        tensor=name,
        verdict="fail" if found.mismatched else "pass",
        reason="wrong values" if found.mismatched else None,
        elements=found.elements,
        mismatched=found.mismatched,
        max_abs_error=found.max_abs_error,
        max_rel_error=found.max_rel_error,
        norm_rel_error=found.norm_rel_error,
        sum_squared_error=found.sum_squared_error,
        rtol=rtol,
        atol=atol,
        passing_rtol=found.passing_rtol,
        passing_atol=found.passing_atol,
        worst=found.worst,
        note="; ".join(notes) or None,
    )


def _is_coarser(stored: str, ours: str) -> bool:
    return unit_roundoff(stored) > unit_roundoff(ours)


def _tolerance(ours: NDArray[Any], stored: str, given: Tolerance) -> tuple[float, float]:
    """Return (rtol, atol): what was given, or that of the least precise type.

    Sums that cancel are as uncertain as their largest terms, so by default `atol` is also at least
    ten roundings of the largest element of ours.
    """
    import numpy as np

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

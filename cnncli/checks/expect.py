"""Judging a tensor by the assertions of `expect`, and what is wrong where a whole one fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnncli.cases.assertions import Assertion, Index
from cnncli.checks.bounds import rounding_bound, share_of_bound
from cnncli.checks.check import Check
from cnncli.checks.compare import allowed_error, compare, why_untested
from cnncli.checks.reasons import DIFFER
from cnncli.errors import TensorError
from cnncli.floats import default_tolerance, unit_roundoff
from cnncli.layers.base import Array, Problem, Shape


def judge_assertion(
    assertion: Assertion,
    problem: Problem,
    name: str,
    stored: str,
    reference: tuple[Array, str] | None = None,
) -> Check:
    """Return the verdict of one assertion on tensor `name`, diagnosed where a whole one fails.

    The problem's tensors hold every tensor of the case; `stored` is the type that this one was
    stored or computed in, `reference` the array that the assertion's source gave, with its type.
    Raises TensorError for an index or a statistic that the tensor does not have, or a derived
    tolerance of an input, which nothing computes.
    """
    check = _judge(assertion, problem, name, stored, reference)
    if check.verdict != "fail" or reference is None or not assertion.is_whole:
        return check
    is_computed = name in problem.plan.outputs or name in problem.plan.gradients
    if not is_computed or reference[0].dtype.kind not in "fiu":
        return check
    from cnncli.checks.diagnosis import explain

    return explain(check, problem, *reference)


def _judge(
    assertion: Assertion,
    problem: Problem,
    name: str,
    stored: str,
    reference: tuple[Array, str] | None,
) -> Check:
    array = problem.tensors[name]
    if assertion.kind == "shape":
        return _verdict(
            assertion,
            name,
            tuple(array.shape) == assertion.shape,
            got=list(array.shape),
            expected=list(assertion.shape),
        )
    if reference is None:
        return _judge_number(assertion, name, array, stored)
    expected, expected_stored = reference
    kind, whole = assertion.kind, tuple(array.shape)
    if kind.startswith("channel_"):
        array = _channel_statistic(kind, name, array)
    elif assertion.index:
        array = _take(array, assertion.index, name, assertion.where)
    if array.shape != expected.shape:
        return _verdict(
            assertion,
            name,
            False,
            got=list(array.shape),
            expected=list(expected.shape),
            note=DIFFER,
        )
    if kind == "sum_squared_error":
        return _judge_squares(assertion, name, array, expected)
    if assertion.tolerance.derived:
        return _judge_by_bound(assertion, problem, name, expected, (stored, expected_stored))
    return _judge_array(assertion, name, array, expected, (stored, expected_stored), whole)


def _verdict(assertion: Assertion, tensor: str, right: bool, **details: Any) -> Check:
    return Check(
        check="expect",
        assertion=assertion.kind,
        tensor=tensor,
        verdict="pass" if right else "fail",
        where=assertion.where,
        **details,
    )


def _tolerance(assertion: Assertion, *stored: str) -> tuple[float, float]:
    given = assertion.tolerance
    if given.rtol is not None or given.atol is not None:
        # Who writes one of the two means it: the other is then zero unless written too.
        return given.rtol or 0.0, given.atol or 0.0
    return default_tolerance(*stored)


def _judge_array(
    assertion: Assertion,
    tensor: str,
    array: Array,
    expected: Array,
    stored: tuple[str, str],
    whole: Shape,
) -> Check:
    exact = array.dtype.kind in "iub" and assertion.kind in ("npy", "values", "at")
    rtol, atol = _tolerance(assertion, *(stored[:1] if exact else stored))
    allowed = allowed_error(expected, rtol, atol)
    found = compare(array, expected, allowed, equal_nan=bool(assertion.tolerance.equal_nan))
    if found.worst is not None and assertion.index:
        index = _outer_index(assertion.index, whole, found.worst.index)
        found = replace(found, worst=replace(found.worst, index=index))
    untested = None
    if not found.mismatched and assertion.is_whole:
        untested = why_untested(tensor, array, atol)
    right = found.mismatched == 0
    return _verdict(assertion, tensor, right, comparison=found, rtol=rtol, atol=atol, note=untested)


def _judge_by_bound(
    assertion: Assertion, problem: Problem, tensor: str, expected: Array, stored: tuple[str, str]
) -> Check:
    """Judge each element by how far rounding, in the coarser of both types, can take it."""
    plan = problem.plan
    if tensor not in plan.outputs and tensor not in plan.gradients:
        raise TensorError(
            f"tolerance derived is for computed tensors, and {tensor} is an input", assertion.where
        )
    unit = unit_roundoff(*stored)
    bound = rounding_bound(problem, tensor, unit)
    equal_nan = bool(assertion.tolerance.equal_nan)
    found = compare(problem.tensors[tensor], expected, bound, equal_nan=equal_nan, by_share=True)
    return _verdict(
        assertion,
        tensor,
        found.mismatched == 0,
        comparison=found,
        unit_roundoff=unit,
        note=share_of_bound(found),
    )


def _judge_squares(assertion: Assertion, tensor: str, array: Array, expected: Array) -> Check:
    found = compare(array, expected, 0.0)
    total = found.sum_squared_error
    return _verdict(
        assertion,
        tensor,
        total < assertion.number,
        comparison=replace(found, mismatched=0, wrong=None),  # no element is wrong by itself
        got=total,
        expected=assertion.number,
        note=f"must be below {assertion.number:g}",
    )


def _judge_number(assertion: Assertion, tensor: str, array: Array, stored: str) -> Check:
    got, expected = _statistic(assertion.kind, array), np.array(assertion.number)
    exact = assertion.kind in ("sum", "min", "max")  # of whole numbers; a mean of them is not
    rtol, atol = _tolerance(assertion, *((stored,) if exact else (stored, "float64")))
    found = compare(
        np.array(got),
        expected,
        allowed_error(expected, rtol, atol),
        equal_nan=bool(assertion.tolerance.equal_nan),
    )
    return _verdict(
        assertion,
        tensor,
        found.mismatched == 0,
        comparison=replace(found, worst=None),  # which got and expected tell
        rtol=rtol,
        atol=atol,
        got=got,
        expected=assertion.number,
    )


def _statistic(name: str, array: Array) -> float:
    with np.errstate(all="ignore"):
        wide = array if array.dtype == np.float64 else array.astype(np.float64)
        return float(getattr(np, name)(wide))


def _channel_statistic(kind: str, tensor: str, array: Array) -> Array:
    """Return the mean or the standard deviation of every channel: (C,) from (N, C, *S)."""
    if array.ndim < 3:
        raise TensorError(
            f"{kind} needs a tensor with channels, (N, C, ...), but {tensor} has {array.ndim} axes"
        )
    axes = (0, *range(2, array.ndim))
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        statistic = np.mean if kind == "channel_mean" else np.std
        return np.asarray(statistic(wide, axis=axes))


def _take(array: Array, index: Index, tensor: str, where: str) -> Array:
    if len(index) > array.ndim:
        raise TensorError(f"at has {len(index)} indices, but {tensor} has {array.ndim} axes", where)
    for axis, step in enumerate(index):
        size = array.shape[axis]
        if isinstance(step, int) and not -size <= step < size:
            raise TensorError(
                f"at: index {step} is outside axis {axis} of {tensor}, which has {size}", where
            )
    return np.asarray(array[index])


def _outer_index(index: Index, shape: Shape, inner: tuple[int, ...]) -> tuple[int, ...]:
    """Return where element `inner` of `array[index]` stands in the array, which has `shape`."""
    rest = list(inner)
    place = []
    for step, size in zip(index, shape, strict=False):
        if isinstance(step, slice):
            place.append(step.indices(size)[0] + rest.pop(0))
        else:
            place.append(step % size)
    return (*place, *rest)

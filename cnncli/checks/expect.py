"""Judging a tensor by the assertions of `expect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnncli.cases.assertions import Assertion, Index
from cnncli.checks.check import Check, Worst, why_untested
from cnncli.checks.compare import compare
from cnncli.errors import TensorError
from cnncli.floats import default_tolerance
from cnncli.layers.base import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_assertion(
    assertion: Assertion,
    tensor: str,
    array: NDArray[Any],
    stored: str,
    reference: NDArray[Any] | None = None,
    reference_stored: str = "float64",
) -> Check:
    """Return the verdict of one assertion on one tensor.

    `stored` is the type that the tensor was stored or computed in; `reference` the array that the
    assertion's source gave, of type `reference_stored`. Raises TensorError for an index or a
    statistic that the tensor does not have.
    """
    if assertion.kind == "shape":
        return _verdict(
            assertion,
            tensor,
            tuple(array.shape) == assertion.shape,
            got=list(array.shape),
            expected=list(assertion.shape),
        )
    if reference is None:
        got = _statistic(assertion.kind, array)
        return _judge_number(assertion, tensor, got, stored)
    kind, whole = assertion.kind, tuple(array.shape)
    if kind.startswith("channel_"):
        array = _channel_statistic(kind, tensor, array)
    elif assertion.index:
        array = _take(array, assertion.index, tensor, assertion.where)
    if array.shape != reference.shape:
        return _verdict(
            assertion,
            tensor,
            False,
            got=list(array.shape),
            expected=list(reference.shape),
            note="shapes differ",
        )
    if kind == "sum_squared_error":
        return _judge_squares(assertion, tensor, array, reference)
    return _judge_array(assertion, tensor, array, reference, (stored, reference_stored), whole)


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
    rtol, atol = default_tolerance(*stored)
    given = assertion.tolerance
    if given.rtol is not None or given.atol is not None:
        # Who writes one of the two means it: the other is then zero unless written too.
        return given.rtol or 0.0, given.atol or 0.0
    return rtol, atol


def _judge_array(
    assertion: Assertion,
    tensor: str,
    array: NDArray[Any],
    reference: NDArray[Any],
    stored: tuple[str, str],
    whole: Shape,
) -> Check:
    exact = array.dtype.kind in "iub" and assertion.kind in ("npy", "values", "at")
    rtol, atol = _tolerance(assertion, *(stored[:1] if exact else stored))
    equal_nan = bool(assertion.tolerance.equal_nan)
    found = compare(array, reference, rtol=rtol, atol=atol, equal_nan=equal_nan)
    worst = found.worst
    if worst is not None and assertion.index:
        index = _outer_index(assertion.index, whole, worst.index)
        worst = Worst(index=index, got=worst.got, expected=worst.expected)
    untested = None
    if not found.mismatched and assertion.is_whole:
        untested = why_untested(tensor, array, atol)
    return _verdict(
        assertion,
        tensor,
        found.mismatched == 0,
        note=untested,
        elements=found.elements,
        mismatched=found.mismatched,
        max_abs_error=found.max_abs_error,
        max_rel_error=found.max_rel_error,
        norm_rel_error=found.norm_rel_error,
        rtol=rtol,
        atol=atol,
        passing_rtol=found.passing_rtol,
        passing_atol=found.passing_atol,
        worst=worst,
    )


def _judge_squares(
    assertion: Assertion, tensor: str, array: NDArray[Any], reference: NDArray[Any]
) -> Check:
    found = compare(array, reference, rtol=0.0, atol=0.0, equal_nan=False)
    return _verdict(
        assertion,
        tensor,
        found.sum_squared_error < assertion.number,
        elements=found.elements,
        max_abs_error=found.max_abs_error,
        max_rel_error=found.max_rel_error,
        sum_squared_error=found.sum_squared_error,
        got=found.sum_squared_error,
        expected=assertion.number,
        worst=found.worst,
        note=f"must be below {assertion.number:g}",
    )


def _judge_number(assertion: Assertion, tensor: str, got: float, stored: str) -> Check:
    import numpy as np

    exact = assertion.kind in ("sum", "min", "max")  # of whole numbers; a mean of them is not
    rtol, atol = _tolerance(assertion, *((stored,) if exact else (stored, "float64")))
    found = compare(
        np.array(got),
        np.array(assertion.number),
        rtol=rtol,
        atol=atol,
        equal_nan=bool(assertion.tolerance.equal_nan),
    )
    return _verdict(
        assertion,
        tensor,
        found.mismatched == 0,
        max_abs_error=found.max_abs_error,
        max_rel_error=found.max_rel_error,
        rtol=rtol,
        atol=atol,
        passing_rtol=found.passing_rtol,
        passing_atol=found.passing_atol,
        got=got,
        expected=assertion.number,
    )


def _statistic(name: str, array: NDArray[Any]) -> float:
    import numpy as np

    with np.errstate(all="ignore"):
        wide = array if array.dtype == np.float64 else array.astype(np.float64)
        return float(getattr(np, name)(wide))


def _channel_statistic(kind: str, tensor: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the mean or the standard deviation of every channel: (C,) from (N, C, *S)."""
    import numpy as np

    if array.ndim < 3:
        raise TensorError(
            f"{kind} needs a tensor with channels, (N, C, ...), but {tensor} has {array.ndim} axes"
        )
    axes = (0, *range(2, array.ndim))
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        statistic = np.mean if kind == "channel_mean" else np.std
        return np.asarray(statistic(wide, axis=axes))


def _take(array: NDArray[Any], index: Index, tensor: str, where: str) -> NDArray[Any]:
    import numpy as np

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

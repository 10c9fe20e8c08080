"""Element-by-element comparison of two arrays of one shape: where it is decided what is wrong."""

from __future__ import annotations

import numpy as np

from cnncli.checks.check import UNTESTED, Comparison, Worst
from cnncli.layers.base import Array


def allowed_error(expected: Array, rtol: float, atol: float) -> Array:
    """Return what each element of `expected` may be off: atol + rtol*|expected|."""
    with np.errstate(all="ignore"):
        size = np.abs(expected.astype(np.promote_types(expected.dtype, np.float64)))
        return np.asarray(atol + rtol * size)


def compare(
    got: Array,
    expected: Array,
    allowed: Array | float,
    *,
    equal_nan: bool = False,
    by_share: bool = False,
) -> Comparison:
    """Compare two real arrays of one shape: right is |got - expected| <= `allowed`.

    `allowed` is a number or an array of that shape; where it is negative nothing is right. Equal
    infinities are right; a NaN is wrong unless `equal_nan` and both are NaN. Nothing broadcasts.
    `worst` is the wrong element furthest beyond what it is allowed; where none is wrong, the one
    with the largest error, or `by_share` the one that takes most of what it is allowed.
    """
    assert got.shape == expected.shape
    wide = np.promote_types(np.promote_types(got.dtype, expected.dtype), np.float64)
    if got.dtype.kind in "iu" or expected.dtype.kind in "iu":
        wide = np.dtype(np.longdouble)  # holds 64-bit whole numbers exactly
    with np.errstate(all="ignore"):
        a, b = got.astype(wide), expected.astype(wide)
        # Of the widened numbers: NumPy compares int64 with uint64 or float64 as rounded float64.
        same = np.asarray(a == b)
        if equal_nan:
            same |= np.isnan(a) & np.isnan(b)
        error = np.asarray(np.abs(a - b))
        error[same] = 0
        limit = np.broadcast_to(allowed, error.shape)
        # `not (error <= limit)` so that a NaN is wrong.
        wrong = np.asarray(~((same & ~(limit < 0)) | ((error <= limit) & np.isfinite(error))))
        place = _worst_place(error, np.abs(limit), wrong, by_share)
        return Comparison(
            elements=got.size,
            mismatched=int(wrong.sum()),
            max_abs_error=_max(error),
            max_rel_error=_max(_shares(error, np.maximum(np.abs(a), np.abs(b)))),
            norm_rel_error=_difference_by_norm(a, b),
            sum_squared_error=float(np.sum(np.square(error))),
            passing_rtol=_least(_shares(error, np.abs(b))),
            passing_atol=_least(error),
            largest_share=_max(_shares(error, np.abs(limit))),
            worst=None
            if place is None
            else Worst(index=place, got=got[place].item(), expected=expected[place].item()),
            wrong=wrong,
        )


def why_untested(tensor: str, right: Array, atol: float) -> str | None:
    """Say that zeros would have passed for `right`, whose every element is within `atol` of zero.

    None where that is not so, of an exact comparison, and of what is no floating-point number.
    """
    if right.dtype.kind != "f" or not right.size or not atol > 0:
        return None
    if not float(np.abs(right).max()) <= atol:
        return None
    other = "another dy" if tensor.startswith("d") else "larger values"
    return (
        f"{UNTESTED}: every element is within atol ({atol:g}) of zero; use {other}, or give --rtol"
    )


def _shares(error: Array, sizes: Array) -> Array:
    """Return each error relative to a size: 0 for none, infinite beside 0."""
    return np.where(error == 0, 0, error / sizes)


def _difference_by_norm(a: Array, b: Array) -> float:
    """Return |a-b| / max(|a|, |b|), NaN where not all is finite."""
    return norm_ratio(a - b, a, b)


def norm_ratio(above: Array, *below: Array) -> float:
    """Return |above| / max of |below|, 0 beside 0; NaN where not all is finite.

    All are scaled by one power of two first: a square of 1e-200 is nothing, one of 1e200 infinite.
    """
    largest = max((_max(np.abs(array)) for array in below), default=0.0)
    if not largest:
        return 0.0
    scale = np.ldexp(1.0, -int(np.frexp(largest)[1])) if np.isfinite(largest) else 1.0
    norms = [float(np.sqrt(np.sum(np.square(array * scale)))) for array in (above, *below)]
    return norms[0] / max(norms[1:])


def _max(errors: Array) -> float:
    """Return the largest error, NaN where one is NaN."""
    return float(errors.max()) if errors.size else 0.0


def _least(needed: Array) -> float:
    return float("inf") if np.isnan(needed).any() else _max(needed)


def _worst_place(
    error: Array, limit: Array, wrong: Array, by_share: bool
) -> tuple[int, ...] | None:
    if not error.size:
        return None
    score = error
    if by_share or wrong.any():
        score = error / np.where(limit > 0, limit, 1)
        score = np.where(np.isnan(score), np.inf, score)
    if wrong.any():
        score = np.where(wrong, score, -1)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(score)), error.shape))

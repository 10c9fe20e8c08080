"""Element-by-element comparison of two arrays of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.checks.check import Worst

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far an array is from what was expected, element by element.

    `passing_rtol` is the least rtol with which atol = 0 passes, `passing_atol` the least atol
    with which rtol = 0 does; infinite where no tolerance helps.
    """

    elements: int
    mismatched: int
    max_abs_error: float
    max_rel_error: float
    norm_rel_error: float
    sum_squared_error: float
    passing_rtol: float
    passing_atol: float
    worst: Worst | None


def compare(
    got: NDArray[Any], expected: NDArray[Any], *, rtol: float, atol: float, equal_nan: bool
) -> Comparison:
    """Compare two real arrays of one shape: right is |got - expected| <= atol + rtol*|expected|.

    Equal infinities are right; a NaN is wrong unless `equal_nan` and both are NaN. Nothing
    broadcasts. `worst` is the wrong element furthest beyond its tolerance, else the element with
    the largest error.
    """
    import numpy as np

    assert got.shape == expected.shape
    with np.errstate(all="ignore"):
        a, b, error, allowed, wrong = _judge(got, expected, rtol, atol, equal_nan)
        largest = np.maximum(np.abs(a), np.abs(b))
        relative = np.where(error == 0, 0, error / largest)
        needed_rtol = np.where(error == 0, 0, error / np.abs(b))
        squared = float(np.sum(np.square(error)))
        norm = _norm_ratio(a, b)
    place = _worst_place(error, allowed, wrong)
    worst = None
    if place is not None:
        worst = Worst(index=place, got=got[place].item(), expected=expected[place].item())
    return Comparison(
        elements=got.size,
        mismatched=int(wrong.sum()),
        max_abs_error=_max(error),
        max_rel_error=_max(relative),
        norm_rel_error=norm,
        sum_squared_error=squared,
        passing_rtol=_least(needed_rtol),
        passing_atol=_least(error),
        worst=worst,
    )


def wrong_elements(
    got: NDArray[Any], expected: NDArray[Any], *, rtol: float, atol: float, equal_nan: bool
) -> NDArray[np.bool_]:
    """Return which elements `compare` counts as mismatched, an array of both arrays' shape."""
    import numpy as np

    with np.errstate(all="ignore"):
        return _judge(got, expected, rtol, atol, equal_nan)[-1]


def _judge(
    got: NDArray[Any], expected: NDArray[Any], rtol: float, atol: float, equal_nan: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return both arrays widened, the error, what is allowed, and which elements are wrong."""
    import numpy as np

    wide = np.promote_types(np.promote_types(got.dtype, expected.dtype), np.float64)
    if got.dtype.kind in "iu" or expected.dtype.kind in "iu":
        wide = np.dtype(np.longdouble)  # holds 64-bit whole numbers exactly
    a, b = got.astype(wide), expected.astype(wide)
    # Of the widened numbers: NumPy compares int64 with uint64 or float64 as rounded float64.
    same = np.asarray(a == b)
    if equal_nan:
        same |= np.isnan(a) & np.isnan(b)
    error = np.asarray(np.abs(a - b))
    error[same] = 0
    allowed = atol + rtol * np.abs(b)
    # `not (error <= allowed)` so that a NaN is wrong.
    wrong = ~(same | ((error <= allowed) & np.isfinite(error)))
    return a, b, error, allowed, wrong


def _norm_ratio(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return |a-b| / max(|a|, |b|), NaN where not all is finite."""
    largest = max(_norm(a), _norm(b))
    return _norm(a - b) / largest if largest else 0.0


def _norm(array: NDArray[Any]) -> float:
    import numpy as np

    return float(np.sqrt(np.sum(np.square(array))))


def _max(errors: NDArray[Any]) -> float:
    """Return the largest error, NaN where one is NaN."""
    return float(errors.max()) if errors.size else 0.0


def _least(needed: NDArray[Any]) -> float:
    import numpy as np

    return float("inf") if np.isnan(needed).any() else _max(needed)


def _worst_place(
    error: NDArray[Any], allowed: NDArray[Any], wrong: NDArray[np.bool_]
) -> tuple[int, ...] | None:
    import numpy as np

    if not error.size:
        return None
    with np.errstate(all="ignore"):
        score = np.where(wrong, error / np.where(allowed > 0, allowed, 1), error)
    if wrong.any():
        score = np.where(wrong, np.where(np.isnan(score), np.inf, score), -1)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(score)), error.shape))

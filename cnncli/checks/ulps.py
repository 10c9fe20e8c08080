"""Errors in units in the last place (ulp) of the type that numbers were stored in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Format:
    """A binary floating-point type: the bits of its fraction, and its least normal exponent."""

    fraction: int
    least_exponent: int


FORMATS = {
    "float16": Format(10, -14),
    "bfloat16": Format(7, -126),
    "float32": Format(23, -126),
    "float64": Format(52, -1022),
}


def coarsest(*dtypes: str) -> str | None:
    """Return the type with the fewest digits among the floating-point ones, None without any."""
    known = [dtype for dtype in dtypes if dtype in FORMATS]
    return min(known, key=lambda dtype: FORMATS[dtype].fraction, default=None)


def ulp(values: NDArray[Any], stored: str) -> NDArray[Any]:
    """Return the distance from each finite value to the next number of type `stored`.

    2**(e - fraction) for 2**e <= |value| < 2**(e+1); below the least normal number it no longer
    shrinks (IEEE 754).
    """
    import numpy as np

    form = FORMATS[stored]
    _, above = np.frexp(values)  # value = m * 2**above with 0.5 <= |m| < 1
    exponent = np.where(values == 0, form.least_exponent, above - 1)
    spacing: NDArray[Any] = np.ldexp(1.0, np.maximum(exponent, form.least_exponent) - form.fraction)
    return spacing


def ulp_errors(got: NDArray[Any], expected: NDArray[Any], stored: str) -> NDArray[Any]:
    """Return |got - expected| in ulps of `expected`.

    Both have one shape. NaN where one is not finite and they differ; NaN beside NaN, and an
    infinity beside itself, are no error.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        errors = np.abs(a - b) / ulp(np.where(finite, b, 1.0), stored)
        return np.where(same, 0.0, np.where(finite, errors, np.nan))

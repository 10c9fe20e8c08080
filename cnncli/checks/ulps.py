"""Errors in units in the last place (ulp) of the type that numbers were stored in."""

from __future__ import annotations

import numpy as np

from cnncli.floats import FLOATS
from cnncli.layers.base import Array


def ulp(values: Array, stored: str) -> Array:
    """Return the distance from each finite value to the next number of type `stored`.

    2**(e + 1 - significand) for 2**e <= |value| < 2**(e+1); below the least normal number it no
    longer shrinks (IEEE 754).
    """
    kind = FLOATS[stored]
    _, above = np.frexp(values)  # value = m * 2**above with 0.5 <= |m| < 1
    above = np.where(values == 0, kind.least_exponent + 1, above)
    # The last bit of the significand of a number below 2**above.
    last = np.maximum(above, kind.least_exponent + 1) - kind.significand
    return np.asarray(np.ldexp(1.0, last))


def ulp_errors(got: Array, expected: Array, stored: str) -> Array:
    """Return |got - expected| in ulps of `expected`.

    Both have one shape. NaN where one is not finite and they differ; NaN beside NaN, and an
    infinity beside itself, are no error.
    """
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        errors = np.abs(a - b) / ulp(np.where(finite, b, 1.0), stored)
        return np.where(same, 0.0, np.where(finite, errors, np.nan))

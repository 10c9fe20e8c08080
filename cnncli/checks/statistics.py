"""What one array holds: statistics of its finite numbers, and what is odd about the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncli.floats import FLOATS
from cnncli.layers.base import Array

BINS = 16
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What is told of an array; the statistics are of its finite elements, None without any.

    `denormal` counts the numbers below the least normal one of the type they were stored in.
    `histogram` holds the counts between `edges`, one more than the counts.
    """

    elements: int
    nan: int
    positive_infinity: int
    negative_infinity: int
    zeros: int
    denormal: int
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    sum: float | None = None
    norm: float | None = None
    quantiles: dict[str, float] | None = None
    edges: list[float] | None = None
    histogram: list[int] | None = None

    @property
    def nonfinite(self) -> int:
        """How many are NaN or infinite."""
        return self.nan + self.positive_infinity + self.negative_infinity


def statistics_bytes(elements: int) -> int:
    """Return a bound on the memory that `take_statistics` uses beyond the array."""
    return 5 * 8 * elements


def take_statistics(array: Array, stored: str) -> Statistics:
    """Return the statistics of a real array whose numbers were stored as `stored`."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(array)
        values = array[finite].astype(np.float64)
        sizes = np.abs(values)
        denormal = 0
        if stored in FLOATS:
            least = np.ldexp(1.0, FLOATS[stored].least_exponent)
            denormal = int(np.count_nonzero((sizes > 0) & (sizes < least)))
        counted: dict[str, Any] = {
            "elements": array.size,
            "nan": int(np.isnan(array).sum()),
            "positive_infinity": int(np.count_nonzero(array == np.inf)),
            "negative_infinity": int(np.count_nonzero(array == -np.inf)),
            "zeros": int(np.count_nonzero(array == 0)),
            "denormal": denormal,
        }
        if not values.size:
            return Statistics(**counted)
        low, high = float(values.min()), float(values.max())
        counts, edges = _histogram(values, low, high)
        return Statistics(
            **counted,
            min=low,
            max=high,
            mean=float(values.mean()),
            std=float(values.std()),
            sum=float(values.sum()),
            norm=float(np.sqrt(np.sum(np.square(values)))),
            quantiles={
                f"{level:g}": float(value)
                for level, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
            },
            histogram=counts,
            edges=edges,
        )


def _histogram(values: Array, low: float, high: float) -> tuple[list[int], list[float]]:
    """Return counts and edges; one bin where all are equal or too close (or far) to be cut."""
    edges = np.linspace(low, high, BINS + 1)
    if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        return [values.size], [low, high]
    counts, _ = np.histogram(values, edges)
    return [int(count) for count in counts], [float(edge) for edge in edges]

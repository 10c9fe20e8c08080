"""All that is told of two arrays that should be equal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cnncli.checks.check import Comparison, Worst
from cnncli.checks.compare import allowed_error, compare
from cnncli.checks.patterns import Pattern, find_patterns
from cnncli.checks.relations import Relation, find_relations
from cnncli.checks.ulps import ulp_errors
from cnncli.floats import coarsest
from cnncli.layers.base import Array

ULP_LEVELS = (0, 1, 2, 4, 16, 256)


@dataclass(frozen=True, kw_only=True)
class Ulps:
    """Errors in units in the last place of `dtype`, the less precise of both stored types.

    `within` counts the elements that are off by at most so many; what is not finite on one side
    only is in none of them, and makes `max` NaN.
    """

    dtype: str
    max: float
    mean: float
    worst: Worst
    within: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How A differs from B; of arrays of two shapes only the shapes and relations are known."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    rtol: float
    atol: float
    comparison: Comparison | None = None
    mean_error: float | None = None
    """The mean of A - B: a bias."""
    mean_abs_error: float | None = None
    rms_error: float | None = None
    ulps: Ulps | None = None
    patterns: list[Pattern] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        """Tell whether shapes and every element are right."""
        return self.comparison is not None and self.comparison.mismatched == 0


def difference_bytes(elements: int, whole_numbers: bool) -> int:
    """Return a bound on the memory that `differ` uses beyond both arrays."""
    return elements * (14 * (16 if whole_numbers else 8) + 4)


def differ(
    a: Array,
    b: Array,
    stored: tuple[str, str],
    *,
    rtol: float,
    atol: float,
    equal_nan: bool,
) -> Difference:
    """Compare A with what it should be, B: right is |a - b| <= atol + rtol*|b|.

    Nothing broadcasts. `stored` are the types that they were stored in.
    """

    def judged(left: Array, right: Array) -> Comparison:
        return compare(left, right, allowed_error(right, rtol, atol), equal_nan=equal_nan)

    def matches(left: Array, right: Array) -> bool:
        return judged(left, right).mismatched == 0

    if a.shape != b.shape:
        return Difference(
            shapes=(a.shape, b.shape),
            rtol=rtol,
            atol=atol,
            relations=find_relations(a, b, matches),
        )
    found = judged(a, b)
    with np.errstate(all="ignore"):
        error = np.asarray(a.astype(np.float64) - b.astype(np.float64))
        error[np.asarray(a == b)] = 0  # equal infinities too
        if equal_nan:
            error[np.isnan(a) & np.isnan(b)] = 0
        means = [float(np.mean(error)), float(np.mean(np.abs(error)))]
        rms = float(np.sqrt(np.mean(np.square(error))))
    del error
    return Difference(
        shapes=(a.shape, b.shape),
        rtol=rtol,
        atol=atol,
        comparison=found,
        mean_error=means[0],
        mean_abs_error=means[1],
        rms_error=rms,
        ulps=_ulps(a, b, stored, equal_nan) if a.size else None,
        patterns=[] if found.wrong is None else find_patterns(found.wrong),
        relations=find_relations(a, b, matches) if found.mismatched else [],
    )


def _ulps(a: Array, b: Array, stored: tuple[str, str], equal_nan: bool) -> Ulps | None:
    kind = coarsest(*stored)
    if kind is None:
        return None
    errors = ulp_errors(a, b, kind.name)
    if not equal_nan:
        errors[np.isnan(b)] = np.nan
    place = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    index = tuple(int(i) for i in np.unravel_index(place, a.shape))
    return Ulps(
        dtype=kind.name,
        max=float(errors.max()),
        mean=float(errors.mean()),
        worst=Worst(index=index, got=a[index].item(), expected=b[index].item()),
        within={str(level): int(np.count_nonzero(errors <= level)) for level in ULP_LEVELS},
    )

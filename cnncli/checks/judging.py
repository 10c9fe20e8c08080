"""One gradient against its numeric reference: a verdict, the errors and the worst element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.check import Verdict
from cnncli.checks.numeric import NumericGradient
from cnncli.checks.ties import Ties, can_be_shared, components
from cnncli.floats import FLOAT64, float_type

if TYPE_CHECKING:
    from numpy.typing import NDArray


EPS = FLOAT64.eps


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a gradient should be, as far as a numeric gradient can tell."""

    numeric: NumericGradient
    """Of the windows that do not tie; all of them where there are no `ties`."""
    rounding: NDArray[Any]
    elements: NDArray[Any]
    """The flat elements that were asked for."""
    ties: Ties | None
    dy: NDArray[Any]
    zero_elsewhere: bool


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict and its numbers; `wrong` and `worst` count within the reference's elements."""

    verdict: Verdict
    note: str | None
    wrong: NDArray[Any]
    worst: int
    tied: int
    analytic_at_worst: float
    numeric_at_worst: float
    max_abs_error: float
    max_rel_error: float
    norm_rel_error: float
    course_score: float
    accuracy: float
    rtol: float
    atol: float


def judge(
    analytic: NDArray[Any], stored: str, reference: Reference, options: GradcheckOptions
) -> Judged:
    """Judge a gradient (float64, of the input's shape; stored as `stored`) by its reference.

    Right is |a-n| <= atol + rtol*max(|a|,|n|); at ties, what some sharing of dy gives. A NaN is
    wrong. A reference that is zero to rounding makes the check vacuous.
    """
    import numpy as np

    places = reference.elements
    a, n = analytic.reshape(-1)[places], reference.numeric.values.reshape(-1)[places].copy()
    terms = reference.numeric.terms.reshape(-1)[places]
    rounding = reference.rounding.reshape(-1)[places]
    rtol = float_type(stored).gradient_rtol if options.rtol is None else options.rtol
    with np.errstate(all="ignore"):
        largest, most = _largest(n), _largest(terms)
        noise = min(_largest(rounding) + 64 * EPS * most, rtol * most)
        atol = max(1e-3 * rtol * largest, noise) if options.atol is None else options.atol
        tied = _Tied(reference, a, atol, rtol)
        n += tied.even
        zero = not tied.count and bool((np.abs(n) <= 64 * EPS * most + _largest(rounding)).all())
        if zero and options.atol is None:
            # What a right gradient of zero is left with, in the precision that it was found in.
            atol = 64 * float_type(stored).eps * most + _largest(rounding)
        error, sizes = np.abs(a - n), np.maximum(np.abs(a), np.abs(n))
        allowed = atol + rtol * sizes
        if zero:
            allowed = np.full_like(allowed, atol)
        wrong = ~((error <= allowed) & np.isfinite(error))
        wrong[tied.here] = tied.wrong
        error = np.where(tied.mask & ~wrong, 0.0, error)
        score = np.where(wrong, np.where(np.isfinite(error), error, np.inf), -1.0)
        if not wrong.any():
            score = error / np.where(allowed > 0, allowed, 1)
        else:
            score = np.where(wrong, score / np.where(allowed > 0, allowed, 1), -1.0)
        relative = np.where(error == 0, 0, error / sizes)
        course = error / np.maximum(1e-8, np.abs(a) + np.abs(n))
        norms = max(float(np.linalg.norm(a)), float(np.linalg.norm(n)))
        norm = (
            float(np.linalg.norm(np.where(np.isnan(a - n), np.nan, error))) / norms
            if norms
            else 0.0
        )
        accuracy = float(np.linalg.norm(rounding)) / float(np.linalg.norm(n)) if n.any() else 0.0
    worst = int(np.argmax(score))
    verdict, note = _verdict(wrong, zero, tied, n, reference)
    return Judged(
        verdict=verdict,
        note=note,
        wrong=wrong,
        worst=worst,
        tied=tied.count,
        analytic_at_worst=float(a[worst]),
        numeric_at_worst=float(n[worst]),
        max_abs_error=_largest(error),
        max_rel_error=_largest(relative),
        norm_rel_error=norm,
        course_score=_largest(course),
        accuracy=accuracy,
        rtol=rtol,
        atol=atol,
    )


def _largest(array: NDArray[Any]) -> float:
    """Return the largest size, NaN where one is."""
    import numpy as np

    return float(np.abs(array).max(initial=0.0))


def _verdict(
    wrong: NDArray[Any], zero: bool, tied: _Tied, n: NDArray[Any], reference: Reference
) -> tuple[Verdict, str | None]:
    import numpy as np

    if wrong.any():
        if not np.isfinite(n).all():
            return "fail", "the numeric gradient is not finite: x, or what y makes of it, is not"
        if tied.wrong.any():
            return "fail", "no sharing of each window's dy among its tied winners gives this"
        return "fail", None
    if tied.count:
        near = reference.ties.spread if reference.ties else 0.0
        how = f"nearly (within {near:.2g})" if near else "exactly"
        return "kink", (
            f"{tied.count} elements tie {how}, where the layer has no derivative; "
            "this is what sharing dy among tied winners can give"
        )
    if zero and reference.zero_elsewhere:
        return "vacuous", None
    return "pass", None


class _Tied:
    """The tied elements among those asked for: their even share, and which cannot be right."""

    def __init__(self, reference: Reference, a: NDArray[Any], atol: float, rtol: float) -> None:
        import numpy as np

        self.even = np.zeros(len(a))
        self.mask = np.zeros(len(a), bool)
        wrong = np.zeros(len(a), bool)
        ties = reference.ties
        if ties is not None and ties.edges:
            place = {int(element): at for at, element in enumerate(reference.elements)}
            dy = reference.dy.reshape(-1)
            smooth = reference.numeric.values.reshape(-1)
            for windows, members in components(ties.edges):
                if members[0] not in place:
                    continue  # none of a tie's members was chosen, or all were
                at = [place[element] for element in members]
                self.mask[at] = True
                amount = {window: float(dy[window]) for window in windows}
                for window in windows:
                    share = amount[window] / len(ties.edges[window])
                    for element in ties.edges[window]:
                        self.even[place[element]] += share
                got = {e: float(a[place[e]] - smooth[e]) for e in members}
                slack = atol + rtol * max(
                    sum(map(abs, amount.values())), *(abs(value) for value in got.values())
                )
                if not can_be_shared(windows, ties.edges, amount, got, slack):
                    wrong[at] = _beyond(windows, ties.edges, amount, got, slack)
        self.here = np.flatnonzero(self.mask)
        self.wrong = wrong[self.here]
        self.count = len(self.here)


def _beyond(
    windows: list[int],
    edges: dict[int, list[int]],
    amount: dict[int, float],
    got: dict[int, float],
    slack: float,
) -> list[bool]:
    """Return which elements got what no window could give them; all, where only sums are wrong."""
    low, high = dict.fromkeys(got, 0.0), dict.fromkeys(got, 0.0)
    for window in windows:
        for element in edges[window]:
            low[element] += min(amount[window], 0.0)
            high[element] += max(amount[window], 0.0)
    found = [not low[e] - slack <= value <= high[e] + slack for e, value in got.items()]
    return found if any(found) else [True] * len(found)

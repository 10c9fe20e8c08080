"""One comparison with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANGED = "changed its input"
"""The reason of a function that is right but for writing into its arguments."""

UNTESTED = "nothing was tested"
"""How a note begins of a comparison that anything near zero would have passed."""

Verdict = Literal["pass", "fail", "kink", "vacuous", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The element furthest from what it should be, relative to what is allowed."""

    index: tuple[int, ...]
    got: float | int
    expected: float | int


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one check found; a field that does not apply is None.

    The fields and their meanings are the keys of a result's `checks` (see the README).
    `note` says in words what the numbers cannot.
    """

    check: Literal["expect", "gradcheck", "against"]
    tensor: str
    verdict: Verdict
    assertion: str | None = None
    subject: Literal["ours", "expected"] | None = None
    implementation: str | None = None
    reason: str | None = None
    """Why an `against` failed, in the words that results have for it, or was skipped."""
    changed: list[str] | None = None
    """The arguments that a person's function wrote into, which its caller had lent it."""
    method: str | None = None
    step: float | None = None
    evaluations: int | None = None
    elements: int | None = None
    mismatched: int | None = None
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    norm_rel_error: float | None = None
    terms_rel_error: float | None = None
    """Of an identity: the largest difference of its sides over the sum of absolute terms."""
    course_score: float | None = None
    rtol: float | None = None
    atol: float | None = None
    passing_rtol: float | None = None
    passing_atol: float | None = None
    sum_squared_error: float | None = None
    worst: Worst | None = None
    got: Any = None
    expected: Any = None
    identity: str | None = None
    """The equation judged, where the method is `identity`."""
    accuracy: float | None = None
    """How exact the numeric gradient is expected to be, relative to the whole array."""
    tied: int | None = None
    """Elements of a max pooling that tie, judged by what sharing dy among them can give."""
    allowed: bool | None = None
    """True where a vacuous check is let pass."""
    diagnosis: list[dict[str, Any]] | None = None
    runner_up: dict[str, Any] | None = None
    tell: str | None = None
    sits: list[str] | None = None
    bound_share: float | None = None
    """The largest error as a share of its rounding bound, where the tolerance is derived."""
    unit_roundoff: float | None = None
    where: str | None = None
    note: str | None = None

    @property
    def judges_given(self) -> bool:
        """Tell whether what is wrong, where this fails, is an array that was given, not ours."""
        return self.check == "expect" or self.subject == "expected"

    @property
    def also_changed(self) -> str | None:
        """Say into what a function wrote, where that is not already the reason why it fails."""
        if not self.changed or self.reason == CHANGED:
            return None
        return wrote_into(self.changed)

    @property
    def fails_case(self) -> bool:
        """Tell whether this verdict makes its case fail."""
        return self.verdict == "fail" or (self.verdict == "vacuous" and not self.allowed)


def why_untested(tensor: str, right: NDArray[Any], atol: float) -> str | None:
    """Say that zeros would have passed for `right`, whose every element is within `atol` of zero.

    None where that is not so, of an exact comparison, and of what is no floating-point number.
    """
    import numpy as np

    if right.dtype.kind != "f" or not right.size or not atol > 0:
        return None
    if not float(np.abs(right).max()) <= atol:
        return None
    other = "another dy" if tensor.startswith("d") else "larger values"
    return (
        f"{UNTESTED}: every element is within atol ({atol:g}) of zero; use {other}, or give --rtol"
    )


def wrote_into(names: Sequence[str]) -> str:
    """Say that a function wrote into arguments of these names."""
    belong = "belongs" if len(names) == 1 else "belong"
    return f"it wrote into {', '.join(names)}, which {belong} to its caller"

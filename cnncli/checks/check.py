"""One comparison with a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from cnncli.checks.reasons import CHANGED, JUDGED_AS, TOLD, VALUES

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

    @property
    def headline(self) -> str:
        """Why this failed, in a line: its cause, if one is known, else its reason."""
        known = [str(row["cause"]) for row in self.diagnosis or () if row["cause"] != "unknown"]
        if known:
            return " (or: ".join(known[:2]) + (")" if len(known) > 1 else "")
        if self.reason == VALUES and self.note and self.note.startswith(JUDGED_AS):
            return VALUES  # how it was judged is no cause
        if self.reason in TOLD and self.note:
            return f"{self.reason}: {self.note}"
        return self.reason or self.verdict

    def record(self) -> dict[str, Any]:
        """Return this check as JSON data; a key that does not apply is absent."""
        data = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) is not None and one.name != "worst"
        }
        if self.worst is not None:
            judged, by = self._sides
            data["worst"] = {
                "index": list(self.worst.index),
                judged: self.worst.got,
                by: self.worst.expected,
            }
        return data

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Check:
        """Return the check that JSON data records; raise KeyError or TypeError where it is none."""
        plain = {key: value for key, value in data.items() if key != "worst"}
        for one in fields(cls):
            if one.name in plain and "float" in str(one.type) and isinstance(plain[one.name], str):
                plain[one.name] = float(plain[one.name])
        check = cls(**plain)
        if "worst" not in data:
            return check
        judged, by = check._sides
        got, expected = (
            float(value) if isinstance(value, str) else value
            for value in (data["worst"][judged], data["worst"][by])
        )
        worst = Worst(index=tuple(data["worst"]["index"]), got=got, expected=expected)
        return replace(check, worst=worst)

    @property
    def _sides(self) -> tuple[str, str]:
        """What the two values of the worst element are called in a record."""
        return ("analytic", "numeric") if self.check == "gradcheck" else ("got", "expected")


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

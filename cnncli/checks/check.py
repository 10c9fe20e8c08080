"""One comparison with a verdict, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from cnncli.cases.assertions import STATISTICS
from cnncli.checks.reasons import CHANGED, JUDGED_AS, TOLD, VALUES
from cnncli.layers.base import Array

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
class Comparison:
    """How far an array is from what was expected, element by element; `compare` makes it.

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
    largest_share: float
    """The largest error as a share of what its element is allowed."""
    worst: Worst | None
    wrong: Array | None = field(default=None, repr=False, compare=False)
    """Which elements are wrong, in the arrays' shape: never in a record, nor in another process."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "wrong": None}

    def figures(self) -> dict[str, Any]:
        """Return what stands in records under its own name, the worst element apart."""
        apart = ("largest_share", "worst", "wrong")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}


RECORD_KEYS = (
    *("check", "tensor", "verdict", "assertion", "subject", "implementation", "reason", "changed"),
    *("method", "step", "evaluations", "elements", "mismatched", "max_abs_error", "max_rel_error"),
    *("norm_rel_error", "terms_rel_error", "course_score", "rtol", "atol", "passing_rtol"),
    *("passing_atol", "sum_squared_error", "got", "expected", "identity", "accuracy", "tied"),
    *("allowed", "diagnosis", "runner_up", "tell", "sits", "bound_share", "unit_roundoff"),
    *("where", "note", "worst"),
)
"""The keys of a check's record, in its order; one that does not apply is absent."""


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
    comparison: Comparison | None = None
    """How far the arrays are apart; None where nothing was compared, as of two shapes."""
    terms_rel_error: float | None = None
    """Of an identity: the largest difference of its sides over the sum of absolute terms."""
    course_score: float | None = None
    rtol: float | None = None
    atol: float | None = None
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
    unit_roundoff: float | None = None
    """Of the arithmetic that the tolerance is derived from, where it is."""
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
    def compares_elements(self) -> bool:
        """Tell whether two arrays were compared, element by element: no sides, no statistic."""
        return self.comparison is not None and "worst" in self._told() and not self.identity

    @property
    def worst(self) -> Worst | None:
        """The worst element of what was compared; None where nothing was."""
        return None if self.comparison is None else self.comparison.worst

    @property
    def bound_share(self) -> float | None:
        """The largest error as a share of its rounding bound, where the tolerance is derived."""
        if self.comparison is None or self.unit_roundoff is None:
            return None
        return self.comparison.largest_share

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
        """Return the check as flat data; a key that does not apply is absent."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "comparison"}
        data["bound_share"] = self.bound_share
        if self.comparison is not None:
            told = self._told()
            data |= {key: v for key, v in self.comparison.figures().items() if key in told}
            worst = self.comparison.worst
            if worst is not None and "worst" in told:
                got, expected = self._worst_keys
                data["worst"] = {
                    "index": list(worst.index),
                    got: worst.got,
                    expected: worst.expected,
                }
        return {key: data[key] for key in RECORD_KEYS if data.get(key) is not None}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Check:
        """Return the check that a record is of, its comparison without the mask.

        Figures that the record does not tell are NaN. Raises KeyError or ValueError where `data`
        is no record of a check.
        """
        own = {f.name for f in fields(cls)} - {"comparison"}
        check = cls(**{key: _read(value) for key, value in data.items() if key in own})
        if "max_abs_error" not in data:
            return check
        figures = {f.name: _read(data.get(f.name, "NaN")) for f in fields(Comparison)}
        figures |= {"elements": data.get("elements", 1), "mismatched": data.get("mismatched", 0)}
        figures |= {"largest_share": _read(data.get("bound_share", "NaN")), "wrong": None}
        figures["worst"] = None
        if "worst" in data:
            worst, (got, expected) = data["worst"], check._worst_keys
            index = tuple(worst["index"])
            figures["worst"] = Worst(
                index=index, got=_read(worst[got]), expected=_read(worst[expected])
            )
        return replace(check, comparison=Comparison(**figures))

    @property
    def _worst_keys(self) -> tuple[str, str]:
        return ("analytic", "numeric") if self.check == "gradcheck" else ("got", "expected")

    def _told(self) -> frozenset[str]:
        """Return what its record tells of its comparison: what means something for its kind."""
        passing = {"passing_rtol", "passing_atol"}
        errors = {"max_abs_error", "max_rel_error"}
        counts = {"elements", "mismatched"}
        if self.check == "against":
            told = {*counts, *errors, "norm_rel_error", *passing, "sum_squared_error", "worst"}
        elif self.identity is not None:
            told = {*counts, "max_abs_error", "worst"}
        elif self.check == "gradcheck" or self.unit_roundoff is not None:
            told = {*counts, *errors, "norm_rel_error", "worst"}
        elif self.assertion == "sum_squared_error":
            told = {"elements", *errors, "sum_squared_error", "worst"}
        elif self.assertion in STATISTICS:
            told = {*errors, *passing}
        else:
            told = {*counts, *errors, "norm_rel_error", *passing, "worst"}
        return frozenset(told)


def _read(value: Any) -> Any:
    """Return a number that strict JSON had to write as text; anything else as it is."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def wrote_into(names: Sequence[str]) -> str:
    """Say that a function wrote into arguments of these names."""
    belong = "belongs" if len(names) == 1 else "belong"
    return f"it wrote into {', '.join(names)}, which {belong} to its caller"

"""Grades: what the results of people's code add up to, those of an earlier run among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cnncli.checks.reasons import CHANGED
from cnncli.implementations.people.guard import OPENS
from cnncli.runs.result import Grade, Result

PASSED = "right"
_SIZES = re.compile(r"(?<=^wrong shape): [\dx]+ should be [\dx]+$")
REASONS = ("wrong values", "wrong shape", "wrong at ties only")


@dataclass(kw_only=True)
class Cell:
    """One function of one submission: points, and the first reason why they are not all there."""

    earned: float = 0.0
    possible: float = 0.0
    reason: str = PASSED
    causes: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Row:
    """One submission: its results, which make a cell per function."""

    submission: str
    results: list[Result] = field(default_factory=list)

    @property
    def earned(self) -> float:
        """All points earned."""
        return sum(one.earned for one in self.results)

    @property
    def possible(self) -> float:
        """All points that there are."""
        return sum(grade_of(one).points for one in self.results)

    @property
    def notes(self) -> list[str]:
        """What loading the file showed."""
        return list(dict.fromkeys(note for one in self.results for note in grade_of(one).notes))

    @property
    def borrowed(self) -> list[str]:
        """Those of the notes that say whose code it opens, which no class's report leaves out."""
        return [note for note in self.notes if note.startswith(OPENS)]

    @property
    def shrunk(self) -> list[str]:
        """The smallest wrong cases."""
        return list(dict.fromkeys(text for one in self.results for text in grade_of(one).shrunk))

    @property
    def cells(self) -> dict[str, Cell]:
        """A cell for every function, in the order of the results."""
        functions: dict[str, list[Result]] = {}
        for one in self.results:
            functions.setdefault(grade_of(one).function, []).append(one)
        return {function: _cell(results) for function, results in functions.items()}


@dataclass(kw_only=True)
class Grades:
    """The rows of a class, in the order in which submissions come. A sink of results."""

    rows: dict[str, Row] = field(default_factory=dict)

    def take(self, result: Result) -> None:
        """Take a result of people's code; others are no grades."""
        if result.grade is not None:
            who = str(result.implementation)
            self.rows.setdefault(who, Row(submission=who)).results.append(result)

    def end(self) -> None:
        """Nothing is written."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One cause in one function, and who it befell."""

    function: str
    text: str
    submissions: list[str]


def grade_of(result: Result) -> Grade:
    """Return the grade of a result that has one."""
    assert result.grade is not None
    return result.grade


def _cell(results: Sequence[Result]) -> Cell:
    """Return what the results of one function add up to."""
    cell = Cell()
    for one in results:
        cell.possible += grade_of(one).points
        cell.earned += one.earned
        reason = one.reason or (None if one.status == "passed" else one.status)
        if reason is not None:
            if cell.reason == PASSED:
                cell.reason = reason
            cause = one.cause or str(one.error or reason)
            if cause not in cell.causes:
                cell.causes.append(cause)
    shared = _shared(results)
    if shared:
        # What explains every failing case is told from what one geometry cannot tell apart.
        cell.causes = [cause for cause in cell.causes if cause.split(" (or: ")[0] not in shared[1]]
        cell.causes.insert(0, shared[0])
    # A reason alone says nothing where another case of the function tells the cause.
    named = [cause for cause in cell.causes if cause not in REASONS]
    cell.causes = named or cell.causes
    also = [f"{CHANGED}: {one.also_changed}" for one in results if one.also_changed]
    cell.causes += [text for text in dict.fromkeys(also) if text not in cell.causes]
    return cell


def _shared(results: Iterable[Result]) -> tuple[str, set[str]] | None:
    """Return the first cause that explains every diagnosed failure, and all that were named."""
    named = []
    for one in results:
        causes = [
            str(row["cause"])
            for check in one.checks
            if check.verdict == "fail"
            for row in check.diagnosis or ()
            if row["cause"] != "unknown"
        ]
        if causes:
            named.append(causes)
    if not named:
        return None
    common = [cause for cause in named[0] if all(cause in causes for causes in named)]
    return (common[0], {cause for causes in named for cause in causes}) if common else None


def commonest(rows: Iterable[Row]) -> list[Cause]:
    """Return every cause with the submissions that it befell, the commonest first."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for function, cell in row.cells.items():
            for cause in cell.causes:
                who = found.setdefault((function, _kind(cause)), [])
                if row.submission not in who:
                    who.append(row.submission)
    causes = [Cause(function=f, text=t, submissions=who) for (f, t), who in found.items()]
    return sorted(causes, key=lambda cause: -len(cause.submissions))


def _kind(cause: str) -> str:
    """Return a cause without what differs between those who share it: a name, the sizes."""
    return _SIZES.sub("", cause.split(" (did you", maxsplit=1)[0])


def points_text(value: float) -> str:
    """Return points without a fraction that is zero."""
    return f"{value:g}"

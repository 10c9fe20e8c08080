"""Grades: what the results of submissions add up to, from their records alone.

A record is a line of the results file, so that a report can be made of old and new ones together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnncli.checks.check import CHANGED, wrote_into
from cnncli.checks.reasons import headline
from cnncli.runs.record import record
from cnncli.runs.submissions import Graded

Record = dict[str, Any]

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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One submission: a cell a function, and what loading it showed."""

    submission: str
    cells: dict[str, Cell]
    records: list[Record]
    notes: list[str]
    shrunk: list[str]

    @property
    def earned(self) -> float:
        """All points earned."""
        return sum(cell.earned for cell in self.cells.values())

    @property
    def possible(self) -> float:
        """All points that there are."""
        return sum(cell.possible for cell in self.cells.values())


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One cause in one function, and who it befell."""

    function: str
    text: str
    submissions: list[str]


def records_of(graded: Graded) -> list[Record]:
    """Return a submission's results as the records of a results file, one a case."""
    found = []
    for result, function, points in zip(
        graded.results, graded.functions, graded.points, strict=True
    ):
        data = record(result)
        data |= {"implementation": graded.submission.label, "function": function}
        data |= {"points": points, "earned": points if result.status == "passed" else 0.0}
        failing = [check for check in result.checks if check.fails_case]
        if failing:
            data["reason"] = failing[0].reason
            data["cause"] = headline(failing[0])
        data |= {"notes": list(graded.notes), "shrunk": list(graded.shrunk), "key": graded.key}
        found.append(data)
    return found


def row_of(records: Sequence[Record]) -> Row:
    """Return the row that a submission's records make."""
    cells: dict[str, Cell] = {}
    for one in records:
        cell = cells.setdefault(str(one["function"]), Cell())
        cell.possible += one["points"]
        cell.earned += one["earned"]
        if "reason" in one:
            if cell.reason == PASSED:
                cell.reason = one["reason"]
            if one["cause"] not in cell.causes:
                cell.causes.append(one["cause"])
    for function, cell in cells.items():
        shared = _shared(one for one in records if one["function"] == function)
        if shared:
            # What explains every failing case is told from what one geometry cannot tell apart.
            cell.causes = [
                cause for cause in cell.causes if cause.split(" (or: ")[0] not in shared[1]
            ]
            cell.causes.insert(0, shared[0])
        # A reason alone says nothing where another case of the function tells the cause.
        named = [cause for cause in cell.causes if cause not in REASONS]
        cell.causes = named or cell.causes
        also = [f"{CHANGED}: {text}" for one in records if (text := also_changed(one, function))]
        cell.causes += [text for text in dict.fromkeys(also) if text not in cell.causes]
    first = records[0]
    return Row(
        submission=first["implementation"],
        cells=cells,
        records=list(records),
        notes=list(first.get("notes", ())),
        shrunk=list(first.get("shrunk", ())),
    )


def also_changed(one: Record, function: str | None = None) -> str:
    """Say into what the function wrote that a record is of, beside failing for another reason.

    Nothing where it did not or, `function` given, where the record is of another function.
    """
    if function not in (None, one["function"]) or one.get("reason") == CHANGED:
        return ""
    names = dict.fromkeys(name for check in one["checks"] for name in check.get("changed") or ())
    return wrote_into([*names]) if names else ""


def _shared(records: Iterable[Record]) -> tuple[str, set[str]] | None:
    """Return the first cause that explains every diagnosed failure, and all that were named."""
    named = []
    for one in records:
        causes = [
            str(row["cause"])
            for check in one["checks"]
            if check["verdict"] == "fail"
            for row in check.get("diagnosis") or ()
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

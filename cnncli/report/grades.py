"""Grades as tables: a submission by its functions, and a class as a matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnncli.report.tables import make_table, make_text
from cnncli.runs.grades import PASSED, Row, also_changed, commonest, points_text

if TYPE_CHECKING:
    from rich.console import Console

MOST_CAUSES = 15


def show_grades(console: Console, rows: Sequence[Row]) -> None:
    """Print one submission case by case, or many as a matrix with the commonest causes."""
    if len(rows) == 1:
        _show_one(console, rows[0])
    else:
        _show_class(console, rows)
    for row in rows:
        for text in row.shrunk:
            console.print(make_text(text))
            console.print()


def _show_one(console: Console, row: Row) -> None:
    console.print(make_text(row.submission, "bold"))
    table = make_table("function", "case", "tensors", "points", "verdict", "")
    for one in row.records:
        checks = one["checks"]
        reason = one.get("reason", PASSED)
        cause = one.get("cause", "")
        also = also_changed(one)
        shown = cause if cause != reason else _where(checks)
        if reason == PASSED:
            notes = [str(check["note"]) for check in checks if check.get("note")]
            shown = "; ".join(dict.fromkeys(notes))
        table.add_row(
            make_text(one["function"]),
            make_text(one["name"]),
            " ".join(check["tensor"] for check in checks),
            f"{points_text(one['earned'])}/{points_text(one['points'])}",
            make_text(reason, "green" if reason == PASSED else "bold red"),
            make_text("; ".join(filter(None, [shown, also]))),
        )
    console.print(table)
    looks = {
        row["look"]: None
        for one in row.records
        for check in one["checks"]
        for row in check.get("diagnosis") or ()
        if "look" in row
    }
    for look in looks:
        console.print(make_text(f"hint: {look}"))
    for note in row.notes:
        console.print(make_text(f"note: {note}"))
    console.print(_total(row))


def _where(checks: Sequence[dict[str, object]]) -> str:
    """Return where errors sit, of the first check that says so."""
    for check in checks:
        sits = check.get("sits")
        if isinstance(sits, list) and sits:
            return "; ".join(map(str, sits))
    return ""


def _total(row: Row) -> str:
    return f"{points_text(row.earned)} of {points_text(row.possible)} points"


def _show_class(console: Console, rows: Sequence[Row]) -> None:
    functions = list(dict.fromkeys(name for row in rows for name in row.cells))
    prefix = os.path.commonpath([os.path.dirname(row.submission) or "." for row in rows])
    numbers = [f"({number})" for number in range(1, len(functions) + 1)]
    table = make_table("submission", "points", *numbers)
    for row in rows:
        cells = []
        for name in functions:
            cell = row.cells.get(name)
            if cell is None:
                cells.append(make_text("-"))
                continue
            text = f"{points_text(cell.earned)}/{points_text(cell.possible)}"
            is_right = cell.reason == PASSED
            shown = text if is_right else f"{text} {cell.reason}"
            cells.append(make_text(shown, "green" if is_right else "bold red"))
        name = os.path.relpath(row.submission, prefix) if prefix else row.submission
        points = f"{points_text(row.earned)}/{points_text(row.possible)}"
        table.add_row(make_text(name), points, *cells)
    console.print(table)
    console.print()
    for number, function in zip(numbers, functions, strict=True):
        right = sum(function in row.cells and row.cells[function].reason == PASSED for row in rows)
        console.print(make_text(f"{number} {function}: right in {right} of {len(rows)}"))
    causes = commonest(rows)
    if causes:
        console.print()
        table = make_table("count", "function", "commonest causes", "submissions")
        for cause in causes[:MOST_CAUSES]:
            who = [os.path.relpath(name, prefix) for name in cause.submissions]
            shown = ", ".join(who[:5]) + (f" and {len(who) - 5} more" if len(who) > 5 else "")
            table.add_row(
                str(len(who)), make_text(cause.function), make_text(cause.text), make_text(shown)
            )
        console.print(table)
        if len(causes) > MOST_CAUSES:
            console.print(f"and {len(causes) - MOST_CAUSES} rarer ones (--csv or --json has all)")
    console.print()
    average = sum(row.earned for row in rows) / len(rows)
    whole = sum(row.earned == row.possible for row in rows)
    console.print(
        f"{len(rows)} submissions: {whole} all right; {average:.4g} of "
        f"{points_text(rows[0].possible)} points on average"
    )

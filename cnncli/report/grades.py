"""Grades as tables: a submission by its functions, and a class as a matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnncli.checks.check import Check
from cnncli.report.style import make_table, make_text, words
from cnncli.runs.grades import PASSED, Cell, Grades, Row, commonest, grade_of, points_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

MOST_CAUSES = 15


class GradesTable(Grades):
    """A sink that prints the grades of all people's code at the end."""

    def end(self) -> None:
        """Print them, if there are any."""
        from cnncli.report.console import make_console

        if self.rows:
            show_grades(make_console(), list(self.rows.values()))


def show_grades(console: Console, rows: Sequence[Row]) -> None:
    """Print one submission case by case, or many as a matrix with the commonest causes."""
    if len(rows) == 1:
        _show_one(console, rows[0])
    else:
        _show_class(console, rows)
    for row in rows:
        for text in row.shrunk:
            # Never folded by us, so that its command can be copied.
            console.print(make_text(text), soft_wrap=True)
            console.print()


def _show_one(console: Console, row: Row) -> None:
    console.print(make_text(row.submission, "bold"))
    table = make_table(words("function"), words("case"), "tensors", "points", "verdict", words(""))
    for one in row.results:
        checks, grade = one.checks, grade_of(one)
        reason = PASSED if one.status == "passed" else one.reason or one.status
        cause = one.cause or str(one.error or "")
        shown = cause if cause != reason else _where(checks)
        if reason == PASSED:
            shown = "; ".join(dict.fromkeys(check.note for check in checks if check.note))
        table.add_row(
            make_text(grade.function),
            make_text(one.name),
            " ".join(check.tensor for check in checks),
            f"{points_text(one.earned)}/{points_text(grade.points)}",
            make_text(reason, "green" if reason == PASSED else "bold red"),
            make_text("; ".join(filter(None, [shown, one.also_changed]))),
        )
    console.print(table)
    looks = {
        row["look"]: None
        for one in row.results
        for check in one.checks
        for row in check.diagnosis or ()
        if "look" in row
    }
    for look in looks:
        console.print(make_text(f"hint: {look}"))
    for note in row.notes:
        console.print(make_text(f"note: {note}"))
    console.print(_total(row))


def _where(checks: Sequence[Check]) -> str:
    """Return where errors sit, of the first check that says so."""
    return next(("; ".join(check.sits) for check in checks if check.sits), "")


def _total(row: Row) -> str:
    return f"{points_text(row.earned)} of {points_text(row.possible)} points"


def _show_class(console: Console, rows: Sequence[Row]) -> None:
    found = [row.cells for row in rows]
    functions = list(dict.fromkeys(name for cells in found for name in cells))
    names = _short_names([row.submission for row in rows])
    numbers = [f"({number})" for number in range(1, len(functions) + 1)]
    table = make_table(words("submission"), "points", *map(words, numbers))
    for row, cells in zip(rows, found, strict=True):
        points = f"{points_text(row.earned)}/{points_text(row.possible)}"
        texts = [_cell_text(cells.get(name)) for name in functions]
        table.add_row(make_text(names[row.submission]), points, *texts)
    console.print(table)
    console.print()
    for number, function in zip(numbers, functions, strict=True):
        right = sum(function in cells and cells[function].reason == PASSED for cells in found)
        console.print(make_text(f"{number} {function}: right in {right} of {len(rows)}"))
    causes = commonest(rows)
    if causes:
        console.print()
        table = make_table("count", *map(words, ("function", "commonest causes", "submissions")))
        for cause in causes[:MOST_CAUSES]:
            who = [names[name] for name in cause.submissions]
            shown = ", ".join(who[:5]) + (f" and {len(who) - 5} more" if len(who) > 5 else "")
            table.add_row(
                str(len(who)), make_text(cause.function), make_text(cause.text), make_text(shown)
            )
        console.print(table)
        if len(causes) > MOST_CAUSES:
            console.print(f"and {len(causes) - MOST_CAUSES} rarer ones (--csv or --json has all)")
    console.print()
    for row in rows:
        for note in row.borrowed:
            console.print(make_text(f"note: {names[row.submission]}: {note}"))
    average = sum(row.earned for row in rows) / len(rows)
    whole = sum(row.earned == row.possible for row in rows)
    console.print(
        f"{len(rows)} submissions: {whole} all right; {average:.4g} of "
        f"{points_text(rows[0].possible)} points on average"
    )


def _cell_text(cell: Cell | None) -> Text:
    if cell is None:
        return make_text("-")
    text = f"{points_text(cell.earned)}/{points_text(cell.possible)}"
    if cell.reason == PASSED:
        return make_text(text, "green")
    return make_text(f"{text} {cell.reason}", "bold red")


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return every path without the folders that all have in common."""
    whole = {path: os.path.abspath(path) for path in paths}
    prefix = os.path.commonpath([os.path.dirname(path) for path in whole.values()])
    return {path: os.path.relpath(there, prefix) for path, there in whole.items()}

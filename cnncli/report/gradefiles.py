"""Grades as files that other programs read: CSV, and Gradescope's results.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cnncli.report.visible import visible
from cnncli.report.wording import failure_lines
from cnncli.runs.files import refuse_unwritable, whole_file
from cnncli.runs.grades import PASSED, Grades, Row, grade_of
from cnncli.runs.result import Result

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class GradesFile(Grades):
    """A sink that writes a text of all grades at the end."""

    def __init__(self, path: str, flag: str, text: Callable[[Sequence[Row]], str]) -> None:
        """Begin; raise UsageError where the file could not be written."""
        super().__init__()
        self._path, self._flag, self._text = Path(path), flag, text
        refuse_unwritable(self._path, flag)

    def end(self) -> None:
        """Write the file, whole; raise UsageError where it cannot be."""
        with whole_file(self._path, self._flag) as stream:
            stream.write(self._text(list(self.rows.values())).encode("utf-8", "replace"))


def csv_file(path: str) -> GradesFile:
    """Return the sink of `--csv`."""
    return GradesFile(path, "--csv", csv_text)


def gradescope_file(path: str) -> GradesFile:
    """Return the sink of `--gradescope`, of one submission."""
    return GradesFile(path, "--gradescope", gradescope_text)


def csv_text(rows: Sequence[Row]) -> str:
    """Return a table with a row per submission: points in all, then those of each function."""
    functions = list(dict.fromkeys(name for row in rows for name in row.cells))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    heads = [head for name in functions for head in (name, f"{name} verdict", f"{name} cause")]
    writer.writerow([_cell(head) for head in ("submission", "points", "possible", *heads, "notes")])
    for row in rows:
        cells: list[Any] = [_cell(row.submission), row.earned, row.possible]
        found = row.cells
        for name in functions:
            cell = found.get(name)
            if cell is None:
                cells += ["", "", ""]
            else:
                cells += [cell.earned, _cell(cell.reason), _cell("; ".join(cell.causes))]
        writer.writerow([*cells, _cell("; ".join(row.borrowed))])
    return stream.getvalue()


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: a file's name is its owner's choice."""
    shown = visible(text)
    return f"'{shown}" if text.startswith(_FORMULA) else shown


def gradescope_text(rows: Sequence[Row]) -> str:
    """Return one submission as Gradescope's results.json: a test per case, scored by its points."""
    results = [result for row in rows for result in row.results]
    data = {
        "score": sum(row.earned for row in rows),
        "execution_time": round(sum(one.seconds for one in results)),
        "output": "\n".join(text for row in rows for text in (*row.notes, *row.shrunk)),
        "output_format": "text",
        "visibility": "visible",
        "tests": [_test(one) for one in results],
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _test(result: Result) -> dict[str, Any]:
    grade, passed = grade_of(result), result.status == "passed"
    return {
        "name": f"{grade.function}: {result.name}",
        "score": result.earned,
        "max_score": grade.points,
        "status": "passed" if passed else "failed",
        "output": PASSED if passed else "\n".join(failure_lines(result)),
        "output_format": "text",
        "visibility": "visible",
    }

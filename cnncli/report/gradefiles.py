"""Grades as files that other programs read: CSV, JUnit, and Gradescope's results.json."""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as xml

from cnncli.report.visible import visible
from cnncli.runs.grades import PASSED, Record, Row, also_changed

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: Sequence[Row]) -> str:
    """Return a table with a row a submission: points in all, then points and reason a function."""
    functions = list(dict.fromkeys(name for row in rows for name in row.cells))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    heads = [head for name in functions for head in (name, f"{name} verdict", f"{name} cause")]
    writer.writerow([_cell(head) for head in ("submission", "points", "possible", *heads)])
    for row in rows:
        cells: list[Any] = [_cell(row.submission), row.earned, row.possible]
        for name in functions:
            cell = row.cells.get(name)
            if cell is None:
                cells += ["", "", ""]
            else:
                cells += [cell.earned, _cell(cell.reason), _cell("; ".join(cell.causes))]
        writer.writerow(cells)
    return stream.getvalue()


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: a file's name is its owner's choice."""
    shown = visible(text)
    return f"'{shown}" if text.startswith(_FORMULA) else shown


def gradescope_text(row: Row) -> str:
    """Return one submission as Gradescope's results.json: a test a case, scored by its points."""
    tests = [
        {
            "name": f"{one['function']}: {one['name']}",
            "score": one["earned"],
            "max_score": one["points"],
            "status": "passed" if one["status"] == "passed" else "failed",
            "output": _output(one),
            "output_format": "text",
            "visibility": "visible",
        }
        for one in row.records
    ]
    data = {
        "score": row.earned,
        "execution_time": round(sum(one["seconds"] for one in row.records)),
        "output": "\n".join([*row.notes, *row.shrunk]),
        "output_format": "text",
        "visibility": "visible",
        "tests": tests,
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def junit_text(rows: Sequence[Row]) -> str:
    """Return XML by the schema of report/junit.py, a suite a submission, a testcase a case."""
    root = xml.Element("testsuites")
    for number, row in enumerate(rows):
        failures = sum(one["status"] != "passed" for one in row.records)
        suite = xml.SubElement(
            root,
            "testsuite",
            id=str(number),
            package="cnncli",
            name=_token(row.submission),
            timestamp=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
            hostname=_token(socket.gethostname()),
            tests=str(len(row.records)),
            failures=str(failures),
            errors="0",
            skipped="0",
            time=f"{sum(one['seconds'] for one in row.records):.3f}",
        )
        xml.SubElement(suite, "properties")
        for one in row.records:
            case = xml.SubElement(
                suite,
                "testcase",
                name=_token(one["name"]),
                classname=_token(f"{row.submission}.{one['function']}"),
                time=f"{one['seconds']:.3f}",
            )
            if one["status"] != "passed":
                failure = xml.SubElement(
                    case,
                    "failure",
                    message=_printable(str(one.get("cause", one["status"]))),
                    type=_printable(str(one.get("reason", one["status"]))),
                )
                failure.text = _printable(_output(one))
        xml.SubElement(suite, "system-out")
        xml.SubElement(suite, "system-err")
    xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, "unicode") + "\n"


def _token(text: str) -> str:
    """Return text as the schema wants a name: no spaces around it, and not empty."""
    return _printable(text).strip() or "?"


def _output(one: Record) -> str:
    """Say in a few lines what came of a case."""
    if one["status"] == "passed":
        return PASSED
    lines = [f"{one.get('reason', one['status'])}: {one.get('cause', '')}"]
    for check in one["checks"]:
        if check["verdict"] != "fail":
            continue
        worst = check.get("worst")
        if worst is not None and check["mismatched"]:
            place = ",".join(map(str, worst["index"]))
            lines.append(
                f"{check['tensor']}[{place}] is {worst['got']}, should be {worst['expected']}; "
                f"{check['mismatched']} of {check['elements']} wrong"
            )
        elif check.get("note"):
            lines.append(f"{check['tensor']}: {check['note']}")
        lines += [row["look"] for row in check.get("diagnosis") or () if "look" in row]
        lines += check.get("sits") or ()
    lines += filter(None, [also_changed(one)])
    if one.get("reproduce"):
        lines.append(one["reproduce"])
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Return text with control characters as escapes, and none that XML 1.0 cannot hold."""
    return "".join(
        c
        if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
        else "?"
        for c in visible(text)
    )

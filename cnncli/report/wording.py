"""Words for what a check found, where there is no table: a line of text, or a few."""

from __future__ import annotations

from cnncli.checks.check import Check
from cnncli.report.numbers import index_text, number_text, value_text
from cnncli.runs.result import Result


def failure_text(result: Result) -> str:
    """Say why a case is not well: its error, or its worst check with the worst element."""
    if result.error is not None:
        return str(result.error)
    failing = result.failing
    if not failing:
        return result.status
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    return check_text(failing[0]) + more


def check_text(check: Check) -> str:
    """Say what a failing check found: what was judged, the worst element, both values."""
    judged = check.assertion or check.subject or check.implementation or ""
    text = f"{check.tensor} {check.check} {judged}".rstrip()
    if check.where:
        text += f" ({check.where})"
    if check.reason:
        text += f": {check.reason}"
    if check.worst is not None:
        against = "numeric" if check.check == "gradcheck" else "expected"
        element = index_text(check.tensor, check.worst.index)
        got, expected = (number_text(n, full=True) for n in (check.worst.got, check.worst.expected))
        text += f": {element} {got}, {against} {expected}"
        if check.mismatched:
            text += f"; {check.mismatched} of {check.elements} wrong"
    elif check.got is not None and not (check.reason and check.note):
        got, expected = (value_text(n, full=True) for n in (check.got, check.expected))
        text += f": {got}, expected {expected}"
    return f"{text} ({check.note})" if check.note else text


def failure_lines(result: Result) -> list[str]:
    """Say in a few lines what is wrong with a case, and how it is run again."""
    if result.error is not None:
        lines = [str(result.error)]
    elif result.grade is None:
        lines = [check_text(check) for check in result.failing]
    else:
        lines = _told(result)
    return [*lines, *filter(None, [result.reproduce])]


def _told(result: Result) -> list[str]:
    """Say to whoever wrote the code what is wrong with it, and where to look."""
    lines = [f"{result.reason or result.status}: {result.cause or ''}"]
    for check in result.failing:
        if check.worst is not None and check.mismatched:
            place = index_text(check.tensor, check.worst.index)
            lines.append(
                f"{place} is {check.worst.got}, should be {check.worst.expected}; "
                f"{check.mismatched} of {check.elements} wrong"
            )
        elif check.note:
            lines.append(f"{check.tensor}: {check.note}")
        lines += [row["look"] for row in check.diagnosis or () if "look" in row]
        lines += check.sits or ()
    also = result.also_changed
    return [*lines, also] if also else lines

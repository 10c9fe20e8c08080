"""Words for what a check found: in a cell of a table, in a line, or in the few lines of a file."""

from __future__ import annotations

from collections.abc import Mapping

from cnncli.checks.check import UNTESTED, Check, Comparison
from cnncli.report.numbers import apart_texts, error_text, index_text, number_text, value_text
from cnncli.runs.result import STATUSES, Result


def counts_text(counts: Mapping[str, int], checks: int) -> str:
    """Say how many results there are of every status, and how many checks were made."""
    total = sum(counts.values())
    counted = [f"{counts[status]} {status}" for status in STATUSES if counts.get(status)]
    plural = "s" if total != 1 else ""
    return f"{total} case{plural}: {', '.join(counted) or 'none'}; {checks} checks"


def title(result: Result) -> str:
    """Return what a result is of: the case, and who computed it where there are several."""
    who = "" if result.implementation is None else f" ({result.implementation})"
    return f"{result.label}{who}"


def failure_text(result: Result) -> str:
    """Say why a case is not well: its error, or its first failing check."""
    if result.error is not None:
        return str(result.error)
    failing = result.failing
    if not failing:
        return result.status
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    return check_text(failing[0]) + more


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
        if check.worst is not None and check.comparison and check.comparison.mismatched:
            place = index_text(check.tensor, check.worst.index)
            lines.append(
                f"{place} is {check.worst.got}, should be {check.worst.expected}"
                f"{wrong_text(check.comparison)}"
            )
        elif check.note:
            lines.append(f"{check.tensor}: {check.note}")
        lines += [row["look"] for row in check.diagnosis or () if "look" in row]
        lines += check.sits or ()
    also = result.also_changed
    return [*lines, also] if also else lines


def check_text(check: Check, *, full: bool = True) -> str:
    """Say what a failing check judged, where that is written, and why it failed.

    Numbers have all their digits or, not `full`, as many as eyes want.
    """
    reason = _reason_text(check, full)
    if check.diagnosis and "look" in check.diagnosis[0]:
        reason = check.diagnosis[0]["cause"]
    if check.also_changed:
        reason += f"; {check.also_changed}"
    place = f" ({check.where})" if check.where else ""
    return f"{check.tensor} {check_name(check)}{place}: {reason}"


def _reason_text(check: Check, full: bool) -> str:
    """Say what was found: the numbers, and beside them what is noted."""
    if check.worst is None and check.got is None:
        return check.note or worst_text(check, full)
    text = worst_text(check, full)
    return text if check.note is None or check.note in text else f"{text}; {check.note}"


def check_name(check: Check) -> str:
    """Return what was judged, and by what."""
    if check.check == "expect":
        return f"expect {check.assertion}"
    if check.check == "against":
        return f"against {check.implementation}"
    return f"{check.check} {check.identity or check.subject}"


def identity_text(check: Check, full: bool) -> str:
    """Return both sides of an identity where they are furthest apart, and how far is too far."""
    assert check.worst is not None
    got, expected = check.worst.got, check.worst.expected
    place = f"at {','.join(map(str, check.worst.index))}: " if check.worst.index else ""
    if check.verdict != "fail":
        return f"{place}{number_text(got, full=full)} = {number_text(expected, full=full)}"
    left, right = apart_texts(got, expected, full=full)
    how = (
        f"{error_text(check.terms_rel_error)} of the terms apart, {error_text(check.rtol)} allowed"
    )
    return f"{place}{left}, not {right} ({how})"


def wrong_text(found: Comparison) -> str:
    """Say how many elements are wrong, where some are."""
    return f"; {found.mismatched} of {found.elements} wrong" if found.mismatched else ""


def worst_text(check: Check, full: bool) -> str:
    """Return the worst element and both its values, or the two things that differ."""
    if check.identity and check.worst is not None:
        return identity_text(check, full)
    if check.comparison is not None and check.worst is not None:
        got, expected = apart_texts(check.worst.got, check.worst.expected, full=full)
        against = {"expect": "expected", "gradcheck": "numeric"}.get(check.check, "ours")
        many = wrong_text(check.comparison)
        if check.note and (check.bound_share is not None or UNTESTED in check.note):
            many += f"; {check.note}"
        return f"{_place_text(check, check.worst.index)} {got}, {against} {expected}{many}"
    if check.check == "against" and (check.got is None or check.note):
        return ": ".join(text for text in (check.reason, check.note) if text)
    if check.note and check.note.startswith("shapes differ: "):
        return check.note
    text = f"{value_text(check.got, full=full)}, expected {value_text(check.expected, full=full)}"
    return f"{text} ({check.note})" if check.note else text


def _place_text(check: Check, index: tuple[int, ...]) -> str:
    if check.assertion in ("channel_mean", "channel_std"):
        return f"channel {index[0]}"
    return index_text(check.tensor, index)


def method_text(check: Check) -> str:
    """Return how a reference was found: the method and its step, or the identity."""
    if check.identity:
        return check.identity
    if check.method is None:
        return ""
    return f"{check.method}, step {check.step:.3g}"

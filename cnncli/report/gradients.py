"""Gradient checks and diagnoses as tables. A view computes nothing: all stands in the checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnncli.checks.check import Check
from cnncli.checks.reasons import CHANGED
from cnncli.report.numbers import apart_texts, error_text, index_text, value_text
from cnncli.report.style import STYLES, make_table, make_text, numbers, words
from cnncli.report.wording import identity_text, method_text, wrong_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 130
"""The columns from which the worst element stands beside the figures."""


def gradcheck_table(console: Console, checks: Sequence[Check]) -> Table:
    """Return a row a check: how the reference was found, how exact it is, how far off was judged.

    `expected` is the error that the method should reach and `observed` what was found, both
    relative to the whole array. An identity has no method to expect an error of; what was observed
    of it is relative to the sum of its absolute terms. Without room for the worst elements,
    `show_worst` has them.
    """
    is_wide = console.width >= WIDE
    figures = (numbers(name) for name in ("evals", "expected", "observed", "max rel"))
    worst = (words("worst"),) if is_wide else ()
    table = make_table("tensor", "whose", words("method"), *figures, "verdict", *worst)
    for check in checks:
        found = None if check.identity else check.comparison
        observed = check.terms_rel_error if found is None else found.norm_rel_error
        table.add_row(
            check.tensor,
            check.subject or "",
            make_text(method_text(check)),
            "" if check.evaluations is None else str(check.evaluations),
            error_text(check.accuracy),
            error_text(observed),
            error_text(None if found is None else found.max_rel_error),
            make_text(check.verdict, STYLES[check.verdict]),
            *((make_text(_worst(check, not console.is_terminal)),) if is_wide else ()),
        )
    return table


def show_worst(console: Console, checks: Sequence[Check]) -> None:
    """Print the worst element of each check that is no pass, where the table had no room for it."""
    wrong = [check for check in checks if check.verdict not in ("pass", "skipped")]
    if console.width >= WIDE or not wrong:
        return
    for check in wrong:
        what = f"{check.identity}: " if check.identity else ""
        text = f"{check.subject} {check.tensor}: {what}{_worst(check, full=False)}"
        console.print(make_text(text))
    console.print()


def _worst(check: Check, full: bool) -> str:
    if check.comparison is None or check.worst is None:
        got, expected = (value_text(v, full=full) for v in (check.got, check.expected))
        return f"shape {got}, should be {expected}"
    if check.identity:
        return identity_text(check, full)
    got, expected = apart_texts(check.worst.got, check.worst.expected, full=full)
    many = wrong_text(check.comparison)
    return f"{index_text(check.tensor, check.worst.index)} {got}, numeric {expected}{many}"


def show_diagnosis(console: Console, checks: Sequence[Check]) -> None:
    """Print what is known of each failed check: the cause, what to look at, where errors sit."""
    for check in checks:
        _say_notes(console, check)
        if check.diagnosis is None:
            continue
        table = make_table(words("diagnosis"), numbers("distance"), words("what to look at"))
        for row in check.diagnosis:
            table.add_row(
                make_text(f"{row['cause']}"),
                error_text(row.get("distance")),
                make_text(row.get("look", "none of the named faults gives this tensor")),
            )
        if check.runner_up is not None:
            table.add_row(
                make_text(f"not: {check.runner_up['cause']}", "dim"),
                error_text(check.runner_up["distance"]),
                make_text("the nearest that does not explain it", "dim"),
            )
        console.print(table)
        for place in check.sits or ():
            given = "the given " if check.judges_given else ""
            console.print(make_text(f"{given}{check.tensor}: {place}"))
        if check.tell:
            console.print(make_text(check.tell))
        console.print()


def _say_notes(console: Console, check: Check) -> None:
    if check.also_changed:
        console.print(make_text(f"{check.tensor}: {check.also_changed}", STYLES[check.verdict]))
        console.print()
    # A note on numbers that were compared; the table says it where there is nothing else to say.
    found = None if check.check != "against" or check.reason == CHANGED else check.comparison
    of_numbers = found is not None and (found.mismatched or check.verdict == "pass")
    is_kink = check.verdict == "kink"
    if of_numbers and not is_kink and check.note and check.bound_share is None:
        console.print(make_text(f"{check.tensor}: {check.note}"))
        console.print()
    if check.note and (check.check == "gradcheck" or is_kink):
        whose = check.subject or check.implementation
        text = f"{check.tensor} ({whose}): {check.note}"
        console.print(make_text(text, STYLES[check.verdict]))
        console.print()

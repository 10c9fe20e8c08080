"""Why an `against` failed, in the words that results have for it."""

from __future__ import annotations

from cnncli.checks.check import CHANGED, Check

VALUES = "wrong values"
SHAPE = "wrong shape"
TIES = "wrong at ties only"
MISSING = "missing"
EXCEPTION = "exception"

JUDGED_AS = "judged as "
"""How a note begins that says in which precision a tensor is judged."""


def headline(check: Check) -> str:
    """Say in a line why a check failed: its cause, if one is known, else its reason."""
    known = [str(row["cause"]) for row in check.diagnosis or () if row["cause"] != "unknown"]
    if known:
        return " (or: ".join(known[:2]) + (")" if len(known) > 1 else "")
    if check.reason == VALUES and check.note and check.note.startswith(JUDGED_AS):
        return VALUES  # how it was judged is no cause
    if check.reason in (EXCEPTION, SHAPE, MISSING, CHANGED, VALUES) and check.note:
        return f"{check.reason}: {check.note}"
    return check.reason or check.verdict

"""Exit statuses."""

from __future__ import annotations

from collections.abc import Iterable

PASSED = 0
FAILED = 1
BAD_INPUT = 2
OUR_FAULT = 3
INTERRUPTED = 130

STATUSES = {
    "done": PASSED,
    "passed": PASSED,
    "skipped": PASSED,
    "failed": FAILED,
    "timeout": FAILED,
    "invalid": BAD_INPUT,
    "crashed": OUR_FAULT,
}


def exit_of(statuses: Iterable[str]) -> int:
    """Return the highest status that any of the texts asks for; of none, that all is well."""
    return max((STATUSES[status] for status in statuses), default=PASSED)

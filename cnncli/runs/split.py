"""One result for each case and implementation, where a case is judged against several."""

from __future__ import annotations

from dataclasses import replace

from cnncli.checks.check import Check
from cnncli.runs.result import Fault, Result, Status


def by_implementation(result: Result) -> list[Result]:
    """Return the result itself, or one for each implementation with the other checks in each."""
    labels = list(dict.fromkeys(check.implementation for check in result.checks))
    named = [label for label in labels if label is not None]
    if len(named) < 2:
        return [result]
    results = []
    for label in named:
        checks = [check for check in result.checks if check.implementation in (None, label)]
        status = status_of(checks)
        theirs = {name: found for name, found in result.theirs.items() if name == label}
        results.append(
            replace(result, checks=checks, status=status, theirs=theirs, error=skip_reason(checks))
        )
    return results


def status_of(checks: list[Check]) -> Status:
    """Return what a computed case's checks make of it: a check that was skipped is no pass."""
    if not checks:
        return "done"
    if any(check.fails_case for check in checks):
        return "failed"
    return "skipped" if all(check.verdict == "skipped" for check in checks) else "passed"


def skip_reason(checks: list[Check]) -> Fault | None:
    """Return why every check of a case was skipped, None where one was not."""
    if status_of(checks) != "skipped":
        return None
    reasons = dict.fromkeys(f"{check.implementation}: {check.reason}" for check in checks)
    return Fault(message="; ".join(reasons), where=None)

"""A batch as text: a line a case as it ends, then a table of failures and one line of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnncli.layers.base import shape_text
from cnncli.report.numbers import index_text, number_text, value_text
from cnncli.report.visible import one_line
from cnncli.runs.outcome import STATUSES, WELL, Outcome

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_FAILURES = 10
HEADER = f"{'status':8} {'layer':5} {'y':14} {'checks':>7} {'seconds':>8}  case"


@dataclass(kw_only=True)
class Tally:
    """What a batch came to, kept small however many cases there are."""

    counts: dict[str, int] = field(default_factory=dict)
    checks: int = 0
    kept: int = 0
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome, *, kept: bool) -> None:
        """Count one result."""
        self.counts[outcome.status] = self.counts.get(outcome.status, 0) + 1
        self.checks += outcome.checks
        self.kept += kept
        if outcome.status not in WELL and len(self.failures) < SHOWN_FAILURES:
            self.failures.append(outcome)

    @property
    def total(self) -> int:
        """The number of results."""
        return sum(self.counts.values())

    @property
    def unwell(self) -> int:
        """The number of results that are not well."""
        return sum(count for status, count in self.counts.items() if status not in WELL)


def case_line(outcome: Outcome) -> str:
    """Return a case as one line: how it ended, what it is, how long it took, its name."""
    checks = f"{outcome.checks - outcome.failures}/{outcome.checks}" if outcome.checks else ""
    shape = shape_text(outcome.shape) if outcome.shape else ""
    reason = ""
    if outcome.status == "skipped" and outcome.error is not None:
        reason = f"  ({one_line(outcome.error.message)})"
    return (
        f"{outcome.status:8} {outcome.layer or '':5} {shape:14} {checks:>7} "
        f"{outcome.seconds:8.3f}  {one_line(outcome.label)}{reason}"
    )


def failure_text(outcome: Outcome) -> str:
    """Say why a case is not well: its error, or its worst check with the worst element."""
    if outcome.error is not None:
        return str(outcome.error)
    if not outcome.wrong:
        return outcome.status
    more = f" (and {outcome.failures - 1} more)" if outcome.failures > 1 else ""
    return check_text(outcome.wrong[0]) + more


def check_text(check: dict[str, Any]) -> str:
    """Say what a failing check found: what was judged, the worst element, both values."""
    tensor = check["tensor"]
    judged = check.get("assertion") or check.get("subject") or check.get("implementation") or ""
    text = f"{tensor} {check['check']} {judged}".rstrip()
    if check.get("where"):
        text += f" ({check['where']})"
    if check.get("reason"):
        text += f": {check['reason']}"
    worst = check.get("worst")
    if worst is not None:
        index, ours, theirs = (*worst.items(),)[:3]
        element = index_text(tensor, tuple(index[1]))
        text += f": {element} {_number(ours[1])}, {theirs[0]} {_number(theirs[1])}"
        if check.get("mismatched"):
            text += f"; {check['mismatched']} of {check['elements']} wrong"
    elif "got" in check and not (check.get("reason") and check.get("note")):
        got, expected = (value_text(check.get(k), full=True) for k in ("got", "expected"))
        text += f": {got}, expected {expected}"
    return f"{text} ({check['note']})" if check.get("note") else text


def summary(tally: Tally) -> str:
    """Return one line in which every status is counted."""
    counted = [f"{tally.counts[status]} {status}" for status in STATUSES if status in tally.counts]
    text = f"{tally.total} case{'s' if tally.total != 1 else ''}: {', '.join(counted) or 'none'}"
    text += f"; {tally.checks} checks"
    return f"{text}; {tally.kept} kept from before" if tally.kept else text


def show_end(console: Console, tally: Tally) -> None:
    """Print the first failures, with the command that runs each alone, and the line of counts."""
    from cnncli.report.tables import make_text

    if tally.failures:
        console.print()
        more = f", the first {len(tally.failures)}" if tally.unwell > len(tally.failures) else ""
        console.print(make_text(f"{tally.unwell} not well{more}:", "bold red"))
        for outcome in tally.failures:
            console.print(make_text(f"  {outcome.status:8} {one_line(outcome.label)}"))
            console.print(make_text(f"    {one_line(failure_text(outcome))}"))
            if outcome.reproduce:
                # Never folded by us, so that it can be copied.
                console.print(make_text(f"    {outcome.reproduce}"), soft_wrap=True)
        console.print()
    console.print(make_text(summary(tally), "bold red" if tally.unwell else "green"))


def names_text(names: Sequence[str], most: int = 10) -> str:
    """Return names in a row, of many the first."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _number(value: Any) -> str:
    return value if isinstance(value, str) else number_text(value, full=True)

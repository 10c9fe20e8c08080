"""Many results as text: a line per case as it ends, a table of failures, and one line of counts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from cnncli.layers.base import shape_text
from cnncli.report.batchprogress import Progress
from cnncli.report.visible import one_line, say
from cnncli.report.wording import counts_text, failure_text, title
from cnncli.runs.batch import Sink
from cnncli.runs.result import WELL, Fault, Result

SHOWN_FAILURES = 10
HEADER = f"{'status':8} {'layer':5} {'y':14} {'checks':>7} {'seconds':>8}  case"


@dataclass(kw_only=True)
class Failure:
    """A case that is not well, and how many others are so for the same error."""

    result: Result
    count: int = 1


@dataclass(kw_only=True)
class Tally:
    """What a batch came to, kept small however many cases there are. A sink of results."""

    counts: dict[str, int] = field(default_factory=dict)
    checks: int = 0
    kept: int = 0
    failures: list[Failure] = field(default_factory=list)

    def take(self, result: Result) -> None:
        """Count one result."""
        self.counts[result.status] = self.counts.get(result.status, 0) + 1
        self.checks += sum(check.verdict != "skipped" for check in result.checks)
        self.kept += result.kept
        if result.is_well:
            return
        for failure in self.failures:
            if result.error is not None and failure.result.error == result.error:
                failure.count += 1
                return
        if len(self.failures) < SHOWN_FAILURES:
            self.failures.append(Failure(result=result))

    def end(self) -> None:
        """Nothing is written."""

    @property
    def total(self) -> int:
        """The number of results."""
        return sum(self.counts.values())

    @property
    def unwell(self) -> int:
        """The number of results that are not well."""
        return sum(count for status, count in self.counts.items() if status not in WELL)


class Errors:
    """Tells every error on standard error: one of many cases in a row once, with their number."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._error: Fault | None = None
        self._count = 0

    def take(self, result: Result) -> None:
        """Take one result; an error is told once it is known how many cases it is of."""
        error = None if result.kept or result.status == "skipped" else result.error
        if error is None or error != self._error:
            self.end()
        if error is not None:
            self._error, self._count = error, self._count + 1

    def end(self) -> None:
        """Tell the error that is waited with."""
        if self._error is not None:
            self._progress.clear()
            many = f" (in {self._count} cases)" if self._count > 1 else ""
            say(f"error: {self._error}{many}")
        self._error, self._count = None, 0


class CaseLines:
    """A line per case on standard output; of many in a row with one error the first."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._error: Fault | None = None
        self._more = 0
        print(HEADER)

    def take(self, result: Result) -> None:
        """Print what one case gave, unless it stood in the results file."""
        if result.kept:
            return
        if result.error is not None and result.error == self._error:
            self._more += 1
            return
        self.end()
        self._error = result.error if result.status == "invalid" else None
        self._print(case_line(result))

    def end(self) -> None:
        """Print how many cases gave the same error as the last."""
        if self._more:
            plural = "s" if self._more > 1 else ""
            self._print(f"{'invalid':8} and {self._more} more case{plural} with the same error")
        self._more = 0

    def _print(self, text: str) -> None:
        if sys.stdout.isatty():
            self._progress.clear()
        # A terminal is for eyes, a pipe may wait for each line.
        print(text, flush=True)


class JsonLines:
    """A line of JSON per result on standard output, those that were kept as they stood."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def take(self, result: Result) -> None:
        """Print one result."""
        if sys.stdout.isatty():
            self._progress.clear()
        print(result.line, flush=True)

    def end(self) -> None:
        """Nothing is left to print."""


class Ending:
    """The failures and the counts, once all is done."""

    def __init__(self) -> None:
        self._tally = Tally()

    def take(self, result: Result) -> None:
        """Count one result."""
        self._tally.take(result)

    def end(self) -> None:
        """Print the first failures, with the command that runs each alone, and the counts."""
        from cnncli.report.console import make_console
        from cnncli.report.style import make_text

        console, tally = make_console(), self._tally
        if tally.failures:
            console.print()
            shown = sum(failure.count for failure in tally.failures)
            more = f", the first {shown}" if tally.unwell > shown else ""
            console.print(make_text(f"{tally.unwell} not well{more}:", "bold red"))
            for failure in tally.failures:
                result = failure.result
                others = f" and {failure.count - 1} more" if failure.count > 1 else ""
                console.print(make_text(f"  {result.status:8} {one_line(title(result))}{others}"))
                console.print(make_text(f"    {one_line(failure_text(result))}"))
                if result.reproduce:
                    # Never folded by us, so that it can be copied.
                    console.print(make_text(f"    {result.reproduce}"), soft_wrap=True)
            console.print()
        console.print(make_text(summary(tally), "bold red" if tally.unwell else "green"))


class Ungraded:
    """Hands on what is no grade, where grades are shown by themselves."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def take(self, result: Result) -> None:
        """Hand on a result that is not of people's code."""
        if result.grade is None:
            self._sink.take(result)

    def end(self) -> None:
        """End."""
        self._sink.end()


def case_line(result: Result) -> str:
    """Return a case as one line: how it ended, what it is, how long it took, its name."""
    count = len(result.checks)
    checks = f"{count - len(result.failing)}/{count}" if count else ""
    shape = shape_text(result.tensors["y"].shape) if "y" in result.tensors else ""
    reason = ""
    if result.status == "skipped" and result.error is not None:
        reason = f"  ({one_line(result.error.message)})"
    return (
        f"{result.status:8} {result.layer or '':5} {shape:14} {checks:>7} "
        f"{result.seconds:8.3f}  {one_line(title(result))}{reason}"
    )


def summary(tally: Tally) -> str:
    """Return one line in which every status is counted."""
    text = counts_text(tally.counts, tally.checks)
    return f"{text}; {tally.kept} kept from before" if tally.kept else text


def names_text(names: Sequence[str], most: int = 10) -> str:
    """Return names in a row, of many the first."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown

"""What `run` was asked: which cases, and where their results go."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cnncli.cases.case import read_layer
from cnncli.cases.config import Entry, find_configs, read_entries
from cnncli.cases.flags import expectations_from
from cnncli.cases.node import Node, from_data
from cnncli.cli.status import BAD_INPUT, PASSED, exit_status
from cnncli.errors import CnncliError, UsageError
from cnncli.runs.many import run_entries
from cnncli.runs.one import RunOptions
from cnncli.runs.record import record_text
from cnncli.runs.result import Result
from cnncli.runs.split import by_implementation


@dataclass(frozen=True, kw_only=True)
class BatchOutput:
    """Where the results of a batch go."""

    json: bool
    quiet: bool
    values: bool
    results: str | None
    save: str | None
    expect: str | None
    against: list[str] | None = None


def select(paths: list[str], match: str | None) -> list[Entry]:
    """Return the cases of the paths whose name holds `match`; raise UsageError where none does."""
    entries = [entry for path in find_configs(paths) for entry in read_entries(path)]
    chosen = [entry for entry in entries if match is None or match in entry.name or entry.error]
    if match is not None and not any(match in entry.name for entry in entries):
        names = ", ".join(entry.name for entry in entries[:10])
        raise UsageError(f"no case's name holds {match!r}; there are {names}", "--match")
    return chosen


def list_cases(entries: list[Entry], options: RunOptions) -> int:
    """Print what would run and, on standard error, every error; return the exit status."""
    from cnncli.report.console import make_console
    from cnncli.report.tables import show_plans
    from cnncli.runs.one import plan_case

    plans, status = [], PASSED
    for entry in entries:
        try:
            plans.append((entry.file, entry.name, plan_case(entry.build(), options)))
        except CnncliError as error:
            print(f"error: {error.at(entry.where)}", file=sys.stderr)
            status = BAD_INPUT
    show_plans(make_console(), plans)
    return status


def run_batch(
    entries: list[Entry], options: RunOptions, output: BatchOutput, *, fail_fast: bool
) -> int:
    """Run the cases, write what was asked for as each ends, and return the exit status."""
    if output.json and output.quiet:
        raise UsageError("--json prints, --quiet forbids it")
    if output.save is not None:
        _refuse_shared_folders(entries)
    results: list[Result] = []
    with _results_file(output.results) as stream:
        for result in run_entries(
            entries, options, fail_fast=fail_fast, prepare=_preparing(output)
        ):
            for part in by_implementation(result):
                _deliver_one(part, output, stream)
                results.append(part)
    if not output.json and not output.quiet:
        from cnncli.report.console import make_console
        from cnncli.report.tables import show_result, show_results

        if len(results) == 1 and results[0].tensors:
            show_result(make_console(), results[0], "auto")
        else:
            show_results(make_console(), results)
    return exit_status(results)


def _refuse_shared_folders(entries: list[Entry]) -> None:
    """Raise UsageError where cases of two files have one name, and so one folder under --save."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if first is not entry and entry.error is None:
            raise UsageError(
                f"{entry.name!r} names a case of {first.where} and one of {entry.where}, "
                "which would share a folder; give one another name",
                "--save",
            )


def _deliver_one(result: Result, output: BatchOutput, stream: TextIO | None) -> None:
    if result.error is not None:
        word = "note" if result.status == "skipped" else "error"
        print(f"{word}: {result.error}", file=sys.stderr)
    if output.save is not None and result.tensors:
        from cnncli.runs.files import save_result

        save_result(result, Path(output.save) / result.name)
    if stream is not None:
        try:
            stream.write(record_text(result, values=output.values) + "\n")
            stream.flush()
        except OSError as error:
            message = f"{output.results} cannot be written: {error.strerror}"
            raise UsageError(message, "--results") from None
    if output.json:
        print(record_text(result, values=output.values), flush=True)


@contextlib.contextmanager
def _results_file(name: str | None) -> Iterator[TextIO | None]:
    if name is None:
        yield None
        return
    try:
        handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        raise UsageError(f"{name} is there already; give another name", "--results") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}", "--results") from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        yield stream


def _preparing(output: BatchOutput) -> Callable[[Entry], Entry] | None:
    """Return what adds to a case that its tensors equal those in DIR/CASE, and who judges it."""
    if output.expect is None and not output.against:
        return None

    def prepare(entry: Entry) -> Entry:
        if output.expect is not None:
            layer = read_layer(entry.entries, entry.where)
            expected = expectations_from([str(Path(output.expect) / entry.name)], layer)
            entry = entry.with_flags({"expect": Node(expected, "--expect")})
        if output.against:
            entry = entry.with_flags({"against": from_data(output.against, "--against")})
        return entry

    return prepare

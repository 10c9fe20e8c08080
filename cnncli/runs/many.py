"""Many cases, one after another: a bad one never costs the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cnncli.cases.config import Entry
from cnncli.errors import CnncliError
from cnncli.runs.one import RunOptions, invalid, run_case
from cnncli.runs.result import Result

WELL = ("done", "passed", "skipped")


def run_entries(
    entries: Iterable[Entry],
    options: RunOptions,
    *,
    fail_fast: bool = False,
    prepare: Callable[[Entry], Entry] | None = None,
) -> Iterator[Result]:
    """Yield a result for every entry, in order; with `fail_fast` none after the first not well.

    `prepare` adds to an entry what a command asks of every case; an error that it raises is that
    case's own.
    """
    for entry in entries:
        result = run_entry(entry, options, prepare)
        yield result
        if fail_fast and result.status not in WELL:
            return


def run_entry(
    entry: Entry, options: RunOptions, prepare: Callable[[Entry], Entry] | None = None
) -> Result:
    """Return the result of one entry, `invalid` where its input is bad."""
    try:
        if prepare is not None and entry.error is None:
            entry = prepare(entry)
        return run_case(entry.build(), options)
    except CnncliError as error:
        return invalid(error, name=entry.name, file=entry.file, reproduce=entry.reproduce)

"""`run … --against FILES`: people's own functions, judged and reported."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.cli.flags import Flag, switch_flag, text_flag
from cnncli.errors import CnncliError, UsageError

if TYPE_CHECKING:
    from cnncli.cases.config import Entry
    from cnncli.runs.against import Prepared
    from cnncli.runs.grades import Record
    from cnncli.runs.one import RunOptions

GROUP = "Submissions (with --against FILE.py, FILE.ipynb, a folder or a glob of them)"
OWN = ("run_all", "shrink", "csv", "gradescope")
NOT_HERE = ("save", "expect", "fail_fast", "values", "list", "scheduler", "gradcheck")


def submission_flags() -> list[Flag]:
    """Return the flags of `run` that are about people's own functions."""
    return [
        switch_flag(
            "run_all", "Carry out all of people's files, not their definitions alone.", GROUP
        ),
        switch_flag("shrink", "Find the smallest geometry that shows each fault.", GROUP),
        text_flag("csv", "Write a row a submission.", GROUP, "FILE"),
        text_flag("gradescope", "Write Gradescope's results.json (one submission).", GROUP, "FILE"),
    ]


def takes_submissions(values: dict[str, Any]) -> bool:
    """Tell whether `run` was given people's files; raise UsageError where flags do not fit."""
    from cnncli.cases.flags import flag_name
    from cnncli.implementations.table import names_files

    named = values["against"] or []
    files = [text for text in named if names_files(text)]
    given = [name for name in (*OWN, *NOT_HERE) if values.get(name)]
    if not files:
        for name in given:
            if name in OWN:
                raise UsageError("goes with --against FILE.py or a folder", flag_name(name))
        return False
    if len(files) < len(named):
        raise UsageError("takes people's files or libraries, not both at once", "--against")
    for name in given:
        if name in NOT_HERE:
            raise UsageError("does not go with people's files", flag_name(name))
    return True


def run_submissions(entries: Iterable[Entry], options: RunOptions, values: dict[str, Any]) -> int:
    """Judge every submission, write what was asked for, and return the exit status.

    No entry at all is an empty shard, which is well.
    """
    from cnncli.cases.against import Against
    from cnncli.cli.status import BAD_INPUT, FAILED, INTERRUPTED, PASSED
    from cnncli.runs.grades import row_of
    from cnncli.runs.one import resolve_asked

    if values["json"] and values["quiet"]:
        raise UsageError("--json prints, --quiet forbids it")
    options = replace(
        options,
        user_seconds=_number(values["timeout"], "--timeout", 10.0),
    )
    jobs = int(_number(values["jobs"], "--jobs", 1, whole=True))
    asked = [Against(text=text, where="--against") for text in values["against"]]
    named = [one for each in asked for one in resolve_asked(each, options)]
    submissions = list({os.path.realpath(one.label): one for one in named}.values())
    if values["gradescope"] and len(submissions) > 1:
        raise UsageError(
            f"results.json is of one submission, but these are {len(submissions)}", "--gradescope"
        )
    prepared, status = _prepare(entries, options, quiet=bool(values["quiet"]))
    if not prepared:
        if status == PASSED:
            kept = _kept(values["results"], bool(values["resume"]))
            with _results(values["results"], kept if values["resume"] else None):
                _write_files([], values)
        return status
    rows = []
    judged = _judge(submissions, prepared, options, jobs, values)
    is_interrupted = False
    try:
        for number, records in enumerate(judged, 1):
            rows.append(row_of(records))
            if values["json"]:
                for one in records:
                    print(json.dumps(one, allow_nan=False), flush=True)
            elif not values["quiet"] and sys.stderr.isatty():
                print(f"\r{number}/{len(submissions)} submissions", end="", file=sys.stderr)
    except KeyboardInterrupt:
        is_interrupted = True  # those that are judged are written all the same
    if sys.stderr.isatty() and not values["json"] and not values["quiet"]:
        print(file=sys.stderr)
    _write_files(rows, values)
    if rows and not values["json"] and not values["quiet"]:
        from cnncli.report.console import make_console
        from cnncli.report.grades import show_grades

        show_grades(make_console(), rows)
    if is_interrupted:
        from cnncli.report.visible import say

        say(f"error: interrupted; {len(rows)} of {len(submissions)} submissions were judged")
        return INTERRUPTED
    failed = any(one["status"] != "passed" for row in rows for one in row.records)
    return max(status, BAD_INPUT if status else PASSED, FAILED if failed else PASSED)


def _number(text: str | None, flag: str, default: float, *, whole: bool = False) -> float:
    if text is None:
        return default
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"must be {kind} above 0, not {text!r}", flag)
    return value


def _prepare(
    entries: Iterable[Entry], options: RunOptions, *, quiet: bool
) -> tuple[list[Prepared], int]:
    """Return the cases that call something, ready, and the status that bad ones ask for.

    What is left out is said, unless `quiet`: cases without a call, and checks of our own results.
    """
    from cnncli.cli.status import BAD_INPUT, PASSED
    from cnncli.report.visible import say
    from cnncli.runs.one import prepare_case

    prepared, status = [], PASSED
    uncalled = []
    ours: dict[str, list[str]] = {"expect": [], "gradcheck": []}
    for entry in entries:
        try:
            if entry.error is None and "call" not in entry.entries:
                uncalled.append(entry.name)  # a case of a folder that is not about functions
                continue
            case = entry.build()
            prepared.append(prepare_case(case, options))
            if case.expect:
                ours["expect"].append(case.name)
            if case.gradcheck is not None:
                ours["gradcheck"].append(case.name)
        except CnncliError as error:
            say(f"error: {error}")
            status = BAD_INPUT
    if not quiet:
        _tell_left_out(uncalled, ours)
    return prepared, status


def _tell_left_out(uncalled: Sequence[str], ours: Mapping[str, Sequence[str]]) -> None:
    from cnncli.report.batch import names_text
    from cnncli.report.visible import say

    def cases(names: Sequence[str]) -> str:
        return f"{len(names)} case{'s' if len(names) != 1 else ''}"

    notes = []
    if uncalled:
        says, are = ("says", "is") if len(uncalled) == 1 else ("say", "are")
        notes.append(f"{cases(uncalled)} {says} no call and {are} left out: {names_text(uncalled)}")
    for key, names in ours.items():
        if names:
            notes.append(
                f"{key} of {cases(names)} judges our own results and is left out, "
                f"since people's functions are judged here: {names_text(names)}"
            )
    for note in notes:
        say(f"note: {note}")


def _judge(
    submissions: Sequence[Any],
    prepared: Sequence[Prepared],
    options: RunOptions,
    jobs: int,
    values: dict[str, Any],
) -> Iterator[list[Record]]:
    """Yield every submission's records in order, those kept from before as they stood."""
    from cnncli.runs.grades import records_of
    from cnncli.runs.submissions import grade_all, grading_key

    shrink = bool(values["shrink"])
    kept = _kept(values["results"], bool(values["resume"]))
    keys = [grading_key(one, prepared, options) for one in submissions]
    missing = [
        one
        for one, key in zip(submissions, keys, strict=True)
        if len(kept.get(key, ())) != len(prepared)
    ]
    with _results(values["results"], kept if values["resume"] else None) as stream:
        fresh = grade_all(missing, prepared, options, jobs=jobs, shrink=shrink)
        for key in keys:
            if len(kept.get(key, ())) == len(prepared):
                yield kept[key]
                continue
            records = records_of(next(fresh))
            if stream is not None:
                stream.write("".join(json.dumps(one, allow_nan=False) + "\n" for one in records))
                stream.flush()
            yield records


def _kept(name: str | None, resume: bool) -> dict[str, list[Record]]:
    """Return the records of an earlier run by their key; a torn last line is dropped."""
    if not resume:
        return {}
    if name is None:
        raise UsageError("needs the file of results to go on from (--results)", "--resume")
    found: dict[str, list[Record]] = {}
    with contextlib.suppress(FileNotFoundError), open(name, encoding="utf-8") as stream:
        for line in stream:
            try:
                one = json.loads(line)
                found.setdefault(str(one["key"]), []).append(one)
            except (ValueError, KeyError, TypeError):
                if line.endswith("\n"):
                    raise UsageError(f"{name} holds a line of another kind", "--resume") from None
    return found


@contextlib.contextmanager
def _results(name: str | None, kept: dict[str, list[Record]] | None) -> Iterator[Any]:
    if name is None:
        yield None
        return
    if kept is not None and os.path.exists(name):
        _drop_torn_line(name)
        with open(name, "a", encoding="utf-8") as stream:
            yield stream
        return
    try:
        with open(name, "x", encoding="utf-8") as stream:
            yield stream
    except FileExistsError:
        text = f"{name} is there already; --resume goes on from it"
        raise UsageError(text, "--results") from None


def _drop_torn_line(name: str) -> None:
    """Cut off what stands after the last whole line."""
    with open(name, "rb+") as stream:
        data = stream.read()
        stream.truncate(data.rfind(b"\n") + 1)


def _write_files(rows: Sequence[Any], values: dict[str, Any]) -> None:
    from cnncli.report.gradefiles import csv_text, gradescope_text, junit_text
    from cnncli.runs.files import whole_file

    texts: dict[str, Callable[[], str]] = {
        "csv": lambda: csv_text(rows),
        "junit": lambda: junit_text(rows),
        "gradescope": lambda: gradescope_text(rows[0]),
    }
    for name, text in texts.items():
        if values[name] and (rows or name != "gradescope"):
            with whole_file(Path(values[name]), f"--{name}") as stream:
                stream.write(text().encode("utf-8", "replace"))

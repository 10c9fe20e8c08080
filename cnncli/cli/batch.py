"""What `run` was asked: which cases, how they are run, and where their results go."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cnncli.cases.against import Against
from cnncli.cases.config import Entry, read_settings
from cnncli.cases.flags import flag_name
from cnncli.cases.selection import Selection, judge_settings, parse_shard
from cnncli.cli.call import IN_JSON, take_run_options
from cnncli.cli.status import BAD_INPUT, PASSED, EndedError, exit_of, interruption
from cnncli.cli.stdout import reader_has_gone
from cnncli.errors import CnncliError, UsageError
from cnncli.implementations.names import judge_installed, judge_name, names_files
from cnncli.numerals import number_of, short, whole_of
from cnncli.report.batchprogress import Progress
from cnncli.report.gradefiles import csv_file, gradescope_file
from cnncli.report.junit import JUnitFile
from cnncli.report.many import (
    CaseLines,
    Ending,
    Errors,
    JsonLines,
    Tally,
    Ungraded,
    names_text,
)
from cnncli.report.visible import say
from cnncli.runs.batch import Batch, Kept, Sink, Units, hand_out
from cnncli.runs.files import refuse_unwritable_folder
from cnncli.runs.grades import Grades
from cnncli.runs.job import Job
from cnncli.runs.results import ResultsFile, Wanted

RESULT_FLAGS = ("max_memory", "expect", "gradcheck", "timeout", "run_all")
"""The flags that a result depends on and its reproduce line repeats, --set and --against aside."""
OF_PEOPLE = ("run_all", "shrink", "csv", "gradescope")
"""Flags that go with people's files alone, and those that do not go with them in `--against`."""
NOT_OF_PEOPLE = ("save", "expect", "fail_fast", "values", "list", "scheduler", "gradcheck")


def run_command(values: dict[str, Any]) -> int:
    """Run what the flags ask for, write what was asked for, and return the exit status."""
    if values["json"] and values["quiet"]:
        raise UsageError("--json prints, --quiet forbids it")
    if values["values"] and not values["json"] and values["results"] is None:
        raise UsageError("puts elements into JSON: give --json or --results FILE", "--values")
    people = [text for text in values["against"] or () if names_files(text)]
    for name in NOT_OF_PEOPLE if people else ():
        if values[name]:
            raise UsageError("does not go with people's files", flag_name(name))
    batch = _take_batch(values)
    shard = None if values["shard"] is None else parse_shard(values["shard"])
    selection = Selection(values["paths"], values["match"], shard)
    judge_settings(batch.job.settings, selection)
    # A name in a script that standard output cannot show is escaped, and does not end the program.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if values["list"]:
        return _list_cases(selection, batch.job, json=bool(values["json"]))
    if batch.job.save is not None:
        refuse_unwritable_folder(Path(batch.job.save), "--save")
        selection.refuse_shared_folders()
    if batch.job.expect is not None and not values["quiet"]:
        _tell_not_handed_in(selection, batch.job)
    if people:
        _judge_people(selection, batch.job, people)
    units = Units(batch.job, selection)
    _judge_flags(units, people, values)
    if people and not values["quiet"]:
        _tell_left_out(units, batch.job)
    _refuse_one_file_for_two(values)
    with _results_file(values) as file:
        files = _files(values, file)  # judged before anything is computed or printed
        kept = {} if not values["resume"] else _kept_of(file, units, batch.job)
        if len(selection) == 1 and not (kept or units.submissions) and batch.is_simple:
            return _run_alone(selection, batch, values, files)
        tally, grades = Tally(), Grades()
        total = sum(unit.identity(entry) not in kept for entry, unit in units.wanted(kept))
        views = _views(values, total, batch.job)
        is_wanted = bool(files) or batch.job.save is not None
        try:
            hand_out(
                batch.run(units, kept),
                [tally, grades, *files, *views],
                (lambda: False) if is_wanted else reader_has_gone,
            )
        except (KeyboardInterrupt, EndedError) as error:
            done = f"{len(grades.rows)} of {len(units.submissions)} submissions were judged"
            what, status = interruption(error)
            say(f"error: {what}{f'; {done}' if people else ''}")
            return status
        return _status(tally, selection)


def _judge_people(selection: Selection, job: Job, files: Sequence[str]) -> None:
    """Raise UsageError where people's files are not there, or no case says how they are called."""
    if not any(entry.error is not None or "call" in entry.entries for entry in selection.whole()):
        raise UsageError("no case here says how people's functions are called (call)", "--against")
    for text in files:
        job.find(Against(text=text, where="--against"))


def _judge_flags(units: Units, people: Sequence[str], values: Mapping[str, Any]) -> None:
    """Raise UsageError for a flag on people's files where there is none, or are too many."""
    count = len(units.submissions)
    for name in OF_PEOPLE if not (count or people) else ():
        if values[name]:
            raise UsageError("goes with --against FILE.py or a folder", flag_name(name))
    if values["gradescope"] and count > 1:
        raise UsageError(
            f"results.json is of one submission, but these are {count}", "--gradescope"
        )


def _tell_left_out(units: Units, job: Job) -> None:
    """Say what is not judged: cases without a call, and checks of our own results."""

    def cases(entries: Sequence[Entry]) -> str:
        return f"{len(entries)} case{'s' if len(entries) != 1 else ''}"

    def names(entries: Sequence[Entry]) -> str:
        return names_text([entry.name for entry in entries])

    left = units.left_out
    if left:
        says, are = ("says", "is") if len(left) == 1 else ("say", "are")
        say(f"note: {cases(left)} {says} no call and {are} left out: {names(left)}")
    if not job.is_people_s:
        return
    judged = {entry.label: entry for unit in units.submissions for entry in unit.entries}
    for key in ("expect", "gradcheck"):
        own = [one for one in judged.values() if key in one.entries and one.entries[key].value]
        if own:
            say(
                f"note: {key} of {cases(own)} judges our own results and is left out, "
                f"since people's functions are judged here: {names(own)}"
            )


def _take_batch(values: dict[str, Any]) -> Batch:
    """Return how the flags want cases run; raise UsageError."""
    words: list[str] = []
    for text in values["set"] or ():
        words += ["--set", text]
    for name in RESULT_FLAGS:
        if values[name] is True:
            words.append(f"--{name}")
        elif values[name] is False:
            words.append(f"--no-{name}")
        elif isinstance(values[name], list):
            for text in values[name]:
                words += [f"--{name}", text]
        elif values[name] is not None:
            words += [flag_name(name), values[name]]
    for text in values["against"] or ():
        # Once and not for every case; a cluster's workers have packages of their own.
        judge_name(text, "--against")
        if values["scheduler"] is None:
            judge_installed(text, "--against")
    if values["scheduler"] is not None and values["jobs"] is not None:
        raise UsageError("the scheduler's own workers run the cases", "--jobs")
    timeout = _seconds(values["timeout"])
    jobs = _whole(values["jobs"], "--jobs", 1)
    shown = IN_JSON if values["values"] else 0
    options = replace(take_run_options(values, quiet=True, shown_bytes=shown), jobs=jobs)
    job = Job(
        options=options if timeout is None else replace(options, user_seconds=timeout),
        settings=tuple(read_settings(values["set"] or ())),
        expect=values["expect"],
        gradcheck=values["gradcheck"],
        against=tuple(values["against"] or ()),
        save=values["save"],
        values=bool(values["values"]),
        shrink=bool(values["shrink"]),
        keyed=values["results"] is not None,
        flags=shlex.join(words),
    )
    return Batch(
        job=job,
        jobs=jobs,
        timeout=timeout,
        scheduler=values["scheduler"],
        fail_fast=bool(values["fail_fast"]),
    )


def _whole(text: str | None, flag: str, default: int) -> int:
    if text is None:
        return default
    number = whole_of(text)
    if number is None or not 1 <= number <= 9999:
        raise UsageError(f"must be a whole number from 1 to 9999, not {short(text)}", flag)
    return number


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = number_of(text)
    if seconds is None or not 0 < seconds < 1e9:
        raise UsageError(f"must be a number of seconds above 0, not {short(text)}", "--timeout")
    return seconds


def _list_cases(selection: Selection, job: Job, *, json: bool) -> int:
    """Print what would run and, on standard error, every error; return the exit status."""
    from cnncli.report.listing import HEADER, plan_line, plan_record
    from cnncli.runs.arithmetic import operations
    from cnncli.runs.one import plan_case

    status, planned, skipped = PASSED, 0, 0
    errors = Errors(Progress(0))
    if not json:
        print(HEADER)
    for entry in selection:
        try:
            case = job.build(entry)
            plan = plan_case(case, job.options)
        except CnncliError as error:
            refused = job.refused(entry, error)
            errors.take(refused)
            if refused.status == "skipped":
                skipped += 1
                say(f"skipped: {entry.label}: {error.message}")
            else:
                status = BAD_INPUT
            continue
        planned += 1
        counted = operations(plan.plan, backward=case.wants_backward)
        if json:
            print(plan_record(entry.name, entry.file, plan, counted))
        else:
            print(plan_line(entry.label, plan, counted))
    errors.end()
    if not json:
        more = f", {skipped} would be skipped" if skipped else ""
        print(f"{planned} case{'s' if planned != 1 else ''} would run{more}")
    return status


def _tell_not_handed_in(selection: Selection, job: Job) -> None:
    """Say what the folder of `--expect` lacks: what is not there is not judged."""
    lacking = [(entry.name, job.not_handed_in(entry)) for entry in selection]
    texts = [f"{', '.join(names)} of {case}" for case, names in lacking if names]
    if texts:
        say(f"note: not handed in, so not judged: {names_text(texts)} (--expect {job.expect})")


def _refuse_one_file_for_two(values: Mapping[str, Any]) -> None:
    """Raise UsageError where the last to write a file would replace what another wrote there."""
    taken: dict[str, str] = {}
    for name in ("results", "junit", "csv", "gradescope"):
        path = values[name]
        if path and (os.path.isfile(path) or not os.path.exists(path)):  # and no device
            other = taken.setdefault(os.path.realpath(path), name)
            if other != name:
                raise UsageError(f"{path} is the file of {flag_name(other)}", flag_name(name))


@contextlib.contextmanager
def _results_file(values: Mapping[str, Any]) -> Iterator[ResultsFile | None]:
    """Open the file that `--results` names, if it names one; raise UsageError."""
    if values["results"] is None:
        if values["resume"]:
            raise UsageError("needs --results FILE.jsonl, the file to go on with", "--resume")
        yield None
        return
    opened = ResultsFile(values["results"], resume=bool(values["resume"]))
    try:
        yield opened
    finally:
        opened.close()


def _kept_of(file: ResultsFile | None, units: Units, job: Job) -> Kept:
    """Return the results that need not be computed again, and say how many they are."""
    assert file is not None

    def wanted() -> Iterator[Wanted]:
        for unit in units:
            for entry in unit.entries:
                yield Wanted(
                    identity=unit.identity(entry),
                    key=partial(job.key, entry, unit.submission),
                    is_due=unit.submission is not None or not job.is_people_s,
                )

    file.keep(wanted())
    for note in file.notes:
        say(f"{file.path}: {note}")
    due = [
        (entry.name, unit.identity(entry) in file.kept) for entry, unit in units.wanted(file.kept)
    ]
    missing = [name for name, is_there in due if not is_there]
    text = f"{file.path}: {len(due) - len(missing)} of {len(due)} cases are there"
    if missing:
        text += f"; {len(missing)} to run: {names_text(missing)}"
    say(text)
    return file.kept


def _files(values: Mapping[str, Any], file: ResultsFile | None) -> list[Sink]:
    """Return the files that results are written to; raise UsageError for one that cannot be."""
    made: list[Sink] = [] if file is None else [file]
    kinds: dict[str, Callable[[str], Sink]] = {
        "junit": JUnitFile,
        "csv": csv_file,
        "gradescope": gradescope_file,
    }
    return made + [make(values[name]) for name, make in kinds.items() if values[name] is not None]


def _views(values: Mapping[str, Any], total: int, job: Job) -> list[Sink]:
    """Return what is shown of `total` results as they come, and of all at the end."""
    progress = Progress(total)
    shown: list[Sink] = [Errors(progress)]
    if values["json"]:
        return [*shown, JsonLines(progress), progress]
    if values["quiet"]:
        return [*shown, progress]
    from cnncli.report.grades import GradesTable  # and rich, which the others need not

    if job.is_people_s:
        return [*shown, progress, GradesTable()]
    if any(map(names_files, job.against)):
        # Libraries' results as cases, people's as a class.
        own: list[Sink] = [Ungraded(CaseLines(progress)), progress, Ungraded(Ending())]
        return [*shown, *own, GradesTable()]
    return [*shown, CaseLines(progress), progress, Ending()]


def _run_alone(
    selection: Selection, batch: Batch, values: Mapping[str, Any], files: Sequence[Sink]
) -> int:
    """Run one case in this process, which saves starting another, and show it whole."""
    tally = Tally()
    (entry,) = selection
    results = batch.job.results(entry)
    is_shown = not values["json"] and not values["quiet"]
    views: list[Sink] = [Errors(Progress(1))]
    if values["json"]:
        views.append(JsonLines(Progress(1)))
    elif is_shown and not results[0].tensors:
        views.append(CaseLines(Progress(1)))
    hand_out([batch.job.written(entry, results)], [tally, *files, *views])
    if is_shown and results[0].tensors:
        from cnncli.report.console import make_console
        from cnncli.report.tables import show_result

        for result in results:
            show_result(make_console(), result, "auto")
    return _status(tally, selection)


def _status(tally: Tally, selection: Selection) -> int:
    """Return the exit status of what ended; raise UsageError where all of it was skipped."""
    status, total = exit_of(tally.counts), tally.total
    if status == PASSED and set(tally.counts) == {"skipped"} and not selection.is_shard:
        which = "the case was" if total == 1 else f"all {total} cases were"
        raise UsageError(f"{which} skipped, so nothing was run")
    return status

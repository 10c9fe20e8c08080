"""What `run` was asked: which cases, how they are run, and where their results go."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.cases.config import Entry, read_settings
from cnncli.cases.flags import flag_name
from cnncli.cases.selection import Selection, judge_settings, parse_shard
from cnncli.cli.call import take_run_options
from cnncli.cli.status import BAD_INPUT, INTERRUPTED, PASSED, exit_of
from cnncli.cli.stdout import reader_has_gone
from cnncli.errors import CnncliError, UsageError
from cnncli.report.batchprogress import Progress
from cnncli.report.gradefiles import csv_file, gradescope_file
from cnncli.report.grades import GradesTable
from cnncli.report.junit import JUnitFile
from cnncli.report.many import CaseLines, Ending, Errors, JsonLines, Tally, names_text
from cnncli.report.visible import say
from cnncli.runs.batch import Batch, Job, Kept, Sink, Unit, hand_out
from cnncli.runs.files import refuse_unwritable_folder
from cnncli.runs.result import Result
from cnncli.runs.results import ResultsFile

if TYPE_CHECKING:
    from cnncli.implementations.usercode.find import Submission
    from cnncli.runs.one import RunOptions
    from cnncli.runs.submissions import Prepared

RESULT_FLAGS = ("max_memory", "expect", "gradcheck", "against", "timeout")
"""The flags, beside --set, that a result depends on, so that its reproduce line repeats them."""
OF_PEOPLE = ("run_all", "shrink", "csv", "gradescope")
"""Flags that go with people's files alone, and those that do not go with them."""
NOT_OF_PEOPLE = ("save", "expect", "fail_fast", "values", "list", "scheduler", "gradcheck")


def run_command(values: dict[str, Any]) -> int:
    """Run what the flags ask for, write what was asked for, and return the exit status."""
    if values["json"] and values["quiet"]:
        raise UsageError("--json prints, --quiet forbids it")
    if values["values"] and not values["json"] and values["results"] is None:
        raise UsageError("puts elements into JSON: give --json or --results FILE", "--values")
    people = _people(values)
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
        return _run_people(selection, batch, people, values)
    with _results_file(values) as file:
        kept = _kept_of(file, selection, batch) if values["resume"] else {}
        if len(selection) == 1 and not kept and batch.is_simple:
            return _run_alone(selection, batch, values, file)
        tally = Tally()
        files = _files(values, file)  # judged before anything is computed or printed
        total = len(selection) - len(kept)
        sinks: list[Sink] = [tally, *files, *_views(values, total, [Ending])]
        units = (Unit(entries=(entry,)) for entry in selection)
        is_wanted = file is not None or values["junit"] or batch.job.save is not None
        enough = reader_has_gone if not is_wanted else lambda: False
        try:
            hand_out(batch.run(units, kept), sinks, enough)
        except KeyboardInterrupt:
            say("error: interrupted")
            return INTERRUPTED
        return _status(tally, selection)


def _people(values: dict[str, Any]) -> list[str]:
    """Return the people's files that are to be judged; raise UsageError where flags do not fit."""
    from cnncli.implementations.usercode.find import is_submission

    named = values["against"] or []
    files = [text for text in named if is_submission(text)]
    why = "does not go with people's files" if files else "goes with --against FILE.py or a folder"
    for name in NOT_OF_PEOPLE if files else OF_PEOPLE:
        if values.get(name):
            raise UsageError(why, flag_name(name))
    if files and len(files) < len(named):
        raise UsageError("takes people's files or libraries, not both at once", "--against")
    return files


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
    _judge_against(values["against"] or (), here=values["scheduler"] is None)
    if values["scheduler"] is not None and values["jobs"] is not None:
        raise UsageError("the scheduler's own workers run the cases", "--jobs")
    timeout = _seconds(values["timeout"])
    options = take_run_options(values, quiet=True)
    job = Job(
        options=options if timeout is None else replace(options, user_seconds=timeout),
        settings=tuple(read_settings(values["set"] or ())),
        expect=values["expect"],
        gradcheck=values["gradcheck"],
        against=tuple(values["against"] or ()),
        save=values["save"],
        values=bool(values["values"]),
        keyed=values["results"] is not None,
        flags=shlex.join(words),
    )
    return Batch(
        job=job,
        jobs=_whole(values["jobs"], "--jobs", 1),
        timeout=timeout,
        scheduler=values["scheduler"],
        fail_fast=bool(values["fail_fast"]),
    )


def _judge_against(texts: Iterable[str], *, here: bool = True) -> None:
    """Refuse, once and not for every case, a name that nobody has or, `here`, cannot be run.

    Raises UsageError or MissingExtraError. A cluster's workers have packages of their own.
    """
    from cnncli.implementations.table import judge_installed, judge_name
    from cnncli.implementations.usercode.find import is_submission

    for text in texts:
        if not is_submission(text):
            judge_name(text, "--against")
            if here:
                judge_installed(text, "--against")


def _whole(text: str | None, flag: str, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:9]) >= 1 and len(text) <= 4):
        raise UsageError(f"must be a whole number from 1 to 9999, not {text!r}", flag)
    return int(text)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"must be a number of seconds above 0, not {text!r}", "--timeout")
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


def _kept_of(file: ResultsFile | None, selection: Selection, batch: Batch) -> Kept:
    """Return the results that need not be computed again, and say how many they are."""
    assert file is not None
    file.keep(((e.label, None), lambda e=e: batch.job.key(e)) for e in selection)  # type: ignore[misc]  # a lambda of what is bound here
    for note in file.notes:
        say(f"{file.path}: {note}")
    missing = [entry.name for entry in selection if (entry.label, None) not in file.kept]
    text = f"{file.path}: {len(selection) - len(missing)} of {len(selection)} cases are there"
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
    return made + [make(values[name]) for name, make in kinds.items() if values[name]]


def _views(values: Mapping[str, Any], total: int, view: Sequence[type[Sink]]) -> list[Sink]:
    """Return what is shown of `total` results as they come, and of all at the end by `view`."""
    progress = Progress(total)
    shown: list[Sink] = [Errors(progress)]
    if values["json"]:
        return [*shown, JsonLines(progress), progress]
    if values["quiet"]:
        return [*shown, progress]
    lines: list[Sink] = [CaseLines(progress)] if Ending in view else []
    return [*shown, *lines, progress, *(make() for make in view)]


def _run_alone(
    selection: Selection, batch: Batch, values: Mapping[str, Any], file: ResultsFile | None
) -> int:
    """Run one case in this process, which saves starting another, and show it whole."""
    tally, files = Tally(), _files(values, file)
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


def _run_people(
    selection: Selection, batch: Batch, files: Sequence[str], values: Mapping[str, Any]
) -> int:
    """Judge every submission on the cases that say how it is called."""
    from cnncli.implementations.usercode.find import find_submissions
    from cnncli.runs.submissions import judge_limits

    job = replace(batch.job, against=())
    whole = list(selection.whole())
    if not any(entry.error is not None or "call" in entry.entries for entry in whole):
        raise UsageError("no case here says how people's functions are called (call)", "--against")
    named = [one for text in files for one in find_submissions(text, "--against")]
    submissions = list({one.path.resolve(): one for one in named}.values())
    if values["gradescope"] and len(submissions) > 1:
        raise UsageError(
            f"results.json is of one submission, but these are {len(submissions)}", "--gradescope"
        )
    judge_limits(job.options)
    with _results_file(values) as file:
        written = _files(values, file)
        prepared, status = _prepare(selection, job, quiet=bool(values["quiet"]))
        tally = Tally()
        total = len(submissions) * len(prepared)
        sinks = [tally, *written, *_views(values, total, [GradesTable])]
        judged = _judge(submissions, prepared, job.options, batch.jobs, values, file)
        try:
            hand_out(judged, sinks)
        except KeyboardInterrupt:
            done = tally.total // max(len(prepared), 1)
            say(f"error: interrupted; {done} of {len(submissions)} submissions were judged")
            return INTERRUPTED
    return max(status, exit_of(tally.counts))


def _prepare(entries: Iterable[Entry], job: Job, *, quiet: bool) -> tuple[list[Prepared], int]:
    """Return the cases that call something, ready, and the status that bad ones ask for.

    What is left out is said, unless `quiet`: cases without a call, and checks of our own results.
    """
    from cnncli.runs.submissions import prepare_case

    prepared: list[Prepared] = []
    status = PASSED
    uncalled = []
    ours: dict[str, list[str]] = {"expect": [], "gradcheck": []}
    for entry in entries:
        try:
            if entry.error is None and "call" not in entry.entries:
                uncalled.append(entry.name)  # a case of a folder that is not about functions
                continue
            case = job.prepared(entry).build()
            prepared.append(prepare_case(case, job.options))
            if case.expect:
                ours["expect"].append(case.name)
            if case.gradcheck is not None:
                ours["gradcheck"].append(case.name)
        except CnncliError as error:
            if job.refused(entry, error).status == "skipped":
                continue
            say(f"error: {error}")
            status = BAD_INPUT
    if not quiet:
        _tell_left_out(uncalled, ours)
    return prepared, status


def _tell_left_out(uncalled: Sequence[str], ours: Mapping[str, Sequence[str]]) -> None:
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
    submissions: Sequence[Submission],
    prepared: Sequence[Prepared],
    options: RunOptions,
    jobs: int,
    values: Mapping[str, Any],
    file: ResultsFile | None,
) -> Iterator[list[Result]]:
    """Yield every submission's results in order, those kept from before as they stood."""
    from cnncli.runs.submissions import grade_all, grading_key

    pairs = [(one, case) for one in submissions for case in prepared]
    identities = {
        (f"{case.case.file}::{case.case.name}", one.label): (one, case) for one, case in pairs
    }
    kept: Kept = {}
    if file is not None and values["resume"]:
        file.keep(
            (identity, lambda s=one, c=case: grading_key(s, [c], options))  # type: ignore[misc]  # bound here
            for identity, (one, case) in identities.items()
        )
        kept = file.kept
    missing = [
        one
        for one in submissions
        if not all((f"{c.case.file}::{c.case.name}", one.label) in kept for c in prepared)
    ]
    fresh = grade_all(missing, prepared, options, jobs=jobs, shrink=bool(values["shrink"]))
    for one in submissions if prepared else ():
        if one in missing:
            yield next(fresh)
        else:
            yield [
                result
                for c in prepared
                for result in kept[f"{c.case.file}::{c.case.name}", one.label]
            ]

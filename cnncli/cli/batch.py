"""What `run` was asked: which cases, how they are run, and where their results go."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cnncli.cases.case import Settings, parse_value
from cnncli.cases.config import Entries, Entry, find_configs, read_settings
from cnncli.cases.node import Node, nearest
from cnncli.cli.call import take_run_options
from cnncli.cli.status import BAD_INPUT, INTERRUPTED, PASSED, exit_of
from cnncli.cli.stdout import reader_has_gone
from cnncli.errors import CnncliError, UsageError
from cnncli.layers.base import Layer
from cnncli.layers.parameters import parameters
from cnncli.layers.table import LAYERS
from cnncli.report.batch import HEADER, Tally, case_line, names_text, show_end
from cnncli.report.batchprogress import Progress
from cnncli.report.junit import JUnitFile
from cnncli.report.visible import say
from cnncli.runs.many import Batch
from cnncli.runs.one import RunOptions
from cnncli.runs.outcome import WELL, Outcome
from cnncli.runs.resume import ResultsFile, results_file
from cnncli.runs.shards import Shard, parse_shard
from cnncli.runs.task import Job
from cnncli.runs.workers import ONE_THREAD

RESULT_FLAGS = ("max_memory", "expect", "gradcheck", "against", "timeout")
"""The flags, beside --set, that a result depends on, so that its reproduce line repeats them."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the results of a batch go."""

    json: bool
    quiet: bool
    results: str | None
    resume: bool
    junit: str | None

    @classmethod
    def take(cls, values: dict[str, Any]) -> Output:
        """Return what the flags say; raise UsageError where two of them collide."""
        output = cls(
            json=bool(values["json"]),
            quiet=bool(values["quiet"]),
            results=values["results"],
            resume=bool(values["resume"]),
            junit=values["junit"],
        )
        if output.json and output.quiet:
            raise UsageError("--json prints, --quiet forbids it")
        if values["values"] and not output.json and output.results is None:
            raise UsageError("puts elements into JSON: give --json or --results FILE", "--values")
        return output


class Selection:
    """The cases that paths, `--match` and `--shard` choose, made anew at each iteration."""

    def __init__(self, paths: list[str], match: str | None, shard: Shard) -> None:
        """Read the files; raise UsageError where no case's name holds `match`."""
        self._configs = [Entries(path) for path in find_configs(paths)]
        self._match = match
        total = sum(1 for _ in self.whole())
        if match is not None and not any(match in entry.name for entry in self.whole()):
            names = [e.name for e in islice((e for c in self._configs for e in c), 11)]
            text = names_text(names) if len(names) <= 10 else f"{', '.join(names[:10])}, …"
            raise UsageError(f"no case's name holds {match!r}; there are {text}", "--match")
        first, end = shard.bounds(total)
        self.part = slice(first, end)
        """Where this shard stands among the cases of all."""
        self.is_shard = shard.count > 1

    def whole(self) -> Iterator[Entry]:
        """Yield the cases of all shards together."""
        for entry in (entry for config in self._configs for entry in config):
            if self._match is None or self._match in entry.name or entry.error is not None:
                yield entry

    def __iter__(self) -> Iterator[Entry]:
        return islice(self.whole(), self.part.start, self.part.stop)

    def __len__(self) -> int:
        return self.part.stop - self.part.start


def select(values: dict[str, Any]) -> Selection:
    """Return the cases that the flags choose."""
    shard = Shard() if values["shard"] is None else parse_shard(values["shard"])
    return Selection(values["paths"], values["match"], shard)


def take_batch(values: dict[str, Any]) -> Batch:
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
            words += [f"--{name.replace('_', '-')}", values[name]]
    judge_against(values["against"] or (), here=values["scheduler"] is None)
    job = Job(
        options=take_run_options(values, quiet=True),
        settings=tuple(read_settings(values["set"] or ())),
        expect=values["expect"],
        gradcheck=values["gradcheck"],
        against=tuple(values["against"] or ()),
        save=values["save"],
        values=bool(values["values"]),
        keyed=values["results"] is not None,
        flags=shlex.join(words),
    )
    if values["scheduler"] is not None and values["jobs"] is not None:
        raise UsageError("the scheduler's own workers run the cases", "--jobs")
    return Batch(
        job=job,
        jobs=_whole(values["jobs"], "--jobs", 1),
        timeout=_seconds(values["timeout"]),
        scheduler=values["scheduler"],
        fail_fast=bool(values["fail_fast"]),
    )


def judge_against(texts: Iterable[str], *, here: bool = True) -> None:
    """Refuse, once and not for every case, a name that nobody has or, `here`, cannot be run.

    Raises UsageError or MissingExtraError. A cluster's workers have packages of their own.
    """
    from cnncli.implementations.table import judge_installed, judge_name

    for text in texts:
        judge_name(text, "--against")
        if here:
            judge_installed(text, "--against")


def judge_settings(settings: Iterable[tuple[str, Node]], entries: Iterable[Entry]) -> None:
    """Raise CnncliError where a value of `--set` is wrong for every case, or its key for each."""
    settings = list(settings)
    for key, node in settings:
        for declared in parameters(Settings):
            if key == declared.name:
                parse_value(declared.kind, node, key)
    inner = [key for key, _ in settings if key.startswith(("params.", "tensors."))]
    if not inner:
        return
    layers = _layers(settings, entries)
    for key in inner if layers else ():
        mapping, _, name = key.partition(".")
        known: dict[str, None] = {}
        for layer in layers:
            declared_names = [declared.name for declared in parameters(layer.Params)]
            known |= dict.fromkeys(declared_names if mapping == "params" else layer.source_names)
        if name not in known:
            whose = ", ".join(layer.name for layer in layers)
            hint = nearest(name, known) or f"; known: {', '.join(known)}"
            raise UsageError(
                f"unknown key {name!r} in the {mapping} of {whose}{hint}", f"--set {key}"
            )


def _layers(settings: Iterable[tuple[str, Node]], entries: Iterable[Entry]) -> list[Layer]:
    """Return the layers of all cases; none where a case does not tell its layer plainly."""
    nodes: Iterable[Node | None] = [node for key, node in settings if key == "layer"]
    nodes = nodes or (e.entries.get("layer") for e in entries if e.error is None)
    names: dict[str, None] = {}
    for node in nodes:
        if node is None or not isinstance(node.value, str) or node.value not in LAYERS:
            return []
        names[node.value] = None
    return [LAYERS[name] for name in names]


def take_cases(values: dict[str, Any]) -> tuple[list[Entry], RunOptions]:
    """Return the cases that people's functions are to be judged on, `--set` among them."""
    settings = tuple(read_settings(values["set"] or ()))
    judge_against(values["against"] or ())
    selection = select(values)
    judge_settings(settings, selection)
    whole = [
        entry if entry.error is not None else entry.with_settings(settings)
        for entry in selection.whole()
    ]
    if not any(entry.error is not None or "call" in entry.entries for entry in whole):
        raise UsageError("no case here says how people's functions are called (call)", "--against")
    return whole[selection.part], take_run_options(values, quiet=True)


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


def list_cases(selection: Selection, job: Job, *, json: bool) -> int:
    """Print what would run and, on standard error, every error; return the exit status."""
    from cnncli.report.listing import HEADER, plan_line, plan_record
    from cnncli.runs.arithmetic import operations
    from cnncli.runs.one import plan_case

    _make_safe()
    status, planned, skipped = PASSED, 0, 0
    if not json:
        print(HEADER)
    for entry in selection:
        label = f"{entry.file}::{entry.name}" if entry.file else entry.name
        try:
            case = job.build(entry)
            plan = plan_case(case, job.options)
        except CnncliError as error:
            if entry.skip_invalid and entry.error is None and job.impossible(entry):
                skipped += 1
                say(f"skipped: {label}: {error.message}")
                continue
            say(f"error: {error.at(entry.where)}")
            status = BAD_INPUT
            continue
        planned += 1
        counted = operations(plan.plan, backward=case.wants_backward)
        if json:
            print(plan_record(entry.name, entry.file, plan, counted))
        else:
            print(plan_line(label, plan, counted))
    if not json:
        more = f", {skipped} would be skipped" if skipped else ""
        print(f"{planned} case{'s' if planned != 1 else ''} would run{more}")
    return status


def run_batch(selection: Selection, batch: Batch, output: Output) -> int:
    """Run the cases, write what was asked for as each ends, and return the exit status."""
    _make_safe()
    if batch.job.save is not None:
        _refuse_shared_folders(selection)
    if batch.job.expect is not None and not output.quiet:
        _tell_not_handed_in(selection, batch.job)
    # Read when NumPy loads its BLAS, which is not yet; workers have it from the start.
    os.environ.update(ONE_THREAD)
    with results_file(output.results, resume=output.resume) as file:
        if file is not None and output.resume:
            _resume(file, selection, batch)
        kept = {} if file is None else file.kept
        if len(selection) == 1 and not kept and _is_simple(batch):
            return _run_alone(selection, batch, output, file)
        return _run_all(selection, batch, output, file)


def _tell_not_handed_in(selection: Selection, job: Job) -> None:
    """Say what the folder of `--expect` lacks: what is not there is not judged."""
    lacking = [(entry.name, job.not_handed_in(entry)) for entry in selection]
    texts = [f"{', '.join(names)} of {case}" for case, names in lacking if names]
    if texts:
        say(f"note: not handed in, so not judged: {names_text(texts)} (--expect {job.expect})")


def _is_simple(batch: Batch) -> bool:
    """Tell whether nothing asks for a process besides this one."""
    return batch.jobs == 1 and batch.timeout is None and batch.scheduler is None


def _resume(file: ResultsFile, selection: Selection, batch: Batch) -> None:
    from cnncli.runs.keys import case_key

    file.keep(selection, lambda entry: case_key(batch.job, entry))
    for note in file.notes:
        say(f"{file.path}: {note}")
    missing = [e.name for e in selection if _label(e) not in file.kept]
    text = f"{file.path}: {len(selection) - len(missing)} of {len(selection)} cases are there"
    if missing:
        text += f"; {len(missing)} to run: {names_text(missing)}"
    say(text)


def _label(entry: Entry) -> str:
    return f"{entry.file}::{entry.name}" if entry.file else entry.name


def _run_alone(selection: Selection, batch: Batch, output: Output, file: ResultsFile | None) -> int:
    """Run one case in this process, which saves starting another, and show it whole."""
    entry = next(iter(selection))
    results = batch.job.results(entry)
    outcomes = batch.job.outcomes(entry, results)
    sinks = _Sinks(output, file, total=1, shows_lines=not results[0].tensors)
    with sinks:
        sinks.take(outcomes, kept=False)
    if results[0].tensors and not output.json and not output.quiet:
        from cnncli.report.console import make_console
        from cnncli.report.tables import show_result

        for result in results:
            show_result(make_console(), result, "auto")
    return _status(sinks, selection)


def _run_all(selection: Selection, batch: Batch, output: Output, file: ResultsFile | None) -> int:
    kept = {} if file is None else file.kept
    sinks = _Sinks(output, file, total=len(selection) - len(kept), shows_lines=True)
    try:
        with sinks:
            for outcomes, is_kept in batch.run(selection, lambda entry: kept.get(_label(entry))):
                sinks.take(outcomes, kept=is_kept)
                if reader_has_gone() and not sinks.writes_files and batch.job.save is None:
                    return sinks.status()  # of what was run: nobody waits for the rest
    except KeyboardInterrupt:
        # What is done is written; the summary says how much that is.
        sinks.show_end()
        say("error: interrupted")
        return INTERRUPTED
    sinks.show_end()
    return _status(sinks, selection)


def _status(sinks: _Sinks, selection: Selection) -> int:
    """Return the exit status of what ended; raise UsageError where all of it was skipped."""
    status, total = sinks.status(), sinks.tally.total
    if status == PASSED and set(sinks.tally.counts) == {"skipped"} and not selection.is_shard:
        which = "the case was" if total == 1 else f"all {total} cases were"
        raise UsageError(f"{which} skipped, so nothing was run")
    return status


class _Sinks:
    """All that a result is written to, in the order of the cases."""

    def __init__(
        self, output: Output, file: ResultsFile | None, *, total: int, shows_lines: bool
    ) -> None:
        self.tally = Tally()
        self._output = output
        self._file = file
        self._junit = None if output.junit is None else JUnitFile(output.junit)
        self._progress = Progress(total)
        self._shows_lines = shows_lines and not output.json and not output.quiet
        self._is_live = sys.stdout.isatty()

    def __enter__(self) -> None:
        if self._shows_lines:
            print(HEADER)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._progress.clear()
        if self._junit is not None and (error is None or isinstance(error, KeyboardInterrupt)):
            self._junit.close()

    @property
    def writes_files(self) -> bool:
        """Whether results go anywhere but to standard output."""
        return self._file is not None or self._junit is not None

    def take(self, outcomes: list[Outcome], *, kept: bool) -> None:
        """Write what one case gave; what is `kept` stands in the results file already."""
        if self._file is not None and not kept:
            self._file.add(outcomes)
        for outcome in outcomes:
            self.tally.add(outcome, kept=kept)
            if self._junit is not None:
                self._junit.add(outcome)
            if not kept:
                self._print(outcome)
        if not kept:
            self._progress.step(failed=any(o.status not in WELL for o in outcomes))

    def _print(self, outcome: Outcome) -> None:
        if outcome.error is not None and outcome.status != "skipped":
            self._progress.clear()
            say(f"error: {outcome.error}")
        if self._output.json or self._shows_lines:
            if self._is_live:
                self._progress.clear()
            text = outcome.text if self._output.json else case_line(outcome)
            # A terminal is for eyes, a pipe may wait for each line.
            print(text, flush=True)

    def show_end(self) -> None:
        """Print the failures and the counts, where text is wanted."""
        from cnncli.report.console import make_console

        if not self._output.json and not self._output.quiet:
            show_end(make_console(), self.tally)

    def status(self) -> int:
        """Return the exit status; nothing selected at all is bad usage, an empty shard is not."""
        return exit_of(self.tally.counts)


def _make_safe() -> None:
    """Let a name in a script that standard output cannot show be escaped, not end the program."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _refuse_shared_folders(selection: Selection) -> None:
    """Raise UsageError where cases of two files have one name, and so one folder under --save."""
    seen: dict[str, str] = {}
    for entry in selection:
        first = seen.setdefault(entry.name, entry.where)
        if first != entry.where and entry.error is None:
            raise UsageError(
                f"{entry.name!r} names a case of {first} and one of {entry.where}, "
                "which would share a folder; give one another name",
                "--save",
            )

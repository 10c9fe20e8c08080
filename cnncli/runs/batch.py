"""Many cases to results: over processes or machines, in order, a bad one never costing others.

What is run at once is a `Unit`: one case with its own checks and the libraries that it is judged
against, or one person's file with every case that is for it. Where results go is a list of `Sink`s.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cnncli.cases.case import read_layer
from cnncli.cases.config import Entry
from cnncli.cases.flags import expectations_from
from cnncli.cases.node import Node, from_data
from cnncli.errors import CnncliError, ConfigError, GeometryError, MemoryBoundError
from cnncli.runs.pool import Loss, Pool
from cnncli.runs.result import Fault, Result, Status, by_implementation

if TYPE_CHECKING:
    from cnncli.cases.case import Case
    from cnncli.runs.one import RunOptions


class Sink(Protocol):
    """Where results go, each in its turn."""

    def take(self, result: Result) -> None:
        """Take one result; what is `kept` stands in the results file already."""

    def end(self) -> None:
        """Write what can only be written once all results are there, or the run is broken off."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a process is given at once."""

    entries: tuple[Entry, ...]

    @property
    def where(self) -> str:
        """The place of its first case."""
        return self.entries[0].where


Kept = Mapping[tuple[str, str | None], Sequence[Result]]
"""Results from before, by the label of their case and, of people's code, whose they are."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a batch asks of every case; calling it runs a unit. Pickles, and imports no NumPy."""

    options: RunOptions
    settings: tuple[tuple[str, Node], ...] = ()
    """The values of `--set`."""
    expect: str | None = None
    """The folder whose DIR/CASE holds what every tensor must equal."""
    gradcheck: bool | None = None
    """Whether every case's gradients are checked; None is as the case says."""
    against: tuple[str, ...] = ()
    """Who else is to compute every case."""
    save: str | None = None
    values: bool = False
    keyed: bool = False
    """Results carry the key that a resumed run knows them by."""
    flags: str = ""
    """What the reproduce line repeats of the batch's own flags."""

    def __call__(self, unit: Unit) -> list[Result]:
        """Return the results of a unit; whatever goes wrong with a case is one of them."""
        (entry,) = unit.entries
        return self.written(entry, self.results(entry))

    def written(self, entry: Entry, results: Sequence[Result]) -> list[Result]:
        """Return results as they are kept, with the key of their case."""
        key = self.key(entry) if self.keyed else None
        return [replace(one, key=key).written(values=self.values) for one in results]

    def results(self, entry: Entry) -> list[Result]:
        """Return what one case gives: `invalid`, or `skipped`, where its input is bad."""
        # Only where a case is run: the parent of a pool needs no NumPy.
        from cnncli.runs.files import save_result
        from cnncli.runs.one import run_case

        started = time.perf_counter()
        try:
            result = run_case(self.build(entry), self.options)
            if self.save is not None and result.tensors:
                save_result(result, Path(self.save) / result.name)
        except CnncliError as error:
            return [self.refused(entry, error)]
        except MemoryError:
            message = "this case needs more memory than there is"
            return [self.refused(entry, MemoryBoundError(message, entry.where))]
        except Exception as error:
            # A fault of ours costs this case and no other.
            text = f"a fault of cnncli itself: {type(error).__name__}: {error}"
            return [self.lost(entry, "crashed", text, time.perf_counter() - started)]
        return by_implementation(result)

    def build(self, entry: Entry) -> Case:
        """Return the case of an entry, the batch's own flags on top; raise CnncliError."""
        return self.prepared(entry).build(reproduce=self.reproduce(entry))

    def prepared(self, entry: Entry) -> Entry:
        """Return an entry with what the batch asks of every case; raise CnncliError."""
        if entry.error is not None:
            raise entry.error
        entry = entry.with_settings(self.settings)
        if self.expect is not None:
            layer = read_layer(entry.entries, entry.where)
            expected = expectations_from([str(Path(self.expect) / entry.name)], layer)
            entry = entry.with_flags({"expect": Node(expected, "--expect")})
        if self.gradcheck is False:
            entry = entry.with_flags({"gradcheck": Node(False, "--no-gradcheck")})
        elif self.gradcheck:
            written = entry.entries.get("gradcheck")
            if written is None or not written.value:
                entry = entry.with_flags({"gradcheck": Node(True, "--gradcheck")})
        if self.against:
            entry = entry.with_flags({"against": from_data(list(self.against), "--against")})
        return entry

    def key(self, entry: Entry) -> str:
        """Return what a resumed run knows a case by, as this batch runs it; see Entry.key."""
        asked = {"max_memory": self.options.max_memory, "values": self.values}
        try:
            return self.prepared(entry).key(**asked)
        except CnncliError as error:
            return entry.key(error=str(error), **asked)

    def not_handed_in(self, entry: Entry) -> list[str]:
        """Return which results that a case is about its folder of `--expect` lacks.

        Nothing where the case, or what the folder holds, is an error of its own.
        """
        from cnncli.cases.handedin import not_handed_in

        if self.expect is None:
            return []
        try:
            self.prepared(entry)
            case = replace(self, expect=None).build(entry)
        except CnncliError:
            return []
        return not_handed_in(case, str(Path(self.expect) / entry.name))

    def reproduce(self, entry: Entry) -> str:
        """Return the command that runs this case alone as the batch runs it."""
        line = entry.reproduce
        return f"{line} {self.flags}" if line and self.flags else line

    def lost(self, entry: Entry, status: Status, message: str, seconds: float) -> Result:
        """Return the result of a case that gave none: its worker died, or took too long."""
        return Result(
            name=entry.name,
            file=entry.file,
            layer=_layer_name(entry),
            status=status,
            error=Fault(message=message, where=entry.where),
            seconds=seconds,
            reproduce=self.reproduce(entry),
        )

    def refused(self, entry: Entry, error: CnncliError) -> Result:
        """Return the result of a case whose input is bad, or that is skipped for it."""
        skipped = entry.skip_invalid and entry.error is None and self.is_impossible(entry)
        return Result(
            name=entry.name,
            file=entry.file,
            layer=_layer_name(entry) if skipped else None,
            status="skipped" if skipped else "invalid",
            error=Fault(message=error.message, where=error.where),
            reproduce=self.reproduce(entry),
        )

    def is_impossible(self, entry: Entry) -> bool:
        """Tell whether it is the layer's own rule, on shapes and parameters, that refuses a case.

        A value that reads as nothing, a file that is not there or an expectation of a tensor that
        the layer does not have is a mistake in the config, which no `skip_invalid` may hide.
        """
        from cnncli.cases.tensors import open_ingredients, plan_for

        try:
            case = self.build(entry)
            with open_ingredients(case) as ingredients:
                try:
                    plan_for(case, ingredients.shapes)
                except (GeometryError, ConfigError):
                    return True
        except (CnncliError, MemoryError):
            return False
        return False


@dataclass(frozen=True, kw_only=True)
class _Losing:
    """Answers for a unit whose process gave nothing."""

    job: Job

    def __call__(self, unit: Unit, status: Loss, reason: str, seconds: float) -> list[Result]:
        found: list[Result] = []
        for entry in unit.entries:
            found += self.job.written(entry, [self.job.lost(entry, status, reason, seconds)])
        return found


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How units are run."""

    job: Job
    jobs: int = 1
    timeout: float | None = None
    scheduler: str | None = None
    fail_fast: bool = False

    def run(self, units: Iterable[Unit], kept: Kept) -> Iterator[list[Result]]:
        """Yield every unit's results in order, those `kept` from before among them.

        With `fail_fast` none comes after the first unit that is not well.
        """
        order: deque[Sequence[Result] | None] = deque()

        def to_run() -> Iterator[Unit]:
            for unit in units:
                before = kept.get((unit.entries[0].label, None))
                order.append(before)
                if before is None:
                    yield unit

        with self._engine() as engine:
            for results in engine.run(to_run()):
                while (before := order.popleft()) is not None:
                    yield list(before)
                yield results
                if self.fail_fast and not all(result.is_well for result in results):
                    return
            for before in order:
                if before is not None:
                    yield list(before)

    @property
    def is_simple(self) -> bool:
        """Whether nothing asks for a process besides this one."""
        return self.jobs == 1 and self.timeout is None and self.scheduler is None

    def _engine(self) -> Pool[Unit, list[Result]]:
        if self.scheduler is not None:
            from cnncli.runs.cluster import Cluster

            return Cluster(
                work=self.job,
                lost=_Losing(job=self.job),
                jobs=self.jobs,
                timeout=self.timeout,
                max_memory=self.job.options.max_memory,
                address=self.scheduler,
            )
        return Pool(
            work=self.job,
            lost=_Losing(job=self.job),
            jobs=self.jobs,
            timeout=self.timeout,
            max_memory=self.job.options.max_memory,
        )


def hand_out(
    results: Iterable[Sequence[Result]],
    sinks: Sequence[Sink],
    is_enough: Callable[[], bool] = lambda: False,
) -> None:
    """Hand every result to all sinks, which end with the last, or where it is broken off.

    `is_enough` is asked after each unit whether the rest is wanted at all.
    """
    try:
        for some in results:
            for result in some:
                for sink in sinks:
                    sink.take(result)
            if is_enough():
                return
    except KeyboardInterrupt:
        # What is done is written; whoever is interrupted hears how much that is.
        for sink in sinks:
            sink.end()
        raise
    for sink in sinks:
        sink.end()


def _layer_name(entry: Entry) -> str | None:
    node = entry.entries.get("layer")
    return node.value if node is not None and isinstance(node.value, str) else None

"""Many cases to results: over processes or machines, in order, a bad one never costing others.

Where results go is a list of `Sink`s.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from cnncli.cases.config import Entry
from cnncli.errors import CnncliError
from cnncli.implementations.names import names_files
from cnncli.runs.job import Job, Unit
from cnncli.runs.pool import Loss, Pool
from cnncli.runs.result import Result
from cnncli.runs.results import Identity

if TYPE_CHECKING:
    from cnncli.implementations.base import Implementation

Kept = Mapping[Identity, Sequence[Result]]
"""Results from before."""


class Sink(Protocol):
    """Where results go, each in its turn."""

    def take(self, result: Result) -> None:
        """Take one result; what is `kept` stands in the results file already."""

    def end(self) -> None:
        """Write what can only be written once all results are there, or the run is broken off."""


class Units:
    """What a batch runs: every case by itself, then people's files with the cases for them.

    Made anew at each iteration, so that a sweep of thousands is never held at once. Where the batch
    is about people's code alone, cases that do not say how it is called are left out.
    """

    def __init__(self, job: Job, entries: Iterable[Entry]) -> None:
        """Find people's files; `entries` can be iterated again and again."""
        self._job, self._entries = job, entries
        self.submissions = self._submissions()
        self.left_out: list[Entry] = []
        if any(map(names_files, job.against)):
            self.left_out = [entry for entry in entries if not _is_called(entry)]

    def __iter__(self) -> Iterator[Unit]:
        for entry in self._entries:
            if not self._job.is_people_s or _is_called(entry):
                yield Unit(entries=(entry,))
        yield from self.submissions

    def wanted(self, kept: Kept) -> Iterator[tuple[Entry, Unit]]:
        """Yield every case with each unit that is to give a result of it, those `kept` included.

        Of a batch about people's code alone a case's own unit gives none, unless its input is bad;
        that it is bad is known where it was kept.
        """
        bad = {label for (label, who), (one, *_) in kept.items() if who is None and one.error}
        for unit in self:
            for entry in unit.entries:
                if unit.submission is None:
                    gives = entry.label in bad or not self._job.is_people_s
                else:
                    gives = entry.label not in bad
                if gives:
                    yield entry, unit

    def _submissions(self) -> list[Unit]:
        """Return the units of people's code: by file, in the order in which cases name them.

        A case whose input is bad is in none; its own unit tells why.
        """
        job = self._job
        is_set = bool(job.against) or any(key == "against" for key, _ in job.settings)
        found: dict[str, tuple[Implementation, list[Entry]]] = {}
        for entry in self._entries:
            if (is_set or "against" in entry.entries) and "call" in entry.entries:
                with contextlib.suppress(CnncliError):
                    for one in job.resolve(job.prepared(entry).build()):
                        place = os.path.realpath(one.label)  # a file named in two ways is one
                        known = found.setdefault(place, (one, []))[1]
                        if entry not in known[-1:]:
                            known.append(entry)
        return [Unit(entries=tuple(some), submission=one) for one, some in found.values()]


def _is_called(entry: Entry) -> bool:
    """Tell whether a case says how people's functions are called, or is an error of its own."""
    return entry.error is not None or "call" in entry.entries


@dataclass(frozen=True, kw_only=True)
class _Losing:
    """Answers for a unit whose process gave nothing."""

    job: Job

    def __call__(self, unit: Unit, status: Loss, reason: str, seconds: float) -> list[Result]:
        found: list[Result] = []
        for entry in unit.entries:
            lost = self.job.lost(entry, status, reason, seconds, unit.submission)
            found += self.job.written(entry, [lost], unit.submission)
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
        order: deque[tuple[Unit, bool]] = deque()

        def to_run() -> Iterator[Unit]:
            for unit in units:
                left = tuple(one for one in unit.entries if unit.identity(one) not in kept)
                order.append((unit, bool(left)))
                if left:
                    yield replace(unit, entries=left)

        def before(unit: Unit) -> list[Result]:
            return [one for entry in unit.entries for one in kept.get(unit.identity(entry), ())]

        with self._engine() as engine:
            for fresh in engine.run(to_run()):
                while not (head := order.popleft())[1]:
                    yield before(head[0])
                yield _in_order(head[0], [*before(head[0]), *fresh])
                if self.fail_fast and not all(result.is_well for result in fresh):
                    return
            for unit, _ in order:
                yield before(unit)

    @property
    def is_simple(self) -> bool:
        """Whether nothing asks for a process besides this one."""
        return self.jobs == 1 and self.timeout is None and self.scheduler is None

    def _engine(self) -> Pool[Unit, list[Result]]:
        make: Callable[..., Pool[Unit, list[Result]]] = Pool
        if self.scheduler is not None:
            from cnncli.runs.cluster import Cluster

            make = partial(Cluster, address=self.scheduler)
        return make(
            work=self.job,
            lost=_Losing(job=self.job),
            jobs=self.jobs,
            timeout=self.timeout,
            has_own_limit=_has_own_limit,
            max_memory=self.job.options.max_memory,
        )


def _has_own_limit(unit: Unit) -> bool:
    """Tell whether each case of a unit has its own time, as where people's code is called."""
    return unit.submission is not None


def _in_order(unit: Unit, results: Sequence[Result]) -> list[Result]:
    """Return results in the order of their cases."""
    places = {entry.label: place for place, entry in enumerate(unit.entries)}
    return sorted(results, key=lambda result: places[result.label])


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
    except (KeyboardInterrupt, SystemExit):
        # What is done is written; whoever is interrupted hears how much that is.
        for sink in sinks:
            sink.end()
        raise
    for sink in sinks:
        sink.end()

"""Many cases, over processes or machines: in order, each once, a bad one never costing others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cnncli.cases.config import Entry
from cnncli.runs.outcome import WELL, Outcome, summarize
from cnncli.runs.task import Job
from cnncli.runs.workers import Loss, Pool


@dataclass(frozen=True, kw_only=True)
class Losing:
    """Answers for a case whose worker gave nothing."""

    job: Job

    def __call__(self, entry: Entry, status: Loss, reason: str, seconds: float) -> list[Outcome]:
        """Return the case's one outcome, with the reason."""
        key = None
        if self.job.keyed:
            from cnncli.runs.keys import case_key

            key = case_key(self.job, entry)
        result = self.job.lost(entry, status, reason, seconds)
        return [summarize(result, values=self.job.values, key=key)]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How cases are run."""

    job: Job
    jobs: int = 1
    timeout: float | None = None
    scheduler: str | None = None
    fail_fast: bool = False

    def run(
        self, entries: Iterable[Entry], kept: Callable[[Entry], list[Outcome] | None]
    ) -> Iterator[tuple[list[Outcome], bool]]:
        """Yield every case's outcomes in order, and whether they are `kept` from before.

        With `fail_fast` none comes after the first case that is not well.
        """
        order: deque[list[Outcome] | None] = deque()

        def to_run() -> Iterator[Entry]:
            for entry in entries:
                before = kept(entry)
                order.append(before)
                if before is None:
                    yield entry

        with self._engine() as engine:
            for outcomes in engine.run(to_run()):
                while (before := order.popleft()) is not None:
                    yield before, True
                yield outcomes, False
                if self.fail_fast and any(outcome.status not in WELL for outcome in outcomes):
                    return
            for before in order:
                if before is not None:
                    yield before, True

    def _engine(self) -> Pool[Entry, list[Outcome]]:
        if self.scheduler is not None:
            from cnncli.runs.cluster import Cluster

            return Cluster(
                work=self.job,
                lost=Losing(job=self.job),
                jobs=self.jobs,
                timeout=self.timeout,
                max_memory=self.job.options.max_memory,
                address=self.scheduler,
            )
        return Pool(
            work=self.job,
            lost=Losing(job=self.job),
            jobs=self.jobs,
            timeout=self.timeout,
            max_memory=self.job.options.max_memory,
        )

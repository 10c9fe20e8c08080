"""People's own functions, graded: every case of every submission, many submissions at a time."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.cases.case import Case
from cnncli.implementations.base import Implementation
from cnncli.runs.against import Prepared, judge_all
from cnncli.runs.one import RunOptions
from cnncli.runs.result import Result
from cnncli.runs.shrink import shrink_all
from cnncli.runs.split import status_of


@dataclass(frozen=True, kw_only=True)
class Graded:
    """What one submission gave: a result for every case, and what loading it showed."""

    submission: Implementation
    results: list[Result]
    functions: list[str]
    points: list[float]
    notes: tuple[str, ...] = ()
    shrunk: list[str] = field(default_factory=list)
    key: str = ""
    seconds: float = 0.0


def grade(
    submission: Implementation, prepared: Sequence[Prepared], options: RunOptions, *, shrink: bool
) -> Graded:
    """Return what one submission gives for every case."""
    started = time.perf_counter()
    with np.errstate(all="ignore"):
        judged = judge_all(submission, prepared)
        results = [
            Result(
                name=one.case.name,
                file=one.case.file,
                layer=one.case.layer.name,
                convention=one.case.settings.convention,
                params=one.problem.plan.params,
                status=status_of(found.checks),
                checks=found.checks,
                seconds=found.computed.seconds,
                reproduce=_reproduce(one.case, submission),
            )
            for one, found in zip(prepared, judged, strict=True)
        ]
        shrunk = shrink_all(submission, prepared, results, options) if shrink else []
    loading = [*judged[0].computed.notes, *judged[0].computed.broken] if judged else []
    return Graded(
        submission=submission,
        results=results,
        functions=[one.function for one in prepared],
        points=[one.case.points for one in prepared],
        notes=tuple(loading),
        shrunk=shrunk,
        key=grading_key(submission, prepared, options),
        seconds=time.perf_counter() - started,
    )


def _reproduce(case: Case, submission: Implementation) -> str:
    if not case.reproduce:
        return ""
    return f"{case.reproduce} --against {shlex.quote(submission.label)}"


def grading_key(
    submission: Implementation, prepared: Sequence[Prepared], options: RunOptions
) -> str:
    """Return what the grades of a submission depend on, as a hash: its text, the cases, us."""
    digest = hashlib.sha256(f"{options.run_all} {options.user_seconds}".encode())
    digest.update(submission.label.encode() + b"\0")
    digest.update(_content(Path(submission.label)))
    for one in prepared:
        digest.update(one.key().encode())
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""


def grade_all(
    submissions: Sequence[Implementation],
    prepared: Sequence[Prepared],
    options: RunOptions,
    *,
    jobs: int,
    shrink: bool,
) -> Iterator[Graded]:
    """Yield what every submission gives, in their order, `jobs` at a time.

    Threads are enough: each waits for a process of its own.
    """
    from concurrent.futures import ThreadPoolExecutor

    work: Callable[[Implementation], Any] = lambda one: grade(one, prepared, options, shrink=shrink)  # noqa: E731
    if jobs <= 1:
        yield from map(work, submissions)
        return
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, one) for one in submissions]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

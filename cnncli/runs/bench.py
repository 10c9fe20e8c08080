"""Timing cases against the machine's limit and other implementations, contenders taking turns."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnncli.cases.case import Case
from cnncli.cases.tensors import open_ingredients, request_for
from cnncli.errors import CnncliError, UsageError
from cnncli.implementations.library import Direction
from cnncli.implementations.limits import flops, moved_bytes
from cnncli.implementations.names import LIBRARIES, TAKEN, judge_installed
from cnncli.implementations.textbook import TEXTBOOK
from cnncli.layers.base import Plan
from cnncli.runs.benchcases import SMALL
from cnncli.runs.contest import LIMIT, OURS, Answer, Contender, Prepare

FORMAT = "cnncli.bench/1"
CONTENDERS = (*LIBRARIES, *TEXTBOOK)
"""Whom `--against` names."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is timed, how often, and against whom."""

    directions: tuple[Direction, ...] = ("forward", "backward")
    threads: tuple[int, ...] = (1,)
    against: tuple[str, ...] = ()
    repeat: int = 7
    min_time: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One contender's seconds a call, a sample a round; or why there are none."""

    name: str
    samples: tuple[float, ...] = ()
    reason: str | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The median sample."""
        return statistics.median(self.samples)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One direction of one case, timed with some number of threads."""

    name: str
    plan: Plan
    dtype: str
    direction: Direction
    threads: int
    ours: Timing
    limit: Timing
    others: tuple[Timing, ...] = ()
    memory: int | None = None

    @property
    def group(self) -> str:
        """What this row is averaged with: `conv`, `max pool`, `pad`, ... or `small call`."""
        if self.name == SMALL:
            return SMALL
        mode = self.plan.params.get("mode") if self.plan.layer == "pool" else None
        return f"{mode} pool" if mode else self.plan.layer

    @property
    def rate(self) -> float:
        """What is done a second: for conv operations, else bytes that must be moved."""
        if self.plan.layer == "conv":
            return flops(self.plan, self.direction) / self.ours.median
        itemsize = 4 if self.dtype == "float32" else 8
        return moved_bytes(self.plan, self.direction, itemsize) / self.ours.median

    @property
    def share(self) -> float:
        """The limit's time over ours: 1 is as fast as the machine allows."""
        return _middle_ratio(self.limit, self.ours)

    def ratio(self, other: Timing) -> float | None:
        """Return our time over another's, the median over the rounds."""
        return _middle_ratio(self.ours, other) if other.samples else None


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Geometric means over the rows of one layer, direction, dtype and number of threads."""

    group: str
    direction: Direction
    dtype: str
    threads: int
    rows: int
    share: float
    ratios: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Contender to the mean of our time over its, and how many rows it could compute."""


def _middle_ratio(above: Timing, below: Timing) -> float:
    return statistics.median(a / b for a, b in zip(above.samples, below.samples, strict=True))


def judge_contenders(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that are printed, each once.

    Raises UsageError for one that is unknown and MissingExtraError for one that is not installed.
    """
    chosen: dict[str, None] = {}
    for text in names:
        name = TAKEN[text].name if text in TAKEN else text
        if name not in CONTENDERS:
            raise UsageError(f"{text!r} is not one of {', '.join(CONTENDERS)}", "--against")
        if name in LIBRARIES:
            judge_installed(name, "--against")
        chosen[name] = None
    return tuple(chosen)


def bench(
    cases: Sequence[Case], options: BenchOptions, on_blas: Callable[[str], None] | None = None
) -> Iterator[Row]:
    """Yield a row for every case, direction and number of threads; raise CnncliError.

    `on_blas` hears once what the products of the limit run with.
    """
    plans = [_plan(case) for case in cases]  # every fault is told before anything is timed
    for number, threads in enumerate(options.threads):
        with contextlib.ExitStack() as stack:
            contenders = []
            for name in (OURS, LIMIT, *options.against):
                contenders.append(Contender(name, threads))
                stack.callback(contenders[-1].close)
            if number == 0 and on_blas is not None:
                on_blas(contenders[1].ask("blas"))
            for case, plan in zip(cases, plans, strict=True):
                for direction in options.directions:
                    yield _row(case, plan, direction, contenders, options)


def _plan(case: Case) -> Plan:
    try:
        with open_ingredients(case) as ingredients:
            return case.layer.plan(request_for(case, ingredients.shapes))
    except CnncliError as error:
        raise error.at(case.where) from None


def _row(
    case: Case,
    plan: Plan,
    direction: Direction,
    contenders: Sequence[Contender],
    options: BenchOptions,
) -> Row:
    request = Prepare(case=case, direction=direction, min_time=options.min_time)
    answers: list[Answer] = [contender.ask(request) for contender in contenders]
    for contender, answer in zip(contenders[:2], answers, strict=False):
        if answer.reason is not None:
            raise CnncliError(f"{contender.name} cannot be timed: {answer.reason}", case.where)
    samples: list[list[float]] = [[] for _ in contenders]
    for turn in range(options.repeat):
        order = list(range(len(contenders)))
        for number in order[turn % len(order) :] + order[: turn % len(order)]:
            if answers[number].reason is None:
                samples[number].append(contenders[number].ask("sample"))
    timings = [
        Timing(name=c.name, samples=tuple(s), reason=a.reason, note=a.note)
        for c, s, a in zip(contenders, samples, answers, strict=True)
    ]
    return Row(
        name=case.name,
        plan=plan,
        dtype=case.settings.dtype or "float64",
        direction=direction,
        threads=contenders[0].threads,
        ours=timings[0],
        limit=timings[1],
        others=tuple(timings[2:]),
        memory=answers[0].memory,
    )


def with_dtype(case: Case, dtype: str | None) -> Case:
    """Return the case, computed in `dtype` where one is asked for."""
    if dtype is None:
        return case
    return replace(case, settings=replace(case.settings, dtype=dtype))


def means(rows: Sequence[Row]) -> list[Mean]:
    """Return the geometric means of every kind of row, in the order in which kinds appear."""
    kinds: dict[tuple[str, Direction, str, int], list[Row]] = {}
    for row in rows:
        kinds.setdefault((row.group, row.direction, row.dtype, row.threads), []).append(row)
    found = []
    for (group, direction, dtype, threads), members in kinds.items():
        ratios: dict[str, list[float]] = {}
        for row in members:
            for other in row.others:
                if other.samples:
                    ratios.setdefault(other.name, []).append(_middle_ratio(row.ours, other))
        found.append(
            Mean(
                group=group,
                direction=direction,
                dtype=dtype,
                threads=threads,
                rows=len(members),
                share=statistics.geometric_mean(row.share for row in members),
                ratios={n: (statistics.geometric_mean(r), len(r)) for n, r in ratios.items()},
            )
        )
    return found


def row_record(row: Row) -> dict[str, Any]:
    """Return a row as JSON data."""
    per_second = "operations_per_second" if row.plan.layer == "conv" else "bytes_per_second"
    data: dict[str, Any] = {
        "format": FORMAT,
        "name": row.name,
        "layer": row.plan.layer,
        "params": row.plan.params,
        "shapes": {name: list(shape) for name, shape in row.plan.inputs.items()},
        "dtype": row.dtype,
        "direction": row.direction,
        "threads": row.threads,
        "median": row.ours.median,
        "best": min(row.ours.samples),
        "samples": list(row.ours.samples),
        per_second: row.rate,
        "limit": {"median": row.limit.median, "samples": list(row.limit.samples)},
        "share": row.share,
        "extra_memory": row.memory,
    }
    if row.others:
        data["against"] = {other.name: _other_record(row, other) for other in row.others}
    return data


def _other_record(row: Row, other: Timing) -> dict[str, Any]:
    if other.reason is not None:
        return {"reason": other.reason}
    data: dict[str, Any] = {"median": other.median, "best": min(other.samples)}
    data |= {"samples": list(other.samples), "ratio": row.ratio(other)}
    return data | ({"note": other.note} if other.note else {})


def mean_record(mean: Mean) -> dict[str, Any]:
    """Return geometric means as JSON data."""
    return {
        "format": FORMAT,
        "geometric_mean": mean.group,
        "direction": mean.direction,
        "dtype": mean.dtype,
        "threads": mean.threads,
        "rows": mean.rows,
        "share": mean.share,
        "ratios": {n: {"ratio": ratio, "rows": rows} for n, (ratio, rows) in mean.ratios.items()},
    }

"""Cases held against an implementation: what it is asked, the verdicts, and what explains them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnncli.cases.calls import functions_of
from cnncli.cases.case import Case
from cnncli.checks.against import Judged, judge
from cnncli.checks.check import Check
from cnncli.checks.reasons import EXCEPTION, SHAPE, VALUES
from cnncli.errors import UsageError
from cnncli.implementations.base import Implementation, Task
from cnncli.implementations.people.ask import ask_people
from cnncli.implementations.people.isolate import Limits, Work, run_isolated
from cnncli.layers.base import Problem
from cnncli.runs.exchanged import name_exchanged
from cnncli.runs.memory import free_bytes, size_text
from cnncli.runs.unpassed import unpassed_inputs, unpassed_parameters, unpassed_text

ENOUGH, STEP = 1 << 30, 16 << 20
"""Memory in which Python and NumPy surely start, and what the least is found to."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A case that we computed, all its tensors in `problem`, and what it asks of others."""

    case: Case
    problem: Problem
    task: Task

    @property
    def function(self) -> str:
        """The functions judged, as a column of the class report."""
        return functions_of(self.case.call)


def prepare(case: Case, problem: Problem, *, by_call: bool) -> Prepared:
    """Return a computed case ready to be asked, `by_call` or as its layer and parameters are.

    Raises ConfigError or GeometryError where it cannot be called.
    """
    if by_call:
        return Prepared(case=case, problem=problem, task=ask_people(case, problem))
    # Copies, since whatever computes may write into what it is given.
    given = {
        name: array.copy()
        for name, array in problem.tensors.items()
        if name in problem.plan.inputs or name == "dy"
    }
    task = Task(
        problem=replace(problem, tensors=given),
        backward=case.wants_backward,
        convention=case.settings.convention,
    )
    return Prepared(case=case, problem=problem, task=task)


def judge_all(implementation: Implementation, prepared: Sequence[Prepared]) -> list[Judged]:
    """Return the verdicts on every case of one implementation, which is given all at once."""
    label = implementation.label
    computed = implementation.compute([one.task for one in prepared])
    judged = [
        judge(label, one.task, made, one.problem, one.case.tolerance)
        for one, made in zip(prepared, computed, strict=True)
    ]
    judged = name_exchanged(implementation, judged)
    return [
        replace(found, checks=[_with_unpassed(check, one) for check in found.checks])
        for one, found in zip(prepared, judged, strict=True)
    ]


def _with_unpassed(check: Check, prepared: Prepared) -> Check:
    """Return a check that failed with what the function was never told, which may be why."""
    if not prepared.task.calls or check.verdict != "fail":
        return check
    if check.reason not in (VALUES, SHAPE, EXCEPTION):
        return check
    case, plan = prepared.case, prepared.problem.plan
    text = unpassed_text(
        unpassed_parameters(case, plan, words=False), unpassed_inputs(case, plan, {check.tensor})
    )
    joined = "; ".join(part for part in (check.note, text) if part)
    return replace(check, note=joined or None)


def limits_of(max_memory: int | None, seconds: float) -> Limits:
    """Return what people's code may use: --max-memory, else 2 GiB or half of what is free."""
    memory = max_memory or max(512 << 20, min(2 << 30, free_bytes() // 2))
    return Limits(seconds=seconds, memory=memory)


def judge_limits(max_memory: int | None) -> None:
    """Raise UsageError where --max-memory is less than a process needs that calls nothing."""
    if max_memory is None or max_memory >= ENOUGH or _starts_in(max_memory):
        return
    low, high = max_memory // STEP, ENOUGH // STEP
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _starts_in(middle * STEP) else (middle, high)
    raise UsageError(
        f"people's files need at least {high * STEP >> 20}M, which Python and NumPy take "
        f"by themselves, but it allows {size_text(max_memory)}",
        "--max-memory",
    )


@functools.cache
def _starts_in(memory: int) -> bool:
    """Tell whether a file that only imports NumPy is loaded, and a case begun, in that memory."""
    with tempfile.TemporaryDirectory(prefix="cnncli-") as folder:
        path = Path(folder) / "empty.py"
        path.write_text("import numpy as np\n")
        (computed,) = run_isolated(path, [Work(calls=[], tensors={})], Limits(memory=memory))
    return computed.trouble is None

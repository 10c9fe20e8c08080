"""Cases held against an implementation: what it is asked, the verdicts, and what explains them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnncli.cases.against import Against
from cnncli.cases.calls import functions_of
from cnncli.cases.case import Case
from cnncli.checks.against import Judged, judge
from cnncli.checks.check import Check
from cnncli.checks.reasons import EXCEPTION, SHAPE, VALUES
from cnncli.errors import UsageError
from cnncli.implementations.base import Implementation, Task
from cnncli.implementations.people.ask import ask_people
from cnncli.implementations.people.isolate import Limits, Work, run_isolated
from cnncli.implementations.table import resolve
from cnncli.layers.base import Problem
from cnncli.runs.memory import free_bytes, size_text
from cnncli.runs.missingarguments import missing_inputs, missing_parameters, missing_text
from cnncli.runs.options import RunOptions
from cnncli.runs.swappedarguments import name_swapped

ENOUGH, STEP = 1 << 30, 16 << 20
"""Memory in which Python and NumPy surely start, and what the least is found to."""


@dataclass(frozen=True, kw_only=True)
class AskedCase:
    """A case that we computed, all its tensors in `problem`, and what it asks of others."""

    case: Case
    problem: Problem
    task: Task

    @property
    def function(self) -> str:
        """The functions judged, as a column of the class report."""
        return functions_of(self.case.call)

    @property
    def held_bytes(self) -> int:
        """The memory of its tensors."""
        return sum(array.nbytes for array in self.problem.tensors.values())


def ask(case: Case, problem: Problem, *, by_call: bool) -> AskedCase:
    """Return a computed case with what it asks: its own calls, or its layer and parameters.

    Raises ConfigError or GeometryError where it cannot be called.
    """
    if by_call:
        return AskedCase(case=case, problem=problem, task=ask_people(case, problem))
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
    return AskedCase(case=case, problem=problem, task=task)


def judge_all(implementation: Implementation, asked: Sequence[AskedCase]) -> list[Judged]:
    """Return the verdicts on every case of one implementation, which is given all at once."""
    label = implementation.label
    computed = implementation.compute([one.task for one in asked])
    judged = [
        judge(label, one.task, made, one.problem, one.case.tolerance)
        for one, made in zip(asked, computed, strict=True)
    ]
    judged = name_swapped(implementation, judged)
    return [
        replace(found, checks=[_with_missing(check, one) for check in found.checks])
        for one, found in zip(asked, judged, strict=True)
    ]


def _with_missing(check: Check, asked: AskedCase) -> Check:
    """Return a check that failed with what the function was never told, which may be why."""
    if not asked.task.calls or check.verdict != "fail":
        return check
    if check.reason not in (VALUES, SHAPE, EXCEPTION):
        return check
    case, plan = asked.case, asked.problem.plan
    text = missing_text(
        missing_parameters(case, plan, words=False), missing_inputs(case, plan, {check.tensor})
    )
    joined = "; ".join(part for part in (check.note, text) if part)
    return replace(check, note=joined or None)


def resolve_asked(named: Against, options: RunOptions) -> list[Implementation]:
    """Return the implementations that a case's or a batch's `against` names, within its limits.

    Raises UsageError or MissingExtraError where there is none, or where it cannot start.
    """
    limits = limits_of(options.max_memory, options.user_seconds)
    found = resolve(named.text, named.where, named.base, limits=limits, run_all=options.run_all)
    if any(one.by_call for one in found):
        judge_limits(options.max_memory)
    return found


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

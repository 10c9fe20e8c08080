"""One file of people's code on its cases: what it gives for each, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnncli.cases.case import Case
from cnncli.checks.check import Check
from cnncli.checks.ties import forgive_ties
from cnncli.implementations.base import Implementation
from cnncli.runs.against import Prepared, judge_all
from cnncli.runs.one import RunOptions, is_gradchecked, prepare_case, run_case
from cnncli.runs.result import Grade, Result, status_of
from cnncli.runs.shrink import shrink_all


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A case that is ready for people's functions, with the checks of our own that it asks for."""

    prepared: Prepared
    own: list[Check]

    @property
    def held_bytes(self) -> int:
        """The memory of its tensors."""
        return sum(array.nbytes for array in self.prepared.problem.tensors.values())


def prepare_exercise(case: Case, options: RunOptions) -> Exercise:
    """Compute a case; raise CnncliError, at its place, where its input is bad."""
    alone = replace(case, against=())
    own = run_case(alone, options).checks if case.expect or case.gradcheck is not None else []
    return Exercise(prepared=prepare_case(case, options), own=own)


def judge_submission(
    submission: Implementation,
    exercises: Sequence[Exercise],
    options: RunOptions,
    *,
    shrink: bool,
) -> list[Result]:
    """Return what one submission gives for every case, all asked at once."""
    prepared = [one.prepared for one in exercises]
    results: list[Result] = []
    notes: tuple[str, ...] = ()
    with np.errstate(all="ignore"):
        judged = judge_all(submission, prepared)
        for exercise, found in zip(exercises, judged, strict=True):
            case, problem = exercise.prepared.case, exercise.prepared.problem
            notes = (*found.computed.notes, *found.computed.broken)
            checks = [
                forgive_ties(check, problem, found.tensors.get(check.tensor))
                if is_gradchecked(case, check.tensor)
                else check
                for check in found.checks
            ]
            results.append(
                Result(
                    name=case.name,
                    file=case.file,
                    layer=case.layer.name,
                    convention=case.settings.convention,
                    params=problem.plan.params,
                    status=status_of([*exercise.own, *checks]),
                    checks=[*exercise.own, *checks],
                    seconds=found.computed.seconds,
                    implementation=submission.label,
                )
            )
        shrunk = shrink_all(submission, prepared, results, options) if shrink else {}
    return [
        replace(
            result,
            grade=Grade(
                function=one.function,
                points=one.case.points,
                notes=notes,
                shrunk=(shrunk[one.function],) if one.function in shrunk else (),
            ),
        )
        for one, result in zip(prepared, results, strict=True)
    ]

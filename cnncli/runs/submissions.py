"""One file of people's code on its cases: what it gives for each, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnncli.implementations.base import Implementation
from cnncli.runs.against import AskedCase, judge_all
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Grade, Result, status_of
from cnncli.runs.shrink import shrink_all
from cnncli.runs.verdicts import forgive_gradients


def judge_submission(
    submission: Implementation,
    asked: Sequence[AskedCase],
    options: RunOptions,
    *,
    shrink: bool,
) -> list[Result]:
    """Return what one submission gives for every case, all asked at once."""
    results: list[Result] = []
    notes: tuple[str, ...] = ()
    with np.errstate(all="ignore"):
        judged = judge_all(submission, asked)
        for one, found in zip(asked, judged, strict=True):
            case, problem = one.case, one.problem
            notes = (*found.computed.notes, *found.computed.broken)
            checks = forgive_gradients(case, problem, found.checks, found.tensors)
            results.append(
                Result(
                    name=case.name,
                    file=case.file,
                    layer=case.layer.name,
                    convention=case.settings.convention,
                    params=problem.plan.params,
                    status=status_of(checks),
                    checks=checks,
                    seconds=found.computed.seconds,
                    implementation=submission.label,
                )
            )
        shrunk = shrink_all(submission, asked, results, options) if shrink else {}
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
        for one, result in zip(asked, results, strict=True)
    ]

"""A case made ready for people's functions: computed, asked by its calls, its own checks made.

Every person's file is asked the same, so that an exercise is made once and kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cnncli.cases.case import Case
from cnncli.checks.check import Check
from cnncli.errors import CnncliError
from cnncli.layers.base import Problem
from cnncli.runs.against import AskedCase, ask
from cnncli.runs.one import compute, run_case
from cnncli.runs.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A case that is ready for people's functions, with the checks of our own that it asks for."""

    asked: AskedCase
    own: list[Check]

    @property
    def held_bytes(self) -> int:
        """The memory of its tensors."""
        return sum(array.nbytes for array in self.asked.problem.tensors.values())


def make_exercise(case: Case, options: RunOptions) -> Exercise:
    """Compute a case and make its own checks; raise CnncliError, at its place, where it is bad."""
    alone = replace(case, against=())
    own = run_case(alone, options).checks if case.expect or case.gradcheck is not None else []
    return Exercise(asked=compute_asked(case, options), own=own)


def compute_asked(case: Case, options: RunOptions) -> AskedCase:
    """Compute a case, without its checks, and ask its calls; raise CnncliError, at its place."""
    try:
        with np.errstate(all="ignore"):
            made = compute(replace(case, against=(), expect={}, gradcheck=None), options)
        problem = Problem(layer=case.layer, plan=made.plan, tensors=made.arrays)
        return ask(case, problem, by_call=True)
    except CnncliError as error:
        raise error.at(case.where) from None

"""A case as an exercise: computed, and ready to be asked of people's functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnncli.cases.case import Case
from cnncli.errors import CnncliError
from cnncli.layers.base import Problem
from cnncli.runs.against import AskedCase, ask
from cnncli.runs.one import compute
from cnncli.runs.options import RunOptions


def make_exercise(case: Case, options: RunOptions) -> AskedCase:
    """Compute a case, without its checks, and ask its calls; raise CnncliError, at its place."""
    try:
        with np.errstate(all="ignore"):
            made = compute(replace(case, against=(), expect={}, gradcheck=None), options)
        problem = Problem(layer=case.layer, plan=made.plan, tensors=made.arrays)
        return ask(case, problem, by_call=True)
    except CnncliError as error:
        raise error.at(case.where) from None

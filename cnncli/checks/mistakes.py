"""What is wrong in a function whose result is wrong: a named fault, ties, or the type it uses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.checks.bounds import rounding_bound
from cnncli.checks.check import Check
from cnncli.checks.diagnosis import explain
from cnncli.checks.reasons import TIES, UNKNOWN, VALUES
from cnncli.checks.ties import find_ties
from cnncli.floats import FLOAT32
from cnncli.layers.base import Problem


def explain_mistake(check: Check, right: Problem, theirs: NDArray[Any], stored: str) -> Check:
    """Return a failed check of one tensor with what is wrong in the function that gave `theirs`.

    `right` holds the tensor as it should be; `stored` is the type that the function returned.
    """
    ours = right.tensors[check.tensor]
    wrong = None if check.comparison is None else check.comparison.wrong
    if check.reason == VALUES and wrong is not None:
        ties = _tied_places(right, check.tensor)
        if ties is not None and not (wrong & ~ties).any():
            check = replace(check, reason=TIES)
    if stored[0] in "iub" and ours.dtype.kind == "f" and check.reason == VALUES:
        note = f"it is of {stored}, which cuts every value to a whole number"
        if np.array_equal(theirs, np.trunc(ours)):
            cause = {"cause": note, "distance": 0.0, "fault": "whole numbers",
                     "look": "make the array that results are written to of float64"}  # fmt: skip
            return replace(check, note=note, diagnosis=[cause])
        check = replace(check, note=note)
    found = _diagnosed(check, right, theirs, stored)
    unknown = [row["cause"] for row in found.diagnosis or ()] == [UNKNOWN]
    if unknown and stored == "float64" and _is_of_float32(check, right, theirs):
        assert check.comparison is not None
        far = check.comparison.norm_rel_error
        digits = f"1e{round(math.log10(far))}"
        text = f"{check.tensor} is right to about {digits}: something was computed in float32"
        cause = {"cause": text, "distance": far, "fault": "float32 inside",
                 "look": "look for np.float32, or a library that computes in it"}  # fmt: skip
        return replace(found, diagnosis=[cause], runner_up=None, sits=None)
    return found


def _diagnosed(check: Check, right: Problem, theirs: NDArray[Any], stored: str) -> Check:
    if check.tensor not in {"y", *right.plan.gradients}:
        return check
    found = explain(check, right, theirs, stored)
    if check.reason == TIES and (found.diagnosis or [{}])[0].get("cause") == UNKNOWN:
        return replace(found, diagnosis=None)
    return found


def _is_of_float32(check: Check, right: Problem, theirs: NDArray[Any]) -> bool:
    """Tell whether the errors are such as float32 makes in each element's own sum.

    Its bound alone is loose: they must be small as a whole too, and not follow the tensor itself,
    as an eps in the wrong place does.
    """
    ours, unit = right.tensors[check.tensor], FLOAT32.unit_roundoff
    far = 0.0 if check.comparison is None else check.comparison.norm_rel_error
    if ours.dtype != np.float64 or not unit / 100 < far < 8 * unit:
        return False
    bound = rounding_bound(right, check.tensor, unit)
    with np.errstate(all="ignore"):
        error = theirs - ours
        size = float(np.linalg.norm(error) * np.linalg.norm(ours))
        follows = abs(float(np.vdot(error, ours))) / size
        return bool((np.abs(error) <= bound).all()) and follows < 0.5


def _tied_places(right: Problem, name: str) -> NDArray[np.bool_] | None:
    """Return which elements of max pooling's dx or indices hang on a tie; None elsewhere."""
    plan = right.plan
    ties = find_ties(right.changed(dy=np.ones(plan.upstream)))
    if ties is None or name not in ("dx", "indices"):
        return None
    shape = plan.inputs["x"] if name == "dx" else plan.upstream
    mask = np.zeros(int(np.prod(shape)), bool)
    for window, elements in ties.edges.items():
        if name == "dx":
            mask[elements] = True
        else:
            mask[window] = True
    return mask.reshape(shape)

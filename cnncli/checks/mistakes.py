"""What is wrong in a function whose result is wrong: a named fault, ties, or the type it uses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.checks.check import Check
from cnncli.checks.derived import UNITS, rounding_bound
from cnncli.checks.diagnosis import UNKNOWN, explain
from cnncli.checks.reasons import TIES, VALUES
from cnncli.checks.ties import find_ties
from cnncli.layers.base import Problem

FLOAT32 = 2.0**-24


def explain_mistake(check: Check, right: Problem, theirs: NDArray[Any], stored: str) -> Check:
    """Return a failed check of one tensor with what is wrong in the function that gave `theirs`.

    `right` holds the tensor as it should be; `stored` is the type that the function returned.
    """
    ours = right.tensors[check.tensor]
    wrong = _wrong_places(check, theirs, ours)
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
    found = _diagnosed(check, right, theirs, stored, wrong)
    unknown = [row["cause"] for row in found.diagnosis or ()] == [UNKNOWN]
    if unknown and stored == "float64" and _is_of_float32(check, right, theirs):
        digits = f"1e{round(math.log10(check.norm_rel_error or FLOAT32))}"
        text = f"{check.tensor} is right to about {digits}: something was computed in float32"
        cause = {"cause": text, "distance": check.norm_rel_error, "fault": "float32 inside",
                 "look": "look for np.float32, or a library that computes in it"}  # fmt: skip
        return replace(found, diagnosis=[cause], runner_up=None, sits=None)
    return found


def _diagnosed(
    check: Check,
    right: Problem,
    theirs: NDArray[Any],
    stored: str,
    wrong: NDArray[np.bool_] | None,
) -> Check:
    if check.tensor not in {"y", *right.plan.gradients}:
        return check
    found = explain(check, right.layer, right.plan, right.tensors, theirs, stored, wrong)
    if check.reason == TIES and (found.diagnosis or [{}])[0].get("cause") == UNKNOWN:
        return replace(found, diagnosis=None)
    return found


def _is_of_float32(check: Check, right: Problem, theirs: NDArray[Any]) -> bool:
    """Tell whether the errors are such as float32 makes in each element's own sum.

    Its bound alone is loose: they must be small as a whole too, and not follow the tensor itself,
    as an eps in the wrong place does.
    """
    ours = right.tensors[check.tensor]
    far = check.norm_rel_error or 0.0
    if ours.dtype != np.float64 or not FLOAT32 / 100 < far < 8 * FLOAT32:
        return False
    bound = rounding_bound(right.layer, right.plan, right.tensors, check.tensor, UNITS["float32"])
    with np.errstate(all="ignore"):
        error = theirs - ours
        size = float(np.linalg.norm(error) * np.linalg.norm(ours))
        follows = abs(float(np.vdot(error, ours))) / size
        return bool((np.abs(error) <= bound).all()) and follows < 0.5


def _wrong_places(
    check: Check, theirs: NDArray[Any], ours: NDArray[Any]
) -> NDArray[np.bool_] | None:
    """Return which elements are wrong, None where the shapes differ."""
    if theirs.shape != ours.shape or check.rtol is None or check.atol is None:
        return None
    with np.errstate(all="ignore"):
        a, b = theirs.astype(np.float64), ours.astype(np.float64)
        return np.asarray(~((np.abs(a - b) <= check.atol + check.rtol * np.abs(b)) | (a == b)))


def _tied_places(right: Problem, name: str) -> NDArray[np.bool_] | None:
    """Return which elements of max pooling's dx or indices hang on a tie; None elsewhere."""
    plan = right.plan
    if plan.layer != "pool" or plan.params["mode"] != "max" or name not in ("dx", "indices"):
        return None
    x = np.asarray(right.tensors["x"], np.float64)
    ties = find_ties(plan, x, np.ones(plan.upstream))
    shape = plan.inputs["x"] if name == "dx" else plan.upstream
    mask = np.zeros(int(np.prod(shape)), bool)
    for window, elements in ties.edges.items():
        if name == "dx":
            mask[elements] = True
        else:
            mask[window] = True
    return mask.reshape(shape)

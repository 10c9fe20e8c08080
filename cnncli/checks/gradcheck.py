"""Judging gradients, ours and other people's, by numeric ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.check import Check, Verdict, Worst
from cnncli.checks.numeric import NumericGradient, central_differences
from cnncli.layers.base import Layer, Plan, Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

RTOL = {"float64": 1e-6, "float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
LINEAR_STEP = 1.0
CURVED_STEP = 1e-5


def check_gradients(
    layer: Layer,
    plan: Plan,
    tensors: Tensors,
    expected: dict[str, tuple[NDArray[Any], str]],
    options: GradcheckOptions,
    seed: int,
    keep: dict[str, NDArray[Any]] | None = None,
) -> list[Check]:
    """Return a check for every gradient of ours, and one for each in `expected`, with its type.

    The numeric gradients are put into `keep`, by name, NaN where an element was not asked for.

    `tensors` holds every tensor of the case; the numeric gradient is always found in float64.
    Raises nothing on wrong gradients: those are verdicts.
    """
    import numpy as np

    wide = {
        name: array if array.dtype == np.float64 else array.astype(np.float64)
        for name, array in tensors.items()
        if name in plan.inputs or name == "dy"
    }
    checks = []
    for name in plan.gradients:
        source = name[1:]
        if options.wrt is not None and source not in options.wrt:
            continue
        elements = _choose(plan.gradients[name], options.elements, name, seed)
        linear = layer.linear_in(plan, source)
        step = options.step or (LINEAR_STEP if linear else CURVED_STEP)
        numeric = central_differences(layer, plan, wide, source, elements, step)
        if keep is not None:
            whole = np.full(plan.gradients[name], np.nan)
            whole.reshape(-1)[elements] = numeric.values
            keep[name] = whole
        ours = tensors[name]
        subjects = [("ours", ours, str(ours.dtype))]
        if name in expected:
            subjects.append(("expected", *expected[name]))
        checks += [
            _judge(name, subject, array, stored, plan.gradients[name], elements, numeric, options)
            for subject, array, stored in subjects
        ]
    return checks


def _choose(shape: tuple[int, ...], count: int | None, name: str, seed: int) -> list[int]:
    """Return the flat elements to check: all, or `count` random ones."""
    import numpy as np

    size = math.prod(shape)
    if count is None or count >= size:
        return list(range(size))
    stream = np.random.default_rng([seed, *b"elements of ", *name.encode()])
    return sorted(int(i) for i in stream.choice(size, count, replace=False))


def _judge(
    name: str,
    subject: Any,
    array: NDArray[Any],
    stored: str,
    shape: tuple[int, ...],
    elements: list[int],
    numeric: NumericGradient,
    options: GradcheckOptions,
) -> Check:
    import numpy as np

    if array.shape != shape:
        return Check(
            check="gradcheck",
            tensor=name,
            subject=subject,
            verdict="fail",
            got=list(array.shape),
            expected=list(shape),
            note="shapes differ",
        )
    analytic = array.astype(np.float64).reshape(-1)[elements]
    n = numeric.values
    rtol = RTOL.get(stored, RTOL["float64"]) if options.rtol is None else options.rtol
    largest = float(np.abs(n).max(initial=0.0))
    atol = 1e-3 * rtol * largest if options.atol is None else options.atol
    with np.errstate(all="ignore"):
        error = np.abs(analytic - n)
        sizes = np.maximum(np.abs(analytic), np.abs(n))
        allowed = atol + rtol * sizes
        wrong = ~((error <= allowed) & np.isfinite(error))
        relative = np.where(error == 0, 0, error / sizes)
        course = error / np.maximum(1e-8, np.abs(analytic) + np.abs(n))
        score = np.where(np.isnan(error), np.inf, error / np.where(allowed > 0, allowed, 1))
        norms = max(np.linalg.norm(analytic), np.linalg.norm(n))
        norm = float(np.linalg.norm(analytic - n) / norms) if norms != 0 else 0.0
    worst = int(np.argmax(score))
    index = np.unravel_index(elements[worst], array.shape)
    verdict: Verdict = "fail" if wrong.any() else "pass"
    note = None
    if verdict == "pass" and largest == 0:
        verdict = "vacuous"
        note = "the whole numeric gradient is zero, so nothing was tested"
    return Check(
        check="gradcheck",
        tensor=name,
        subject=subject,
        verdict=verdict,
        method=numeric.method,
        step=numeric.step,
        evaluations=numeric.evaluations,
        elements=len(elements),
        mismatched=int(wrong.sum()),
        max_abs_error=float(error.max(initial=0.0)),
        max_rel_error=float(relative.max(initial=0.0)),
        norm_rel_error=norm,
        course_score=float(course.max(initial=0.0)),
        rtol=rtol,
        atol=atol,
        worst=Worst(
            index=tuple(int(i) for i in index), got=float(analytic[worst]), expected=float(n[worst])
        ),
        note=note,
    )

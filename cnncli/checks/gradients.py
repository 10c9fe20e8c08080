"""Judging gradients, ours and other people's, by numeric ones and by exact identities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.check import Check, Comparison, Verdict
from cnncli.checks.compare import compare, norm_ratio
from cnncli.checks.identities import identities
from cnncli.checks.numeric import (
    NumericGradient,
    Progress,
    along_random_direction,
    choose_method,
    numeric_gradient,
)
from cnncli.checks.reasons import DIFFER
from cnncli.checks.ties import Ties, TieVerdicts, components, find_ties, judge_ties
from cnncli.errors import ConfigError
from cnncli.floats import FLOAT64, float_type
from cnncli.layers.base import Array, Problem, Shape, shape_text

EPS = FLOAT64.eps
Subject = Literal["ours", "expected"]


def check_gradients(
    problem: Problem,
    expected: Mapping[str, Sequence[tuple[Array, str]]],
    options: GradcheckOptions,
    seed: int,
    progress: Progress | None = None,
    keep: dict[str, Array] | None = None,
) -> list[Check]:
    """Return checks of every gradient of ours, and of all in `expected`, with their stored types.

    The numeric gradients are put into `keep`, by name, NaN where an element was not asked for.

    The problem holds every tensor of the case; the numeric gradient is always found in float64.
    Raises ConfigError for a step that max pooling's winners do not outlast, and nothing on wrong
    gradients: those are verdicts.
    """
    plan, ours = problem.plan, problem.tensors
    wide = {
        name: array if array.dtype == np.float64 else array.astype(np.float64)
        for name, array in ours.items()
        if name in plan.inputs or name == "dy"
    }
    y_size = _largest(ours["y"]) if "y" in ours else 0.0
    gradcheck = _Gradcheck(replace(problem, tensors=wide), options, seed, progress, y_size)
    checks = []
    for name in plan.gradients:
        if options.wrt is not None and name[1:] not in options.wrt:
            continue
        reference = gradcheck.reference(name)
        if keep is not None:
            keep[name] = reference.numeric.values
        checks += gradcheck.checks(name, "ours", ours[name], str(ours[name].dtype), reference)
        for array, stored in expected.get(name, ()):
            checks += gradcheck.checks(name, "expected", array, stored, reference)
    return checks


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a gradient should be, as far as a numeric gradient can tell."""

    numeric: NumericGradient
    """Of the windows that do not tie; all of them where there are no `ties`."""
    rounding: Array
    elements: Array
    """The flat elements that were asked for."""
    ties: Ties | None
    zero_elsewhere: bool


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """One gradient against its reference: the comparison, of the elements that were asked for."""

    comparison: Comparison
    at_ties: TieVerdicts | None
    is_zero: bool
    """The reference is zero to rounding."""
    is_finite: bool
    course_score: float
    accuracy: float
    rtol: float
    atol: float


@dataclass(frozen=True)
class _Gradcheck:
    """What all gradients of one case are checked with; the problem's tensors are float64."""

    problem: Problem
    options: GradcheckOptions
    seed: int
    progress: Progress | None
    y_size: float

    def reference(self, name: str) -> Reference:
        """Return what gradient `name` should be."""
        source, options, problem = name[1:], self.options, self.problem
        ties = find_ties(problem)
        if ties is not None:
            problem = problem.changed(dy=np.where(ties.tied, 0.0, problem.tensors["dy"]))
        gap = ties.gap if ties else math.inf
        method = choose_method(problem, source, options.method, options.step, gap, self.y_size)
        if ties and method.name == "central" and method.step > ties.gap:
            raise ConfigError(
                f"step {method.step:g} is above half the smallest gap between a window's maximum "
                f"and its next, {ties.gap:.3g}: winners would change; leave the step out"
            )
        value = problem.tensors[source]
        if options.step is not None and method.name == "central":
            _judge_step(method.step, source, value)
        elements = _choose(problem.plan.gradients[name], options.elements, name, self.seed, ties)
        found = numeric_gradient(
            problem,
            source,
            method,
            elements=elements,
            structure=options.structure,
            seed=self.seed,
            progress=self.progress,
        )
        rounding = found.rounding + 32 * EPS * found.terms
        is_curved = not ties and not problem.layer.linear_in(problem.plan, source)
        if method.name == "central" and is_curved:
            deviation = float(np.std(value)) or 1.0
            rounding = rounding + found.terms * (method.step / deviation) ** 2 / 6
        chosen = np.arange(found.values.size) if elements is None else np.array(elements)
        zero_elsewhere = True
        if len(chosen) < found.values.size:
            # Whether the elements that were not chosen are zero too, from one direction.
            slope, terms = along_random_direction(problem, source, method, self.seed)
            zero_elsewhere = not abs(slope) > 64 * EPS * terms
        return Reference(
            numeric=found,
            rounding=rounding,
            elements=chosen,
            ties=ties,
            zero_elsewhere=zero_elsewhere,
        )

    def checks(
        self, name: str, subject: Subject, array: Array, stored: str, reference: Reference
    ) -> list[Check]:
        """Return the numeric check of one gradient, diagnosed where it fails, and identities."""
        shape = self.problem.plan.gradients[name]
        if array.shape != shape:
            wrong = Check(
                check="gradcheck",
                tensor=name,
                subject=subject,
                verdict="fail",
                got=list(array.shape),
                expected=list(shape),
                note=DIFFER,
            )
            from cnncli.checks.diagnosis import explain

            return [explain(wrong, self.problem, array, stored)]
        analytic = array.astype(np.float64)
        check = self._numeric_check(name, subject, analytic, stored, reference)
        if check.verdict == "fail":
            from cnncli.checks.diagnosis import explain

            check = explain(check, self.problem, array, stored)
        return [check, *self._identity_checks(name, subject, analytic, stored)]

    def _numeric_check(
        self, name: str, subject: Subject, analytic: Array, stored: str, reference: Reference
    ) -> Check:
        numeric = reference.numeric
        judged = _judge(analytic, stored, reference, self.problem.tensors["dy"], self.options)
        verdict, note = _verdict(judged, reference)
        if numeric.leak is not None:
            verdict, note = "fail", f"{numeric.leak}; --no-structure assumes nothing"
        if verdict == "vacuous":
            note = why_vacuous(self.problem, name)
            if self.options.allow_vacuous:
                note += " (allowed)"
        tied = 0 if judged.at_ties is None else int(judged.at_ties.tied.sum())
        return Check(
            check="gradcheck",
            tensor=name,
            subject=subject,
            verdict=verdict,
            allowed=True if verdict == "vacuous" and self.options.allow_vacuous else None,
            method=numeric.method.name,
            step=numeric.method.step,
            accuracy=judged.accuracy,
            evaluations=numeric.evaluations,
            tied=tied or None,
            course_score=judged.course_score,
            rtol=judged.rtol,
            atol=judged.atol,
            comparison=_placed(judged.comparison, reference.elements, analytic.shape),
            note=note,
        )

    def _identity_checks(
        self, name: str, subject: Subject, analytic: Array, stored: str
    ) -> list[Check]:
        checks = []
        tolerance, atol = self._identity_tolerance(subject, stored)
        for found in identities(self.problem, name, analytic, stored):
            if not np.any(found.terms):
                continue  # 0 = 0 tells nothing
            with np.errstate(all="ignore"):
                allowed = tolerance * found.terms + atol * found.weights + found.rounding
                error = np.abs(found.left - found.right)
                share = np.where(found.terms == 0, error, error / found.terms)
            comparison = compare(found.left, found.right, allowed, by_share=True)
            checks.append(
                Check(
                    check="gradcheck",
                    tensor=name,
                    subject=subject,
                    verdict="fail" if comparison.mismatched else "pass",
                    method="identity",
                    identity=found.text,
                    comparison=comparison,
                    terms_rel_error=float(share.max()),
                    rtol=tolerance,
                )
            )
        return checks

    def _identity_tolerance(self, subject: Subject, stored: str) -> tuple[float, float]:
        """Return what an identity is judged by: a share of its terms, and an error an element.

        Ours has rounding alone to answer for. A gradient that was given may have been stored
        narrower on its way, and is as exact as the gradient check demands of its elements.
        """
        if subject == "ours":
            return float_type(stored).identity_rtol, 0.0
        given = self.options.rtol
        rtol = float_type(stored).gradient_rtol if given is None else given
        return max(FLOAT64.identity_rtol, rtol), self.options.atol or 0.0


def _judge(
    analytic: Array, stored: str, reference: Reference, dy: Array, options: GradcheckOptions
) -> _Judged:
    """Judge a gradient (float64, of the input's shape; stored as `stored`) by its reference.

    Right is |a-n| <= atol + rtol*max(|a|,|n|); at ties, what some sharing of dy gives. A reference
    that is zero to rounding allows atol alone.
    """
    places, numeric = reference.elements, reference.numeric
    a, n = analytic.reshape(-1)[places], numeric.values.reshape(-1)[places]
    terms = numeric.terms.reshape(-1)[places]
    rounding = reference.rounding.reshape(-1)[places]
    rtol = float_type(stored).gradient_rtol if options.rtol is None else options.rtol
    with np.errstate(all="ignore"):
        most, rounded = _largest(terms), _largest(rounding)
        noise = min(rounded + 64 * EPS * most, rtol * most)
        atol = max(1e-3 * rtol * _largest(n), noise) if options.atol is None else options.atol
        at_ties = None
        if reference.ties is not None and reference.ties.edges:
            at_ties = judge_ties(reference.ties, dy, analytic, numeric.values, places, rtol, atol)
            n = n + at_ties.even
        is_tied = at_ties is not None and bool(at_ties.tied.any())
        is_zero = not is_tied and bool((np.abs(n) <= 64 * EPS * most + rounded).all())
        if is_zero and options.atol is None:
            # What a right gradient of zero is left with, in the precision that it was found in.
            atol = 64 * float_type(stored).eps * most + rounded
        accuracy = norm_ratio(rounding, n)
        is_finite = np.isfinite(n)
        allowed = atol + (0.0 if is_zero else rtol) * np.maximum(np.abs(a), np.abs(n))
        allowed = np.where(is_finite, allowed, -1.0)  # no gradient is right beside no number
        if at_ties is not None:
            n, allowed = at_ties.amended(a, n, allowed)
        course = np.abs(a - n) / np.maximum(1e-8, np.abs(a) + np.abs(n))
    return _Judged(
        comparison=compare(a, n, allowed, by_share=True),
        at_ties=at_ties,
        is_zero=is_zero,
        is_finite=bool(is_finite.all()),
        course_score=_largest(course),
        accuracy=accuracy,
        rtol=rtol,
        atol=atol,
    )


def _largest(array: Array) -> float:
    """Return the largest size, NaN where one is."""
    return float(np.abs(array).max(initial=0.0))


def _verdict(judged: _Judged, reference: Reference) -> tuple[Verdict, str | None]:
    at_ties = judged.at_ties
    if judged.comparison.mismatched:
        if not judged.is_finite:
            return "fail", "the numeric gradient is not finite: x, or what y makes of it, is not"
        if at_ties is not None and at_ties.wrong.any():
            return "fail", "no sharing of each window's dy among its tied winners gives this"
        return "fail", None
    if at_ties is not None and at_ties.tied.any():
        near = reference.ties.spread if reference.ties else 0.0
        how = f"nearly (within {near:.2g})" if near else "exactly"
        return "kink", (
            f"{int(at_ties.tied.sum())} elements tie {how}, where the layer has no derivative; "
            "this is what sharing dy among tied winners can give"
        )
    if judged.is_zero and reference.zero_elsewhere:
        return "vacuous", None
    return "pass", None


def _placed(found: Comparison, elements: Array, shape: Shape) -> Comparison:
    """Return a comparison of some flat elements with its places as those of the whole tensor."""
    assert found.wrong is not None
    wrong = np.zeros(math.prod(shape), bool)
    wrong[elements[found.wrong]] = True
    worst = found.worst
    if worst is not None:
        place = np.unravel_index(int(elements[worst.index]), shape)
        worst = replace(worst, index=tuple(int(i) for i in place))
    return replace(found, worst=worst, wrong=wrong.reshape(shape))


def _judge_step(step: float, source: str, array: Array) -> None:
    """Raise ConfigError where a step is lost in the rounding of what it is added to."""
    lost = np.isfinite(array) & ((array + step == array) | (array - step == array))
    if lost.any():
        place = tuple(int(i) for i in np.argwhere(lost)[0])
        index = ",".join(map(str, place))
        raise ConfigError(
            f"step {step:g} is too small: {source} + step equals {source} for {int(lost.sum())} of "
            f"{array.size} elements, such as {source}[{index}] = {float(array[place]):g}; "
            "leave the step out"
        )


def _choose(
    shape: Shape, count: int | None, name: str, seed: int, ties: Ties | None
) -> list[int] | None:
    """Return the flat elements to check: None for all, or `count` random ones.

    A tie is judged whole: who ties with a chosen element, directly or not, is chosen too.
    """
    size = math.prod(shape)
    if count is None or count >= size:
        return None
    stream = np.random.default_rng([seed, *b"elements of ", *name.encode()])
    chosen = {int(i) for i in stream.choice(size, count, replace=False)}
    if ties is not None:
        for _, members in components(ties.edges):
            if not chosen.isdisjoint(members):
                chosen.update(members)
    return sorted(chosen)


def why_vacuous(problem: Problem, name: str) -> str:
    """Say why a gradient is zero whatever the code does, and what to give instead."""
    layer, plan, tensors = problem.layer, problem.plan, problem.tensors
    start = "the whole reference is zero to rounding, so nothing was tested: "
    dy = tensors["dy"]
    if not dy.any():
        return start + "dy is all zero; leave --dy out and it is random normal"
    others = {"dx": ("w", "gamma"), "dw": ("x",), "dgamma": ("x",)}.get(name, ())
    for other in others:
        if other in tensors and not tensors[other].any():
            example = shape_text(tensors[other].shape)
            return start + f"{other} is all zero; give values, such as --{other} normal:{example}"
    if layer.name == "bn" and name == "dx" and plan.params["training"]:
        axes = (0, *range(2, dy.ndim))
        if dy.size == dy.shape[1]:
            return start + "each channel has one value, which is its own mean; give more samples"
        if np.all(np.ptp(dy, axis=axes) <= 64 * EPS * np.abs(dy).max()):
            return start + (
                "dy is the same all over each channel, and bn's dx is then 0 for any x; "
                "leave --dy out and it is random normal"
            )
    if layer.name == "bn" and np.all(np.ptp(tensors["x"], axis=(0, *range(2, dy.ndim))) == 0):
        return start + "x is the same all over each channel; give x that varies"
    if layer.name == "bn":
        return start + "dy cancels in every channel; leave --dy out and it is random normal"
    return start + "no output that has a dy reads it; give other shapes or another dy"

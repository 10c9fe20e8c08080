"""Judging gradients, ours and other people's, by numeric ones and by exact identities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.check import Check, Worst
from cnncli.checks.identities import identities
from cnncli.checks.judging import Judged, Reference, judge
from cnncli.checks.numeric import (
    NumericGradient,
    Progress,
    along_random_direction,
    choose_method,
    numeric_gradient,
)
from cnncli.checks.ties import Ties, find_ties
from cnncli.errors import ConfigError
from cnncli.floats import FLOAT64, float_type
from cnncli.layers.base import Layer, Plan, Tensors, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_gradients(
    layer: Layer,
    plan: Plan,
    tensors: Tensors,
    expected: Mapping[str, Sequence[tuple[NDArray[Any], str]]],
    options: GradcheckOptions,
    seed: int,
    progress: Progress | None = None,
    keep: dict[str, NDArray[Any]] | None = None,
) -> list[Check]:
    """Return checks of every gradient of ours, and of all in `expected`, with their stored types.

    The numeric gradients are put into `keep`, by name, NaN where an element was not asked for.

    `tensors` holds every tensor of the case; the numeric gradient is always found in float64.
    Raises ConfigError for a step that max pooling's winners do not outlast, and nothing on wrong
    gradients: those are verdicts.
    """
    import numpy as np

    wide = {
        name: array if array.dtype == np.float64 else array.astype(np.float64)
        for name, array in tensors.items()
        if name in plan.inputs or name == "dy"
    }
    job = _Job(layer, plan, wide, options, seed, progress)
    checks = []
    for name in plan.gradients:
        if options.wrt is not None and name[1:] not in options.wrt:
            continue
        subjects = [("ours", tensors[name], str(tensors[name].dtype))]
        subjects += [("expected", *given) for given in expected.get(name, ())]
        reference = job.reference(name)
        if keep is not None:
            whole = np.full(plan.gradients[name], np.nan)
            whole.reshape(-1)[reference.elements] = reference.numeric.values.reshape(-1)
            keep[name] = whole
        for subject, array, stored in subjects:
            checks += job.checks(name, subject, array, stored, reference)
    return checks


@dataclass(frozen=True)
class _Job:
    """What all gradients of one case are checked with."""

    layer: Layer
    plan: Plan
    tensors: Tensors
    options: GradcheckOptions
    seed: int
    progress: Progress | None

    def reference(self, name: str) -> Reference:
        """Return what gradient `name` should be."""
        import numpy as np

        source, plan, options = name[1:], self.plan, self.options
        tensors, ties = self.tensors, None
        if plan.layer == "pool" and plan.params["mode"] == "max":
            ties = find_ties(plan, tensors["x"], tensors["dy"])
            tensors = {**tensors, "dy": np.where(ties.tied, 0.0, tensors["dy"])}
        gap = ties.gap if ties else math.inf
        method = choose_method(self.layer, plan, tensors, source, options.method, options.step, gap)
        if ties and method.name == "central" and method.step > ties.gap:
            raise ConfigError(
                f"step {method.step:g} is above half the smallest gap between a window's maximum "
                f"and its next, {ties.gap:.3g}: winners would change; leave the step out"
            )
        if options.step is not None and method.name == "central":
            _judge_step(method.step, source, tensors[source])
        elements = _choose(plan.gradients[name], options.elements, name, self.seed, ties)
        found = numeric_gradient(
            self.layer,
            plan,
            tensors,
            source,
            method,
            elements=elements,
            structure=options.structure,
            seed=self.seed,
            progress=self.progress,
        )
        rounding = found.rounding + 32 * FLOAT64.eps * found.terms
        if method.name == "central" and not ties and not self.layer.linear_in(plan, source):
            deviation = float(np.std(tensors[source])) or 1.0
            rounding = rounding + found.terms * (method.step / deviation) ** 2 / 6
        chosen = np.arange(found.values.size) if elements is None else np.array(elements)
        return Reference(
            numeric=found,
            rounding=rounding,
            elements=chosen,
            ties=ties,
            dy=self.tensors["dy"],
            zero_elsewhere=self._zero_elsewhere(source, found, tensors, chosen),
        )

    def _zero_elsewhere(
        self, source: str, found: NumericGradient, tensors: Tensors, chosen: NDArray[Any]
    ) -> bool:
        """Tell whether the elements that were not chosen are zero too, from one direction."""
        if len(chosen) == found.values.size:
            return True
        slope, terms = along_random_direction(
            self.layer, self.plan, tensors, source, found.method, self.seed
        )
        return not abs(slope) > 64 * FLOAT64.eps * terms

    def checks(
        self, name: str, subject: Any, array: NDArray[Any], stored: str, reference: Reference
    ) -> list[Check]:
        """Return the numeric check of one gradient, diagnosed where it fails, and identities."""
        import numpy as np

        from cnncli.checks.diagnosis import explain

        shape = self.plan.gradients[name]
        if array.shape != shape:
            wrong = Check(
                check="gradcheck",
                tensor=name,
                subject=subject,
                verdict="fail",
                got=list(array.shape),
                expected=list(shape),
                note="shapes differ",
            )
            return [explain(wrong, self.layer, self.plan, self.tensors, array, stored, None)]
        analytic = array.astype(np.float64)
        judged = judge(analytic, stored, reference, self.options)
        check = self._numeric_check(name, subject, shape, judged, reference)
        if check.verdict == "fail":
            wrong_mask = np.zeros(array.size, bool)
            wrong_mask[reference.elements[judged.wrong]] = True
            mask = wrong_mask.reshape(shape)
            check = explain(check, self.layer, self.plan, self.tensors, array, stored, mask)
        return [check, *self._identities(name, subject, analytic, stored)]

    def _numeric_check(
        self,
        name: str,
        subject: Any,
        shape: tuple[int, ...],
        judged: Judged,
        reference: Reference,
    ) -> Check:
        import numpy as np

        numeric = reference.numeric
        verdict, note = judged.verdict, judged.note
        if numeric.leak is not None:
            verdict, note = "fail", f"{numeric.leak}; --no-structure assumes nothing"
        if verdict == "vacuous":
            note = why_vacuous(self.layer, self.plan, self.tensors, name)
            if self.options.allow_vacuous:
                note += " (allowed)"
        place = np.unravel_index(int(reference.elements[judged.worst]), shape)
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
            elements=len(reference.elements),
            mismatched=int(judged.wrong.sum()),
            tied=judged.tied or None,
            max_abs_error=judged.max_abs_error,
            max_rel_error=judged.max_rel_error,
            norm_rel_error=judged.norm_rel_error,
            course_score=judged.course_score,
            rtol=judged.rtol,
            atol=judged.atol,
            worst=Worst(
                index=tuple(int(i) for i in place),
                got=judged.analytic_at_worst,
                expected=judged.numeric_at_worst,
            ),
            note=note,
        )

    def _identities(
        self, name: str, subject: Any, analytic: NDArray[Any], stored: str
    ) -> list[Check]:
        import numpy as np

        checks = []
        tolerance, atol = self._identity_tolerance(subject, stored)
        for found in identities(self.layer, self.plan, self.tensors, name, analytic, stored):
            with np.errstate(all="ignore"):
                error = np.abs(found.left - found.right)
                share = np.where(found.terms == 0, error, error / found.terms)
                allowed = tolerance * found.terms + atol * found.weights + found.rounding
                wrong = ~((error <= allowed) & np.isfinite(error))
            if not np.any(found.terms):
                continue  # 0 = 0 tells nothing
            worst = int(np.argmax(np.where(np.isnan(share), np.inf, share)))
            place = np.unravel_index(worst, found.left.shape)
            checks.append(
                Check(
                    check="gradcheck",
                    tensor=name,
                    subject=subject,
                    verdict="fail" if wrong.any() else "pass",
                    method="identity",
                    identity=found.text,
                    elements=found.left.size,
                    mismatched=int(wrong.sum()),
                    max_abs_error=float(error.max()),
                    terms_rel_error=float(share.max()),
                    rtol=tolerance,
                    worst=Worst(
                        index=tuple(int(i) for i in place),
                        got=float(found.left.reshape(-1)[worst]),
                        expected=float(found.right.reshape(-1)[worst]),
                    ),
                )
            )
        return checks

    def _identity_tolerance(self, subject: str, stored: str) -> tuple[float, float]:
        """Return what an identity is judged by: a share of its terms, and an error an element.

        Ours has rounding alone to answer for. A gradient that was given may have been stored
        narrower on its way, and is as exact as the gradient check demands of its elements.
        """
        if subject == "ours":
            return float_type(stored).identity_rtol, 0.0
        given = self.options.rtol
        rtol = float_type(stored).gradient_rtol if given is None else given
        return max(FLOAT64.identity_rtol, rtol), self.options.atol or 0.0


def _judge_step(step: float, source: str, array: NDArray[Any]) -> None:
    """Raise ConfigError where a step is lost in the rounding of what it is added to."""
    import numpy as np

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
    shape: tuple[int, ...], count: int | None, name: str, seed: int, ties: Ties | None
) -> list[int] | None:
    """Return the flat elements to check: None for all, or `count` random ones.

    A tie is judged whole: who ties with a chosen element, directly or not, is chosen too.
    """
    import numpy as np

    from cnncli.checks.ties import components

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


def why_vacuous(layer: Layer, plan: Plan, tensors: Tensors, name: str) -> str:
    """Say why a gradient is zero whatever the code does, and what to give instead."""
    import numpy as np

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
        if np.all(np.ptp(dy, axis=axes) <= 64 * FLOAT64.eps * np.abs(dy).max()):
            return start + (
                "dy is the same all over each channel, and bn's dx is then 0 for any x; "
                "leave --dy out and it is random normal"
            )
    if layer.name == "bn" and np.all(np.ptp(tensors["x"], axis=(0, *range(2, dy.ndim))) == 0):
        return start + "x is the same all over each channel; give x that varies"
    if layer.name == "bn":
        return start + "dy cancels in every channel; leave --dy out and it is random normal"
    return start + "no output that has a dy reads it; give other shapes or another dy"

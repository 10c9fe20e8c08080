"""What is wrong with a wrong tensor: the named faults that reproduce it, never a nearest guess."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from cnncli.checks.check import Check
from cnncli.checks.faults import batchnorm
from cnncli.checks.faults.faultbench import Fault, FaultBench
from cnncli.checks.faults.probes import probe_benches
from cnncli.checks.faults.table import FAULTS
from cnncli.checks.places import where_errors_sit
from cnncli.checks.reasons import DIFFER, UNKNOWN
from cnncli.checks.shapes import axes_advice
from cnncli.floats import FLOAT64, float_type
from cnncli.layers.base import Array, Problem, shape_text

SAME = FLOAT64.same_tensor
MOST_ELEMENTS = 4_000_000
"""Some sixty passes of the layer are made: larger tensors are not diagnosed, and that is said."""
CLOSER = 0.1
"""A cause must be this much nearer than the right tensor is."""
NOTHING = 1e-12
NEVER = "zero"
"""The fault that says all of an array by itself: where its zeros differ tells nothing more."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One named fault that reproduces a wrong tensor.

    `fault` is its name in the table, `distance` how far the tensor is from what it gives, relative.
    """

    fault: str
    cause: str
    look: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Every fault that explains a tensor, the nearest that does not, and how to tell them apart."""

    causes: list[Cause]
    runner_up: Cause | None
    tell: str | None = None


def diagnose(
    problem: Problem, name: str, wrong: Array, stored: str = "", called: str | None = None
) -> Diagnosis:
    """Return the named faults that give `wrong` as tensor `name`, best first; none if unknown.

    The problem's tensors hold every input and, for gradients, dy. A fault that changes nothing
    here is no cause. `wrong` may have any shape: the shape often tells. `called` is what the texts
    call it, by default its name.
    """
    plan, tensors = problem.plan, problem.tensors
    names = (*plan.inputs, "dy")
    wide = {key: np.asarray(tensors[key], np.float64) for key in names if key in tensors}
    bench = FaultBench(replace(problem, tensors=wide), name)
    called = called or name
    if name == "indices" or (name in plan.gradients and "dy" not in wide):
        return Diagnosis(causes=[], runner_up=None)
    with np.errstate(all="ignore"):
        wrong = np.asarray(wrong, np.float64)
        right = bench.right
        same = float_type(stored).same_tensor
        away = distance(wrong, right)
        causes, faults, others = [], [], []
        for fault in FAULTS:
            if not fault.applies(plan.layer, name):
                continue
            far = _nearest(fault.variants(bench), wrong, right)
            if far is None:
                continue
            cause = Cause(
                fault=fault.name,
                cause=fault.cause.format(t=called),
                look=fault.look.format(t=called),
                distance=far,
            )
            # A fault that hardly changes anything here is as far from `wrong` as the right one is.
            if far <= min(same, CLOSER * away):
                causes.append(cause)
                faults.append(fault)
            else:
                others.append(cause)
        if not causes and away > same:
            causes = _fits(bench, called, wrong, right, same)
        order = sorted(range(len(causes)), key=lambda at: causes[at].distance)
        tell = _telling_geometry(bench, faults) if len(faults) > 1 else None
    return Diagnosis(
        causes=[causes[at] for at in order],
        runner_up=min(others, key=lambda cause: cause.distance, default=None),
        tell=tell,
    )


def distance(a: Array, b: Array) -> float:
    """Return |a-b| / max(|a|, |b|): 0 for equal, infinite where shapes differ or a NaN stands."""
    if a.shape != b.shape:
        return float("inf")
    largest = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    far = float(np.linalg.norm(a - b)) / largest if largest else 0.0
    return far if np.isfinite(far) else float("inf")


def _nearest(variants: list[Array], wrong: Array, right: Array) -> float | None:
    """Return the least distance of a fault's variants, those that change nothing left out."""
    far = [distance(wrong, one) for one in variants if distance(one, right) > NOTHING]
    least = min(far, default=float("inf"))
    return least if least < float("inf") else None


def _fits(bench: FaultBench, called: str, wrong: Array, right: Array, same: float) -> list[Cause]:
    """Return what fits with numbers of its own: a factor, bn's terms weighed, values moved."""
    name = bench.name
    advice = axes_advice(wrong.shape, right.shape)
    if advice and distance(wrong.reshape(right.shape), right) <= same:
        text = f"{shape_text(wrong.shape)} should be {shape_text(right.shape)}: {advice}"
        return [
            Cause(
                fault="axes of length 1",
                cause=f"{called} holds the right values, but {text}",
                look=f"return it with the shape {right.shape}",
                distance=distance(wrong.reshape(right.shape), right),
            )
        ]
    if wrong.size == right.size and np.isfinite(wrong).all() and wrong.any():
        moved = distance(np.sort(wrong, axis=None), np.sort(right, axis=None))
        if moved <= same and np.unique(right).size > 2:
            return [
                Cause(
                    fault="values moved",
                    cause=f"{called} holds the right values in the wrong places",
                    look="look for a reshape where axes should be transposed, or a wrong index",
                    distance=moved,
                )
            ]
    if wrong.shape != right.shape or not np.isfinite(wrong).all() or not wrong.any():
        return []
    factor = float(np.vdot(right, wrong) / np.vdot(right, right)) if right.any() else 0.0
    far = distance(wrong, factor * right)
    if far <= same and factor:
        return [
            Cause(
                fault="factor",
                cause=f"{called} is {factor:.6g} times the right one",
                look=f"look for a factor of {factor:.6g}, or 1/{1 / factor:.6g}",
                distance=far,
            )
        ]
    if bench.layer.name == "bn" and name == "dx" and bench.plan.params["training"]:
        return _weighed_terms(bench, called, wrong, same)
    return []


def _weighed_terms(bench: FaultBench, called: str, wrong: Array, same: float) -> list[Cause]:
    """Return bn's dx as a weighed sum of its three terms, by regression, if it is one."""
    none = batchnorm.statistics_constant(bench)
    mean = batchnorm.var_term_missing(bench) - none
    var = batchnorm.mean_term_missing(bench) - none
    terms = np.stack([none.ravel(), mean.ravel(), var.ravel()], axis=1)
    weights, _, rank, _ = np.linalg.lstsq(terms, wrong.ravel(), rcond=None)
    far = distance(wrong, (terms @ weights).reshape(wrong.shape))
    if far > same or rank < 3 or wrong.size < 8:
        return []
    shown = ", ".join(
        f"{weight:.4g} of the {term}"
        for weight, term in zip(
            weights, ("part of dy", "mean's part", "variance's part"), strict=True
        )
    )
    off = [
        term
        for weight, term in zip(weights, ("dy", "mean", "variance"), strict=True)
        if abs(weight - 1) > 1e-4
    ]
    return [
        Cause(
            fault="terms weighed",
            cause=f"{called} has its three terms in the wrong proportion: {shown}; "
            "each should be 1",
            look=f"check the {' and the '.join(off)} term",
            distance=far,
        )
    ]


def _telling_geometry(bench: FaultBench, faults: list[Fault]) -> str:
    """Return a geometry at which no two of the faults agree, found among the built-in probes."""
    best, most = None, 0
    pairs = len(faults) * (len(faults) - 1) // 2
    for label, other in probe_benches(bench):
        made = [fault.variants(other) for fault in faults]
        if any(not variants for variants in made):
            continue
        right = other.right
        told = sum(
            all(distance(p, q) > SAME for p in made[i] for q in made[j])
            for i in range(len(made))
            for j in range(i)
        ) * all(any(distance(p, right) > SAME for p in variants) for variants in made)
        if told > most:
            best, most = label, told
    names = " and ".join(repr(fault.name) for fault in faults)
    if best is None:
        return f"{names} are the same here and on every built-in geometry"
    apart = "" if most == pairs else " (most of them)"
    return f"this geometry cannot tell {names} apart; one that can{apart}: {best}"


def explain(check: Check, problem: Problem, wrong: Array, stored: str) -> Check:
    """Return a failed check of a whole tensor with its diagnosis, and where its errors sit.

    `wrong` is the array that is wrong, stored as `stored`; the check's comparison says where.
    """
    plan = problem.plan
    mask = None if check.comparison is None else check.comparison.wrong
    largest = max(math.prod(shape) for shape in (*plan.inputs.values(), plan.upstream))
    if largest > MOST_ELEMENTS:
        text = f"not diagnosed: {largest} elements take too long; give a smaller case of the same"
        sits = where_errors_sit(plan, check.tensor, mask) if mask is not None else None
        return replace(check, note=f"{check.note}; {text}" if check.note else text, sits=sits)
    called = f"the given {check.tensor}" if check.judges_given else check.tensor
    found = diagnose(problem, check.tensor, wrong, stored, called)
    rows = [
        {"cause": c.cause, "distance": c.distance, "fault": c.fault, "look": c.look}
        for c in found.causes
    ]
    right = {**plan.gradients, **plan.outputs}[check.tensor]
    note = check.note
    if note == DIFFER:
        note = f"{DIFFER}: {shape_text(wrong.shape)} should be {shape_text(right)}"
        if check.judges_given:
            note = f"{DIFFER}: ours is {shape_text(right)}, the given one {shape_text(wrong.shape)}"
    if check.judges_given and stored.startswith(("int", "uint", "bool")):
        cut = f"the given one is of {stored}, which cuts every value to a whole number"
        note = f"{note}; {cut}" if note else cut
    runner = found.runner_up
    if check.tensor == "indices":
        rows = []
    elif not rows and wrong.shape == right:
        rows = [{"cause": UNKNOWN} | ({"distance": runner.distance} if runner else {})]
    sits = None
    if mask is not None and not any(cause.fault == NEVER for cause in found.causes):
        sits = [
            *_not_finite(check.tensor, wrong, mask),
            *where_errors_sit(plan, check.tensor, mask),
        ]
    return replace(
        check,
        note=note,
        diagnosis=rows or None,
        runner_up={"cause": runner.cause, "distance": runner.distance} if runner else None,
        tell=found.tell,
        sits=sits,
    )


def _not_finite(name: str, wrong: Array, mask: Array) -> list[str]:
    """Say how many of the wrong elements are no numbers, and where the first is."""
    odd = mask & ~np.isfinite(wrong) if wrong.shape == mask.shape else np.zeros(0, bool)
    count = int(odd.sum())
    if not count:
        return []
    place = tuple(int(i) for i in np.argwhere(odd)[0])
    what = "NaN" if np.isnan(wrong[odd]).all() else "NaN or infinite"
    what = "infinite" if np.isinf(wrong[odd]).all() else what
    first = f"{name}[{','.join(map(str, place))}] is {float(wrong[place])}"
    many = "elements are" if count > 1 else "element is"
    return [f"{count} of {wrong.size} {many} {what}, {'the first: ' if count > 1 else ''}{first}"]

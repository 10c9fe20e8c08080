"""No false failure among 2,000 right cases, no pass among 2,000 with one planted fault."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.diagnosis import distance
from cnncli.checks.faults.faultbench import FaultBench
from cnncli.checks.faults.table import FAULTS
from cnncli.checks.gradients import check_gradients
from cnncli.checks.ties import components, find_ties
from cnncli.layers.base import Array, Problem
from tests.checks.randomcases import given, random_case

CASES = 2000


def test_no_right_gradient_fails_in_2000_cases() -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(CASES):
        problem = random_case(seed)
        for check in check_gradients(problem, {}, GradcheckOptions(), seed):
            assert check.verdict != "fail", (seed, problem.plan.params, check)
            verdicts[check.verdict] += 1
    # The cases do test something: few are vacuous, and ties are among them.
    assert verdicts["pass"] > 6000
    assert verdicts["kink"] > 80
    assert verdicts["vacuous"] < 0.02 * verdicts.total()


def test_no_planted_fault_passes_in_2000_cases() -> None:
    verdicts: Counter[str] = Counter()
    seed = 0
    while verdicts["planted"] < CASES:
        problem = random_case(seed)
        rng = np.random.default_rng([seed, 5])
        seed += 1
        name, wrong, what = _plant(problem, rng)
        tensors = problem.tensors
        if wrong is None:
            continue  # this geometry has no such fault
        verdicts["planted"] += 1
        # Within the default tolerance nothing has changed.
        if wrong.shape == tensors[name].shape and distance(wrong, tensors[name]) < 1.1e-6:
            verdicts["same result"] += 1
            continue
        options = GradcheckOptions(wrt=(name[1:],))
        expected = {name: [(wrong, "float64")]}
        checks = check_gradients(problem, expected, options, seed)
        (check,) = [c for c in checks if c.subject == "expected" and c.identity is None]
        verdicts[check.verdict] += 1
        if check.verdict == "kink":  # another way of sharing the same ties, so not wrong
            assert _is_some_sharing(problem, wrong), (seed, what)
        else:
            assert check.verdict == "fail", (seed, what, problem.plan.params, check)
            faults = [row.get("fault") for row in check.diagnosis or []]
            assert what in faults or what == "one element", (seed, what, faults)
    assert verdicts["fail"] > 0.8 * CASES
    assert verdicts["kink"] < 0.01 * CASES
    assert verdicts["same result"] < 0.15 * CASES


def _plant(problem: Problem, rng: np.random.Generator) -> tuple[str, Array | None, str]:
    """Return a gradient's name, the gradient with one fault, and the fault."""
    tensors, names = problem.tensors, list(problem.plan.gradients)
    name = names[rng.integers(len(names))]
    if rng.random() < 0.2:  # one element off by a thousandth of the largest
        wrong = tensors[name].copy()
        largest = np.abs(wrong).max()
        wrong.reshape(-1)[rng.integers(wrong.size)] += 1e-3 * largest
        return name, wrong, "one element"
    bench = FaultBench(given(problem), name)
    faults = [fault for fault in FAULTS if fault.applies(problem.layer.name, name)]
    fault = faults[rng.integers(len(faults))]
    variants = fault.variants(bench)
    return name, variants[rng.integers(len(variants))] if variants else None, fault.name


def _is_some_sharing(problem: Problem, gradient: Array) -> bool:
    """Tell by linear algebra alone whether a gradient is a sharing of each window's dy."""
    ties = find_ties(problem)
    assert ties is not None
    moved = gradient.reshape(-1) - problem.tensors["dx"].reshape(-1)
    members = sorted(ties.members())
    untied = np.delete(moved, members)
    for _, elements in components(ties.edges):
        # Ours shares too, and both give out the same sum in each group of ties.
        if abs(moved[elements].sum()) > 1e-6 * max(1.0, np.abs(gradient).sum()):
            return False
    return bool(np.abs(untied).max(initial=0.0) <= 1e-6 * np.abs(gradient).max())

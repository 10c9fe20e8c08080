"""No false failure among 2,000 right cases, no pass among 2,000 with one planted fault."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.bench import Bench
from cnncli.checks.diagnosis import distance
from cnncli.checks.faults import FAULTS
from cnncli.checks.gradcheck import check_gradients
from cnncli.checks.ties import components, find_ties
from cnncli.layers.base import Array, Plan, Tensors
from tests.checks.randomcases import Case, random_case

CASES = 2000


def test_no_right_gradient_fails_in_2000_cases() -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(CASES):
        layer, plan, tensors = random_case(seed)
        for check in check_gradients(layer, plan, tensors, {}, GradcheckOptions(), seed):
            assert check.verdict != "fail", (seed, plan.params, check)
            verdicts[check.verdict] += 1
    # The cases do test something: few are vacuous, and ties are among them.
    assert verdicts["pass"] > 6000
    assert verdicts["kink"] > 80
    assert verdicts["vacuous"] < 0.02 * verdicts.total()


def test_no_planted_fault_passes_in_2000_cases() -> None:
    verdicts: Counter[str] = Counter()
    seed = 0
    while verdicts["planted"] < CASES:
        case = random_case(seed)
        rng = np.random.default_rng([seed, 5])
        seed += 1
        name, wrong, what = _plant(case, rng)
        layer, plan, tensors = case
        if wrong is None:
            continue  # this geometry has no such fault
        verdicts["planted"] += 1
        # Within the default tolerance nothing has changed.
        if wrong.shape == tensors[name].shape and distance(wrong, tensors[name]) < 1.1e-6:
            verdicts["same result"] += 1
            continue
        options = GradcheckOptions(wrt=(name[1:],))
        expected = {name: [(wrong, "float64")]}
        checks = check_gradients(layer, plan, tensors, expected, options, seed)
        (check,) = [c for c in checks if c.subject == "expected" and c.identity is None]
        verdicts[check.verdict] += 1
        if check.verdict == "kink":  # another way of sharing the same ties, so not wrong
            assert _is_some_sharing(plan, tensors, wrong), (seed, what)
        else:
            assert check.verdict == "fail", (seed, what, plan.params, check)
            faults = [row.get("fault") for row in check.diagnosis or []]
            assert what in faults or what == "one element", (seed, what, faults)
    assert verdicts["fail"] > 0.8 * CASES
    assert verdicts["kink"] < 0.01 * CASES
    assert verdicts["same result"] < 0.15 * CASES


def _plant(case: Case, rng: np.random.Generator) -> tuple[str, Array | None, str]:
    """Return a gradient's name, the gradient with one fault, and the fault."""
    layer, plan, tensors = case
    names = list(plan.gradients)
    name = names[rng.integers(len(names))]
    if rng.random() < 0.2:  # one element off by a thousandth of the largest
        wrong = tensors[name].copy()
        largest = np.abs(wrong).max()
        wrong.reshape(-1)[rng.integers(wrong.size)] += 1e-3 * largest
        return name, wrong, "one element"
    bench = Bench(layer, plan, {key: tensors[key] for key in (*plan.inputs, "dy")}, name)
    faults = [fault for fault in FAULTS if fault.applies(layer.name, name)]
    fault = faults[rng.integers(len(faults))]
    variants = fault.variants(bench)
    return name, variants[rng.integers(len(variants))] if variants else None, fault.name


def _is_some_sharing(plan: Plan, tensors: Tensors, gradient: Array) -> bool:
    """Tell by linear algebra alone whether a gradient is a sharing of each window's dy."""
    ties = find_ties(plan, tensors["x"], tensors["dy"])
    moved = gradient.reshape(-1) - tensors["dx"].reshape(-1)
    members = sorted(ties.members())
    untied = np.delete(moved, members)
    for _, elements in components(ties.edges):
        # Ours shares too, and both give out the same sum in each group of ties.
        if abs(moved[elements].sum()) > 1e-6 * max(1.0, np.abs(gradient).sum()):
            return False
    return bool(np.abs(untied).max(initial=0.0) <= 1e-6 * np.abs(gradient).max())

"""Numeric gradients: moving many elements at once finds what moving each alone does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnncli.checks.faults.probes import layer_probes
from cnncli.checks.numeric import Method, choose_method, numeric_gradient
from cnncli.checks.ties import find_ties
from cnncli.layers.base import Array, Layer, Plan, Problem, Tensors
from cnncli.layers.batchnorm import BatchNorm
from cnncli.layers.conv import Conv
from cnncli.layers.sharing import Link, along
from cnncli.layers.table import LAYERS
from tests.checks.randomcases import plan_of, random_case, with_gradients

ACCURACY = {"conv": 1e-14, "pad": 1e-14, "avg": 1e-14, "bn": 1e-13, "max": 1e-12}


def numeric(problem: Problem, name: str, how: str, **more: Any) -> Any:
    ties = find_ties(problem)
    method = choose_method(problem, name, how, None, ties.gap if ties else float("inf"))
    return numeric_gradient(problem, name, method, **more)


def relative(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), 1e-300)


PROBES = [
    pytest.param(problem, id=f"{name}: {flags}")
    for name in LAYERS
    for flags, problem in layer_probes(LAYERS[name])
]


@pytest.mark.parametrize("problem", PROBES)
@pytest.mark.parametrize("how", ["auto", "central", "complex-step"])
def test_structure_changes_nothing(problem: Problem, how: str) -> None:
    # Central differences of bn suffer truncation, and the rounding of a mean of 1000.
    near = 1e-6 if how == "central" and problem.layer.name == "bn" else 1e-12
    ours = with_gradients(problem).tensors
    for gradient in problem.plan.gradients:
        fast = numeric(problem, gradient[1:], how)
        slow = numeric(problem, gradient[1:], how, structure=False)
        assert fast.leak is None
        assert relative(fast.values, slow.values) < near
        assert relative(fast.values, ours[gradient]) < near
        np.testing.assert_allclose(fast.terms, slow.terms, rtol=1e-6)
        assert fast.evaluations <= slow.evaluations + 16


@pytest.mark.parametrize("problem", PROBES)
def test_the_accuracy_that_the_readme_tells(problem: Problem) -> None:
    ours, plan = with_gradients(problem).tensors, problem.plan
    kind = plan.params.get("mode") if plan.layer == "pool" else plan.layer
    for gradient in plan.gradients:
        found = numeric(problem, gradient[1:], "auto")
        assert relative(ours[gradient], found.values) <= ACCURACY[str(kind)]


def test_structure_changes_nothing_in_random_cases() -> None:
    for seed in range(150):
        problem = random_case(seed)
        for gradient in problem.plan.gradients:
            fast = numeric(problem, gradient[1:], "auto")
            slow = numeric(problem, gradient[1:], "auto", structure=False)
            scale = np.abs(slow.terms).max(initial=1e-300)
            assert np.abs(fast.values - slow.values).max() <= 1e-12 * scale, (seed, gradient)


def test_chosen_elements_have_the_same_values_as_all() -> None:
    problem = random_case(3)
    name = next(iter(problem.plan.gradients))[1:]
    every = numeric(problem, name, "auto")
    some = numeric(problem, name, "auto", elements=[0, every.values.size - 1])
    assert np.isfinite(some.values).sum() == min(2, every.values.size)
    kept = np.isfinite(some.values)
    np.testing.assert_allclose(some.values[kept], every.values[kept], rtol=1e-12, atol=1e-14)


class ForgetfulConv(Conv):
    """Claims that the elements of a row are apart, which windows deny."""

    def sharing(self, plan: Plan, name: str) -> tuple[Link, ...]:
        links = list(super().sharing(plan, name))
        if name == "x":
            y = plan.upstream
            links[3] = replace(along(3, y[3]), colour_of=np.zeros(plan.inputs["x"][3], np.int64))
        return tuple(links)


class LeakyConv(Conv):
    """Its filters leak into each other, so that every output has a moved element."""

    def output(self, plan: Plan, tensors: Tensors) -> Array:
        y = super().output(plan, tensors)
        return y + 1e-3 * np.roll(y, 1, axis=1)


class LeakyBatchNorm(BatchNorm):
    """Its channels leak into each other."""

    def output(self, plan: Plan, tensors: Tensors) -> Array:
        y = super().output(plan, tensors)
        return y + 1e-3 * np.roll(y, 1, axis=1)


@pytest.mark.parametrize(
    "layer, name, shapes",
    [
        (ForgetfulConv(), "x", {"x": (2, 3, 6, 5), "w": (3, 3, 2, 2)}),
        (LeakyConv(), "w", {"x": (2, 3, 6, 5), "w": (3, 3, 2, 2)}),
        (LeakyBatchNorm(), "x", {"x": (2, 3, 4, 5)}),
        (LeakyBatchNorm(), "gamma", {"x": (2, 3, 4, 5)}),
    ],
    ids=["windows that share", "filters", "channels", "scales"],
)
def test_an_output_that_should_not_move_is_found(
    layer: Layer, name: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    _, plan = plan_of(layer.name, shapes)
    rng = np.random.default_rng(0)
    tensors = {key: rng.normal(size=shape) for key, shape in plan.inputs.items()}
    tensors["dy"] = rng.normal(size=plan.upstream)
    problem = Problem(layer=layer, plan=plan, tensors=tensors)
    found = numeric(problem, name, "auto")
    assert found.leak is not None
    assert "moved" in found.leak


def test_progress_counts_up_to_the_whole() -> None:
    problem = random_case(5)
    told: list[tuple[str, int, int]] = []
    name = next(iter(problem.plan.gradients))[1:]
    method = Method(name="central", step=1e-3)
    numeric_gradient(
        problem, name, method, structure=False,
        progress=lambda *all_: told.append(all_),
    )  # fmt: skip
    assert told[-1][1] == told[-1][2] == 2 * problem.tensors[name].size


def test_a_fifteenth_of_the_evaluations_of_a_loop() -> None:
    """How long that takes, and torch, `python -m tests.measure_gradcheck` prints."""
    layer, plan = plan_of(
        "conv", {"x": (2, 3, 23, 20), "w": (7, 3, 6, 6), "b": (7,)}, stride=(3, 6), padding=(2, 3)
    )
    rng = np.random.default_rng(0)
    tensors = {key: rng.normal(size=shape) for key, shape in plan.inputs.items()}
    tensors["dy"] = rng.normal(size=plan.upstream)
    problem = Problem(layer=layer, plan=plan, tensors=tensors)
    found = [numeric(problem, name, "auto") for name in "xwb"]
    loop = 2 * sum(tensors[name].size for name in "xwb")
    assert 15 * sum(one.evaluations for one in found) <= loop

"""Small random cases of every layer, ties included, planned and computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnncli.errors import CnncliError
from cnncli.layers.base import Layer, Plan, Problem, Request, Tensors
from cnncli.layers.table import LAYERS


def plan_of(name: str, shapes: dict[str, tuple[int, ...]], **params: Any) -> tuple[Layer, Plan]:
    layer = LAYERS[name]
    given = dict.fromkeys(params, "test")
    request = Request(
        params=layer.Params(**params),
        given=given,
        tensors=dict.fromkeys(shapes, "test"),
        shapes=shapes,
    )
    return layer, layer.plan(request)


def with_gradients(problem: Problem) -> Problem:
    layer, plan, tensors = problem.layer, problem.plan, given(problem).tensors
    with np.errstate(all="ignore"):
        return problem.changed(**layer.forward(plan, tensors), **layer.backward(plan, tensors))


def given(problem: Problem) -> Problem:
    """Return the problem with its inputs and dy alone, without what was computed of others."""
    names = (*problem.plan.inputs, "dy")
    return replace(problem, tensors={name: problem.tensors[name] for name in names})


def random_case(seed: int) -> Problem:
    """Return a random case with every gradient computed; ranks 1 to 3, ties in most max pools."""
    rng = np.random.default_rng([seed, 4])
    while True:
        try:
            return _draw(rng)
        except CnncliError:
            continue


def _draw(rng: np.random.Generator) -> Problem:  # noqa: PLR0912  # a branch a layer
    name = ("conv", "conv", "pool", "pool", "bn", "pad")[rng.integers(6)]
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    top = {1: 10, 2: 7, 3: 4}[rank]
    spatial = tuple(int(i) for i in rng.integers(1, top, rank))
    n, c = (int(i) for i in rng.integers(1, 4, 2))

    def axis(high: int, low: int = 1) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(low, high + 1, rank))

    def pairs(high: int, low: int = 0) -> tuple[tuple[int, int], ...]:
        return tuple((int(a), int(b)) for a, b in rng.integers(low, high + 1, (rank, 2)))

    params: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {"x": (n, c, *spatial)}
    if name == "conv":
        groups = int(rng.choice([1, 1, 2, 3]))
        f = int(rng.integers(1, 3)) * groups
        shapes["x"] = (n, c * groups, *spatial)
        transposed = bool(rng.random() < 0.25)
        params = {"stride": axis(3), "padding": pairs(2), "dilation": axis(2), "groups": groups}
        kernel = axis(3)
        if transposed:
            shapes["w"] = (c * groups, f // groups, *kernel)
            params |= {
                "transposed": True,
                "output_padding": tuple(int(rng.integers(0, s)) for s in params["stride"]),
            }
        else:
            shapes["w"] = (f, c, *kernel)
        if rng.random() < 0.7:
            shapes["b"] = (f,)
    elif name == "pool":
        params = {"kernel": axis(3), "stride": axis(3), "padding": pairs(1), "dilation": axis(2)}
        params["mode"] = str(rng.choice(["max", "max", "avg"]))
        params["ceil_mode"] = bool(rng.random() < 0.3)
        if params["mode"] == "avg":
            params["count_include_pad"] = bool(rng.random() < 0.5)
    elif name == "pad":
        params = {
            "padding": pairs(2, -1),
            "mode": str(rng.choice(["constant", "reflect", "replicate", "circular", "symmetric"])),
        }
    elif rng.random() < 0.3:
        shapes |= {"running_mean": (c,), "running_var": (c,)}
    else:
        params["eps"] = float(rng.choice([1e-5, 1e-3]))
        shapes["x"] = (n + 1, c, *(size + 2 for size in spatial))
    layer, plan = plan_of(name, shapes, **params)
    tensors: Tensors = {}
    for key, shape in {**plan.inputs, "dy": plan.upstream}.items():
        tensors[key] = rng.normal(size=shape) * float(rng.choice([0.1, 1, 1, 10]))
    if "running_var" in tensors:
        tensors["running_var"] = np.abs(tensors["running_var"]) + 0.1
    if name == "pool" and rng.random() < 0.7:
        kind = int(rng.integers(3))
        if kind == 0:
            tensors["x"] = rng.integers(-2, 3, plan.inputs["x"]).astype(float)
        elif kind == 1:
            tensors["x"] = np.maximum(tensors["x"], 0)  # what a ReLU leaves
        else:  # near ties
            tensors["x"] = np.round(tensors["x"]) + 1e-9 * rng.normal(size=plan.inputs["x"])
    return with_gradients(Problem(layer=layer, plan=plan, tensors=tensors))

"""The built-in probes as benches, to find a geometry that tells two faults apart."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from cnncli.cases.probes import PROBES, probe_entries
from cnncli.cases.tensors import make_tensors, open_ingredients, request_for
from cnncli.checks.faults.faultbench import FaultBench
from cnncli.layers.base import Layer, Problem
from cnncli.layers.parameters import show


def probe_benches(bench: FaultBench) -> Iterator[tuple[str, FaultBench]]:
    """Yield each probe of a bench's layer and mode as the flags that make it, and its bench."""
    for flags, problem in layer_probes(bench.layer):
        plan = problem.plan
        same = all(
            plan.params.get(key) == bench.plan.params.get(key)
            for key in ("mode", "training", "transposed")
        )
        if same and (bench.name in plan.gradients or bench.name in plan.outputs):
            yield flags, FaultBench(problem, bench.name)


@cache
def layer_probes(layer: Layer) -> list[tuple[str, Problem]]:
    """Return each probe of a layer: the flags that make it, and its problem, with dy."""
    return list(_made(layer))


def _made(layer: Layer) -> Iterator[tuple[str, Problem]]:
    for probe, entry in zip(PROBES[layer.name], probe_entries(layer, {}), strict=True):
        case = entry.build()
        with open_ingredients(case) as ingredients:
            plan = layer.plan(request_for(case, ingredients.shapes))
            made = make_tensors(ingredients, plan, backward=True)
        shapes = " ".join(f"{_name(name)} {text}" for name, text in probe.tensors.items())
        params = " ".join(_flag(key, value) for key, value in probe.params.items())
        tensors = {name: tensor.array for name, tensor in made.items()}
        problem = Problem(layer=layer, plan=plan, tensors=tensors)
        yield f"{shapes} {params}".strip(), problem


def _name(key: str) -> str:
    return "--" + key.replace("_", "-")


def _flag(key: str, value: object) -> str:
    flag = _name(key)
    if isinstance(value, bool):
        return flag if value else "--no-" + flag[2:]
    text = show(value)
    # An option's value must not look like an option.
    return f"{flag}={text}" if text.startswith("-") else f"{flag} {text}"

"""The built-in probes as benches, to find a geometry that tells two faults apart."""

from __future__ import annotations

from collections.abc import Iterator

from cnncli.checks.bench import Bench


def probe_benches(bench: Bench) -> Iterator[tuple[str, Bench]]:
    """Yield each probe of a bench's layer and mode as the flags that make it, and its bench."""
    from cnncli.cases.probes import PROBES, probe_entries
    from cnncli.cases.tensors import make_tensors, open_ingredients, request_for

    entries = probe_entries(bench.layer, {})
    for probe, entry in zip(PROBES[bench.layer.name], entries, strict=True):
        case = entry.build()
        with open_ingredients(case) as ingredients:
            plan = bench.layer.plan(request_for(case, ingredients.shapes))
            made = make_tensors(ingredients, plan, backward=True)
        tensors = {name: tensor.array for name, tensor in made.items()}
        same = all(
            plan.params.get(key) == bench.plan.params.get(key)
            for key in ("mode", "training", "transposed")
        )
        has = bench.name in plan.gradients or bench.name in plan.outputs
        if same and has:
            shapes = " ".join(f"--{name} {text}" for name, text in probe.tensors.items())
            params = " ".join(_flag(key, value) for key, value in probe.params.items())
            yield f"{shapes} {params}".strip(), Bench(bench.layer, plan, tensors, bench.name)


def _flag(key: str, value: object) -> str:
    from cnncli.layers.parameters import show

    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return flag if value else "--no-" + flag[2:]
    return f"{flag} {show(value)}"

"""Every row of the table of faults, on three geometries, through the command: it is named."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cnncli.cases.case import build_case
from cnncli.cases.node import from_data
from cnncli.cases.tensors import make_tensors, open_ingredients, request_for
from cnncli.checks.diagnosis import distance
from cnncli.checks.faults.faultbench import Fault, FaultBench
from cnncli.checks.faults.probes import layer_probes
from cnncli.checks.faults.table import FAULTS
from cnncli.layers.base import Problem
from cnncli.layers.table import LAYERS
from tests.checks.command import expected_check, results

# Where a probe has no such fault: ties, windows dilated in other ways, values below zero.
MORE: dict[str, tuple[str, ...]] = {
    "conv": (
        "--x normal:2x2x9x8 --w normal:3x2x2x3 --dilation 3,2 --stride 2,1",
        "--x normal:3x2x11x9 --w normal:2x2x3x2 --dilation 2,3 --padding 1:0,2:1",
        "--x normal:2x2x13x9 --w normal:4x2x3x2 --dilation 2,4 --stride 1,2",
        "--x normal:2x6x5x7 --w normal:4x3x2x3 --groups 2 --stride 1,2",
        "--x normal:2x6x7x5 --w normal:9x2x3x2 --groups 3 --padding 1,0",
    ),
    "pool": (
        "--x integers:2x3x7x5,low=0,high=2 --kernel 3,2 --stride 2,1",
        "--x integers:2x2x8x6,low=-1,high=1 --kernel 2,3 --stride 2,2 --padding 1:0,0:1",
        "--x integers:3x2x11,low=0,high=1 --kernel 3 --stride 2 --padding 0:1",
        "--x integers:2x2x9x8,low=-9,high=-1 --kernel 2,3 --stride 2,2 --dilation 2,1 "
        "--padding 1,1",
        "--x normal:2x3x9x7,loc=-1 --kernel 3,2 --stride 2,1 --padding 1:1,0:1",
        "--x normal:2x3x6x9 --kernel 3,3 --stride 2,2 --padding 1:1,0:1 --mode avg",
        "--x normal:2x3x9x8 --kernel 3,2 --stride 2,1 --dilation 2,2 --mode avg",
        "--x normal:2x3x8x9 --kernel 2,3 --stride 1,2 --dilation 3,2 --mode avg",
    ),
    "bn": (
        "--x normal:2x3x5x4,scale=0.1 --gamma normal:3 --beta normal:3 --eps 1e-2",
        "--x normal:3x2x4x5,scale=0.05 --gamma normal:2 --beta normal:2 --eps 1e-4",
        "--x normal:4x3x7,scale=0.1 --gamma normal:3 --beta normal:3 --eps 1e-2",
        "--x normal:3x2x4x5 --gamma normal:2 --beta normal:2 --running-mean normal:2 "
        "--running-var uniform:2,low=0.5,high=2 --training --momentum 0.3",
        "--x normal:2x3x5x4,loc=3 --gamma normal:3 --beta normal:3 --running-mean normal:3 "
        "--running-var uniform:3,low=0.5,high=2 --training",
        "--x normal:4x3x7,scale=2 --gamma normal:3 --beta normal:3 --running-mean normal:3 "
        "--running-var uniform:3,low=0.5,high=2 --training --momentum 0.2 --eps 1e-3",
    ),
}


@cache
def geometries(layer: str) -> list[tuple[str, Problem]]:
    return [*layer_probes(LAYERS[layer]), *_more(layer)]


def _more(layer: str) -> Iterator[tuple[str, Problem]]:
    for flags in MORE.get(layer, ()):
        words = flags.split()
        tensors: dict[str, object] = {}
        params: dict[str, object] = {}
        names = LAYERS[layer].source_names
        while words:
            key = words.pop(0)[2:].replace("-", "_")
            value: object = True
            if words and not words[0].startswith("--"):
                value = words.pop(0)
            (tensors if key in names else params)[key] = value
        node = from_data({"layer": layer, "params": params, "tensors": tensors}, "test")
        case = build_case(node.mapping("a case"), name="t", file=None, where="test", reproduce="")
        with open_ingredients(case) as ingredients:
            plan = case.layer.plan(request_for(case, ingredients.shapes))
            made = make_tensors(ingredients, plan, backward=True)
        arrays = {key: one.array for key, one in made.items()}
        yield flags, Problem(layer=case.layer, plan=plan, tensors=arrays)


SHARES = {"ties shared", "last of the tied"}
"""What is right at a tie, for a gradient check; a comparison with ours says how they differ."""

ROWS = [
    pytest.param(fault, layer, tensor, id=f"{layer}-{tensor}-{fault.name}")
    for fault in FAULTS
    for layer in fault.layers.split()
    for tensor in fault.tensors.split()
    if tensor in LAYERS[layer].tensor_names
]


@pytest.mark.parametrize("fault, layer, tensor", ROWS)
def test_a_fault_is_named_on_three_geometries(
    fault: Fault, layer: str, tensor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = 0
    for flags, problem in geometries(layer):
        plan = problem.plan
        if tensor not in plan.gradients and tensor not in plan.outputs:
            continue
        bench = FaultBench(problem, tensor)
        wrong = [v for v in fault.variants(bench) if distance(v, bench.right) > 1e-5]
        if not wrong:
            continue
        np.save(tmp_path / "theirs.npy", wrong[tried % len(wrong)])
        command = [layer, *flags.split(), "--expect", f"{tensor}={tmp_path / 'theirs.npy'}"]
        if tensor in plan.gradients and fault.name not in SHARES:
            command.insert(0, "gradcheck")
        status, (result,) = results(capsys, *command)
        check = expected_check(result, tensor)
        if check["verdict"] == "kink":  # ties everywhere: this fault is one way of sharing
            assert "integers" in flags
            assert fault.name == "first element"
            continue
        assert (status, check["verdict"]) == (1, "fail")
        assert fault.name in [row["fault"] for row in check["diagnosis"]], flags
        assert all(row["distance"] <= 1e-6 for row in check["diagnosis"])
        tried += 1
        if tried == 3:
            return
    pytest.fail(f"only {tried} geometries have this fault")


def test_there_are_at_least_25_faults_and_no_two_of_a_name() -> None:
    for layer in LAYERS.values():
        for tensor in layer.tensor_names:
            names = [fault.name for fault in FAULTS if fault.applies(layer.name, tensor)]
            assert len(names) == len(set(names))
    assert len({fault.name for fault in FAULTS}) >= 25

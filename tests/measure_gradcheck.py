"""Print how long a full gradient check takes, and torch's: `python -m tests.measure_gradcheck`.

The case: conv, x (2,3,23,20), w (7,3,6,6), b, stride (3,6), padding (2,3); dx, dw and db. The three
take turns, torch on one thread, and medians over the rounds are printed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cnncli.cases.case import GradcheckOptions
from cnncli.checks.gradients import check_gradients
from cnncli.layers.base import Problem
from tests.checks.randomcases import plan_of, with_gradients

ROUNDS = 9
SHAPES = {"x": (2, 3, 23, 20), "w": (7, 3, 6, 6), "b": (7,)}
PARAMS: dict[str, Any] = {"stride": (3, 6), "padding": (2, 3)}


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    try:
        import torch
    except ImportError:
        sys.exit("this measures torch.autograd.gradcheck too, and torch is not installed")
    layer, plan = plan_of("conv", SHAPES, **PARAMS)
    rng = np.random.default_rng(0)
    tensors = {key: rng.normal(size=shape) for key, shape in plan.inputs.items()}
    tensors["dy"] = rng.normal(size=plan.upstream)
    inputs = [torch.tensor(tensors[key], requires_grad=True) for key in "xwb"]

    def forward(x: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.conv2d(x, w, b, **PARAMS)

    def ours() -> None:
        every = with_gradients(Problem(layer=layer, plan=plan, tensors=tensors))
        checks = check_gradients(every, {}, GradcheckOptions(), 0)
        assert {check.verdict for check in checks} == {"pass"}

    works: dict[str, Callable[[], object]] = {
        "ours": ours,
        "torch, full mode": lambda: torch.autograd.gradcheck(forward, inputs),
        "torch, fast mode": lambda: torch.autograd.gradcheck(forward, inputs, fast_mode=True),
    }
    torch.set_num_threads(1)
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(seconds(work))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        ratio = median / medians["ours"]
        print(f"{name}: {median * 1000:.2f} ms, {ratio:.2f} times ours (median of {ROUNDS})")


if __name__ == "__main__":
    main()

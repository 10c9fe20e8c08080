"""How much work a layer is, which its rate and its limit are reckoned by."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnncli.implementations.limits import flops, moved_bytes
from tests.building import task_of


def arrays(**shapes: tuple[int, ...]) -> dict[str, Any]:
    return {name: np.zeros(shape) for name, shape in shapes.items()}


def test_work_is_counted() -> None:
    params = {"stride": [2, 1], "padding": [[0, 1], [2, 1]], "dilation": [1, 2]}
    plan = task_of("conv", params, arrays(x=(2, 4, 9, 8), w=(6, 4, 3, 2))).problem.plan
    n, f, oh, ow = plan.upstream
    assert flops(plan, "forward") == 2 * n * f * oh * ow * 4 * 3 * 2
    assert flops(plan, "backward") == 2 * flops(plan, "forward")
    wide = {"transposed": True, "stride": 2}
    transposed = task_of("conv", wide, arrays(x=(2, 4, 5, 6), w=(4, 3, 3, 2))).problem.plan
    assert flops(transposed, "forward") == 2 * 2 * 4 * 5 * 6 * 3 * 3 * 2
    windows = {"kernel": 3, "stride": 2, "padding": 1}
    pool = task_of("pool", windows, arrays(x=(2, 3, 9, 8))).problem.plan
    assert moved_bytes(pool, "forward", 8) == 8 * (2 * 3 * 9 * 8 + 2 * 3 * 5 * 4)
    bn = task_of("bn", {}, arrays(x=(4, 3, 5, 6))).problem.plan
    assert moved_bytes(bn, "backward", 4) == 4 * 3 * 4 * 3 * 5 * 6

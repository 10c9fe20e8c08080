"""Pooling's sizes and divisors against torch, in every small combination there is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.building import ours_of, task_of
from tests.extras import optional

torch = optional("torch")
F: Any = torch.nn.functional
torch.set_num_threads(1)  # waking more takes longer than these cases

WAYS = [("max", None), ("avg", True), ("avg", False)]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("mode, counted", WAYS)
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_every_combination_agrees(kernel: int, mode: str, counted: bool, ceil_mode: bool) -> None:
    """Stride 1..4, padding 0..kernel/2, size 4..9: values and gradients, on unequal axes."""
    rng = np.random.default_rng(kernel)
    combinations = itertools.product(range(1, 5), range(kernel // 2 + 1), range(4, 10))
    for stride, padding, size in combinations:
        x = rng.standard_normal((1, 2, size, 13 - size))
        params = {
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "mode": mode,
            "ceil_mode": ceil_mode,
        }
        if mode == "avg":
            params["count_include_pad"] = counted
        task = task_of("pool", params, {"x": x})
        ours = ours_of(task)
        leaf = torch.tensor(x, requires_grad=True)
        if mode == "max":
            y, indices = F.max_pool2d(
                leaf, kernel, stride, padding, ceil_mode=ceil_mode, return_indices=True
            )
            np.testing.assert_array_equal(ours["indices"], indices.numpy(), err_msg=str(params))
        else:
            y = F.avg_pool2d(leaf, kernel, stride, padding, ceil_mode, counted)
        assert ours["y"].shape == tuple(y.shape), params
        np.testing.assert_allclose(ours["y"], y.detach().numpy(), atol=1e-14, err_msg=str(params))
        y.backward(torch.tensor(ours["dy"]))
        np.testing.assert_allclose(ours["dx"], leaf.grad.numpy(), atol=1e-14, err_msg=str(params))

"""`--against` with `--tolerance derived`: each element by the rounding bound of its own sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from cnncli.cases.assertions import Tolerance
from cnncli.implementations.base import Computed, Task
from cnncli.implementations.table import resolve
from tests.building import check_against, ours_of, task_of

RNG = np.random.default_rng(0)
ARRAYS = {
    "x": RNG.normal(size=(2, 3, 6, 7)),
    "w": RNG.normal(size=(4, 3, 3, 2)),
    "dy": RNG.normal(size=(2, 4, 4, 6)),
}
DERIVED = Tolerance(derived=True)


@dataclass
class Off:
    """The textbook loops, their y off by `share` of an element's size in float64."""

    share: float
    label: str = "loops, off"
    by_call: bool = False

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        (loops,) = resolve("loops")
        for computed in loops.compute(tasks):
            tensors = dict(computed.tensors)
            tensors["y"] = tensors["y"] * (1 + self.share)
            yield replace(computed, tensors=tensors)


def verdicts(implementation: Any) -> dict[str, str]:
    task = task_of("conv", {}, ARRAYS)
    checks = check_against(implementation, task, ours_of(task), DERIVED).checks
    for check in checks:
        assert check.bound_share is not None
        assert check.rtol is None
        assert "sum_squared_error" in check.record()
    return {check.tensor: check.verdict for check in checks}


def test_another_order_of_the_sum_is_within_the_bound() -> None:
    (loops,) = resolve("loops")
    assert verdicts(loops) == {"y": "pass", "dx": "pass", "dw": "pass"}


@pytest.mark.parametrize(("share", "verdict"), [(1e-16, "pass"), (1e-12, "fail")])
def test_what_the_default_tolerance_would_pass_is_told(share: float, verdict: str) -> None:
    found = verdicts(Off(share))
    assert found["y"] == verdict
    assert found["dx"] == "pass"

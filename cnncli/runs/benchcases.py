"""The layers that `bench` times when it is given no file: known networks', at batch 8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnncli.cases.case import Case, build_case
from cnncli.cases.node import from_data

# name, layer, parameters, tensors. ResNet-50 (He et al. 2016) but where the name says otherwise.
TABLE: tuple[tuple[str, str, dict[str, Any], dict[str, str]], ...] = (
    ("first 7x7/2", "conv", {"stride": 2, "padding": 3}, {"x": "8x3x224x224", "w": "64x3x7x7"}),
    ("3x3 at 56", "conv", {"padding": 1}, {"x": "8x64x56x56", "w": "64x64x3x3"}),
    ("3x3 at 28", "conv", {"padding": 1}, {"x": "8x128x28x28", "w": "128x128x3x3"}),
    ("3x3 at 14", "conv", {"padding": 1}, {"x": "8x256x14x14", "w": "256x256x3x3"}),
    ("3x3 at 7", "conv", {"padding": 1}, {"x": "8x512x7x7", "w": "512x512x3x3"}),
    ("1x1 at 56", "conv", {}, {"x": "8x64x56x56", "w": "256x64x1x1"}),
    (
        "3x3/2 at 56",
        "conv",
        {"stride": 2, "padding": 1},
        {"x": "8x128x56x56", "w": "128x128x3x3"},
    ),
    (
        "depthwise 3x3 at 56",
        "conv",
        {"padding": 1, "groups": 128},
        {"x": "8x128x56x56", "w": "128x1x3x3"},
    ),
    ("5x5 at 28", "conv", {"padding": 2}, {"x": "8x32x28x28", "w": "64x32x5x5"}),
    (
        "AlexNet first 11x11/4",
        "conv",
        {"stride": 4, "padding": 2},
        {"x": "8x3x224x224", "w": "64x3x11x11"},
    ),
    ("small call", "conv", {"padding": 1}, {"x": "2x3x8x8", "w": "4x3x3x3"}),
    ("max 2/2 at 56", "pool", {"kernel": 2}, {"x": "8x64x56x56"}),
    (
        "max 3/2 padded at 112",
        "pool",
        {"kernel": 3, "stride": 2, "padding": 1},
        {"x": "8x64x112x112"},
    ),
    ("max 3/1 at 56", "pool", {"kernel": 3, "stride": 1}, {"x": "8x64x56x56"}),
    ("avg 2/2 at 56", "pool", {"kernel": 2, "mode": "avg"}, {"x": "8x64x56x56"}),
    (
        "avg 3/2 padded at 112",
        "pool",
        {"kernel": 3, "stride": 2, "padding": 1, "mode": "avg"},
        {"x": "8x64x112x112"},
    ),
    (
        "avg 3/1 at 56",
        "pool",
        {"kernel": 3, "stride": 1, "mode": "avg"},
        {"x": "8x64x56x56"},
    ),
    ("bn at 56", "bn", {}, {"x": "8x64x56x56"}),
    *(
        (f"pad {mode} at 56", "pad", {"padding": 1, "mode": mode}, {"x": "8x64x56x56"})
        for mode in ("constant", "reflect", "replicate", "circular", "symmetric")
    ),
)
SMALL = "small call"


def table_cases(dtype: str) -> Iterator[Case]:
    """Yield the table's cases, to be computed in `dtype`."""
    for name, layer, params, shapes in TABLE:
        tensors = {tensor: f"normal:{shape}" for tensor, shape in shapes.items()}
        entries = {"layer": layer, "params": params, "tensors": tensors, "dtype": dtype}
        node = from_data(entries, "the table of bench").mapping("a case")
        yield build_case(node, name=name, file=None, where="the table of bench", reproduce="")

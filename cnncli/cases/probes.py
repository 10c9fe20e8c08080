"""Built-in cases that a wrong gradient cannot pass: every axis different, nothing symmetric.

Each says what it covers. Between them: stride above 1, remainder rows that no window reaches,
overlapping and skipped windows, asymmetric padding, dilation, groups, and every spatial rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnncli.cases.config import Entry, merge
from cnncli.cases.node import Node, from_data
from cnncli.layers.base import Layer


@dataclass(frozen=True)
class Probe:
    """One built-in case, as it would stand in a config, and what it covers."""

    name: str
    covers: str
    params: Mapping[str, Any]
    tensors: Mapping[str, str]


PROBES: dict[str, tuple[Probe, ...]] = {
    "conv": (
        Probe(
            "plain",
            "unequal axes, overlap",
            {},
            {"x": "normal:2x3x6x5", "w": "normal:4x3x3x2", "b": "normal:4"},
        ),
        Probe(
            "strided",
            "unequal strides, remainder rows",
            {"stride": [2, 3]},
            {"x": "normal:2x2x8x9", "w": "normal:3x2x3x2", "b": "normal:3"},
        ),
        Probe(
            "padded",
            "asymmetric padding, stride",
            {"stride": [2, 1], "padding": [[0, 2], [2, 1]]},
            {"x": "normal:2x3x5x4", "w": "normal:2x3x3x4", "b": "normal:2"},
        ),
        Probe(
            "dilated",
            "unequal dilation, padding, remainder columns",
            {"dilation": [2, 3], "padding": [1, 2], "stride": [1, 2]},
            {"x": "normal:2x2x6x8", "w": "normal:3x2x2x3", "b": "normal:3"},
        ),
        Probe(
            "grouped",
            "groups, stride, asymmetric padding",
            {"groups": 2, "stride": [2, 2], "padding": [[1, 0], [0, 1]]},
            {"x": "normal:3x4x5x7", "w": "normal:6x2x2x3", "b": "normal:6"},
        ),
        Probe(
            "depthwise",
            "one channel a group, two filters each",
            {"groups": 3, "padding": [1, 0]},
            {"x": "normal:2x3x4x6", "w": "normal:6x1x3x2", "b": "normal:6"},
        ),
        Probe(
            "skipping",
            "stride above the kernel: rows that no window reads",
            {"stride": [3, 4]},
            {"x": "normal:2x3x8x9", "w": "normal:2x3x2x2", "b": "normal:2"},
        ),
        Probe(
            "signal",
            "one spatial axis",
            {"stride": 2, "padding": [[2, 1]], "dilation": 2},
            {"x": "normal:2x3x11", "w": "normal:4x3x3", "b": "normal:4"},
        ),
        Probe(
            "volume",
            "three spatial axes",
            {"stride": [1, 2, 1], "padding": [[0, 1], [1, 0], [0, 0]]},
            {"x": "normal:2x2x3x5x4", "w": "normal:3x2x2x3x2", "b": "normal:3"},
        ),
        Probe(
            "transposed",
            "transposed convolution, output padding, groups",
            {
                "transposed": True,
                "stride": [2, 3],
                "padding": [[1, 0], [0, 1]],
                "output_padding": [1, 2],
                "groups": 2,
            },
            {"x": "normal:2x4x3x4", "w": "normal:4x3x3x2", "b": "normal:6"},
        ),
    ),
    "pool": (
        Probe(
            "max",
            "unequal windows and strides, overlap",
            {"kernel": [3, 2], "stride": [2, 1]},
            {"x": "distinct:2x3x7x5"},
        ),
        Probe(
            "max-padded",
            "asymmetric padding, remainder columns",
            {"kernel": [2, 3], "stride": [1, 2], "padding": [[0, 1], [1, 1]]},
            {"x": "distinct:2x2x5x7"},
        ),
        Probe(
            "max-dilated",
            "dilation, overhang of ceil_mode",
            {"kernel": [2, 3], "stride": [3, 2], "dilation": [2, 1], "ceil_mode": True},
            {"x": "distinct:2x3x8x6"},
        ),
        Probe(
            "avg",
            "mean over unequal windows, overlap, remainder rows",
            {"kernel": [3, 2], "stride": [2, 1], "mode": "avg"},
            {"x": "normal:2x3x8x5"},
        ),
        Probe(
            "avg-padded",
            "divisor counts real elements only; overhang of ceil_mode",
            {
                "kernel": [3, 2],
                "stride": [2, 3],
                "padding": [[1, 0], [1, 1]],
                "mode": "avg",
                "ceil_mode": True,
                "count_include_pad": False,
            },
            {"x": "normal:2x3x8x6"},
        ),
        Probe(
            "avg-counted",
            "divisor counts padding",
            {"kernel": [2, 3], "stride": [1, 2], "padding": [1, 1], "mode": "avg"},
            {"x": "normal:3x2x5x6"},
        ),
        Probe(
            "global",
            "one window a plane",
            {"kernel": "global", "mode": "avg"},
            {"x": "normal:2x3x4x5"},
        ),
        Probe(
            "signal",
            "one spatial axis",
            {"kernel": 3, "stride": 2, "padding": [[0, 1]]},
            {"x": "distinct:2x3x9"},
        ),
        Probe(
            "volume",
            "three spatial axes",
            {"kernel": [2, 1, 3], "stride": [1, 2, 2]},
            {"x": "distinct:2x2x3x4x7"},
        ),
    ),
    "bn": (
        Probe(
            "training",
            "statistics of the batch, gamma and beta",
            {},
            {"x": "normal:4x3x5x2,loc=10,scale=4", "gamma": "normal:3", "beta": "normal:3"},
        ),
        Probe(
            "one-sample",
            "a batch of one",
            {"eps": 1e-3},
            {"x": "normal:1x2x4x3", "gamma": "uniform:2,low=1,high=3", "beta": "normal:2"},
        ),
        Probe(
            "far-from-zero",
            "a mean 1000 times the deviation",
            {},
            {"x": "normal:3x2x4x5,loc=1000", "gamma": "normal:2", "beta": "normal:2"},
        ),
        Probe(
            "inference",
            "running statistics",
            {},
            {
                "x": "normal:2x3x4x5",
                "gamma": "normal:3",
                "beta": "normal:3",
                "running_mean": "normal:3",
                "running_var": "uniform:3,low=0.5,high=2",
            },
        ),
        Probe(
            "signal",
            "one spatial axis",
            {},
            {"x": "normal:3x4x7", "gamma": "normal:4", "beta": "normal:4"},
        ),
        Probe(
            "volume",
            "three spatial axes",
            {},
            {"x": "normal:2x3x2x3x4", "gamma": "normal:3", "beta": "normal:3"},
        ),
    ),
    "pad": (
        Probe(
            "constant",
            "asymmetric padding, a value",
            {"padding": [[1, 0], [2, 3]], "value": 1.5},
            {"x": "normal:2x3x4x5"},
        ),
        Probe(
            "cropped",
            "cropping beside padding",
            {"padding": [[-1, 2], [1, -2]]},
            {"x": "normal:2x3x5x6"},
        ),
        Probe(
            "reflect",
            "the edge left out",
            {"padding": [[3, 1], [0, 2]], "mode": "reflect"},
            {"x": "normal:2x3x4x5"},
        ),
        Probe(
            "replicate",
            "the edge repeated",
            {"padding": [[2, 4], [3, 1]], "mode": "replicate"},
            {"x": "normal:2x3x2x4"},
        ),
        Probe(
            "circular",
            "wrapped around",
            {"padding": [[2, 1], [0, 4]], "mode": "circular"},
            {"x": "normal:2x3x3x5"},
        ),
        Probe(
            "symmetric",
            "the edge mirrored, cropping beside it",
            {"padding": [[2, 3], [-1, 2]], "mode": "symmetric"},
            {"x": "normal:2x3x3x6"},
        ),
        Probe("signal", "one spatial axis", {"padding": [[2, 1]]}, {"x": "normal:2x3x5"}),
        Probe(
            "volume",
            "three spatial axes",
            {"padding": [[1, 0], [2, 1], [0, 2]], "mode": "replicate"},
            {"x": "normal:2x2x3x2x4"},
        ),
    ),
}


def probe_entries(layer: Layer, flags: Mapping[str, Node]) -> list[Entry]:
    """Return a layer's probes as cases, with a command's flags on top."""
    return [
        Entry(
            name=f"{layer.name}-{probe.name}",
            file=None,
            where=f"built-in probe {layer.name}-{probe.name}",
            entries=merge(_written(layer, probe), flags),
        )
        for probe in PROBES[layer.name]
    ]


def _written(layer: Layer, probe: Probe) -> dict[str, Node]:
    data = {"layer": layer.name, "params": probe.params, "tensors": probe.tensors}
    return from_data(data, f"built-in probe {layer.name}-{probe.name}").mapping("a case")

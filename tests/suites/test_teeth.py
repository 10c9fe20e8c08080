"""Faults planted in a copy of the loops, each of which the probes and the comparison must catch.

A fault is one edit of the source text. The same suite passes on the loops as they are, so what
fails on the copy is the fault.
"""

from __future__ import annotations

import inspect
import types
from typing import Any

import numpy as np
import pytest

from cnncli.cases.assertions import Tolerance
from cnncli.cases.probes import PROBES
from cnncli.implementations import loops
from cnncli.layers import conv as conv_layer
from cnncli.layers import pool as pool_layer
from cnncli.layers import sliding
from tests.building import case_of, check_against, ours_of, result_of, task_of

READS = "i * s + j * d - before for i, j, s, d, (before, _) in axes"
AXES = 'zip(o, k, params["stride"], params["dilation"], params["padding"], strict=True)'
TAP = "(row, column, *k)"
SIZES = 'plan.inputs["w"][2:]'

Faults = dict[str, tuple[str, str]]

WINDOWS: Faults = {
    "strides swapped": (AXES, AXES.replace('["stride"]', '["stride"][::-1]')),
    "stride ignored": (READS, READS.replace("i * s", "i")),
    "dilation ignored": (READS, READS.replace("j * d", "j")),
    "dilations swapped": (AXES, AXES.replace('["dilation"]', '["dilation"][::-1]')),
    "pad sides swapped": (READS, READS.replace("(before, _)", "(_, before)")),
    "padding ignored": (READS, READS.replace(" - before", "")),
    "first axis's padding for all": (
        AXES,
        AXES.replace('params["padding"]', '[params["padding"][0]] * len(o)'),
    ),
}

FAULTS: dict[str, Faults] = {
    "conv": WINDOWS
    | {
        "kernel flipped": (TAP, f"(row, column, *(s - 1 - j for j, s in zip(k, {SIZES})))"),
        "kernel transposed": (TAP, f"(row, column, *(j % s for j, s in zip(k[::-1], {SIZES})))"),
        "groups ignored": ("row // group * columns + column", "column"),
        "bias ignored": ('given["b"][at[1],] if "b" in given else 0.0', "0.0"),
        "first sample only": ("range(images)", "range(1)"),
        "first channel only": ("range(columns)", "range(1)"),
        "first filter only": ("range(rows)", "range(1)"),
        "dx overwritten, not added": ("+= dy[target] * w", "= dy[target] * w"),
        "dw overwritten, not added": ('found["dw"][tap] += dy', 'found["dw"][tap] = dy'),
        "dw ignores dy": ("+= dy[target] * x[source]", "+= x[source]"),
        "db of the last element": ('found["db"][at[1],] += dy', 'found["db"][at[1],] = dy'),
    },
    "pool": WINDOWS
    | {
        "kernel swapped": ('_all(params["kernel"])', '_all(params["kernel"][::-1])'),
        "minimum for maximum": ("x[place] > x[winner]", "x[place] < x[winner]"),
        "last of equals wins": ("x[place] > x[winner]", "x[place] >= x[winner]"),
        "padding of zero wins": (
            'found["y"][at] = x[winner]',
            'found["y"][at] = max(x[winner], 0.0 if len(real) < len(places) else x[winner])',
        ),
        "winner's axes swapped": (
            "zip(winner[2:], plan.spatial",
            "zip(winner[:1:-1], plan.spatial[::-1]",
        ),
        "sum for mean": (" for place in real) / count", " for place in real)"),
        "padding counted unasked": ("count = len(real)", "count = len(places)"),
        "overhang counted": ("-before <= i < size + after", "-before <= i"),
        "padding never counted": ('if params["count_include_pad"]:', "if False:"),
        "overlap overwritten, not added": (
            'found["dx"][place] += dy[at] * share',
            'found["dx"][place] = dy[at] * share',
        ),
        "gradient not shared": ("real, 1.0 / count", "real, 1.0"),
    },
    "bn": {
        "variance of a sample": (
            "** 2 for at in places) / m",
            "** 2 for at in places) / max(1, m - 1)",
        ),
        "eps outside the root": (
            'math.sqrt(var + params["eps"])',
            'math.sqrt(var) + params["eps"]',
        ),
        "eps forgotten": ('math.sqrt(var + params["eps"])', "math.sqrt(var)"),
        "gamma forgotten": (
            "= gamma * _ratio(x[at] - mean, sigma) + beta",
            "= _ratio(x[at] - mean, sigma) + beta",
        ),
        "beta forgotten": ("sigma) + beta", "sigma)"),
        "batch statistics in inference": (
            'if params["training"]:\n            mean =',
            "if True:\n            mean =",
        ),
        "first sample's statistics": (
            "for at in places) / m\n            var",
            "for at in places if at[0] == 0) / m\n            var",
        ),
        "momentum the wrong way round": ("new = 1 - new", "pass"),
        "running variance biased": ("var * m / (m - 1) if", "var if"),
        "dgamma of x": ("dy[at] * hat[at] for", "dy[at] * x[at] for"),
        "dbeta of dhat": (
            'found["dbeta"][c,] = math.fsum(dy[at]',
            'found["dbeta"][c,] = math.fsum(gamma * dy[at]',
        ),
        "variance term missing": ("dvar * 2 * (x[at] - mean) / m + dmean / m", "dmean / m"),
        "mean term missing": (
            "dvar * 2 * (x[at] - mean) / m + dmean / m",
            "dvar * 2 * (x[at] - mean) / m",
        ),
        "statistics held constant": (
            'if params["training"]:\n            dvar',
            "if False:\n            dvar",
        ),
        "1/var for 1/sigma": ("_ratio(dhat[at], sigma)", "_ratio(dhat[at], sigma**2)"),
    },
    "pad": {
        "sides swapped": ("i -= pair[0]", "i -= pair[1]"),
        "value ignored": ('found["y"][at] = params["value"]', 'found["y"][at] = 0.0'),
        "reflect repeats the edge": ('if mode == "reflect":', "if False:"),
        "symmetric leaves the edge out": ('if mode == "reflect":', "if True:"),
        "replicate takes the other edge": (
            "first if i < first else last",
            "last if i < first else first",
        ),
        "circular off by one": ("% (last - first + 1)", "% max(1, last - first)"),
        "cropped at the wrong end": (
            "max(0, -pair[0]), size - 1 - max(0, -pair[1])",
            "max(0, -pair[1]), size - 1 - max(0, -pair[0])",
        ),
        "crop ignored": ("max(0, -pair[0]), size - 1 - max(0, -pair[1])", "0, size - 1"),
        "gradient overwritten, not added": (
            'found["dx"][source] += dy[at]',
            'found["dx"][source] = dy[at]',
        ),
    },
}

RUNNING = {"running_mean": "normal:3", "running_var": "uniform:3,low=1,high=2"}
MORE: dict[str, list[tuple[dict[str, Any], dict[str, str], str]]] = {
    "conv": [],
    "pool": [
        ({"kernel": [2, 3], "stride": 1}, {"x": "integers:2x3x6x5,low=-1,high=1"}, "torch"),
        (
            {"kernel": 3, "stride": 2, "padding": 1, "mode": "avg", "ceil_mode": True},
            {"x": "normal:1x2x4x6"},
            "torch",
        ),
    ],
    "bn": [
        ({"training": True, "momentum": 0.3}, {"x": "normal:2x3x2x4", **RUNNING}, "torch"),
        ({"training": True, "momentum": 0.3}, {"x": "normal:2x3x2x4", **RUNNING}, "onnx"),
        ({"eps": 0.5}, {"x": "normal:2x3x2x4"}, "torch"),
    ],
    "pad": [
        ({"padding": [[1, 1], [1, 0]], "mode": "symmetric"}, {"x": "normal:2x3x5x6"}, "torch"),
        ({"padding": [[-1, 2], [1, -2]], "mode": "circular"}, {"x": "normal:2x3x5x6"}, "torch"),
    ],
}


@pytest.fixture(scope="module")
def suite() -> dict[str, list[tuple[Any, Any]]]:
    """Return, by layer, tasks and what our kernels compute of them."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for layer, probes in PROBES.items():
        cases = [(dict(p.params), dict(p.tensors), "torch") for p in probes] + MORE[layer]
        for params, tensors, convention in cases:
            made = result_of(layer, params, tensors, convention=convention).tensors
            names = case_of(layer, params, tensors, convention=convention).sources
            arrays = {name: made[name].array for name in names}
            task = task_of(layer, params, arrays, convention=convention)
            found.setdefault(layer, []).append((task, ours_of(task)))
    return found


def _verdicts(module: Any, tasks: list[tuple[Any, Any]]) -> set[tuple[str, str | None]]:
    other = module.Loops()
    return {
        (check.verdict, check.reason)
        for task, ours in tasks
        for check in check_against(other, task, ours, Tolerance()).checks
    }


@pytest.mark.parametrize("layer", FAULTS)
def test_the_suite_passes_without_a_fault(layer: str, suite: Any) -> None:
    assert _verdicts(loops, suite[layer]) == {("pass", None)}


@pytest.mark.parametrize(
    "layer, name", [(layer, name) for layer, faults in FAULTS.items() for name in faults]
)
def test_the_fault_is_caught(layer: str, name: str, suite: Any) -> None:
    old, new = FAULTS[layer][name]
    source = inspect.getsource(loops)
    assert source.count(old) == 1, f"{source.count(old)} places in the loops read {old!r}"
    copy = types.ModuleType("faulty_loops")
    exec(compile(source.replace(old, new), "<faulty loops>", "exec"), copy.__dict__)
    assert ("fail", "wrong values") in _verdicts(copy, suite[layer])


SAME = [("same", [21, 32, 43, 4]), ("same-lower", [10, 21, 32, 43])]


def _same(padding: str) -> tuple[list[float], list[float]]:
    """Return x * (1, 10) and the pooled maximum of pairs, for x = 1, 2, 3, 4."""
    x = {"values": [[[1, 2, 3, 4]]]}
    conv = result_of("conv", {"padding": padding}, {"x": x, "w": {"values": [[[1, 10]]]}})
    pool = result_of("pool", {"kernel": 2, "stride": 1, "padding": padding}, {"x": x})
    return (
        conv.tensors["y"].array.ravel().tolist(),
        pool.tensors["y"].array.ravel().tolist(),
    )


@pytest.mark.parametrize("padding, want", SAME)
def test_the_side_of_same(padding: str, want: list[float]) -> None:
    pooled = [2, 3, 4, 4] if padding == "same" else [1, 2, 3, 4]
    assert _same(padding) == (want, pooled)


def test_same_and_same_lower_exchanged_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    source = inspect.getsource(sliding).replace(
        'if value == "same" else', 'if value != "same" else'
    )
    copy = types.ModuleType("faulty_sliding")
    exec(compile(source, "<faulty shape rule>", "exec"), copy.__dict__)
    for layer in (conv_layer, pool_layer):
        monkeypatch.setattr(layer, "resolve_padding", copy.__dict__["resolve_padding"])
    for padding, want in SAME:
        assert _same(padding)[0] != want


def test_there_are_as_many_faults_as_promised() -> None:
    least = {"conv": 13, "pool": 8, "bn": 8, "pad": 6}
    assert all(len(FAULTS[layer]) >= count for layer, count in least.items())
    assert np.prod([len(faults) for faults in FAULTS.values()]) > 0

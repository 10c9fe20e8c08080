"""Random geometries over all parameters at once: the installed libraries and the loops must agree.

`CNNCLI_GEOMETRIES` is how many a layer (300 unless set). Failures shrink to the smallest geometry.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cnncli.cases.assertions import Tolerance
from cnncli.errors import CnncliError
from cnncli.implementations.table import resolve
from tests.building import check_against, ours_of, task_of

GEOMETRIES = int(os.environ.get("CNNCLI_GEOMETRIES", "300"))
OTHERS = ["onnx", "loops"]
OTHERS += [name for name in ("torch", "keras") if importlib.util.find_spec(name)]
JUDGED: Counter[tuple[str, str]] = Counter()

every = settings(
    max_examples=GEOMETRIES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def others() -> dict[str, Any]:
    return {name: one for name in OTHERS for one in resolve(name)}


def _judge(others: dict[str, Any], layer: str, params: Any, arrays: Any, convention: str) -> None:
    try:
        task = task_of(layer, params, arrays, convention=convention)
    except CnncliError:
        assume(False)
        raise
    ours = ours_of(task)
    for name, other in others.items():
        judged = check_against(other, task, ours, Tolerance())
        for check in judged.checks:
            if name == "keras" and check.tensor == "dx" and len(task.problem.plan.spatial) == 3:
                continue  # its MaxPool3DGrad shares a tie in a way of its own
            assert check.verdict in ("pass", "skipped"), check
            JUDGED[layer, name] += check.verdict == "pass"


@st.composite
def _windows(draw: st.DrawFn, rank: int, *, pooling: bool = False) -> tuple[Any, Any, Any]:
    """Draw (spatial, kernel, parameters): uneven axes, remainders, padding of every form."""
    axes = st.integers(0, 9)
    spatial, kernel, stride, dilation, pads = [], [], [], [], []
    # Kernels have ways of their own where every stride is 1.
    strides = draw(st.sampled_from([st.just(1), st.integers(1, 3)]))
    for _ in range(rank):
        k, s, d = draw(st.integers(1, 3)), draw(strides), draw(st.sampled_from([1, 2]))
        span = d * (k - 1) + 1
        most = max(0, span // 2) if pooling else span
        pad = [draw(st.integers(0, most)), draw(st.integers(0, most))]
        least = max(1, span - sum(pad))
        spatial.append(least + draw(axes) % (3 if rank == 3 else 5))
        kernel.append(k)
        stride.append(s)
        dilation.append(d)
        pads.append(pad)
    form = draw(st.sampled_from(["pairs", "pairs", "numbers", "same", "same-lower", "valid"]))
    padding: Any = {"pairs": pads, "numbers": [pair[0] for pair in pads]}.get(form, form)
    return spatial, kernel, {"stride": stride, "dilation": dilation, "padding": padding}


def _normal(seed: int, **shapes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


ranks = st.sampled_from([1, 2, 2, 2, 3])
seeds = st.integers(0, 2**16)


@every
@given(st.data())
def test_convolution(others: dict[str, Any], data: Any) -> None:
    rank, groups = data.draw(ranks), data.draw(st.integers(1, 3))
    spatial, kernel, params = data.draw(_windows(rank))
    transposed = data.draw(st.booleans())
    c, f = groups * data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 3))
    params |= {"groups": groups, "transposed": transposed}
    if transposed and not isinstance(params["padding"], str):
        highest = [max(s, d) - 1 for s, d in zip(params["stride"], params["dilation"], strict=True)]
        params["output_padding"] = [data.draw(st.integers(0, most)) for most in highest]
    rows, columns = (c, f // groups) if transposed else (f, c // groups)
    shapes = {
        "x": (data.draw(st.integers(1, 2)), c, *spatial),
        "w": (rows, columns, *kernel),
    }
    if data.draw(st.booleans()):
        shapes["b"] = (f,)
    _judge(others, "conv", params, _normal(data.draw(seeds), **shapes), "torch")


@every
@given(st.data())
def test_pooling(others: dict[str, Any], data: Any) -> None:
    rank = data.draw(ranks)
    spatial, kernel, params = data.draw(_windows(rank, pooling=True))
    convention = data.draw(st.sampled_from(["torch", "onnx", "keras"]))
    params |= {
        "kernel": kernel,
        "mode": data.draw(st.sampled_from(["max", "avg", "avg"])),
        "ceil_mode": data.draw(st.booleans()),
    }
    if params["mode"] == "avg":
        if data.draw(st.booleans()):
            params["dilation"] = 1  # torch has none
        if convention != "keras" and data.draw(st.booleans()):
            params["count_include_pad"] = data.draw(st.booleans())
    if data.draw(st.integers(0, 4)) == 0:
        del params["stride"]
    if data.draw(st.integers(0, 9)) == 0:
        params = {"kernel": "global", "mode": params["mode"]}
    x = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)), *spatial)
    arrays = _normal(data.draw(seeds), x=x)
    if data.draw(st.booleans()):
        arrays["x"] = np.round(arrays["x"])  # ties
    _judge(others, "pool", params, arrays, convention)


@every
@given(st.data())
def test_batch_normalization(others: dict[str, Any], data: Any) -> None:
    rank, c = data.draw(ranks), data.draw(st.integers(1, 3))
    spatial = [data.draw(st.integers(1, 4)) for _ in range(rank)]
    x = (data.draw(st.integers(1, 3)), c, *spatial)
    arrays = _normal(data.draw(seeds), x=x, gamma=(c,), beta=(c,))
    arrays["x"] = arrays["x"] * data.draw(st.sampled_from([0.5, 4])) + data.draw(
        st.sampled_from([0, -3])
    )
    # A batch of few values has a variance near nothing, which magnifies every rounding.
    params: dict[str, Any] = {}
    if data.draw(st.booleans()):
        params["eps"] = data.draw(st.sampled_from([1e-5, 1e-3, 0.5]))
    if data.draw(st.booleans()):
        arrays |= _normal(data.draw(seeds), running_mean=(c,), running_var=(c,))
        arrays["running_var"] = np.abs(arrays["running_var"]) + 0.1
        params["training"] = data.draw(st.booleans())
        if params["training"] and data.draw(st.booleans()):
            params["momentum"] = data.draw(st.sampled_from([0.0, 0.25, 0.9, 1.0]))
    convention = data.draw(st.sampled_from(["torch", "onnx", "keras"]))
    _judge(others, "bn", params, arrays, convention)


@every
@given(st.data())
def test_padding(others: dict[str, Any], data: Any) -> None:
    rank = data.draw(ranks)
    modes = ["constant", "reflect", "replicate", "circular", "symmetric"]
    mode = data.draw(st.sampled_from(modes))
    spatial = [data.draw(st.integers(1, 5)) for _ in range(rank)]
    pads = []
    for size in spatial:
        low, high = data.draw(st.integers(-2, 3)), data.draw(st.integers(-2, 3))
        kept = max(1, size + min(0, low) + min(0, high))
        most = {"reflect": kept - 1, "circular": kept, "symmetric": kept}.get(mode, 9)
        pads.append([min(low, most), min(high, most)])
    params: dict[str, Any] = {"padding": pads, "mode": mode}
    if mode == "constant":
        params["value"] = data.draw(st.sampled_from([0.0, 1.5, -2.25]))
    x = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)), *spatial)
    _judge(others, "pad", params, _normal(data.draw(seeds), x=x), "torch")


def test_zz_every_pair_was_really_judged() -> None:
    """Geometries that everyone skips would prove nothing."""
    if not JUDGED:
        pytest.skip("runs after the others, in the same process")
    for layer in {layer for layer, _ in JUDGED}:
        for name in OTHERS:
            assert JUDGED[layer, name] >= GEOMETRIES // 2, JUDGED

"""An explanation adds up to the tensor's own element, whatever the geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncli.errors import CnncliError
from cnncli.layers.base import Plan, Request, Tensors
from cnncli.layers.explain.parts import Explanation
from cnncli.layers.explain.table import EXPLAINERS
from cnncli.layers.table import LAYERS

Shapes = dict[str, tuple[int, ...]]


class Drawer:
    """Draws uneven axes of one spatial rank."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rank = draw(st.sampled_from([1, 2, 2, 3]))
        self.groups = draw(st.sampled_from([1, 1, 2, 3]))
        self.channels = self.groups * draw(st.integers(1, 2))
        self.x = (draw(st.integers(1, 3)), self.channels, *self.per_axis(1, 7))

    def per_axis(self, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.draw(st.integers(low, high)) for _ in range(self.rank))

    def pairs(self, low: int, high: int) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self.per_axis(low, high), self.per_axis(low, high), strict=True))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def conv(self) -> tuple[dict[str, Any], Shapes]:
        params: dict[str, Any] = {
            "stride": self.per_axis(1, 3),
            "padding": self.pairs(0, 2),
            "dilation": self.per_axis(1, 2),
            "groups": self.groups,
            "transposed": self.flag(),
        }
        f, kernel = self.draw(st.integers(1, 2)), self.per_axis(1, 3)
        shapes: Shapes = {"w": (f * self.groups, self.channels // self.groups, *kernel)}
        if params["transposed"]:
            params["output_padding"] = self.per_axis(0, 1)
            shapes["w"] = (self.channels, f, *kernel)
        return params, shapes | ({"b": (f * self.groups,)} if self.flag() else {})

    def pool(self) -> tuple[dict[str, Any], Shapes]:
        params: dict[str, Any] = {"mode": self.draw(st.sampled_from(["max", "avg"]))}
        params["kernel"] = "global" if self.draw(st.integers(0, 3)) == 0 else self.per_axis(1, 3)
        if params["kernel"] != "global":
            params |= {
                "stride": self.per_axis(1, 3),
                "padding": self.pairs(0, 1),
                "dilation": self.per_axis(1, 2),
                "ceil_mode": self.flag(),
            }
        return params | ({"count_include_pad": self.flag()} if params["mode"] == "avg" else {}), {}

    def bn(self) -> tuple[dict[str, Any], Shapes]:
        params: dict[str, Any] = {"eps": self.draw(st.sampled_from([1e-5, 0.5]))}
        if not self.flag():
            return params, {}
        channel = (self.channels,)
        running: Shapes = {"running_mean": channel, "running_var": channel}
        return params | {"training": self.flag()}, running

    def pad(self) -> tuple[dict[str, Any], Shapes]:
        modes = ["constant", "reflect", "replicate", "circular", "symmetric"]
        mode = self.draw(st.sampled_from(modes))
        params = {"padding": self.pairs(-2, 3), "mode": mode}
        return params | ({"value": 2.5} if mode == "constant" else {}), {}


@st.composite
def cases(draw: st.DrawFn, layer: str) -> tuple[Plan, Tensors, np.random.Generator]:
    """Draw a layer's plan over uneven axes, and all its tensors, of small whole numbers."""
    drawer = Drawer(draw)
    params, more = getattr(drawer, layer)()
    shapes: Shapes = {"x": drawer.x, **more}
    request = Request(
        params=LAYERS[layer].Params(**params),
        given={},
        tensors=dict.fromkeys(shapes, ""),
        shapes=shapes,
    )
    try:
        plan = LAYERS[layer].plan(request)
    except CnncliError:
        assume(False)
        raise AssertionError from None
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tensors: Tensors = {
        name: rng.integers(-4, 5, shape).astype(np.float64)
        for name, shape in {**plan.inputs, "dy": plan.upstream}.items()
    }
    if "running_var" in tensors:
        tensors["running_var"] = rng.random(drawer.channels) + 0.5
    if layer == "bn":
        tensors["x"] += rng.standard_normal(tensors["x"].shape)
    tensors |= LAYERS[layer].forward(plan, tensors)
    tensors |= LAYERS[layer].backward(plan, tensors)
    return plan, tensors, rng


def explain(plan: Plan, tensors: Tensors, name: str, rng: np.random.Generator) -> Explanation:
    index = tuple(int(rng.integers(size)) for size in tensors[name].shape)
    found = EXPLAINERS[plan.layer](plan, tensors, name, index)
    assert found.element == tensors[name][index]
    for region in found.reads:
        for (start, stop, _), size in zip(region.ranges, tensors[region.name].shape, strict=True):
            assert 0 <= start < stop <= size
    for terms in (*found.terms, *found.aside):
        for row in range(len(terms)):
            for element in terms.row(row):
                if element.index:
                    assert tensors[element.name][element.index] == element.value
    return found


@pytest.mark.parametrize("layer", ["conv", "pad"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_linear_layers_on_whole_numbers_are_exact(layer: str, data: st.DataObject) -> None:
    plan, tensors, rng = data.draw(cases(layer))
    for name in (*plan.outputs, *plan.gradients) * 4:
        found = explain(plan, tensors, name, rng)
        assert found.sum == found.element


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pool(data: st.DataObject) -> None:
    plan, tensors, rng = data.draw(cases("pool"))
    for name in (*plan.outputs, *plan.gradients):
        found = explain(plan, tensors, name, rng)
        if plan.params["mode"] == "max":
            assert found.sum == found.element
        else:
            assert found.sum == pytest.approx(found.element, rel=1e-13, abs=1e-13)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_batch_norm(data: st.DataObject) -> None:
    plan, tensors, rng = data.draw(cases("bn"))
    if plan.params["training"]:
        # Statistics of very few elements may leave no variance, where rounding is all there is.
        assume(float(tensors["x"].var(axis=(0, *range(2, tensors["x"].ndim))).min()) > 0.1)
    for name in (*plan.outputs, *plan.gradients):
        found = explain(plan, tensors, name, rng)
        size = sum(float(np.abs(terms.products).sum()) for terms in found.terms)
        assert abs(found.sum - found.element) <= 1e-12 * max(size, 1.0)


def test_padding_and_products_of_a_window_are_the_whole_window() -> None:
    x = np.ones((1, 2, 3, 3))
    request = Request(
        params=LAYERS["conv"].Params(padding=1),
        given={},
        tensors={"x": "", "w": ""},
        shapes={"x": x.shape, "w": (1, 2, 3, 3)},
    )
    plan = LAYERS["conv"].plan(request)
    tensors: Tensors = {"x": x, "w": np.ones((1, 2, 3, 3))}
    tensors |= LAYERS["conv"].forward(plan, tensors)
    corner = EXPLAINERS["conv"](plan, tensors, "y", (0, 0, 0, 0))
    assert (len(corner.terms[0]), corner.padding) == (8, 10)
    assert corner.reads[0].ranges == ((0, 1, 1), (0, 2, 1), (0, 2, 1), (0, 2, 1))


def test_winner_runner_up_and_ties() -> None:
    x = np.array([[[[1.0, 5.0], [5.0, 2.0]], [[1.0, np.nan], [7.0, np.nan]]]])
    plan = LAYERS["pool"].plan(
        Request(
            params=LAYERS["pool"].Params(kernel=2),
            given={},
            tensors={"x": ""},
            shapes={"x": x.shape},
        )
    )
    tensors: Tensors = {"x": x, "dy": np.array([[[[3.0]], [[4.0]]]])}
    tensors |= LAYERS["pool"].forward(plan, tensors)
    tensors |= LAYERS["pool"].backward(plan, tensors)
    tied = EXPLAINERS["pool"](plan, tensors, "y", (0, 0, 0, 0))
    assert tied.winner is not None
    assert tied.runner_up is not None
    assert (tied.winner.index, tied.runner_up.index) == ((0, 0, 0, 1), (0, 0, 1, 0))
    assert tied.note == "a tie: the first in row-major order wins"
    odd = EXPLAINERS["pool"](plan, tensors, "indices", (0, 1, 0, 0))
    assert odd.winner is not None
    assert (odd.winner.index, odd.sum) == ((0, 1, 0, 1), 1.0)
    lost = EXPLAINERS["pool"](plan, tensors, "dx", (0, 0, 1, 0))
    assert (lost.sum, lost.note) == (0.0, "it wins no window, so nothing reaches it")

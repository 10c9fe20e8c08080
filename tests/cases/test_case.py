from __future__ import annotations

from typing import Any

import pytest

from cnncli.cases.assertions import Tolerance, parse_index
from cnncli.cases.flags import expectations_from, layer_entries, placed
from cnncli.cases.node import from_data, nearest
from cnncli.cases.probes import PROBES, probe_entries
from cnncli.errors import CnncliError
from cnncli.layers.parameters import Kind, Padding, PerAxis, Real, Whole
from cnncli.layers.table import LAYERS
from tests.layers.cases import entry

CONV = {"x": "normal:1x2x3x4", "w": "normal:2x2x2x2"}


@pytest.mark.parametrize(
    "more, backward",
    [
        ({}, False),
        ({"backward": True}, True),
        ({"expect": {"dw": {"sum": 1}}}, True),
        ({"expect": {"y": {"sum": 1}}}, False),
        ({"gradcheck": True}, True),
        ({"gradcheck": False}, False),
        ({"gradcheck": {}}, True),
    ],
)
def test_when_gradients_are_wanted(more: dict[str, Any], backward: bool) -> None:
    assert entry("conv", {}, CONV, **more).build().wants_backward is backward
    assert entry("conv", {}, {**CONV, "dy": "ones"}, **more).build().wants_backward


def test_given_knows_what_was_written() -> None:
    case = entry("conv", {"stride": 1}, CONV).build()
    assert case.given == {"stride": "the test"}
    assert case.params.stride == case.params.dilation == 1


@pytest.mark.parametrize(
    "text, value",
    [
        *(("1", 1), ("1,2", (1, 2)), ("0:1", ((0, 1),)), ("0:1,2:1", ((0, 1), (2, 1)))),
        *(
            (" 1 , 2 ", (1, 2)),
            ("same", "same"),
            ("valid", "valid"),
            ([[0, 1], [2, 1]], ((0, 1), (2, 1))),
        ),
        *((3, 3), ([1, 2], (1, 2))),
    ],
)
def test_padding_reads(text: object, value: object) -> None:
    assert Padding().parse(text) == value


REFUSED: dict[Kind, list[Any]] = {
    Padding(): [":", "1:", "1:2:3", [], [[]], [[1]], "1,,2", None, {}, 1.0],
    PerAxis(): ["", "0", "1,", [], [True], None, {}, 1.0, "٣", "global"],
    Whole(): ["", "1.0", True, None, 2**31, "1e3", 0],
    Real(minimum=0.0): ["", "x", True, None, "nan", -1, [1], 10**400],
}


@pytest.mark.parametrize("kind, data", [(kind, bad) for kind in REFUSED for bad in REFUSED[kind]])
def test_parameters_refuse(kind: Kind, data: object) -> None:
    with pytest.raises(CnncliError):
        kind.parse(data)


def test_flags_stand_at_their_names() -> None:
    nodes = placed({"output_padding": "1", "backward": False, "seed": None})
    assert {key: node.where for key, node in nodes.items()} == {
        "output_padding": "--output-padding",
        "backward": "--no-backward",
    }
    params = layer_entries(LAYERS["bn"], {"training": False})["params"].mapping("params")
    assert params["training"].where == "--inference"


def test_expectations_of_one_tensor_add_up() -> None:
    asked = expectations_from(["zeros", "y=ones", "dw=a.npy"], LAYERS["conv"])
    assert {name: node.data() for name, node in asked.items()} == {
        "y": [{"npy": "zeros"}, {"npy": "ones"}],
        "dw": [{"npy": "a.npy"}],
    }


def test_index() -> None:
    node = from_data([1, -2, "1:3", ":", "-2:", ":-1"], "f")
    assert parse_index(node) == (1, -2, slice(1, 3), slice(None), slice(-2, None), slice(None, -1))
    for bad in ("1", "a:", "1:2:3", "-:", True, 1.0, None, "٣:"):
        with pytest.raises(CnncliError):
            parse_index(from_data([bad], "f"))


def test_tolerance_over() -> None:
    above, below = Tolerance(rtol=0.0), Tolerance(rtol=1.0, atol=2.0, equal_nan=True)
    assert above.over(below) == Tolerance(rtol=0.0, atol=2.0, equal_nan=True)


def test_nearest() -> None:
    assert nearest("strid", ["stride", "padding"]) == " (did you mean stride?)"
    assert nearest("zzz", ["stride"]) == ""


def test_seeds_reach_as_far_as_the_generators() -> None:
    assert entry("conv", {}, CONV, seed=2**63 - 1).build().settings.seed == 2**63 - 1
    with pytest.raises(CnncliError, match="seed"):
        entry("conv", {}, CONV, seed=2**63).build()


@pytest.mark.parametrize("layer", LAYERS)
def test_probes_take_flags_on_top(layer: str) -> None:
    flags = placed({"seed": "3"})
    entries = probe_entries(LAYERS[layer], flags)
    assert len({e.name for e in entries}) == len(entries) == len(PROBES[layer])
    assert {e.build().settings.seed for e in entries} == {3}

"""benchdnn's descriptors: the shapes and windows that its own rules give, checked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnncli.cases.config import read_entries
from cnncli.errors import CnncliError
from cnncli.layers.base import Plan
from cnncli.runs.one import plan_case
from cnncli.runs.options import RunOptions


def plan(tmp_path: Path, layer: str, descriptor: str, more: str = "") -> Plan:
    file = tmp_path / "c.yaml"
    file.write_text(f"layer: {layer}\ndescriptor: '{descriptor}'\n{more}")
    (entry,) = read_entries(str(file))
    return plan_case(entry.build(), RunOptions()).plan


CONV: list[tuple[str, dict[str, Any]]] = [
    # The issue's own: one number of an axis stands for both; h alone is square.
    (
        "g2mb2ic4ih9oc6kh3sh2ph1",
        {"x": (2, 4, 9, 9), "w": (6, 2, 3, 3), "y": (2, 6, 5, 5), "padding": ((1, 1), (1, 1))},
    ),
    # AlexNet and ResNet-50's first layers, as benchdnn lists them. 224 needs 3 before and 2 after.
    (
        'ic3ih227iw227_oc96oh55ow55_kh11kw11_sh4sw4ph0pw0_n"alexnet:conv1"',
        {"x": (2, 3, 227, 227), "y": (2, 96, 55, 55), "padding": ((0, 0), (0, 0))},
    ),
    (
        'mb1ic3ih224oc64oh112kh7sh2ph3n"resnet_50:conv1"',
        {"x": (1, 3, 224, 224), "y": (1, 64, 112, 112), "padding": ((3, 2), (3, 2))},
    ),
    # Output given, padding not: (3-1)*2+3-5 = 2 rows, one each side; columns follow the rows.
    ("ic2ih5oc3oh3kh3sh2", {"y": (2, 3, 3, 3), "padding": ((1, 1), (1, 1))}),
    # Dilation counts what lies between: dh1 is a step of 2, so 3 rows cover 5.
    ("ic2ih9oc3kh3dh1", {"dilation": (2, 2), "y": (2, 3, 5, 5)}),
    # Unequal axes, rows at the end that no window reaches.
    (
        "mb3ic2ih8iw7oc4oh3ow3kh3kw2sh2sw2ph0",
        {"x": (3, 2, 8, 7), "w": (4, 2, 3, 2), "y": (3, 4, 3, 3), "padding": ((0, 0), (0, 0))},
    ),
    ("ic2iw9oc3kw3pw1", {"x": (2, 2, 9), "w": (3, 2, 3), "y": (2, 3, 9)}),
    ("ic2id4ih5oc3kd2", {"x": (2, 2, 4, 5, 5), "w": (3, 2, 2, 2, 2), "y": (2, 3, 3, 4, 4)}),
]


@pytest.mark.parametrize("descriptor, expected", CONV, ids=[d for d, _ in CONV])
def test_conv(tmp_path: Path, descriptor: str, expected: dict[str, Any]) -> None:
    found = plan(tmp_path, "conv", descriptor)
    known = {**found.params, **found.inputs, **found.outputs}
    assert {name: known[name] for name in expected} == expected


def test_pool_takes_mode_beside_it(tmp_path: Path) -> None:
    text = 'mb96ic768_ih17oh17_kh3sh1ph1n"googlenet_v3:ave_pool_mixed_4_pool"'
    found = plan(tmp_path, "pool", text, "params: {mode: avg}")
    assert found.inputs["x"] == (96, 768, 17, 17)
    assert found.upstream == (96, 768, 17, 17)
    assert found.params["mode"] == "avg"
    assert found.params["kernel"] == (3, 3)


def test_bn(tmp_path: Path) -> None:
    found = plan(tmp_path, "bn", "mb4ic3ih5iw2eps0.001")
    assert found.inputs["x"] == (4, 3, 5, 2)
    assert found.params["eps"] == 0.001


def test_transposed_reads_as_deconvolution(tmp_path: Path) -> None:
    found = plan(tmp_path, "conv", "mb2ic4ih5oc6kh3sh2ph1", "params: {transposed: true}")
    assert found.inputs["w"] == (4, 6, 3, 3)
    assert found.upstream == (2, 6, 9, 9)


def test_kinds_of_tensors_stand_beside_it(tmp_path: Path) -> None:
    more = 'tensors: {x: "uniform,low=1,high=3", w: {random: integers}, b: ones}'
    file = tmp_path / "c.yaml"
    file.write_text(f"layer: conv\ndescriptor: ic2ih5oc3kh3\n{more}")
    (entry,) = read_entries(str(file))
    texts = {name: source.text for name, source in entry.build().sources.items()}
    assert texts == {
        "x": "uniform:2x2x5x5,high=3,low=1",
        "w": "integers:3x2x3x3",
        "b": "ones",
    }


@pytest.mark.parametrize(
    "layer, descriptor, more, message",
    [
        ("conv", "ic2oc3kh3", "", "no input size"),
        ("conv", "ic2ih5oc3", "", "does not say kh"),
        ("conv", "ih5oc3kh3", "", "does not say ic"),
        ("conv", "ic2ih5oc3kh3kh2", "", "kh stands twice"),
        ("conv", "ic2ih5oc3kh3zz4", "", "'zz' means nothing here"),
        ("conv", "ic2ih5oc3kh", "", "'kh' does not read as letters and a number"),
        ("conv", "g3ic2ih5oc3kh3", "", "g3 does not divide ic2"),
        ("conv", "ic2iw5oc3kw3kh3", "", "kh is of an axis that the input, w, has not"),
        ("conv", "ic2ih9oc3oh3kh3ph1", "", "would crop"),
        ("conv", "ic2ih5oc3kh3sh0", "", "sh must be at least 1"),
        ("conv", "ic2ih5oc3kh3", "params: {stride: 2}", "stride is written beside a descriptor"),
        ("conv", "ic2ih5oc3kh3", 'tensors: {x: "normal:2x3"}', "tensor x is written beside"),
        ("conv", "ic2ih5oc3kh3", "tensors: {w: w.npy}", "tensor w is written beside"),
        ("pad", "ic2ih5", "", "descriptor is for conv, pool, bn"),
        ("pool", "ic2ih5kh3oc3", "", "'oc' means nothing here"),
    ],
)
def test_what_it_cannot_mean(
    tmp_path: Path, layer: str, descriptor: str, more: str, message: str
) -> None:
    with pytest.raises(CnncliError) as caught:
        plan(tmp_path, layer, descriptor, more)
    assert message in caught.value.message
    assert str(caught.value.where).startswith(f"{tmp_path}/c.yaml:")

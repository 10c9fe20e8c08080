from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.shell import call

CONV = ("conv", "--x", "integers:2x3x6x5", "--w", "integers:4x3x3x2", "-p", "1", "-s", "2,1")


def test_json_holds_every_product(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(monkeypatch, *CONV, "--explain", "1,2,0,3", "--explain", "dw:3,2,-1,1", "--json")
    y, dw = json.loads(found.out)["explanations"]
    assert (y["tensor"], y["index"], y["padding"]) == ("y", [1, 2, 0, 3], 6)
    products = y["terms"][0]["products"]
    assert len(products) == 12
    assert sum(one["product"] for one in products) == y["sum"] == y["element"]
    for one in products:
        left, right = (factor["value"] for factor in one["factors"])
        assert left * right == one["product"]
    assert (dw["tensor"], dw["index"]) == ("dw", [3, 2, 2, 1])
    assert dw["sum"] == pytest.approx(dw["element"], rel=1e-12)


def test_text_says_that_it_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    text = call(monkeypatch, *CONV, "--explain", "1,2,0,3").out
    assert "reads x[1,0:3,0:2,2:4]" in text
    assert "padding: 6 positions" in text
    assert text.count("w[2,") == 13  # twelve products, and where they are read
    assert ": equal\n" in text


def test_gradcheck_explains_too(monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("gradcheck", "bn", "--x", "normal:3x2x3x2", "--explain", "dx:1,1,2,0", "--json")
    (found,) = json.loads(call(monkeypatch, *args).out)["explanations"]
    labels = [terms["label"] for terms in found["terms"]]
    assert labels == ["through x itself", "through the mean", "through the variance"]
    assert found["facts"]["elements"] == 18


@pytest.mark.parametrize(
    "args, text",
    [
        (["--explain", "1,2,0"], "1,2,0 has 3 indices, but y has 4 axes: 2x4x3x6"),
        (["--explain", "1,2,3,0"], "index 3 is outside axis 2 of y, which has 3"),
        (["--explain", "x:0,0,0,0"], "x is given, not computed"),
        (["--explain", "z:0"], "not 'z'"),
        (["--explain", "a,b"], "such as 0,2,3,1"),
        (["--explain", "db:0"], "db is not computed"),
        (["--explain", "dx:0,0,0,0", "--no-backward"], "backward is off"),
    ],
)
def test_bad_elements(monkeypatch: pytest.MonkeyPatch, args: list[str], text: str) -> None:
    found = call(monkeypatch, *CONV, *args)
    assert found.status == 2
    assert "--explain" in found.err
    assert text in found.err


def test_probes_are_many_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(monkeypatch, "gradcheck", "pad", "--explain", "dx:0,0,0,0")
    assert found.status == 2
    assert "giving its tensors" in found.err


@pytest.mark.parametrize("written", ["y[0,0,1,1]", "[0, 0, 1, 1]"])
def test_an_element_is_taken_as_reports_write_it(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    args = ("pool", "--x", "normal:1x1x4x4", "--kernel", "2", "--explain")
    ended = call(monkeypatch, *args, written)
    assert ended.status == 0
    assert "y[0,0,1,1]" in ended.out


LAST = (0, 3, 1, 2)
"""Where each axis of an NCHW tensor stands in N, H, W, C."""
KERNEL_FIRST = (3, 2, 0, 1)


def _channels_last(tensor: str, each: list[Any]) -> list[Any]:
    """Return one thing an axis of NCHW in the order that channels-last arrays have."""
    if len(each) < 3:
        return each
    places = KERNEL_FIRST if tensor in ("w", "dw") else LAST
    turned = [None] * len(each)
    for step, place in zip(each, places, strict=True):
        turned[place] = step
    return turned


def _moved(data: Any) -> Any:
    """Return an explanation's JSON with every index and range as channels-last arrays have it."""
    if isinstance(data, list):
        return [_moved(one) for one in data]
    if not isinstance(data, dict):
        return data
    moved = {key: _moved(value) for key, value in data.items()}
    for key in ("index", "ranges"):
        if key in data:
            moved[key] = _channels_last(data["tensor"], data[key])
    return moved


@pytest.mark.parametrize(
    ("args", "shapes", "elements"),
    [
        (
            ("conv", "-p", "1:0,2:2", "-s", "2,1"),
            {"x": (2, 3, 6, 5), "w": (4, 3, 3, 2), "b": (4,)},
            [("y", (1, 2, 0, 3)), ("dx", (0, 2, 5, 1)), ("dw", (3, 2, 0, 1)), ("db", (3,))],
        ),
        (
            ("pool", "-k", "3,2", "-s", "1,2"),
            {"x": (2, 3, 6, 5)},
            [("y", (1, 2, 3, 1)), ("indices", (0, 1, 2, 0)), ("dx", (1, 0, 4, 3))],
        ),
        (("bn",), {"x": (2, 3, 2, 4)}, [("y", (1, 2, 0, 3)), ("dx", (0, 1, 1, 2))]),
        (
            ("pad", "-p", "1:2,0:1", "--mode", "reflect"),
            {"x": (2, 3, 6, 5)},
            [("y", (1, 2, 0, 5)), ("dx", (0, 1, 5, 3))],
        ),
    ],
)
def test_elements_are_written_and_told_in_the_layout(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    args: tuple[str, ...],
    shapes: dict[str, tuple[int, ...]],
    elements: list[tuple[str, tuple[int, ...]]],
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(9)
    arrays = {name: rng.integers(-4, 5, shape) for name, shape in shapes.items()}
    first = _explained(monkeypatch, args, arrays, elements)
    arrays = {name: np.load(tmp_path / "case" / f"{name}.npy") for name in [*shapes, "dy"]}
    axes = {"w": (2, 3, 1, 0)}
    last = {
        n: a.transpose(axes.get(n, (0, 2, 3, 1))) if a.ndim == 4 else a for n, a in arrays.items()
    }
    asked = [(name, tuple(_channels_last(name, list(index)))) for name, index in elements]
    told = _explained(monkeypatch, (*args, "--layout", "nhwc"), last, asked)
    assert told == _moved(first)
    name, index = asked[0]
    given = [part for key in last for part in (f"--{key}", f"{key}.npy")]
    where = ",".join(map(str, index))
    text = call(monkeypatch, *args, *given, "--layout", "nhwc", "--explain", where).out
    assert f"{name}[{where}] = " in text


def _explained(
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    arrays: dict[str, Any],
    elements: list[tuple[str, tuple[int, ...]]],
) -> Any:
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    given = [part for name in arrays for part in (f"--{name}", f"{name}.npy")]
    asked = [
        part
        for name, index in elements
        for part in ("--explain", f"{name}:{','.join(map(str, index))}")
    ]
    found = call(monkeypatch, *args, *given, *asked, "--backward", "--save", "case", "--json")
    return json.loads(found.out)["explanations"]


def test_a_bad_element_is_told_in_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    pad = ("pad", "--x", "normal:2x4x5x3", "-p", "0", "--layout", "nhwc", "--explain")
    found = call(monkeypatch, *pad, "1,4,0,0")
    assert found.status == 2
    assert "index 4 is outside axis 1 of y, which has 4: 2x4x5x3" in found.err
    assert "y[1,3,4,2] = " in call(monkeypatch, *pad, "1,3,-1,2").out

from __future__ import annotations

import json

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

"""`compare A B --layer`: the cause of a wrong array, as the layer's own checks name it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.invoke import call

GIVEN = ("--given", "x=integers:2x3x6x5", "--given", "w=integers:4x3x3x2", "--given", "stride=2,1")


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    case = ("conv", "--x", "integers:2x3x6x5", "--w", "integers:4x3x3x2", "--stride", "2,1")
    assert call(*case, "--save", "right", "--quiet").status == 0
    np.save("flipped.npy", np.load("right/w.npy")[:, :, ::-1, ::-1])
    wrong = ("--tensors", "right", "--w", "flipped.npy", "--stride", "2,1", "--out", "wrong.npy")
    assert call("conv", *wrong, "--quiet").status == 0
    return tmp_path


@pytest.mark.usefixtures("arrays")
def test_a_wrong_array_is_explained() -> None:
    ended = call("compare", "wrong.npy", "right/y.npy", "--layer", "conv", *GIVEN)
    assert ended.status == 1
    assert "flipped kernel" in ended.out
    told = call("compare", "wrong.npy", "right/y.npy", "--layer", "conv", *GIVEN, "--json")
    causes = json.loads(told.out)["as_layer"]["diagnosis"]
    assert "flipped kernel" in causes[0]["cause"]


@pytest.mark.usefixtures("arrays")
def test_a_right_array_puts_the_blame_on_the_other() -> None:
    ended = call("compare", "right/y.npy", "wrong.npy", "--layer", "conv", *GIVEN)
    assert ended.status == 1
    assert "A is the y of this layer" in ended.out
    assert call("compare", "right/y.npy", "right/y.npy", "--layer", "conv", *GIVEN).status == 0


@pytest.mark.usefixtures("arrays")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--layer", "con"), ("--layer", "did you mean conv?")),
        (("--layer", "conv", "--given", "strid=2"), ("--given", "did you mean stride?")),
        (("--layer", "conv", "--given", "x"), ("--given", "KEY=VALUE")),
        (("--layer", "conv", *GIVEN, "--given", "transposed=1"), ("--given", "true or false")),
        (("--layer", "conv", *GIVEN, "--given", "stride=1"), ("--given", "twice")),
        (("--layer", "conv", *GIVEN, "--tensor", "indices"), ("--tensor", "y, dx, dw, db")),
        (("--given", "x=ones:1x1x2x2"), ("--given", "--layer")),
        (("--layer", "conv"), ("conv needs x",)),
    ],
)
def test_bad_flags_are_told(flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    ended = call("compare", "wrong.npy", "right/y.npy", *flags)
    assert ended.status == 2
    assert ended.out == ""
    assert all(word in ended.err for word in words), ended.err

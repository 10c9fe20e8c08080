"""An array that is held against the wrong tensor is told which one it looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.shell import call

CONV = ("--x", "normal:2x3x5x7", "--w", "normal:4x3x3x2", "--b", "normal", "--stride", "2,1")


@pytest.fixture(autouse=True)
def _arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call(monkeypatch, "conv", *CONV, "--backward", "--save", "right", "--quiet")
    arrays = {name: np.load(f"right/{name}.npy") for name in ("x", "y", "dy", "dx", "dw", "db")}
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.save("mine.npy", arrays["dx"])
    np.savez("all.npz", **arrays)
    np.save("last.npy", np.moveaxis(arrays["y"], 1, -1))


def failed(monkeypatch: pytest.MonkeyPatch, *args: str) -> dict[str, Any]:
    found = call(monkeypatch, *args, "--json")
    assert found.status == 1
    (check,) = [c for c in json.loads(found.out)["checks"] if c["verdict"] == "fail"]
    return dict(check)


@pytest.mark.parametrize("command", [("conv",), ("gradcheck", "conv")])
@pytest.mark.parametrize(
    "written, hint",
    [
        ("dx.npy", "; its shape is that of dx: --expect dx=dx.npy"),
        ("mine.npy", "; its shape is that of dx: --expect dx=mine.npy"),
        ("x.npy", "; its shape is that of x: --expect x=x.npy"),
        ("all.npz:dw", "; its shape is that of dw: --expect dw=all.npz:dw"),
        ("dx=dw.npy", "; its shape is that of dw: --expect dw=dw.npy"),
        ("dw=db.npy", "; its shape is that of db: --expect db=db.npy"),
        ("dx=y.npy", "; its shape is that of y: --expect y=y.npy"),
    ],
)
def test_a_shape_tells_the_tensor(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], written: str, hint: str
) -> None:
    assert failed(monkeypatch, *command, *CONV, "--expect", written)["note"].endswith(hint)
    text = call(monkeypatch, *command, *CONV, "--expect", written).out
    assert text.splitlines()[-1].endswith(hint)  # the line that stays on the screen
    # And what it advises is right.
    assert call(monkeypatch, *command, *CONV, *hint.split(": ")[1].split()).status == 0


@pytest.mark.parametrize("written", ["last.npy", "zeros:2x2", "y=zeros:2x4x2x6"])
def test_what_is_like_nothing_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    note = failed(monkeypatch, "conv", *CONV, "--expect", written).get("note", "")
    assert "its shape" not in note
    assert "called" not in note


def test_a_name_tells_the_tensor_where_shapes_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ("conv", "--x", "normal:2x3x5x7", "--w", "normal:3x3x3x3", "-p", "1")
    call(monkeypatch, *case, "--backward", "--save", "same", "--quiet")
    Path("same/mine.npy").write_bytes(Path("same/dx.npy").read_bytes())
    check = failed(monkeypatch, *case, "--expect", "same/dx.npy")
    assert check["note"] == "it is called dx: --expect dx=same/dx.npy"
    assert "note" not in failed(monkeypatch, *case, "--expect", "same/mine.npy")


def test_several_of_one_shape_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ("bn", "--x", "normal:2x3x5x4")
    check = failed(monkeypatch, *case, "--expect", "zeros:3")
    assert check["note"].endswith("its shape is that of dgamma and dbeta: --expect NAME=zeros:3")


def test_a_config_is_told_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.yaml").write_text(
        "{layer: conv, tensors: {x: x.npy, w: right/w.npy, b: right/b.npy},"
        " params: {stride: [2, 1]}, expect: {y: {npy: dx.npy}}}"
    )
    check = failed(monkeypatch, "run", "c.yaml")
    assert check["note"].endswith("; its shape is that of dx")


def test_channels_last_arrays_are_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ("conv", "--x", "normal:2x5x7x3", "--w", "normal:3x2x3x4", "--layout", "nhwc")
    call(monkeypatch, *case, "--backward", "--save", "last", "--quiet")
    check = failed(monkeypatch, *case, "--expect", "last/dw.npy")
    assert check["note"].endswith("; its shape is that of dw: --expect dw=last/dw.npy")

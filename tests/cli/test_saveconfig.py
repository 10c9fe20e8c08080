from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.shell import call

FILES = ("in/x.npy", "in/all.npz", "in/raw.bin", "in/w é \"'.npy", "-x.npy", "normal")


@pytest.fixture(scope="module")
def folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "in").mkdir()
        (base / "out").mkdir()
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, 4, 6, 5))
        np.save(base / "in/x.npy", x)
        np.savez(base / "in/all.npz", images=x.astype(np.float32))
        (base / "in/raw.bin").write_bytes(x.astype("<f2").tobytes())
        for odd in ("in/w é \"'.npy", "-x.npy", "normal"):
            with (base / odd).open("wb") as stream:
                np.save(stream, rng.standard_normal((4, 2, 3, 2)) if "w" in odd else x)
        (base / "base.yaml").write_text(
            "defaults: {layer: conv, seed: 5, params: {groups: 2}}\n"
            "cases:\n"
            "  - name: 'a/b: #1'\n"
            "    tensors: {x: {npy: in/x.npy, zero_extend: [2, 4, 7, 6]}, w: 'normal:4x2x2x3',\n"
            "              b: {values: [1, -2, .5, 4e-30]}}\n"
            "    expect:\n"
            "      y: [{shape: [2, 4, 6, 4]}, {mean: 0.1, atol: 5},\n"
            "          {at: [0, '1:3', 0, ':1'], values: [[0], [1]], atol: 1e3, rtol: 0.5}]\n"
            "      b: {values: [1, -2, .5, 4e-30], equal_nan: true}\n"
            "      w: {sum_squared_error: {npy: zeros, below: 1e+9}}\n"
            "      x: {channel_mean: [0, 0, 0, .inf], atol: 1}\n"
        )
        yield base


X = st.sampled_from(
    [
        "normal:2x4x6x5",
        "uniform:2x4x6x5,low=-0.1,high=1e-3",
        "in/x.npy",
        "in/all.npz:images",
        "in/raw.bin:float16:2x4x6x5",
        "./normal",
        "./-x.npy",
    ]
)
COMMON = {
    "--seed": st.sampled_from(["0", "7"]),
    "--rng": st.sampled_from(["pcg64", "legacy"]),
    "--dtype": st.sampled_from(["float32", "float64"]),
    "--dy": st.sampled_from(["integers", "ones", "normal"]),
}
AXES = st.sampled_from(["1", "2", "2,1"])
LAYERS: dict[str, dict[str, st.SearchStrategy[str | bool]]] = {
    "conv": {
        "-p": st.sampled_from(["0", "1,2", "0:1,2:0", "same", "valid"]),
        "-s": AXES,
        "-d": st.sampled_from(["1", "1,2"]),
        "--b": st.sampled_from(["normal", "ones:4", "none"]),
        "--transposed": st.booleans(),
        "--expect": st.sampled_from(["w=in/w é \"'.npy", "y=normal", "dw=zeros"]),
        "--rtol": st.sampled_from(["1e-3", "0.5"]),
        "--atol": st.sampled_from(["0", "10"]),
        "--equal-nan": st.booleans(),
    },
    "pool": {
        "-p": st.sampled_from(["0", "1", "0:1", "same-lower"]),
        "-s": AXES,
        "--mode": st.sampled_from(["max", "avg"]),
        "--ceil-mode": st.booleans(),
    },
    "bn": {
        "--eps": st.sampled_from(["0", "1e-5", "0.25"]),
        "--gamma": st.sampled_from(["normal", "uniform:4"]),
        "--beta": st.sampled_from(["normal", "none"]),
        "--training": st.booleans(),
    },
    "pad": {
        "-p": st.sampled_from(["0", "1", "1,2", "-1:2,0:3"]),
        "--mode": st.sampled_from(["constant", "reflect", "wrap", "edge"]),
        "--value": st.sampled_from(["0", "-2.5", "inf"]),
    },
}
NEEDED = {
    "conv": ("--w", "in/w é \"'.npy", "--groups", "2"),
    "pool": ("-k", "2,3"),
    "bn": ("--running-mean", "normal", "--running-var", "uniform,low=0.5,high=2"),
    "pad": ("-p", "1"),
}


@st.composite
def calls(draw: st.DrawFn) -> list[str]:
    layer = draw(st.sampled_from(sorted(LAYERS)))
    command = [layer] if draw(st.booleans()) else ["gradcheck", layer]
    args = [*command, "--x", draw(X), *NEEDED[layer]]
    options = {**COMMON, **LAYERS[layer]}
    for flag in draw(st.lists(st.sampled_from(sorted(options)), unique=True, max_size=6)):
        value = draw(options[flag])
        if isinstance(value, bool):
            negative = "--inference" if flag == "--training" else f"--no-{flag[2:]}"
            args.append(flag if value else negative)
        else:
            args += [flag, value]
    if command[0] == "gradcheck":
        args += ["--elements", "2"]
    elif draw(st.booleans()):
        args.append("--backward")
    return args


def same(data: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal: all but where things were written, and how long it took."""
    data = json.loads(json.dumps(data))
    for key in ("file", "seconds", "reproduce", "explanations"):
        data.pop(key, None)
    for tensor in data["tensors"].values():
        tensor.pop("source", None)
    for check in data["checks"]:
        check.pop("where", None)
    return data


def round_trip(monkeypatch: pytest.MonkeyPatch, args: list[str], config: str) -> bool:
    Path(config).unlink(missing_ok=True)
    first = call(monkeypatch, *args, "--save-config", config, "--json", "--values")
    if first.status == 2:
        assert not Path(config).exists()
        return False
    again = call(monkeypatch, "run", config, "--json", "--values")
    assert again.status == first.status, again.err + Path(config).read_text()
    left, right = (
        [same(json.loads(line)) for line in one.out.splitlines()] for one in (first, again)
    )
    assert left == right
    return True


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(args=calls(), place=st.sampled_from(["c.yaml", "out/c.yaml"]))
def test_any_call_runs_again_to_the_same_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], place: str
) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        round_trip(patch, args, place)


@pytest.mark.parametrize(
    "args",
    [
        ["conv", "--config", "base.yaml::a/b: #1"],
        ["conv", "--config", "base.yaml::a/b: #1", "--b", "zeros:4", "--expect", "b=zeros"],
        ["conv", "--config", "base.yaml::a/b: #1", "--explain", "dx:0,1,2,3", "--seed", "9"],
        ["gradcheck", "pool", "--elements", "3"],
        ["pad", "--x", "in/x.npy", "-p", "0"],
    ],
)
@pytest.mark.parametrize("place", ["c.yaml", "out/c.yaml"])
def test_configs_and_probes_run_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], place: str
) -> None:
    monkeypatch.chdir(folder)
    assert round_trip(monkeypatch, args, place)


def test_paths_are_relative_to_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    call(monkeypatch, "pad", "--x", "in/x.npy", "-p", "1", "--save-config", "out/c.yaml", "--quiet")
    assert '{npy: "../in/x.npy"}' in Path("out/c.yaml").read_text()
    os.symlink("out", "link")
    call(monkeypatch, "pad", "--x", "in/x.npy", "-p", "1", "--save-config", "link/d.yaml")
    assert call(monkeypatch, "run", "out/d.yaml", "--quiet").status == 0


def test_a_bad_call_leaves_no_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    args = ["pad", "--x", "no.npy", "-p", "1", "--save-config", "bad.yaml"]
    assert call(monkeypatch, *args).status == 2
    assert not Path("bad.yaml").exists()
    args = ["pad", "--x", "in/x.npy", "-p", "1", "--save-config", "no/bad.yaml"]
    found = call(monkeypatch, *args)
    assert (found.status, "--save-config" in found.err) == (2, True)

"""What --save writes is what --tensors and --expect read back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.runs import files
from tests.cli.invoke import call, complaint, strict

SETTINGS = settings(deadline=None, derandomize=True, max_examples=25)

SIZES = st.integers(1, 4)
KINDS = st.sampled_from(["normal", "integers", "distinct"])
FLAGS = st.sampled_from([[], ["--dtype", "float32"], ["--dtype", "float64"]])


@st.composite
def calls(draw: st.DrawFn) -> list[str]:
    """Draw a call of a layer command with gradients, over small shapes of any rank."""
    layer = draw(st.sampled_from(["pad", "conv", "pool", "bn"]))
    rank = draw(st.sampled_from([1, 2, 3]))
    kind = draw(KINDS)
    n, c, f = draw(SIZES), draw(SIZES), draw(SIZES)
    spatial = [draw(st.integers(3, 5)) for _ in range(rank)]
    x = [n, c, *spatial]
    args = [layer, "--x", source(kind, x), "--backward"]
    if layer == "conv":
        transposed = draw(st.booleans())
        window = [draw(st.integers(1, 3)) for _ in range(rank)]
        args += ["--w", source(kind, [*((c, f) if transposed else (f, c)), *window]), "-s", "2"]
        args += ["--transposed"] if transposed else ["-p", "1"]
        args += ["--b", "normal"] if draw(st.booleans()) else []
    elif layer == "pool":
        mode = draw(st.sampled_from(["max", "avg"]))
        args += ["-k", "3", "-s", "2", "-p", "1", "--mode", mode]
    elif layer == "bn":
        args += ["--gamma", "normal"] if draw(st.booleans()) else []
        if draw(st.booleans()) and n * int(np.prod(spatial)) > 1:
            args += ["--running-mean", "normal", "--running-var", "uniform"]
            args += ["--training"] if draw(st.booleans()) else []
    else:
        args += ["-p", "1", "--mode", draw(st.sampled_from(["constant", "reflect", "circular"]))]
    return [*args, *draw(FLAGS)]


def source(kind: str, shape: list[int]) -> str:
    return f"{kind}:{'x'.join(map(str, shape))}"


def again(args: list[str], folder: str) -> list[str]:
    """Return the call with its tensors from `folder`, and everything in it expected."""
    kept, skip = [args[0]], False
    sources = ("--x", "--w", "--b", "--gamma", "--running-mean", "--running-var")
    for arg in args[1:]:
        if skip or arg in sources:
            skip = not skip
        else:
            kept.append(arg)
    return [*kept, "--tensors", folder, "--expect", folder]


@SETTINGS
@given(calls())
def test_what_is_saved_reads_back(args: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        saved = call(*args, "--save", folder, "--json")
        assert saved.status == 0, saved.err
        names = sorted(p.stem for p in Path(folder).glob("*.npy"))
        assert names == sorted(saved.result["tensors"])
        ended = call(*again(args, folder), "--json")
        assert ended.status == 0, (args, ended.err, ended.out)
        assert ended.result["status"] == "passed"
        assert [check["tensor"] for check in ended.result["checks"]] == names
        exact = call(*again(args, folder), "--rtol", "0", "--atol", "0", "--quiet")
        if "float32" not in args:
            assert exact.status == 0
        # And the folder is judged: one element moved is found.
        y = np.load(f"{folder}/y.npy")
        y.flat[-1] += 1
        np.save(f"{folder}/y.npy", y)
        assert call(*again(args, folder), "--quiet").status == 1


def test_float32_reads_back_exactly_in_float32(tmp_path: Path) -> None:
    args = ["pool", "--x", "normal:2x3x5x4", "-k", "2", "--dtype", "float32", "--dy", "normal"]
    call(*args, "--save", tmp_path)
    assert np.load(tmp_path / "y.npy").dtype == np.float32
    args = ["pool", "-k", "2", "--tensors", str(tmp_path), "--expect", str(tmp_path)]
    ended = call(*args, "--rtol", "0", "--atol", "0", "--json")
    assert ended.status == 0, ended.out


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) + 2**53
    np.save(tmp_path / "in.npy", x)
    saved = tmp_path / "saved"
    call("pool", "--x", tmp_path / "in.npy", "-k", "2", "--save", saved, "--quiet")
    y = np.load(saved / "y.npy")
    assert y.dtype == np.int64
    assert np.array_equal(y, x[:, :, 1::2, 1:4:2])
    args = ("pool", "--tensors", saved, "-k", "2", "--expect", saved, "--rtol", "0", "--atol", "0")
    assert call(*args).status == 0


def test_nan_reads_back_with_equal_nan_only(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    x[1, 2, 3, 3] = np.nan
    np.save(tmp_path / "in.npy", x)
    saved = tmp_path / "saved"
    call("pool", "--x", tmp_path / "in.npy", "-k", "2", "--dy", "normal", "--save", saved)
    args = ("pool", "--tensors", saved, "-k", "2", "--expect", saved)
    assert call(*args).status == 1
    assert call(*args, "--equal-nan").status == 0
    assert call(*args, "--no-equal-nan").status == 1


def test_result_json_is_the_printed_one(tmp_path: Path) -> None:
    ended = call("pad", "--x", "normal:1x2x3x4", "-p", "1", "--save", tmp_path, "--json")
    assert strict((tmp_path / "result.json").read_text()) == ended.result


def test_stale_tensors_go_and_strangers_stay(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.ones(3))
    args = ("conv", "--x", "normal:1x2x4x5", "--w", "normal:3x2x2x3", "--save", tmp_path)
    call(*args, "--b", "normal", "--backward")
    call(*args)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"mine.npy", "result.json", "x.npy", "w.npy", "y.npy"}
    (tmp_path / "result.json").write_text('{"format": "another", "tensors": {"mine": {}}}')
    call(*args)
    assert (tmp_path / "mine.npy").exists()


def test_stale_list_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.npy"
    outside.write_bytes(b"mine")
    folder = tmp_path / "saved"
    folder.mkdir()
    listed = {"format": "cnncli.result/1", "tensors": {"../outside": {}, 'a"b': {}}}
    (folder / "result.json").write_text(json.dumps(listed))
    assert call("pad", "--x", "ones:1x1x2x2", "-p", "1", "--save", folder).status == 0
    assert outside.exists()


@pytest.mark.parametrize("flag", ["--out", "--save"])
def test_a_failing_write_leaves_the_old_file(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "y.npy"
    call("pad", "--x", "ones:1x1x2x2", "-p", "1", "--out", target, "--quiet")
    before = target.read_bytes()

    def fail(stream: BinaryIO, array: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_array", fail)
    given = target if flag == "--out" else tmp_path
    message = complaint(call("pad", "--x", "zeros:1x1x2x2", "-p", "1", flag, given))
    assert flag in message
    assert "No space left" in message
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["y.npy"]


def test_umask_rules_the_mode(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    call("pad", "--x", "ones:1x1x2x2", "-p", "1", "--out", tmp_path / "y.npy")
    assert (tmp_path / "y.npy").stat().st_mode == plain.stat().st_mode


RUN = """
defaults: {layer: conv, tensors: {x: "normal:2x3x6x5", w: "normal:4x3x3x2"}}
cases:
  - {name: a/strided, params: {stride: [2, 1]}, backward: true}
  - {name: b, tensors: {b: "normal:4"}}
  - {name: bn, layer: bn, tensors: {x: "normal:2x3x6x5", w: none}}
"""


def test_a_batch_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = RUN.replace('  - {name: bn, layer: bn, tensors: {x: "normal:2x3x6x5", w: none}}\n', "")
    Path("c.yaml").write_text(text)
    assert call("run", "c.yaml", "--save", "saved", "--quiet").status == 0
    found = sorted(str(p.relative_to("saved")) for p in Path("saved").rglob("*.npy"))
    names = [f"a/strided/{n}.npy" for n in ("dw", "dx", "dy", "w", "x", "y")]
    assert found == names + [f"b/{n}.npy" for n in ("b", "w", "x", "y")]
    ended = call("run", "c.yaml", "--expect", "saved", "--json")
    assert [result["status"] for result in ended.results] == ["passed", "passed"]
    assert [len(result["checks"]) for result in ended.results] == [6, 4]
    dw = np.load("saved/a/strided/dw.npy")
    dw[3, 2, 1, 0] *= 1.001
    np.save("saved/a/strided/dw.npy", dw)
    ended = call("run", "c.yaml", "--expect", "saved", "--json")
    assert ended.status == 1
    assert [result["status"] for result in ended.results] == ["failed", "passed"]
    failed = [check for check in ended.results[0]["checks"] if check["verdict"] == "fail"]
    assert [(check["tensor"], check["worst"]["index"]) for check in failed] == [
        ("dw", [3, 2, 1, 0])
    ]
    Path("saved/b/y.npy").unlink()
    for path in Path("saved/b").glob("*.npy"):
        path.unlink()
    ended = call("run", "c.yaml", "--expect", "saved", "--json")
    assert ended.status == 2
    assert [result["status"] for result in ended.results] == ["failed", "invalid"]
    assert "saved/b" in ended.err

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.cases.assertions import Tolerance
from cnncli.checks.difference import difference_bytes
from cnncli.runs.comparing import CompareOptions, compare_sources
from tests.cli.shell import call

X = np.random.default_rng(3).standard_normal((2, 3, 6, 5))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)


def answer(monkeypatch: pytest.MonkeyPatch, *args: str) -> tuple[int, dict[str, Any]]:
    found = call(monkeypatch, "compare", *args, "--json")
    return found.status, json.loads(found.out)


def test_one_array_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = np.asfortranarray(X.astype(">f4"))
    odd[0, 0, 0, :4] = np.nan, np.inf, -np.inf, 1e-40
    odd[1, 1, 1, 1] = 0
    np.save("odd.npy", odd)
    status, data = answer(monkeypatch, "odd.npy")
    assert status == 0
    told = data["tensors"]["A"]
    assert (data["status"], told["dtype"], told["order"]) == (
        "done",
        "float32",
        "big-endian, Fortran order",
    )
    assert [told[k] for k in ("nan", "positive_infinity", "negative_infinity")] == [1, 1, 1]
    assert (told["zeros"], told["denormal"], told["nonfinite"]) == (1, 1, 3)
    finite = odd[np.isfinite(odd)].astype(float)
    assert told["mean"] == pytest.approx(finite.mean())
    assert told["quantiles"]["0.5"] == pytest.approx(np.median(finite))
    assert sum(told["histogram"]) == finite.size
    text = call(monkeypatch, "compare", "odd.npy").out
    assert "described: 3 of 180 not finite" in text
    assert "!! not finite" in text  # in the heat map


@pytest.mark.parametrize(
    "change, flags, status",
    [
        (0.0, [], 0),
        (1e-3, [], 1),
        (1e-3, ["--atol", "1.1e-3"], 0),
        (1e-3, ["--atol", "0.9e-3"], 1),
        (np.nan, ["--atol", "10"], 1),
    ],
)
def test_status(
    monkeypatch: pytest.MonkeyPatch, change: float, flags: list[str], status: int
) -> None:
    y = X.copy()
    y[1, 2, 3, 4] += change
    np.save("y.npy", y)
    found, data = answer(monkeypatch, "y.npy", "x.npy", *flags)
    assert found == status
    assert data["difference"]["verdict"] == ("pass" if status == 0 else "fail")
    if status:
        assert data["difference"]["worst"]["index"] == [1, 2, 3, 4]
        assert data["difference"]["mismatched"] == 1


def test_the_least_tolerance_shown_passes_when_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("y.npy", X * (1 + 1.23456e-4))
    text = call(monkeypatch, "compare", "y.npy", "x.npy").out
    (line,) = [line for line in text.splitlines() if line.startswith("would pass")]
    _, _, absolute, relative = line.split()
    assert call(monkeypatch, "compare", "y.npy", "x.npy", "--atol", absolute).status == 0
    assert call(monkeypatch, "compare", "y.npy", "x.npy", "--rtol", relative).status == 0
    less = str(float(relative) * 0.98)
    assert call(monkeypatch, "compare", "y.npy", "x.npy", "--rtol", less).status == 1


def test_shapes_never_broadcast(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("one.npy", X[:, :1])
    status, data = answer(monkeypatch, "x.npy", "one.npy")
    assert status == 1
    assert data["difference"]["reason"] == "wrong shape"
    assert data["difference"]["expected"] == [2, 1, 6, 5]
    np.save("nhwc.npy", X.transpose(0, 2, 3, 1))
    text = call(monkeypatch, "compare", "nhwc.npy", "x.npy")
    assert text.status == 1
    assert "A would be NHWC where B is NCHW" in text.out


def test_any_source(monkeypatch: pytest.MonkeyPatch) -> None:
    X.astype("<f4").tofile("x.bin")
    np.savez("all.npz", x=X.astype(np.float32))
    assert (
        call(monkeypatch, "compare", "x.bin:float32:2x3x6x5", "all.npz:x", "--atol", "0").status
        == 0
    )
    pipe = io.BytesIO()
    np.save(pipe, X)
    assert call(monkeypatch, "compare", "-", "x.npy", stdin=pipe.getvalue()).status == 0
    assert call(monkeypatch, "compare", "-", "-").status == 2
    # Made-up numbers are those of a case's tensor, and a kind alone takes A's shape.
    call(monkeypatch, "pad", "--x", "normal:2x3x6x5", "-p", "0", "--save", "out", "--quiet")
    assert call(monkeypatch, "compare", "out/x.npy", "normal", "--tensor", "x").status == 0
    assert call(monkeypatch, "compare", "out/x.npy", "normal", "--tensor", "w").status == 1
    assert (
        call(monkeypatch, "compare", "out/x.npy", "normal", "--tensor", "x", "--seed", "1").status
        == 1
    )


@pytest.mark.parametrize(
    "args, text",
    [
        (["no.npy"], "A: no.npy: there is no such file"),
        (["x.npy", "normal:2x"], "tensor B"),
        (["normal"], "normal needs a shape, such as normal:2x3x8x8"),
        (["x.npy", "--rtol", "1"], "no B is given"),
        (["x.npy", "none"], "none is no tensor"),
        (["x.npy", "--plane", "5"], "no tensor has the plane 5: A 2x3x6x5"),
        (["x.npy", "--plane", "a"], "a plane is its indices"),
        (["x.npy", "--plane", "0", "--no-show"], "--no-show forbids it"),
        (["x.npy", "x.npy", "--max-memory", "1k"], "more than --max-memory allows"),
        (["x.npy", "--save-report", "x.txt"], "FILE.html"),
        (["x.npy", "--seed", "-1"], "--seed"),
    ],
)
def test_bad_usage(monkeypatch: pytest.MonkeyPatch, args: list[str], text: str) -> None:
    found = call(monkeypatch, "compare", *args)
    assert found.status == 2
    assert text in found.err
    assert found.out == ""


def test_whole_numbers_that_float64_cannot_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("a.npy", np.array([2**53 + 1, 2**63 - 1]))
    np.save("b.npy", np.array([2.0**53, 2.0**63]))
    assert call(monkeypatch, "compare", "a.npy", "b.npy", "--atol", "0").status == 1
    assert call(monkeypatch, "compare", "a.npy", "b.npy", "--atol", "1").status == 0


def test_whole_numbers_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("a.npy", np.array([17446749, 3]))
    np.save("b.npy", np.array([17446750, 3]))
    found = call(monkeypatch, "compare", "a.npy", "b.npy")
    assert found.status == 1
    assert found.out.splitlines()[-1] == "FAILED: 1 of 2 elements differ"
    assert call(monkeypatch, "compare", "a.npy", "a.npy").status == 0


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_arrays_without_axes(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    for name, value in {"a": 3, "b": 4}.items():
        np.save(f"{name}.npy", np.array(value, dtype))
    assert call(monkeypatch, "compare", "a.npy", "a.npy").status == 0
    assert answer(monkeypatch, "a.npy", "b.npy")[1]["difference"]["mean_error"] == -1
    assert call(monkeypatch, "compare", "a.npy", "b.npy").status == 1


def test_ulps_are_of_the_narrower_type(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = X.astype(np.float16)
    np.save("y.npy", narrow)
    _, data = answer(monkeypatch, "y.npy", "x.npy")
    ulps = data["difference"]["ulps"]
    assert ulps["dtype"] == "float16"
    assert 0.4 < ulps["max"] <= 0.5  # rounding to the nearest, of the value before it
    assert ulps["within"]["1"] == X.size


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_memory_stays_within_what_was_judged(dtype: str) -> None:
    size = 200_000
    values = np.random.default_rng(0).integers(-5, 5, size).astype(dtype)
    np.save("a.npy", values)
    np.save("b.npy", values[::-1])
    held = 2 * values.nbytes + difference_bytes(size, dtype == "int32")
    tracemalloc.start()
    compare_sources({"A": "a.npy", "B": "b.npy"}, CompareOptions(tolerance=Tolerance()), "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= held + (1 << 20)


HINT = "what is wrong with A as a layer's "


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("theirs.npy", "y: cnncli conv --x X --w W --expect y=theirs.npy"),
        ("out/dx.npy", "dx: cnncli conv --x X --w W --dy DY --expect dx=out/dx.npy"),
        ("their own.npy", "y: cnncli conv --x X --w W --expect 'y=their own.npy'"),
    ],
)
def test_the_last_line_says_what_would_name_the_cause(
    monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    Path("out").mkdir()
    np.save(name, X + 1)
    assert call(monkeypatch, "compare", name, "x.npy").out.splitlines()[-1] == HINT + told
    np.save(name, X[:1])  # differs by shape
    assert call(monkeypatch, "compare", name, "x.npy").out.splitlines()[-1] == HINT + told


def test_no_command_is_offered_where_it_cannot_help(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("flat.npy", X.reshape(6, 30))
    np.save("other.npy", X + 1)
    pipe = io.BytesIO()
    np.save(pipe, X + 1)
    for args in (["x.npy"], ["x.npy", "x.npy"], ["flat.npy", "x.npy"], ["normal:2x3x6x5", "x.npy"]):
        assert HINT not in call(monkeypatch, "compare", *args).out
    assert HINT not in call(monkeypatch, "compare", "-", "x.npy", stdin=pipe.getvalue()).out
    assert HINT in call(monkeypatch, "compare", "other.npy", "x.npy").out


def test_the_command_of_the_last_line_names_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ("conv", "--x", "x.npy", "--stride", "2,1")
    call(monkeypatch, *case, "--w", "integers:4x3x3x2", "--save", "right", "--quiet")
    np.save("flipped.npy", np.load("right/w.npy")[:, :, ::-1, ::-1])
    call(monkeypatch, *case, "--w", "flipped.npy", "--out", "wrong.npy", "--quiet")
    last = call(monkeypatch, "compare", "wrong.npy", "right/y.npy").out.splitlines()[-1]
    command = last.split(": cnncli ")[1].replace("--x X --w W", "--x x.npy --w right/w.npy")
    found = call(monkeypatch, *command.split(), "--stride", "2,1")
    assert found.status == 1
    assert "flipped kernel" in found.out

"""Diagnosis of mistakes as people write them: plain loops with one slip, not our own table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnncli.checks.diagnosis import diagnose
from cnncli.cli.app import main
from cnncli.layers.base import Array, Problem
from tests.checks.command import expected_check, results
from tests.checks.randomcases import plan_of, with_gradients

Capsys = pytest.CaptureFixture[str]


def conv_case(
    n: int, c: int, f: int, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> Problem:
    layer, plan = plan_of("conv", {"x": (n, c, *size), "w": (f, c, *kernel)}, stride=stride)
    rng = np.random.default_rng(0)
    tensors = {key: rng.normal(size=shape) for key, shape in plan.inputs.items()}
    tensors["dy"] = rng.normal(size=plan.upstream)
    return with_gradients(Problem(layer=layer, plan=plan, tensors=tensors))


def conv_input_gradient(t: dict[str, Array], stride: tuple[int, int], slip: str = "") -> Array:
    """dx by loops over windows, with one slip."""
    x, w, dy = t["x"], t["w"], t["dy"]
    dx = np.zeros_like(x)
    _, _, kh, kw = w.shape
    for n in range(len(x)):
        for f in range(len(w)):
            for i, j in np.ndindex(*dy.shape[2:]):
                value = dy[n, f, i, j]
                if slip == "dy[j, i]":
                    value = dy[n, f, j, i]
                a, b = i * stride[0], j * stride[1]
                if slip == "strides":
                    a, b = i * stride[1], j * stride[0]
                if slip == "no stride":
                    a, b = i, j
                kernel = w[f, :, ::-1, ::-1] if slip == "flip" else w[f]
                part = dx[n, :, a : a + kh, b : b + kw]
                part += value * kernel[:, : part.shape[1], : part.shape[2]]
    return dx


@pytest.mark.parametrize(
    "slip, fault, size, kernel, stride",
    [
        ("dy[j, i]", "dy swapped", (7, 7), (3, 2), (2, 2)),
        ("flip", "kernel flipped", (8, 7), (3, 2), (2, 1)),
        ("strides", "strides exchanged", (9, 9), (3, 2), (2, 1)),
        ("no stride", "stride ignored", (9, 8), (3, 2), (2, 3)),
    ],
)
def test_slips_in_the_loops_of_dx(
    slip: str, fault: str, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    if slip == "dy[j, i]":
        kernel = (3, 3)
    problem = conv_case(2, 3, 4, size, kernel, stride)
    tensors = problem.tensors
    right = conv_input_gradient(tensors, stride)
    np.testing.assert_allclose(right, tensors["dx"], rtol=1e-10, atol=1e-12)
    wrong = conv_input_gradient(tensors, stride, slip)
    assert fault in [cause.fault for cause in diagnose(problem, "dx", wrong).causes]


def test_windows_written_over_each_other() -> None:
    problem = conv_case(2, 3, 4, (6, 5), (3, 2), (2, 1))
    tensors = problem.tensors
    dx = np.zeros_like(tensors["x"])
    for i, j in np.ndindex(*tensors["dy"].shape[2:]):
        part = np.einsum("nf,fckl->nckl", tensors["dy"][:, :, i, j], tensors["w"])
        dx[:, :, 2 * i : 2 * i + 3, j : j + 2] = part
    (cause,) = diagnose(problem, "dx", dx).causes
    assert cause.fault == "overwritten"
    assert "+=" in cause.look


def test_bn_as_written_by_hand() -> None:
    layer, plan = plan_of("bn", {"x": (3, 2, 4, 5)})
    rng = np.random.default_rng(0)
    x, dy = rng.normal(2, 3, (2, 3, 2, 4, 5))
    gamma, beta = rng.normal(size=(2, 2))
    tensors = {"x": x, "gamma": gamma, "beta": beta, "dy": dy}
    problem = Problem(layer=layer, plan=plan, tensors=tensors)
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    inverse = 1 / np.sqrt(var + 1e-5)
    hat, g = (x - mean) * inverse, gamma.reshape(1, 2, 1, 1) * dy

    def found(wrong: Array, name: str = "dx") -> list[str]:
        return [cause.fault for cause in diagnose(problem, name, wrong).causes]

    both = g.mean((0, 2, 3), keepdims=True), hat * (g * hat).mean((0, 2, 3), keepdims=True)
    assert found(inverse * (g - both[0] - both[1])) == []  # the right one has no cause
    assert found(inverse * g) == ["statistics constant"]
    assert found(inverse * (g - both[1])) == ["mean term missing"]
    assert found(inverse * (g - both[0])) == ["variance term missing"]
    over_n = g.mean(0, keepdims=True), hat * (g * hat).mean(0, keepdims=True)
    assert found(inverse * (g - over_n[0] - over_n[1])) == ["divided by N"]
    assert found(inverse * (g - 0.5 * both[0] - both[1])) == ["terms weighed"]
    assert found((dy * x).sum((0, 2, 3)), "dgamma") == ["x for xhat"]
    unbiased = (x - mean) / np.sqrt(x.var((0, 2, 3), ddof=1, keepdims=True) + 1e-5)
    y = unbiased * gamma.reshape(1, 2, 1, 1) + beta.reshape(1, 2, 1, 1)
    assert found(y, "y") == ["variance with ddof 1"]


def test_what_no_fault_explains_is_unknown(capsys: Capsys, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    command = ("gradcheck", "conv", "--x", "normal:2x3x7x5", "--w", "normal:4x3x3x2")
    for wrong in (rng.normal(size=(2, 3, 7, 5)), rng.normal(size=(5, 5))):
        np.save(tmp_path / "theirs.npy", wrong)
        expect = f"dx={tmp_path / 'theirs.npy'}"
        status, (result,) = results(capsys, *command, "--expect", expect)
        check = expected_check(result, "dx")
        assert (status, check["verdict"]) == (1, "fail")
        if wrong.shape == (2, 3, 7, 5):
            assert [row["cause"] for row in check["diagnosis"]] == ["unknown"]
        else:  # of an array of another shape that is all there is to say
            assert "diagnosis" not in check
            assert check["note"] == "shapes differ: ours is 2x3x7x5, the given one 5x5"


def test_two_faults_at_once_are_unknown_too() -> None:
    problem = conv_case(2, 3, 4, (8, 7), (3, 2), (2, 1))
    tensors = problem.tensors
    wrong = np.flip(conv_input_gradient(tensors, (2, 1), "flip"), 0) + 0.01 * tensors["x"]
    assert diagnose(problem, "dx", wrong).causes == []


def test_faults_that_coincide_are_named_together_with_a_geometry_that_tells(
    capsys: Capsys, tmp_path: Path
) -> None:
    problem = conv_case(2, 2, 4, (6, 5), (3, 2), (1, 1))
    tensors = problem.tensors
    wrong = 2 * tensors["dx"]
    names = {cause.fault for cause in diagnose(problem, "dx", wrong).causes}
    assert names == {"times 2", "times N", "times C"}
    for name in ("x", "w", "dy"):
        np.save(tmp_path / f"{name}.npy", tensors[name])
    np.save(tmp_path / "theirs.npy", wrong)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("x", "w", "dy"):
        (tmp_path / f"{name}.npy").rename(folder / f"{name}.npy")
    expect = f"dx={tmp_path / 'theirs.npy'}"
    command = ("gradcheck", "conv", "--tensors", str(folder), "--expect", expect)
    _, (result,) = results(capsys, *command)
    tell = expected_check(result, "dx")["tell"]
    assert "cannot tell 'times 2' and 'times N' and 'times C' apart" in tell
    flags = tell.split(": ", 1)[1].split()
    assert results(capsys, "gradcheck", "conv", *flags)[0] == 0


def test_a_factor_without_a_name_is_told_by_its_size() -> None:
    problem = conv_case(2, 3, 4, (6, 5), (3, 2), (1, 1))
    tensors = problem.tensors
    (cause,) = diagnose(problem, "dw", 0.37 * tensors["dw"]).causes
    assert cause.fault == "factor"
    assert "0.37" in cause.cause
    # A NaN, or a right tensor, has no cause.
    assert diagnose(problem, "dw", np.full_like(tensors["dw"], np.nan)).causes == []
    assert diagnose(problem, "dw", tensors["dw"]).causes == []


def test_a_float32_tensor_is_diagnosed_at_its_own_precision() -> None:
    problem = conv_case(2, 3, 4, (9, 8), (3, 2), (2, 1))
    tensors = problem.tensors
    wrong = conv_input_gradient(tensors, (2, 1), "flip").astype(np.float32)
    found = diagnose(problem, "dx", wrong, "float32").causes
    assert [cause.fault for cause in found] == ["kernel flipped"]
    half = wrong.astype(np.float16)
    found = diagnose(problem, "dx", half, "float16").causes
    assert [cause.fault for cause in found] == ["kernel flipped"]


def test_what_is_diagnosed_is_the_given_array(capsys: Capsys) -> None:
    case = ("conv", "--x", "normal:2x3x5x4", "--w", "normal:4x3x3x2")
    expect = ("--expect", "y=zeros", "--expect", "dx=zeros")
    for command in (case, ("gradcheck", *case)):
        _, (result,) = results(capsys, *command, *expect)
        for name in ("y", "dx"):
            check = expected_check(result, name)
            cause = f"the given {name} is all zero: never computed"
            assert check["diagnosis"][0]["cause"] == cause
            assert check["runner_up"]["cause"].startswith(f"the given {name} ")
            assert "sits" not in check
        assert main([*command, *expect, "--no-values"]) == 1
        out = capsys.readouterr().out
        assert "the given dx is all zero" in out
        assert "overlap" not in out


def test_a_wrong_shape_is_told_once_and_without_contradiction(capsys: Capsys) -> None:
    case = ("conv", "--x", "normal:2x3x5x4", "--w", "normal:4x3x3x2", "--no-values")
    note = "shapes differ: ours is 2x4x3x3, the given one 2x4x2x6"
    assert main([*case, "--expect", "y=zeros:2x4x2x6"]) == 1
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("expect npy"))
    assert row.split() == ["expect", "npy", "y", *note.split(), "fail"]
    assert out.splitlines()[-1] == f"FAILED: 1 of 1 check; y expect npy (--expect): {note}"
    assert "unknown" not in out
    assert "diagnosis" not in out


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("db", (4, 1), "4x1 should be 4: drop the last axis"),
        ("db", (1, 4), "1x4 should be 4: drop the first axis"),
        ("db", (1, 4, 1, 1), "1x4x1x1 should be 4: drop axes 0, 2 and 3, of length 1"),
        ("dw", (4, 1, 3, 2), None),
        ("dw", (4, 3, 2), "4x3x2 should be 4x1x3x2: add axis 1, of length 1"),
        ("dw", (4, 3, 1, 2), "4x3x1x2 should be 4x1x3x2: move its axis of length 1"),
    ],
)
def test_axes_of_length_1(name: str, shape: tuple[int, ...], words: str | None) -> None:
    layer, plan = plan_of("conv", {"x": (2, 1, 7, 5), "w": (4, 1, 3, 2), "b": (4,)}, stride=(1, 1))
    rng = np.random.default_rng(0)
    tensors = {key: rng.normal(size=size) for key, size in plan.inputs.items()}
    tensors["dy"] = rng.normal(size=plan.upstream)
    problem = with_gradients(Problem(layer=layer, plan=plan, tensors=tensors))
    tensors = problem.tensors
    causes = diagnose(problem, name, tensors[name].reshape(shape)).causes
    assert [cause.cause for cause in causes] == (
        [f"{name} holds the right values, but {words}"] if words else []
    )
    others = diagnose(problem, name, tensors[name].ravel()[::-1].reshape(shape)).causes
    assert not any(cause.fault == "axes of length 1" for cause in others)


def test_the_plain_cause_goes_before_what_else_gives_zeros(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "dx.npy", np.zeros((3, 4, 5, 2)))
    args = ("gradcheck", "bn", "--x", "normal:3x4x5x2", "--expect", f"dx={tmp_path}/dx.npy")
    check = expected_check(results(capsys, *args)[1][0], "dx")
    assert check["diagnosis"][0]["fault"] == "zero"


def test_windows_that_do_not_overlap_are_not_written_over_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ties all paid look like it, where each window has rows of its own."""
    x = np.zeros((2, 3, 6, 8))
    x[:, :, ::3, ::2] = 1
    x[0, 0, 1, 0] = 1  # a tie: both of them paid
    np.save(tmp_path / "x.npy", x)
    args = ("pool", "--x", f"{tmp_path}/x.npy", "--kernel", "3,2")
    assert main([*args, "--backward", "--save", f"{tmp_path}/s", "--quiet"]) == 0
    dx, dy = (np.load(tmp_path / f"s/{name}.npy") for name in ("dx", "dy"))
    dx[0, 0, 1, 0] = dy[0, 0, 0, 0]
    np.save(tmp_path / "dx.npy", dx)
    result = results(capsys, "gradcheck", *args, "--expect", f"dx={tmp_path}/dx.npy")[1][0]
    faults = [row["fault"] for row in expected_check(result, "dx")["diagnosis"]]
    assert "ties all paid" in faults
    assert "overwritten" not in faults

"""Verdicts through the command: pass, fail, kink, vacuous, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.cli.app import main
from cnncli.layers.base import Array
from tests.checks.command import expected_check, results

Capsys = pytest.CaptureFixture[str]
POOL = ("pool", "--kernel", "2", "--stride", "1")


def judge(
    capsys: Capsys, tmp_path: Path, name: str, wrong: Array, *command: str
) -> tuple[int, dict[str, Any]]:
    np.save(tmp_path / "theirs.npy", wrong)
    expect = f"{name}={tmp_path / 'theirs.npy'}"
    status, (result,) = results(capsys, "gradcheck", *command, "--expect", expect)
    return status, expected_check(result, name)


def saved(capsys: Capsys, tmp_path: Path, *command: str) -> dict[str, Array]:
    assert main([*command, "--backward", "--save", str(tmp_path / "s"), "--quiet"]) == 0
    return {path.stem: np.load(path) for path in (tmp_path / "s").glob("*.npy")}


def test_every_layer_passes_its_probes_and_says_how_exact_it_was(capsys: Capsys) -> None:
    for layer in ("conv", "pool", "bn", "pad"):
        status, found = results(capsys, "gradcheck", layer)
        assert status == 0
        assert len(found) >= 6
        for result in found:
            for check in result["checks"]:
                assert check["verdict"] == "pass"
                assert check["method"] in ("central", "complex-step", "identity")
                if check["method"] != "identity":
                    assert check["norm_rel_error"] <= 1e-12
                    assert check["norm_rel_error"] <= max(check["accuracy"], 1e-15)
                    assert check["step"] > 0
                    assert check["evaluations"] >= 1


@pytest.mark.parametrize("factor", [1 + 2e-6, 1 - 2e-6, -1.0, 0.0, 2.0])
def test_a_millionth_is_enough_to_fail(capsys: Capsys, tmp_path: Path, factor: float) -> None:
    command = ("conv", "--x", "normal:2x3x5x4", "--w", "normal:4x3x3x2")
    dx = saved(capsys, tmp_path, *command)["dx"]
    assert judge(capsys, tmp_path, "dx", dx, *command)[1]["verdict"] == "pass"
    status, check = judge(capsys, tmp_path, "dx", dx * factor, *command)
    assert (status, check["verdict"]) == (1, "fail")


def test_one_nan_fails_everywhere(capsys: Capsys, tmp_path: Path) -> None:
    for command in (
        ("conv", "--x", "normal:2x3x5x4", "--w", "normal:4x3x3x2"),
        (*POOL, "--x", "integers:2x3x5x4,low=0,high=1"),
        (*POOL, "--x", "zeros:2x3x5x4"),
        ("bn", "--x", "normal:2x3x5x4", "--dy", "ones"),
        ("pad", "--x", "normal:2x3x5x4", "--padding", "1"),
    ):
        dx = saved(capsys, tmp_path, *command)["dx"]
        dx[1, 2, 3, 1] = np.nan
        status, check = judge(capsys, tmp_path, "dx", dx, *command)
        assert (status, check["verdict"]) == (1, "fail")
        assert check["worst"]["index"] == [1, 2, 3, 1]
        assert check["worst"]["analytic"] == "NaN"


def test_an_input_that_is_not_finite_never_passes(capsys: Capsys, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    x[0, 1, 2, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    for command in (
        ("conv", "--w", "normal:4x3x3x2"), ("bn",), POOL, (*POOL, "--mode", "avg"),
        ("pad", "--padding", "1", "--mode", "reflect"),
    ):  # fmt: skip
        status, (result,) = results(capsys, "gradcheck", *command, "--x", str(tmp_path / "x.npy"))
        assert status == 1
        assert "fail" in [check["verdict"] for check in result["checks"]]


@pytest.mark.parametrize(
    "command, tensors, words",
    [
        (("bn", "--x", "normal:2x3x4x5", "--dy", "ones"), {"dx", "dgamma"}, "leave --dy out"),
        (("conv", "--x", "normal:2x3x4x5", "--w", "zeros:2x3x2x2"), {"dx"}, "w is all zero"),
        (("conv", "--x", "zeros:2x3x4x5", "--w", "normal:2x3x2x2"), {"dw"}, "x is all zero"),
        (("pad", "--x", "normal:2x3x4x5", "--padding", "1", "--dy", "zeros"), {"dx"}, "dy is all"),
        ((*POOL, "--x", "normal:2x3x4x5", "--dy", "zeros"), {"dx"}, "dy is all zero"),
    ],
)
def test_what_could_not_have_failed_is_vacuous(
    capsys: Capsys, command: tuple[str, ...], tensors: set[str], words: str
) -> None:
    status, (result,) = results(capsys, "gradcheck", *command)
    vacuous = {c["tensor"]: c for c in result["checks"] if c["verdict"] == "vacuous"}
    assert status == 1
    assert set(vacuous) == tensors
    assert any(words in check["note"] for check in vacuous.values())
    status, (result,) = results(capsys, "gradcheck", *command, "--allow-vacuous")
    assert status == 0
    assert {c["tensor"] for c in result["checks"] if c["verdict"] == "vacuous"} == tensors


def test_a_wrong_gradient_where_the_right_one_is_zero_fails(capsys: Capsys, tmp_path: Path) -> None:
    command = ("bn", "--x", "normal:2x3x4x5", "--dy", "ones")
    wrong = np.full((2, 3, 4, 5), 1e-9)
    status, check = judge(capsys, tmp_path, "dx", wrong, *command)
    assert (status, check["verdict"]) == (1, "fail")


def test_few_elements_of_a_sparse_gradient_are_not_vacuous(capsys: Capsys) -> None:
    command = ("gradcheck", "pool", "--kernel", "8", "--x", "distinct:1x1x16x16", "--elements", "3")
    for seed in range(5):
        status, (result,) = results(capsys, *command, "--seed", str(seed))
        assert status == 0
        assert result["checks"][0]["verdict"] == "pass"
        assert result["checks"][0]["elements"] == 3


def test_ties_are_kinks_and_paying_every_maximum_is_not(capsys: Capsys, tmp_path: Path) -> None:
    command = (*POOL, "--x", "integers:2x3x5x4,low=0,high=1")
    tensors = saved(capsys, tmp_path, *command)
    x, y, dy, dx = (tensors[name] for name in ("x", "y", "dy", "dx"))
    status, check = judge(capsys, tmp_path, "dx", dx, *command)
    assert (status, check["verdict"]) == (0, "kink")
    even, every = np.zeros_like(dx), np.zeros_like(dx)
    for n, c, i, j in np.ndindex(*y.shape):
        window = (n, c, slice(i, i + 2), slice(j, j + 2))
        wins = x[window] == y[n, c, i, j]
        even[window] += wins * dy[n, c, i, j] / wins.sum()
        every[window] += wins * dy[n, c, i, j]
    status, check = judge(capsys, tmp_path, "dx", even, *command)
    assert (status, check["verdict"]) == (0, "kink")
    status, check = judge(capsys, tmp_path, "dx", every, *command)
    assert (status, check["verdict"]) == (1, "fail")
    assert [row["fault"] for row in check["diagnosis"]] == ["ties all paid"]


def test_a_gradient_with_the_right_totals_that_no_sharing_gives_fails(
    capsys: Capsys, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 1, 1, 3), 5.0))
    np.save(tmp_path / "dy.npy", np.array([[[[1.0, 3.0]]]]))
    files = ("--x", str(tmp_path / "x.npy"), "--dy", str(tmp_path / "dy.npy"))
    command = ("pool", "--kernel", "1,2", "--stride", "1", *files)
    for values, verdict in (([1.0, 0.0, 3.0], "kink"), ([0.0, 0.5, 3.5], "fail")):
        wrong = np.array(values).reshape(1, 1, 1, 3)
        assert judge(capsys, tmp_path, "dx", wrong, *command)[1]["verdict"] == verdict


def test_a_float32_gradient_is_judged_as_one(capsys: Capsys, tmp_path: Path) -> None:
    command = ("conv", "--x", "normal:2x3x9x8", "--w", "normal:4x3x3x2", "--stride", "2,1")
    dw = saved(capsys, tmp_path, *command)["dw"]
    status, check = judge(capsys, tmp_path, "dw", dw.astype(np.float32), *command)
    assert (status, check["verdict"], check["rtol"]) == (0, "pass", 1e-3)
    assert judge(capsys, tmp_path, "dw", (dw * 1.01).astype(np.float32), *command)[0] == 1
    assert main(["gradcheck", *command, "--dtype", "float32", "--quiet"]) == 0


def test_methods_and_steps_are_as_asked_and_printed(capsys: Capsys) -> None:
    for method, step in (("central", "0.25"), ("complex-step", "1e-30")):
        command = ("gradcheck", "conv", "--x", "normal:2x3x5x4", "--w", "normal:4x3x3x2")
        status, (result,) = results(capsys, *command, "--method", method, "--step", step)
        numeric = [check for check in result["checks"] if check["method"] != "identity"]
        assert status == 0
        assert {(check["method"], check["step"]) for check in numeric} == {(method, float(step))}
    status, (result,) = results(capsys, *command, "--no-structure")
    assert result["checks"][0]["evaluations"] == 2 * 2 * 3 * 5 * 4


def test_a_step_that_changes_winners_is_refused(capsys: Capsys) -> None:
    assert main(["gradcheck", *POOL, "--x", "normal:2x3x5x4", "--step", "0.5"]) == 2
    assert "winners would change" in capsys.readouterr().err


def test_probes_say_what_they_cover_and_can_be_exported(capsys: Capsys, tmp_path: Path) -> None:
    assert main(["gradcheck", "conv", "--save", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for words in ("overlap", "remainder rows", "asymmetric padding", "dilation", "groups"):
        assert words in out
    folder = tmp_path / "out" / "conv-strided"
    assert np.load(folder / "dx.npy").shape == (2, 2, 8, 9)
    assert (folder / "result.json").is_file()
    stride = ("--stride", "2,3")
    expect = ("--tensors", str(folder), "--expect", str(folder), "--quiet")
    assert main(["gradcheck", "conv", *stride, *expect]) == 0


def test_text_names_the_cause_where_to_look_and_where_errors_sit(
    capsys: Capsys, tmp_path: Path
) -> None:
    command = ("conv", "--x", "normal:2x3x7x5", "--w", "normal:4x3x3x2")
    dx = saved(capsys, tmp_path, *command)["dx"]
    part = np.zeros_like(dx)
    part[0] = dx[0]
    np.save(tmp_path / "part.npy", part)
    expect = f"dx={tmp_path / 'part.npy'}"
    assert main(["gradcheck", *command, "--expect", expect, "--no-values"]) == 1
    out = capsys.readouterr().out
    assert "dx is right in one sample and zero in the others" in out
    assert "check the loop over N" in out
    assert "dx: wrong only in sample 1 (the last), and all over it" in out


def test_a_slow_check_shows_how_far_it_is(capsys: Capsys) -> None:
    from io import StringIO

    from cnncli.report.progress import ProgressBar

    stream = StringIO()
    bar = ProgressBar(stream, after=0.0)
    bar("x", 1, 10)
    bar("x", 10, 10)
    assert stream.getvalue().startswith("dx [###...")
    assert "1 of 10 evaluations" in stream.getvalue()
    quick = StringIO()
    ProgressBar(quick)("x", 1, 10)
    assert quick.getvalue() == ""


@pytest.mark.parametrize(
    "command, name",
    [
        (("bn", "--x", "normal:4x3x5x2", "--dy", "ones"), "dx"),
        (("bn", "--x", "normal:4x3x5x2,loc=1e6"), "dx"),
        (("bn", "--x", "normal:4x3x5x2", "--gamma", "normal,scale=1e9"), "dx"),
        (("conv", "--x", "ones:2x3x5x4", "--w", "{w}", "--dy", "ones"), "dx"),
        (("conv", "--x", "normal:2x3x5x4", "--w", "{w}", "--b", "normal,loc=1e9"), "dw"),
        (("conv", "--x", "normal:2x3x5x4,loc=1e9", "--w", "{w}", "--b", "normal"), "db"),
    ],
    ids=["constant dy", "large mean", "large gamma", "nothing left", "large b", "large x"],
)
def test_identities_allow_the_rounding_of_what_was_computed(
    capsys: Capsys, tmp_path: Path, command: tuple[str, ...], name: str
) -> None:
    w = np.random.default_rng(0).normal(size=(4, 3, 3, 2))
    np.save(tmp_path / "w.npy", w - w.mean(axis=(1, 2, 3), keepdims=True))
    command = tuple(word.format(w=tmp_path / "w.npy") for word in command)
    flags = ("--wrt", name[1:], "--allow-vacuous")
    status, (result,) = results(capsys, "gradcheck", *command, *flags)
    (exact,) = [check for check in result["checks"] if "identity" in check]
    assert (status, exact["verdict"]) == (0, "pass")
    # A wrong gradient fails it all the same.
    tensors = saved(capsys, tmp_path, *command)
    wrong = tensors[name]
    wrong.reshape(-1)[0] += 0.01 * max(np.abs(tensors[key]).max() for key in ("dy", name))
    np.save(tmp_path / "theirs.npy", wrong)
    expect = ("--expect", f"{name}={tmp_path / 'theirs.npy'}")
    status, (result,) = results(capsys, "gradcheck", *command, *flags, *expect)
    (theirs,) = [c for c in result["checks"] if "identity" in c and c["subject"] == "expected"]
    assert (status, theirs["verdict"]) == (1, "fail")


def test_a_hint_for_a_vacuous_check_names_the_shape_that_is_there(capsys: Capsys) -> None:
    command = ("gradcheck", "conv", "--x", "normal:2x3x5x4", "--w", "zeros:4x3x3x2", "--wrt", "x")
    (check,) = results(capsys, *command)[1][0]["checks"]
    assert check["note"].endswith("w is all zero; give values, such as --w normal:4x3x3x2")
    command = ("gradcheck", "bn", "--x", "normal:3x2x4x5", "--gamma", "zeros", "--wrt", "x")
    notes = [check.get("note", "") for check in results(capsys, *command)[1][0]["checks"]]
    assert notes[0].endswith("gamma is all zero; give values, such as --gamma normal:2")


def given_dx(capsys: Capsys, folder: Path, factor: float, *flags: str) -> dict[str, Any]:
    """Return the identity's check of a right dx that was rounded to float32 and then scaled."""
    command = ("conv", "--x", "normal:2x3x7x6", "--w", "normal:4x3x3x2", "--stride", "2,1")
    dx = saved(capsys, folder, *command)["dx"].astype(np.float32).astype(np.float64)
    np.save(folder / "theirs.npy", dx * factor)
    expect = ("--expect", f"dx={folder / 'theirs.npy'}", "--wrt", "x")
    _, (result,) = results(capsys, "gradcheck", *command, *expect, *flags)
    (ours,) = [c for c in result["checks"] if "identity" in c and c["subject"] == "ours"]
    assert (ours["verdict"], ours["rtol"]) == ("pass", 1e-11)
    (theirs,) = [c for c in result["checks"] if "identity" in c and c["subject"] == "expected"]
    return dict(theirs)


def test_an_identity_of_a_given_gradient_is_judged_by_its_own_tolerance(
    capsys: Capsys, tmp_path: Path
) -> None:
    """What is right to 1e-6 may have been float32 on its way: ours alone owes 1e-11."""
    once = given_dx(capsys, tmp_path, 1.0)
    assert once["terms_rel_error"] > 1e-11
    assert (once["verdict"], once["rtol"]) == ("pass", 1e-6)
    strict = given_dx(capsys, tmp_path, 1.0, "--rtol", "1e-11")
    assert (strict["verdict"], strict["rtol"]) == ("fail", 1e-11)
    far = given_dx(capsys, tmp_path, 1.0 + 1e-4)
    assert far["verdict"] == "fail"
    assert given_dx(capsys, tmp_path, 1.0 + 1e-4, "--rtol", "1e-3")["verdict"] == "pass"
    assert given_dx(capsys, tmp_path, 1.0 + 1e-4, "--atol", "0.01")["verdict"] == "pass"


SHARING = """
import numpy as np


def back(dy, x, kernel, how):
    n, c, h, w = x.shape
    r = x.reshape(n, c, h // kernel[0], kernel[0], w // kernel[1], kernel[1])
    wins = (r == r.max((3, 5), keepdims=True)).astype(float)
    if how == 0:  # shared among the tied
        wins /= wins.sum((3, 5), keepdims=True)
    if how == 1:  # the last of the tied
        flat = wins.swapaxes(3, 4).reshape(*r.shape[:3], r.shape[4], -1)
        last = flat.shape[-1] - 1 - flat[..., ::-1].argmax(-1)
        flat = np.eye(flat.shape[-1])[last]
        wins = flat.reshape(n, c, h // kernel[0], r.shape[4], *kernel).swapaxes(3, 4)
    return (wins * dy[:, :, :, None, :, None]).reshape(x.shape)
"""


@pytest.mark.parametrize(
    "how, x, cause",
    [
        (0, "integers:2x3x6x8", "dx shares dy among a window's tied maxima"),
        (0, "zeros:2x3x6x8", "dx shares dy among a window's tied maxima"),
        (1, "integers:2x3x6x8", "dx pays the last of a window's tied maxima"),
        (2, "integers:2x3x6x8", "dx pays every tied maximum the window's whole dy"),
    ],
)
def test_ties_of_a_persons_function_are_judged_as_those_of_an_array(
    capsys: Capsys, tmp_path: Path, how: int, x: str, cause: str
) -> None:
    """Sharing dy among tied winners is right in a gradient check, and no more than that."""
    (tmp_path / "s.py").write_text(SHARING)
    call = ("--against", str(tmp_path / "s.py"), "--call", f"dx=back(dy, x, kernel, {how})")
    command = ("pool", "--x", x, "--kernel", "3,2")
    status, (result,) = results(capsys, "gradcheck", *command, *call)
    (theirs,) = [check for check in result["checks"] if check["check"] == "against"]
    if how == 2:
        assert (status, theirs["verdict"]) == (1, "fail")
    else:
        assert (status, theirs["verdict"], theirs["mismatched"]) == (0, "kink", 0)
        assert theirs["tied"] > 0
        assert "reason" not in theirs
    # Beside ours, without a gradient check, it is another result, and which one is said.
    status, (result,) = results(capsys, *command, "--backward", *call)
    (theirs,) = result["checks"]
    assert (status, theirs["verdict"], theirs["reason"]) == (1, "fail", "wrong at ties only")
    assert theirs["diagnosis"][0]["cause"].startswith(cause)


def test_a_fault_beside_ties_is_no_kink(capsys: Capsys, tmp_path: Path) -> None:
    text = SHARING.replace("return (wins", "wins[1, 2, 0, :, 0] += 0.5\n    return (wins")
    (tmp_path / "s.py").write_text(text)
    call = ("--against", str(tmp_path / "s.py"), "--call", "dx=back(dy, x, kernel, 0)")
    command = ("gradcheck", "pool", "--x", "integers:2x3x6x8", "--kernel", "3,2")
    status, (result,) = results(capsys, *command, *call)
    (theirs,) = [check for check in result["checks"] if check["check"] == "against"]
    assert (status, theirs["verdict"]) == (1, "fail")


@pytest.mark.parametrize(
    "value, said",
    [
        (np.nan, "2 of 120 elements are NaN, the first: dx[0,1,2,3] is nan"),
        (-np.inf, "2 of 120 elements are infinite, the first: dx[0,1,2,3] is -inf"),
    ],
)
def test_wrong_elements_that_are_no_numbers_are_told(
    capsys: Capsys, tmp_path: Path, value: float, said: str
) -> None:
    command = ("pad", "--x", "normal:2x3x5x4", "--padding", "1")
    dx = saved(capsys, tmp_path, *command)["dx"]
    dx[0, 1, 2, 3] = dx[1, 2, 4, 0] = value
    status, check = judge(capsys, tmp_path, "dx", dx, *command)
    assert (status, check["sits"][0]) == (1, said)


def test_a_given_gradient_of_whole_numbers_is_told_so(capsys: Capsys, tmp_path: Path) -> None:
    command = ("pad", "--x", "normal:2x3x5x4", "--padding", "1")
    dx = saved(capsys, tmp_path, *command)["dx"].round().astype(np.int64)
    status, check = judge(capsys, tmp_path, "dx", dx, *command)
    assert status == 1
    assert "the given one is of int64, which cuts every value to a whole number" in check["note"]


def test_a_comparison_that_zeros_would_pass_says_so(capsys: Capsys, tmp_path: Path) -> None:
    """bn's dx is zero for a constant dy, and small beside the tolerance for a small one."""
    np.save(tmp_path / "zeros.npy", np.zeros((3, 4, 5, 2)))
    (tmp_path / "s.py").write_text("def z(x):\n    return 0 * x\n")
    told = "nothing was tested: every element is within atol (1e-07) of zero; use another dy, or"
    constant = ("bn", "--x", "normal:3x4x5x2", "--dy", "ones")
    small = ("bn", "--x", "normal:3x4x5x2,scale=1000", "--dy", "normal,scale=1e-5")
    given = ("--expect", f"dx={tmp_path / 'zeros.npy'}")
    function = ("--against", str(tmp_path / "s.py"), "--call", "dx=z(x)")
    for args in ((*constant, *given), (*small, *given), (*constant, *function)):
        status, (result,) = results(capsys, *args)
        (check,) = result["checks"]
        assert (status, check["verdict"]) == (0, "pass")
        assert told in check["note"]
        assert main([*args, "--no-values"]) == 0
        assert told in capsys.readouterr().out
    plain = ("bn", "--x", "normal:3x4x5x2")
    dx = saved(capsys, tmp_path, *plain)["dx"]
    np.save(tmp_path / "dx.npy", dx)
    (check,) = results(capsys, *plain, "--expect", f"dx={tmp_path / 'dx.npy'}")[1][0]["checks"]
    assert "note" not in check
    assert results(capsys, *small, *given, "--rtol", "1e-7")[0] == 1

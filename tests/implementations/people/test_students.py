"""Faults that students make, each in a file of its own, named rightly by `run --against`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cnncli.cli.app import main
from tests.implementations.people.students import (
    FAULTS,
    GENERAL,
    GENERAL_CONFIG,
    GENERAL_FAULTS,
    RIGHT,
    SAME,
    SAME_CONFIG,
    SAME_FAULTS,
    write,
)

ROOT = Path(__file__).parents[3]
HOMEWORK = str(ROOT / "configs/homework-notebook.yaml")


def run(*arguments: str) -> int:
    return main(["run", *arguments])


def rows(text: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in text.splitlines():
        one = json.loads(line)
        found.setdefault(Path(one["implementation"]).name, []).append(one)
    return found


def test_every_fault_is_named_and_no_other_function_is_blamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnncli.runs.grades import Row
    from cnncli.runs.result import Result

    for number, (function, old, new, _) in enumerate(FAULTS):
        (tmp_path / f"s{number:02}.py").write_text(write(function, old, new))
    assert run(HOMEWORK, "--against", str(tmp_path), "--json", "--jobs", "2") == 1
    found = rows(capsys.readouterr().out)
    assert len(found) == len(FAULTS)
    for (function, _, new, words), records in zip(FAULTS, found.values(), strict=True):
        results = [Result.read(json.dumps(one)) for one in records]
        row = Row(submission=results[0].implementation or "", results=results)
        wrong = {name for name, cell in row.cells.items() if cell.reason != "right"}
        # convolution2D pads by zero_padding, so that one's faults reach it.
        helped = {"convolution2D"} if function == "zero_padding" else set()
        assert function in wrong, new
        assert wrong <= {function} | helped, new
        assert any(words in cause for cause in row.cells[function].causes), (new, row.cells)


def test_faults_of_the_general_convolution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(GENERAL_CONFIG)
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a-right.py").write_text(GENERAL)
    for number, (old, new, _) in enumerate(GENERAL_FAULTS):
        assert old in GENERAL
        (tmp_path / f"s/b{number}.py").write_text(GENERAL.replace(old, new))
    assert run(str(config), "--against", str(tmp_path / "s"), "--json") == 1
    right, *wrong = rows(capsys.readouterr().out).values()
    assert right[0]["status"] == "passed"
    for (_, new, words), records in zip(GENERAL_FAULTS, wrong, strict=True):
        assert records[0]["status"] == "failed"
        assert words in records[0]["cause"], (new, records[0]["cause"])


def test_the_odd_row_of_same_at_the_wrong_end_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(SAME_CONFIG)
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a-right.py").write_text(SAME)
    for number, (old, new) in enumerate(SAME_FAULTS):
        assert old in SAME
        (tmp_path / f"s/b{number}.py").write_text(SAME.replace(old, new))
    assert run(str(config), "--against", str(tmp_path / "s"), "--json") == 1
    right, *wrong = rows(capsys.readouterr().out).values()
    assert {one["status"] for one in right} == {"passed"}
    for (_, new), records in zip(SAME_FAULTS, wrong, strict=True):
        failed = [one for one in records if one["status"] == "failed"]
        assert failed, new
        for one in failed:
            if one["reason"] == "wrong shape":  # a row more, at stride 1
                assert (one["name"], new[:6]) == ("conv", "(total")
                continue
            assert "padding before and after exchanged" in one["cause"], (new, one["name"])
            assert "`same`" in one["checks"][0]["diagnosis"][0]["look"]


def test_exchanged_arguments_are_named_where_that_makes_it_right_and_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "(X, W, stride, padding)"
    files = {
        "shape": ("", "    return out[:1]"),  # wrong in either order
        "both": (head.replace("X, W", "W, X"), "    return np.sin(out)"),
        "hangs": ("", "    return out[:1]"),
        "right": (head.replace("X, W", "W, X"), "    return out"),
    }
    folder = tmp_path / "s"
    folder.mkdir()
    for name, (new_head, end) in files.items():
        text = write("convolution2D", "    return out", end)
        text = text.replace(f"convolution2D{head}", f"convolution2D{new_head or head}")
        if name == "hangs":
            text = text.replace(f"{head}:", f"{head}:\n    while len(X) > len(W): pass")
        (folder / f"{name}.py").write_text(text)
    started = time.monotonic()
    assert run(HOMEWORK, "--against", str(folder), "--match", "conv/", "--json") == 1
    # One that hangs, in an order that it was never called in, is not waited for as a case is.
    assert time.monotonic() - started < 15
    for name, records in rows(capsys.readouterr().out).items():
        for one in records:
            (check,) = one["checks"]
            found = [row.get("fault") for row in check.get("diagnosis", ())]
            assert ("arguments exchanged" in found) == (name == "right.py"), name
            assert one["earned"] == 0  # it is told, not forgiven


def test_large_cases_are_judged_without_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RIGHT.replace("def convolution2D(X, W", "def convolution2D(W, X")
    (tmp_path / "s.py").write_text(text)
    case = f"{HOMEWORK}::conv/strided"
    args = ["conv", "--config", case, "--against", str(tmp_path / "s.py"), "--json"]
    for most, named in ((1 << 20, True), (100, False)):
        monkeypatch.setattr("cnncli.runs.swappedarguments.MOST_BYTES", most)
        assert main(args) == 1
        assert ("the other way round" in capsys.readouterr().out) == named


def test_a_cache_before_dy_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In calls that use what earlier calls gave, whichever of them it is."""
    for number, (forward, backward) in enumerate(
        [("x, w, b", "cache, dout"), ("w, x, b", "dout, cache")]
    ):
        text = CS231N.replace("_forward_naive(x, w, b", f"_forward_naive({forward}")
        text = text.replace("conv_backward_naive(dout, cache", f"conv_backward_naive({backward}")
        (tmp_path / f"l{number}.py").write_text(RIGHT + text)
    config = str(ROOT / "configs/homework-cs231n.yaml")
    assert run(config, "--against", str(tmp_path), "--match", "conv", "--json") == 1
    first, second = rows(capsys.readouterr().out).values()
    causes = {one["cause"] for one in first if one["status"] == "failed"}
    assert causes == {
        "conv_backward_naive takes dy and cache the other way round: "
        "it is right with the two exchanged"
    }
    causes = {one["cause"] for one in second if one["status"] == "failed"}
    assert causes == {
        "conv_forward_naive takes x and w the other way round: it is right with the two exchanged"
    }


@pytest.mark.parametrize("number", [1, 2])
def test_a_wrong_result_hides_no_changed_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """In every report, of one submission and of a class."""
    folder = tmp_path / "s"
    folder.mkdir()
    both = write("convolution2D", "    return out", "    W *= 2\n    return -out")
    for at in range(number):
        (folder / f"s{at}.py").write_text(both)
    args = [HOMEWORK, "--against", str(folder), "--match", "conv/"]
    files = {name: tmp_path / name for name in ("csv", "junit")}
    files |= {"gradescope": tmp_path / "gradescope"} if number == 1 else {}
    for name, path in files.items():
        args += [f"--{name}", str(path)]
    wrote = "it wrote into w, which belongs to its caller"
    assert run(*args) == 1
    for text in (capsys.readouterr().out, *(path.read_text() for path in files.values())):
        assert wrote in text
        assert "y has the wrong sign" in text
    assert run(*args[:5], "--json") == 1
    for records in rows(capsys.readouterr().out).values():
        for one in records:
            assert one["cause"] == "y has the wrong sign"
            assert one["checks"][0]["changed"] == ["w"]


def test_a_layer_command_tells_a_changed_input_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = write("pool_forward", "    return out", "    X[:] = 0\n    return -out")
    (tmp_path / "s.py").write_text(both)
    call = "y=pool_forward(x, k, s)"
    args = ["pool", "--x", "normal:2x3x4x6", "-k", "2", "--against", f"{tmp_path}/s.py"]
    assert main([*args, "--call", call, "--no-values"]) == 1
    *_, first, last = (line for line in capsys.readouterr().out.splitlines() if "wrote" in line)
    assert first == "y: it wrote into x, which belongs to its caller"
    assert last.startswith("FAILED")
    assert "wrong sign" in last


def test_how_a_result_is_judged_is_said_beside_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = {"right": "out.astype(np.float32)", "wrong": "np.sin(out).astype(np.float32)"}
    for name, end in ends.items():
        text = write("pool_forward", "    return out", f"    return {end}")
        (tmp_path / f"{name}.py").write_text(text)
    args = ["pool", "--x", "normal:2x3x4x6", "-k", "2", "--call", "y=pool_forward(x, k, s)"]
    args += ["--no-values", "--against"]
    assert main([*args, str(tmp_path / "right.py")]) == 0
    assert "y: judged as float32, which it computes in\n" in capsys.readouterr().out
    assert main([*args, str(tmp_path / "wrong.py")]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert " of 36 wrong; judged as float32" in last
    assert run(HOMEWORK, "--against", str(tmp_path / "right.py"), "--match", "pool/") == 0
    assert capsys.readouterr().out.count("judged as float32") == 2


def test_the_samples_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's class report; ana is all right, every other has a named fault."""
    folder = str(ROOT / "samples/submissions")
    assert run(HOMEWORK, "--against", folder, "--timeout", "2", "--jobs", "2") == 1
    text = capsys.readouterr().out
    assert "6 submissions: 1 all right" in text
    for words in (
        "dx is right for dy with its H and W axes swapped",
        "y is right for a flipped kernel",
        "wrong at ties only",
        "timeout",
        "missing",
        "changed its input",
        "written over each other",
    ):
        assert words in text


def test_a_notebook_that_imports_tensorflow_is_judged_without_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notebook = str(ROOT / "samples/submissions/filiz.ipynb")
    text = Path(notebook).read_text()
    assert "import tensorflow" in text
    assert "plt.show" in text
    assert sum(cell["cell_type"] == "code" for cell in json.loads(text)["cells"]) >= 10
    assert run(HOMEWORK, "--against", notebook, "--json") == 1
    (records,) = rows(capsys.readouterr().out).values()
    verdicts = {one["name"]: one["status"] for one in records}
    assert [name for name, status in verdicts.items() if status == "failed"] == [
        "conv-input-gradient/overlap",
        "conv-input-gradient/remainder",
        "bn-backward",
    ]


def test_cs231n_configs_take_that_course_s_functions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layers.py").write_text(RIGHT + CS231N)
    config = str(ROOT / "configs/homework-cs231n.yaml")
    status = run(config, "--against", str(tmp_path / "layers.py"))
    out = capsys.readouterr().out
    assert status == 0, out
    assert "20 of 20 points" in out


CROPS = "dx[:, :, p : p + x.shape[2], p : p + x.shape[3]]"
NORMAL = "    return batch_norm_forward(x, gamma, beta, eps), (x, gamma, beta, eps)"
OUTSIDE = """    mean, std = (f(x, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    gamma, beta = (a[:, None, None].astype(np.float32) for a in (gamma, beta))
    y = ((x - mean) / (std + eps)).astype(np.float32) * gamma + beta
    return y, (x, gamma[:, 0, 0], beta[:, 0, 0], eps)"""


@pytest.mark.parametrize(
    ("function", "old", "new", "failing"),
    [
        ("conv_backward_naive", CROPS, "dx[:, :, p:-p, p:-p]", ["conv_backward/unpadded"]),
        ("spatial_batchnorm_forward", NORMAL, OUTSIDE, ["spatial_batchnorm_forward/small"]),
    ],
)
def test_the_cs231n_cases_tell_what_ordinary_cases_hide(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    function: str,
    old: str,
    new: str,
    failing: list[str],
) -> None:
    """A crop that holds for padding alone, and an eps that counts where x is small."""
    assert old in CS231N
    (tmp_path / "layers.py").write_text(RIGHT + CS231N.replace(old, new))
    config = str(ROOT / "configs/homework-cs231n.yaml")
    assert run(config, "--against", str(tmp_path / "layers.py"), "--json") == 1
    (records,) = rows(capsys.readouterr().out).values()
    stem = function.removesuffix("_naive")
    named = [one["name"] for one in records if one["status"] == "failed"]
    assert [name for name in named if name.startswith(stem)] == failing


def test_padding_of_one_axis_alone_is_a_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        RIGHT[: RIGHT.index("def zero_padding")]
        + """
def zero_padding(X, padding):
    ph, pw = padding
    N, C, H, W = X.shape
    out = np.zeros((N, C, H + 2 * ph, W + 2 * pw))
    out[:, :, ph:-ph, pw:-pw] = X
    return out
"""
    )
    (tmp_path / "s.py").write_text(text)
    args = (HOMEWORK, "--against", str(tmp_path / "s.py"), "--match", "padding", "--json")
    assert run(*args) == 1
    (records,) = rows(capsys.readouterr().out).values()
    statuses = [one["status"] for one in records if one["function"] == "zero_padding"]
    assert statuses == ["passed", "failed"]


CS231N = """

def conv_forward_naive(x, w, b, conv_param):
    s, p = conv_param["stride"], conv_param["pad"]
    return convolution2D(x, w, (s, s), (p, p)) + b[:, None, None], (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    X = zero_padding(x, (p, p))
    dw = convolution2D_backward_filter(dout, X, w, (s, s))
    dx = convolution2D_backward_input(dout, X, w, (s, s))
    return dx[:, :, p : p + x.shape[2], p : p + x.shape[3]], dw, dout.sum(axis=(0, 2, 3))


def max_pool_forward_naive(x, pool_param):
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    N, C, H, W = x.shape
    out = np.zeros((N, C, (H - h) // s + 1, (W - w) // s + 1))
    for n, c, i, j in np.ndindex(out.shape):
        out[n, c, i, j] = x[n, c, s * i : s * i + h, s * j : s * j + w].max()
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, s * i : s * i + h, s * j : s * j + w]
        k, m = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, s * i + k, s * j + m] += dout[n, c, i, j]
    return dx


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param["eps"]
    return batch_norm_forward(x, gamma, beta, eps), (x, gamma, beta, eps)


def spatial_batchnorm_backward(dout, cache):
    x, gamma, beta, eps = cache
    axes = (0, 2, 3)
    normal = batch_norm_forward(x, np.ones_like(gamma), np.zeros_like(beta), eps)
    dx = batch_norm_backward(dout, x, gamma, beta, eps)
    return dx, (dout * normal).sum(axis=axes), dout.sum(axis=axes)
"""

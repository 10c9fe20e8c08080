"""`--shrink`: what it prints runs and shows the same failure, and no cause of its own."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from cnncli.cases.commandline import command_line
from tests.building import case_of
from tests.cli.invoke import call

FUNCTIONS = '''
import numpy as np

def transposed(x, w, stride, padding, output_padding):
    """A transposed convolution, right but for the last row of y."""
    (sh, sw), (ph, pw), (oh, ow) = stride, padding, output_padding
    KH, KW = w.shape[2:]
    H, W = x.shape[2:]
    y = np.zeros((len(x), w.shape[1], (H - 1) * sh + KH + oh, (W - 1) * sw + KW + ow))
    for i in range(H):
        for j in range(W):
            part = np.einsum("nc,cfkl->nfkl", x[:, :, i, j], w)
            y[:, :, i * sh : i * sh + KH, j * sw : j * sw + KW] += part
    y = y[:, :, ph : y.shape[2] - ph, pw : y.shape[3] - pw]
    y[:, :, -1] += 1
    return y

def average(x, k, s, p):
    """An average of what of a window is inside, one too large; windows may begin in the padding."""
    N, C, H, W = x.shape
    y = np.zeros((N, C, -(-(H + 2 * p - k) // s) + 1, -(-(W + 2 * p - k) // s) + 1))
    for i, j in np.ndindex(y.shape[2:]):
        top, left = i * s - p, j * s - p
        part = x[:, :, max(top, 0) : top + k, max(left, 0) : left + k]
        y[:, :, i, j] = part.mean((2, 3)) + 1
    return y

def normalize(x, mean, var, momentum):
    """Running statistics that keep `momentum` of the old, where torch takes it of the new."""
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)
    return momentum * mean + (1 - momentum) * m, momentum * var + (1 - momentum) * v

def biasless(x, w, b):
    """No bias; and what no known fault explains, from the third row on."""
    y = np.zeros((len(x), len(w), x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1))
    for i, j in np.ndindex(y.shape[2:]):
        part = x[:, :, i : i + w.shape[2], j : j + w.shape[3]]
        y[:, :, i, j] = np.tensordot(part, w, axes=([1, 2, 3], [1, 2, 3]))
    y[:, :, 2:] += np.arange(y.shape[3]) ** 2
    return y

def raises(x):
    """Two exceptions, of which the second is of small arrays alone."""
    if x.shape[2] < 4:
        raise KeyError("small")
    raise ValueError("large")
'''
CASES = """
cases:
  - name: transposed
    layer: conv
    params: {transposed: true, stride: [2, 1], padding: 1, output_padding: [1, 0]}
    tensors: {x: "normal:2x3x4x5", w: "normal:3x4x3x2"}
    call: {y: "transposed(x, w, stride, padding, output_padding)"}
  - name: average
    layer: pool
    params: {kernel: 3, stride: 2, padding: 1, mode: avg, ceil_mode: true, count_include_pad: false}
    tensors: {x: "normal:2x3x6x8"}
    call: {y: "average(x, k, s, p)"}
  - name: normalize
    layer: bn
    params: {training: true, momentum: 0.3}
    seed: 5
    tensors:
      {x: "normal:3x2x4x5,loc=3", running_mean: "normal:2", running_var: "uniform:2"}
    call: {"new_running_mean, new_running_var": "normalize(x, running_mean, running_var, momentum)"}
  - name: keras
    layer: bn
    convention: keras
    params: {training: true, momentum: 0.1}
    dtype: float32
    tensors: {x: "normal:3x2x4x5", running_mean: "ones", running_var: "ones"}
    call: {"new_running_mean, new_running_var": "normalize(x, 0, 0, momentum)"}
  - name: biasless
    layer: conv
    tensors: {x: "normal:2x3x7x6", w: "normal:4x3x3x2", b: "normal:4"}
    call: {y: "biasless(x, w, b)"}
  - name: raises
    layer: pad
    params: {padding: 1}
    tensors: {x: "normal:2x3x7x6,zero_extend=2x3x8x6"}
    call: {y: "raises(x)"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # As on a narrow terminal, which a command must survive unfolded.
    monkeypatch.setattr("cnncli.report.console.PIPE_WIDTH", 60)
    Path("s.py").write_text(FUNCTIONS)
    Path("c.yaml").write_text(CASES)
    return tmp_path


def shrunk(name: str) -> list[str]:
    """Return what `--shrink` prints of the case's function, line by line."""
    ended = call("run", f"c.yaml::{name}", "--against", "s.py", "--shrink")
    assert ended.status == 1, ended.err
    lines = ended.out.splitlines()
    (first,) = [n for n, line in enumerate(lines) if line.startswith("  smallest geometry found: ")]
    return lines[first - 1 :]


@pytest.mark.parametrize("name", ["transposed", "average", "normalize", "keras", "biasless"])
def test_the_printed_command_shows_the_same_failure(name: str) -> None:
    text = "\n".join(shrunk(name))
    (command,) = re.findall(r"^  (cnncli .*)$", text, re.MULTILINE)
    (element,) = re.findall(r"^  (\w+)\[([\d,]+)\] is (\S+), should be (\S+)$", text, re.MULTILINE)
    (result,) = call(*shlex.split(command)[1:], "--json").results
    assert result["status"] == "failed"
    check = next(one for one in result["checks"] if one["tensor"] == element[0])
    assert check["reason"] == "wrong values"
    worst = check["worst"]
    assert worst["index"] == [int(part) for part in element[1].split(",")]
    assert [f"{worst['got']:.6g}", f"{worst['expected']:.6g}"] == [*element[2:]]


def test_a_transposed_case_shrinks_in_its_channels_and_output_padding_too() -> None:
    lines = shrunk("transposed")
    assert "x 1x1x" in lines[1]
    assert "w 1x1x" in lines[1]


def test_a_cause_is_named_only_where_it_explains_the_whole_case() -> None:
    """The small case has two rows at most, at which only the bias is missing."""
    assert shrunk("biasless")[0] == "biasless: wrong values"
    small = ("conv", "--x", "normal:2x3x4x6", "--w", "normal:4x3x3x2", "--b", "normal:4")
    ended = call(*small, "--against", "s.py", "--call", "y=biasless(x, w, b)", "--json")
    assert "bias" in json.dumps(ended.results[0]["checks"][0]["diagnosis"])


def test_another_exception_is_another_failure() -> None:
    lines = shrunk("raises")
    assert lines[0].startswith("raises: exception: ValueError: large")
    assert lines[1].startswith("  smallest geometry found: x 1x1x4x1")


def test_a_command_leaves_out_nothing_that_is_declared() -> None:
    case = case_of(
        "pad",
        {"padding": [[-1, 0], [2, 1]], "value": -1.5},
        {"x": "normal:1x2x4x3,scale=2"},
        seed=3,
        rng="legacy",
        dtype="float32",
        backward=True,
    )
    assert command_line(case, "--json") == (
        "cnncli pad --x normal:1x2x4x3,scale=2 --padding=-1:0,2:1 --value=-1.5 --seed 3 "
        "--rng legacy --dtype float32 --backward --json"
    )
    bn = case_of("bn", {"training": False}, {"x": "normal:2x3x4", "running_mean": "zeros"})
    words = shlex.split(command_line(bn))
    assert words[2:] == ["--x", "normal:2x3x4", "--running-mean", "zeros", "--inference"]

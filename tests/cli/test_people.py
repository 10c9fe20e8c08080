"""People's files on the command line: what is judged, and what is said of what is not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.invoke import call, complaint

CONV = ("conv", "--x", "normal:2x3x7x6", "--w", "normal:4x3x3x2")
FORWARD = "y=convolution2D(x, w, stride, padding)"
FUNCTIONS = """
import numpy as np


def convolution2D(X, W, stride, padding):
    (sh, sw), (ph, pw) = stride, padding
    X = np.pad(X, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    KH, KW = W.shape[2:]
    OH, OW = (X.shape[2] - KH) // sh + 1, (X.shape[3] - KW) // sw + 1
    out = np.zeros((len(X), len(W), OH, OW))
    for i in range(OH):
        for j in range(OW):
            part = X[:, :, sh * i : sh * i + KH, sw * j : sw * j + KW]
            out[:, :, i, j] = np.tensordot(part, W, axes=([1, 2, 3], [1, 2, 3]))
    return out


def backward_input(dy, X, W):
    return np.zeros_like(X)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a submission whose forward pass is right, and its gradient wrong."""
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(FUNCTIONS)
    return tmp_path


@pytest.mark.parametrize(
    "flags, says",
    [
        (("--call", FORWARD), ("a.py", "the calls give y", "dx or dw (", '--call "dx=')),
        (
            ("--call", "dw=backward_input(dy, x, w)", "--wrt", "x"),
            ("the calls give dw", "must give dx ("),
        ),
    ],
)
def test_a_gradient_check_that_judges_no_gradient_is_an_error(
    flags: tuple[str, ...], says: tuple[str, ...]
) -> None:
    message = complaint(call("gradcheck", *CONV, "--against", "a.py", *flags))
    assert message.startswith("--against: no gradient of")
    assert all(part in message for part in says)


def test_a_gradient_check_of_a_config_s_call_is_judged_too() -> None:
    Path("c.yaml").write_text(
        "{layer: conv, tensors: {x: 'normal:2x3x7x6', w: 'normal:4x3x3x2'}, "
        f"call: {{y: '{FORWARD[2:]}'}}}}"
    )
    args = ("--config", "c.yaml", "--against", "a.py")
    assert "the calls give y" in complaint(call("gradcheck", "conv", *args))
    assert call("conv", *args).status == 0
    wrong = call("gradcheck", "conv", *args, "--call", "dx=backward_input(dy, x, w)")
    assert wrong.status == 1


CASES = """
defaults: {layer: conv, tensors: {x: "normal:2x3x7x6", w: "normal:4x3x3x2"}}
cases:
  - {name: dx-and-dw, expect: {dx: {shape: [2, 3, 7, 6]}, dw: {shape: [4, 3, 3, 2]}}}
  - {name: weights, gradcheck: {wrt: [w]}}
  - {name: forward}
"""


def hand_in(*files: str) -> None:
    """Save every tensor of the cases, and leave in the folders of `mine` those that are named."""
    Path("c.yaml").write_text(CASES)
    assert call("run", "c.yaml", "--save", "all", "--quiet").status == 0
    for file in files:
        Path("mine", file).parent.mkdir(parents=True, exist_ok=True)
        Path("all", file).rename(Path("mine", file))


def test_who_hands_in_nothing_does_not_pass() -> None:
    hand_in("forward/x.npy", "weights/dw.npy", "dx-and-dw/dx.npy", "dx-and-dw/dw.npy")
    ended = call("run", "c.yaml", "--expect", "mine")
    assert ended.status == 2
    assert ended.err.strip() == (
        "error: --expect: mine/forward holds x, and nothing that conv computes: "
        "none of y, dx, dw, db"
    )
    conv = ("conv", "--x", "normal:2x3x7x6", "--w", "normal:4x3x3x2")
    assert "mine/forward holds x" in complaint(call(*conv, "--expect", "mine/forward"))


def test_what_was_not_handed_in_is_said() -> None:
    hand_in("forward/y.npy", "weights/y.npy", "dx-and-dw/dx.npy")
    ended = call("run", "c.yaml", "--expect", "mine")
    said = "note: not handed in, so not judged: dw of dx-and-dw, dw of weights (--expect mine)\n"
    assert (ended.status, ended.err) == (0, said)
    assert call("run", "c.yaml", "--expect", "mine", "--quiet").err == ""
    args = ("conv", "--config", "c.yaml::dx-and-dw", "--expect", "mine/dx-and-dw")
    said = "note: not handed in, so not judged: dw (--expect mine/dx-and-dw)\n"
    assert (call(*args).status, call(*args).err) == (0, said)
    given = ("--x", "normal:2x3x7x6", "--w", "normal:4x3x3x2", "--backward")
    assert "judged: y, dw (" in call("conv", *given, "--expect", "mine/dx-and-dw").err


MIXED = """
defaults: {layer: conv, tensors: {x: "normal:2x3x7x6", w: "normal:4x3x3x2"}}
cases:
  - {name: a, call: {y: "convolution2D(x, w, stride, padding)"}, expect: {y: {sum: 12345}}}
  - {name: b, gradcheck: true, expect: {y: {sum: 12345}}}
  - {name: c}
  - {name: d, call: {y: "convolution2D(x, w, stride, padding)"}, gradcheck: true}
  - {name: e, call: {y: "convolution2D(x, w, stride, padding)"}, gradcheck: true}
"""


def test_what_run_leaves_out_of_people_s_cases_is_said() -> None:
    Path("c.yaml").write_text(MIXED)
    ended = call("run", "c.yaml", "--against", "a.py", "--json")
    why = "judges our own results and is left out, since people's functions are judged here"
    assert ended.status == 0
    assert ended.err.splitlines() == [
        "note: 2 cases say no call and are left out: b, c",
        f"note: expect of 1 case {why}: a",
        f"note: gradcheck of 2 cases {why}: d, e",
    ]
    assert [one["name"] for one in ended.results] == ["a", "d", "e"]
    quiet = call("run", "c.yaml", "--against", "a.py", "--match", "a", "--quiet")
    assert (quiet.status, quiet.err) == (0, "")


def test_functions_are_not_called_where_the_layout_is_another() -> None:
    nhwc = ("conv", "--x", "normal:2x7x6x3", "--w", "normal:3x2x3x4", "--layout", "nhwc")
    message = complaint(call(*nhwc, "--against", "a.py", "--call", FORWARD))
    assert "called with N, C, H, W, and the layout is nhwc" in message
    Path("c.yaml").write_text(
        "{layer: conv, layout: nhwc, tensors: {x: 'normal:2x7x6x3', w: 'normal:3x2x3x4'}, "
        f"call: {{y: '{FORWARD[2:]}'}}}}"
    )
    message = complaint(call("run", "c.yaml", "--against", "a.py"))
    assert message.startswith("c.yaml:1:1: people's functions")


def test_a_config_s_own_error_is_the_only_one() -> None:
    Path("c.yaml").write_text("{layer: conv, call: {y: 'f(x)'}, tensors: {x: 'norml:2x3x7x6'}}")
    assert "norml" in complaint(call("run", "c.yaml", "--against", "a.py"))
    Path("c.yaml").write_text("{layer: conv, tensors: [")
    assert "c.yaml:2:" in complaint(call("run", "c.yaml", "--against", "a.py"))


def test_an_empty_shard_is_well() -> None:
    Path("c.yaml").write_text(MIXED)
    args = ("run", "c.yaml", "--against", "a.py", "--match", "a")
    files = ("--csv", "s.csv", "--junit", "s.xml", "--results", "s.jsonl")
    empty = call(*args, "--shard", "1/2", *files)
    assert (empty.status, empty.out, empty.err) == (0, "", "")
    assert Path("s.jsonl").read_text() == ""
    assert Path("s.csv").read_text().startswith("submission,points")
    assert call(*args, "--shard", "2/2", "--quiet").status == 0
    for parts in ((), ("--shard", "1/2")):
        without = call("run", "c.yaml", "--against", "a.py", "--match", "c", *parts, "--quiet")
        assert "no case here says" in complaint(without)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux")
def test_memory_in_which_python_cannot_start_is_an_error_that_names_the_least() -> None:
    Path("c.yaml").write_text(MIXED)
    args = ("run", "c.yaml", "--against", "a.py", "--match", "a", "--max-memory")
    message = complaint(call(*args, "1M"))
    assert message.startswith("--max-memory: people's files need at least ")
    assert message.endswith("which Python and NumPy take by themselves, but it allows 1.0 MiB")
    least = message.split("at least ")[1].split(",")[0]
    assert call(*args, least).status == 0
    alone = (*CONV, "--against", "a.py", "--call", FORWARD, "--max-memory")
    assert f"need at least {least}, " in complaint(call(*alone, "32M"))
    assert call(*alone, least).status == 0


def test_ctrl_c_keeps_who_is_judged() -> None:
    Path("c.yaml").write_text(MIXED)
    Path("s").mkdir()
    for name, text in (("a", FUNCTIONS), ("b", f"{FUNCTIONS}\nwhile True:\n    pass\n")):
        Path(f"s/{name}.py").write_text(text)
    command = [sys.executable, "-m", "cnncli", "run", "c.yaml", "--match", "a", "--against", "s"]
    running = subprocess.Popen(
        [*command, "--csv", "s.csv", "--results", "s.jsonl", "--run-all", "--timeout", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (Path("s.jsonl").exists() and Path("s.jsonl").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted; 1 of 2 submissions were judged"
    _, row = Path("s.csv").read_text().splitlines()
    assert row.startswith("s/a.py,1.0,1.0,1.0,right")


def notes(*args: str) -> list[str | None]:
    ended = call(*CONV, "--against", "a.py", "--json", *args)
    return [check.get("note") for check in ended.result["checks"]]


def test_what_a_call_does_not_pass_is_said_where_a_check_fails() -> None:
    wrong = ("--padding", "1:0,2:1", "--call", "y=convolution2D(x, w, stride, (0, 0))")
    (note,) = notes("--dilation", "2", *wrong)
    assert note is not None
    assert "the call does not pass padding, which is 1:0,2:1; nor dilation, which is 2" in note
    for args in (
        ("--dilation", "2", "--call", "y=convolution2D(x, w, stride, dilation)"),
        ("--padding", "2", "--call", "y=convolution2D(x, w, stride, (2, 3))"),  # told by a literal
        ("--stride", "1", "--call", "dx=backward_input(dy, x, w)"),
    ):
        (note,) = notes(*args)
        assert "does not pass" not in str(note)
    (note,) = notes("--b", "normal", "--call", FORWARD)
    assert str(note).endswith("the call does not pass b")
    assert notes("--call", "y=convolution2D(x, w, (1, 1), (0, 0))") == [None]


def test_probes_that_a_call_cannot_tell_of_are_skipped() -> None:
    Path("a.py").write_text(
        "def f(dy, x, w, stride):\n"
        "    import numpy as np\n"
        "    dx = np.zeros_like(x)\n"
        "    for i, j in np.ndindex(dy.shape[2:]):\n"
        "        rows = slice(stride[0] * i, stride[0] * i + w.shape[2])\n"
        "        columns = slice(stride[1] * j, stride[1] * j + w.shape[3])\n"
        "        dx[:, :, rows, columns] += np.tensordot(dy[:, :, i, j], w, 1)\n"
        "    return dx\n"
    )
    args = ("gradcheck", "conv", "--against", "a.py", "--call", "dx=f(dy, x, w, stride)")
    ended = call(*args)
    assert ended.status == 0
    assert ended.out.splitlines()[-1] == "10 cases: 3 passed, 7 skipped; 21 checks"
    assert "conv-padded: the call does not pass padding, which is 0:2,2:1\n" in ended.err
    assert "conv-transposed: the call does not pass" in ended.err
    by_flag = call(*args, "--padding", "1:1,0:0")  # whoever gives it knows that the call has none
    assert by_flag.status == 1
    assert "conv-plain" not in by_flag.err
    nothing = complaint(call("gradcheck", "conv", "--against", "a.py", "--call", "dx, y=f(dy)"))
    assert nothing == "built-in probe conv-plain: the call does not pass b"


def test_probes_whose_axes_differ_are_skipped_where_a_call_wants_one_number() -> None:
    Path("a.py").write_text("def f(dy, x, k, s):\n    return x\n")
    args = ("gradcheck", "pool", "--against", "a.py", "--call", "dx=f(dy, x, k, s)")
    nothing = complaint(call(*args))
    assert nothing.startswith("built-in probe pool-max: call wants kernel as one number, but the")
    some = call("gradcheck", "conv", "--against", "a.py", "--call", "dx=f(dy, x, w, s)")
    assert "conv-strided is skipped: built-in probe conv-strided: call wants stride" in some.err
    assert some.status == 1  # of the probes that it can be called on
    assert call(*args, "--kernel", "2", "--stride", "2", "--padding", "0").status == 1


def test_a_folder_that_a_config_names_stands_beside_the_config() -> None:
    """And not in the working folder, from where it is run."""
    Path("course/subs").mkdir(parents=True)
    Path("a.py").rename("course/subs/a.py")
    Path("course/c.yaml").write_text(
        "{layer: conv, tensors: {x: 'normal:2x3x7x6', w: 'normal:4x3x3x2'}, "
        f"call: {{y: '{FORWARD[2:]}'}}, against: [subs, loops]}}"
    )
    ended = call("run", "course/c.yaml", "--json")
    assert ended.status == 0
    by = {check["implementation"] for one in ended.results for check in one["checks"]}
    assert by == {"course/subs/a.py", "loops"}

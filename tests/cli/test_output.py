"""What goes where: JSON, standard output and error, exit statuses, pipes."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli import __version__
from cnncli.layers.table import LAYERS
from cnncli.runs.files import write_raw
from tests.cli.invoke import call, spawn

CONV = ("conv", "--x", "normal:2x3x5x4", "--w", "normal:4x3x3x2")
PAD = ("pad", "--x", "normal:2x3x5x4", "-p", "1")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_json_of_a_layer() -> None:
    result = call(
        *CONV, "--b", "ones", "-s", "2,1", "-p", "0:1,2:1", "--dy", "normal", "--json"
    ).result
    assert list(result) == [
        *(
            "format",
            "name",
            "layer",
            "status",
            "convention",
            "layout",
            "params",
            "tensors",
            "checks",
            "seconds",
            "reproduce",
        )
    ]
    assert result["format"] == "cnncli.result/1"
    assert (result["name"], result["layer"], result["status"]) == ("conv", "conv", "done")
    assert (result["convention"], result["layout"]) == ("torch", "nchw")
    assert result["params"] == {
        "stride": [2, 1],
        "padding": [[0, 1], [2, 1]],
        "dilation": [1, 1],
        "groups": 1,
        "transposed": False,
    }
    assert list(result["tensors"]) == ["x", "w", "b", "y", "dy", "dx", "dw", "db"]
    roles = {name: tensor["role"] for name, tensor in result["tensors"].items()}
    assert roles == {
        **dict.fromkeys(("x", "w", "b", "dy"), "input"),
        **dict.fromkeys(("dx", "dw", "db"), "gradient"),
        "y": "output",
    }
    x, y = result["tensors"]["x"], result["tensors"]["y"]
    assert set(x) == {
        *("role", "source", "shape", "dtype", "min", "max", "mean", "std", "sum", "nonfinite")
    }
    assert set(y) == set(x) - {"source"}
    assert (x["source"], x["shape"], y["shape"]) == ("normal:2x3x5x4", [2, 3, 5, 4], [2, 4, 2, 6])
    assert result["checks"] == []
    assert result["seconds"] >= 0


def test_json_values_are_outputs_in_full() -> None:
    result = call(*PAD, "--backward", "--values", "--json", "--save", "s").result
    assert "values" not in result["tensors"]["x"]
    for name in ("y", "dx"):
        assert np.array_equal(result["tensors"][name]["values"], np.load(f"s/{name}.npy"))
    assert "values" not in call(*PAD, "--no-values", "--json").result["tensors"]["y"]


def test_json_statistics_are_right() -> None:
    tensor = call(*PAD, "--json", "--save", "s").result["tensors"]["y"]
    y = np.load("s/y.npy")
    for name in ("min", "max", "mean", "std", "sum"):
        assert tensor[name] == pytest.approx(getattr(np, name)(y), rel=1e-15)


def test_json_is_strict_about_what_is_not_finite() -> None:
    np.save("x.npy", np.array([[[[np.nan, np.inf], [-np.inf, 1.0]]]]))
    ended = call("pad", "--x", "x.npy", "-p", "0", "--json", "--values", "--expect", "zeros")
    y = ended.result["tensors"]["y"]
    assert y["values"] == [[[["NaN", "Infinity"], ["-Infinity", 1.0]]]]
    assert (y["min"], y["sum"], y["nonfinite"]) == ("NaN", "NaN", 3)
    (check,) = ended.result["checks"]
    assert check["max_abs_error"] == "NaN"
    np.save("inf.npy", np.array([[[[np.inf, -np.inf]]]]))
    y = call("pad", "--x", "inf.npy", "-p", "0", "--json").result["tensors"]["y"]
    assert (y["min"], y["max"]) == ("-Infinity", "Infinity")


def test_json_checks() -> None:
    args = ("--expect", "zeros", "--expect", "dx=zeros", "--elements", "7", "--json")
    result = call("gradcheck", *PAD, *args).result
    expect, ours, our_identity, expected, identity = result["checks"]
    assert result["status"] == "failed"
    assert (expect["check"], expect["assertion"]) == ("expect", "npy")
    assert (expect["tensor"], expect["verdict"]) == ("y", "fail")
    assert (expect["mismatched"], expect["elements"]) == (2 * 3 * 5 * 4, 2 * 3 * 7 * 6)
    assert set(expect["worst"]) == {"index", "got", "expected"}
    assert len(expect["worst"]["index"]) == 4
    for check, subject, verdict in ((ours, "ours", "pass"), (expected, "expected", "fail")):
        assert (check["check"], check["tensor"]) == ("gradcheck", "dx")
        assert (check["subject"], check["verdict"]) == (subject, verdict)
        assert (check["method"], check["elements"]) == ("central", 7)
        assert 2 <= check["evaluations"] <= 14
        assert set(check["worst"]) == {"index", "analytic", "numeric"}
        for key in ("step", "max_abs_error", "max_rel_error", "norm_rel_error"):
            assert isinstance(check[key], int | float)
    for check, subject, verdict in (
        (our_identity, "ours", "pass"),
        (identity, "expected", "fail"),
    ):
        assert (check["check"], check["tensor"], check["method"]) == ("gradcheck", "dx", "identity")
        assert (check["subject"], check["verdict"]) == (subject, verdict)
        assert check["identity"] == "sum(dx*x) = sum(dy*y)"
        assert set(check["worst"]) == {"index", "analytic", "numeric"}
        for key in ("step", "evaluations", "accuracy", "norm_rel_error", "max_rel_error"):
            assert key not in check
        assert isinstance(check["terms_rel_error"], int | float)
    for check in (expect, expected):
        assert "all zero: never computed" in check["diagnosis"][0]["cause"]


def test_json_of_a_bad_case() -> None:
    Path("c.yaml").write_text("layer: pad\nparams: {padding: 1}\n")
    ended = call("run", "c.yaml", "--json")
    assert ended.status == 2
    result = ended.result
    assert set(result) == {"format", "name", "file", "status", "error", "seconds", "reproduce"}
    assert result["status"] == "invalid"
    assert result["error"]["where"] == "c.yaml:1:1"
    assert result["reproduce"] == "cnncli run c.yaml::c"
    assert ended.err == f"error: c.yaml:1:1: {result['error']['message']}\n"


def test_reproduce_runs_the_case_alone() -> None:
    Path("it's mine.yaml").write_text(
        "defaults: {layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}}\n"
        "cases: [{name: a b}, {name: c}]\n"
    )
    for result in call("run", "it's mine.yaml", "--json").results:
        words = subprocess.run(
            ["sh", "-c", f'set -- {result["reproduce"]}; printf "%s\\n" "$@"'],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert words[:2] == ["cnncli", "run"]
        assert call(*words[1:], "--json").result["name"] == result["name"]


def test_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*PAD).status == 0
    assert call(*PAD, "--expect", "zeros").status == 1
    assert call(*PAD, "--expect", "absent.npy").status == 2

    def fail(error: BaseException) -> Any:
        def output(*args: object) -> None:
            raise error

        return output

    monkeypatch.setattr(type(LAYERS["pad"]), "forward", fail(ZeroDivisionError("a slip")))
    ended = call(*PAD)
    assert (ended.status, ended.out) == (3, "")
    assert "fault of cnncli itself: ZeroDivisionError: a slip" in ended.err
    assert ended.err.count("\n") == 1
    monkeypatch.setattr(type(LAYERS["pad"]), "forward", fail(KeyboardInterrupt()))
    ended = call(*PAD)
    assert (ended.status, ended.out) == (130, "")
    assert "Traceback" not in ended.err
    monkeypatch.setattr(type(LAYERS["pad"]), "forward", fail(MemoryError()))
    ended = call(*PAD)
    assert (ended.status, ended.out) == (2, "")
    assert "memory" in ended.err


def test_a_fault_can_be_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNCLI_TRACEBACK", "1")
    monkeypatch.setattr(type(LAYERS["pad"]), "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call(*PAD)


def test_version() -> None:
    ended = call("--version")
    assert (ended.status, ended.out, ended.err) == (0, f"cnncli {__version__}\n", "")


def test_quiet_says_nothing_but_errors() -> None:
    for args, status in ((PAD, 0), ((*PAD, "--expect", "zeros"), 1)):
        ended = call(*args, "--quiet")
        assert (ended.status, ended.out, ended.err) == (status, "", "")


def test_out_is_y_alone() -> None:
    ended = call(*PAD, "--out", "-")
    assert ended.err == ""
    call(*PAD, "--out", "y.npy")
    assert ended.raw == Path("y.npy").read_bytes()
    y = np.load(io.BytesIO(ended.raw))
    assert (y.shape, y.dtype) == ((2, 3, 7, 6), np.float64)


def test_out_pipes_into_x() -> None:
    padded = call(*PAD, "--dtype", "float32", "-o", "-")
    np.save("w.npy", np.random.default_rng(3).normal(size=(4, 3, 3, 2)))
    piped = call("conv", "--x", "-", "--w", "w.npy", "-o", "-", stdin=padded.raw)
    assert piped.status == 0, piped.err
    Path("padded.npy").write_bytes(padded.raw)
    direct = call("conv", "--x", "padded.npy", "--w", "w.npy", "-o", "-")
    assert piped.raw == direct.raw


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_pipes_of_a_shell(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    script = (
        '"$0" -m cnncli pad --x arange:1x1x3x4 -p 1 -o - '
        '| "$0" -m cnncli pool --x - -k 2 -o - | "$0" -m cnncli pad --x - -p 0 --json --values'
    )
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, check=True)
    assert b'"values": [[[[0.0, 2.0, 3.0], [8.0, 10.0, 11.0]]]]' in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("pad", "--help"),
        (*PAD, "--values"),
        (*PAD, "--json"),
        ("pad", "--x", "normal:1x1x300x300", "-p", "1", "-o", "-"),
        ("run", "c.yaml", "--json"),
        ("run", "c.yaml"),
    ],
)
def test_a_closed_pipe_is_no_failure(args: tuple[str, ...]) -> None:
    Path("c.yaml").write_text("layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "cnncli", *args], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_head_closes_the_pipe() -> None:
    script = '("$0" -m cnncli pad --x normal:1x1x150x150 -p 1 --values; echo $? >&2) | head -n 1'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, check=True)
    assert done.stderr == b"0\n"
    assert done.stdout.count(b"\n") == 1


FAILING = "layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\nexpect: {y: {sum: 5}}\n"


def with_closed_pipe(*args: str) -> int:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "cnncli", *args], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.stderr == b""
    return done.returncode


@pytest.mark.parametrize("flags", [(), ("--json",), ("--jobs", "2", "--quiet")])
def test_a_closed_pipe_does_not_hide_a_failure(flags: tuple[str, ...]) -> None:
    Path("c.yaml").write_text(FAILING)
    assert with_closed_pipe("run", "c.yaml", *flags) == 1
    np.save("a.npy", np.zeros(3))
    np.save("b.npy", np.ones(3))
    if "--jobs" not in flags:
        assert with_closed_pipe("compare", "a.npy", "b.npy", *flags) == 1


def test_files_are_whole_whoever_reads_the_pipe() -> None:
    case = "{{name: c{}, layer: pad, params: {{padding: 1}}, tensors: {{x: 'ones:1x1x2x2'}}, "
    case += "expect: {{y: {{sum: {}}}}}}}"
    cases = [case.format(number, 4 if number < 30 else 5) for number in range(40)]
    Path("c.yaml").write_text("cases:\n" + "".join(f"- {text}\n" for text in cases))
    assert with_closed_pipe("run", "c.yaml", "--quiet") == 1
    files = ("--results", "r.jsonl", "--junit", "r.xml")
    assert with_closed_pipe("run", "c.yaml", "--json", *files) == 1
    assert len(Path("r.jsonl").read_text().splitlines()) == 40
    assert 'failures="10"' in Path("r.xml").read_text()
    # Without a file nobody waits for the failures at the end.
    assert with_closed_pipe("run", "c.yaml", "--json") == 0


def test_closed_standard_input_holds_nothing() -> None:
    script = '"$0" -m cnncli run - <&-'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"-: this config is empty" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("--version",),
        ("pad", "--x", "ones:1x1x2x2", "-p", "1"),
        (*PAD, "--json"),
        ("pad", "--x", "normal:1x1x300x300", "-p", "1", "--values"),
        ("pad", "--x", "normal:1x1x300x300", "-p", "1", "-o", "-"),
        ("gradcheck", "pad"),
        ("run", "c.yaml"),
        ("run", "c.yaml", "--json"),
    ],
)
def test_a_full_device_is_told(args: tuple[str, ...]) -> None:
    Path("c.yaml").write_text("layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cnncli", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    reason = os.strerror(errno.ENOSPC)
    said = f"error: standard output cannot be written: {reason}\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("flags", [(), ("--json",), ("--list",)])
def test_ascii_streams_do_not_crash(flags: tuple[str, ...]) -> None:
    Path("c.yaml").write_text(
        "name: çà→\nlayer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n", "utf-8"
    )
    ended = spawn("run", "c.yaml", *flags, env={"PYTHONIOENCODING": "ascii"})
    assert (ended.status, ended.err) == (0, "")
    assert ended.raw.isascii()
    assert "\\u2192" in ended.out
    if "--json" in flags:
        assert ended.result["name"] == "çà→"
    bad = spawn("pad", "--x", "→.npy", "-p", "1", env={"PYTHONIOENCODING": "ascii"})
    assert bad.status == 2
    assert "\\u2192.npy" in bad.err


def test_a_file_name_that_is_no_text() -> None:
    name = os.fsdecode(b"caf\xe9.yaml")
    Path(name).write_text("layer: pad\nparams: {padding: 1}\ntensors: {x: 'ones:1x1x2x2'}\n")
    for flags in ((), ("--json",), ("--save", "s")):
        assert spawn("run", name, *flags).status == 0


def test_results_beside_the_tensors_are_said_not_to_be_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    arrays = {"x": (2, 3, 5, 6), "w": (4, 3, 3, 2), "dx": (2, 3, 5, 6), "dw": (4, 3, 3, 2)}
    values = {name: rng.normal(size=shape) for name, shape in arrays.items()}
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, array in values.items():
        np.save(mine / f"{name}.npy", array)
    packed: dict[str, Any] = dict(values)
    np.savez(tmp_path / "mine.npz", **packed)
    check = ("gradcheck", "conv", "--stride", "2,1", "--wrt", "x")
    ended = call(*check, "--tensors", mine)
    said = f"dx.npy, dw.npy of {mine} are not judged: --expect {mine} judges them"
    assert (ended.status, ended.out.splitlines()[-1]) == (0, said)
    ended = call(*check, "--tensors", mine, "--expect", f"dw={mine}/dw.npy")
    assert ended.out.splitlines()[-1].startswith(f"dx.npy of {mine} is not judged")
    npz = tmp_path / "mine.npz"
    ended = call("conv", "--tensors", npz, "--json")
    flags = f"--expect dx={npz}:dx --expect dw={npz}:dw"
    assert ended.err == f"note: dx, dw of {npz} are not judged: {flags} judges them\n"
    ended = call("conv", "--tensors", npz, *flags.split())
    assert ended.status == 1
    assert "not judged" not in ended.out


RAW = {
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "int8": "i1",
    "uint8": "u1",
    "int32": "<i4",
}


@pytest.mark.parametrize("dtype", [*RAW, "bfloat16"])
def test_raw_numbers_are_read_back(dtype: str) -> None:
    low, high = ("0", "9") if dtype == "uint8" else ("-90", "90")
    pad = ("pad", "--x", f"integers:1x2x3x4,low={low},high={high}", "-p", "1")
    assert call(*pad, "-o", f"y.bin:{dtype}", "--save", "saved").status == 0
    y = np.load("saved/y.npy")
    if dtype in RAW:
        np.testing.assert_array_equal(np.fromfile("y.bin", RAW[dtype]).reshape(y.shape), y)
    back = call("compare", f"y.bin:{dtype}:1x2x5x6", "saved/y.npy", "--rtol", "0", "--atol", "0")
    assert back.status == 0


@given(st.floats(width=32) | st.floats())
def test_the_nearest_bfloat16(number: float) -> None:
    """By the two numbers of bfloat16 beside it, found by their bits."""
    stream = io.BytesIO()
    write_raw(stream, np.array([number]), "bfloat16")
    (bits,) = np.frombuffer(stream.getvalue(), "<u2")
    found = float(as_float32(int(bits)))
    if math.isnan(number):
        assert math.isnan(found)
        return
    assert math.copysign(1, found) == math.copysign(1, number)
    size, bits = abs(number), int(bits) & 0x7FFF
    if math.isinf(found):
        assert size >= float(as_float32(0x7F7F)) + 2.0**119
        return
    error = abs(Fraction(size) - Fraction(abs(found)))
    for other in {max(bits - 1, 0), min(bits + 1, 0x7F7F)} - {bits}:
        away = abs(Fraction(size) - Fraction(float(as_float32(other))))
        assert error < away or (error == away and bits % 2 == 0)


def as_float32(bits: int) -> np.float32:
    return np.array([bits << 16], np.uint32).view(np.float32)[0]  # type: ignore[no-any-return]


def test_out_is_written_through_a_link_and_keeps_the_mode() -> None:
    Path("inside").mkdir()
    Path("inside/y.npy").touch(mode=0o600)
    os.chmod("inside/y.npy", 0o600)
    Path("link.npy").symlink_to("inside/y.npy")
    Path("dangling.npy").symlink_to("inside/new.npy")
    for out, file in (("link.npy", "y.npy"), ("dangling.npy", "new.npy")):
        assert call(*PAD, "--out", out).status == 0
        assert Path(out).is_symlink()
        assert np.load(f"inside/{file}").shape == (2, 3, 7, 6)
    assert Path("inside/y.npy").stat().st_mode & 0o777 == 0o600
    assert len(list(Path("inside").iterdir())) == 2


def test_a_name_as_long_as_a_name_may_be() -> None:
    name = "y" * 251 + ".npy"
    assert call(*PAD, "--out", name).status == 0
    assert Path(name).exists()
    assert call(*PAD, "--out", "y" + name).status == 2


SHELL = '"$0" -m cnncli "$@" '


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("pad", "--help"),
        PAD,
        (*PAD, "--out", "y.npy"),
        ("run", "c.yaml", "--results", "r.jsonl"),
        ("run", "c.yaml", "c.yaml", "--results", "r.jsonl", "--jobs", "2"),
    ],
)
def test_closed_standard_streams(args: tuple[str, ...], closed: str) -> None:
    """Nothing else takes their numbers, and what was asked for is written."""
    case = "{layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}}"
    Path("c.yaml").write_text(f"cases: [{case}, {case}]\n")
    command = ["sh", "-c", SHELL + closed, sys.executable, *args]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    if "--results" in args:
        lines = Path("r.jsonl").read_text().splitlines()
        assert [json.loads(line)["status"] for line in lines] == ["done"] * 2
    if "--out" in args:
        assert np.load("y.npy").shape == (2, 3, 7, 6)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("error", ["2>/dev/full", "2>&-"])
def test_a_message_that_nobody_gets_changes_no_status(error: str) -> None:
    Path("c.yaml").write_text(FAILING)
    for args, status in (
        (("pad", "--x", "nope.npy", "-p", "1"), 2),
        (("pad", "--nosuch"), 2),
        (("run", "c.yaml"), 1),
        (PAD, 0),
    ):
        command = ["sh", "-c", SHELL + error, sys.executable, *args]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode == status

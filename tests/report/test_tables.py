"""Tables: readable at 80 columns, complete when piped, and user text shown as it is."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cnncli.checks.check import Check
from cnncli.checks.compare import compare
from cnncli.report.console import make_console
from cnncli.report.numbers import apart_texts, number_text
from cnncli.report.tables import Values, ending, show_result, show_results, summary
from cnncli.report.wording import identity_text
from cnncli.runs.job import Job
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Result
from tests.cli.invoke import call
from tests.layers.cases import entry, run

CONV = {"x": "normal:2x3x15x14,loc=1000", "w": "normal:4x3x3x2", "b": "normal", "dy": "normal"}
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")


def conv(**more: object) -> Result:
    params = {"stride": [2, 1], "padding": [[0, 1], [2, 1]]}
    return run("conv", params, CONV, **more)


def shown(result: Result, values: Values = "auto", width: int = 80, terminal: bool = True) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        markup=False,
        highlight=False,
        emoji=False,
        color_system=None,
    )
    show_result(console, result, values)
    return stream.getvalue()


def piped(result: Result, values: Values = "auto") -> str:
    stream = io.StringIO()
    show_result(make_console(stream), result, values)
    return stream.getvalue()


CHECKED = conv(
    expect={"y": {"npy": "zeros"}, "dw": {"sum": 3}, "x": {"shape": [1, 2]}}, gradcheck=True
)


@pytest.mark.parametrize("values", ["auto", "all", "none"])
def test_eighty_columns(values: Values) -> None:
    text = shown(CHECKED, values)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    x = CHECKED.tensors["x"]
    for number in (x.min, x.mean, x.max):
        assert number_text(number, full=False) in text  # in one piece
    for name, tensor in CHECKED.tensors.items():
        assert re.search(rf"^{name} +{tensor.role} ", text, re.MULTILINE)
    for word in ("2x4x7x16", "float64", "fail"):
        assert word in text


def test_a_row_holds_one_number_a_cell_at_eighty_columns() -> None:
    text = shown(CHECKED, "none")
    (row,) = [line for line in text.splitlines() if line.startswith("x ")]
    assert len(NUMBER.findall(row)) >= 2


def test_piped_numbers_are_whole() -> None:
    text = piped(CHECKED)
    for tensor in CHECKED.tensors.values():
        for number in (tensor.min, tensor.mean, tensor.max):
            assert repr(number) in text
    worst = CHECKED.checks[0].worst
    assert worst is not None
    assert repr(worst.got) in text
    assert "…" not in text


def test_values_are_whole_on_demand() -> None:
    result = run("pad", {"padding": 0}, {"x": "normal:1x2x2x3"})
    for text in (piped(result, "all"), shown(result, "all")):
        printed = text[text.index("[[[[") : text.index("]]]]") + 4]
        numbers = [float(word) for word in re.findall(r"[-\d.e+]+", printed)]
        assert numbers == result.tensors["y"].array.ravel().tolist()


def test_piped_values_are_whole_as_well() -> None:
    result = run("pad", {"padding": 0}, {"x": "normal:1x1x2x3"})
    for number in result.tensors["y"].array.ravel().tolist():
        assert repr(number) in piped(result)


def test_small_outputs_whole_large_ones_as_corners() -> None:
    small = run("pad", {"padding": 0}, {"x": "arange:1x2x2x50"})
    assert "199" in shown(small)
    assert "..." not in shown(small)
    large = run("pad", {"padding": 0}, {"x": "arange:1x2x2x51"})
    assert "corners" in shown(large)
    assert "..." in shown(large)
    assert "..." not in shown(large, "all")
    assert "[[[[" not in shown(large, "none")


def test_last_line_says_how_it_ended() -> None:
    assert shown(conv()).splitlines()[-1] == "done: computed, nothing to check"
    good = conv(expect={"y": {"shape": [2, 4, 7, 16]}})
    assert shown(good).splitlines()[-1] == "passed: 1 check"
    last = " ".join(shown(CHECKED, width=300).splitlines()[-1].split())
    start = "FAILED: 3 of 9 checks; y expect npy (the test): "
    assert last == start + "the given y is all zero: never computed"
    bare = [replace(check, diagnosis=None) for check in CHECKED.checks]
    assert ending(replace(CHECKED, checks=bare)).startswith(start + "y[")
    exact = [check.verdict for check in CHECKED.checks if check.identity is not None]
    assert exact == ["pass"] * 3


def test_an_identity_says_whether_its_sides_are_equal() -> None:
    case = ("gradcheck", "pad", "--x", "integers:2x3x5x4", "--padding", "1", "--dy", "ones")
    out = call(*case, "--expect", "dx=zeros").out
    ours, theirs = (line for line in out.splitlines() if "sum(dx*x)" in line and "dx  " in line)
    words = ours.split("sum(dy*y)")[1].split()
    total = words[2]  # after what was observed: no tolerance stands in "expected"
    assert words == ["0", "pass", total, "=", total]
    words = theirs.split("sum(dy*y)")[1].split()
    assert words[1:5] == ["fail", "0.0,", "not", total]


@pytest.mark.parametrize("name", ["[h]", "[/b]", "[bold red]x", ":smile:", "[link=a]b", "a\\[b]"])
def test_names_are_shown_as_they_are(name: str) -> None:
    case = entry("pad", {"padding": 1}, {"x": "ones:1x1x2x2"}, expect={"y": {"sum": 5}})
    named = type(case)(name=name, file="[d]/c.yaml", where="here", entries=case.entries)
    result = Job(options=RunOptions()).results(named)[0]
    for text in (shown(result), piped(result)):
        assert f"[d]/c.yaml::{name}" in text
    stream = io.StringIO()
    show_results(make_console(stream), [result, result])
    assert stream.getvalue().count(f"[d]/c.yaml::{name}") == 4


def test_names_through_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(
        "defaults: {layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}}\n"
        "cases: [{name: '[h]'}, {name: '[b]x'}, {name: 'y[ESC]', params: {padding: '[/i]'}}]\n"
    )
    ended = call("run", "c.yaml")
    for part in ("c.yaml::[h]", "c.yaml::[b]x", "c.yaml::y[ESC]"):
        assert part in ended.out
    assert "'[/i]'" in ended.err
    assert "c.yaml::[h]" in call("run", "c.yaml", "--list").out


def test_source_texts_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("[red]x.npy", np.ones((1, 1, 2, 2)))
    assert "[red]x.npy" in call("pad", "--x", "[red]x.npy", "-p", "1").out


def in_terminal(*args: str, env: dict[str, str] | None = None) -> str:
    """Return what the command writes to a terminal of 80 columns."""
    outer, inner = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    clean |= {"COLUMNS": "80", "TERM": "xterm"} | (env or {})
    process = subprocess.Popen(
        [sys.executable, "-m", "cnncli", *args], stdout=inner, stderr=inner, env=clean
    )
    os.close(inner)
    parts = []
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # Linux tells the end of a terminal so.
            break
        if not part:
            break
        parts.append(part)
    os.close(outer)
    process.wait(timeout=60)
    return b"".join(parts).decode()


PAD = ("pad", "--x", "normal:2x3x15x14", "-p", "1", "--expect", "zeros")


def test_colour_on_a_terminal_and_none_where_it_is_not_wanted() -> None:
    coloured = in_terminal(*PAD)
    assert "\x1b[" in coloured
    plain = in_terminal(*PAD, env={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", plain)
    assert "\x1b[" not in call(*PAD).out
    for text in (coloured, plain):
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert max(map(len, lines)) <= 80
        assert "…" not in text


def test_piped_output_is_not_folded() -> None:
    name = "n" * 180
    result = run("pad", {"padding": 0}, {"x": "arange:1x1x2x2"})
    long = Result(**{**vars(result), "name": name})
    assert name in piped(long)


def test_numbers() -> None:
    assert number_text(0.1234567891, full=False) == "0.12346"
    assert number_text(0.1234567891, full=True) == "0.1234567891"
    assert number_text(2**60, full=False) == str(2**60)
    assert number_text(None, full=True) == ""
    assert number_text(float("nan"), full=False) == "nan"


def test_the_sum_of_squares_is_told_of_each_implementation() -> None:
    case = ("conv", "--x", "normal:1x2x4x5", "--w", "normal:3x2x2x2", "--dy", "normal")
    checks = call(*case, "--against", "loops", "--json").result["checks"]
    sums = [f"{check['tensor']} {check['sum_squared_error']:.3g}" for check in checks]
    line = f"sum_squared_error of loops: {', '.join(sums)}"
    assert line in call(*case, "--against", "loops").out.splitlines()


def test_words_of_an_ending() -> None:
    failed = Check(
        check="expect", assertion="shape", tensor="y", verdict="fail", got=[1, 2], expected=[2, 1]
    )
    result = Result(name="c", status="failed", checks=[failed])
    assert ending(result) == "FAILED: 1 of 1 check; y expect shape: 1x2, expected 2x1"
    assert summary([result, result]) == "2 cases: 2 failed; 2 checks"
    near = compare(np.array([[0.1]]), np.array([[0.1 + 1e-16]]), 0)
    assert near.worst is not None
    near = replace(near, mismatched=0, worst=replace(near.worst, index=(0, 2)))
    found = replace(failed, assertion="npy", got=None, expected=None, comparison=near, note="noted")
    numbers = f"y[0,2] 0.1, expected {0.1 + 1e-16!r}; noted"
    assert ending(replace(result, checks=[found])).endswith(numbers)


def test_a_failing_identity_shows_numbers_that_differ_and_what_was_allowed() -> None:
    check = Check(
        check="gradcheck",
        tensor="dx",
        subject="expected",
        verdict="fail",
        identity="sum(dx*x) = sum(dy*y)",
        terms_rel_error=1.37e-11,
        rtol=1e-11,
        comparison=compare(np.array(78.57772117732426), np.array(78.57772119907179), 1e-11),
    )
    shown = identity_text(check, full=False)
    assert shown == "78.57772118, not 78.5777212 (1.37e-11 of the terms apart, 1e-11 allowed)"
    text = apart_texts(4.03741, 4.0374, full=False)
    assert text == ("4.03741", "4.0374")

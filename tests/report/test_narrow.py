"""On a terminal of 80 columns texts fold; a number is whole or not there."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cnncli.checks.check import Check
from cnncli.report.numbers import error_text
from cnncli.report.tables import show_checks
from cnncli.runs.result import Result
from tests.layers.cases import run

CONV = {"x": "normal:2x3x9x8", "w": "normal:4x3x3x2", "b": "normal", "dy": "normal"}


def shown(checks: list[Check], width: int) -> str:
    stream = io.StringIO()
    show_checks(Console(file=stream, width=width, force_terminal=True, color_system=None), checks)
    return stream.getvalue()


@pytest.fixture(scope="module")
def judged() -> Result:
    wrong = {"dx": {"npy": "normal"}, "dw": {"npy": "zeros"}}
    return run("conv", {"stride": [2, 1]}, CONV, expect=wrong, gradcheck=True)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_numbers_of_a_gradient_check_are_whole(judged: Result, width: int) -> None:
    text = shown(judged.checks, width)
    assert max(len(line) for line in text.splitlines()) <= width
    words = set(text.split())
    for check in judged.checks:
        found = check.comparison
        errors = () if found is None else (found.norm_rel_error, found.max_rel_error)
        for number in (check.accuracy, *errors):
            if number is not None and not check.identity:
                assert error_text(number) in words
    for row in (row for check in judged.checks for row in check.diagnosis or ()):
        if row.get("distance") is not None:
            assert error_text(row["distance"]) in words


def test_the_worst_element_of_a_wrong_gradient_is_told(judged: Result) -> None:
    for check in judged.checks:
        if check.verdict == "fail" and check.worst is not None and not check.identity:
            place = ",".join(map(str, check.worst.index))
            assert f"{check.tensor}[{place}]" in shown(judged.checks, 80)


@pytest.mark.parametrize(("given", "asks"), [({}, True), ({"dy": "normal"}, False)])
def test_a_wrong_gradient_of_a_dy_made_here_is_doubted(given: dict[str, str], asks: bool) -> None:
    tensors = {"x": "normal:2x3x5x4", "w": "normal:4x3x2x3", **given}
    result = run("conv", {}, tensors, expect={"dx": {"npy": "ones"}}, gradcheck=True)
    (theirs,) = (c for c in result.checks if c.subject == "expected" and not c.identity)
    assert theirs.verdict == "fail"
    assert ("dy was not given" in (theirs.note or "")) is asks

"""The one comparison: what it counts, its mask, and a check's record and the way back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncli.checks.check import RECORD_KEYS, Check
from cnncli.checks.compare import allowed_error, compare
from tests.checks.command import expected_check, results

Capsys = pytest.CaptureFixture[str]
NAN, INF = float("nan"), float("inf")


def test_counts_and_measures() -> None:
    got = np.array([1.0, 2.0, 0.0, -4.0])
    expected = np.array([1.0, 2.5, 0.0, 4.0])
    found = compare(got, expected, allowed_error(expected, rtol=0.1, atol=0.0))
    assert (found.elements, found.mismatched) == (4, 2)
    assert found.max_abs_error == 8
    assert found.max_rel_error == 2
    assert found.sum_squared_error == 64.25
    assert found.norm_rel_error == pytest.approx(
        np.linalg.norm(got - expected) / np.linalg.norm(expected)
    )
    assert found.worst is not None
    assert found.worst.index == (3,)
    assert found.largest_share == 20
    assert found.wrong is not None
    assert found.wrong.tolist() == [False, True, False, True]


def test_zero_against_zero() -> None:
    found = compare(np.zeros(3), -np.zeros(3), 0.0)
    assert (found.mismatched, found.max_rel_error, found.norm_rel_error) == (0, 0, 0)


@pytest.mark.parametrize("equal_nan", [False, True])
def test_what_is_no_number(equal_nan: bool) -> None:
    got = np.array([NAN, NAN, 1.0, INF, INF, 1.0, -INF])
    expected = np.array([NAN, 1.0, NAN, INF, -INF, INF, 1.0])
    found = compare(got, expected, allowed_error(expected, 1.0, 1.0), equal_nan=equal_nan)
    assert found.wrong is not None
    assert found.wrong.tolist() == [not equal_nan, True, True, False, True, True, True]


def test_each_element_has_what_it_is_allowed() -> None:
    got, expected = np.array([1.5, 1.5, 1.0, 1.0]), np.ones(4)
    found = compare(got, expected, np.array([0.6, 0.4, 0.0, -1.0]))
    assert found.wrong is not None
    assert found.wrong.tolist() == [False, True, False, True]  # where negative, nothing is right


def test_the_worst_of_what_is_right() -> None:
    got, expected, allowed = np.array([1.2, 9.5]), np.array([1.0, 9.0]), np.array([0.25, 5.0])
    by_error, by_share = (compare(got, expected, allowed, by_share=by) for by in (False, True))
    assert by_error.worst is not None
    assert by_share.worst is not None
    assert (by_error.worst.index, by_share.worst.index) == ((1,), (0,))


@pytest.mark.parametrize("tolerance", [(), ("--rtol", "1e-3"), ("--tolerance", "derived")])
def test_one_wrong_element_beside_pairs_of_nan(
    tmp_path: Path, capsys: Capsys, tolerance: tuple[str, ...]
) -> None:
    """What is counted and what is explained are one mask."""
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8))
    x[0, 1, 2:4, 3] = NAN
    np.save(tmp_path / "x.npy", x)
    case = ("conv", "--x", f"{tmp_path}/x.npy", "--w", "normal:4x3x3x2")
    _, (result,) = results(capsys, *case, "--save", str(tmp_path / "right"))
    assert result["tensors"]["y"]["nonfinite"] > 1
    y = np.load(tmp_path / "right/y.npy")
    y[1, 2, 3, 4] += 1
    np.save(tmp_path / "y.npy", y)
    judged = (*case, "--expect", f"y={tmp_path}/y.npy", "--equal-nan", *tolerance)
    status, (result,) = results(capsys, *judged)
    check = expected_check(result, "y")
    assert (status, check["mismatched"]) == (1, 1)
    assert check["sits"] == ["one element alone is wrong"]


def test_an_infinite_expected_element_has_its_place(tmp_path: Path, capsys: Capsys) -> None:
    case = ("conv", "--x", "normal:2x3x9x8", "--w", "normal:4x3x3x2")
    results(capsys, *case, "--save", str(tmp_path / "right"))
    y = np.load(tmp_path / "right/y.npy")
    y[1, 2, 3, 4] = INF
    np.save(tmp_path / "y.npy", y)
    _, (result,) = results(capsys, *case, "--expect", f"y={tmp_path}/y.npy")
    check = expected_check(result, "y")
    assert check["mismatched"] == 1
    assert check["sits"] == [
        "1 of 392 element is infinite, y[1,2,3,4] is inf",
        "one element alone is wrong",
    ]


CASES: tuple[tuple[str, ...], ...] = (
    ("conv", "--expect", "y=zeros", "--expect", "dx=normal", "--expect", "dw=ones:3x2"),
    ("conv", "--expect", "y=zeros", "--tolerance", "derived"),
    ("conv", "--against", "loops", "--backward"),
    ("conv", "--against", "loops", "--tolerance", "derived"),
    ("gradcheck", "conv", "--expect", "dx=normal", "--expect", "dw=zeros", "--elements", "9"),
)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_record_is_read_back(capsys: Capsys, case: tuple[str, ...]) -> None:
    _, (result,) = results(capsys, *case, "--x", "normal:2x3x9x8", "--w", "normal:4x3x3x2")
    assert len(result["checks"]) >= 1
    for data in result["checks"]:
        assert_read_back(data)


def test_every_kind_of_assertion_is_read_back(tmp_path: Path, capsys: Capsys) -> None:
    np.save(tmp_path / "y.npy", np.full((1, 1, 2, 2), INF))
    config = tmp_path / "c.yaml"
    config.write_text(
        "layer: pool\nparams: {kernel: 2}\ntensors: {x: 'ones:1x1x4x4'}\n"
        "expect: {y: [{shape: [1, 1, 2, 2]}, {sum: 4}, {mean: .nan}, {channel_std: [0]},"
        " {at: [0, 0, '0:2', 1], values: [[1, 1]]}, {values: [[[[1, 1], [1, 2]]]]},"
        " {sum_squared_error: {npy: y.npy, below: 1}}]}\n"
    )
    _, (result,) = results(capsys, "run", str(config))
    assert len(result["checks"]) == 7
    for data in result["checks"]:
        assert_read_back(data)


def assert_read_back(data: dict[str, Any]) -> None:
    check = Check.read(data)
    again = check.record()
    assert [key for key in RECORD_KEYS if key in data] == list(data)
    assert list(again) == list(data)
    # Numbers that are not finite are text in JSON, and numbers again in a check.
    assert json.dumps(again) == json.dumps(json.loads(json.dumps(data), object_hook=_numbers))


def _numbers(data: dict[str, Any]) -> dict[str, Any]:
    names = {"NaN": NAN, "Infinity": INF, "-Infinity": -INF}
    return {k: names.get(v, v) if isinstance(v, str) else v for k, v in data.items()}


def test_no_other_process_gets_the_mask() -> None:
    found = compare(np.ones(3), np.zeros(3), 0.0)
    check = Check(check="expect", tensor="y", verdict="fail", comparison=found)
    there = pickle.loads(pickle.dumps(check))
    assert there == check
    assert there.comparison.wrong is None
    assert found.wrong is not None

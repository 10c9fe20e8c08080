"""Every assertion passes where it should, and fails where it should, by command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.invoke import call

X = np.random.default_rng(11).normal(size=(2, 3, 4, 5))
SUM, MEAN, STD = float(X.sum()), float(X.mean()), float(X.std())
C_MEAN, C_STD = X.mean((0, 2, 3)).tolist(), X.std((0, 2, 3)).tolist()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("off.npy", X + 0.01)
    np.save("row.npy", X[:1])
    np.save("flat.npy", X.reshape(6, 4, 5))


def checks(
    expectation: str, x: str = "x.npy", layer: str = "pad", params: str = "padding: 0"
) -> Any:
    Path("c.yaml").write_text(
        f"layer: {layer}\nparams: {{{params}}}\ntensors: {{x: '{x}'}}\n"
        f"expect: {{y: {expectation}}}\n"
    )
    ended = call("run", "c.yaml", "--json")
    verdicts = ended.result["checks"]
    wrong = any(check["verdict"] == "fail" for check in verdicts)
    assert ended.status == int(wrong), ended.err
    assert ended.result["status"] == ("failed" if wrong else "passed")
    return verdicts


def verdict(expectation: str, **rest: str) -> str:
    (check,) = checks(expectation, **rest)
    return str(check["verdict"])


AT = X[1, 2].tolist()

PASSING = [
    "{shape: [2, 3, 4, 5]}",
    "{npy: x.npy}",
    "{npy: x.npy, rtol: 0, atol: 0}",
    "{npy: off.npy, atol: 0.011}",
    f"{{values: {X.tolist()}}}",
    f"{{at: [1, 2], values: {AT}}}",
    f"{{at: [-1, -1], values: {AT}}}",
    f"{{at: [1, 2, 3, 4], values: {float(X[1, 2, 3, 4])!r}}}",
    f'{{at: [1, 2, "2:4", "1:3"], values: {X[1, 2, 2:4, 1:3].tolist()}}}',
    f'{{at: [1, ":", "-2:", ":-1"], values: {X[1, :, -2:, :-1].tolist()}}}',
    f"{{sum: {SUM!r}}}",
    f"{{mean: {MEAN!r}, std: {STD!r}}}",
    f"{{min: {float(X.min())!r}, max: {float(X.max())!r}, rtol: 0}}",
    f"{{channel_mean: {C_MEAN}}}",
    f"{{channel_std: {C_STD}}}",
    "{sum_squared_error: {npy: x.npy, below: 1e-30}}",
    f"{{sum_squared_error: {{npy: off.npy, below: {X.size * 0.0001001}}}}}",
    f"[{{sum: {SUM!r}}}, {{shape: [2, 3, 4, 5]}}]",
    f"{{sum: {SUM + 0.5}, atol: 0.6}}",
]

FAILING = [
    "{shape: [2, 3, 5, 4]}",
    "{shape: [2, 3, 4]}",
    "{shape: [2, 3, 20]}",
    "{npy: off.npy}",
    "{npy: off.npy, atol: 0.009}",
    "{npy: row.npy}",
    "{npy: flat.npy}",
    "{npy: 'zeros'}",
    "{npy: 'zeros:1x1x1x1', atol: 100}",
    f"{{at: [1, 1], values: {AT}}}",
    f"{{at: [1, 2], values: {AT[0]}}}",
    f"{{at: [1, 2, 0, 0], values: [{float(X[1, 2, 0, 0])!r}]}}",
    '{at: [1, 2, "2:4", "5:5"], values: [[1], [1]]}',
    f"{{sum: {SUM * 1.000001!r}}}",
    f"{{sum: {SUM!r}, min: 3}}",
    f"{{mean: {-MEAN!r}}}",
    f"{{std: {float(X.std(ddof=1))!r}}}",
    f"{{min: {float(X.max())!r}}}",
    f"{{max: {float(X.min())!r}}}",
    f"{{channel_mean: {C_MEAN[::-1]}}}",
    f"{{channel_mean: {[*C_MEAN, 0.0]}}}",
    f"{{channel_mean: {C_MEAN[:1]}}}",
    f"{{channel_std: {X.std((0, 2, 3), ddof=1).tolist()}}}",
    f"{{sum_squared_error: {{npy: off.npy, below: {X.size * 0.0000999}}}}}",
    "{sum_squared_error: {npy: row.npy, below: 1000}}",
    "{sum_squared_error: {npy: x.npy, below: 0}}",
    "{sum: .nan}",
    "{sum: .inf}",
]


@pytest.mark.parametrize("expectation", PASSING)
def test_passes(expectation: str) -> None:
    assert {check["verdict"] for check in checks(expectation)} == {"pass"}


@pytest.mark.parametrize("expectation", FAILING)
def test_fails(expectation: str) -> None:
    assert "fail" in {check["verdict"] for check in checks(expectation)}


def test_the_worst_element_is_named_in_the_tensor_itself() -> None:
    wrong = X[1, 1:, -3:, 1:4].copy()
    wrong[1, 2, 0] += 1
    text = f'{{at: [-1, "1:", "-3:", "-40:4"], values: {X[1, 1:, -3:, :4].tolist()}}}'
    assert verdict(text) == "pass"
    (check,) = checks(f'{{at: [-1, "1:", "-3:", "1:-1"], values: {wrong.tolist()}}}')
    assert check["worst"]["index"] == [1, 2, 3, 1]
    assert check["worst"]["got"] == X[1, 2, 3, 1]
    assert check["worst"]["expected"] == wrong[1, 2, 0]
    assert (check["mismatched"], check["elements"]) == (1, wrong.size)
    assert check["max_abs_error"] == pytest.approx(1)


def test_shape_is_judged_first_and_tells_both() -> None:
    (check,) = checks("{npy: row.npy}")
    assert (check["got"], check["expected"]) == ([2, 3, 4, 5], [1, 3, 4, 5])
    assert "max_abs_error" not in check


def test_inputs_are_judged_too() -> None:
    for text, status in (("sum: 0", 1), ("npy: x.npy", 0)):
        Path("c.yaml").write_text(
            "layer: pad\nparams: {padding: 0}\ntensors: {x: x.npy}\nexpect: {x: {" + text + "}}\n"
        )
        assert call("run", "c.yaml").status == status


def test_nan_never_passes_without_equal_nan() -> None:
    spoilt = X.copy()
    spoilt[1, 0, 2, 3] = np.nan
    np.save("nan.npy", spoilt)
    for expectation in ("npy: nan.npy", "npy: x.npy", f"at: [1, 0, 2, 3], values: {X[1, 0, 2, 3]}"):
        assert verdict(f"{{{expectation}, rtol: 1e300, atol: 1e300}}", x="nan.npy") == "fail"
    assert verdict("{npy: nan.npy, equal_nan: true}", x="nan.npy") == "pass"
    assert verdict("{npy: x.npy, equal_nan: true}", x="nan.npy") == "fail"
    assert verdict("{npy: nan.npy, equal_nan: true}") == "fail"
    for statistic in ("sum", "mean", "std", "min", "max"):
        for number in ("0", ".nan", ".inf"):
            text = f"{{{statistic}: {number}, rtol: 1e300, atol: 1e300}}"
            assert verdict(text, x="nan.npy") == "fail"
        assert verdict(f"{{{statistic}: .nan, equal_nan: true}}", x="nan.npy") == "pass"
    assert verdict("{sum_squared_error: {npy: x.npy, below: 1e300}}", x="nan.npy") == "fail"
    assert verdict(f"{{channel_mean: {C_MEAN}, atol: 1e300}}", x="nan.npy") == "fail"


def test_infinities() -> None:
    spoilt = X.copy()
    spoilt[0, 0, 0, :2] = np.inf, -np.inf
    np.save("inf.npy", spoilt)
    assert verdict("{npy: inf.npy, rtol: 0}", x="inf.npy") == "pass"
    assert verdict("{npy: x.npy, rtol: 1e300}", x="inf.npy") == "fail"
    assert verdict("{npy: inf.npy, rtol: 1e300}") == "fail"
    np.save("neg.npy", -spoilt)
    assert verdict("{npy: neg.npy, rtol: 1e300, atol: 1e300}", x="inf.npy") == "fail"


BIG = 2**53


@pytest.mark.parametrize("got, expected", [(BIG, BIG + 1), (BIG + 1, BIG), (-BIG - 1, -BIG)])
def test_whole_numbers_are_compared_exactly(got: int, expected: int) -> None:
    np.save("got.npy", np.full((1, 1, 1, 2), got))
    np.save("same.npy", np.full((1, 1, 1, 2), got))
    np.save("other.npy", np.full((1, 1, 1, 2), expected))
    assert verdict("{npy: same.npy}", x="got.npy") == "pass"
    assert verdict("{npy: other.npy}", x="got.npy") == "fail"
    assert verdict(f"{{values: [[[[{got}, {expected}]]]]}}", x="got.npy") == "fail"
    assert verdict("{npy: same.npy, rtol: 0, atol: 0}", x="got.npy") == "pass"
    assert verdict("{npy: other.npy, rtol: 0, atol: 0}", x="got.npy") == "fail"
    assert verdict(f"{{values: [[[[{got}, {got}]]]], rtol: 0}}", x="got.npy") == "pass"
    (check,) = checks(f"{{values: [[[[{got}, {expected}]]]], rtol: 0}}", x="got.npy")
    assert check["verdict"] == "fail"
    assert check["worst"] == {"index": [0, 0, 0, 1], "got": got, "expected": expected}
    assert check["max_abs_error"] == 1
    for other in (np.float64, np.uint64, np.float32):
        if expected >= 0 or other is not np.uint64:
            np.save("typed.npy", np.full((1, 1, 1, 2), expected, other))
            exact = int(np.load("typed.npy").flat[0]) == got
            assert verdict("{npy: typed.npy, rtol: 0, atol: 0}", x="got.npy") == (
                "pass" if exact else "fail"
            )


@pytest.mark.parametrize(
    "stored, rtol, atol",
    [
        ("float64", 1e-7, 1e-7),
        ("float32", 1.3e-6, 1e-5),
        ("float16", 1e-3, 1e-5),
        ("bfloat16", 1.6e-2, 1e-5),
        ("int8", 1e-7, 1e-7),
    ],
)
def test_tolerance_follows_the_stored_type(stored: str, rtol: float, atol: float) -> None:
    x = np.arange(1.0, 7).reshape(1, 1, 2, 3)
    np.save("x.npy", x)
    if stored == "bfloat16":
        bits = (x.astype("<f4").view("<u4") >> 16).astype("<u2")
        bits.tofile("y.bin")
    else:
        x.astype(np.dtype(stored).newbyteorder("<")).tofile("y.bin")
    near = x * (1 + 0.9 * rtol)
    far = x * (1 + 1.2 * rtol) + 1.2 * atol
    source = f"y.bin:{stored}:1x1x2x3"
    for array, expected in ((x, "pass"), (near, "pass"), (far, "fail")):
        np.save("near.npy", array)
        (check,) = checks(f"{{npy: '{source}'}}", x="near.npy")
        assert (check["verdict"], check["rtol"], check["atol"]) == (expected, rtol, atol)
    np.save("near.npy", x)
    # The other way round, where it is the tensor that was stored so: pad keeps the type.
    (check,) = checks("{npy: near.npy}", x=source)
    # Whole numbers are exact, and bfloat16 is computed in a wider type.
    its = {"int8": 0, "bfloat16": check["rtol"]}.get(stored, rtol)
    assert (check["verdict"], check["rtol"]) == ("pass", its)


def test_one_written_tolerance_makes_the_other_zero() -> None:
    (check,) = checks("{npy: off.npy, atol: 0.02}")
    assert (check["rtol"], check["atol"]) == (0, 0.02)
    (check,) = checks("{npy: off.npy, rtol: 0.02}")
    assert (check["rtol"], check["atol"]) == (0.02, 0)


def test_least_passing_tolerances_pass_and_no_less() -> None:
    (check,) = checks("{npy: off.npy}")
    for key in ("rtol", "atol"):
        least = check[f"passing_{key}"]
        assert verdict(f"{{npy: off.npy, {key}: {least * (1 + 1e-12)!r}}}") == "pass"
        assert verdict(f"{{npy: off.npy, {key}: {least * (1 - 1e-9)!r}}}") == "fail"


def test_statistics_of_whole_numbers() -> None:
    np.save("i.npy", np.array([[[[10**9, 2, 2, 3]]]]))
    right = checks("[{sum: 1000000007}, {min: 2}, {max: 1000000000}]", x="i.npy")
    assert [check["verdict"] for check in right] == ["pass"] * 3
    assert verdict("{sum: 1000000008}", x="i.npy") == "fail"
    assert verdict("{mean: 250000001.75}", x="i.npy") == "pass"
    assert verdict("{mean: 250000001.7501}", x="i.npy") == "pass"  # means are floating point

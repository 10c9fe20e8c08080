"""The call language: what it takes, and that it takes nothing else."""

from __future__ import annotations

import pytest

from cnncli.cases.calls import functions_of, parse_calls, resolve_form
from cnncli.cases.node import from_data
from cnncli.errors import CnncliError, ConfigError, GeometryError
from cnncli.layers.base import Plan
from cnncli.layers.table import LAYERS

CONV = LAYERS["conv"]
PLAN = Plan(
    layer="conv",
    params={"stride": (2, 3), "padding": ((1, 1), (2, 2)), "dilation": (1, 1), "groups": 1},
    inputs={"x": (1, 1, 5, 5), "w": (1, 1, 2, 2)},
    outputs={"y": (1, 1, 3, 3)},
    gradients={},
)


def test_forms() -> None:
    written = {
        "y, cache": "f(x, w, [1, -2.5], mode='a')",
        "dx, _": "layers.g(dy, cache, {'s': stride, 'd': d}, (None, True))",
    }
    first, second = parse_calls(from_data(written, "here"), CONV)
    assert first.function == "f"
    assert [t.judged for t in first.targets] == [True, False]
    assert first.arguments[2] == ("list", ("literal", 1), ("literal", -2.5))
    assert first.keywords == (("mode", ("literal", "a")),)
    assert second.function == "layers.g"
    assert second.arguments[1] == ("result", "cache")
    assert functions_of((first, second)) == "f + layers.g"
    form = resolve_form(second.arguments[2], PLAN, "here")
    assert form == ("dict", ("s", ("tuple", ("literal", 2), ("literal", 3))), ("d", ("literal", 1)))
    assert resolve_form(("parameter", "padding"), PLAN, "h") == (
        "tuple",
        ("literal", 1),
        ("literal", 2),
    )


def test_one_number_where_the_axes_differ_is_an_error() -> None:
    with pytest.raises(GeometryError, match=r"one number, but the axes differ: \(2, 3\)"):
        resolve_form(("number", "stride"), PLAN, "here")


@pytest.mark.parametrize(
    "text, words",
    [
        ("f(__import__('os').system('true'))", "not allowed"),
        ("f(x.T)", "not allowed"),
        ("f(x[0])", "not allowed"),
        ("f(x + 1)", "not allowed"),
        ("f(g(x))", "only pad"),
        ("f(lambda: 1)", "not allowed"),
        ("f([i for i in x])", "not allowed"),
        ("f(*x)", "not allowed"),
        ("f(**x)", r"\*\*"),
        ("f(f'{x}')", "not allowed"),
        ("f(strides)", "did you mean stride"),
        ("x", "one call"),
        ("f(x", "not a call"),
        ("f(x)(w)", "must be a name"),
        ("x.__class__(w)", "must be a name"),
        ("__import__(x)", "must be a name"),
        ("f(pad(w))", "only pad"),
        ("f(" + "(" * 30 + "x" + ",)" * 30 + ")", "nested more"),
        ("f(" + "(" * 5000, "at most|not a call"),
    ],
)
def test_anything_else_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_calls(from_data({"y": text}, "here"), CONV)


@pytest.mark.parametrize(
    "written, words",
    [
        ({"x": "f(w)"}, "is an input"),
        ({"cache": "f(x)"}, "no result of a call is a tensor"),
        ({"y": "f(x)", "y, c": "g(x)"}, "two calls"),
        ({"pad(y)": "f(x)"}, "is for dx"),
        ({"1a": "f(x)"}, "needs a name"),
        ({}, "empty"),
    ],
)
def test_results_need_names(written: dict[str, str], words: str) -> None:
    with pytest.raises(CnncliError, match=words):
        parse_calls(from_data(written, "here"), CONV)

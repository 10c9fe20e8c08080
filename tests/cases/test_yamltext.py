from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.cases.node import Data, Node
from cnncli.cases.yamltext import (
    looks_like_json_lines,
    read_json_lines,
    read_text,
    read_yaml,
    resolve_scalar,
)
from cnncli.errors import ConfigError

SETTINGS = settings(deadline=None, derandomize=True, max_examples=200)


@pytest.mark.parametrize(
    "text, value",
    [
        *(("1e-5", 1e-5), ("1E5", 1e5), ("1.", 1.0), (".5", 0.5), ("-1.5e+3", -1500.0)),
        *(("010", 10), ("-007", -7), ("+3", 3), ("0x1F", 31), ("0o17", 15)),
        *(("no", "no"), ("on", "on"), ("yes", "yes"), ("y", "y"), ("true", True), ("False", False)),
        *(("1:30", "1:30"), ("1_000", "1_000"), ("2001-01-01", "2001-01-01"), ("0b1", "0b1")),
        *(("null", None), ("~", None), ("", None), (".inf", math.inf), ("-.inf", -math.inf)),
        *(("nan", "nan"), ("inf", "inf"), ("e5", "e5"), ("1e", "1e"), ("--1", "--1"), ("٣", "٣")),
    ],
)
def test_scalars_are_of_version_1_2(text: str, value: object) -> None:
    found = resolve_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    found = resolve_scalar(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


def test_quoted_scalars_are_text() -> None:
    assert read_yaml("[\"1\", '2', 3, 'no']", "f").data() == ["1", "2", 3, "no"]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "P", "Zs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcdef", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@SETTINGS
@given(PLAIN, st.booleans())
def test_what_yaml_writes_is_read(data: Data, flow: bool) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True)
    assert read_yaml(text, "f").data() == data


def refused_or_read(read: Callable[[], Node]) -> None:
    fault = None
    try:
        read().data()
    except ConfigError as error:
        fault = error
    if fault is not None:
        assert (fault.where or "").startswith("f")
        assert "\n" not in str(fault)


@SETTINGS
@given(st.binary(max_size=80))
def test_rubbish_is_refused_or_read(raw: bytes) -> None:
    refused_or_read(lambda: read_yaml(read_text(raw, "f"), "f"))


@SETTINGS
@given(st.text("{}[]&*!?:-, \n'\"|>%@#ab1~", max_size=40))
def test_punctuation_is_refused_or_read(text: str) -> None:
    refused_or_read(lambda: read_yaml(text, "f"))


def test_places_of_values_and_keys() -> None:
    root = read_yaml("a: 1\nbb:\n  - x\n  - {c: 2}\n", "f")
    entries = root.mapping("it")
    assert (entries["a"].where, entries["a"].key_where) == ("f:1:4", "f:1:1")
    assert entries["bb"].key_where == "f:2:1"
    first, second = entries["bb"].sequence("it")
    assert (first.where, second.where) == ("f:3:5", "f:4:5")
    assert second.mapping("it")["c"].where == "f:4:9"


def test_an_alias_keeps_the_place_of_its_value_and_its_own_key() -> None:
    entries = read_yaml("a: &v [1, 2]\nb: *v\n", "f").mapping("it")
    assert entries["b"].data() == [1, 2]
    assert (entries["b"].where, entries["b"].key_where) == ("f:1:4", "f:2:1")


def test_base_is_on_every_node() -> None:
    def walk(node: Node) -> None:
        assert node.base == Path("d")
        children = node.value if isinstance(node.value, list) else []
        if isinstance(node.value, dict):
            children = list(node.value.values())
        for child in children:
            walk(child)

    walk(read_yaml("{a: [1, {b: 2}], c: &x {d: 3}, e: *x}", "f", Path("d")))


def test_depth_is_bounded_at_forty() -> None:
    assert read_yaml("[" * 40 + "]" * 40, "f")
    with pytest.raises(ConfigError, match="at most 40 deep"):
        read_yaml("[" * 41 + "]" * 41, "f")
    with pytest.raises(ConfigError, match="at most 40 deep"):
        read_yaml("[" * 100_000, "f")


def test_bytes_are_bounded() -> None:
    with pytest.raises(ConfigError, match="at most 16777216 bytes"):
        read_text(b" " * (16 << 20) + b"x", "f")


def test_keys_are_text_as_written() -> None:
    assert read_yaml("{1: a, true: b, ~: c}", "f").data() == {"1": "a", "true": "b", "~": "c"}
    with pytest.raises(ConfigError, match="twice"):
        read_yaml("{a: 1, 'a': 2}", "f")


def test_json_lines_are_told_from_yaml() -> None:
    assert looks_like_json_lines('\n {"a": 1}\n')
    assert not looks_like_json_lines('{"a": 1,\n"b": 2}')
    assert not looks_like_json_lines("a: 1")
    assert not looks_like_json_lines("[1]")
    first, second = read_json_lines('{"a": 1}\n\n{"a": 1e-5}\n', "-")
    assert (first.where, second.where) == ("-:1", "-:3")
    assert second.data() == {"a": 1e-5}

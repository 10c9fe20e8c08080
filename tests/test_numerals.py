from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.numerals import number_of, short, whole_of

NOT_NUMBERS = [
    "",
    " ",
    "1_0",
    "\u0663",
    "1\u0663",
    "0x10",
    "1,5",
    "one",
    "--1",
    "1e",
    "e5",
    ".",
    "+",
]


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "1.0", "1e3", "inf", "9" * 4301])
def test_no_whole_number(text: str) -> None:
    assert whole_of(text) is None


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "in", "nano", "infinit", "..inf"])
def test_no_number(text: str) -> None:
    assert number_of(text) is None


@given(st.integers())
def test_whole_numbers(number: int) -> None:
    assert whole_of(f" {number}\n") == number
    assert whole_of(f"{number:+08d}") == number


@given(st.floats(allow_nan=False))
def test_numbers(number: float) -> None:
    assert number_of(f" {number!r} ") == number


def test_words_for_what_is_not_finite() -> None:
    for text in ("inf", "Infinity", "+.inf", ".Inf"):
        assert number_of(text) == math.inf
    assert number_of("-.inf") == -math.inf
    assert math.isnan(number_of(".nan") or 0.0)
    assert number_of("9" * 4301) == math.inf
    assert number_of("5.") == 5
    assert number_of(".5") == 0.5


def test_what_a_message_shows_is_short() -> None:
    assert short("ab") == "'ab'"
    assert len(short("9" * 4301)) == 60

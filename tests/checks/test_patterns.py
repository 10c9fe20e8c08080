from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnncli.checks.patterns import find_patterns

SHAPE = (3, 4, 8, 10)


def told(*where: Any) -> list[str]:
    wrong = np.zeros(SHAPE, bool)
    for index in where:
        wrong[index] = True
    return [pattern.text for pattern in find_patterns(wrong)]


@pytest.mark.parametrize(
    "where, text",
    [
        (np.s_[:, 2], "all in channel 2 of 4"),
        (np.s_[1:], "all in samples 1..2 of 3"),
        (np.s_[:, [0, 2, 3]], "all in channels 0, 2..3 of 4"),
        (np.s_[:, :, -1], "all in row 7 (the last) of 8"),
        (np.s_[:, :, :, 1::2], "all in columns that leave 1 when divided by 2"),
        (np.s_[:, :, 2::3], "all in rows that leave 2 when divided by 3"),
    ],
)
def test_along_an_axis(where: object, text: str) -> None:
    assert told(where)[0] == text


def test_border_and_inside() -> None:
    assert told(np.s_[:, :, 0], np.s_[:, :, -1], np.s_[..., 0], np.s_[..., -1]) == [
        "all in the border of their planes"
    ]
    rows = [np.s_[:, :, :2], np.s_[:, :, -2:], np.s_[..., :2], np.s_[..., -2:]]
    assert told(*rows) == ["all in the 2 elements next to the border of their planes"]
    assert told(np.s_[:, :, 2:-2, 2:-2])[-1] == "none within 2 of the border of a plane"


def test_checkerboard() -> None:
    (text,) = told(np.s_[:, :, ::2, ::2], np.s_[:, :, 1::2, 1::2])
    assert text == "a checkerboard: positions modulo 2 are only (0, 0), (1, 1)"


def test_everywhere_and_nowhere() -> None:
    assert told(np.s_[:]) == ["every element is wrong"]
    assert told() == []


def test_one_stray_element_ends_a_finding() -> None:
    assert "channel" in told(np.s_[:, 2])[0]
    assert not any(
        "channel" in text for text in told(np.s_[:, 2], *(np.s_[0, c, 3, 3] for c in range(4)))
    )


def test_other_ranks() -> None:
    wrong = np.zeros((5, 6), bool)
    wrong[:, 3] = True
    assert [p.text for p in find_patterns(wrong)] == ["all in axis 1, index 3 of 6"]
    assert find_patterns(np.array(True)) == []

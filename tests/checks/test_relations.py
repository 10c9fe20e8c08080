from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cnncli.checks.relations import find_relations

B = np.random.default_rng(5).standard_normal((2, 3, 4, 5))


def matches(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=0))


@pytest.mark.parametrize(
    "a, kind, text",
    [
        (B.transpose(0, 2, 3, 1), "axes", "A would be NHWC where B is NCHW"),
        (B.transpose(0, 3, 1, 2), "axes", "A would be NCHW where B is NHWC"),
        (B.swapaxes(2, 3), "axes", "H and W exchanged"),
        (B[..., ::-1, ::-1], "flip", "A is B flipped along axes 2, 3"),
        (B * -0.5, "factor", "A is B times -0.5"),
        (B + 2.5, "offset", "A is B plus 2.5"),
        (B.reshape(6, 20), "shape", "A holds B's numbers in the same order, as 6x20"),
    ],
)
def test_what_was_done_is_told(a: NDArray[np.float64], kind: str, text: str) -> None:
    (found,) = find_relations(a, B, matches)
    assert found.kind == kind
    assert text in found.text


def test_unrelated_and_constant_arrays_have_no_relation() -> None:
    assert find_relations(B[::-1] + 0.1 * B**2, B, matches) == []
    assert find_relations(np.ones((3, 2)), np.ones((2, 3)), matches) == []
    nearly = B.transpose(0, 2, 3, 1).copy()
    nearly[1, 3, 4, 1] += 1
    assert find_relations(nearly, B, matches) == []

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.kernels.rows import FEW, copy_rows

STEPS = [slice(None), slice(1, -1), slice(None, None, 2), slice(None, None, -1)]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    rows=st.tuples(st.integers(1, 3), st.sampled_from([1, FEW // 2, FEW, FEW + 1])),
    width=st.integers(0, 5),
    cuts=st.tuples(*[st.sampled_from(STEPS)] * 6),
    dtypes=st.sampled_from([("f4", "f4"), ("f8", "f4"), ("c16", "c16"), ("f8", ">f8")]),
)
def test_copies_elements_to_their_places_and_nothing_beside(
    rows: tuple[int, int], width: int, cuts: tuple[slice, ...], dtypes: tuple[str, str]
) -> None:
    there, here = (np.zeros((2 * rows[0] + 2, 2 * rows[1] + 2, 2 * width + 2), d) for d in dtypes)
    here[...] = np.arange(1, here.size + 1).reshape(here.shape)
    there[...] = -1
    shape = (*rows, width)
    source, target = here[cuts[:3]], there[cuts[3:]]
    common = tuple(
        slice(0, min(a, b, c)) for a, b, c in zip(shape, source.shape, target.shape, strict=True)
    )
    copy_rows(target[common], source[common])
    np.testing.assert_array_equal(target[common], source[common])
    target[common] = -1
    np.testing.assert_array_equal(there, -1)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_rows_keep_the_bits_of_a_nan(dtype: str) -> None:
    source = np.full((2 * FEW, 3), np.nan, dtype)
    source.view(np.uint8)[:, 1] = np.arange(2 * FEW) % 251
    padded = np.zeros((2 * FEW, 5), dtype)
    copy_rows(padded[:, 1:-1], source)
    assert padded[:, 1:-1].tobytes() == source.tobytes()

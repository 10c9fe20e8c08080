from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.checks.ulps import ulp, ulp_errors


@given(
    st.floats(allow_nan=False, allow_infinity=False, min_value=0, exclude_max=True, max_value=1e308)
)
def test_ulp_of_float64_is_numpys_spacing(value: float) -> None:
    assert ulp(np.array([value, -value]), "float64").tolist() == [np.spacing(value)] * 2


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@given(data=st.data())
def test_ulp_of_narrow_types_is_numpys_spacing(dtype: str, data: st.DataObject) -> None:
    width = 16 if dtype == "float16" else 32
    kind = np.dtype(dtype).type
    limits = np.finfo(dtype)
    value = data.draw(st.floats(0, float(limits.max) / 2, width=width))  # type: ignore[arg-type]
    assert ulp(np.array([value]), dtype)[0] == np.spacing(kind(value))


def test_bfloat16_has_eight_digits() -> None:
    # The upper half of a float32: 1.0 is 0x3f80, and its neighbour 0x3f81 is 1 + 2**-7.
    neighbour = np.array([0x3F81 << 16], np.uint32).view(np.float32)
    one = np.array([1.0], np.float32)
    assert ulp_errors(neighbour, one, "bfloat16").tolist() == [1.0]
    assert ulp_errors(neighbour, one, "float32").tolist() == [2.0**16]


def test_what_is_not_finite() -> None:
    got = np.array([np.nan, np.inf, -np.inf, 1.0, np.nan, 0.0])
    expected = np.array([np.nan, np.inf, np.inf, np.nan, 1.0, -0.0])
    errors = ulp_errors(got, expected, "float64")
    assert errors[[0, 1, 5]].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(errors[[2, 3, 4]]).all()

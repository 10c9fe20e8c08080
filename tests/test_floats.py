"""The table of float types, held against NumPy's own and torch's."""

from __future__ import annotations

import numpy as np
import pytest

from cnncli.floats import FLOATS, coarsest, default_tolerance, float_type, unit_roundoff


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_numpys_own_types(name: str) -> None:
    kind, limits = FLOATS[name], np.finfo(name)
    assert kind.eps == float(limits.eps)
    assert kind.unit_roundoff == float(limits.epsneg)
    assert 2.0**kind.least_exponent == float(limits.smallest_normal)
    assert kind.bytes == np.dtype(name).itemsize


@pytest.mark.parametrize("name", FLOATS)
def test_torchs_types(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch has what the tolerances are")
    kind, limits = FLOATS[name], torch.finfo(getattr(torch, name))
    assert kind.eps == limits.eps
    assert 2.0**kind.least_exponent == limits.smallest_normal
    one = torch.ones(1, dtype=getattr(torch, name))
    steps = int((kind.rtol + kind.atol) / kind.eps)
    torch.testing.assert_close(one + steps * kind.eps, one)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(one + (steps + 1) * kind.eps, one)


def test_coarsest() -> None:
    assert coarsest("float64", "bfloat16") == FLOATS["bfloat16"]
    assert coarsest("float16", "int8") == FLOATS["float16"]
    assert coarsest("int8", "int64") is None


def test_what_is_no_float() -> None:
    assert float_type("int8") == FLOATS["float64"]
    assert unit_roundoff("int8", "float32") == 2.0**-24
    assert unit_roundoff("int8") == 0


def test_least_precise_type_rules() -> None:
    assert default_tolerance("float64", "float16") == (1e-3, 1e-5)
    assert default_tolerance("float32", "float16", "bfloat16") == (1.6e-2, 1e-5)
    assert default_tolerance("int8", "float64") == (1e-7, 1e-7)
    assert default_tolerance("int64", "uint8") == (0, 0)

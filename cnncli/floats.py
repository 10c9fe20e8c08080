"""The one table of float types: how fine each is, and how near two numbers of it must be.

Sources: IEEE 754 (significands and exponents), torch.testing.assert_close (rtol and atol).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FloatType:
    """A binary floating-point type, and how near numbers that were stored in it must be."""

    name: str
    bytes: int
    significand: int
    """Bits of the significand, the leading one included."""
    least_exponent: int
    """2 to this is the least normal number."""
    rtol: float
    """What |got - expected| <= atol + rtol*|expected| takes where nothing else is asked."""
    atol: float
    gradient_rtol: float
    """What a gradient may be off from a numeric one, of the larger of both."""
    identity_rtol: float
    """What the sides of an identity may be apart, of the sum of their absolute terms."""
    same_tensor: float
    """The relative distance up to which a diagnosis takes two tensors for one."""

    @property
    def unit_roundoff(self) -> float:
        """The largest relative error of rounding a number to this type."""
        return 2.0**-self.significand

    @property
    def eps(self) -> float:
        """The distance from 1 to the next larger number."""
        return 2.0 ** (1 - self.significand)


FLOAT16 = FloatType(
    name="float16",
    bytes=2,
    significand=11,
    least_exponent=-14,
    rtol=1e-3,
    atol=1e-5,
    gradient_rtol=1e-2,
    identity_rtol=2e-2,
    same_tensor=4e-3,
)
BFLOAT16 = FloatType(
    name="bfloat16",
    bytes=2,
    significand=8,
    least_exponent=-126,
    rtol=1.6e-2,
    atol=1e-5,
    gradient_rtol=5e-2,
    identity_rtol=1e-1,
    same_tensor=3e-2,
)
FLOAT32 = FloatType(
    name="float32",
    bytes=4,
    significand=24,
    least_exponent=-126,
    rtol=1.3e-6,
    atol=1e-5,
    gradient_rtol=1e-3,
    identity_rtol=1e-4,
    same_tensor=1e-6,
)
FLOAT64 = FloatType(
    name="float64",
    bytes=8,
    significand=53,
    least_exponent=-1022,
    rtol=1e-7,
    atol=1e-7,
    gradient_rtol=1e-6,
    identity_rtol=1e-11,
    same_tensor=1e-6,
)
FLOATS = {kind.name: kind for kind in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}


def float_type(stored: str) -> FloatType:
    """Return the type of this name; float64, which is computed in, for what is no float."""
    return FLOATS.get(stored, FLOAT64)


def coarsest(*stored: str) -> FloatType | None:
    """Return the type with the fewest digits among the floating-point ones, None without any."""
    known = [FLOATS[name] for name in stored if name in FLOATS]
    return min(known, key=lambda kind: kind.significand, default=None)


def unit_roundoff(*stored: str) -> float:
    """Return the unit roundoff of the coarsest of some types; 0 where none is a float."""
    kind = coarsest(*stored)
    return 0.0 if kind is None else kind.unit_roundoff


def default_tolerance(*stored: str) -> tuple[float, float]:
    """Return (rtol, atol) of the least precise of some stored types; whole numbers are exact."""
    if all(name.startswith(("int", "uint", "bool")) for name in stored):
        return 0.0, 0.0
    kind = coarsest(*stored) or FLOAT64
    return kind.rtol, kind.atol

"""What a case gave: one object, from which every view and file is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cnncli.cases.layout import shape_outside, to_outside
from cnncli.checks.check import Check
from cnncli.layers.base import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnncli.layers.explain.parts import Explanation

FORMAT = "cnncli.result/1"
Role = Literal["input", "output", "gradient"]
Status = Literal["done", "passed", "failed", "invalid", "skipped", "timeout", "crashed"]


@dataclass(frozen=True, kw_only=True)
class TensorResult:
    """One tensor of a result: its array, NCHW, and what is told of it.

    All that a user reads, saves or indexes is `outside` and has `shape`, in the order of `layout`.
    """

    name: str
    role: Role
    array: NDArray[Any]
    layout: str
    source: str | None
    stored: str
    """The type it was stored in, where it is an input; else the type it was computed in."""
    min: float
    max: float
    mean: float
    std: float
    sum: float
    nonfinite: int

    @property
    def dtype(self) -> str:
        """The type it was computed with."""
        return str(self.array.dtype)

    @property
    def outside(self) -> NDArray[Any]:
        """The array in the order of the axes that the user chose, a view."""
        return to_outside(self.layout, self.name, self.array)

    @property
    def shape(self) -> Shape:
        """The shape of `outside`."""
        return shape_outside(self.layout, self.name, self.array.shape)


References = dict[str, dict[str, "NDArray[Any]"]]
"""What tensors were judged by and beside: `numeric` of a gradient that was checked, `expected` of
what was given, and by its label what another implementation gave; NCHW."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a case gave nothing, and the place that says so."""

    message: str
    where: str | None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one case gave."""

    name: str
    status: Status
    file: str | None = None
    layer: str | None = None
    convention: str | None = None
    layout: str | None = None
    """The order of the axes outside, which every index in `checks` and `explanations` has; `params`
    name axes and need none."""
    params: dict[str, Any] | None = None
    tensors: dict[str, TensorResult] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    theirs: dict[str, dict[str, TensorResult]] = field(default_factory=dict)
    """What each implementation that it was judged against computed, by its label."""
    explanations: list[Explanation] = field(default_factory=list)
    references: References = field(default_factory=dict)
    error: Fault | None = None
    seconds: float = 0.0
    reproduce: str = ""


def describe(
    name: str,
    role: Role,
    array: NDArray[Any],
    source: str | None,
    stored: str,
    layout: str = "nchw",
) -> TensorResult:
    """Return an NCHW array with its statistics, which count every element, finite or not."""
    import numpy as np

    with np.errstate(all="ignore"):
        wide = array if array.dtype == np.float64 else array.astype(np.float64)
        total = float(wide.sum()) if array.dtype.kind not in "iu" else float(array.sum())
        return TensorResult(
            name=name,
            role=role,
            array=array,
            layout=layout,
            source=source,
            stored=stored,
            min=float(wide.min()),
            max=float(wide.max()),
            mean=float(wide.mean()),
            std=float(wide.std()),
            sum=total,
            nonfinite=int(array.size - np.isfinite(wide).sum()),
        )

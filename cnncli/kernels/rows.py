"""Copies of short rows, which NumPy makes in one loop where it is shown a row as one element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cnncli.kernels.windows import Array

FEW = 256  # rows up to which two more views cost more than they save


def copy_rows(out: Array, source: Array) -> None:
    """Copy `source` to `out`, of the same shape: out[...] = source.

    Rows of the last axis that stand apart cost a call each, of 3 ns and more beside the copying;
    as elements of a type as wide as a row they cost none.
    """
    if _has_rows(source) and _has_rows(out) and out.dtype == source.dtype:
        row = np.dtype((np.void, out.shape[-1] * out.itemsize))
        out.view(row)[...] = source.view(row)
    else:
        out[...] = source


def _has_rows(a: Array) -> bool:
    """Whether `a` has many rows, each in one piece of memory."""
    return a.ndim > 1 and a.strides[-1] == a.itemsize and a.shape[-1] * FEW < a.size

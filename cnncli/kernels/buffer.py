"""Memory that the blocks of one pass use in turn."""

from __future__ import annotations

import math

import numpy as np

from cnncli.kernels.windows import Array, Ints


class Buffer:
    """An array that grows to the largest block; fresh memory costs a page fault every 4 KiB."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.flat: Array = np.empty(0, dtype)

    def take(self, shape: Ints) -> Array:
        """Return an uninitialised array; it overwrites the one taken before."""
        size = math.prod(shape)
        if self.flat.size < size:
            self.flat = np.empty(size, self.flat.dtype)
        return self.flat[:size].reshape(shape)

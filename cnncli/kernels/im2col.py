"""The windows of a tile as a matrix, and a tile of outputs as another, for products of matrices."""

from __future__ import annotations

import math

import numpy as np

from cnncli.kernels.buffer import Buffer
from cnncli.kernels.windows import Array, Box, Windows, gather


class Buffers:
    """The workspaces of one thread; memory made anew for every tile slows threads down."""

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.columns, self.product, self.padded = Buffer(dtype), Buffer(dtype), Buffer(dtype)


def is_pointwise(where: Windows) -> bool:
    """Whether window o is element o and nothing else."""
    return (
        where.spatial == where.output
        and all(k == 1 for k in where.kernel)
        and all(s == 1 for s in where.stride)
        and not any(where.before)
    )


def columns(x: Array, tile: Windows, buffers: Buffers) -> Array:
    """Windows of x (N, C, *S) as (C * K, positions), a view if they can be."""
    n, c = x.shape[:2]
    if n == 1 and is_pointwise(tile) and x.dtype == buffers.columns.flat.dtype:
        return np.ascontiguousarray(x).reshape(c, -1)
    gathered = buffers.columns.take((c, *tile.kernel, n, *tile.output))
    gather(x, tile, gathered, buffers.padded)
    return gathered.reshape(c * math.prod(tile.kernel), -1)


def positions(a: Array, box: Box, groups: int, dtype: np.dtype[np.generic]) -> Array:
    """Return one tile of a (N, channels, *O) as (G, channels/G, positions), a view if it can be."""
    tile = a[(box[0], slice(None), *box[1:])].swapaxes(0, 1)
    return np.ascontiguousarray(tile, dtype).reshape(groups, a.shape[1] // groups, -1)

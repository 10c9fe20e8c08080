"""The explainer of each layer."""

from __future__ import annotations

from collections.abc import Callable

from cnncli.layers.base import Plan, Tensors
from cnncli.layers.explain import batchnorm, conv, pad, pool
from cnncli.layers.explain.parts import Explanation, Index

EXPLAINERS: dict[str, Callable[[Plan, Tensors, str, Index], Explanation]] = {
    "conv": conv.explain,
    "pool": pool.explain,
    "bn": batchnorm.explain,
    "pad": pad.explain,
}

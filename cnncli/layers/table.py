"""The table of layers."""

from __future__ import annotations

from cnncli.layers.base import Layer
from cnncli.layers.batchnorm import BatchNorm
from cnncli.layers.conv import Conv
from cnncli.layers.pad import Pad
from cnncli.layers.pool import Pool

LAYERS: dict[str, Layer] = {"pad": Pad(), "conv": Conv(), "pool": Pool(), "bn": BatchNorm()}

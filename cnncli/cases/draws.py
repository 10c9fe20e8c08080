"""Tensors that are made here: random draws, patterns, and numbers written out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from cnncli.cases.sizes import Shape, append_zeros, bytes_with_zeros
from cnncli.cases.sourcetypes import Random, Values
from cnncli.errors import ConfigError

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    Stream: TypeAlias = np.random.Generator | np.random.RandomState

SEED_BOUNDS = {"pcg64": 2**63, "legacy": 2**32}
"""The generators, each with the bound below which its seeds lie."""


class Streams:
    """The random numbers of one case.

    `pcg64` gives every tensor a stream of its own, so that adding one changes no other. `legacy`
    is one stream for the case, used in the order of the calls, as after `np.random.seed`.
    """

    def __init__(self, rng: str, seed: int) -> None:
        """Take the generator and seed; raise ConfigError where that generator has no such seed."""
        check_seed(rng, seed)
        self.rng = rng
        self.seed = seed
        self._shared: np.random.RandomState | None = None

    def draw(
        self, name: str, source: Random | str, shape: Shape | None = None
    ) -> NDArray[np.float64]:
        """Return tensor `name` in float64, zeros appended where the source says so.

        `source` may be a kind alone. `shape` serves a source whose own was left out.
        """
        if isinstance(source, str):
            source = Random(where=name, kind=source)
        shape = source.shape or shape
        assert shape is not None, f"nobody worked out the shape of {name}"
        return append_zeros(draw(source, shape, self._stream(name)), source.zero_extend)

    def _stream(self, name: str) -> Stream:
        import numpy as np

        if self.rng == "pcg64":
            return np.random.default_rng([self.seed, *name.encode()])
        if self._shared is None:
            self._shared = np.random.RandomState(self.seed)
        return self._shared


def check_seed(rng: str, seed: int) -> None:
    """Raise ConfigError where there is no such generator, or where it has no such seed."""
    if rng not in SEED_BOUNDS:
        raise ConfigError(f"rng must be one of {', '.join(SEED_BOUNDS)}, not {rng!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"seed must be a whole number, not {seed!r}")
    bound = SEED_BOUNDS[rng]
    if not 0 <= seed < bound:
        raise ConfigError(
            f"seed must be from 0 to 2**{bound.bit_length() - 1} - 1 for {rng}, but is {seed}"
        )


def draw(source: Random, shape: Shape, stream: Stream) -> NDArray[np.float64]:
    """Return numbers of the source's kind and options, of `shape`, in float64.

    With a RandomState the bits are those of the calls in a notebook: `scale * randn + loc`,
    `rand`, `randint(low, high + 1)`, `permutation`. `ones`, `zeros` and `arange` draw nothing.
    """
    import numpy as np

    count = math.prod(shape)
    if source.kind == "normal":
        normal = np.asarray(stream.standard_normal(shape))
        normal *= source.option("scale")
        normal += source.option("loc")
        return normal
    if source.kind == "uniform":
        uniform = np.asarray(stream.random(shape))
        uniform *= source.option("high") - source.option("low")
        uniform += source.option("low")
        return uniform
    if source.kind == "integers":
        below, above = int(source.option("low")), int(source.option("high")) + 1
        if isinstance(stream, np.random.Generator):
            return stream.integers(below, above, shape).astype(np.float64)
        return stream.randint(below, above, shape, np.int64).astype(np.float64)
    if source.kind == "distinct":
        # The middles of `count` equal parts of (-1, 1).
        distinct = stream.permutation(count).astype(np.float64)
        distinct *= 2
        distinct -= count - 1
        distinct /= count
        return distinct.reshape(shape)
    return _pattern(source.kind, shape)


def _pattern(kind: str, shape: Shape) -> NDArray[np.float64]:
    import numpy as np

    if kind == "arange":
        return np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    return np.full(shape, {"zeros": 0.0, "ones": 1.0}[kind])


def draw_bytes(source: Random, shape: Shape) -> int:
    """Return the peak bytes of drawing `shape`, which zero_extend then appends zeros to."""
    # Whole numbers are drawn as int64 first.
    copies = 2 if source.kind in ("integers", "distinct") else 1
    return bytes_with_zeros(8 * copies * math.prod(shape), 8, shape, source.zero_extend)


def make_values(source: Values) -> NDArray[Any]:
    """Return the numbers that were written out, int64 or float64, zeros appended."""
    import numpy as np

    array = np.array(source.numbers, source.dtype).reshape(source.shape)
    return append_zeros(array, source.zero_extend)


def values_bytes(source: Values) -> int:
    """Return the peak bytes of `make_values`."""
    count = math.prod(source.shape)
    return bytes_with_zeros(8 * count, 8, source.shape, source.zero_extend)

"""One spatial axis of sliding windows, by the definition alone: o*stride + k*dilation - before."""

from __future__ import annotations

from dataclasses import dataclass

from cnncli.layers.base import Shape
from cnncli.layers.parameters import Ints, Pairs

Rows = list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How windows lie along one axis: `size` elements, `outputs` windows of `kernel` elements."""

    size: int
    outputs: int
    kernel: int
    stride: int
    before: int
    dilation: int

    def reads(self, o: int) -> Rows:
        """Return (k, i) for every offset k at which window o reads a real element i."""
        found = ((k, o * self.stride + k * self.dilation - self.before) for k in range(self.kernel))
        return [(k, i) for k, i in found if 0 <= i < self.size]

    def feeds(self, i: int) -> Rows:
        """Return (k, o) for every window o that reads element i, at its offset k."""
        found = []
        for k in range(self.kernel):
            o, rest = divmod(i + self.before - k * self.dilation, self.stride)
            if rest == 0 and 0 <= o < self.outputs:
                found.append((k, o))
        return found

    def matches(self, k: int) -> Rows:
        """Return (o, i) for every window o whose offset k is a real element i."""
        found = (
            (o, o * self.stride + k * self.dilation - self.before) for o in range(self.outputs)
        )
        return [(o, i) for o, i in found if 0 <= i < self.size]


def make_axes(
    spatial: Shape, outputs: Shape, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> list[Axis]:
    """Return the axes of a layer with windows."""
    return [
        Axis(size=size, outputs=o, kernel=k, stride=s, before=before, dilation=d)
        for size, o, k, s, (before, _), d in zip(
            spatial, outputs, kernel, stride, padding, dilation, strict=True
        )
    ]

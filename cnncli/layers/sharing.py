"""Which elements of an input share no output, axis by axis: those can be moved at once.

Each axis of an input is coloured: elements of one colour on every axis have no output in common. A
numeric gradient then moves all of them together and reads each one's effect off its own outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnncli.kernels.windows import Array, Ints, Pads, valid_range


@dataclass(frozen=True, kw_only=True)
class Link:
    """How one axis of an input meets the output.

    `colour_of` (size) is each index's colour. `owner` (colours, output size) says which index of a
    colour an output depends on along `output_axis`, -1 for none; where `output_axis` is None every
    output depends on every index, `owner` is (size, 1) and each index has a colour of its own.
    """

    colour_of: Array
    owner: Array
    output_axis: int | None

    @property
    def colours(self) -> int:
        """The number of colours."""
        return int(self.owner.shape[0])


def along(output_axis: int, size: int) -> Link:
    """Return the link of an axis whose index is the output's own: all move at once."""
    return Link(
        colour_of=np.zeros(size, np.int64),
        owner=np.arange(size, dtype=np.int64)[None],
        output_axis=output_axis,
    )


def alone(size: int) -> Link:
    """Return the link of an axis along which every output depends on every index."""
    every = np.arange(size, dtype=np.int64)
    return Link(colour_of=every, owner=every[:, None], output_axis=None)


def summed_in_groups(size: int, groups: int, output_axis: int, outputs: int) -> Link:
    """Return the link of channels of which each group of outputs sums its own group."""
    each = size // groups
    group = np.arange(outputs, dtype=np.int64) // (outputs // groups)
    colours = np.arange(each, dtype=np.int64)
    return Link(
        colour_of=np.arange(size, dtype=np.int64) % each,
        owner=group * each + colours[:, None],
        output_axis=output_axis,
    )


def within_group(size: int, output_axis: int, outputs: int) -> Link:
    """Return the link of an axis that counts outputs within their group."""
    owner = np.arange(outputs, dtype=np.int64) % size
    return Link(colour_of=np.zeros(size, np.int64), owner=owner[None], output_axis=output_axis)


def copied(size: int, source: Array, output_axis: int) -> Link:
    """Return the link of an axis that outputs copy: output o is input source[o], or none (-1)."""
    return Link(
        colour_of=np.zeros(size, np.int64),
        owner=np.asarray(source, np.int64)[None],
        output_axis=output_axis,
    )


def reached(size: int, outputs_of: Sequence[Array], output_axis: int, outputs: int) -> Link:
    """Return the link of an axis whose index i reaches outputs_of[i], coloured greedily."""
    owner = np.full((1, outputs), -1, np.int64)
    colour_of = np.zeros(size, np.int64)
    for i, mine in enumerate(outputs_of):
        free = np.asarray((owner[:, mine] < 0).all(axis=1))
        colour = int(free.argmax())
        if not free[colour]:
            colour = len(owner)
            owner = np.vstack([owner, np.full((1, outputs), -1, np.int64)])
        owner[colour, mine] = i
        colour_of[i] = colour
    return Link(colour_of=colour_of, owner=owner, output_axis=output_axis)


def window_links(
    spatial: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    output: Ints,
    *,
    transposed: bool = False,
) -> list[Link]:
    """Return the links of spatial axes that windows read, or `transposed` write.

    `spatial` is what the windows lie over and `output` their number, whichever of them is y's.
    """
    links = []
    for axis, (size, k, s, (before, _), d, windows) in enumerate(
        zip(spatial, kernel, stride, padding, dilation, output, strict=True)
    ):
        met: list[list[int]] = [[] for _ in range(windows if transposed else size)]
        for offset in range(k):
            start, stop, read = valid_range(size, s, before, offset * d, windows)
            places = range(read.start, read.stop, read.step)
            for window, place in zip(range(start, stop), places, strict=True):
                if transposed:
                    met[window].append(place)
                else:
                    met[place].append(window)
        arrays = [np.array(each, np.int64) for each in met]
        links.append(reached(len(met), arrays, 2 + axis, size if transposed else windows))
    return links

"""What two shapes that differ tell."""

from __future__ import annotations

from itertools import combinations


def axes_advice(got: tuple[int, ...], right: tuple[int, ...]) -> str | None:
    """Say which axes of length 1 to drop or add; None where shapes differ otherwise, or not."""
    if got == right or [n for n in got if n != 1] != [n for n in right if n != 1]:
        return None
    longer, shorter = (got, right) if len(got) > len(right) else (right, got)
    ones = [axis for axis, size in enumerate(longer) if size == 1]
    for axes in combinations(ones, len(longer) - len(shorter)):
        if axes and tuple(n for axis, n in enumerate(longer) if axis not in axes) == shorter:
            verb = "drop" if longer is got else "add"
            break
    else:
        return "move its axis of length 1"
    if len(axes) > 1:
        return f"{verb} axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}, of length 1"
    places = {len(longer) - 1: "last", 0: "first"}
    place = f"the {places[axes[0]]} axis" if axes[0] in places else f"axis {axes[0]}"
    return f"{verb} {place}" if verb == "drop" else f"{verb} {place}, of length 1"

"""Elements of a padding: where each output comes from, and what flows back to each input."""

from __future__ import annotations

from typing import Any

from cnncli.layers.base import Plan, Tensors
from cnncli.layers.explain.parts import Explanation, Index, Terms, grid, number, regions, take


def explain(plan: Plan, tensors: Tensors, name: str, index: Index) -> Explanation:
    """Return what element `index` of y or dx is made of."""
    found: dict[str, Any] = {
        "tensor": name,
        "index": index,
        "element": float(tensors[name][index]),
    }
    mode = plan.params["mode"]
    sizes = zip(plan.spatial, plan.params["padding"], strict=True)
    n, c, *place = index
    if name == "y":
        origins = [_origin(o, s, pair, mode) for o, (s, pair) in zip(place, sizes, strict=True)]
        if None in origins:
            return Explanation(
                **found,
                formula="padding: the constant value",
                terms=(Terms(label="value", factors=(number("value", plan.params["value"]),)),),
                padding=1,
            )
        x = take("x", tensors, [n, c, *origins], 1)
        axes = zip(place, plan.params["padding"], plan.spatial, strict=True)
        inside = all(before <= o < before + size for o, (before, _), size in axes)
        return Explanation(
            **found,
            formula="a copy" if inside else f"padding: a copy by mode {mode}",
            terms=(Terms(label="copy", factors=(x,)),),
            reads=regions(x),
            padding=0 if inside else 1,
        )
    readers = []
    for i, (size, pair), outputs in zip(place, sizes, plan.upstream[2:], strict=True):
        readers.append([o for o in range(outputs) if _origin(o, size, pair, mode) == i])
    columns = grid(readers)
    dy = take("dy", tensors, [n, c, *columns], columns.shape[1])
    return Explanation(
        **found,
        formula="sum of dy over every output that is a copy of it",
        terms=(Terms(label="elements", factors=(dy,)),),
        reads=regions(dy),
        note=None if len(dy.values) else "it was cropped away",
    )


def _origin(o: int, size: int, pair: tuple[int, int], mode: str) -> int | None:
    """Return which element along an axis output o copies, None where it is the constant.

    Cropping first leaves the elements from `first` on, `kept` of them; a mode then says how the
    line goes on beyond them.
    """
    before, after = pair
    first, kept = max(0, -before), size - max(0, -before) - max(0, -after)
    place = o - max(0, before)
    if 0 <= place < kept:
        return first + place
    if mode == "constant":
        return None
    if mode == "replicate":
        return first + min(max(place, 0), kept - 1)
    if mode == "circular":
        return first + place % kept
    if mode == "symmetric":  # a b c | c b a | a b c
        place %= 2 * kept
        return first + (place if place < kept else 2 * kept - 1 - place)
    place %= 2 * (kept - 1)  # reflect: a b c | b | a b c
    return first + (place if place < kept else 2 * (kept - 1) - place)

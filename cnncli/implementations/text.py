"""A case written as a library's call: the Python text that is printed, judged and timed.

`--as` prints it; `--against` and `bench` run it as a function. A writer knows shapes and parameters
alone, so that nothing needs to be installed to print a call. The text takes the case's inputs by
their names (x, w, b, gamma, ...) and leaves its outputs by theirs (y, indices, new_running_mean,
new_running_var), those that the plan has.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from cnncli.kernels.windows import extent
from cnncli.layers.base import Plan
from cnncli.layers.parameters import Ints, Pairs


def given_line(plan: Plan, shapes: dict[str, tuple[int, ...]] | None = None) -> str:
    """Return the comment that names a call's inputs and their shapes."""
    found = plan.inputs if shapes is None else shapes
    return "# given: " + ", ".join(f"{name} {shape}" for name, shape in found.items())


def is_padded(padding: Pairs) -> bool:
    """Tell whether any row is added."""
    return any(map(any, padding))


def is_symmetric(padding: Pairs) -> bool:
    """Tell whether every axis has as much before as after."""
    return all(before == after for before, after in padding)


def befores(padding: Pairs) -> Ints:
    """Return what stands before each axis."""
    return tuple(before for before, _ in padding)


def reached(plan: Plan) -> Pairs:
    """Return the padding of a pooling that ends where its last window does.

    With it a library's floor mode gives exactly the plan's windows, ceil mode or not; a negative
    end, where the last rows are skipped, becomes zero, which adds no window.
    """
    kernel, stride = plan.params["kernel"], plan.params["stride"]
    windows = zip(
        plan.spatial,
        kernel,
        stride,
        plan.params["dilation"],
        plan.params["padding"],
        plan.upstream[2:],
        strict=True,
    )
    return tuple(
        (before, max(0, (out - 1) * s + extent(k, d) - size - before))
        for size, k, s, d, (before, _), out in windows
    )


def crops(padding: Pairs) -> tuple[Pairs, Pairs]:
    """Split a padding into what it crops, as positive numbers, and what it adds after that."""
    cut = tuple((max(0, -before), max(0, -after)) for before, after in padding)
    added = tuple((max(0, before), max(0, after)) for before, after in padding)
    return cut, added


def slices(pairs: Iterable[tuple[int, int]]) -> str:
    """Return the index text that takes start:stop of every axis: `3:7, 0:5`."""
    return ", ".join(f"{start}:{stop}" for start, stop in pairs)


def kept(spatial: Ints, cut: Pairs) -> list[tuple[int, int]]:
    """Return start and stop of what a cropping leaves."""
    return [(before, size - after) for size, (before, after) in zip(spatial, cut, strict=True)]


def tail_product(sizes: Ints, axis: int) -> int:
    """Return how many elements one step along `axis` passes over."""
    product = 1
    for size in sizes[axis + 1 :]:
        product *= size
    return product


def unpadded_indices(places: str, padded: Ints, befores: Ints, spatial: Ints) -> str:
    """Return the text that turns flat places in a padded plane into places in the plane itself."""
    terms = []
    for axis, (size, before) in enumerate(zip(padded, befores, strict=True)):
        inner, outer = tail_product(padded, axis), tail_product(spatial, axis)
        coordinate = f"{places} // {inner} % {size}" if inner > 1 else f"{places} % {size}"
        terms.append(f"({coordinate} - {before}) * {outer}")
    return " + ".join(terms)


def whole_text(lines: list[str], imports: list[str], given: str) -> str:
    """Return a call whole: imports, an empty line, what it is given, and its statements."""
    return "\n".join([*imports, "", given, *lines]) + "\n"


def as_function(
    text: str, given: Iterable[str], found: Iterable[str]
) -> Callable[..., tuple[Any, ...]]:
    """Return a call's text as a function from the tensors `given` to those that are `found`.

    It is compiled, and its imports are done, here and once: what a call costs is the library's.
    """
    imports, _, statements = text.partition("\n\n")
    source = (
        f"{imports}\n\n"
        f"def call({', '.join(given)}):\n"
        f"{textwrap.indent(statements, '    ')}"
        f"    return ({', '.join(found)},)\n"
    )
    names: dict[str, Any] = {}
    exec(compile(source, "<the case as a library's call>", "exec"), names)
    function: Callable[..., tuple[Any, ...]] = names["call"]
    return function

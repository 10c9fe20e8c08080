"""Which other tensor a given array looks like, where it is wrong as the one it is given for."""

from __future__ import annotations

import shlex
from dataclasses import replace

from cnncli.cases.layout import shape_outside
from cnncli.cases.sourcetypes import NpyFile, NpzEntry, Source
from cnncli.checks.check import Check
from cnncli.checks.reasons import UNKNOWN
from cnncli.layers.base import Plan, Shape

FLAG = "--expect"


def with_lookalike(check: Check, plan: Plan, source: Source, shape: Shape, layout: str) -> Check:
    """Return a failed check of a whole array, which says whose shape or name the array has.

    `source` is where the array comes from, `shape` what it has there, in the case's layout. Where a
    fault explains it, or nothing of the case is like it, the check stays as it is.
    """
    known = [row for row in check.diagnosis or () if row["cause"] != UNKNOWN]
    if check.verdict != "fail" or known:
        return check
    computed = {**plan.outputs, **plan.gradients}
    inside = {**computed, "dy": plan.upstream, **plan.inputs}
    shapes = {name: shape_outside(layout, name, its) for name, its in inside.items()}
    own = shapes.pop(check.tensor, None)
    like = [name for name, its in shapes.items() if its == shape]
    called = _called(source)
    if called in like:
        like = [called]
    elif own == shape:
        return check  # its shape is right, and nothing says that it is another tensor
    # Who judges an array mostly judges a result.
    like = [name for name in like if name in computed] or like
    if not like:
        return check
    whose = " and ".join(filter(None, [", ".join(like[:-1]), like[-1]]))
    what = f"it is called {called}" if own == shape else f"its shape is that of {whose}"
    if source.where == FLAG:
        name = like[0] if len(like) == 1 else "NAME"
        what += f": {FLAG} {name}={shlex.quote(source.text)}"
    return replace(check, note=f"{check.note}; {what}" if check.note else what)


def _called(source: Source) -> str | None:
    """Return the name that an array's file or key gives it."""
    if isinstance(source, NpyFile):
        return source.path.stem
    return source.key if isinstance(source, NpzEntry) else None

"""Max pooling's dx of another implementation, where ours and theirs share ties out differently."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnncli.checks.check import Check
from cnncli.layers.base import Layer, Plan, Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray


def forgive_ties(
    check: Check, layer: Layer, plan: Plan, tensors: Tensors, theirs: NDArray[Any] | None
) -> Check:
    """Return a failed `against` as a kink where some sharing of dy at ties gives `theirs`.

    Beyond ties it must agree with ours in `tensors`, which also holds x and dy: a gradient check
    judges an array that was given in just this way.
    """
    import numpy as np

    from cnncli.checks.ties import can_be_shared, components, find_ties

    if plan.layer != "pool" or plan.params["mode"] != "max" or check.tensor != "dx":
        return check
    if check.verdict != "fail" or check.changed or theirs is None or check.rtol is None:
        return check
    dy, ours = (np.asarray(tensors[name], np.float64) for name in ("dy", "dx"))
    if theirs.shape != ours.shape or theirs.dtype.kind != "f":
        return check
    x = np.asarray(tensors["x"], np.float64)
    ties = find_ties(plan, x, dy)
    smooth = layer.backward(plan, {**tensors, "x": x, "dy": np.where(ties.tied, 0.0, dy)})["dx"]
    rtol, atol = check.rtol, check.atol or 0.0
    tied = np.zeros(ours.size, bool)
    tied[list(ties.members())] = True
    with np.errstate(all="ignore"):
        got, right = theirs.astype(np.float64).reshape(-1), ours.reshape(-1)
        near = np.abs(got - right) <= atol + rtol * np.abs(right)
        shares = got - smooth.reshape(-1)
    if not tied.any() or not (near | tied).all():
        return check
    flat = dy.reshape(-1)
    for windows, members in components(ties.edges):
        amount = {window: float(flat[window]) for window in windows}
        wanted = {element: float(shares[element]) for element in members}
        slack = atol + rtol * max(sum(map(abs, amount.values())), *map(abs, wanted.values()))
        if not can_be_shared(windows, ties.edges, amount, wanted, slack):
            return check
    note = (
        f"{len(ties.members())} elements tie, where the layer has no derivative; this is what "
        "sharing dy among tied winners can give, in another way than ours"
    )
    return replace(
        check,
        verdict="kink",
        reason=None,
        mismatched=0,
        tied=len(ties.members()),
        diagnosis=None,
        runner_up=None,
        tell=None,
        sits=None,
        note="; ".join(text for text in (note, check.note) if text),
    )

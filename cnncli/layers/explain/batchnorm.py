"""Elements of a batch normalization: the statistics of its channel, and the terms of gradients."""

from __future__ import annotations

import math
from typing import Any

from cnncli.layers.base import Plan, Tensors
from cnncli.layers.explain.parts import (
    Explanation,
    Index,
    Region,
    Terms,
    grid,
    number,
    regions,
    take,
)


def explain(plan: Plan, tensors: Tensors, name: str, index: Index) -> Explanation:
    """Return what element `index` of y, dx, dgamma, dbeta or a running statistic is made of."""
    found: dict[str, Any] = {
        "tensor": name,
        "index": index,
        "element": float(tensors[name][index]),
    }
    channel = index[1] if name in ("y", "dx") else index[0]
    facts = _statistics(plan, tensors, channel)
    makers = {"y": _output, "dx": _input_gradient, "dgamma": _scale_gradient}
    makers |= {"dbeta": _shift_gradient}
    make = makers.get(name, _running)
    return make(plan, tensors, index, facts, found)


def _statistics(plan: Plan, tensors: Tensors, c: int) -> dict[str, float]:
    """Return what the channel is normalized by; a mean and a sum of squares, each rounded once."""
    import numpy as np

    x = tensors["x"][:, c].astype(np.float64).reshape(-1)
    if plan.params["training"]:
        mean = _sum(x) / x.size
        var = _sum((x - mean) ** 2) / x.size
    else:
        mean, var = float(tensors["running_mean"][c]), float(tensors["running_var"][c])
    eps = plan.params["eps"]
    return {
        "elements": float(x.size),
        "mean": mean,
        "var": var,
        "eps": eps,
        "sigma": math.sqrt(var + eps),
    }


def _sum(values: Any) -> float:
    import numpy as np

    if not np.isfinite(values).all():
        return float(values.sum())
    return math.fsum(values.tolist())


def _divide(a: float, b: float) -> float:
    """Divide as floats do: by zero too."""
    import numpy as np

    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def _output(
    plan: Plan, tensors: Tensors, index: Index, facts: dict[str, float], found: dict[str, Any]
) -> Explanation:
    c = index[1]
    x = float(tensors["x"][index])
    facts |= {"x": x, "x - mean": x - facts["mean"]}
    facts["xhat"] = _divide(facts["x - mean"], facts["sigma"])
    gamma, beta = take("gamma", tensors, [c], 1), take("beta", tensors, [c], 1)
    scaled = Terms(label="scaled", factors=(gamma, number("xhat", facts["xhat"])))
    return Explanation(
        **found,
        formula="gamma*xhat + beta, xhat = (x - mean)/sigma, sigma = sqrt(var + eps)",
        terms=(scaled, Terms(label="shift", factors=(beta,))),
        reads=_channel_read(plan, tensors, index),
        facts=facts,
    )


def _channel_read(plan: Plan, tensors: Tensors, index: Index) -> tuple[Region, ...]:
    """Return the region of x that the element depends on: in training, the whole channel."""
    x = tensors["x"]
    if not plan.params["training"]:
        return regions(take("x", tensors, list(index), 1))
    ranges = [(0, size, 1) for size in x.shape]
    ranges[1] = (index[1], index[1] + 1, 1)
    return (Region(name="x", ranges=tuple(ranges)),)


def _channel_terms(tensors: Tensors, c: int) -> tuple[list[Any], int]:
    """Return the index columns of every element of a channel, and their number."""
    shape = tensors["x"].shape
    columns = grid([range(size) for size in (shape[0], *shape[2:])])
    return [columns[0], c, *columns[1:]], columns.shape[1]


def _normalized(tensors: Tensors, c: int, facts: dict[str, float]) -> Any:
    import numpy as np

    columns, count = _channel_terms(tensors, c)
    x = take("x", tensors, columns, count)
    with np.errstate(all="ignore"):
        values = (x.values - facts["mean"]) / facts["sigma"]
    return x, values


def _input_gradient(
    plan: Plan, tensors: Tensors, index: Index, facts: dict[str, float], found: dict[str, Any]
) -> Explanation:
    c = index[1]
    slope = _divide(float(tensors["gamma"][c]), facts["sigma"])
    facts |= {"gamma/sigma": slope}
    direct = Terms(
        label="through x itself",
        factors=(number("gamma/sigma", slope), take("dy", tensors, list(index), 1)),
    )
    if not plan.params["training"]:
        return Explanation(
            **found,
            formula="gamma/sigma * dy; the running statistics do not depend on x",
            terms=(direct,),
            reads=_direct_reads(tensors, index),
            facts=facts,
        )
    columns, count = _channel_terms(tensors, c)
    dy = take("dy", tensors, columns, count)
    _, xhat = _normalized(tensors, c, facts)
    facts["mean of dy"] = _sum(dy.values) / count
    facts["mean of dy*xhat"] = _sum(dy.values * xhat) / count
    facts["xhat"] = _divide(float(tensors["x"][index]) - facts["mean"], facts["sigma"])
    return Explanation(
        **found,
        formula="gamma/sigma * (dy - mean of dy - xhat * mean of dy*xhat)",
        terms=(
            direct,
            Terms(
                label="through the mean",
                factors=(
                    number("-gamma/sigma", -slope),
                    number("mean of dy", facts["mean of dy"]),
                ),
            ),
            Terms(
                label="through the variance",
                factors=(
                    number("-gamma/sigma", -slope),
                    number("xhat", facts["xhat"]),
                    number("mean of dy*xhat", facts["mean of dy*xhat"]),
                ),
            ),
        ),
        reads=regions(dy),
        facts=facts,
    )


def _direct_reads(tensors: Tensors, index: Index) -> tuple[Region, ...]:
    """Return the one element of dy that is read."""
    return regions(take("dy", tensors, list(index), 1))


def _scale_gradient(
    plan: Plan, tensors: Tensors, index: Index, facts: dict[str, float], found: dict[str, Any]
) -> Explanation:
    columns, count = _channel_terms(tensors, index[0])
    dy = take("dy", tensors, columns, count)
    _, xhat = _normalized(tensors, index[0], facts)
    return Explanation(
        **found,
        formula="sum of dy*xhat over its channel, xhat = (x - mean)/sigma",
        terms=(Terms(label="products", factors=(dy, number("xhat", xhat, count))),),
        reads=regions(dy),
        facts=facts,
    )


def _shift_gradient(
    plan: Plan, tensors: Tensors, index: Index, facts: dict[str, float], found: dict[str, Any]
) -> Explanation:
    columns, count = _channel_terms(tensors, index[0])
    dy = take("dy", tensors, columns, count)
    return Explanation(
        **found,
        formula="sum of dy over its channel: every sample and position",
        terms=(Terms(label="elements", factors=(dy,)),),
        reads=regions(dy),
        facts=facts,
    )


def _running(
    plan: Plan, tensors: Tensors, index: Index, facts: dict[str, float], found: dict[str, Any]
) -> Explanation:
    """A new running statistic: the old one and the batch's, weighted."""
    momentum = plan.params["momentum"]
    new = momentum if plan.params["momentum_weighs"] == "new" else 1 - momentum
    old_name = found["tensor"].removeprefix("new_")
    batch_name, batch = "mean", facts["mean"]
    if old_name == "running_var":
        batch_name, batch = "biased var", facts["var"]
        if plan.params["running_variance"] == "unbiased":
            count = facts["elements"]
            batch_name, batch = "unbiased var", facts["var"] * (count / (count - 1))
    facts |= {batch_name: batch, "weight of the new": new}
    return Explanation(
        **found,
        formula=f"{1 - new:g} * {old_name} + {new:g} * {batch_name}",
        terms=(
            Terms(
                label="old",
                factors=(number("weight", 1 - new), take(old_name, tensors, [index[0]], 1)),
            ),
            Terms(label="new", factors=(number("weight", new), number(batch_name, batch))),
        ),
        facts=facts,
    )

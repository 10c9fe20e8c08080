"""Faults of batch normalisation, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnncli.checks.faults.common import need
from cnncli.checks.faults.faultbench import FaultBench
from cnncli.kernels.windows import Array


def _column(b: FaultBench, numbers: Array) -> Array:
    return numbers.reshape(-1, *(1 for _ in b.space))


def _axes(b: FaultBench) -> tuple[int, ...]:
    return (0, *b.space)


def _statistics(
    b: FaultBench, axes: tuple[int, ...] | None = None, ddof: int = 0
) -> tuple[Array, Array]:
    """Mean and variance, broadcast against x; the running ones in inference."""
    if axes is None and not b.plan.params["training"]:
        return _column(b, b.tensors["running_mean"]), _column(b, b.tensors["running_var"])
    over = _axes(b) if axes is None else axes
    count = math.prod(b.x.shape[axis] for axis in over)
    need(count > ddof)
    mean = b.x.mean(axis=over, keepdims=True)
    return mean, np.square(b.x - mean).sum(axis=over, keepdims=True) / (count - ddof)


def _redo(
    b: FaultBench,
    *,
    mean_term: float = 1.0,
    var_term: float = 1.0,
    axes: tuple[int, ...] | None = None,
    summed: tuple[int, ...] | None = None,
    count: int | None = None,
    ddof: int = 0,
    eps: float | None = None,
    gamma_power: int = 1,
    sigma_power: int = 1,
    outside: bool = False,
    rooted: bool = False,
) -> Array:
    """Return y, dx, dgamma or dbeta by the textbook's formula, with one thing changed."""
    dy, x = b.tensors.get("dy"), b.x
    eps = b.plan.params["eps"] if eps is None else eps
    mean, var = _statistics(b, axes, ddof)
    var = np.sqrt(var) if rooted else var
    sigma = np.sqrt(var) + eps if outside else np.sqrt(var + eps)
    gamma = _column(b, b.tensors["gamma"]) ** gamma_power
    hat = (x - mean) / sigma**sigma_power
    if b.name == "y":
        return np.asarray(hat * gamma + _column(b, b.tensors["beta"]))
    assert dy is not None
    if b.name == "dgamma":
        return np.asarray((dy * hat).sum(axis=_axes(b)))
    over = summed or axes or _axes(b)
    m = count or math.prod(x.shape[axis] for axis in over)
    training = b.plan.params["training"]
    hat = (x - mean) / sigma
    first = dy.sum(axis=over, keepdims=True) / m * (mean_term if training else 0)
    second = hat * (dy * hat).sum(axis=over, keepdims=True) / m * (var_term if training else 0)
    return np.asarray(gamma / sigma**sigma_power * (dy - first - second))


def mean_term_missing(b: FaultBench) -> Array:
    """Dx without the part through the mean."""
    return _redo(b, mean_term=0)


def var_term_missing(b: FaultBench) -> Array:
    """Dx without the part through the variance."""
    return _redo(b, var_term=0)


def statistics_constant(b: FaultBench) -> Array:
    """Mean and variance taken for constants."""
    return _redo(b, mean_term=0, var_term=0)


def divided_by_n(b: FaultBench) -> list[Array]:
    """Means over N alone: the sums divided by N, summed over N, or statistics over N."""
    n = b.x.shape[0]
    return [_redo(b, count=n), _redo(b, summed=(0,)), _redo(b, axes=(0,))]


def divided_by_plane(b: FaultBench) -> list[Array]:
    """Means over H and W alone: the sums divided by H*W, or summed over the plane."""
    return [
        _redo(b, count=math.prod(b.plan.spatial)),
        _redo(b, summed=b.space),
        _redo(b, axes=b.space),
    ]


def means_not_divided(b: FaultBench) -> Array:
    """The sums of dx not divided at all."""
    return _redo(b, count=1)


def per_sample(b: FaultBench) -> Array:
    """Statistics of each sample over C, H, W, as in layer normalisation."""
    return _redo(b, axes=(1, *b.space))


def over_n_alone(b: FaultBench) -> Array:
    """Statistics over N alone, each pixel its own."""
    return _redo(b, axes=(0,))


def over_plane_alone(b: FaultBench) -> Array:
    """Statistics of each plane, as in instance normalisation."""
    return _redo(b, axes=b.space)


def gamma_forgotten(b: FaultBench) -> Array:
    """Without gamma."""
    return _redo(b, gamma_power=0)


def gamma_twice(b: FaultBench) -> Array:
    """With gamma squared."""
    return _redo(b, gamma_power=2)


def var_for_sigma(b: FaultBench) -> Array:
    """1/var where 1/sigma belongs."""
    return _redo(b, sigma_power=2)


def sigma_missing(b: FaultBench) -> Array:
    """Not divided by sigma."""
    return _redo(b, sigma_power=0)


def unbiased(b: FaultBench) -> Array:
    """The variance divided by m - 1."""
    need(b.plan.params["training"])
    return _redo(b, ddof=1)


def eps_is(value: float) -> Callable[[FaultBench], Array]:
    """Return the fault of another eps."""

    def make(b: FaultBench) -> Array:
        need(b.plan.params["eps"] != value)
        return _redo(b, eps=value)

    return make


def eps_outside(b: FaultBench) -> Array:
    """Eps added to the deviation, outside the root."""
    return _redo(b, outside=True)


def std_for_var(b: FaultBench) -> list[Array]:
    """The deviation under the root, with eps or without; of dx in one of its two places too."""
    found = [_redo(b, rooted=True), _redo(b, rooted=True, eps=0.0)]
    if b.name == "dx":
        _, var = _statistics(b)
        eps = b.plan.params["eps"]
        ratio = np.sqrt(var + eps) / np.sqrt(np.sqrt(var) + eps)
        through_var = b.right - var_term_missing(b)
        found += [b.right * ratio, b.right + through_var * (np.square(ratio) - 1)]
    return found


def other_statistics(b: FaultBench) -> Array:
    """The batch's statistics in inference, or the running ones in training."""
    training = b.plan.params["training"]
    need(not training or "running_mean" in b.tensors)
    return b.redo(params={"training": not training})


def beta_missing(b: FaultBench) -> Array:
    """Y without beta."""
    return b.right - _column(b, b.tensors["beta"])


def roles_exchanged(b: FaultBench) -> Array:
    """Gamma for beta and beta for gamma."""
    if b.name == "y":
        return b.redo(gamma=b.tensors["beta"], beta=b.tensors["gamma"])
    return b.redo(name={"dgamma": "dbeta", "dbeta": "dgamma"}[b.name])


def mean_not_subtracted(b: FaultBench) -> Array:
    """X in place of x - mean."""
    _, var = _statistics(b)
    scaled = b.x / np.sqrt(var + b.plan.params["eps"])
    if b.name == "dgamma":
        return np.asarray((b.dy * scaled).sum(axis=_axes(b)))
    return np.asarray(scaled * _column(b, b.tensors["gamma"]) + _column(b, b.tensors["beta"]))


def raw_x(b: FaultBench) -> list[Array]:
    """Dgamma from x, or from x - mean, in place of the normalised x."""
    mean, _ = _statistics(b)
    return [(b.dy * part).sum(axis=_axes(b)) for part in (b.x, b.x - mean)]


def y_for_hat(b: FaultBench) -> Array:
    """Dgamma from y in place of the normalised x."""
    return np.asarray((b.dy * b.redo(name="y")).sum(axis=_axes(b)))


def times_gamma(b: FaultBench) -> Array:
    """Multiplied with gamma once more."""
    return np.asarray(b.right * b.tensors["gamma"])


def wrong_axes(b: FaultBench) -> list[Array]:
    """Summed over other axes than N, H, W."""
    mean, var = _statistics(b)
    hat = (b.x - mean) / np.sqrt(var + b.plan.params["eps"])
    terms = b.dy * (hat if b.name == "dgamma" else 1)
    kept = [terms.sum(axis=0), terms.sum(axis=b.space), terms.sum(axis=(1, *b.space))]
    kept += [terms.sum(axis=(0, 1)), np.asarray(terms.sum())]
    return [*kept, terms[0].sum(axis=tuple(range(1, terms.ndim - 1)))]


def momentum_reversed(b: FaultBench) -> Array:
    """The old value weighed as the new one and the new as the old."""
    need(b.plan.params["momentum"] != 0.5)
    return b.redo(params={"momentum": 1 - b.plan.params["momentum"]})


def other_running_variance(b: FaultBench) -> Array:
    """The biased variance for the unbiased one, or the reverse."""
    other = {"unbiased": "biased", "biased": "unbiased"}[b.plan.params["running_variance"]]
    return b.redo(params={"running_variance": other})


def not_updated(b: FaultBench) -> list[Array]:
    """The old running value, or the batch's alone."""
    old = b.tensors[b.name.removeprefix("new_")]
    return [old, b.redo(params={"momentum": 1.0}), b.redo(params={"momentum": 0.0})]


def deviation_for_variance(b: FaultBench) -> list[Array]:
    """The root of the new running variance; or the batch's deviation mixed into the old one."""
    need(b.name == "new_running_var")
    params, right, m = b.plan.params, b.right, b.x.size // b.x.shape[1]
    momentum = params["momentum"]
    new = momentum if params["momentum_weighs"] == "new" else 1 - momentum
    var = b.x.var(axis=_axes(b))
    used = var * m / (m - 1) if params["running_variance"] == "unbiased" else var
    mixed = [right + new * (np.sqrt(one) - used) for one in (var, used)]
    return [np.sqrt(right), *mixed]

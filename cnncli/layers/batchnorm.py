"""Batch normalization, in training and in inference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.errors import ConfigError, GeometryError, TensorError
from cnncli.layers.base import Array, Input, Layer, Plan, Request, Tensors
from cnncli.layers.parameters import Real, Switch
from cnncli.layers.parameters import parameter as p

if TYPE_CHECKING:
    from cnncli.layers.sharing import Link

_RUNNING = ("running_mean", "running_var")


@dataclass(frozen=True, kw_only=True)
class BatchNormParams:
    """The parameters of a batch normalization, as written."""

    eps: float = p(
        Real(minimum=0.0),
        "Added to the variance under the root.",
        default=1e-5,
        conventions={"keras": 1e-3},
    )
    momentum: float = p(
        Real(minimum=0.0, maximum=1.0),
        "Weight in the running statistics: of the new value (torch) or of the old (onnx, keras).",
        default=0.1,
        conventions={"onnx": 0.9, "keras": 0.99},
    )
    training: bool | None = p(
        Switch(negative="--inference"),
        "Statistics of the batch, or the running ones.",
        default=None,
        shown_default="inference where both running statistics are given",
    )


class BatchNorm(Layer):
    """(x - mean) / sqrt(var + eps) * gamma + beta, per channel."""

    name = "bn"
    summary = "Batch normalization, per channel over N, H and W."
    Params = BatchNormParams
    inputs = (
        Input(name="x", help="Input, (N, C, H, W)."),
        Input(name="gamma", help="Scale, (C,); left out: ones.", left_out="ones"),
        Input(name="beta", help="Shift, (C,); left out: zeros.", left_out="zeros"),
        Input(
            name="running_mean",
            help="Running mean, (C,).",
            left_out="none",
            differentiable=False,
        ),
        Input(
            name="running_var",
            help="Running variance, (C,).",
            left_out="none",
            differentiable=False,
        ),
    )
    outputs = ("y", "new_running_mean", "new_running_var")

    def plan(self, request: Request) -> Plan:
        """Judge a batch normalization's shapes; see Layer.plan."""
        x, _ = request.image()
        channel = (x[1],)
        inputs = {"x": x}
        for name in ("gamma", "beta"):
            inputs[name] = request.agree(name, channel, "one number a channel of x")
        running = [name for name in _RUNNING if request.has(name)]
        if len(running) == 1:
            (missing,) = set(_RUNNING) - set(running)
            raise request.misfit(
                running[0], f"{running[0]} is given without {missing}: give both or neither"
            )
        for name in running:
            inputs[name] = request.agree(name, channel, "one number a channel of x")
        training = request.params.training
        if training is None:
            training = not running
        if not training and not running:
            raise ConfigError(
                "inference needs running_mean and running_var, and neither is given",
                request.given.get("training"),
            )
        outputs = {"y": x}
        params: dict[str, Any] = {"eps": request.params.eps, "training": training}
        if training and running:
            params |= self._running_rule(request, math.prod(x) // x[1])
            outputs |= {"new_running_mean": channel, "new_running_var": channel}
        else:
            request.refuse("momentum", "without running statistics to update in training")
        request.agree("dy", x, "the shape of y")
        return Plan(
            layer=self.name,
            params=params,
            inputs=inputs,
            outputs=outputs,
            gradients={"dx": x, "dgamma": channel, "dbeta": channel},
        )

    def _running_rule(self, request: Request, count: int) -> dict[str, Any]:
        """Return how the convention updates running statistics, for `count` = N*H*W values."""
        torch = request.convention == "torch"
        if torch and count == 1:
            raise GeometryError(
                "the unbiased running variance divides by N*H*W - 1, but N*H*W is 1 here"
            )
        return {
            "momentum": request.params.momentum,
            "momentum_weighs": "new" if torch else "old",
            "running_variance": "unbiased" if torch else "biased",
        }

    def judge_values(self, plan: Plan, tensors: Tensors) -> None:
        """Refuse a running variance below zero."""
        variance = tensors.get("running_var")
        if variance is not None and (variance < 0).any():
            c = int((variance < 0).argmax())
            raise TensorError(f"running_var must not be negative, but is {variance[c]:g} at [{c}]")

    def output(self, plan: Plan, tensors: Tensors) -> Array:
        """Return y (N, C, H, W)."""
        return self._forward(plan, tensors)[0]

    def forward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return y and, in training with running statistics, the new ones (C,).

        And in training `saved_mean` and `saved_var` (C,), the statistics, for backward to use.
        """
        y, mean, var = self._forward(plan, tensors)
        outputs = {"y": y}
        if plan.params["training"]:
            outputs |= {"saved_mean": mean, "saved_var": var}
        if "momentum" in plan.params:
            momentum = plan.params["momentum"]
            new = momentum if plan.params["momentum_weighs"] == "new" else 1 - momentum
            old = 1 - new
            if plan.params["running_variance"] == "unbiased":
                count = tensors["x"].size // tensors["x"].shape[1]
                var = var * (count / (count - 1))
            # The kernel keeps statistics in float64; what leaves the layer has its precision.
            for name, value in (("mean", mean), ("var", var)):
                running = tensors[f"running_{name}"]
                updated = old * running + new * value
                outputs[f"new_running_{name}"] = updated.astype(running.dtype, copy=False)
        return outputs

    def _forward(self, plan: Plan, tensors: Tensors) -> tuple[Array, Array, Array]:
        """Return y and the mean and variance that it was normalised by."""
        from cnncli.kernels import batchnorm

        x, gamma, beta, eps = tensors["x"], tensors["gamma"], tensors["beta"], plan.params["eps"]
        if plan.params["training"]:
            return batchnorm.forward_training(x, gamma, beta, eps)
        mean, var = tensors["running_mean"], tensors["running_var"]
        return batchnorm.normalize(x, gamma, beta, mean, var, eps), mean, var

    def backward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return dx (N, C, H, W), dgamma (C,) and dbeta (C,).

        In training, of the statistics that forward saved for the same x, or else of x's own.
        """
        from cnncli.kernels import batchnorm

        training = plan.params["training"]
        kernel = batchnorm.backward_training if training else batchnorm.backward_inference
        mean, var = self._statistics(plan, tensors)
        dx, dgamma, dbeta = kernel(
            tensors["dy"], tensors["x"], tensors["gamma"], mean, var, plan.params["eps"]
        )
        return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    def _statistics(self, plan: Plan, tensors: Tensors) -> tuple[Array, Array]:
        from cnncli.kernels import batchnorm

        if not plan.params["training"]:
            return tensors["running_mean"], tensors["running_var"]
        if "saved_mean" in tensors:
            return tensors["saved_mean"], tensors["saved_var"]
        return batchnorm.statistics(tensors["x"])

    def outputs_for(self, plan: Plan, tensors: Tensors, name: str, values: Array) -> Array:
        """Return y for each value of one input, as more channels."""
        import numpy as np

        many, (n, c, *spatial) = len(values), plan.inputs["x"]
        wider = {key: np.tile(tensors[key], many) for key in plan.inputs if key != "x"}
        x = np.broadcast_to(values if name == "x" else tensors["x"], (many, n, c, *spatial))
        wider["x"] = np.moveaxis(x, 0, 1).reshape(n, many * c, *spatial)
        if name != "x":
            wider[name] = values.reshape(-1)
        y = self.output(plan, wider).reshape(n, many, c, *spatial)
        return np.moveaxis(y, 1, 0)

    def sharing(self, plan: Plan, name: str) -> tuple[Link, ...]:
        """Channels are apart; with given statistics every element is."""
        from cnncli.layers import sharing as to

        n, c, *spatial = plan.inputs["x"]
        if name != "x":
            return (to.along(1, c),)
        if plan.params["training"]:
            return (to.alone(n), to.along(1, c), *(to.alone(size) for size in spatial))
        return tuple(to.along(axis, size) for axis, size in enumerate(plan.inputs["x"]))

    def linear_in(self, plan: Plan, name: str) -> bool:
        """Only training makes y depend on x through its own statistics."""
        return name != "x" or not plan.params["training"]

    def workspace_bytes(self, plan: Plan, itemsize: int, backward: bool) -> int:
        """Return a bound: a few arrays of x's size."""
        return 4 * itemsize * math.prod(plan.inputs["x"])

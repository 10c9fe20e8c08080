"""Max and average pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.errors import ConfigError
from cnncli.layers.base import Array, Input, Layer, Plan, Request, Tensors
from cnncli.layers.parameters import Choice, Ints, Padding, PaddingValue, PerAxis, Switch
from cnncli.layers.parameters import parameter as p
from cnncli.layers.sliding import output_spatial, refuse_empty_windows, resolve_padding

if TYPE_CHECKING:
    from cnncli.layers.sharing import Link


@dataclass(frozen=True, kw_only=True)
class PoolParams:
    """The parameters of a pooling, as written."""

    kernel: int | Ints | str = p(
        PerAxis(words=("global",)), "Window: 2; 2,3 an axis; global: the whole plane.", short="k"
    )
    stride: int | Ints | None = p(
        PerAxis(),
        "Step from one window to the next.",
        default=None,
        shown_default="the kernel",
        short="s",
        conventions={"onnx": 1},
    )
    padding: PaddingValue = p(
        Padding(),
        "Padding: 1; 1,2 an axis; 0:1,2:1 before:after; same, same-lower, valid. "
        "Max pooling pads with minus infinity.",
        default=0,
        short="p",
    )
    dilation: int | Ints = p(
        PerAxis(), "Distance between a window's elements; 1 is none.", default=1, short="d"
    )
    mode: str = p(Choice(choices=("max", "avg")), "Maximum or mean of a window.", default="max")
    ceil_mode: bool = p(
        Switch(), "Keep a last window that hangs over the end of the input.", default=False
    )
    count_include_pad: bool = p(
        Switch(),
        "Average pooling divides by padding too.",
        default=True,
        conventions={"onnx": False, "keras": False},
    )


class Pool(Layer):
    """The maximum or the mean of every window of every plane."""

    name = "pool"
    summary = "Pooling: the maximum or the mean of every window."
    Params = PoolParams
    inputs = (Input(name="x", help="Input, (N, C, H, W)."),)
    outputs = ("y", "indices")

    def plan(self, request: Request) -> Plan:
        """Judge a pooling's shapes; see Layer.plan."""
        x, rank = request.image()
        params = request.params
        is_max = params.mode == "max"
        if params.kernel == "global":
            for name in ("stride", "padding", "dilation", "ceil_mode"):
                request.refuse(name, "with kernel global, whose one window is the whole plane")
            kernel = stride = x[2:]
            padding, dilation = ((0, 0),) * rank, (1,) * rank
        else:
            kernel = request.per_axis("kernel", rank)
            stride = kernel if params.stride is None else request.per_axis("stride", rank)
            dilation = request.per_axis("dilation", rank)
            padding = resolve_padding(request, x[2:], kernel, stride=stride, dilation=dilation)
        windows: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        output = output_spatial(request, x[2:], kernel, ceil_mode=params.ceil_mode, **windows)
        resolved: dict[str, Any] = {"kernel": kernel, **windows, "mode": params.mode}
        resolved["ceil_mode"] = params.ceil_mode
        arguments = {"kernel": kernel, **windows, "output": output}
        if is_max:
            request.refuse("count_include_pad", "to max pooling, which counts nothing")
        else:
            if request.convention == "keras" and params.count_include_pad:
                raise ConfigError(
                    "count_include_pad does not exist in Keras, which never counts padding",
                    request.given.get("count_include_pad"),
                )
            resolved["count_include_pad"] = params.count_include_pad
            arguments["count_include_pad"] = params.count_include_pad
        if is_max or not params.count_include_pad:
            refuse_empty_windows(request, x[2:], output, kernel, **windows)
        y = (*x[:2], *output)
        request.agree("dy", y, "the shape of y")
        return Plan(
            layer=self.name,
            params=resolved,
            inputs={"x": x},
            outputs={"y": y, "indices": y} if is_max else {"y": y},
            gradients={"dx": x},
            arguments=arguments,
        )

    def output(self, plan: Plan, tensors: Tensors) -> Array:
        """Return y (N, C, OH, OW)."""
        from cnncli.kernels import pool

        kernel = pool.max_forward if plan.params["mode"] == "max" else pool.average_forward
        return kernel(tensors["x"], **plan.arguments)

    def forward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return y and, of a maximum, the flat place of each winner in its plane, `indices`."""
        from cnncli.kernels import pool

        outputs = {"y": self.output(plan, tensors)}
        if "indices" in plan.outputs:
            outputs["indices"] = pool.max_indices(tensors["x"], **plan.arguments)
        return outputs

    def backward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return dx (N, C, H, W); overlapping windows add.

        Where the tensors hold `indices`, which forward gave for the same x, no winner is sought.
        """
        from cnncli.kernels import pool

        dy = tensors["dy"]
        if plan.params["mode"] == "avg":
            return {"dx": pool.average_backward(dy, plan.spatial, **plan.arguments)}
        indices = tensors.get("indices")
        if indices is None:
            indices = pool.max_indices(tensors["x"], **plan.arguments)
        return {"dx": pool.max_backward(dy, indices, plan.spatial)}

    def outputs_for(self, plan: Plan, tensors: Tensors, name: str, values: Array) -> Array:
        """Return y for each value of x, as more samples."""
        stacked = values.reshape(-1, *plan.inputs["x"][1:])
        return self.output(plan, {"x": stacked}).reshape(len(values), *plan.upstream)

    def sharing(self, plan: Plan, name: str) -> tuple[Link, ...]:
        """Planes are apart, and so are elements that no window holds together."""
        from cnncli.layers import sharing as to

        n, c, *spatial = plan.inputs["x"]
        keys = ("kernel", "stride", "padding", "dilation", "output")
        arguments = {key: plan.arguments[key] for key in keys}
        return (to.along(0, n), to.along(1, c), *to.window_links(tuple(spatial), **arguments))

    def workspace_bytes(self, plan: Plan, itemsize: int, backward: bool) -> int:
        """Return a bound: winners, masks, a few arrays of y's size and a tile's padded planes."""
        import math

        arrays = 9 * math.prod(plan.upstream) + 4 * math.prod(plan.inputs["x"])
        return 8 * arrays + (8 << 20)

    def linear_in(self, plan: Plan, name: str) -> bool:
        """A mean is linear; a maximum is where no winner changes."""
        return bool(plan.params["mode"] == "avg")

    def keeps_dtype(self, plan: Plan) -> bool:
        """Max pooling picks elements; average pooling computes."""
        return bool(plan.params["mode"] == "max")

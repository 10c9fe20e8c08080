"""Convolution (cross-correlation, as in every framework) and its transpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnncli.layers.base import (
    Array,
    Input,
    Layer,
    Plan,
    Request,
    Shape,
    Tensors,
)
from cnncli.layers.parameters import Ints, Padding, PaddingValue, Pairs, PerAxis, Switch, Whole
from cnncli.layers.parameters import parameter as p
from cnncli.layers.sliding import output_spatial, resolve_padding

if TYPE_CHECKING:
    from cnncli.layers.sharing import Link


@dataclass(frozen=True, kw_only=True)
class ConvParams:
    """The parameters of a convolution, as written."""

    stride: int | Ints = p(PerAxis(), "Step from one window to the next.", default=1, short="s")
    padding: PaddingValue = p(
        Padding(),
        "Zeros around the input: 1; 1,2 an axis; 0:1,2:1 before:after; same, same-lower, valid.",
        default=0,
        short="p",
    )
    dilation: int | Ints = p(
        PerAxis(), "Distance between the kernel's elements; 1 is none.", default=1, short="d"
    )
    groups: int = p(Whole(), "Groups that the channels are split into.", default=1, short="g")
    transposed: bool = p(
        Switch(), "Transposed convolution; w is then (C, F/groups, KH, KW).", default=False
    )
    output_padding: int | Ints = p(
        PerAxis(minimum=0), "Rows added at the output's end, with --transposed only.", default=0
    )


class Conv(Layer):
    """y = x (correlated with) w + b, or with `transposed` the input gradient of that."""

    name = "conv"
    summary = "Convolution: correlates x with the filters w, adds b."
    Params = ConvParams
    inputs = (
        Input(name="x", help="Input, (N, C, H, W)."),
        Input(name="w", help="Filters, (F, C/groups, KH, KW)."),
        Input(name="b", help="Bias, (F,); left out: none.", left_out="none"),
    )

    def plan(self, request: Request) -> Plan:
        """Judge a convolution's shapes; see Layer.plan."""
        x, rank = request.image()
        w = request.required("w", (4, 3, 3, 3))
        if len(w) != len(x):
            raise request.misfit(
                "w",
                f"w must have as many axes as x, {len(x)}, but has {len(w)}: "
                f"{request.shown('w', w)}",
            )
        self._judge_channels(request, x, w)
        windows: dict[str, Any] = {
            "stride": request.per_axis("stride", rank),
            "dilation": request.per_axis("dilation", rank),
        }
        judge = self._plan_transposed if request.params.transposed else self._plan_direct
        filters, output, padding, resolved = judge(request, x, w, windows)
        y = (x[0], filters, *output)
        inputs = {"x": x, "w": w}
        if request.has("b"):
            inputs["b"] = request.agree("b", (filters,), "one number a filter")
        request.agree("dy", y, "the shape of y")
        arguments = {**windows, "padding": padding, "groups": request.params.groups}
        return Plan(
            layer=self.name,
            params={
                "stride": windows["stride"],
                "padding": padding,
                "dilation": windows["dilation"],
                "groups": request.params.groups,
                "transposed": request.params.transposed,
                **resolved,
            },
            inputs=inputs,
            outputs={"y": y},
            gradients={"d" + name: shape for name, shape in inputs.items()},
            arguments=arguments,
        )

    def _judge_channels(self, request: Request, x: Shape, w: Shape) -> None:
        groups, channels = request.params.groups, x[1]
        if channels % groups:
            raise request.fault("groups", f"{groups} does not divide the {channels} channels of x")
        if request.params.transposed:
            if w[0] != channels:
                raise request.misfit(
                    "w",
                    f"a transposed w has one row a channel of x: it is for {w[0]} channels "
                    f"({request.shown('w', w)}), but x has {channels} ({request.shown('x', x)})",
                )
            return
        if w[0] % groups:
            raise request.fault("groups", f"{groups} does not divide the {w[0]} filters of w")
        if w[1] * groups != channels:
            times = f" times {groups} groups" if groups > 1 else ""
            raise request.misfit(
                "w",
                f"w is for {w[1]} channels{times} ({request.shown('w', w)}), "
                f"but x has {channels} ({request.shown('x', x)})",
            )

    def _plan_direct(
        self, request: Request, x: Shape, w: Shape, windows: dict[str, Any]
    ) -> tuple[int, Shape, Pairs, dict[str, object]]:
        request.refuse("output_padding", "without transposed")
        padding = resolve_padding(request, x[2:], w[2:], **windows)
        output = output_spatial(request, x[2:], w[2:], padding=padding, **windows)
        return w[0], output, padding, {}

    def _plan_transposed(
        self, request: Request, x: Shape, w: Shape, windows: dict[str, Any]
    ) -> tuple[int, Shape, Pairs, dict[str, object]]:
        from cnncli.kernels.windows import extent

        stride, dilation = windows["stride"], windows["dilation"]
        rank = len(x) - 2
        if request.params.padding in ("same", "same-lower"):
            # The gradient of a `same` convolution whose input has size * stride rows.
            request.refuse("output_padding", "with padding same, which fixes the output's size")
            output = tuple(size * s for size, s in zip(x[2:], stride, strict=True))
            padding = resolve_padding(request, output, w[2:], **windows)
            smallest = self._transposed_sizes(x, w, stride, dilation, padding)
            extra = tuple(o - size for o, size in zip(output, smallest, strict=True))
        else:
            padding = resolve_padding(request, x[2:], w[2:], **windows)
            extra = request.per_axis("output_padding", rank)
            smallest = self._transposed_sizes(x, w, stride, dilation, padding)
            for more, s, d in zip(extra, stride, dilation, strict=True):
                if more >= max(s, d):
                    raise request.fault(
                        "output_padding",
                        f"{more} must be smaller than the stride {s} or the dilation {d}",
                    )
            output = tuple(size + more for size, more in zip(smallest, extra, strict=True))
        for size, (before, after), k, d in zip(output, padding, w[2:], dilation, strict=True):
            if size < 1:
                raise request.fault(
                    "padding",
                    f"of {before}+{after} crops all {size + before + after} rows of a transposed "
                    f"convolution whose kernel covers {extent(k, d)}",
                )
        return w[1] * request.params.groups, output, padding, {"output_padding": extra}

    @staticmethod
    def _transposed_sizes(
        x: Shape, w: Shape, stride: Ints, dilation: Ints, padding: Pairs
    ) -> Shape:
        from cnncli.kernels.windows import extent

        return tuple(
            (size - 1) * s + extent(k, d) - before - after
            for size, k, s, d, (before, after) in zip(
                x[2:], w[2:], stride, dilation, padding, strict=True
            )
        )

    def output(self, plan: Plan, tensors: Tensors) -> Array:
        """Return y (N, F, OH, OW)."""
        from cnncli.kernels import conv

        x, w, b = tensors["x"], tensors["w"], tensors.get("b")
        if not plan.params["transposed"]:
            return conv.forward(x, w, b, **plan.arguments)
        y = conv.backward_input(x, w, plan.upstream[2:], **plan.arguments)
        if b is not None:
            column = b.reshape(-1, *[1] * len(plan.spatial))
            if column.dtype.kind == "c":  # a complex step in b alone
                return y + column
            y += column
        return y

    def backward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return dx, dw and, where there is a bias, db."""
        from cnncli.kernels import conv

        x, w, dy = tensors["x"], tensors["w"], tensors["dy"]
        kernel = w.shape[2:]
        if not plan.params["transposed"]:
            gradients = {
                "dx": conv.backward_input(dy, w, plan.spatial, **plan.arguments),
                "dw": conv.backward_weight(dy, x, kernel, **plan.arguments),
            }
        else:
            # The transpose's transpose is the convolution; x and dy change places in dw. Where
            # output padding exceeds the stride, the convolution has windows that x never met.
            windows = (slice(None), slice(None), *(slice(size) for size in plan.spatial))
            gradients = {
                "dx": conv.forward(dy, w, None, **plan.arguments)[windows],
                "dw": conv.backward_weight(x, dy, kernel, **plan.arguments),
            }
        if "b" in tensors:
            gradients["db"] = conv.backward_bias(dy)
        return gradients

    def outputs_for(self, plan: Plan, tensors: Tensors, name: str, values: Array) -> Array:
        """Return y for each value of one input: of x as more samples, of w and b as more filters.

        Filters stay with their group, so M values make (G, M, F/G) of them.
        """
        import numpy as np

        many, n = len(values), plan.inputs["x"][0]
        y = plan.upstream
        if name == "x":
            stacked = values.reshape(many * n, *plan.inputs["x"][1:])
            return self.output(plan, {**tensors, "x": stacked}).reshape(many, *y)
        groups = plan.params["groups"]
        each = y[1] // groups
        changed: Tensors = {key: tensors[key][None] for key in ("w", "b") if key in tensors}
        changed[name] = values
        w = np.broadcast_to(changed["w"], (many, *plan.inputs["w"]))
        if plan.params["transposed"]:  # (M, C, F/G, *K) -> (C, M * F/G, *K)
            stacked = w.swapaxes(0, 1).reshape(w.shape[1], many * each, *w.shape[3:])
        else:  # (M, F, C/G, *K) -> (G * M * F/G, C/G, *K)
            split = w.reshape(many, groups, each, *w.shape[2:]).swapaxes(0, 1)
            stacked = split.reshape(groups * many * each, *w.shape[2:])
        wider = {**tensors, "w": stacked}
        if "b" in changed:
            b = np.broadcast_to(changed["b"], (many, y[1])).reshape(many, groups, each)
            wider["b"] = b.swapaxes(0, 1).reshape(-1)
        result = self.output(plan, wider).reshape(n, groups, many, each, *y[2:])
        return np.moveaxis(result, 2, 0).reshape(many, *y)

    def sharing(self, plan: Plan, name: str) -> tuple[Link, ...]:
        """Samples and groups are apart, and so are elements that no window holds together."""
        from cnncli.layers import sharing as to

        x, w, y = plan.inputs["x"], plan.inputs["w"], plan.upstream
        groups, transposed = plan.params["groups"], plan.params["transposed"]
        if name == "b":
            return (to.along(1, y[1]),)
        if name == "w":
            taps = [to.alone(size) for size in w[2:]]
            if transposed:
                rows = to.summed_in_groups(w[0], groups, 1, y[1])
                return (rows, to.within_group(w[1], 1, y[1]), *taps)
            return (to.along(1, y[1]), to.alone(w[1]), *taps)
        large, small = (y[2:], x[2:]) if transposed else (x[2:], y[2:])
        arguments = {key: plan.arguments[key] for key in ("stride", "padding", "dilation")}
        windows = to.window_links(large, w[2:], output=small, transposed=transposed, **arguments)
        channels = to.summed_in_groups(x[1], groups, 1, y[1])
        return (to.along(0, x[0]), channels, *windows)

    def workspace_bytes(self, plan: Plan, itemsize: int, backward: bool) -> int:
        """Return the bound that the kernels state."""
        from cnncli.kernels import conv

        image, output = plan.inputs["x"], plan.upstream
        if plan.params["transposed"]:
            image, output = output, image
        return conv.workspace_bytes(
            image, plan.inputs["w"], output[2:], plan.params["groups"], itemsize
        )

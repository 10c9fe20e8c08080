"""Padding and cropping of the spatial axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.errors import GeometryError, TensorError
from cnncli.layers.base import (
    SPATIAL_AXES,
    Array,
    Input,
    Layer,
    Plan,
    Request,
    Tensors,
)
from cnncli.layers.parameters import Choice, Padding, PaddingValue, Real
from cnncli.layers.parameters import parameter as p

if TYPE_CHECKING:
    from cnncli.layers.sharing import Link


@dataclass(frozen=True, kw_only=True)
class PadParams:
    """The parameters of a padding, as written."""

    padding: PaddingValue = p(
        Padding(crops=True, words=()),
        "Rows around every plane: 1; 1,2 an axis; 0:1,2:1 before:after; negative crops, first.",
        short="p",
    )
    mode: str = p(
        Choice(
            choices=("constant", "reflect", "replicate", "circular", "symmetric"),
            aliases=(("edge", "replicate"), ("wrap", "circular")),
        ),
        "What the new rows hold.",
        default="constant",
    )
    value: float = p(Real(), "What constant padding holds.", default=0.0)


class Pad(Layer):
    """x with rows added around every plane, or cropped away."""

    name = "pad"
    summary = "Padding: adds rows around every plane, or crops them."
    Params = PadParams
    inputs = (Input(name="x", help="Input, (N, C, H, W)."),)

    def plan(self, request: Request) -> Plan:
        """Judge a padding's shapes; see Layer.plan."""
        x, rank = request.image()
        mode = request.params.mode
        padding = request.pairs("padding", rank)
        output = []
        for axis, size, pair in zip(SPATIAL_AXES[rank], x[2:], padding, strict=True):
            cropped = size + min(pair[0], 0) + min(pair[1], 0)
            if cropped < 1:
                raise request.fault(
                    "padding", f"{pair[0]}:{pair[1]} crops all {size} rows along {axis}"
                )
            limit = {"reflect": cropped - 1, "symmetric": cropped, "circular": cropped}.get(mode)
            for rows in pair:
                if limit is not None and rows > limit:
                    raise request.fault(
                        "padding",
                        f"{rows} along {axis} is more than mode {mode} can take from "
                        f"{cropped} rows, which is {limit}",
                    )
            output.append(size + sum(pair))
        if mode != "constant":
            request.refuse("value", f"to mode {mode}, which takes its values from x")
        y = (*x[:2], *output)
        if math.prod(y) > 2**62:
            raise GeometryError(f"y would be {request.shown('y', y)}, more than any memory holds")
        request.agree("dy", y, "the shape of y")
        resolved = {"padding": padding, "mode": mode}
        if mode == "constant":
            resolved["value"] = request.params.value
        return Plan(
            layer=self.name,
            params=resolved,
            inputs={"x": x},
            outputs={"y": y},
            gradients={"dx": x},
            arguments={"padding": padding, "mode": mode},
        )

    def judge_values(self, plan: Plan, tensors: Tensors) -> None:
        """Refuse a padding value that x's dtype cannot hold."""
        import numpy as np

        value, dtype = plan.params.get("value", 0.0), tensors["x"].dtype
        if dtype.kind in "fc":
            most = float(np.finfo(dtype).max)
            if math.isfinite(value) and abs(value) > most:
                raise TensorError(
                    f"value {value:g} cannot stand in x, whose {dtype} ends at {most:g}; "
                    "--dtype float64 makes room"
                )
            return
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if not (value.is_integer() and low <= value <= high):
            raise TensorError(
                f"value {value:g} cannot stand in x, whose {dtype} holds whole numbers "
                f"from {low} to {high}; --dtype float64 makes room"
            )

    def output(self, plan: Plan, tensors: Tensors) -> Array:
        """Return y (N, C, OH, OW)."""
        from cnncli.kernels import pad

        return pad.forward(tensors["x"], value=plan.params.get("value", 0.0), **plan.arguments)

    def backward(self, plan: Plan, tensors: Tensors) -> Tensors:
        """Return dx (N, C, H, W): every element of dy goes back to where its value came from."""
        from cnncli.kernels import pad

        return {"dx": pad.backward(tensors["dy"], plan.spatial, **plan.arguments)}

    def outputs_for(self, plan: Plan, tensors: Tensors, name: str, values: Array) -> Array:
        """Return y for each value of x, as more samples."""
        stacked = values.reshape(-1, *plan.inputs["x"][1:])
        return self.output(plan, {"x": stacked}).reshape(len(values), *plan.upstream)

    def sharing(self, plan: Plan, name: str) -> tuple[Link, ...]:
        """Every output copies one element or none; which one is told by NumPy's own pad."""
        import numpy as np

        from cnncli.layers import sharing as to

        n, c, *spatial = plan.inputs["x"]
        links = [to.along(0, n), to.along(1, c)]
        modes = {"replicate": "edge", "circular": "wrap"}
        mode = modes.get(plan.params["mode"], plan.params["mode"])
        for axis, (size, (before, after)) in enumerate(
            zip(spatial, plan.params["padding"], strict=True)
        ):
            kept = np.arange(size)[max(0, -before) : size - max(0, -after)]
            widths = (max(0, before), max(0, after))
            more = {"constant_values": -1} if mode == "constant" else {}
            links.append(to.copied(size, np.pad(kept, widths, mode=mode, **more), 2 + axis))
        return tuple(links)

    def workspace_bytes(self, plan: Plan, itemsize: int, backward: bool) -> int:
        """Return a bound: one more array of y's size."""
        return 2 * max(itemsize, 8) * math.prod(plan.upstream)

    def keeps_dtype(self, plan: Plan) -> bool:
        """Padding moves elements."""
        return True

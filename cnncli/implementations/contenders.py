"""What `bench` times beside us: the bare limit and other implementations, as plain calls.

A contender is made ready once (arrays converted, graphs and sessions built) and then called without
arguments; what it returns is thrown away. Nothing here is judged: `--against` does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from cnncli.implementations.base import CannotExpressError
from cnncli.layers.base import Array, Layer, Plan, Tensors

Call = Callable[[], Any]
Direction = Literal["forward", "backward", "step"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "step")
OURS, LIMIT = "cnncli", "limit"
CONTENDERS = ("torch", "onnxruntime", "loops", "tensordot")
EXTRAS = {"torch": ("torch",), "onnxruntime": ("onnx", "onnxruntime")}
LOOPS_WINDOWS = 400  # as many outputs as the textbook nest computes of a case: a second or so


@dataclass(frozen=True, kw_only=True)
class Job:
    """One direction of one case, with the arrays that it takes.

    `backward` is given what the forward pass saved for it, as in every library; a `step` is both
    passes, from the inputs and dy to the outputs and the gradients.
    """

    layer: Layer
    plan: Plan
    tensors: Tensors
    direction: Direction

    @property
    def backward(self) -> bool:
        """Whether gradients are computed."""
        return self.direction != "forward"

    @property
    def x(self) -> Array:
        """The input."""
        return self.tensors["x"]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A call to be timed, and the share of the whole case that it computes."""

    call: Call
    share: float = 1.0
    note: str = ""


def make_ready(contender: str, job: Job, threads: int) -> Ready:
    """Return the call that times `contender`; raise CannotExpressError where it has none."""
    if contender == OURS:
        return Ready(call=_ours(job))
    if contender == LIMIT:
        return Ready(call=_limit(job))
    if contender == "torch":
        return Ready(call=_torch(job, threads))
    if contender == "onnxruntime":
        return Ready(call=_onnxruntime(job, threads))
    if contender == "tensordot":
        return Ready(call=_tensordot(job))
    return _loops(job)


def flops(plan: Plan, direction: Direction) -> int:
    """Multiplications and additions of a convolution; backward is dx and dw together."""
    per_output = 2 * math.prod(plan.inputs["w"][1:])
    positions = math.prod(plan.inputs["x"] if plan.params["transposed"] else plan.upstream)
    return per_output * positions * {"forward": 1, "backward": 2, "step": 3}[direction]


def _ours(job: Job) -> Call:
    layer, plan, tensors = job.layer, job.plan, job.tensors
    if job.direction == "forward":
        return lambda: layer.output(plan, tensors)
    if job.direction == "backward":
        saved = tensors | layer.forward(plan, tensors)
        return lambda: layer.backward(plan, saved)

    def step() -> Tensors:
        outputs = layer.forward(plan, tensors)
        return outputs | layer.backward(plan, tensors | outputs)

    return step


def _limit(job: Job) -> Call:
    return _products(job) if job.layer.name == "conv" else _copy(job)


def product_shape(plan: Plan) -> tuple[int, int, int, int]:
    """Groups, rows, depth and columns of the one product that a convolution comes down to."""
    groups, w = plan.params["groups"], plan.inputs["w"]
    windows = plan.inputs["x"] if plan.params["transposed"] else plan.outputs["y"]
    return groups, w[0] // groups, math.prod(w[1:]), windows[0] * math.prod(windows[2:])


def _products(job: Job) -> Call:
    """np.matmul of the arithmetic: W X forward, W' dY and dY X' backward."""
    import numpy as np

    groups, rows, depth, columns = product_shape(job.plan)
    dtype = job.x.dtype
    rng = np.random.default_rng(0)
    w = rng.random((groups, rows, depth), np.float32).astype(dtype)
    x = rng.random((groups, depth, columns), np.float32).astype(dtype)
    dy = rng.random((groups, rows, columns), np.float32).astype(dtype)
    y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)
    forward = (w, x, y)
    back = [(w.swapaxes(1, 2), dy, dx), (dy, x.swapaxes(1, 2), dw)]
    if job.plan.params["transposed"]:  # whose forward is a convolution's dx
        forward, back[0] = back[0], forward
    asked = {"forward": [forward], "backward": back, "step": [forward, *back]}[job.direction]

    def products() -> None:
        for left, right, out in asked:
            np.matmul(left, right, out=out)

    return products


def moved_bytes(plan: Plan, direction: Direction, itemsize: int) -> int:
    """Bytes that must be read and written: x and y, dy and dx; for bn's dx, x once more."""
    x, y = math.prod(plan.inputs["x"]), math.prod(plan.upstream)
    back = x + y + (x if plan.layer == "bn" else 0)
    return itemsize * {"forward": x + y, "backward": back, "step": x + y + back}[direction]


def _copy(job: Job) -> Call:
    """Copy as many bytes as must be read and written, half of them each."""
    import numpy as np

    size = moved_bytes(job.plan, job.direction, 1) // 2
    source = np.ones(max(1, size), job.x.dtype)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)


def _torch(job: Job, threads: int) -> Call:
    """Run the functional call itself, or its gradient from a graph that is kept."""
    import torch

    torch.set_num_threads(threads)
    tensors = {name: torch.from_numpy(array) for name, array in job.tensors.items()}
    names = [name for name in job.plan.inputs if "d" + name in job.plan.gradients]
    if job.backward:
        for name in names:
            tensors[name].requires_grad_(True)
    call = _torch_call(torch, job, tensors)
    if not job.backward:

        def forward() -> Any:
            with torch.no_grad():
                return call()

        return forward
    leaves, dy = [tensors[name] for name in names], tensors["dy"]
    if job.direction == "step":
        return lambda: torch.autograd.grad(call(), leaves, dy)
    y = call()
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def _torch_call(torch: Any, job: Job, tensors: dict[str, Any]) -> Call:
    f, params = torch.nn.functional, job.plan.params
    x, rank = tensors["x"], len(job.plan.spatial)
    if job.layer.name == "bn":
        running = (tensors.get("running_mean"), tensors.get("running_var"))
        given = {"weight": tensors["gamma"], "bias": tensors["beta"], "eps": params["eps"]}
        given["training"] = params["training"]
        if params["training"]:
            running = (None, None)  # their update would change them between calls
        return lambda: f.batch_norm(x, *running, **given)
    pads = [p for pair in reversed(params["padding"]) for p in pair]
    if job.layer.name == "pad":
        mode = params["mode"]
        if mode == "symmetric":
            raise CannotExpressError("torch has no symmetric padding")
        if mode == "constant":
            return lambda: f.pad(x, pads, mode, params["value"])
        return lambda: f.pad(x, pads, mode)
    even = all(before == after for before, after in params["padding"])
    padding = tuple(before for before, _ in params["padding"])
    if job.layer.name == "conv":
        given = {name: params[name] for name in ("stride", "dilation", "groups")}
        w, b = tensors["w"], tensors.get("b")
        if params["transposed"]:
            if not even:
                raise CannotExpressError("torch's transposed convolution crops both ends alike")
            function = getattr(f, f"conv_transpose{rank}d")
            given |= {"output_padding": params["output_padding"], "padding": padding}
            return lambda: function(x, w, b, **given)
        function = getattr(f, f"conv{rank}d")
        if even:
            return lambda: function(x, w, b, padding=padding, **given)
        return lambda: function(f.pad(x, pads), w, b, **given)
    if not even:
        raise CannotExpressError("torch's pooling pads both ends alike")
    given = {"stride": params["stride"], "padding": padding, "ceil_mode": params["ceil_mode"]}
    kernel = params["kernel"]
    if params["mode"] == "max":
        function = getattr(f, f"max_pool{rank}d")
        return lambda: function(x, kernel, dilation=params["dilation"], **given)
    if any(d > 1 for d in params["dilation"]):
        raise CannotExpressError("torch's average pooling has no dilation")
    function = getattr(f, f"avg_pool{rank}d")
    counted = params["count_include_pad"]
    return lambda: function(x, kernel, count_include_pad=counted, **given)


def _onnxruntime(job: Job, threads: int) -> Call:
    """Run a session over a graph of one node, its input given anew at each call."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    if job.backward:
        raise CannotExpressError("onnxruntime does not differentiate")
    kind, attributes, constants = _onnx_node(job)
    element = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[str(job.x.dtype)]
    held = [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()]
    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    x_info = helper.make_tensor_value_info("x", element, list(job.x.shape))
    y_info = helper.make_tensor_value_info("y", element, list(job.plan.upstream))
    graph = helper.make_graph([node], "case", [x_info], [y_info], initializer=held)
    opset = helper.make_opsetid("", 19)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the one class that it raises for this is private
        raise CannotExpressError(
            f"onnxruntime has no kernel for this case in {job.x.dtype}"
        ) from error
    feed = {"x": job.x}
    return lambda: session.run(None, feed)


def _onnx_node(job: Job) -> tuple[str, dict[str, Any], Tensors]:
    import numpy as np

    params, tensors = job.plan.params, job.tensors
    if job.layer.name == "bn":
        if params["training"]:
            raise CannotExpressError("onnxruntime's batch norm in training is not compared")
        names = ("gamma", "beta", "running_mean", "running_var")
        return "BatchNormalization", {"epsilon": params["eps"]}, {n: tensors[n] for n in names}
    befores, afters = zip(*params["padding"], strict=True)
    if job.layer.name == "pad":
        mode = {"replicate": "edge", "circular": "wrap"}.get(params["mode"], params["mode"])
        if mode == "symmetric":
            raise CannotExpressError("ONNX has no symmetric padding")
        pads = np.array([0, 0, *befores, 0, 0, *afters], np.int64)
        value = np.array(params.get("value", 0), job.x.dtype)
        return "Pad", {"mode": mode}, {"pads": pads, "value": value}
    windows = {"strides": params["stride"], "pads": [*befores, *afters]}
    windows["dilations"] = params["dilation"]
    if job.layer.name == "conv":
        kind = "ConvTranspose" if params["transposed"] else "Conv"
        if params["transposed"]:
            windows["output_padding"] = params["output_padding"]
        weights: Tensors = {name: tensors[name] for name in ("w", "b") if name in tensors}
        return kind, {**windows, "group": params["groups"]}, weights
    windows |= {"kernel_shape": params["kernel"], "ceil_mode": int(params["ceil_mode"])}
    if params["mode"] == "max":
        return "MaxPool", windows, {}
    return "AveragePool", {**windows, "count_include_pad": int(params["count_include_pad"])}, {}


def _padded(job: Job) -> Array:
    import numpy as np

    return np.pad(job.x, ((0, 0), (0, 0), *job.plan.params["padding"]))


def _refuse_odd(job: Job, who: str) -> None:
    """Raise CannotExpressError for what the textbook does not write down."""
    if job.layer.name != "conv":
        raise CannotExpressError(f"{who} is timed for convolution alone")
    if job.backward:
        raise CannotExpressError(f"{who} is timed forward alone")
    if job.plan.params["transposed"] or job.plan.params["groups"] > 1:
        raise CannotExpressError(f"{who} has no groups and no transposed convolution")


def _tensordot(job: Job) -> Call:
    """Contract the windows, a strided view, with w: NumPy's usual one-liner, np.pad included."""
    import numpy as np

    _refuse_odd(job, "tensordot")
    w, rank, params = job.tensors["w"], len(job.plan.spatial), job.plan.params
    axes = tuple(range(2, 2 + rank))
    spans = tuple(d * (k - 1) + 1 for k, d in zip(w.shape[2:], params["dilation"], strict=True))
    steps = [slice(None, None, s) for s in params["stride"]]
    holes = [slice(None, None, d) for d in params["dilation"]]
    left = (1, *range(2 + rank, 2 + 2 * rank))

    def call() -> Array:
        view = np.lib.stride_tricks.sliding_window_view(_padded(job), spans, axes)
        windows = view[(slice(None), slice(None), *steps, *holes)]
        return np.moveaxis(np.tensordot(windows, w, (left, (1, *axes))), -1, 1)

    return call


def _loops(job: Job) -> Ready:
    """Seven nested loops over N, F, OH, OW and C, KH, KW, on the case's first outputs."""
    _refuse_odd(job, "loops")
    if len(job.plan.spatial) != 2:
        raise CannotExpressError("loops are timed with two spatial axes alone")
    filters, rows, columns = job.plan.upstream[1:]
    depth = math.prod(job.plan.inputs["w"][1:])
    windows = max(1, min(LOOPS_WINDOWS * 576 // depth, columns))
    few = replace(job, tensors={**job.tensors, "x": _padded(job)})
    whole = job.plan.upstream[0] * filters * rows * columns
    note = f"loops: timed on {windows} of {whole} outputs and scaled"
    return Ready(call=lambda: _nest(few, windows), share=windows / whole, note=note)


def _nest(job: Job, columns: int) -> Array:
    """Compute the first `columns` outputs of y[0, 0, 0]."""
    import numpy as np

    x, w = job.tensors["x"], job.tensors["w"]
    (sh, sw), (dh, dw) = job.plan.params["stride"], job.plan.params["dilation"]
    channels, kh, kw = w.shape[1:]
    y = np.zeros((1, 1, 1, columns), x.dtype)
    for n in range(1):
        for f in range(1):
            for i in range(1):
                for j in range(columns):
                    for c in range(channels):
                        for k in range(kh):
                            for m in range(kw):
                                element = x[n, c, i * sh + k * dh, j * sw + m * dw]
                                y[n, f, i, j] += element * w[f, c, k, m]
    return y

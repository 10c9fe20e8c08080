"""ONNX: a case as a model (opset 22, by the `onnx` package's own helper), run by onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats
from cnncli.implementations.library import Calls, Library, Prepared
from cnncli.implementations.text import (
    as_function,
    befores,
    crops,
    given_line,
    is_padded,
    kept,
    reached,
    whole_text,
)
from cnncli.kernels.windows import extent
from cnncli.layers.base import Plan, Tensors
from cnncli.layers.parameters import Ints, Pairs

OPSET = 22
IR_VERSION = 10


def write_onnx(plan: Plan, dtype: str = "float32") -> str:
    """Return the case as Python text that makes `model`; raise CannotExpressError.

    The model's tensors have the names that ours have; its floats are of `dtype`.
    """
    graph = _Graph({"float32": "FLOAT", "float64": "DOUBLE"}[dtype])
    _WRITERS[plan.layer](plan, graph)
    return whole_text(
        [
            "nodes = [",
            *(f"    {node}," for node in graph.nodes),
            "]",
            "inputs = [",
            *(f"    {_value(name, shape, dtype)}," for name, shape in plan.inputs.items()),
            "]",
            "outputs = [",
            *(
                f"    {_value(name, shape, dtype)},"
                for name, shape in (plan.outputs | graph.extra).items()
            ),
            "]",
            'graph = helper.make_graph(nodes, "case", inputs, outputs)',
            f'opsets = [helper.make_opsetid("", {OPSET})]',
            f"model = helper.make_model(graph, opset_imports=opsets, ir_version={IR_VERSION})",
        ],
        ["from onnx import TensorProto, helper"],
        given_line(plan),
    )


class _Graph:
    """The nodes of a model, as text."""

    def __init__(self, kind: str) -> None:
        self.nodes: list[str] = []
        self.kind = kind
        """TensorProto's name of the floats."""
        self.extra: dict[str, tuple[int, ...]] = {}
        """Outputs that the model has and the case has not."""

    def add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object
    ) -> None:
        """Add a node."""
        shown = "".join(f", {name}={value!r}" for name, value in attributes.items())
        self.nodes.append(f'helper.make_node("{kind}", {list(inputs)}, {list(outputs)}{shown})')

    def whole(self, name: str, value: int | list[int]) -> str:
        """Add a constant of whole numbers and return its name."""
        key = "value_int" if isinstance(value, int) else "value_ints"
        self.add("Constant", [], [name], **{key: value})
        return name

    def real(self, name: str, value: float) -> str:
        """Add a constant of the floats' type and return its name."""
        return self._constant(name, "[]", [value])

    def reals(self, name: str, values: list[float]) -> str:
        """Add a constant vector of the floats' type and return its name."""
        return self._constant(name, f"[{len(values)}]", values)

    def _constant(self, name: str, shape: str, values: list[float]) -> str:
        text = ", ".join(repr(v) if math.isfinite(v) else f"float({str(v)!r})" for v in values)
        tensor = f'helper.make_tensor("{name}", TensorProto.{self.kind}, {shape}, [{text}])'
        self.nodes.append(f'helper.make_node("Constant", [], ["{name}"], value={tensor})')
        return name


def _value(name: str, shape: tuple[int, ...], dtype: str) -> str:
    kind = "INT64" if name == "indices" else {"float32": "FLOAT", "float64": "DOUBLE"}[dtype]
    return f'helper.make_tensor_value_info("{name}", TensorProto.{kind}, {list(shape)})'


def _pads(padding: Pairs) -> list[int]:
    """Return padding in ONNX's order: before every axis, then after every axis."""
    return [before for before, _ in padding] + [after for _, after in padding]


def _conv(plan: Plan, graph: _Graph) -> None:
    params = plan.params
    attributes: dict[str, object] = {
        "strides": list(params["stride"]),
        "pads": _pads(params["padding"]),
        "dilations": list(params["dilation"]),
        "group": params["groups"],
    }
    kind = "Conv"
    if params["transposed"]:
        kind, attributes["output_padding"] = "ConvTranspose", list(params["output_padding"])
        fits = zip(params["stride"], params["output_padding"], strict=True)
        if any(more >= s for s, more in fits):
            raise CannotExpressError("ONNX takes no output padding that reaches the stride")
    graph.add(kind, list(plan.inputs), ["y"], **attributes)


def _pool(plan: Plan, graph: _Graph) -> None:
    params = plan.params
    kernel, padding = params["kernel"], params["padding"]
    attributes: dict[str, object] = {
        "kernel_shape": list(kernel),
        "strides": list(params["stride"]),
        "dilations": list(params["dilation"]),
    }
    ends = reached(plan)
    if params["mode"] == "avg":
        counted = params["count_include_pad"]
        pads = padding if counted else ends
        if not _fits(pads, kernel):
            raise CannotExpressError(
                f"onnxruntime pads pooling by less than the kernel {kernel}, not by {pads}"
            )
        attributes |= {"pads": _pads(pads), "count_include_pad": int(counted)}
        if counted and _overhangs(plan):
            attributes["ceil_mode"] = 1  # what hangs over the end must not count as padding
        graph.add("AveragePool", ["x"], ["y"], **attributes)
        return
    if _fits(ends, kernel):
        source, pads, spatial = "x", ends, plan.spatial
    else:
        graph.whole("pads", [0, 0, *befores(ends), 0, 0, *(after for _, after in ends)])
        graph.real("least", -float("inf"))
        graph.add("Pad", ["x", "pads", "least"], ["padded"])
        source, pads = "padded", tuple((0, 0) for _ in ends)
        spatial = tuple(size + b + a for size, (b, a) in zip(plan.spatial, ends, strict=True))
    attributes["pads"] = _pads(pads)
    if "indices" not in plan.outputs:
        graph.add("MaxPool", [source], ["y"], **attributes)
        return
    graph.add("MaxPool", [source], ["y", "flat"], **attributes)
    # ONNX numbers winners through the whole tensor, here they are numbered in each plane.
    plane = 1
    for size in spatial:
        plane *= size
    graph.whole("plane", plane)
    if source == "x":
        graph.add("Mod", ["flat", "plane"], ["indices"])
        return
    graph.add("Mod", ["flat", "plane"], ["places"])
    _unpad(graph, spatial, befores(ends), plan.spatial)


def _fits(padding: Pairs, kernel: Ints) -> bool:
    """Tell whether onnxruntime takes a pooling's padding: less than the kernel, each."""
    return all(max(pair) < k for pair, k in zip(padding, kernel, strict=True))


def _unpad(graph: _Graph, padded: Ints, before: Ints, spatial: Ints) -> None:
    """Add the nodes that turn `places` in padded planes into `indices` in the planes."""
    total = ""
    for axis, size in enumerate(padded):
        inner, outer = 1, 1
        for p, s in zip(padded[axis + 1 :], spatial[axis + 1 :], strict=True):
            inner, outer = inner * p, outer * s
        names = {
            "inner": graph.whole(f"inner{axis}", inner),
            "size": graph.whole(f"size{axis}", size),
            "before": graph.whole(f"before{axis}", before[axis]),
            "outer": graph.whole(f"outer{axis}", outer),
        }
        graph.add("Div", ["places", names["inner"]], [f"line{axis}"])
        graph.add("Mod", [f"line{axis}", names["size"]], [f"padded{axis}"])
        graph.add("Sub", [f"padded{axis}", names["before"]], [f"place{axis}"])
        graph.add("Mul", [f"place{axis}", names["outer"]], [f"share{axis}"])
        if total:
            graph.add("Add", [total, f"share{axis}"], [f"sum{axis}"])
            total = f"sum{axis}"
        else:
            total = f"share{axis}"
    graph.add("Identity", [total], ["indices"])


def _overhangs(plan: Plan) -> bool:
    """Tell whether the last window of any axis reaches beyond the padded input."""
    params = plan.params
    return any(
        (out - 1) * s + extent(k, d) > size + before + after
        for size, k, s, d, (before, after), out in zip(
            plan.spatial,
            params["kernel"],
            params["stride"],
            params["dilation"],
            params["padding"],
            plan.upstream[2:],
            strict=True,
        )
    )


def _batch_norm(plan: Plan, graph: _Graph) -> None:
    params = plan.params
    inputs = ["x", "gamma", "beta", "running_mean", "running_var"]
    if not params["training"]:
        graph.add("BatchNormalization", inputs, ["y"], epsilon=params["eps"])
        return
    if "new_running_mean" not in plan.outputs:
        # ONNX always takes running statistics and onnxruntime always writes them: over its own
        # inputs, unless the model gives them out.
        graph.reals("zeros", [0.0] * plan.inputs["x"][1])
        graph.reals("ones", [1.0] * plan.inputs["x"][1])
        graph.extra = dict.fromkeys(("unread_mean", "unread_var"), plan.inputs["gamma"])
        graph.add(
            "BatchNormalization",
            ["x", "gamma", "beta", "zeros", "ones"],
            ["y", *graph.extra],
            epsilon=params["eps"],
            training_mode=1,
        )
        return
    old = params["momentum"] if params["momentum_weighs"] == "old" else 1 - params["momentum"]
    outputs = ["y", "new_running_mean", "new_running_var"]
    unbiased = params["running_variance"] == "unbiased"
    if unbiased:
        outputs[2] = "biased"
        graph.extra = {"biased": plan.inputs["gamma"]}
    graph.add(
        "BatchNormalization",
        inputs,
        outputs,
        epsilon=params["eps"],
        momentum=old,
        training_mode=1,
    )
    if unbiased:
        # new = old*running + (biased - old*running) * m/(m-1)
        count = plan.inputs["x"][0]
        for size in plan.spatial:
            count *= size
        graph.real("old_weight", old)
        graph.real("count", float(count))
        graph.real("degrees", float(count - 1))
        graph.add("Mul", ["running_var", "old_weight"], ["kept_var"])
        graph.add("Sub", ["biased", "kept_var"], ["fresh"])
        graph.add("Mul", ["fresh", "count"], ["scaled"])
        graph.add("Div", ["scaled", "degrees"], ["unbiased"])
        graph.add("Add", ["kept_var", "unbiased"], ["new_running_var"])


def _pad(plan: Plan, graph: _Graph) -> None:
    params = plan.params
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if params["mode"] not in names:
        raise CannotExpressError(f"ONNX has no {params['mode']} padding")
    mode, padding, source = names[params["mode"]], params["padding"], "x"
    if mode != "constant":
        cut, padding = crops(params["padding"])
        if is_padded(cut):
            bounds = kept(plan.spatial, cut)
            graph.whole("starts", [start for start, _ in bounds])
            graph.whole("stops", [stop for _, stop in bounds])
            graph.whole("axes", [2 + axis for axis in range(len(bounds))])
            graph.add("Slice", ["x", "starts", "stops", "axes"], ["cropped"])
            source = "cropped"
    graph.whole("pads", [0, 0, *befores(padding), 0, 0, *(after for _, after in padding)])
    inputs = [source, "pads"]
    if mode == "constant":
        inputs.append(graph.real("value", params["value"]))
    graph.add("Pad", inputs, ["y"], mode=mode)


_WRITERS: dict[str, Callable[[Plan, _Graph], None]] = {
    "pad": _pad,
    "conv": _conv,
    "pool": _pool,
    "bn": _batch_norm,
}


class Onnx(Library):
    """onnxruntime on the processor; convolution and average pooling are float32 there."""

    def __init__(self) -> None:
        import onnx.numpy_helper
        import onnxruntime

        self._onnx, self._runtime = onnx, onnxruntime

    @property
    def label(self) -> str:
        """The runtime's name and version."""
        return f"onnxruntime {self._runtime.__version__}"

    def prepare(self, task: Task, *, threads: int = 1) -> Prepared:
        """Return the task ready to be called; raise CannotExpressError.

        Where the runtime has float32 kernels alone, inputs are rounded to it and `stored` says so.
        """
        plan = task.problem.plan
        floats, dtype = as_floats(task, widest=_widest(plan))
        if not all(array.size for array in floats.values()):
            raise CannotExpressError("onnxruntime computes nothing of empty arrays")
        (model,) = as_function(write_onnx(plan, dtype), (), ["model"])()
        self._hold(model.graph, floats)
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4  # errors come as exceptions
        options.intra_op_num_threads = threads
        session = self._runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        outputs, feed = list(plan.outputs), {"x": floats["x"]}
        gradients = plan.gradients if task.backward else {}
        # ONNX holds eps and momentum in float32, whatever its tensors are.
        rounded = plan.layer == "bn"
        return Prepared(
            calls=Calls(forward=lambda: session.run(outputs, feed)),
            outputs=tuple(outputs),
            read=lambda _, array: array,
            dtype=dtype,
            told=Computed(
                stored="float32" if rounded else dtype,
                note="eps and momentum in float32" if rounded else None,
                reasons=dict.fromkeys(gradients, "onnxruntime gives no gradients"),
            ),
        )

    def _hold(self, graph: Any, arrays: Tensors) -> None:
        """Make every input but x a constant of the model, which a session arranges beforehand."""
        for name in [node.name for node in graph.input if node.name != "x"]:
            graph.initializer.append(self._onnx.numpy_helper.from_array(arrays[name], name))
        inputs = [node for node in graph.input if node.name == "x"]
        del graph.input[:]
        graph.input.extend(inputs)


def _widest(plan: Plan) -> str:
    single = plan.layer == "conv" or plan.params.get("mode") == "avg"
    return "float32" if single else "float64"

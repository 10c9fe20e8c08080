"""ONNX's own node tests as cases of ours; `python -m tests.suites.onnx_nodes` prints the table."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.building import result_of

OPERATORS = (
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "BatchNormalization",
    "Pad",
)
RANKS = (3, 4, 5)
KINDS = "fiu"


@dataclass(kw_only=True)
class NodeTest:
    """One node test: what it becomes here, or why it is left out."""

    name: str
    operator: str
    rtol: float
    atol: float
    reason: str | None = None
    layer: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)


class LeftOutError(Exception):
    """Why a node test is left out."""


def node_tests() -> list[NodeTest]:
    """Return every test of one of the operators that the installed onnx has."""
    import onnx
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its reference computes overflows on purpose
        cases: Any = load_model_tests(kind="node")
    tests: list[NodeTest] = []
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in OPERATORS:
            continue
        test = NodeTest(name=case.name, operator=nodes[0].op_type, rtol=case.rtol, atol=case.atol)
        values = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
        values = {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}
        try:
            inputs, outputs = case.data_sets[0]
            x = inputs[0]
            if x.ndim not in RANKS:
                raise LeftOutError(f"{x.ndim} axes; here an image has 3 to 5")
            if x.dtype.kind not in KINDS:
                raise LeftOutError(f"{x.dtype} values")
            _TRANSLATORS[test.operator](test, values, inputs, outputs)
        except LeftOutError as reason:
            test.reason = str(reason)
        tests.append(test)
    return sorted(tests, key=lambda test: (OPERATORS.index(test.operator), test.name))


def _pairs(pads: Any) -> list[list[int]]:
    rank = len(pads) // 2
    return [[int(pads[i]), int(pads[i + rank])] for i in range(rank)]


def _padding(values: dict[str, Any]) -> dict[str, Any]:
    auto = values.get("auto_pad", "NOTSET")
    words = {"SAME_UPPER": "same", "SAME_LOWER": "same-lower", "VALID": "valid"}
    if auto in words:
        return {"padding": words[auto]}
    return {"padding": _pairs(values["pads"])} if "pads" in values else {}


def _windows(values: dict[str, Any]) -> dict[str, Any]:
    names = {"strides": "stride", "dilations": "dilation", "group": "groups"}
    return {ours: values[theirs] for theirs, ours in names.items() if theirs in values}


def _conv(test: NodeTest, values: Any, inputs: Any, outputs: Any) -> None:
    test.layer, test.params = "conv", _windows(values) | _padding(values)
    test.inputs = dict(zip(("x", "w", "b"), inputs, strict=False))
    test.expected = {"y": outputs[0]}


def _conv_transpose(test: NodeTest, values: Any, inputs: Any, outputs: Any) -> None:
    _conv(test, values, inputs, outputs)
    test.params["transposed"] = True
    more = values.get("output_padding")
    if "output_shape" in values:
        # What the size asked for has beyond the whole is output padding; less would be padding.
        x, w = inputs[:2]
        rank = x.ndim - 2
        strides, dilations = values.get("strides", [1] * rank), values.get("dilations", [1] * rank)
        whole = [
            (size - 1) * s + d * (k - 1) + 1
            for size, s, d, k in zip(x.shape[2:], strides, dilations, w.shape[2:], strict=True)
        ]
        more = [out - full for out, full in zip(values["output_shape"], whole, strict=True)]
        if min(more) < 0:
            raise LeftOutError("output_shape smaller than the whole")
    if more:
        test.params["output_padding"] = more


def _pool(mode: str) -> Callable[..., None]:
    def translate(test: NodeTest, values: Any, inputs: Any, outputs: Any) -> None:
        test.layer, test.inputs, test.expected = "pool", {"x": inputs[0]}, {"y": outputs[0]}
        test.params = {"mode": mode, "kernel": values.get("kernel_shape", "global")}
        test.params |= _windows(values) | _padding(values)
        for name in ("ceil_mode", "count_include_pad"):
            if name in values:
                test.params[name] = bool(values[name])
        if len(outputs) > 1:
            planes, spatial = outputs[1], inputs[0].shape[2:]
            flat = planes % int(np.prod(spatial))  # ONNX numbers through the whole tensor
            if values.get("storage_order"):
                flat = np.ravel_multi_index(np.unravel_index(flat, spatial, order="F"), spatial)
            test.expected["indices"] = flat

    return translate


def _batch_norm(test: NodeTest, values: Any, inputs: Any, outputs: Any) -> None:
    names = ("x", "gamma", "beta", "running_mean", "running_var")
    test.layer, test.inputs = "bn", dict(zip(names, inputs, strict=True))
    test.params = {"training": bool(values.get("training_mode", 0))}
    test.params |= {"eps": values["epsilon"]} if "epsilon" in values else {}
    test.params |= {"momentum": values["momentum"]} if "momentum" in values else {}
    test.expected = dict(zip(("y", "new_running_mean", "new_running_var"), outputs, strict=False))


def _pad(test: NodeTest, values: Any, inputs: Any, outputs: Any) -> None:
    x, pads = inputs[0], _pairs(inputs[1])
    axes = [int(axis) % x.ndim for axis in (inputs[3] if len(inputs) > 3 else range(x.ndim))]
    found = dict(zip(axes, pads, strict=True))
    if any(any(found.get(axis, ())) for axis in (0, 1)):
        raise LeftOutError("pads N or C; here padding is of the spatial axes")
    test.layer, test.inputs, test.expected = "pad", {"x": x}, {"y": outputs[0]}
    test.params = {"padding": [found.get(axis, [0, 0]) for axis in range(2, x.ndim)]}
    test.params["mode"] = values.get("mode", "constant")
    if len(inputs) > 2 and inputs[2] is not None and test.params["mode"] == "constant":
        test.params["value"] = float(inputs[2])


_TRANSLATORS: dict[str, Callable[..., None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "GlobalAveragePool": _pool("avg"),
    "GlobalMaxPool": _pool("max"),
    "BatchNormalization": _batch_norm,
    "Pad": _pad,
}


def run_node_test(test: NodeTest, folder: Path) -> None:
    """Run a test through our layers under convention onnx; raise AssertionError where it fails."""
    tensors = {}
    for name, array in test.inputs.items():
        np.save(folder / f"{name}.npy", array)
        tensors[name] = str(folder / f"{name}.npy")
    found = result_of(test.layer, test.params, tensors, convention="onnx")
    for name, want in test.expected.items():
        got = found.tensors[name].array
        assert got.shape == want.shape, (got.shape, want.shape)
        np.testing.assert_allclose(got, want, rtol=test.rtol, atol=test.atol)


def table(tests: list[NodeTest]) -> str:
    """Return the table of what passes and what is left out, run afresh, as Markdown."""
    rows = ["| operator | tests | passed | left out, and why |", "|---|---|---|---|"]
    total = [0, 0]
    for operator in OPERATORS:
        own = [test for test in tests if test.operator == operator]
        run = [test for test in own if test.reason is None]
        for test in run:
            with tempfile.TemporaryDirectory() as folder:
                run_node_test(test, Path(folder))
        out = "; ".join(f"`{t.name}`: {t.reason}" for t in own if t.reason) or "none"
        rows.append(f"| {operator} | {len(own)} | {len(run)} | {out} |")
        total[0] += len(own)
        total[1] += len(run)
    rows.append(f"| all | {total[0]} | {total[1]} | |")
    return "\n".join(rows)


if __name__ == "__main__":
    import onnx as _onnx

    print(f"onnx {_onnx.__version__}\n\n{table(node_tests())}")

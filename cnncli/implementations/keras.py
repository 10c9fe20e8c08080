"""Keras: a case as its calls (keras.ops of Keras 3), channels last, which a backend runs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from cnncli.cases.layout import shape_outside, to_inside, to_outside
from cnncli.errors import MissingExtraError
from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats
from cnncli.implementations.library import Calls, Library, Prepared
from cnncli.implementations.text import (
    as_function,
    crops,
    given_line,
    is_padded,
    kept,
    reached,
    slices,
    whole_text,
)
from cnncli.implementations.torch import by_autograd
from cnncli.kernels.windows import extent
from cnncli.layers.base import Plan, Tensors
from cnncli.layers.parameters import Pairs

LAST = 'data_format="channels_last"'
NO_KERNEL = ("not yet support",)
NO_FLOAT64 = ("of double is not in the list", "Could not find device for node")
"""What TensorFlow says on a CPU of a case that it has no code for, and of one in float64."""


def write_keras(plan: Plan) -> str:
    """Return the case as Python text that calls keras.ops; raise CannotExpressError.

    Its tensors are channels last: x and y (N, *S, C), w (*K, C/groups, F).
    """
    lines = _WRITERS[plan.layer](plan)
    shapes = {name: shape_outside("nhwc", name, shape) for name, shape in plan.inputs.items()}
    return whole_text(lines, ["from keras import ops"], given_line(plan, shapes))


def _width(padding: Pairs) -> str:
    return str(((0, 0), *padding, (0, 0)))


def _is_same(plan: Plan, kernel: tuple[int, ...]) -> bool:
    """Tell whether the padding is what Keras's "same" gives for this input."""
    params = plan.params
    if not is_padded(params["padding"]):
        return False
    for size, k, s, d, pair in zip(
        plan.spatial, kernel, params["stride"], params["dilation"], params["padding"], strict=True
    ):
        total = max((-(-size // s) - 1) * s + extent(k, d) - size, 0)
        if pair != (total // 2, total - total // 2):
            return False
    return True


def _conv(plan: Plan) -> list[str]:
    params = plan.params
    if max(params["stride"]) > 1 and max(params["dilation"]) > 1:
        raise CannotExpressError("Keras takes a stride or a dilation above 1, not both")
    strides = f"strides={params['stride']}"
    dilation = f"dilation_rate={params['dilation']}"
    bias = ["y = y + b"] if "b" in plan.inputs else []
    if not params["transposed"]:
        call = f"y = ops.conv({{}}, w, {strides}, padding={{}}, {LAST}, {dilation})"
        if _is_same(plan, plan.inputs["w"][2:]):
            return [call.format("x", '"same"'), *bias]
        if not is_padded(params["padding"]):
            return [call.format("x", '"valid"'), *bias]
        padded = f"padded = ops.pad(x, {_width(params['padding'])})"
        return [padded, call.format("padded", '"valid"'), *bias]
    return [*_transposed(plan, strides, dilation), *bias]


def _transposed(plan: Plan, strides: str, dilation: str) -> list[str]:
    params = plan.params
    if params["groups"] > 1:
        raise CannotExpressError("Keras's transposed convolution has no groups")
    # Valid padding gives the whole (S-1)*stride + extent rows, at least S*stride; crop from those.
    bounds, missing = [], []
    for size, k, s, d, (before, _), out in zip(
        plan.spatial,
        plan.inputs["w"][2:],
        params["stride"],
        params["dilation"],
        params["padding"],
        plan.upstream[2:],
        strict=True,
    ):
        whole = size * s + max(extent(k, d) - s, 0)
        bounds.append((before, min(before + out, whole)))
        missing.append((0, max(0, before + out - whole)))
    lines = [f'y = ops.conv_transpose(x, w, {strides}, padding="valid", {LAST}, {dilation})']
    lines.append(f"y = y[:, {slices(bounds)}]")
    if is_padded(tuple(missing)):
        lines.append(f"y = ops.pad(y, {_width(tuple(missing))})")
    return lines


def _pool(plan: Plan) -> list[str]:
    params = plan.params
    kernel, padding = params["kernel"], params["padding"]
    if max(params["dilation"]) > 1:
        raise CannotExpressError("Keras's pooling has no dilation")
    rest = f"{kernel}, strides={params['stride']}, padding={{}}, {LAST}"
    is_max = params["mode"] == "max"
    call = f"ops.{'max' if is_max else 'average'}_pool({{}}, {rest})"
    ends = reached(plan)
    uncounted = is_max or not params["count_include_pad"]
    if uncounted and _is_same(plan, kernel) and not params["ceil_mode"]:
        return [f"y = {call.format('x', repr('same'))}"]
    if not is_padded(ends):
        return [f"y = {call.format('x', repr('valid'))}"]
    if is_max:
        padded = f'padded = ops.pad(x, {_width(ends)}, constant_values=-float("inf"))'
        return [padded, f"y = {call.format('padded', repr('valid'))}"]
    # Keras has no such divisor: a mean over padded windows, over the mean of what counts there.
    lines = [f"padded = ops.pad(x, {_width(ends)})", "counted = ops.ones_like(x)"]
    if params["count_include_pad"]:
        within = tuple(
            (before, min(after, end))
            for (before, end), (_, after) in zip(ends, padding, strict=True)
        )
        beyond = tuple((0, end - after) for (_, end), (_, after) in zip(ends, within, strict=True))
        lines.append(f"counted = ops.pad(counted, {_width(within)}, constant_values=1)")
        lines.append(f"counted = ops.pad(counted, {_width(beyond)})")
    else:
        lines.append(f"counted = ops.pad(counted, {_width(ends)})")
    pooled = call.format("{}", repr("valid"))
    return [*lines, f"y = {pooled.format('padded')} / {pooled.format('counted')}"]


def _batch_norm(plan: Plan) -> list[str]:
    params, rank = plan.params, len(plan.spatial)
    end = f"-1, offset=beta, scale=gamma, epsilon={params['eps']!r})"
    if not params["training"]:
        return [f"y = ops.batch_normalization(x, running_mean, running_var, {end}"]
    lines = [
        f"mean, var = ops.moments(x, axes={tuple(range(rank + 1))})",
        f"y = ops.batch_normalization(x, mean, var, {end}",
    ]
    if "new_running_mean" in plan.outputs:
        old = params["momentum"] if params["momentum_weighs"] == "old" else 1 - params["momentum"]
        count = plan.inputs["x"][0]
        for size in plan.spatial:
            count *= size
        fresh = "var" if params["running_variance"] == "biased" else f"var * {count} / {count - 1}"
        lines += [
            f"new_running_mean = {old!r} * running_mean + {1 - old!r} * mean",
            f"new_running_var = {old!r} * running_var + {1 - old!r} * {fresh}",
        ]
    return lines


def _pad(plan: Plan) -> list[str]:
    params = plan.params
    mode = params["mode"]
    names = {"constant": "constant", "reflect": "reflect", "symmetric": "symmetric"}
    if mode not in names:
        raise CannotExpressError(f"Keras has no {mode} padding")
    cut, added = crops(params["padding"])
    lines = []
    if is_padded(cut):
        lines.append(f"x = x[:, {slices(kept(plan.spatial, cut))}]  # cropped first")
    if not is_padded(added):
        return [*lines, "y = x"]
    value = ""
    if mode == "constant":
        text = repr(params["value"])
        value = (
            f", constant_values={text}" if "n" not in text else f', constant_values=float("{text}")'
        )
    return [*lines, f'y = ops.pad(x, {_width(added)}, mode="{mode}"{value})']


_WRITERS: dict[str, Callable[[Plan], list[str]]] = {
    "pad": _pad,
    "conv": _conv,
    "pool": _pool,
    "bn": _batch_norm,
}


class Keras(Library):
    """keras.ops over one of its backends, which also gives the gradients.

    Keras fixes its backend when it is first imported, and so it is imported here, by choice.
    """

    def __init__(self, backend: str) -> None:
        self._backend = importlib.import_module(backend)
        os.environ["KERAS_BACKEND"] = backend
        self._keras = importlib.import_module("keras")
        active = self._keras.backend.backend()
        if active != backend:
            raise MissingExtraError(
                f"Keras already runs on {active} in this process; it cannot change to {backend}"
            )
        self._name = backend

    @property
    def label(self) -> str:
        """The backend's name and version, then Keras's."""
        version = str(self._backend.__version__).partition("+")[0]
        return f"{self._name} {version} (keras {self._keras.__version__})"

    def prepare(self, task: Task, *, threads: int = 1) -> Prepared:
        """Return the task ready to be called; raise CannotExpressError.

        Tensors go in and come out channels last, as Keras has them; the result is NCHW. The number
        of threads is TensorFlow's own, which reads it from its environment as it is loaded.
        """
        return self._prepare(task, "float64")

    def _prepare(self, task: Task, widest: str) -> Prepared:
        plan = task.problem.plan
        text = write_keras(plan)
        floats, dtype = as_floats(task, widest=widest)
        if plan.layer == "pool" and "-float" in text and (floats["x"] == -float("inf")).any():
            raise CannotExpressError(
                "x holds minus infinity, which Keras could not tell from this case's padding"
            )
        moved = {name: to_outside("nhwc", name, array) for name, array in floats.items()}
        outputs = tuple(name for name in plan.outputs if name != "indices")
        gradients = tuple(plan.gradients) if task.backward else ()
        ready = {"tensorflow": by_tape, "torch": by_autograd}[self._name]
        return Prepared(
            calls=ready(self._backend, text, plan.inputs, moved, outputs, gradients),
            outputs=outputs,
            gradients=gradients,
            read=self._read,
            dtype=dtype,
            told=Computed(
                stored=dtype,
                reasons={"indices": "Keras does not tell where a maximum stands"},
            ),
        )

    def _read(self, name: str, tensor: Any) -> Any:
        array = tensor.detach().numpy() if self._name == "torch" else tensor.numpy()
        return to_inside("nhwc", name, array)

    def _compute(self, task: Task) -> Computed:
        """Compute in float32 what the backend has in that alone."""
        try:
            return self.prepare(task).computed()
        except CannotExpressError:
            raise
        except Exception as error:  # told apart by text; TensorFlow need not be installed
            if any(words in str(error) for words in NO_KERNEL):
                raise CannotExpressError(str(error).partition("}} ")[2] or str(error)) from None
            if not any(words in str(error) for words in NO_FLOAT64):
                raise
        computed = self._prepare(task, "float32").computed()
        return replace(computed, note=f"{self._name} computes this in float32 alone")


def by_tape(
    tf: Any,
    text: str,
    inputs: Collection[str],
    arrays: Tensors,
    outputs: Collection[str],
    gradients: Collection[str],
) -> Calls:
    """Return the calls of a text on TensorFlow's tensors, its gradients a tape's of sum(y * dy).

    `arrays` holds the inputs and, where there are gradients, dy, all floats.
    """
    given = [tf.constant(arrays[name]) for name in inputs]
    call = as_function(text, inputs, outputs)
    if not gradients:
        return Calls(forward=lambda: call(*given))
    dy = tf.constant(arrays["dy"])
    leaves = [tensor for name, tensor in zip(inputs, given, strict=True) if f"d{name}" in gradients]

    def taped(*, persistent: bool) -> tuple[tuple[Any, ...], Callable[[], Any]]:
        """Return the outputs, and the call that gives the gradients."""
        with tf.GradientTape(persistent=persistent) as tape:
            for leaf in leaves:
                tape.watch(leaf)
            found = call(*given)
        zero = tf.UnconnectedGradients.ZERO
        return found, lambda: tape.gradient(
            found[0], leaves, output_gradients=dy, unconnected_gradients=zero
        )

    def step() -> Any:
        found, differentiate = taped(persistent=False)
        return (*found, *differentiate())

    return Calls(forward=lambda: call(*given), save=lambda: taped(persistent=True)[1], step=step)

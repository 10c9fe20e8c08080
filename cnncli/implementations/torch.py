"""torch: a case as its call (torch.nn.functional, torch 2), which it runs and differentiates."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats
from cnncli.implementations.library import Calls, Library, Prepared
from cnncli.implementations.text import (
    as_function,
    befores,
    crops,
    given_line,
    is_padded,
    is_symmetric,
    kept,
    reached,
    slices,
    unpadded_indices,
    whole_text,
)
from cnncli.layers.base import Plan, Tensors
from cnncli.layers.parameters import Pairs


def write_torch(plan: Plan) -> str:
    """Return the case as Python text that calls torch; raise CannotExpressError."""
    lines = _WRITERS[plan.layer](plan)
    imports = ["import torch.nn.functional as F"]
    if any("torch." in line for line in lines):
        imports.insert(0, "import torch")
    return whole_text(lines, imports, given_line(plan))


def _pad_text(padding: Pairs, value: str = "") -> str:
    """Return F.pad's text: its numbers start at the last axis."""
    numbers = tuple(number for pair in reversed(padding) for number in pair)
    return f"F.pad(x, {numbers}{value})"


def _conv(plan: Plan) -> list[str]:
    params, rank = plan.params, len(plan.spatial)
    padding = params["padding"]
    bias = "b" if "b" in plan.inputs else "None"
    rest = f"stride={params['stride']}, padding={{}}, "
    if params["transposed"]:
        rest += f"output_padding={params['output_padding']}, "
    rest += f"groups={params['groups']}, dilation={params['dilation']}"
    if not params["transposed"]:
        if is_symmetric(padding):
            return [f"y = F.conv{rank}d(x, w, {bias}, {rest.format(befores(padding))})"]
        return [
            f"padded = {_pad_text(padding)}  # torch's own padding has one number an axis",
            f"y = F.conv{rank}d(padded, w, {bias}, {rest.format(0)})",
        ]
    if is_symmetric(padding):
        return [f"y = F.conv_transpose{rank}d(x, w, {bias}, {rest.format(befores(padding))})"]
    place = slices(
        (before, before + size)
        for (before, _), size in zip(padding, plan.upstream[2:], strict=True)
    )
    return [
        f"whole = F.conv_transpose{rank}d(x, w, {bias}, {rest.format(0)})",
        f"y = whole[:, :, {place}]  # torch's own padding crops both sides alike",
    ]


def _pool(plan: Plan) -> list[str]:
    params, rank = plan.params, len(plan.spatial)
    padding, kernel = params["padding"], params["kernel"]
    # torch takes no more than half a window, and one number an axis.
    plain = is_symmetric(padding) and all(
        before <= k // 2 for before, k in zip(befores(padding), kernel, strict=True)
    )
    rest = f"{kernel}, stride={params['stride']}, padding={{}}, "
    if params["mode"] == "avg":
        # avg_pool3d alone wants the input, padding left out, to hold a whole window.
        holds = all(size >= k for size, k in zip(plan.spatial, kernel, strict=True))
        return _average(plan, plain and (rank < 3 or holds), rest)
    rest += f"dilation={params['dilation']}, ceil_mode={{}}"
    call = f"F.max_pool{rank}d"
    indexed = "indices" in plan.outputs
    if indexed:
        rest += ", return_indices=True"
    if plain:
        found = "y, indices" if indexed else "y"
        return [f"{found} = {call}(x, {rest.format(befores(padding), params['ceil_mode'])})"]
    ends = reached(plan)
    padded = tuple(size + b + a for size, (b, a) in zip(plan.spatial, ends, strict=True))
    lines = [
        "padded = " + _pad_text(ends, ", value=-float('inf')"),
        f"{'y, places' if indexed else 'y'} = {call}(padded, {rest.format(0, False)})",
    ]
    if indexed:
        places = unpadded_indices("places", padded, befores(ends), plan.spatial)
        lines.append(f"indices = {places}")
    return lines


def _average(plan: Plan, plain: bool, rest: str) -> list[str]:
    params, rank = plan.params, len(plan.spatial)
    if any(d > 1 for d in params["dilation"]):
        raise CannotExpressError("torch's average pooling has no dilation")
    counted, padding = params["count_include_pad"], params["padding"]
    call = f"F.avg_pool{rank}d"
    rest += f"ceil_mode={params['ceil_mode']}"
    if plain:
        rest = rest.format(befores(padding))
        return [f"y = {call}(x, {rest}, count_include_pad={counted})"]
    # Padded beforehand, torch's ceil mode may keep a window that starts in the padding.
    place = slices((0, size) for size in plan.upstream[2:])
    pooled = f"{call}({{}}, {rest.format(0)})[:, :, {place}]"
    lines = [f"padded = {_pad_text(padding)}"]
    if counted:
        return [*lines, f"y = {pooled.format('padded')}"]
    real = _pad_text(padding).replace("F.pad(x,", "F.pad(torch.ones_like(x),")
    return [
        *lines,
        f"real = {real}",
        f"y = {pooled.format('padded')} / {pooled.format('real')}",
    ]


def _batch_norm(plan: Plan) -> list[str]:
    params = plan.params
    count = plan.inputs["x"][0]
    for size in plan.spatial:
        count *= size
    if params["training"] and count == 1:
        raise CannotExpressError("torch normalises no batch of one value a channel")
    if params["training"] and params["eps"] == 0:
        raise CannotExpressError("torch's batch norm in training needs eps above 0")
    end = f"gamma, beta, training={params['training']}, {{}}eps={params['eps']!r})"
    if not params["training"]:
        return [f"y = F.batch_norm(x, running_mean, running_var, {end.format('')}"]
    if "new_running_mean" not in plan.outputs:
        return [f"y = F.batch_norm(x, None, None, {end.format('')}"]
    new = params["momentum"] if params["momentum_weighs"] == "new" else 1 - params["momentum"]
    lines = [
        "new_running_mean, new_running_var = running_mean.clone(), running_var.clone()",
        "y = F.batch_norm(x, new_running_mean, new_running_var, "
        + end.format(f"momentum={new!r}, "),
    ]
    if params["running_variance"] == "biased":
        lines += [
            "# torch's running variance is unbiased, this one is not",
            f"old = {1 - new!r} * running_var",
            f"new_running_var = old + (new_running_var - old) * {count - 1} / {count}",
        ]
    return lines


def _pad(plan: Plan) -> list[str]:
    params = plan.params
    mode = params["mode"]
    if mode == "symmetric":
        raise CannotExpressError("torch has no symmetric padding")
    if mode == "constant":
        return ["y = " + _pad_text(params["padding"], f", value={_real(params['value'])}")]
    cut, added = crops(params["padding"])
    lines = []
    if is_padded(cut):
        lines.append(f"x = x[:, :, {slices(kept(plan.spatial, cut))}]  # cropped first")
    if not is_padded(added):
        return [*lines, "y = x"] if lines else ["y = x.clone()"]
    return [*lines, "y = " + _pad_text(added, f", mode={mode!r}")]


def _real(value: float) -> str:
    """Return a number as Python writes it, infinities included."""
    text = repr(value)
    return f"float({text!r})" if text in ("inf", "-inf", "nan") else text


_WRITERS: dict[str, Callable[[Plan], list[str]]] = {
    "pad": _pad,
    "conv": _conv,
    "pool": _pool,
    "bn": _batch_norm,
}


class Torch(Library):
    """torch.nn.functional on the processor, in the precision of the computation."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    @property
    def label(self) -> str:
        """Its name and version."""
        return f"torch {self._torch.__version__.partition('+')[0]}"

    def prepare(self, task: Task, *, threads: int = 1) -> Prepared:
        """Return the task ready to be called; raise CannotExpressError.

        Gradients are autograd's, of everything that the text does.
        """
        plan = task.problem.plan
        text = write_torch(plan)
        floats, dtype = as_floats(task)
        _refuse_lost_winners(task, text)
        self._torch.set_num_threads(threads)
        gradients = tuple(plan.gradients) if task.backward else ()
        return Prepared(
            calls=by_autograd(self._torch, text, plan.inputs, floats, plan.outputs, gradients),
            outputs=tuple(plan.outputs),
            gradients=gradients,
            read=lambda _, tensor: tensor.detach().numpy(),
            dtype=dtype,
            told=Computed(stored=dtype),
        )


def by_autograd(
    torch: Any,
    text: str,
    inputs: Collection[str],
    arrays: Tensors,
    outputs: Collection[str],
    gradients: Collection[str],
) -> Calls:
    """Return the calls of a text on torch's tensors, its gradients autograd's of y and dy.

    `arrays` holds the inputs and, where there are gradients, dy, all floats.
    """
    given = [torch.from_numpy(arrays[n]).requires_grad_(f"d{n}" in gradients) for n in inputs]
    call = as_function(text, inputs, outputs)

    def forward() -> Any:
        with torch.no_grad():
            return call(*given)

    if not gradients:
        return Calls(forward=forward)
    dy = torch.from_numpy(arrays["dy"])
    leaves = [tensor for name, tensor in zip(inputs, given, strict=True) if f"d{name}" in gradients]

    def save() -> Callable[[], Any]:
        y = call(*given)[0]
        return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)

    def step() -> Any:
        found = call(*given)
        return (*found, *torch.autograd.grad(found[0], leaves, dy))

    return Calls(forward=forward, save=save, step=step)


def _refuse_lost_winners(task: Task, text: str) -> None:
    """Refuse minus infinity where padding is made of it: either could win torch's maximum."""
    if (
        "-float" in text
        and task.problem.layer.name == "pool"
        and (task.problem.tensors["x"] == -float("inf")).any()
    ):
        raise CannotExpressError(
            "x holds minus infinity, which torch could not tell from the padding of this case"
        )

"""Keras as an implementation, by name of the backend: runs the text that `--as keras` prints."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from cnncli.cases.layout import to_inside, to_outside
from cnncli.errors import MissingExtraError
from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats, one_by_one
from cnncli.implementations.kerascalls import write_keras

NO_KERNEL = ("not yet support",)
NO_FLOAT64 = ("of double is not in the list", "Could not find device for node")
"""What TensorFlow says on a CPU of a case that it has no code for, and of one in float64."""


class Keras:
    """keras.ops over one of its backends, which also gives the gradients.

    Keras fixes its backend when it is first imported, and so it is imported here, by choice.
    """

    takes_all = False

    def __init__(self, backend: str) -> None:
        try:
            self._backend = importlib.import_module(backend)
            os.environ["KERAS_BACKEND"] = backend
            self._keras = importlib.import_module("keras")
        except ImportError as error:
            name = error.name or backend
            raise MissingExtraError(
                f"{name.partition('.')[0]} is not installed: pip install 'cnncli[tensorflow]'"
            ) from None
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

    @property
    def key(self) -> str:
        """Its version."""
        return self.label

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what it makes of each task."""
        return one_by_one(self._compute, tasks)

    def _compute(self, task: Task) -> Computed:
        """Return outputs and gradients; raise CannotExpressError where Keras cannot say the case.

        Tensors go in and come out channels last, as Keras has them; the result is NCHW.
        """
        text = write_keras(task.problem.plan)
        floats, dtype = as_floats(task)
        if (
            task.problem.layer.name == "pool"
            and "-float" in text
            and (floats["x"] == -float("inf")).any()
        ):
            raise CannotExpressError(
                "x holds minus infinity, which Keras could not tell from this case's padding"
            )
        moved = {name: to_outside("nhwc", name, array) for name, array in floats.items()}
        run = {"tensorflow": _on_tensorflow, "torch": _on_torch}[self._name]
        outputs = [name for name in task.problem.plan.outputs if name != "indices"]
        wanted = [name[1:] for name in task.problem.plan.gradients] if task.backward else []
        code = compile(text, "<the case as Keras's calls>", "exec")
        note = None
        try:
            found = run(self._backend, code, moved, wanted)
        except Exception as error:  # told apart by text; TensorFlow need not be installed
            if any(words in str(error) for words in NO_KERNEL):
                raise CannotExpressError(str(error).partition("}} ")[2] or str(error)) from None
            if dtype != "float64" or not any(words in str(error) for words in NO_FLOAT64):
                raise
            dtype, note = "float32", f"{self._name} computes this in float32 alone"
            narrow = {name: array.astype(dtype) for name, array in moved.items()}
            found = run(self._backend, code, narrow, wanted)
        names = outputs + ["d" + name for name in wanted]
        return Computed(
            tensors={name: to_inside("nhwc", name, found[name]) for name in names},
            stored=dtype,
            reasons={"indices": "Keras does not tell where a maximum stands"},
            note=note,
        )


def _on_tensorflow(tf: Any, code: Any, arrays: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Run the text under a GradientTape and differentiate sum(y * dy)."""
    given = {name: tf.constant(array) for name, array in arrays.items()}
    dy = given.pop("dy", None)
    names = dict(given)
    with tf.GradientTape() as tape:
        for name in wanted:
            tape.watch(given[name])
        exec(code, names)
    # The text's own import stands among the names, and keras.ops has a module `numpy`.
    found = {
        name: _numbers(value)
        for name, value in names.items()
        if callable(getattr(value, "numpy", None))
    }
    if wanted:
        slopes = tape.gradient(
            names["y"],
            [given[name] for name in wanted],
            output_gradients=dy,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        found |= {"d" + name: _numbers(slope) for name, slope in zip(wanted, slopes, strict=True)}
    return found


def _on_torch(torch: Any, code: Any, arrays: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Run the text on torch tensors and differentiate it by autograd."""
    given = {
        name: torch.tensor(array).requires_grad_(name in wanted) for name, array in arrays.items()
    }
    dy = given.pop("dy", None)
    names = dict(given)
    exec(code, names)
    found = {
        name: value.detach().numpy() for name, value in names.items() if hasattr(value, "detach")
    }
    if wanted:
        names["y"].backward(dy)
        found |= {"d" + name: given[name].grad.numpy() for name in wanted}
    return found


def _numbers(value: Any) -> Any:
    return value.numpy()

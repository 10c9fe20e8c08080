"""torch as an implementation: runs the text that `--as torch` prints, and differentiates it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cnncli.errors import MissingExtraError
from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats, one_by_one
from cnncli.implementations.torchcalls import write_torch


class Torch:
    """torch.nn.functional on the processor, in the precision of the computation."""

    takes_all = False

    def __init__(self) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch is not installed: pip install 'cnncli[torch]'") from None
        self._torch = torch

    @property
    def label(self) -> str:
        """Its name and version."""
        return f"torch {self._torch.__version__.partition('+')[0]}"

    @property
    def key(self) -> str:
        """Its version."""
        return self.label

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what it makes of each task."""
        return one_by_one(self._compute, tasks)

    def _compute(self, task: Task) -> Computed:
        """Return outputs and gradients; raise CannotExpressError where torch cannot say the case.

        Gradients are autograd's, of everything that the text does.
        """
        text = write_torch(task.problem.plan)
        floats, dtype = as_floats(task)
        _refuse_lost_winners(task, text)
        gradients = task.problem.plan.gradients if task.backward else {}
        names: dict[str, Any] = {}
        for name in task.problem.plan.inputs:
            tensor = self._torch.tensor(floats[name])
            names[name] = tensor.requires_grad_("d" + name in gradients)
        leaves = dict(names)
        exec(compile(text, "<the case as torch's call>", "exec"), names)
        found = {name: names[name].detach().numpy() for name in task.problem.plan.outputs}
        if task.backward:
            names["y"].backward(self._torch.tensor(floats["dy"]))
            for name in gradients:
                found[name] = leaves[name[1:]].grad.numpy()
        return Computed(tensors=found, stored=dtype)


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

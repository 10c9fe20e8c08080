"""onnxruntime as an implementation: runs the model that `--as onnx` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cnncli.errors import MissingExtraError
from cnncli.implementations.base import CannotExpressError, Computed, Task, as_floats, one_by_one
from cnncli.implementations.onnxcalls import write_onnx
from cnncli.layers.base import Plan

SINGLE = "float32"


class OnnxRuntime:
    """onnxruntime on the processor; convolution and average pooling are float32 there."""

    takes_all = False

    def __init__(self) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(
                f"{error.name} is not installed: pip install 'cnncli[onnxruntime]'"
            ) from None
        self._onnx, self._runtime = onnx, onnxruntime

    @property
    def label(self) -> str:
        """Its name and version."""
        return f"onnxruntime {self._runtime.__version__}"

    @property
    def key(self) -> str:
        """Its version."""
        return self.label

    def compute(self, tasks: Iterable[Task]) -> Iterator[Computed]:
        """Yield what it makes of each task."""
        return one_by_one(self._compute, tasks)

    def _compute(self, task: Task) -> Computed:
        """Return outputs; raise CannotExpressError where ONNX or its runtime cannot say the case.

        Where the runtime has float32 kernels alone, inputs are rounded to it and `stored` says so.
        """
        floats, dtype = as_floats(task, widest=_widest(task.problem.plan))
        if not all(array.size for array in floats.values()):
            raise CannotExpressError("onnxruntime computes nothing of empty arrays")
        names: dict[str, Any] = {}
        exec(compile(write_onnx(task.problem.plan, dtype), "<the case as ONNX>", "exec"), names)
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4  # errors come as exceptions
        options.intra_op_num_threads = 1
        session = self._runtime.InferenceSession(
            names["model"].SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        outputs = list(task.problem.plan.outputs)
        given = {node.name: floats[node.name] for node in session.get_inputs()}
        found = dict(zip(outputs, session.run(outputs, given), strict=True))
        gradients = task.problem.plan.gradients if task.backward else {}
        # ONNX holds eps and momentum in float32, whatever its tensors are.
        rounded = task.problem.layer.name == "bn"
        return Computed(
            tensors=found,
            stored=SINGLE if rounded else dtype,
            note="eps and momentum in float32" if rounded else None,
            reasons=dict.fromkeys(gradients, "onnxruntime gives no gradients"),
        )


def _widest(plan: Plan) -> str:
    single = plan.layer == "conv" or plan.params.get("mode") == "avg"
    return SINGLE if single else "float64"

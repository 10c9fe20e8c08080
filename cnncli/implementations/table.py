"""The table of implementations: what `--against` names, and what `--as` writes.

`resolve` is the one way from a name to an implementation. Importing this imports no library.
"""

from __future__ import annotations

from collections.abc import Callable

from cnncli.cases.node import nearest
from cnncli.errors import CnncliError, UsageError
from cnncli.implementations.base import Implementation
from cnncli.implementations.kerascalls import write_keras
from cnncli.implementations.onnxcalls import write_onnx
from cnncli.implementations.torchcalls import write_torch
from cnncli.layers.base import Plan


def _torch() -> Implementation:
    from cnncli.implementations.torchrun import Torch

    return Torch()


def _tensorflow() -> Implementation:
    from cnncli.implementations.kerasrun import Keras

    return Keras("tensorflow")


def _onnxruntime() -> Implementation:
    from cnncli.implementations.onnxrun import OnnxRuntime

    return OnnxRuntime()


def _loops() -> Implementation:
    from cnncli.implementations.loops import Loops

    return Loops()


IMPLEMENTATIONS: dict[str, Callable[[], Implementation]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
    "onnxruntime": _onnxruntime,
    "loops": _loops,
}

CALLS: dict[str, Callable[[Plan], str]] = {
    "torch": write_torch,
    "keras": write_keras,
    "onnx": write_onnx,
}


def resolve(text: str, where: str | None = None) -> Implementation:
    """Return the implementation that `text` names.

    Raises UsageError for a name that is not known and MissingExtraError for a library that is not
    installed.
    """
    judge_name(text, where)
    try:
        return IMPLEMENTATIONS[text]()
    except CnncliError as error:
        raise error.at(where) from None


def judge_name(text: str, where: str | None = None) -> None:
    """Raise UsageError where `text` names no implementation; imports no library."""
    if text not in IMPLEMENTATIONS:
        hint = nearest(text, IMPLEMENTATIONS)
        hint += (
            f"; it takes {', '.join(IMPLEMENTATIONS)}, a .py or .ipynb file, or a folder of them"
        )
        raise UsageError(f"no implementation is named {text!r}{hint}", where)

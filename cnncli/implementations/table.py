"""The table of implementations: what `--against` names, and what `--as` writes.

`resolve` is the one way from a name to an implementation. Importing this imports no library.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.cases.node import nearest
from cnncli.errors import CnncliError, MissingExtraError, UsageError
from cnncli.implementations.base import Implementation
from cnncli.implementations.kerascalls import write_keras
from cnncli.implementations.onnxcalls import write_onnx
from cnncli.implementations.people.source import SUFFIXES
from cnncli.implementations.torchcalls import write_torch
from cnncli.layers.base import Plan

if TYPE_CHECKING:
    from cnncli.implementations.people.isolate import Limits


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

PACKAGES = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "onnxruntime": ("onnx", "onnxruntime"),
}
"""What must be installed; the extra has the implementation's name."""

CALLS: dict[str, Callable[[Plan], str]] = {
    "torch": write_torch,
    "keras": write_keras,
    "onnx": write_onnx,
}


def names_files(text: str, base: Path | None = None) -> bool:
    """Tell whether `text` means people's files; a library's name means the library.

    A relative path is relative to `base`. Reads nothing but what kind of file is there.
    """
    if text in IMPLEMENTATIONS:
        return False
    path = Path(text) if base is None else base / text
    return text.endswith(SUFFIXES) or any(c in text for c in "/*?[" + os.sep) or path.is_dir()


def resolve(
    text: str,
    where: str | None = None,
    base: Path | None = None,
    *,
    limits: Limits | None = None,
    run_all: bool = False,
) -> list[Implementation]:
    """Return the implementations that `text` names: a library, or people's files, one or many.

    `limits` and `run_all` are for people's files. Raises UsageError for a name that is not known or
    files that are not there, and MissingExtraError for a library that is not installed.
    """
    if names_files(text, base):
        from cnncli.implementations.people.find import find_submissions
        from cnncli.implementations.people.isolate import Limits

        return [*find_submissions(text, where, base, limits=limits or Limits(), run_all=run_all)]
    judge_name(text, where, base)
    try:
        return [IMPLEMENTATIONS[text]()]
    except CnncliError as error:
        raise error.at(where) from None


def judge_name(text: str, where: str | None = None, base: Path | None = None) -> None:
    """Raise UsageError where `text` names neither a library nor files; imports no library."""
    if text not in IMPLEMENTATIONS and not names_files(text, base):
        hint = nearest(text, IMPLEMENTATIONS)
        hint += (
            f"; it takes {', '.join(IMPLEMENTATIONS)}, a .py or .ipynb file, or a folder of them"
        )
        raise UsageError(f"no implementation is named {text!r}{hint}", where)


def judge_installed(text: str, where: str | None = None) -> None:
    """Raise MissingExtraError where a package of implementation `text` is not here; imports none.

    So that this is known before anything is computed.
    """
    import sys
    from importlib.util import find_spec

    for package in PACKAGES.get(text, ()):
        loaded = package in sys.modules
        if (sys.modules[package] if loaded else find_spec(package)) is None:
            raise MissingExtraError(
                f"{package} is not installed: pip install 'cnncli[{text}]'", where
            )

"""The table of implementations: what `--against` runs and times, and what `--as` writes.

`resolve` is the one way from a name to an implementation. Importing this imports no library.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cnncli.errors import CnncliError, MissingExtraError, UsageError
from cnncli.implementations.base import Implementation
from cnncli.implementations.keras import Keras, write_keras
from cnncli.implementations.library import Library
from cnncli.implementations.loops import Loops
from cnncli.implementations.names import (
    LIBRARIES,
    TAKEN,
    judge_installed,
    judge_name,
    names_files,
)
from cnncli.implementations.onnx import Onnx, write_onnx
from cnncli.implementations.people.find import find_submissions
from cnncli.implementations.people.isolate import Limits
from cnncli.implementations.torch import Torch, write_torch
from cnncli.layers.base import Plan

MAKERS: dict[str, Callable[[], Implementation]] = {
    "torch": Torch,
    "keras": lambda: Keras("tensorflow"),
    "onnx": Onnx,
    "loops": Loops,
}
WRITERS: dict[str, Callable[[Plan], str]] = {
    "torch": write_torch,
    "keras": write_keras,
    "onnx": write_onnx,
}
"""What writes a library's call as text, which needs no library."""


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
    files that are not there, and MissingExtraError for a library that is not installed or cannot be
    imported.
    """
    if names_files(text, base):
        return [*find_submissions(text, where, base, limits=limits or Limits(), run_all=run_all)]
    return [_make(text, where)]


def resolve_library(text: str, where: str | None = None) -> Library:
    """Return the library that `text` names; raises as `resolve` does."""
    found = _make(text, where)
    assert isinstance(found, Library)
    return found


def _make(text: str, where: str | None) -> Implementation:
    judge_name(text, where)
    judge_installed(text, where)
    name = TAKEN[text].name
    try:
        return MAKERS[name]()
    except CnncliError as error:
        raise error.at(where) from None
    except ImportError as error:
        raise MissingExtraError(f"{name} cannot be imported: {error}", where) from None


def writer(text: str, where: str | None = None) -> Callable[[Plan], str]:
    """Return what writes a case as a call of the library `text`; raise UsageError for no library.

    It raises CannotExpressError where the library has no call.
    """
    if text not in TAKEN or TAKEN[text].name not in WRITERS:
        raise UsageError(f"must be one of {', '.join(LIBRARIES)}, not {text!r}", where)
    return WRITERS[TAKEN[text].name]

"""The table of implementations: their names, what `--against` and `bench` call, what `--as` writes.

`resolve` is the one way from a name to an implementation. Importing this imports no library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from cnncli.cases.node import nearest
from cnncli.errors import CnncliError, MissingExtraError, UsageError
from cnncli.implementations.base import Implementation
from cnncli.implementations.keras import Keras, write_keras
from cnncli.implementations.library import Library
from cnncli.implementations.loops import Loops
from cnncli.implementations.onnx import Onnx, write_onnx
from cnncli.implementations.torch import Torch, write_torch
from cnncli.layers.base import Plan


@dataclass(frozen=True, kw_only=True)
class Known:
    """One implementation: `name` is printed, and is its extra's; the aliases are taken too."""

    name: str
    aliases: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """What must be installed."""
    make: Callable[[], Implementation]
    write: Callable[[Plan], str] | None = None
    """A library's call as text, which needs no library."""


KNOWN = (
    Known(name="torch", packages=("torch",), make=Torch, write=write_torch),
    Known(
        name="keras",
        aliases=("tensorflow",),
        packages=("tensorflow", "keras"),
        make=lambda: Keras("tensorflow"),
        write=write_keras,
    ),
    Known(
        name="onnx",
        aliases=("onnxruntime",),
        packages=("onnx", "onnxruntime"),
        make=Onnx,
        write=write_onnx,
    ),
    Known(name="loops", make=Loops),
)
IMPLEMENTATIONS = {name: row for row in KNOWN for name in (row.name, *row.aliases)}
"""Every name that is taken."""
NAMES = tuple(row.name for row in KNOWN)
LIBRARIES = tuple(row.name for row in KNOWN if row.write is not None)


def resolve(text: str, where: str | None = None) -> Implementation:
    """Return the implementation that `text` names.

    Raises UsageError for a name that is not known and MissingExtraError for a library that is not
    installed or cannot be imported.
    """
    row = judge_name(text, where)
    judge_installed(text, where)
    try:
        return row.make()
    except CnncliError as error:
        raise error.at(where) from None
    except ImportError as error:
        raise MissingExtraError(f"{row.name} cannot be imported: {error}", where) from None


def resolve_library(text: str, where: str | None = None) -> Library:
    """Return the library that `text` names; raises as `resolve` does."""
    found = resolve(text, where)
    assert isinstance(found, Library)
    return found


def judge_name(text: str, where: str | None = None) -> Known:
    """Return the row that `text` names; raise UsageError where there is none."""
    if text not in IMPLEMENTATIONS:
        hint = nearest(text, IMPLEMENTATIONS)
        hint += f"; it takes {', '.join(NAMES)}, a .py or .ipynb file, or a folder of them"
        raise UsageError(f"no implementation is named {text!r}{hint}", where)
    return IMPLEMENTATIONS[text]


def judge_installed(text: str, where: str | None = None) -> None:
    """Raise MissingExtraError where a package of implementation `text` is not here; imports none.

    So that this is known before anything is computed.
    """
    row = judge_name(text, where)
    for package in row.packages:
        loaded = package in sys.modules
        if (sys.modules[package] if loaded else find_spec(package)) is None:
            raise MissingExtraError(
                f"{package} is not installed: pip install 'cnncli[{row.name}]'", where
            )


def writer(text: str, where: str | None = None) -> Callable[[Plan], str]:
    """Return what writes a case as a call of the library `text`; raise UsageError for no library.

    It raises CannotExpressError where the library has no call.
    """
    row = IMPLEMENTATIONS.get(text)
    if row is None or row.write is None:
        raise UsageError(f"must be one of {', '.join(LIBRARIES)}, not {text!r}", where)
    return row.write

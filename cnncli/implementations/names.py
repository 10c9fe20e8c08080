"""The names of implementations: what each is called, and what must be installed for it.

Imports no library and no NumPy: a name is judged before anything that it needs is loaded.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cnncli.cases.node import nearest
from cnncli.cases.paths import is_folder
from cnncli.errors import MissingExtraError, UsageError

SUFFIXES = (".py", ".ipynb")
"""What people's files end in."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One implementation: `name` is printed, and is its extra's; the aliases are taken too."""

    name: str
    aliases: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """What must be installed."""


KNOWN = (
    Known(name="torch", packages=("torch",)),
    Known(name="keras", aliases=("tensorflow",), packages=("tensorflow", "keras")),
    Known(name="onnx", aliases=("onnxruntime",), packages=("onnx", "onnxruntime")),
    Known(name="loops"),
)
TAKEN = {name: row for row in KNOWN for name in (row.name, *row.aliases)}
"""Every name that is taken."""
NAMES = tuple(row.name for row in KNOWN)
LIBRARIES = tuple(row.name for row in KNOWN if row.packages)


def names_files(text: str, base: Path | None = None) -> bool:
    """Tell whether `text` means people's files; a library's name means the library.

    A relative path is relative to `base`. Reads nothing but what kind of file is there.
    """
    if text in TAKEN:
        return False
    path = Path(text) if base is None else base / text
    return text.endswith(SUFFIXES) or any(c in text for c in "/*?[" + os.sep) or is_folder(path)


def judge_name(text: str, where: str | None = None, base: Path | None = None) -> None:
    """Raise UsageError where `text` names neither a library nor files."""
    if text not in TAKEN and not names_files(text, base):
        hint = nearest(text, TAKEN)
        hint += f"; it takes {', '.join(NAMES)}, a .py or .ipynb file, or a folder of them"
        raise UsageError(f"no implementation is named {text!r}{hint}", where)


def judge_installed(text: str, where: str | None = None) -> None:
    """Raise MissingExtraError where a package of implementation `text` is not here.

    So that this is known before anything is computed. Files need none.
    """
    row = TAKEN.get(text, Known(name=text))
    for package in row.packages:
        loaded = package in sys.modules
        if (sys.modules[package] if loaded else find_spec(package)) is None:
            raise MissingExtraError(
                f"{package} is not installed: pip install 'cnncli[{row.name}]'", where
            )

"""What a path is, where whoever asks may be told, and what a folder holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cnncli.errors import UsageError


def what_is(path: Path, where: str | None = None) -> Literal["file", "folder", "other"] | None:
    """Return what stands at a path, links followed; None where there is nothing.

    Raises UsageError where that cannot be told: a folder that may not be searched, a name that is
    too long.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, where) from None
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; what cannot be told is none."""
    try:
        return what_is(path) == "folder"
    except UsageError:
        return False


def arrays_in(folder: Path, where: str | None = None) -> dict[str, Path]:
    """Return the .npy files of a folder by their tensors' names, sorted; raise UsageError."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, error, where) from None
    return {name[:-4]: folder / name for name in names if name.endswith(".npy")}


def files_below(
    folder: Path, where: str | None = None, skipped: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Yield the files below a folder, but not below folders of names that are `skipped`.

    Raises UsageError at a folder that may not be read: what it holds would be left out in silence.
    """

    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error, where) from None

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if name not in skipped]
        for path in (Path(place, name) for name in names):
            if what_is(path, where) == "file":
                yield path


def _unreadable(path: Path, error: OSError | ValueError, where: str | None) -> UsageError:
    reason = getattr(error, "strerror", None) or str(error)
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:60]}..."
    return UsageError(f"{shown} cannot be read: {reason}", where)

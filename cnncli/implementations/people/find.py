"""Which files are submissions: a file, a folder of them, or a glob."""

from __future__ import annotations

import glob
from pathlib import Path

from cnncli.cases.paths import files_below, what_is
from cnncli.errors import UsageError
from cnncli.implementations.names import SUFFIXES
from cnncli.implementations.people.isolate import Limits
from cnncli.implementations.people.submission import Submission, labelled

_SKIPPED = ("__pycache__", ".ipynb_checkpoints")


def find_submissions(
    text: str,
    where: str | None = None,
    base: Path | None = None,
    *,
    limits: Limits,
    run_all: bool = False,
) -> list[Submission]:
    """Return the submissions of a path or a glob, sorted; raise UsageError where there are none."""
    path = labelled(text if base is None else str(base / text))
    kind = what_is(path, where)
    if kind == "file":
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{text} is neither .py nor .ipynb", where)
        found = [path]
    elif kind == "folder":
        found = _below(path, where)
    else:
        found = []
        for name in glob.glob(str(path), recursive=True):
            inside = what_is(Path(name), where)
            if inside == "folder":
                found += _below(Path(name), where)
            elif Path(name).suffix in SUFFIXES and inside == "file":
                found.append(Path(name))
    if not found and kind is None and not glob.has_magic(text):
        raise UsageError(f"there is no file or folder {text}", where)
    if not found:
        raise UsageError(f"{text} holds no submission ({' or '.join(SUFFIXES)})", where)
    found = sorted(dict.fromkeys(found))
    folders = [one.parent for one in found]
    return [
        Submission(
            path=one,
            siblings=folders.count(one.parent) == 1,
            limits=limits,
            run_all=run_all,
        )
        for one in found
    ]


def _below(folder: Path, where: str | None) -> list[Path]:
    return [p for p in files_below(folder, where, _SKIPPED) if _counts(p, folder)]


def _counts(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    hidden = any(part.startswith(".") or part in _SKIPPED for part in parts)
    return path.suffix in SUFFIXES and not hidden and path.name != "__init__.py"

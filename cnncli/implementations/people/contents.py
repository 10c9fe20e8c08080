"""What a file of people's code depends on, as a hash: itself and the local modules that it uses.

Followed are the imports that the syntax tree shows, within functions too; one that is made up at
run time is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from cnncli.cases.contents import content_hash
from cnncli.implementations.people.source import UnreadableError, read_pieces


def code_key(path: Path, *, siblings: bool) -> str:
    """Return a hash of a file and, with `siblings`, of the local modules that it uses."""
    digest = hashlib.sha256()
    for file in sorted(_used(path, siblings=siblings)):
        digest.update(os.fsencode(f"{file.relative_to(path.parent)}\0{content_hash(file)}\0"))
    return digest.hexdigest()


def _used(path: Path, *, siblings: bool) -> set[Path]:
    """Return a file and, with `siblings`, every local module that it reaches by imports."""
    found, waiting = {path}, [path]
    while siblings and waiting:
        for module in _imported(waiting.pop(), path.parent):
            if module not in found:
                found.add(module)
                waiting.append(module)
    return found


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """Yield the files that a file imports from below `root`: modules, and packages on the way."""
    try:
        pieces, _ = read_pieces(file)
    except UnreadableError:
        return
    for node in (node for piece in pieces for node in ast.walk(piece.tree)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = root
            if node.level:
                above = [file.parent, *file.parent.parents]
                base = above[min(node.level, len(above)) - 1]
            module = node.module.split(".") if node.module else []
            for alias in node.names:  # a name of the module, or a module of the package
                yield from _files(base, [*module, alias.name])


def _files(root: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the files of a dotted name that are there below `root`."""
    folder = root
    for part in parts:
        for file in (folder / f"{part}.py", folder / part / "__init__.py"):
            if file.is_file():
                yield file
        folder = folder / part

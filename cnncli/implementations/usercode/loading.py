"""A submission's definitions, and nothing else of it unless all is to run.

Imports, functions, classes and plain constants are carried out in order, each by itself, so that
one that fails costs no other. Runs in the submission's own process.
"""

from __future__ import annotations
import __future__ as future

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from cnncli.implementations.usercode.source import Piece, UnreadableError, read_pieces
from cnncli.implementations.usercode.stubs import Stub

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.List),
    *(ast.Set, ast.Dict, ast.Lambda, ast.operator, ast.unaryop, ast.expr_context),
)
_FUTURES = {name: getattr(future, name).compiler_flag for name in future.all_feature_names}


@dataclass(kw_only=True)
class Loaded:
    """What a submission defines, and what happened on the way."""

    names: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What did not parse or could not be carried out: why a function may be missing."""
    sources: dict[str, Piece] = field(default_factory=dict)
    """The pieces by the file name that tracebacks give them."""


def load(path: Path, *, run_all: bool) -> Loaded:
    """Return what the file defines; whatever it raises is noted, never raised."""
    loaded = Loaded()
    try:
        pieces, broken = read_pieces(path)
    except UnreadableError as error:
        loaded.broken.append(str(error))
        return loaded
    loaded.broken += [str(piece) for piece in broken]
    module = ModuleType("submission")
    module.__file__ = str(path)
    sys.modules["submission"] = module
    loaded.names = module.__dict__
    flags = 0
    seen: dict[str, str] = {}
    for piece in pieces:
        loaded.sources[piece.file] = piece
        for statement in piece.tree.body:
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                for alias in statement.names:
                    flags |= _FUTURES.get(alias.name, 0)
            elif run_all or _is_definition(statement):
                _note_names(statement, piece, seen, loaded)
                _carry_out(statement, piece, loaded, flags)
    return loaded


def _is_definition(statement: ast.stmt) -> bool:
    """Tell whether a statement only defines: names, from imports, bodies and plain constants."""
    if isinstance(statement, (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Pass)):
        return True
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return (
            statement.value is not None
            and all(
                isinstance(target, ast.Name | ast.Tuple) and _is_plain(target) for target in targets
            )
            and _is_plain(statement.value)
        )
    if isinstance(statement, ast.Try):
        inside = [*statement.body, *statement.orelse, *statement.finalbody]
        inside += [one for handler in statement.handlers for one in handler.body]
        return all(_is_definition(one) for one in inside)
    if isinstance(statement, ast.If):
        return _is_plain(statement.test) and all(
            _is_definition(one) for one in (*statement.body, *statement.orelse)
        )
    return False


def _is_plain(tree: ast.expr) -> bool:
    if isinstance(tree, ast.Lambda):
        return True
    children = [n for n in ast.iter_child_nodes(tree) if isinstance(n, ast.expr)]
    return isinstance(tree, _PLAIN) and all(_is_plain(child) for child in children)


def _note_names(statement: ast.stmt, piece: Piece, seen: dict[str, str], loaded: Loaded) -> None:
    if not isinstance(statement, _DEFINITIONS):
        return
    place = f"{piece.place}line {statement.lineno}"
    if statement.name in seen:
        loaded.notes.append(
            f"{statement.name} is defined twice ({seen[statement.name]} and {place}): "
            "the last is judged"
        )
    seen[statement.name] = place


def _carry_out(statement: ast.stmt, piece: Piece, loaded: Loaded, flags: int) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        _import(statement, loaded, piece, flags)
        return
    error = _execute(statement, piece, loaded.names, flags)
    if error is None:
        return
    if isinstance(statement, _DEFINITIONS) and statement.decorator_list:
        names = [ast.unparse(one) for one in statement.decorator_list]
        statement.decorator_list = []
        if _execute(statement, piece, loaded.names, flags) is None:
            loaded.notes.append(f"{statement.name} is judged without @{', @'.join(names)}: {error}")
            return
    place = f"{piece.place}line {statement.lineno}"
    text = f"{error} ({place})"
    is_definition = isinstance(statement, _DEFINITIONS)
    (loaded.broken if is_definition else loaded.notes).append(text)


def _import(
    statement: ast.Import | ast.ImportFrom, loaded: Loaded, piece: Piece, flags: int
) -> None:
    """Carry out an import name by name; a name that cannot be had becomes a stub."""
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            one: ast.stmt = ast.Import(names=[alias])
            bound = alias.asname or alias.name.split(".")[0]
            path = alias.name if alias.asname else bound
        else:
            one = ast.ImportFrom(module=statement.module, names=[alias], level=statement.level)
            bound = alias.asname or alias.name
            path = f"{statement.module or ''}.{alias.name}".strip(".")
        error = _execute(ast.copy_location(one, statement), piece, loaded.names, flags)
        if error is not None:
            loaded.notes.append(f"{path} cannot be imported: {error}")
            if bound != "*":
                loaded.names[bound] = Stub(path)


def _execute(statement: ast.stmt, piece: Piece, names: dict[str, Any], flags: int) -> str | None:
    """Carry out one statement; return what it raised, as text."""
    try:
        module = ast.Module(body=[statement], type_ignores=[])
        code: CodeType = compile(module, piece.file, "exec", flags=flags, dont_inherit=True)
        exec(code, names)
    except BaseException as error:  # exit() and the like, too, are the submission's own
        return describe(error)
    return None


def describe(error: BaseException) -> str:
    """Return an exception as its last line: type and message, within bounds."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = type(error).__name__
    lines = text.strip().splitlines() or [text]
    line = lines[0] if len(lines) == 1 else f"{lines[0]} ..."
    return line if len(line) <= 300 else line[:297] + "..."

"""A submission's definitions, and nothing else of it unless all is to run.

Imports, functions, classes and plain constants are carried out in order, each by itself, so that
one that fails costs no other. Runs in the submission's own process.
"""

from __future__ import annotations
import __future__ as future

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from cnncli.implementations.people.source import Piece, UnreadableError, read_pieces
from cnncli.implementations.people.stubs import Stub

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.List),
    *(ast.Set, ast.Dict, ast.Lambda, ast.operator, ast.unaryop, ast.expr_context),
)
_BUILTINS = {
    *("float", "int", "complex", "bool", "str", "tuple", "list", "dict", "set", "frozenset"),
    *("range", "len", "min", "max", "sum", "abs", "round", "slice"),
}
_SCALARS = {
    *("float16", "float32", "float64", "half", "single", "double", "longdouble", "bool_"),
    *("int8", "int16", "int32", "int64", "intp", "int_", "uint8", "uint16", "uint32", "uint64"),
    *("dtype", "finfo", "iinfo"),
}
"""Calls that only make a value: of Python, and of NumPy whatever name it was imported under."""
MOST_SHOWN = 60
DEEPEST = 10_000
"""A limit that no tree meets: Python itself parses none of three times its own limit of calls."""
_FUTURES = {name: getattr(future, name).compiler_flag for name in future.all_feature_names}


@dataclass(kw_only=True)
class Loaded:
    """What a submission defines, and what happened on the way."""

    names: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What did not parse or could not be carried out: why a function may be missing."""
    skipped: dict[str, str] = field(default_factory=dict)
    """What would have bound a name, had it been carried out: its line and text."""
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
            elif run_all or _is_definition(statement, loaded.names):
                _note_names(statement, piece, seen, loaded)
                _carry_out(statement, piece, loaded, flags)
            else:
                _note_skipped(statement, piece, loaded)
    return loaded


def _is_definition(statement: ast.stmt, names: Mapping[str, Any]) -> bool:
    """Tell whether a statement only defines: names, from imports, bodies and plain constants.

    A list of what waits, here and below: four hundred branches are nested four hundred deep.
    """
    waiting = [statement]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Try):
            waiting += [*one.body, *one.orelse, *one.finalbody]
            waiting += [inside for handler in one.handlers for inside in handler.body]
        elif isinstance(one, ast.If) and _is_plain(one.test, names):
            waiting += [*one.body, *one.orelse]
        elif not _only_binds(one, names):
            return False
    return True


def _only_binds(statement: ast.stmt, names: Mapping[str, Any]) -> bool:
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return (
            statement.value is not None
            and all(
                isinstance(target, ast.Name | ast.Tuple) and _is_plain(target, names)
                for target in targets
            )
            and _is_plain(statement.value, names)
        )
    return isinstance(statement, (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Pass))


def _is_plain(tree: ast.expr, names: Mapping[str, Any]) -> bool:
    waiting: list[ast.AST] = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Call) and _is_harmless(one, names):
            waiting += [*one.args, *(keyword.value for keyword in one.keywords)]
        elif isinstance(one, ast.Call) or not isinstance(one, _PLAIN):
            return False
        elif not isinstance(one, ast.Lambda):
            waiting += ast.iter_child_nodes(one)
    return True


def _is_harmless(call: ast.Call, names: Mapping[str, Any]) -> bool:
    """Tell whether a call of plain values makes one, and calls nothing of the submission's own."""
    function = call.func
    if isinstance(function, ast.Name):
        known = function.id in _BUILTINS and function.id not in names
    else:
        known = (
            isinstance(function, ast.Attribute)
            and function.attr in _SCALARS
            and isinstance(function.value, ast.Name)
            and getattr(names.get(function.value.id), "__name__", None) == "numpy"
        )
    return known and all(keyword.arg not in (None, "key") for keyword in call.keywords)


def _note_skipped(statement: ast.stmt, piece: Piece, loaded: Loaded) -> None:
    """Keep, for every name that a statement would have bound, what was not carried out."""
    if isinstance(statement, ast.If) and any(
        isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(statement.test)
    ):
        return  # which --run-all leaves out too
    text = _first_line(statement, piece)
    if len(text) > MOST_SHOWN and isinstance(statement, ast.Assign):
        text = text.removesuffix(_first_line(statement.value, piece)) + "..."
    place = f"{piece.place}line {statement.lineno}"
    told = f"{place}, {text[:MOST_SHOWN]}, was not carried out; --run-all does"
    for name in _bound(statement):
        loaded.skipped[name] = told


def _first_line(tree: ast.stmt | ast.expr, piece: Piece) -> str:
    """Return the line that a part begins on, from there: ast.unparse has no bound on its depth."""
    line = piece.lines[tree.lineno - 1].encode()  # in bytes, as its places are counted
    return line[tree.col_offset :].decode().strip()


def _bound(statement: ast.stmt) -> Iterator[str]:
    waiting: list[ast.AST] = [statement]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _DEFINITIONS):
            yield one.name
            continue
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
        if isinstance(one, ast.alias):
            yield one.asname or one.name.split(".")[0]
        waiting += ast.iter_child_nodes(one)


def skipped_name(error: BaseException, loaded: Loaded) -> str | None:
    """Return what was not carried out that would have bound the name that an error misses."""
    if type(error) is not NameError or error.name in loaded.names:
        return None
    return loaded.skipped.get(error.name or "")


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
    error = _execute(statement, piece, loaded, flags)
    if error is None:
        return
    if isinstance(statement, _DEFINITIONS) and statement.decorator_list:
        names = [_first_line(one, piece)[:MOST_SHOWN] for one in statement.decorator_list]
        statement.decorator_list = []
        if _execute(statement, piece, loaded, flags) is None:
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
        error = _execute(ast.copy_location(one, statement), piece, loaded, flags)
        if error is not None:
            loaded.notes.append(f"{path} cannot be imported: {error}")
            if bound != "*":
                loaded.names[bound] = Stub(path)


def _execute(statement: ast.stmt, piece: Piece, loaded: Loaded, flags: int) -> str | None:
    """Carry out one statement; return what it raised, as text."""
    try:
        exec(_compiled(statement, piece, flags), loaded.names)
    except BaseException as error:  # exit() and the like, too, are the submission's own
        return "; ".join(filter(None, [describe(error), skipped_name(error, loaded)]))
    return None


def _compiled(statement: ast.stmt, piece: Piece, flags: int) -> CodeType:
    """Return a statement as code, as deep as Python takes it from a file."""
    module = ast.Module(body=[statement], type_ignores=[])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEEPEST))
    try:
        code: CodeType = compile(module, piece.file, "exec", flags=flags, dont_inherit=True)
    finally:
        sys.setrecursionlimit(limit)
    return code


def describe(error: BaseException) -> str:
    """Return an exception as its last line: type and message, within bounds."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = type(error).__name__
    lines = text.strip().splitlines() or [text]
    line = lines[0] if len(lines) == 1 else f"{lines[0]} ..."
    return line if len(line) <= 300 else line[:297] + "..."

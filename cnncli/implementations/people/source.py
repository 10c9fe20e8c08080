"""A submission's text as parsed pieces: a .py file whole, a notebook cell by cell."""

from __future__ import annotations

import ast
import json
import re
import tokenize
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

MAX_BYTES = 64 << 20
OTHER_LANGUAGES = re.compile(
    r"%%(bash|sh|script|html|HTML|javascript|js|latex|markdown|svg|perl|ruby|writefile|file|cmd|"
    r"system|sx|R|julia|cython|!)"
)
_MAGIC = re.compile(
    r"\s*([%!?]|[A-Za-z_][\w.]*\?{1,2}\s*$|[A-Za-z_][\w, ]*=\s*[!%]|.*\S\?{1,2}\s*$)"
)


class UnreadableError(Exception):
    """A file that holds no code; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One parsed cell, or a file: `place` begins the name of its lines (`cell 3, `)."""

    tree: ast.Module
    file: str
    place: str
    lines: list[str]


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A piece that does not parse."""

    place: str
    line: int
    message: str
    text: str

    def __str__(self) -> str:
        return f"SyntaxError: {self.message} ({self.place}line {self.line}: {self.text.strip()})"


def read_pieces(path: Path) -> tuple[list[Piece], list[Broken]]:
    """Return what parses and what does not; raise UnreadableError where there is no code."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"is larger than {MAX_BYTES >> 20} MiB")
    if path.suffix == ".ipynb":
        texts = [(f"cell {number}, ", text) for number, text in _cells(raw)]
    else:
        texts = [("", _decode(raw))]
    pieces: list[Piece] = []
    broken: list[Broken] = []
    for place, text in texts:
        found = _parse(place, text, notebook=path.suffix == ".ipynb")
        (pieces if isinstance(found, Piece) else broken).append(found)  # type: ignore[arg-type]  # each to its own list
    return pieces, broken


def _decode(raw: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(raw).readline)
        return raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return raw.decode("utf-8", "replace")


def _cells(raw: bytes) -> list[tuple[int, str]]:
    """Return the number and the text of every code cell, counted as the notebook shows cells."""
    try:
        data = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UnreadableError("is no notebook: not JSON") from None
    cells = data.get("cells") if isinstance(data, dict) else None
    if cells is None and isinstance(data, dict) and isinstance(data.get("worksheets"), list):
        sheets = [s for s in data["worksheets"] if isinstance(s, dict)]
        lists = [s["cells"] for s in sheets if isinstance(s.get("cells"), list)]
        cells = [cell for one in lists for cell in one]
    if not isinstance(cells, list):
        raise UnreadableError("is no notebook: it has no cells")
    found = []
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", cell.get("input", ""))
            lines = source if isinstance(source, list) else [source]
            text = "".join(line for line in lines if isinstance(line, str))
            # JSON can say halves of a character, and no encoding can.
            found.append((number, text.encode("utf-8", "replace").decode()))
    return found


def _parse(place: str, text: str, *, notebook: bool) -> Piece | Broken:
    if notebook and OTHER_LANGUAGES.match(text.lstrip()):
        text = ""
    lines = text.splitlines()
    file = f"<submission {place.strip(', ')}>" if place else "<submission>"
    while True:
        try:
            tree = ast.parse("\n".join(lines), file)
            return Piece(tree=tree, file=file, place=place, lines=text.splitlines())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 1
            message = getattr(error, "msg", None) or str(error) or type(error).__name__
        at = line - 1
        # Magics stand where Python finds no statement; a % inside an expression never does.
        if not notebook or not 0 <= at < len(lines) or not _MAGIC.match(lines[at]):
            shown = lines[at] if 0 <= at < len(lines) else ""
            return Broken(place=place, line=line, message=message, text=shown[:200])
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines[at] = f"{indent}pass"

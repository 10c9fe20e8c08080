"""What files hold, as hashes: what a result that was kept depends on."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path

from cnncli.cases.sourcetypes import NpyFile, NpzEntry, RawFile, Source, StandardInput

_CHUNK = 1 << 20
_hashes: dict[tuple[str, int, int], str] = {}
"""Of files hashed before, by path, time of change and size: thousands of cases may share one."""


def contents_of(sources: Iterable[Source]) -> dict[str, str]:
    """Return the hash of every file that sources read, by the name it has there.

    What standard input held cannot be known again: it is something new each time.
    """
    found: dict[str, str] = {}
    for source in sources:
        if isinstance(source, StandardInput):
            found["-"] = uuid.uuid4().hex
        elif isinstance(source, NpyFile | NpzEntry | RawFile):
            found[source.written] = content_hash(source.path)
    return found


def content_hash(path: Path) -> str:
    """Return the hash of a file's content, or why it cannot be read."""
    try:
        status = path.stat()
        if not path.is_file():
            return uuid.uuid4().hex  # a pipe or a device gives something else each time
        known = (str(path), status.st_mtime_ns, status.st_size)
        if known not in _hashes:
            digest = hashlib.sha256()
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
            _hashes[known] = digest.hexdigest()
        return _hashes[known]
    except (OSError, ValueError) as error:
        return f"unreadable: {getattr(error, 'strerror', None) or error}"

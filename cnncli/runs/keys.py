"""What a resumed run knows a case by: a hash of all that its result depends on."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli import __version__
from cnncli.cases.config import Entry
from cnncli.cases.node import Node
from cnncli.cases.sources import NpyFile, NpzEntry, RawFile, Source, StandardInput
from cnncli.errors import CnncliError

if TYPE_CHECKING:
    from cnncli.runs.task import Job

_CHUNK = 1 << 20
_hashes: dict[tuple[str, int, int], str] = {}
"""Of files hashed before, by path, time of change and size: thousands of cases may share one."""


def case_key(job: Job, entry: Entry) -> str:
    """Return the key of a case as the job runs it: its data, its files' content, the version.

    A case that reads standard input has a new key each time, since what it read cannot be known.
    """
    try:
        prepared = job.prepared(entry)
        described: object = {key: node.data() for key, node in prepared.entries.items()}
        files = _content(job, prepared)
    except CnncliError as error:
        described, files = {"error": str(error)}, {}
    parts = {
        "name": entry.name,
        "file": entry.file,
        "case": described,
        "files": files,
        "version": __version__,
        "max_memory": job.options.max_memory,
        "values": job.values,
        "skip_invalid": entry.skip_invalid,
    }
    text = json.dumps(parts, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _content(job: Job, entry: Entry) -> dict[str, str]:
    """Return the hash of every file that a case reads, by the name it has there."""
    try:
        case = entry.build()
    except CnncliError:
        return {}  # An invalid case reads nothing; what makes it so stands in its data.
    sources: list[Source] = list(case.sources.values())
    for assertions in case.expect.values():
        sources += [a.source for a in assertions if a.source is not None]
    files: dict[str, str] = {}
    for source in sources:
        if isinstance(source, StandardInput):
            files["-"] = uuid.uuid4().hex
        elif isinstance(source, NpyFile | NpzEntry | RawFile):
            files[source.written] = _hash(source.path)
    # Other keys may name files too, such as a program to judge.
    for key, node in entry.entries.items():
        if key not in ("tensors", "expect"):
            for text, base in _texts(node):
                path = Path(text) if base is None else base / text
                if _is_file(path):
                    files[text] = _hash(path)
    return files


def _texts(node: Node) -> list[tuple[str, Path | None]]:
    if isinstance(node.value, dict):
        return [found for item in node.value.values() for found in _texts(item)]
    if isinstance(node.value, list):
        return [found for item in node.value for found in _texts(item)]
    return [(node.value, node.base)] if isinstance(node.value, str) else []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _hash(path: Path) -> str:
    """Return the hash of a file's content, or why it cannot be read."""
    try:
        status = path.stat()
        if not path.is_file():
            return uuid.uuid4().hex  # A pipe or a device gives something else each time.
        known = (str(path), status.st_mtime_ns, status.st_size)
        if known not in _hashes:
            digest = hashlib.sha256()
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
            _hashes[known] = digest.hexdigest()
        return _hashes[known]
    except OSError as error:
        return f"unreadable: {error.strerror}"

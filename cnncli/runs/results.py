"""The results file: a line per result, written as each comes, and read again by `--resume`."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cnncli.errors import UsageError
from cnncli.runs.files import whole_file
from cnncli.runs.result import FORMAT, Result

FINAL = ("passed", "done", "failed", "invalid", "skipped")
"""What a second run would find again; a timeout or a crash may have been the machine's doing."""
_PREFIX = f'{{"format": "{FORMAT}"'.encode()

Identity = tuple[str, str | None]
"""The label of a case and, of people's code, whose result it is."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A result that a run will give, or may."""

    identity: Identity
    key: Callable[[], str]
    """Gives the key that it has now."""
    is_due: bool = True
    """Whether the run gives it even where nothing is wrong with its case.

    Else a line of another key is another run's, unless it tells that the case was bad.
    """


@dataclass(frozen=True)
class _Line:
    """A result that stands in the file, and where."""

    start: int
    end: int
    result: Result
    digest: str

    @property
    def identity(self) -> Identity:
        """Whose result this is: those of libraries stand together for their case."""
        return self.result.label, None if self.result.grade is None else self.result.implementation


class ResultsFile:
    """A results file that is open for more; one run at a time may hold it. A sink of results."""

    def __init__(self, name: str, *, resume: bool) -> None:
        """Make the file, or with `resume` open what is there; raise UsageError."""
        self.path = Path(name)
        self.kept: dict[Identity, list[Result]] = {}
        """What stands in the file already, once `keep` has judged it."""
        self.notes: list[str] = []
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | (0 if resume else os.O_EXCL)
        try:
            if resume and self.path.exists() and not self.path.is_file():
                raise UsageError(f"{name} is not a file, so nothing can be resumed", "--resume")
            self._stream: BinaryIO = os.fdopen(os.open(name, flags, 0o666), "a+b")
        except FileExistsError:
            raise UsageError(
                f"{name} is there already; give another name, or --resume to go on with it",
                "--results",
            ) from None
        except (OSError, ValueError) as error:
            raise self._refused(error) from None
        self._lock()
        self._size = os.fstat(self._stream.fileno()).st_size

    def keep(self, wanted: Iterable[Wanted]) -> None:
        """Find which of the wanted results the file holds already, with a final status.

        What is left of a line that was torn is dropped, and so is every line of these that is not
        kept: an older version of it, a copy, a timeout or a crash.
        """
        lines, is_sound = self._read()
        there: dict[Identity, list[_Line]] = {}
        for line in lines:
            there.setdefault(line.identity, []).append(line)
        dropped: set[int] = set()
        for one in wanted:
            identity = one.identity
            if identity not in there:
                continue
            key = one.key()
            kept: dict[str, _Line] = {}
            for line in there[identity]:
                if line.result.key == key and line.result.status in FINAL:
                    kept.setdefault(line.digest, line)
            if kept and len(kept) >= max(line.result.lines for line in kept.values()):
                self.kept[identity] = [replace(one.result, kept=True) for one in kept.values()]
            else:
                kept = {}
            stay = {line.start for line in kept.values()}
            dropped |= {
                line.start
                for line in there[identity]
                if kept or one.is_due or line.result.status == "invalid"
            } - stay
        if dropped or not is_sound:
            if dropped:
                lines_hold = "line that no longer holds"
                if len(dropped) > 1:
                    lines_hold = "lines that no longer hold"
                self.notes.append(f"dropped {len(dropped)} {lines_hold}")
            self._rewrite([line for line in lines if line.start not in dropped])
        self._size = os.fstat(self._stream.fileno()).st_size

    def take(self, result: Result) -> None:
        """Append a result that is not there yet, and hand it to the system; raise UsageError."""
        if result.kept:
            return
        data = result.line.encode() + b"\n"
        try:
            self._stream.write(data)
            self._stream.flush()
            found = os.fstat(self._stream.fileno())
        except OSError as error:
            raise self._refused(error) from None
        self._size += len(data)
        if found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
            raise UsageError(f"{self.path} was removed while results were written", "--results")
        if found.st_size != self._size:
            raise UsageError(
                f"{self.path} was changed while results were written: it has {found.st_size} "
                f"bytes, and should have {self._size}; --resume mends what can be read",
                "--results",
            )

    def end(self) -> None:
        """Nothing is left to write."""

    def close(self) -> None:
        """Close the file, which lets another run have it."""
        self._stream.close()

    def _refused(self, error: Exception) -> UsageError:
        reason = getattr(error, "strerror", None) or str(error)
        return UsageError(f"{self.path} cannot be written: {reason}", "--results")

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # a system without such locks
            return
        try:
            fcntl.lockf(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UsageError(f"{self.path} is being written by another run", "--results") from None
        except OSError:
            pass  # a file system without locks

    def _read(self) -> tuple[list[_Line], bool]:
        """Return the results in the file, and whether nothing but whole lines stands in it."""
        lines, is_sound, place = [], True, 0
        self._stream.seek(0)
        for number, raw in enumerate(self._stream, 1):
            start, place = place, place + len(raw)
            if not raw.strip():
                continue
            found = _parse(raw, start)
            if found is None:
                # The beginning of one of our lines is what a killed run left; the rest of another
                # line may follow it where files were joined.
                again = raw.rfind(_PREFIX)
                head = raw[:again] if again > 0 else raw.rstrip(b"\n")
                if not head.startswith(_PREFIX) and not _PREFIX.startswith(head):
                    raise UsageError("this is not a line of results", f"{self.path}:{number}")
                found = _parse(raw[again:], start + again) if again > 0 else None
                self.notes.append(f"dropped line {number}, which was torn")
                is_sound = False
            elif not raw.endswith(b"\n"):
                is_sound = False
            if found is not None:
                lines.append(found)
        return lines, is_sound

    def _rewrite(self, lines: list[_Line]) -> None:
        """Replace the file by one with these lines alone, whole or not at all."""
        with whole_file(self.path, "--resume") as stream:
            for line in lines:
                self._stream.seek(line.start)
                stream.write(self._stream.read(line.end - line.start) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._stream.close()
        self._stream = self.path.open("a+b")
        self._lock()


def _parse(raw: bytes, start: int) -> _Line | None:
    if not raw.startswith(_PREFIX):
        return None
    try:
        result = Result.read(raw.decode().strip())
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    data.pop("seconds", None)
    digest = hashlib.sha256(json.dumps(data).encode()).hexdigest()
    return _Line(start, start + len(raw.rstrip(b"\n")), result, digest)

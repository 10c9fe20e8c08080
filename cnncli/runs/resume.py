"""The results file: a line a result, written as each case ends, and read again by `--resume`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from cnncli.cases.config import Entry
from cnncli.errors import UsageError
from cnncli.runs.outcome import Outcome, outcome_of
from cnncli.runs.result import FORMAT

FINAL = ("passed", "done", "failed", "invalid", "skipped")
"""What a second run would find again; a timeout or a crash may have been the machine's doing."""
_PREFIX = f'{{"format": "{FORMAT}"'.encode()


@dataclass(frozen=True)
class _Line:
    """A result that stands in the file, without its text."""

    start: int
    end: int
    outcome: Outcome
    digest: str
    lines: int


class ResultsFile:
    """A results file that is open for more; one run at a time may hold it."""

    def __init__(self, name: str, *, resume: bool) -> None:
        """Make the file, or with `resume` open what is there; raise UsageError."""
        self.path = Path(name)
        self.kept: dict[str, list[Outcome]] = {}
        """What stands in the file already, by the label of the case, once `keep` has judged it."""
        self.notes: list[str] = []
        flags = os.O_CREAT | os.O_RDWR | (0 if resume else os.O_EXCL)
        try:
            if resume and self.path.exists() and not self.path.is_file():
                raise UsageError(f"{name} is not a file, so nothing can be resumed", "--resume")
            self._stream: BinaryIO = os.fdopen(os.open(name, flags, 0o666), "r+b")
        except FileExistsError:
            raise UsageError(
                f"{name} is there already; give another name, or --resume to go on with it",
                "--results",
            ) from None
        except OSError as error:
            raise UsageError(f"{name} cannot be written: {error.strerror}", "--results") from None
        self._lock()

    def keep(self, entries: Iterable[Entry], key_of: Callable[[Entry], str]) -> None:
        """Find which of the cases the file holds already, as they are now, with a final status.

        What is left of a line that was torn is dropped, and so is every line of one of these cases
        that is not kept: an older version of it, a copy, a timeout or a crash.
        """
        lines, sound = self._read()
        by_label: dict[str, list[_Line]] = {}
        for line in lines:
            by_label.setdefault(line.outcome.label, []).append(line)
        dropped: set[int] = set()
        for entry in entries:
            label = f"{entry.file}::{entry.name}" if entry.file else entry.name
            if label not in by_label:
                continue
            key = key_of(entry)
            kept: dict[str, _Line] = {}
            for line in by_label[label]:
                if line.outcome.key == key and line.outcome.status in FINAL:
                    kept.setdefault(line.digest, line)
            if kept and len(kept) >= max(line.lines for line in kept.values()):
                self.kept[label] = [line.outcome for line in kept.values()]
            else:
                kept = {}
            stay = {line.start for line in kept.values()}
            dropped |= {line.start for line in by_label[label]} - stay
        if dropped or not sound:
            if dropped:
                plural = "s" if len(dropped) > 1 else ""
                self.notes.append(f"dropped {len(dropped)} line{plural} that no longer hold")
            self._rewrite([line for line in lines if line.start not in dropped])
        self._stream.seek(0, os.SEEK_END)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Append the results of one case, at once, and hand them to the system."""
        text = "".join(outcome.text + "\n" for outcome in outcomes)
        try:
            self._stream.write(text.encode())
            self._stream.flush()
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be written: {error.strerror}", "--results"
            ) from None

    def close(self) -> None:
        """Close the file, which lets another run have it."""
        self._stream.close()

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
        lines, sound, place = [], True, 0
        self._stream.seek(0)
        for number, raw in enumerate(self._stream, 1):
            start, place = place, place + len(raw)
            if not raw.strip():
                continue
            found = self._parse(raw, start)
            if found is None:
                # The beginning of one of our lines is what a killed run left; the rest of another
                # line may follow it where files were joined.
                begins = raw.startswith(_PREFIX) or _PREFIX.startswith(raw.rstrip(b"\n"))
                again = raw.rfind(_PREFIX)
                if not begins:
                    raise UsageError("this is not a line of results", f"{self.path}:{number}")
                found = self._parse(raw[again:], start + again) if again > 0 else None
                self.notes.append(f"dropped line {number}, which was torn")
                sound = False
            elif not raw.endswith(b"\n"):
                sound = False
            if found is not None:
                lines.append(found)
        return lines, sound

    @staticmethod
    def _parse(raw: bytes, start: int) -> _Line | None:
        if not raw.startswith(_PREFIX):
            return None
        try:
            data = json.loads(raw)
            outcome = replace(outcome_of(data, ""), text="")
        except ValueError:
            return None
        lines = data.get("lines", 1)
        data.pop("seconds", None)
        digest = hashlib.sha256(json.dumps(data).encode()).hexdigest()
        count = lines if isinstance(lines, int) else 1
        return _Line(start, start + len(raw.rstrip(b"\n")), outcome, digest, count)

    def _rewrite(self, lines: list[_Line]) -> None:
        """Replace the file by one with these lines alone, whole or not at all."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            mode = os.fstat(self._stream.fileno()).st_mode & 0o777
            with temporary.open("wb") as stream:
                for line in lines:
                    self._stream.seek(line.start)
                    stream.write(self._stream.read(line.end - line.start) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(mode)
            os.replace(temporary, self.path)
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be written: {error.strerror}", "--resume"
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
        self._stream.close()
        self._stream = self.path.open("r+b")
        self._lock()


@contextlib.contextmanager
def results_file(name: str | None, *, resume: bool) -> Iterator[ResultsFile | None]:
    """Open the file that `--results` names, if it names one; raise UsageError."""
    if name is None:
        if resume:
            raise UsageError("needs --results FILE.jsonl, the file to go on with", "--resume")
        yield None
        return
    opened = ResultsFile(name, resume=resume)
    try:
        yield opened
    finally:
        opened.close()

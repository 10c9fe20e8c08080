"""Results as JUnit XML, as the schema of Ant's JUnit task has it, which CI servers read.

A case that fails is a `failure`; one that gave nothing (invalid, timeout, crashed) an `error`.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from cnncli.report.batch import check_text
from cnncli.report.visible import visible
from cnncli.runs.files import refuse_unwritable, whole_file
from cnncli.runs.outcome import Outcome

_ERRORS = ("invalid", "timeout", "crashed")


class JUnitFile:
    """Takes results as they come, at no cost in memory, and writes the file at the end."""

    def __init__(self, path: str) -> None:
        """Begin; `path` is written by `close`. Raises UsageError where it could not be."""
        self._path = Path(path)
        refuse_unwritable(self._path, "--junit")
        self._cases: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._started = time.time()
        self.tests = self.failures = self.errors = self.skipped = 0
        self.seconds = 0.0

    def add(self, outcome: Outcome) -> None:
        """Add one result."""
        self.tests += 1
        self.seconds += outcome.seconds
        name, group = (quoteattr(_clean(t)) for t in (outcome.name, outcome.file or "cnncli"))
        head = f'<testcase name={name} classname={group} time="{outcome.seconds:.6f}"'
        inside = self._inside(outcome)
        end = f">{inside}</testcase>" if inside else "/>"
        self._cases.write(f"  {head}{end}\n")

    def _inside(self, outcome: Outcome) -> str:
        if outcome.status == "skipped":
            self.skipped += 1
            return "<skipped/>"
        if outcome.status == "failed":
            self.failures += 1
            texts = [check_text(check) for check in outcome.wrong]
            return _element("failure", texts[0], outcome.status, [*texts, outcome.reproduce])
        if outcome.status in _ERRORS:
            self.errors += 1
            text = str(outcome.error or outcome.status)
            return _element("error", text, outcome.status, [text, outcome.reproduce])
        return ""

    def close(self) -> None:
        """Write the file, whole; raise UsageError where it cannot be."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._started))
        host = quoteattr(_clean(socket.gethostname()) or "localhost")
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
            f'<testsuite id="0" package="cnncli" name="cnncli" timestamp="{stamp}" '
            f'hostname={host} tests="{self.tests}" failures="{self.failures}" '
            f'errors="{self.errors}" skipped="{self.skipped}" time="{self.seconds:.6f}">\n'
            "  <properties/>\n"
        )
        tail = "  <system-out/>\n  <system-err/>\n</testsuite>\n</testsuites>\n"
        self._cases.flush()
        self._cases.seek(0)
        with self._cases, whole_file(self._path, "--junit") as stream:
            stream.write(head.encode())
            shutil.copyfileobj(self._cases.buffer, stream)  # type: ignore[attr-defined]  # a text file's own bytes
            stream.write(tail.encode())


def _element(tag: str, message: str, kind: str, lines: list[str]) -> str:
    body = escape(_clean("\n".join(filter(None, lines))))
    return f"<{tag} message={quoteattr(_clean(message))} type={quoteattr(kind)}>{body}</{tag}>"


def _clean(text: str) -> str:
    """Return text with control characters as escapes, without what no XML may hold."""
    return "".join(
        c
        if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
        else "\ufffd"
        for c in visible(text)
    )

"""Results as JUnit XML, as the schema of Ant's JUnit task has it, which CI servers read.

A suite holds the cases of one person's file, or all others. A case that fails is a `failure`; one
that gave nothing (invalid, timeout, crashed) an `error`; one that nothing was checked of is no
pass, and so `skipped`.
"""

from __future__ import annotations

import socket
import tempfile
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cnncli.errors import UsageError
from cnncli.report.visible import visible
from cnncli.report.wording import failure_lines
from cnncli.runs.files import refuse_unwritable, whole_file
from cnncli.runs.result import Result

FLAG = "--junit"
BLOCK = 1 << 20
_ERRORS = ("invalid", "timeout", "crashed")
_CHECKED = "nothing to check: it expects nothing"
_TAIL = "  <system-out/>\n  <system-err/>\n</testsuite>\n"


@dataclass(kw_only=True)
class _Suite:
    """The counts of one suite, and where its cases begin among all."""

    name: str
    start: int
    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0


class JUnitFile:
    """A sink of results: kept on disk as they come, written as the file at the end."""

    def __init__(self, path: str) -> None:
        """Begin; `path` is written by `end`. Raises UsageError where it could not be."""
        self._path = Path(path)
        refuse_unwritable(self._path, FLAG)
        self._cases = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._started = time.time()
        self._suites: list[_Suite] = []

    def take(self, result: Result) -> None:
        """Add one result."""
        name = "cnncli" if result.grade is None else str(result.implementation)
        if not self._suites or self._suites[-1].name != name:
            self._suites.append(_Suite(name=name, start=self._cases.tell()))
        suite = self._suites[-1]
        suite.tests += 1
        suite.seconds += result.seconds
        group = result.file or "cnncli"
        if result.grade is not None:
            group = f"{result.implementation}.{result.grade.function}"
        head = f"<testcase name={_name(result.name)} classname={_name(group)}"
        head += f' time="{result.seconds:.6f}"'
        inside = _inside(result, suite)
        text = f"  {head}{f'>{inside}</testcase>' if inside else '/>'}\n"
        try:
            self._cases.write(text.encode())
        except OSError as error:
            raise UsageError(f"{self._path} cannot be kept: {error.strerror}", FLAG) from None

    def end(self) -> None:
        """Write the file, whole; raise UsageError where it cannot be."""
        self._suites = self._suites or [_Suite(name="cnncli", start=0)]
        ends = [*(suite.start for suite in self._suites[1:]), self._cases.tell()]
        with self._cases, whole_file(self._path, FLAG) as stream:
            stream.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
            self._cases.seek(0)
            for number, (suite, end) in enumerate(zip(self._suites, ends, strict=True)):
                stream.write(self._head(number, suite).encode())
                left = end - suite.start
                while left:
                    block = self._cases.read(min(left, BLOCK))
                    stream.write(block)
                    left -= len(block)
                stream.write(_TAIL.encode())
            stream.write(b"</testsuites>\n")

    def _head(self, number: int, suite: _Suite) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._started))
        return (
            f'<testsuite id="{number}" package="cnncli" name={_name(suite.name)} '
            f'timestamp="{stamp}" hostname={_name(socket.gethostname() or "localhost")} '
            f'tests="{suite.tests}" failures="{suite.failures}" errors="{suite.errors}" '
            f'skipped="{suite.skipped}" time="{suite.seconds:.6f}">\n  <properties/>\n'
        )


def _inside(result: Result, suite: _Suite) -> str:
    """Return what stands within a testcase, and count it."""
    if result.status in ("skipped", "done"):
        suite.skipped += 1
        why = _CHECKED if result.error is None else result.error.message
        return f"<skipped message={_quoted(_clean(why))}/>"
    if result.status == "failed":
        suite.failures += 1
        lines = failure_lines(result)
        if result.grade is None:
            return _element("failure", lines[0], result.status, lines)
        return _element("failure", str(result.cause), str(result.reason), lines)
    if result.status in _ERRORS:
        suite.errors += 1
        lines = failure_lines(result)
        return _element("error", lines[0], result.status, lines)
    return ""


def _element(tag: str, message: str, kind: str, lines: list[str]) -> str:
    body = escape(_clean("\n".join(lines)), quote=False)
    return f"<{tag} message={_quoted(_clean(message))} type={_quoted(_clean(kind))}>{body}</{tag}>"


def _name(text: str) -> str:
    """Return text as the schema wants a name: no spaces around it, and not empty."""
    return _quoted(_clean(text).strip() or "?")


def _quoted(text: str) -> str:
    """Return text as the value of an attribute; xml.sax would load what reads the web."""
    escaped = escape(text)
    for char in "\t\n\r":
        escaped = escaped.replace(char, f"&#{ord(char)};")
    return f'"{escaped}"'


def _clean(text: str) -> str:
    """Return text with control characters as escapes, without what no XML may hold."""
    return "".join(
        c
        if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
        else "\ufffd"
        for c in visible(text)
    )

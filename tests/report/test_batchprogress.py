"""Progress: a bar on a terminal, sparse lines elsewhere, and never in the way of text."""

from __future__ import annotations

import io

import pytest

from cnncli.report.batchprogress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("cnncli.report.progress.time.monotonic", lambda: now[0])
    monkeypatch.setenv("COLUMNS", "80")
    return now


def test_a_terminal_shows_done_failed_rate_and_time_left(clock: list[float]) -> None:
    stream = Terminal()
    bar = Progress(40, stream)
    for i in range(10):
        clock[0] += 0.5
        bar.step(failed=i == 3)
    last = stream.getvalue().split("\r\x1b[K")[-1]
    assert last == "[#######.......................] 10/40 done, 1 failed, 2.0/s, 15 s left"
    bar.end()
    assert stream.getvalue().endswith("\r\x1b[K")
    written = stream.getvalue()
    bar.clear()
    assert stream.getvalue() == written


def test_a_narrow_terminal_is_never_wrapped(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    bar = Progress(10_000, stream)
    clock[0] += 1
    bar.step(failed=False)
    assert len(stream.getvalue().split("\x1b[K")[-1]) <= 29


def test_a_pipe_gets_a_plain_line_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    bar = Progress(1000, stream)
    for _ in range(600):
        clock[0] += 0.1
        bar.step(failed=False)
    bar.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) in (1, 2)
    assert lines[0] in (
        "300/1000 done, 0 failed, 10/s, 1 min 10 s left",
        "301/1000 done, 0 failed, 10/s, 1 min 10 s left",
    )
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()

"""What tests start as processes: functions that misbehave, and a search for what is left of them.

Imports the standard library alone, so that they start quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from cnncli.process.start import Process


def ends(channel: int, status: int) -> None:
    """End with a status, or by a signal."""
    if status < 0:
        os.kill(os.getpid(), -status)
    os._exit(status)


def sleeps(channel: int) -> None:
    """Say that it runs, and sleep whatever it is asked."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.write(channel, b"runs\n")
    time.sleep(300)


def forks(channel: int) -> None:
    """Leave a process in a session of its own, whose parent is gone, and sleep beside it."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sleeps(channel)
        os._exit(0)
    os.wait()
    sleeps(channel)


def forks_and_ends(channel: int) -> None:
    """Leave such a process, and end."""
    if os.fork() == 0:
        os.setsid()
        sleeps(channel)


def writes(channel: int) -> None:
    """Write small files without end."""
    for number in range(10**9):
        Path(str(number)).write_text("x")


def nests(channel: int) -> None:
    """Start a process of ours that has a scratch folder, as a worker does, and sleep beside it."""
    with Process("tests.processes:forks", scratch_in=tempfile.gettempdir()) as process:
        process.channel.recv(5)
        os.write(channel, b"runs\n")
        time.sleep(300)


def start_and_sleep(name: str) -> None:
    """Start a function of this module with a scratch folder, say that it runs, and sleep."""
    scratch = None if name == "nests" else tempfile.gettempdir()
    with Process(f"tests.processes:{name}", scratch_in=scratch) as process:
        print(process.channel.recv(5).decode(), flush=True)
        time.sleep(300)


def living(folder: Path) -> dict[int, str]:
    """Return the processes that know of a folder, by environment or arguments (Linux)."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            known = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
            if os.fsencode(folder) in known and int(place.name) != os.getpid():
                found[int(place.name)] = (place / "stat").read_text().split()[2]
    return found


def await_nothing(folder: Path, seconds: float = 20) -> None:
    """Wait until no process knows of a folder and nothing is in it; raise AssertionError."""
    deadline = time.monotonic() + seconds
    while left := (living(folder), os.listdir(folder)) != ({}, []):
        assert time.monotonic() < deadline, (living(folder), os.listdir(folder), left)
        time.sleep(0.02)


def be_ordinary() -> None:
    """Give up the right to open what modes forbid, which root has; before a program is started."""
    if sys.platform == "linux":
        drop, dac_override, dac_read_search = 24, 1, 2
        libc = ctypes.CDLL(None)
        for capability in (dac_override, dac_read_search):
            libc.prctl(drop, capability, 0, 0, 0)


if __name__ == "__main__":
    start_and_sleep(sys.argv[1])

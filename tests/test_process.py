"""A process of ours: how it ended, and that nothing of it is left, whoever is killed and how."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnncli.process.endings import FULL, how_ended
from cnncli.process.scratch import Scratch
from cnncli.process.start import NotStartedError, Process
from cnncli.process.threads import ONE_THREAD
from tests.cli.batches import environment
from tests.processes import await_nothing, be_ordinary, living

HINT = ", as the system does where memory runs out"
linux = pytest.mark.skipif(sys.platform != "linux", reason="what is left is looked for in /proc")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with exit status 0"),
        (7, "ended with exit status 7"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-signal.SIGKILL, f"was killed by SIGKILL{HINT}"),
    ],
)
def test_how_a_process_ended_is_told(status: int, words: str) -> None:
    assert how_ended(status) == words
    with Process("tests.processes:ends", status) as process:
        assert process.how_ended(20) == words
    assert process.end() == words


def test_one_that_runs_has_not_ended() -> None:
    with Process("tests.processes:sleeps") as process:
        assert process.channel.recv(5) == b"runs\n"
        assert process.how_ended(0.1) is None
    assert process.end() == f"was killed by SIGKILL{HINT}"


def test_one_that_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Process("tests.processes:sleeps", scratch_in=str(tmp_path / "absent")) as process:
        words = f"could not be started: no folder for it in {tmp_path}/absent: No such file"
        assert str(process.how_ended(20)).startswith(words)
        assert process.pid is None
    with Process("tests.absent:sleeps", is_quiet=True) as process:
        assert process.how_ended(20) == "ended with exit status 1"
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(NotStartedError, match="could not be started: No such file"):
        Process("tests.processes:sleeps")


def test_arithmetic_has_one_thread_unless_asked_for() -> None:
    assert set(ONE_THREAD.values()) == {"1"}
    with Process("tests.processes:sleeps") as process:
        process.channel.recv(5)
        known = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
    assert {f"{name}=1" for name in ONE_THREAD} <= set(known)


@linux
@pytest.mark.parametrize("function", ["sleeps", "forks", "forks_and_ends"])
def test_nothing_is_left_of_what_is_ended(function: str, tmp_path: Path) -> None:
    with Process(f"tests.processes:{function}", scratch_in=str(tmp_path)) as process:
        process.channel.recv(5)
        assert living(tmp_path)
        if function == "forks_and_ends":
            assert process.how_ended(20) == "ended with exit status 0"
            assert not living(tmp_path)
    assert not living(tmp_path)
    assert not os.listdir(tmp_path)


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("function", ["sleeps", "forks", "nests"])
def test_nothing_is_left_where_its_parent_is_killed(
    function: str, number: int, tmp_path: Path
) -> None:
    running = _start(function, tmp_path)
    assert os.listdir(tmp_path)
    running.send_signal(number)
    running.communicate(timeout=20)
    await_nothing(tmp_path)


@linux
def test_nothing_is_left_where_it_is_killed_itself(tmp_path: Path) -> None:
    """A killed worker leaves a submission's supervisor, which must not be killed with it."""
    with Process(
        "tests.processes:nests", environment=environment() | {"TMPDIR": str(tmp_path)}
    ) as process:
        process.channel.recv(5)
        assert os.listdir(tmp_path)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        assert process.how_ended(20) == f"was killed by SIGKILL{HINT}"
        assert not living(tmp_path)
        assert not os.listdir(tmp_path)


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_supervisor_that_is_asked_to_end_ends_all(number: int, tmp_path: Path) -> None:
    with Process("tests.processes:forks", scratch_in=str(tmp_path)) as process:
        process.channel.recv(5)
        os.kill(process._supervisor.pid, number)
        assert process.how_ended(20) == f"was killed by SIGKILL{HINT}"
        assert not living(tmp_path)
        assert not os.listdir(tmp_path)


@linux
def test_one_whose_supervisor_is_killed_is_killed_too() -> None:
    with Process("tests.processes:sleeps") as process:
        process.channel.recv(5)
        os.kill(process._supervisor.pid, signal.SIGKILL)
        assert process.channel.recv(1) == b""  # the end of the only other holder
        assert process.how_ended(20) == f"was killed by SIGKILL{HINT}"


def test_a_folder_that_is_filled_ends_its_process(tmp_path: Path) -> None:
    began = time.monotonic()
    with Process("tests.processes:writes", scratch_in=str(tmp_path)) as process:
        assert process.how_ended(60) == FULL
    assert time.monotonic() - began < 60
    assert not os.listdir(tmp_path)


def _start(function: str, folder: Path) -> subprocess.Popen[bytes]:
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.processes", function],
        env=environment() | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"runs\n"
    return running


LEAVE = """
import os, sys
from cnncli.process.scratch import Scratch
scratch = Scratch(sys.argv[1])
os.chdir(scratch.path)
os.mkdir("empty", 0)
os.mkdir("full")
open("full/file", "w").close()
os.mkdir("full/d")
os.chmod("full", 0)
os.mkdir(b"M\\xfcller")
open(b"M\\xfcller/\\xff", "w").close()
os.symlink(sys.argv[2], "link")
os.mkfifo("pipe")
for depth in range(1500):
    os.mkdir("d")
    os.chdir("d")
open("file", "w").close()
os.chmod(".", 0)
os.chmod(scratch.path, 0)
scratch.remove()
"""


def test_a_folder_is_removed_whatever_is_in_it(tmp_path: Path) -> None:
    """Any depth, modes and names, as one to whom modes matter; a link's end stays."""
    place, kept = tmp_path / "place", tmp_path / "kept"
    place.mkdir()
    kept.mkdir()
    (kept / "file").write_text("kept")
    subprocess.run(
        [sys.executable, "-c", LEAVE, str(place), str(kept)],
        env=environment(),
        preexec_fn=be_ordinary,
        check=True,
    )
    assert not os.listdir(place)
    assert os.listdir(kept) == ["file"]


def test_a_folder_that_is_moved_is_emptied(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    Path(scratch.path, "file").touch()
    os.rename(scratch.path, tmp_path / "moved")
    scratch.remove()
    assert not os.listdir(tmp_path / "moved")

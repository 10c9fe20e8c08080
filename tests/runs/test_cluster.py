"""Cases on a real Dask scheduler with two workers, one of them killed in mid-run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import distributed  # noqa: F401  # what the commands below start: missing, this file fails
import pytest

from tests.cli.batches import cnn, descendants, environment, start, timeless

CONFIG = """
defaults: {layer: conv, tensors: {x: "normal:2x3x9x8", w: "normal:4x3x3x2"}}
cases:
  - name: grid
    sweep: {params.stride: [1, 2], params.padding: [0, 1, same], seed: SEEDS}
    gradcheck: true
  - {name: missing, tensors: {x: not-there.npy}}
  - {name: wrong, expect: {y: {sum: 1}}}
"""


class Cluster:
    """A scheduler and two workers, each started from the command line."""

    def __init__(self, folder: Path) -> None:
        self.log = (folder / "dask.log").open("wb")
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        flags = ("--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        self._start(folder, "scheduler", "--host", "127.0.0.1", *flags)
        deadline = time.monotonic() + 60
        while not (found := re.search(r"tcp://[\d.:]+", _text(file))):
            assert time.monotonic() < deadline, "no scheduler"
            time.sleep(0.1)
        self.address = found[0]
        self.workers = [
            self._start(folder, "worker", self.address, "--nthreads", "1", *quiet)
            for quiet in (("--no-dashboard", "--no-nanny"), ("--no-dashboard",))
        ]

    def _start(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=folder,
            env=environment(),
            stdout=self.log,
            stderr=self.log,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_worker_killed_in_mid_run_loses_nothing(
    tmp_path: Path, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("SEEDS", str(list(range(30)))))
    here = cnn("run", "c.yaml", "--results", "here.jsonl", "--quiet", "--jobs", 2, cwd=tmp_path)
    assert here.returncode == 2
    expected = timeless((tmp_path / "here.jsonl").read_text())
    assert len(expected) == 182
    flags = ("--scheduler", cluster.address, "--results", "there.jsonl", "--quiet")
    running = start("run", "c.yaml", *flags, cwd=tmp_path)
    request.addfinalizer(running.communicate)
    request.addfinalizer(running.kill)
    deadline = time.monotonic() + 120
    while _text(tmp_path / "there.jsonl").count("\n") < 10:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first = cluster.workers[0]
    used = descendants(first.pid)
    assert used, "cases run in a process of their own"
    os.kill(first.pid, signal.SIGKILL)
    out, err = running.communicate(timeout=240)
    assert running.returncode == 2, err
    found = timeless((tmp_path / "there.jsonl").read_text())
    assert found == expected, (out, err)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in used):
        assert time.monotonic() < deadline, "a case's process outlived its Dask worker"
        time.sleep(0.05)
    # A case that takes too long, there: it ends, and the others run.
    (tmp_path / "slow.yaml").write_text(
        """
cases:
  - name: slow
    layer: conv
    tensors: {x: "normal:8x64x96x96", w: "normal:128x64x7x7"}
  - {name: z, layer: pad, tensors: {x: "normal:1x1x2x3"}, params: {padding: 1}}
"""
    )
    flags = ("--scheduler", cluster.address, "--timeout", "0.5", "--json")
    done = cnn("run", "slow.yaml", *flags, cwd=tmp_path)
    assert '"status": "timeout"' in done.stdout.splitlines()[0]
    assert '"status": "done"' in done.stdout.splitlines()[1]


def test_nobody_at_the_address(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("SEEDS", "[1]"))
    done = cnn("run", "c.yaml", "--scheduler", "tcp://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 2
    assert "--scheduler: tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_dask(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("SEEDS", "[1]"))
    (tmp_path / "distributed.py").write_text("raise ImportError('not installed')")
    done = subprocess.run(
        [sys.executable, "-m", "cnncli", "run", "c.yaml", "--scheduler", "tcp://127.0.0.1:9"],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": f"{tmp_path}:{environment()['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'cnncli[dask]'" in done.stderr

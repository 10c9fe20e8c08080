"""Print how fast and how large batches are: `python -m tests.measure_batches`.

Rates are over the time after start-up (from the first result to the last), memory is the peak of
the largest process of a run (Linux). Rates are also given for a second of processor time, since a
machine that does other things at the same time gives a run less than a second a second.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.cli.batches import descendants, environment

SMALL = """
name: small
layer: conv
tensors: {x: "normal:2x3x9x8", w: "normal:4x3x3x2"}
backward: true
sweep:
  params.stride: [1, 2]
  params.padding: [0, 1, same, [0, 1], [1, 0]]
  seed: SEEDS
"""
LARGER = """
name: larger
layer: conv
tensors: {x: "normal:8x32x28x28", w: "normal:32x32x3x3"}
backward: true
sweep: {seed: SEEDS}
"""


class Run(NamedTuple):
    seconds: float
    """From the first result to the last."""
    processor: float
    peak: int
    median: float
    """Seconds that a case itself took."""


def measure(folder: Path, config: str, seeds: int, jobs: int) -> Run:
    (folder / "c.yaml").write_text(config.replace("SEEDS", str(list(range(seeds)))))
    command = [sys.executable, "-m", "cnncli", "run", "c.yaml", "--json", "--jobs", str(jobs)]
    before = _processor()
    running = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE)
    assert running.stdout is not None
    first, times, peak = 0.0, [], 0
    for number, line in enumerate(running.stdout):
        first = first or time.perf_counter()
        times.append(json.loads(line)["seconds"])
        if number % 97 == 0:
            peak = max(peak, _peak(running.pid))
    last = time.perf_counter()
    running.wait()
    return Run(last - first, _processor() - before, peak, sorted(times)[len(times) // 2])


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak(pid: int) -> int:
    """Return the largest peak of a process and of those that came of it, in KiB."""
    found = 0
    try:
        for process in (pid, *descendants(pid)):
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    found = max(found, int(line.split()[1]))
    except OSError:
        pass
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} processors, load {load:.1f} before this began")
        few = measure(folder, SMALL, 10, 1)
        for jobs in (1, 2):
            many = measure(folder, SMALL, 1000, jobs)
            print(
                f"10,000 cases, {jobs} job{'s' * (jobs > 1)}: "
                f"{10_000 / many.seconds:.0f} cases/s, {10_000 / many.seconds / jobs:.0f} a job; "
                f"{10_000 / many.processor:.0f} a second of processor time; "
                f"peak {many.peak / 1024:.1f} MiB, that of 100 cases {few.peak / 1024:.1f} MiB"
            )
        ratios = []
        for _ in range(3):
            one, two = (measure(folder, LARGER, 60, jobs) for jobs in (1, 2))
            ratios.append(one.seconds / two.seconds)
        print(
            f"60 cases of {one.median * 1000:.0f} ms: --jobs 2 is {sorted(ratios)[1]:.2f} times "
            f"--jobs 1 (median of {', '.join(f'{r:.2f}' for r in ratios)})"
        )


if __name__ == "__main__":
    main()

"""Runs that are ended from outside at random moments: what is done is kept, and nothing is left.

`CNNCLI_TEST_KILLS=20` kills so many runs of either kind; by default each signal comes once.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.batches import environment
from tests.processes import await_nothing, be_ordinary

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left is sought in /proc")

KILLS = int(os.environ.get("CNNCLI_TEST_KILLS", "4"))
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGINT)
STATUSES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGKILL: -9}

BATCH = """
layer: conv
tensors: {x: "normal:4x3x48x40", w: "normal:4x3x3x2"}
backward: true
sweep: {seed: [SEEDS], params.padding: [0, 1, 2]}
"""
CLASS = """
defaults: {layer: pad, tensors: {x: "normal:2x3x4x5"}, params: {padding: 1}}
cases:
  - {name: first, call: {y: "f(x, p)"}}
  - {name: second, call: {y: "g(x, p)"}}
"""
GOOD = """
import numpy as np
def f(x, p):
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
g = f
"""
DEAF = """
import signal
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
"""
DAEMON = """
import ctypes, time
libc = ctypes.CDLL(None)  # past what Python refuses
if libc.fork() == 0:
    libc.setsid()
    if libc.fork() == 0:
        time.sleep(300)
    libc._exit(0)
"""
SLEEPS = f"{DEAF}import time\ntime.sleep(300)\n"

# What a file does while it is loaded, and what its f does before it is right.
HOSTILE = {
    "right": ("", ""),
    "sleeps while loading": (SLEEPS, ""),
    "sleeps": (DEAF, "import time; time.sleep(300)"),
    "leaves a daemon while loading": (DAEMON, ""),
    "leaves a daemon": (f"{DEAF}def leave():\n    exec({DAEMON!r})\n", "leave()"),
    "fills a file": ("", "f = open('file', 'wb'); f.seek(256 << 20); f.write(b'x'); f.flush()"),
    "nests": ("import os\n", "[(os.mkdir('d'), os.chdir('d')) for _ in range(1500)]"),
    "nests while loading": ("import os\n[(os.mkdir('d'), os.chdir('d')) for _ in range(1500)]", ""),
    "locks": ("import os\n", "os.mkdir('d', 0); os.chmod('.', 0)"),
    "bytes": ("import os\n", "os.mkdir(b'M\\xfcller'); open(b'M\\xfcller/\\xff', 'w').close()"),
}  # fmt: skip


def write_class(folder: Path, names: list[str]) -> list[str]:
    """Write a class, and return what runs it."""
    (folder / "c.yaml").write_text(CLASS)
    (folder / "s").mkdir()
    for name in names:
        top, first = HOSTILE[name]
        text = f"{GOOD}{top}\nright = f\ndef f(x, p):\n    {first}\n    return right(x, p)\n"
        (folder / "s" / f"{name.replace(' ', '_')}.py").write_text(text)
    return ["c.yaml", "--against", "s", "--run-all", "--timeout", "1", "--max-memory", "1G"]


def write_batch(folder: Path, seeds: int) -> list[str]:
    """Write a batch, and return what runs it."""
    (folder / "c.yaml").write_text(BATCH.replace("SEEDS", ", ".join(map(str, range(seeds)))))
    return ["c.yaml"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a run whose temporary folder is `t`."""
    (folder / "t").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "cnncli", "run", *arguments],
        cwd=folder,
        env=environment() | {"TMPDIR": str(folder / "t")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=be_ordinary,  # noqa: PLW1509  # no threads here
    )


def results(path: Path) -> list[str]:
    """Return the lines of a results file without their times, in one order."""
    lines = []
    for line in path.read_text().splitlines():
        data = json.loads(line)
        data.pop("seconds")
        lines.append(json.dumps(data))
    return sorted(lines)


@pytest.mark.parametrize("kind", ["batch", "class"])
def test_killed_at_random_moments_it_resumes_to_equal_results_and_leaves_nothing(
    kind: str, tmp_path: Path
) -> None:
    if kind == "batch":
        arguments = write_batch(tmp_path, 60)
    else:
        arguments = write_class(tmp_path, [*HOSTILE][:5])  # the rest are a race with their time
    arguments += ["--jobs", "2", "--quiet"]
    began = time.monotonic()
    whole = start(tmp_path, *arguments, "--results", "whole.jsonl")
    _, said = whole.communicate(timeout=300)
    assert whole.returncode in (0, 1), said
    took = time.monotonic() - began
    await_nothing(tmp_path / "t")
    expected = results(tmp_path / "whole.jsonl")
    moments = random.Random(kind)
    arguments += ["--results", "r.jsonl", "--resume"]
    ended: dict[str, int] = {}
    for number in itertools.islice(itertools.cycle(SIGNALS), KILLS):
        running = start(tmp_path, *arguments)
        time.sleep(moments.uniform(0, 0.7 * took))
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
        # Before Python has set it up, a signal does what it always does.
        assert running.returncode in (0, 1, STATUSES[number], -number), said
        await_nothing(tmp_path / "t")
        if running.returncode in (0, 1):
            assert results(tmp_path / "r.jsonl") == expected
            (tmp_path / "r.jsonl").unlink()
        else:
            ended[number.name] = ended.get(number.name, 0) + 1
    print(f"{kind}: {KILLS} runs, ended by {ended}")
    last = start(tmp_path, *arguments)
    _, said = last.communicate(timeout=300)
    assert last.returncode == whole.returncode, said
    await_nothing(tmp_path / "t")
    assert results(tmp_path / "r.jsonl") == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_asked_to_end_it_writes_what_is_done_as_after_ctrl_c(number: int, tmp_path: Path) -> None:
    arguments = write_class(tmp_path, ["right", "sleeps while loading"])
    arguments[arguments.index("1")] = "60"
    running = start(tmp_path, *arguments, "--results", "r.jsonl", "--csv", "s.csv")
    deadline = time.monotonic() + 60
    while not ((tmp_path / "r.jsonl").exists() and len(results(tmp_path / "r.jsonl")) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(number)
    out, said = running.communicate(timeout=30)
    assert running.returncode == 128 + number
    name = signal.Signals(number).name
    assert said.splitlines()[-1] == f"error: ended by {name}; 1 of 2 submissions were judged"
    assert "s/right.py" in out
    _, row = (tmp_path / "s.csv").read_text().splitlines()
    assert row.startswith("s/right.py,2.0,2.0")
    await_nothing(tmp_path / "t", 1)


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As under nohup."""
    arguments = write_class(tmp_path, ["right", "sleeps while loading"])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = start(tmp_path, *arguments, "--quiet")
    finally:
        signal.signal(signal.SIGHUP, before)
    while running.poll() is None:
        running.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    assert (running.returncode, running.communicate()) == (1, ("", ""))


def test_a_hostile_class_has_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    names = list(HOSTILE)
    arguments = write_class(tmp_path, names)
    running = start(tmp_path, *arguments, "--json", "--jobs", "2")
    out, said = running.communicate(timeout=240)
    assert running.returncode == 1, said
    await_nothing(tmp_path / "t", 1)
    records = [json.loads(line) for line in out.splitlines()]
    found = {}
    for record in records:
        name = Path(record["implementation"]).stem.replace("_", " ")
        found[name, record["name"]] = record
    assert len(records) == len(found) == 2 * len(names)
    assert {name for name, _ in found} == set(names)
    assert found["right", "first"]["status"] == found["right", "second"]["status"] == "passed"
    reasons = {name: found[name, "first"].get("reason") for name in names}
    assert reasons["sleeps while loading"] == reasons["sleeps"] == "timeout"
    assert reasons["fills a file"] == "exception"
    notes = {n: str([c.get("note") for c in found[n, "first"]["checks"]]) for n in names}
    assert "File too large" in notes["fills a file"]


def test_a_sleeping_file_that_a_case_names_is_ended_with_its_time(tmp_path: Path) -> None:
    # A definition, which is carried out without --run-all.
    (tmp_path / "slow.py").write_text("import time\ndef f(x, p, wait=time.sleep(300)): pass\n")
    (tmp_path / "c.yaml").write_text(
        "{layer: pad, tensors: {x: 'normal:2x3x4x5'}, params: {padding: 1}, "
        "call: {y: 'f(x, p)'}, against: slow.py}"
    )
    began = time.monotonic()
    running = start(tmp_path, "c.yaml", "--timeout", "2", "--json")
    out, said = running.communicate(timeout=60)
    assert time.monotonic() - began < 30
    await_nothing(tmp_path / "t", 1)
    assert '"timeout"' in out, (out, said)


def test_a_folder_that_is_filled_costs_its_file(tmp_path: Path) -> None:
    arguments = write_class(tmp_path, ["right"])
    arguments[arguments.index("1")] = "60"
    fills = "for n in range(10**9):\n        open(str(n), 'w').close()"
    (tmp_path / "s" / "fills.py").write_text(f"def f(x, p):\n    {fills}\n")
    out, said = start(tmp_path, *arguments, "--json").communicate(timeout=60)
    await_nothing(tmp_path / "t", 1)
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["status"] for one in found] == ["failed", "failed", "passed", "passed"], said
    words = "its process was ended, since it wrote more than 1 GiB or 2,000 files"
    assert found[0]["cause"] == f"exception: {words}"

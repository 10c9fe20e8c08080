"""`run` over many cases as a user meets it: jobs, time, kills, Ctrl-C, resume and shards."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.batches import cnn, descendants, records, start, timeless

GRID = """
defaults: {layer: conv, tensors: {x: "normal:2x3x9x8", w: "normal:4x3x3x2"}}
cases:
  - name: grid
    sweep: {params.stride: [1, 2, [2, 1]], params.padding: [0, 1, same], seed: [1, 2, 3, 4]}
    backward: true
  - {name: missing, tensors: {x: not-there.npy}}
  - {name: wrong, expect: {y: {sum: 1}}}
  - name: impossible
    sweep: {params.dilation: [1, 9]}
    skip_invalid: true
  - name: random
    layer: bn
    tensors: {x: "normal:4x3x5x2", w: none}
"""
# A case that takes seconds, and small ones around it.
SLOW = """
cases:
  - {name: a, layer: pad, tensors: {x: "normal:1x1x2x3"}, params: {padding: 1}}
  - name: slow
    layer: conv
    tensors: {x: "normal:8x64x96x96", w: "normal:128x64x7x7"}
  - {name: z, layer: pad, tensors: {x: "normal:1x1x2x3"}, params: {padding: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "grid.yaml").write_text(GRID)
    (tmp_path / "slow.yaml").write_text(SLOW)
    return tmp_path


def test_results_are_the_same_bytes_for_any_number_of_jobs(folder: Path) -> None:
    runs = []
    for jobs in (1, 2, 3):
        done = cnn("run", "grid.yaml", "--json", "--values", "--jobs", jobs, cwd=folder)
        assert done.returncode == 2, done.stderr
        runs.append(timeless(done.stdout))
    assert runs[0] == runs[1] == runs[2]
    statuses = [record["status"] for record in records("\n".join(runs[0]))]
    assert statuses == ["done"] * 36 + ["invalid", "failed", "done", "skipped", "invalid"]


def test_a_case_run_alone_is_the_same_bytes_too(folder: Path) -> None:
    big = 'layer: conv\ntensors: {x: "normal:4x32x40x40", w: "normal:48x32x3x3"}\nbackward: true\n'
    (folder / "one.yaml").write_text(big)
    (folder / "two.yaml").write_text(GRID)
    alone = cnn("run", "one.yaml", "--json", "--values", cwd=folder)
    beside = cnn("run", "one.yaml", "two.yaml", "--json", "--values", "--jobs", 2, cwd=folder)
    assert timeless(alone.stdout)[0] == timeless(beside.stdout)[0]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_case_that_takes_too_long_costs_no_other(folder: Path, jobs: int) -> None:
    done = cnn("run", "slow.yaml", "--json", "--jobs", jobs, "--timeout", "0.5", cwd=folder)
    found = records(done.stdout)
    assert [(r["name"], r["status"]) for r in found] == [
        ("a", "done"),
        ("slow", "timeout"),
        ("z", "done"),
    ]
    assert found[1]["error"]["message"] == "took longer than --timeout 0.5 seconds"
    assert found[1]["error"]["where"].startswith("slow.yaml:")
    assert found[1]["layer"] == "conv"
    assert found[1]["reproduce"] == "cnncli run slow.yaml::slow --timeout 0.5"
    assert done.returncode == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_worker_costs_its_case_and_the_run_goes_on(folder: Path, jobs: int) -> None:
    running = start("run", "slow.yaml", "--json", "--jobs", jobs, cwd=folder)
    assert running.stdout is not None
    assert '"name": "a"' in running.stdout.readline()
    time.sleep(0.3)
    workers = descendants(running.pid)
    busiest = max(workers, key=_processor_time)
    os.kill(busiest, signal.SIGKILL)
    out, err = running.communicate(timeout=60)
    found = records(out)
    assert [(r["name"], r["status"]) for r in found] == [("slow", "crashed"), ("z", "done")]
    assert "killed by SIGKILL" in found[0]["error"]["message"]
    assert "killed by SIGKILL" in err
    assert running.returncode == 3


def _processor_time(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_memory_beyond_the_bound_is_that_cases_own(folder: Path) -> None:
    done = cnn("run", "slow.yaml", "--json", "--max-memory", "20M", cwd=folder)
    found = records(done.stdout)
    assert [r["status"] for r in found] == ["done", "invalid", "done"]
    assert "--max-memory allows: 20.0 MiB" in found[1]["error"]["message"]
    assert found[1]["reproduce"] == "cnncli run slow.yaml::slow --max-memory 20M"
    assert done.returncode == 2


def test_ctrl_c_keeps_what_is_done(folder: Path) -> None:
    flags = ("--jobs", 2, "--results", "r.jsonl", "--junit", "r.xml")
    running = start("run", "slow.yaml", *flags, cwd=folder)
    deadline = time.monotonic() + 30
    while not _lines(folder / "r.jsonl"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = descendants(running.pid)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert err.endswith("error: interrupted\n")
    assert "1 case: 1 done" in out
    assert [r["name"] for r in records((folder / "r.jsonl").read_text())] == ["a"]
    assert 'tests="1"' in (folder / "r.xml").read_text()
    for worker in workers:
        assert not Path(f"/proc/{worker}").exists()


def test_workers_end_when_their_run_is_killed(folder: Path) -> None:
    running = start("run", "slow.yaml", "--jobs", 2, "--results", "r.jsonl", cwd=folder)
    deadline = time.monotonic() + 30
    while not _lines(folder / "r.jsonl"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = descendants(running.pid)
    assert workers
    running.kill()
    running.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.05)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_ten_moments_and_resumed_it_ends_as_if_undisturbed(
    folder: Path, jobs: int
) -> None:
    # Cases of some milliseconds, so that the run cannot end between a look and the kill.
    config = GRID.replace("seed: [1, 2, 3, 4]", f"seed: {list(range(80))}")
    (folder / "grid.yaml").write_text(config.replace("2x3x9x8", "4x3x48x40"))
    whole = cnn("run", "grid.yaml", "--results", "whole.jsonl", "--quiet", cwd=folder)
    assert whole.returncode == 2
    expected = timeless((folder / "whole.jsonl").read_text())
    assert len(expected) == 725
    flags = ("--results", "r.jsonl", "--resume", "--quiet", "--jobs", jobs)
    moments = random.Random(20 + jobs)
    for _ in range(10):
        target = _lines(folder / "r.jsonl") + moments.randrange(1, 30)
        running = start("run", "grid.yaml", *flags, cwd=folder)
        deadline = time.monotonic() + 60
        while _lines(folder / "r.jsonl") < target:
            assert time.monotonic() < deadline
            assert running.poll() is None, "the run ended before it could be killed"
            time.sleep(moments.random() * 0.005)
        running.kill()
        running.communicate()
    last = cnn("run", "grid.yaml", *flags, cwd=folder)
    assert last.returncode == 2
    assert timeless((folder / "r.jsonl").read_text()) == expected


def test_resuming_drops_a_torn_line_and_runs_what_it_was(folder: Path) -> None:
    cnn("run", "grid.yaml", "--results", "r.jsonl", "--quiet", cwd=folder)
    whole = (folder / "r.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    for cut in (1, 10, 100, len(lines[20]) - 1):
        (folder / "r.jsonl").write_text("".join(lines[:20]) + lines[20][:cut])
        done = cnn("run", "grid.yaml", "--results", "r.jsonl", "--resume", cwd=folder)
        assert timeless((folder / "r.jsonl").read_text()) == timeless(whole)
        assert "20 of 41 cases are there; 21 to run" in done.stderr or cut == len(lines[20]) - 1
    # A whole result that only lacks its line's end is kept.
    assert "21 of 41 cases are there; 20 to run" in done.stderr


def test_resuming_counts_failures_from_before_and_runs_nothing_again(folder: Path) -> None:
    cnn("run", "grid.yaml", "--results", "r.jsonl", "--quiet", "--match", "wrong", cwd=folder)
    before = (folder / "r.jsonl").read_bytes()
    flags = ("--results", "r.jsonl", "--resume", "--match", "wrong")
    done = cnn("run", "grid.yaml", *flags, "--junit", "r.xml", cwd=folder)
    assert done.returncode == 1
    assert "1 case: 1 failed; 1 checks; 1 kept from before" in done.stdout
    assert (folder / "r.jsonl").read_bytes() == before
    assert 'failures="1"' in (folder / "r.xml").read_text()


def test_resuming_runs_again_what_has_changed(folder: Path) -> None:
    np.save(folder / "x.npy", np.arange(24.0).reshape(1, 2, 3, 4))
    text = "layer: pad\ntensors: {x: x.npy}\nsweep: {params.padding: [1, 2]}\n"
    (folder / "c.yaml").write_text(text)
    flags = ("--results", "r.jsonl", "--resume")

    def again() -> str:
        done = cnn("run", "c.yaml", *flags, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert len((folder / "r.jsonl").read_text().splitlines()) == 2
        return done.stderr

    assert "0 of 2 cases are there; 2 to run" in again()
    assert "2 of 2 cases are there" in again()
    np.save(folder / "x.npy", np.arange(24.0).reshape(1, 2, 3, 4) + 1)  # the content of a file
    assert "0 of 2 cases are there" in again()
    assert '"max": 24.0' in (folder / "r.jsonl").read_text()
    (folder / "c.yaml").write_text(text + "seed: 4\n")  # the case
    assert "0 of 2 cases are there" in again()
    assert "2 of 2 cases are there" in again()


def test_timeouts_are_tried_again(folder: Path) -> None:
    flags = ("--results", "r.jsonl", "--resume", "--quiet")
    first = cnn("run", "slow.yaml", *flags, "--timeout", "0.5", cwd=folder)
    assert first.returncode == 1
    second = cnn("run", "slow.yaml", *flags, cwd=folder)
    assert second.returncode == 0, second.stderr
    found = records((folder / "r.jsonl").read_text())
    assert sorted((r["name"], r["status"]) for r in found) == [
        ("a", "done"),
        ("slow", "done"),
        ("z", "done"),
    ]


def test_shards_joined_equal_the_whole(folder: Path) -> None:
    cnn("run", "grid.yaml", "--results", "whole.jsonl", "--quiet", cwd=folder)
    whole = (folder / "whole.jsonl").read_text()
    for count in (1, 2, 3, 7):
        parts = []
        for number in range(1, count + 1):
            name, shard = f"{number}.of.{count}", f"{number}/{count}"
            cnn("run", "grid.yaml", "--results", name, "--quiet", "--shard", shard, cwd=folder)
            parts.append((folder / name).read_text())
        assert timeless("".join(parts)) == timeless(whole)
        assert all(parts)
    # Two of three parts, and one of them twice: the third is what is missing.
    two = [(folder / f"{number}.of.3").read_text() for number in (1, 3, 1)]
    (folder / "all.jsonl").write_text("".join(two))
    done = cnn("run", "grid.yaml", "--results", "all.jsonl", "--resume", cwd=folder)
    assert "27 of 41 cases are there; 14 to run: grid/" in done.stderr
    assert sorted(timeless((folder / "all.jsonl").read_text())) == sorted(timeless(whole))


def test_an_empty_shard_is_well(folder: Path) -> None:
    done = cnn("run", "slow.yaml", "--match", "a", "--shard", "1/9", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_fail_fast_stops_at_the_first_in_order(folder: Path) -> None:
    for jobs in (1, 2):
        done = cnn("run", "grid.yaml", "--json", "--fail-fast", "--jobs", jobs, cwd=folder)
        assert [r["status"] for r in records(done.stdout)] == ["done"] * 36 + ["invalid"]


def test_a_file_that_is_no_results_file_is_left_alone(folder: Path) -> None:
    (folder / "notes.txt").write_text("dear diary\n")
    done = cnn("run", "grid.yaml", "--results", "notes.txt", "--resume", cwd=folder)
    assert done.returncode == 2
    assert "notes.txt:1: this is not a line of results" in done.stderr
    assert (folder / "notes.txt").read_text() == "dear diary\n"


def test_two_runs_cannot_write_one_file(folder: Path) -> None:
    running = start("run", "slow.yaml", "--results", "r.jsonl", cwd=folder)
    deadline = time.monotonic() + 30
    while not _lines(folder / "r.jsonl"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    done = cnn("run", "slow.yaml", "--results", "r.jsonl", "--resume", cwd=folder)
    running.kill()
    running.communicate()
    assert done.returncode == 2
    assert "r.jsonl is being written by another run" in done.stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--shard", "0/3"), "--shard: must be K/N"),
        (("--shard", "4/3"), "--shard: must be K/N"),
        (("--jobs", "0"), "--jobs: must be a whole number from 1"),
        (("--timeout", "-1"), "--timeout: must be a number of seconds above 0"),
        (("--timeout", "nan"), "--timeout: must be a number of seconds above 0"),
        (("--resume",), "--resume: needs --results"),
        (("--set", "params.stride"), "--set: must be KEY=VALUE"),
        (("--set", "stride=2"), "'stride' is no key of a case"),
        (("--set", "name=2"), "'name' is no key of a case"),
        (("--set", "seed=1", "--set", "seed=2"), "seed is set twice"),
        (("--list", "--jobs", "2"), "--jobs: does not apply to --list"),
        (("--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"), "--jobs: the scheduler's own"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_flags_that_cannot_be(folder: Path, flags: tuple[str, ...], message: str) -> None:
    done = cnn("run", "grid.yaml", *flags, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr


def test_set_overrides_every_case_and_stands_in_the_reproduce_line(folder: Path) -> None:
    done = cnn(
        "run", "slow.yaml", "--match", "a", "--set", "params.padding=0:1,2:1", "--json", cwd=folder
    )
    (found,) = records(done.stdout)
    assert found["params"]["padding"] == [[0, 1], [2, 1]]
    assert found["reproduce"] == "cnncli run slow.yaml::a --set params.padding=0:1,2:1"
    swept = cnn("run", "grid.yaml", "--match", "grid/", "--set", "seed=3", "--json", cwd=folder)
    assert swept.returncode == 2
    assert "sweeps over seed" in swept.stderr


def test_no_gradcheck_wins_over_the_cases(folder: Path) -> None:
    (folder / "g.yaml").write_text(
        "{layer: conv, gradcheck: true, tensors: {x: 'normal:1x2x4x3', w: 'normal:3x2x2x2'}}"
    )
    done = cnn("run", "g.yaml", "--no-gradcheck", "--json", cwd=folder)
    (found,) = records(done.stdout)
    assert (found["status"], found["checks"]) == ("done", [])
    assert found["reproduce"] == "cnncli run g.yaml::g --no-gradcheck"


def test_all_skipped_is_not_well(folder: Path) -> None:
    text = GRID.replace("params.dilation: [1, 9]", "params.dilation: [8, 9]")
    (folder / "grid.yaml").write_text(text)
    done = cnn("run", "grid.yaml", "--match", "impossible", cwd=folder)
    assert done.returncode == 2
    assert "all 2 cases were skipped, so nothing was run" in done.stderr
    one = "layer: pool\nparams: {kernel: 9}\ntensors: {x: 'ones:1x1x4x4'}\nskip_invalid: true\n"
    (folder / "one.yaml").write_text(one)
    done = cnn("run", "one.yaml", cwd=folder)
    assert done.returncode == 2
    assert "the case was skipped, so nothing was run" in done.stderr


def test_skipping_hides_no_mistake(folder: Path) -> None:
    (folder / "c.yaml").write_text("""
defaults: {layer: conv, tensors: {x: "normal:2x3x9x8", w: "normal:4x3x3x2"}, skip_invalid: true}
cases:
  - {name: window, params: {dilation: 9}}
  - {name: refused, params: {output_padding: 1}}
  - {name: channels, tensors: {w: "normal:4x2x3x2"}}
  - {name: key, params: {strid: 1}}
  - {name: value, params: {stride: x}}
  - {name: file, tensors: {x: not-there.npy}}
  - {name: bias, expect: {db: {sum: 0}}}
  - {name: memory, tensors: {x: "normal:1000x3x1000x1000"}}
""")
    done = cnn("run", "c.yaml", "--json", "--max-memory", "1G", cwd=folder)
    found = {r["name"]: r["status"] for r in records(done.stdout)}
    impossible = dict.fromkeys(("window", "refused", "channels"), "skipped")
    mistakes = dict.fromkeys(("key", "value", "file", "bias", "memory"), "invalid")
    assert found == impossible | mistakes
    assert done.returncode == 2
    listed = cnn("run", "c.yaml", "--list", "--max-memory", "1G", cwd=folder)
    assert "0 cases would run, 3 would be skipped" in listed.stdout
    assert listed.stderr.count("error: c.yaml:") == 5
    assert listed.returncode == 2


def test_list_shows_shapes_arithmetic_and_memory_and_runs_nothing(folder: Path) -> None:
    done = cnn("run", "slow.yaml", "grid.yaml", "--list", "--json", cwd=folder)
    found = {r["name"]: r for r in records(done.stdout)}
    slow = found["slow"]
    assert slow["shapes"] == {
        "x": [8, 64, 96, 96],
        "w": [128, 64, 7, 7],
        "y": [8, 128, 90, 90],
    }
    # A product and a sum for every output and every element of a filter.
    assert slow["operations"] == 2 * (8 * 128 * 90 * 90) * (64 * 7 * 7)
    assert slow["bytes"] > 8 * (8 * 64 * 96 * 96 + 8 * 128 * 90 * 90)
    # Forward, and as much for each of dx and dw.
    assert found["grid/stride=1,padding=0,seed=1"]["operations"] == 3 * 2 * (2 * 4 * 7 * 7) * 18
    assert "grid.yaml:7:34: x: not-there.npy: there is no such file" in done.stderr
    assert done.returncode == 2


def test_ascii_streams_do_not_crash(folder: Path) -> None:
    text = "layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}"
    (folder / "c.yaml").write_text(f"cases: [{{name: a→, {text}}}, {{name: b→, x: 1}}]", "utf-8")
    for flags in ((), ("--jobs", "2"), ("--list",), ("--results", "r.jsonl", "--resume")):
        done = cnn("run", "c.yaml", *flags, cwd=folder, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert done.returncode == 2, done.stderr
        assert "c.yaml::a\\u2192" in done.stdout

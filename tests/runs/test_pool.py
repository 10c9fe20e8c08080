"""A pool of processes: order, replacement, time and memory, with work that misbehaves for real."""

from __future__ import annotations

import os
import signal
import time

import pytest

from cnncli.process.start import NotStartedError
from cnncli.process.threads import ONE_THREAD
from cnncli.runs.pool import Pool

Task = tuple[str, float]


def work(task: Task) -> str:
    what, amount = task
    if what == "sleep":
        time.sleep(amount)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "exit":
        os._exit(int(amount))
    elif what == "raise":
        raise RuntimeError("on purpose")
    elif what == "allocate":
        return f"{len(bytearray(int(amount)))} bytes"
    elif what == "pid":
        return str(os.getpid())
    elif what == "threads":
        return ",".join(os.environ.get(name, "") for name in ONE_THREAD)
    elif what == "print":
        print("noise")
    return f"{what} {amount:g}"


def lost(task: Task, status: str, reason: str, seconds: float) -> str:
    return f"{status} {task[0]} {task[1]:g}: {reason}"


def pool(jobs: int, **more: float) -> Pool[Task, str]:
    timeout, bound = more.get("timeout"), more.get("max_memory")
    memory = None if bound is None else int(bound)
    return Pool(work=work, lost=lost, jobs=jobs, timeout=timeout, max_memory=memory)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_answers_come_in_the_order_of_the_tasks(jobs: int) -> None:
    # The earlier a task, the longer it takes, so that they end in the opposite order.
    tasks = [("sleep", 0.05 * (6 - i)) for i in range(6)] + [("nothing", i) for i in range(40)]
    with pool(jobs) as running:
        assert list(running.run(tasks)) == [f"{what} {amount:g}" for what, amount in tasks]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_process_costs_its_own_task_only(jobs: int) -> None:
    tasks = [("nothing", 1), ("kill", 2), ("nothing", 3), ("exit", 7), ("raise", 5), ("nothing", 6)]
    with pool(jobs) as running:
        answers = list(running.run(tasks))
    assert answers == [
        "nothing 1",
        "crashed kill 2: its worker process was killed by SIGKILL, "
        "as the system does where memory runs out",
        "nothing 3",
        "crashed exit 7: its worker process ended with exit status 7",
        "crashed raise 5: RuntimeError: on purpose",
        "nothing 6",
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_takes_too_long_is_ended_and_the_next_runs(jobs: int) -> None:
    tasks = [("sleep", 60), ("nothing", 1), ("sleep", 0.01), ("sleep", 61), ("nothing", 2)]
    began = time.monotonic()
    with pool(jobs, timeout=0.5) as running:
        answers = list(running.run(tasks))
    assert time.monotonic() - began < 20
    reason = "took longer than --timeout 0.5 seconds"
    assert answers == [
        f"timeout sleep 60: {reason}",
        "nothing 1",
        "sleep 0.01",
        f"timeout sleep 61: {reason}",
        "nothing 2",
    ]


def test_time_is_counted_from_a_tasks_own_beginning() -> None:
    # Each waits in its process for the one before it, and the two together take too long.
    with pool(1, timeout=0.9) as running:
        assert list(running.run([("sleep", 0.6)] * 3)) == ["sleep 0.6"] * 3


def test_memory_beyond_the_bound_costs_its_own_task_only() -> None:
    tasks = [("allocate", 1e6), ("allocate", 8e9), ("allocate", 2e6)]
    with pool(1, max_memory=1e8) as running:
        answers = list(running.run(tasks))
    assert answers == [
        "1000000 bytes",
        "crashed allocate 8e+09: out of memory",
        "2000000 bytes",
    ]


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def tasks() -> object:
        nonlocal taken
        for i in range(100_000):
            taken += 1
            yield ("nothing", i)

    with pool(2) as running:
        answers = running.run(tasks())  # type: ignore[arg-type]
        assert next(answers) == "nothing 0"
    assert taken < 2000


def test_a_slow_first_task_does_not_make_the_rest_pile_up() -> None:
    taken = []

    def tasks() -> object:
        yield ("sleep", 1.0)
        for i in range(5000):
            taken.append(i)
            yield ("nothing", i)

    with pool(2) as running:
        answers = running.run(tasks())  # type: ignore[arg-type]
        assert next(answers) == "sleep 1"
        assert len(taken) < 1000
        assert sum(1 for _ in answers) == 5000


def test_processes_end_with_the_pool() -> None:
    with pool(2) as running:
        pids = {int(answer) for answer in running.run([("pid", 0)] * 20)}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_arithmetic_has_one_thread() -> None:
    with pool(1) as running:
        (answer,) = running.run([("threads", 0)])
    assert answer == ",".join(["1"] * len(ONE_THREAD))


def test_what_a_worker_prints_is_no_result(capfd: pytest.CaptureFixture[str]) -> None:
    with pool(1) as running:
        assert list(running.run([("print", 0)])) == ["print 0"]
    captured = capfd.readouterr()
    assert captured.out == ""


def test_processes_that_cannot_begin_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pool(1) as running, pytest.raises(NotStartedError, match="ended with exit status 1"):
        list(running.run([("nothing", 0)]))

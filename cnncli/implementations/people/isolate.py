"""Running one submission in a process of its own: limits, a scratch folder, and what came back."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnncli.implementations.base import Computed, Trouble
from cnncli.implementations.people.channel import GarbledError, pack, read_array, unpack
from cnncli.layers.base import Shape, Tensors

START_SECONDS = 60.0
"""How long Python and NumPy may take to start, on a machine that is busy."""
GRACE_SECONDS = 5.0
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from cnncli.implementations.people.child import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)
_ENDED = "its process ended"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a submission may use: seconds a case (and for loading), bytes of memory."""

    seconds: float = 10.0
    memory: int = 2 << 30
    result_bytes: int = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Work:
    """One case as it is sent: calls with parameters put in, and the tensors they use."""

    calls: list[dict[str, Any]]
    tensors: Tensors


def run_isolated(
    path: Path,
    works: Sequence[Work],
    limits: Limits,
    *,
    run_all: bool = False,
    siblings: bool = False,
    again: bool = True,
) -> list[Computed]:
    """Return what the file's functions make of each case; whatever it does, one for each.

    With `siblings`, modules beside the file may be imported. With `again`, quick cases are called
    a second time, after a call with other numbers.
    """
    token = secrets.token_hex(16)
    blobs: list[bytes] = []
    at = 0
    cases = []
    for work in works:
        tensors = {}
        for name, array in work.tensors.items():
            data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            tensors[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "at": at}
            blobs.append(data)
            at += len(data)
        cases.append({"calls": work.calls, "tensors": tensors})
    path = path.resolve()
    job = {
        "token": token,
        "path": str(path),
        "folder": str(path.parent) if siblings else None,
        "run_all": run_all,
        "memory": limits.memory,
        "seconds": limits.seconds,
        "limit": limits.result_bytes,
        "again": again,
        "cases": cases,
    }
    with _process(pack(job, b"".join(blobs))) as (process, stream):
        loading, found, trouble = _follow(stream, token, len(works), limits)
        if trouble is None and len(found) < len(works):
            trouble = Trouble(reason="exception", message=_how_ended(process))
    found += [Computed(stored=None, trouble=trouble)] * (len(works) - len(found))
    return [replace(one, notes=loading.notes, broken=loading.broken) for one in found]


def _how_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return "it closed the channel of its results"
    how = f"exit status {code}" if code >= 0 else f"signal {-code}"
    return f"{_ENDED} with {how} outside a call (while loading, or by its own hand)"


@contextlib.contextmanager
def _process(job: bytes) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the process in an empty folder, and leave nothing of it behind."""
    scratch = tempfile.mkdtemp(prefix="cnncli-")
    job_read, job_write = os.pipe()
    result_read, result_write = os.pipe()
    paths = [os.path.abspath(p) for p in sys.path if p]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": scratch,
        "TMPDIR": scratch,
        "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0",
        **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
    }
    environment |= {k: v for k, v in os.environ.items() if k in ("LD_LIBRARY_PATH", "SYSTEMROOT")}
    arguments = [sys.executable, "-I", "-B", "-W", "ignore", "-c", _BOOT, json.dumps(paths)]
    try:
        process = subprocess.Popen(
            [*arguments, str(job_read), str(result_write)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
            env=environment,
            pass_fds=(job_read, result_write),
            start_new_session=True,
        )
    finally:
        os.close(job_read)
        os.close(result_write)
    writer = threading.Thread(target=_write_all, args=(job_write, job), daemon=True)
    writer.start()
    try:
        yield process, result_read
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(result_read)
        writer.join(GRACE_SECONDS)
        _remove(scratch)


def _write_all(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError), os.fdopen(fd, "wb") as stream:
        stream.write(data)


def _remove(scratch: str) -> None:
    """Remove the folder, also where modes were changed within it."""

    def unlock(function: Any, path: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)
            os.chmod(path, 0o700)
            function(path)

    shutil.rmtree(scratch, onerror=unlock)
    shutil.rmtree(scratch, ignore_errors=True)


def _follow(
    fd: int, token: str, count: int, limits: Limits
) -> tuple[Computed, list[Computed], Trouble | None]:
    """Read until the last case, the end, a deadline or nonsense.

    Returns what loading showed, what each case gave as far as it came, and what went wrong.
    """
    buffer = bytearray()
    loading = Computed()
    found: list[Computed] = []
    stage, deadline = "starting", time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while len(found) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                return loading, found, Trouble(reason="timeout", message=f"while {stage}")
            if not selector.select(left):
                continue
            block = os.read(fd, 1 << 20)
            if not block:
                return loading, found, None
            buffer += block
            try:
                while (message := unpack(buffer)) is not None:
                    head, body = message
                    if head.get("token") != token:
                        raise GarbledError("not from the process that was started")
                    if head.get("kind") == "started":
                        stage, deadline = "loading", time.monotonic() + limits.seconds
                    elif head.get("kind") == "loaded":
                        loading = Computed(
                            notes=_texts(head, "notes"), broken=_texts(head, "broken")
                        )
                    elif head.get("kind") == "case":
                        found.append(_computed(head, body))
                    if head.get("kind") in ("loaded", "case"):
                        stage = "running"
                        deadline = time.monotonic() + limits.seconds + GRACE_SECONDS
            except GarbledError as error:
                text = f"the channel of its results was written to by something else: {error}"
                return loading, found, Trouble(reason="exception", message=text)
    return loading, found, None


def _texts(head: dict[str, Any], key: str) -> tuple[str, ...]:
    found = head.get(key)
    return tuple(str(one)[:500] for one in found) if isinstance(found, list) else ()


def _computed(head: dict[str, Any], body: bytes) -> Computed:
    """Return a message about a case as what was computed; raise GarbledError."""
    results, error = head.get("results"), head.get("error")
    if not isinstance(results, dict):
        raise GarbledError("no results")
    tensors: Tensors = {}
    shapes: dict[str, Shape] = {}
    refused: dict[str, str] = {}
    for name, about in results.items():
        if not isinstance(about, dict):
            raise GarbledError("no result")
        if "refused" in about:
            refused[name] = str(about["refused"])[:300]
        elif "at" in about:
            tensors[name] = read_array(about, body)
        else:
            shape = about.get("shape")
            if not isinstance(shape, list) or not all(type(n) is int for n in shape):
                raise GarbledError("no shape")
            shapes[name] = tuple(shape)
    trouble = None
    if isinstance(error, dict):
        known = {key: str(error[key])[:500] for key in ("message", "function", "line", "text")
                 if error.get(key) is not None}  # fmt: skip
        reason = error.get("reason")
        if reason not in ("exception", "timeout", "out of memory", "missing"):
            raise GarbledError("no reason")
        trouble = Trouble(reason=reason, defined=_texts(error, "defined"), **known)
    seconds = head.get("seconds")
    return Computed(
        tensors=tensors,
        stored=None,
        shapes=shapes,
        refused=refused,
        changed=_texts(head, "changed"),
        unsteady=_texts(head, "unsteady"),
        trouble=trouble,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )

"""Running one submission in a process of its own: limits, a scratch folder, and what came back."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnncli.implementations.base import Computed, Trouble
from cnncli.implementations.people.channel import GarbledError, pack, read_array, unpack
from cnncli.layers.base import Shape, Tensors
from cnncli.process.endings import FULL
from cnncli.process.start import NotStartedError, Process
from cnncli.process.threads import ONE_THREAD

START_SECONDS = 60.0
"""How long Python and NumPy may take to start, on a machine that is busy."""
GRACE_SECONDS = 5.0
_OPTIONS = ("-I", "-B", "-W", "ignore")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
_ENVIRONMENT = {"LANG": "C.UTF-8", "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", **ONE_THREAD}


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
    loading, trouble = Computed(), None
    found: list[Computed] = []
    environment = {k: v for k, v in os.environ.items() if k in _PASSED_ON} | _ENVIRONMENT
    try:
        with Process(
            "cnncli.implementations.people.child:main",
            options=_OPTIONS,
            environment=environment,
            scratch_in=tempfile.gettempdir(),
            is_quiet=True,
        ) as process:
            loading, found, trouble = _follow(
                process.channel, pack(job, b"".join(blobs)), token, len(works), limits
            )
            if trouble is None and len(found) < len(works):
                how = process.how_ended(GRACE_SECONDS)
                text = f"its process {how}"
                if how is None:
                    text = "it closed the channel of its results"
                elif how != FULL:
                    text += " outside a call (while loading, or by its own hand)"
                trouble = Trouble(reason="exception", message=text)
    except NotStartedError as error:
        trouble = Trouble(reason="exception", message=f"its process {error}")
    found += [Computed(stored=None, trouble=trouble)] * (len(works) - len(found))
    return [replace(one, notes=loading.notes, broken=loading.broken) for one in found]


def _follow(
    channel: socket.socket, job: bytes, token: str, count: int, limits: Limits
) -> tuple[Computed, list[Computed], Trouble | None]:
    """Hand over the job; read until the last case, the end, a deadline or nonsense.

    Returns what loading showed, what each case gave as far as it came, and what went wrong.
    """
    buffer = bytearray()
    loading = Computed()
    found: list[Computed] = []
    stage, deadline = "starting", time.monotonic() + START_SECONDS
    try:
        channel.settimeout(START_SECONDS)
        channel.sendall(job)
        channel.shutdown(socket.SHUT_WR)
        while len(found) < count:
            channel.settimeout(max(1e-3, deadline - time.monotonic()))
            block = channel.recv(1 << 20)
            if not block:
                break
            buffer += block
            while (message := unpack(buffer)) is not None:
                head, body = message
                if head.get("token") != token:
                    raise GarbledError("not from the process that was started")
                kind = head.get("kind")
                if kind == "started":
                    stage, deadline = "loading", time.monotonic() + limits.seconds
                elif kind == "loaded":
                    loading = Computed(notes=_texts(head, "notes"), broken=_texts(head, "broken"))
                elif kind == "case":
                    found.append(_computed(head, body))
                if kind in ("loaded", "case"):
                    stage = "running"
                    deadline = time.monotonic() + limits.seconds + GRACE_SECONDS
    except TimeoutError:
        return loading, found, Trouble(reason="timeout", message=f"while {stage}")
    except GarbledError as error:
        text = f"the channel of its results was written to by something else: {error}"
        return loading, found, Trouble(reason="exception", message=text)
    except OSError:
        pass  # it ended before it had read the job, or was to be read
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

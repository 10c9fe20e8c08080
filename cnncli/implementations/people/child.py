"""The process of one submission: it loads the file, and forks once for every case.

A case that ends its process, hangs or fills memory so costs that case alone, and what it leaves in
globals is gone before the next. Runs with nothing but a socket to us; see `isolate`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import select
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.implementations.people.channel import GarbledError, pack, read_array, unpack
from cnncli.implementations.people.guard import Gate, bound_resources
from cnncli.implementations.people.loading import Loaded, describe, load, skipped_name
from cnncli.process.endings import how_ended

# Held before anything of the submission runs, which may put others in their place.
_asarray, _ascontiguous, _frombuffer = np.asarray, np.ascontiguousarray, np.frombuffer
_ndarray, _abs, _isfinite, _seed = np.ndarray, np.abs, np.isfinite, np.random.seed
_errstate, _isnan, _write, _exit = np.errstate, np.isnan, os.write, os._exit

AGAIN_SHARE, AGAIN_SECONDS, AGAIN_SLOWER, AGAIN_BYTES = 0.2, 2.0, 10.0, 32 << 20
"""A case is called again where it took this share of its time limit at most and gave no more bytes;
that may take these seconds, or so many times what the case took."""
ROUNDING = {"f2": 2e-2, "f4": 1e-5, "f8": 1e-9}
"""What a function may differ from itself by, relative to its largest element, by type."""

Form = Any


class RefusedError(Exception):
    """A result that is no array of numbers; the text says what it is."""


def main(channel: int) -> None:
    """Read the job from a socket to its end, carry it out, and write what comes of it."""
    buffer = bytearray()
    while block := os.read(channel, 1 << 20):
        buffer += block
    message = unpack(buffer)
    assert message is not None
    job, body = message
    token = job["token"]

    def send(head: dict[str, Any], blob: bytes = b"") -> None:
        _send(channel, pack({"token": token, **head}, blob))

    tensors = [
        {name: read_array(about, body) for name, about in case["tensors"].items()}
        for case in job["cases"]
    ]
    folder = job["folder"]
    if folder is not None:
        sys.path.append(folder)  # last, so that no file of a submission hides a library
    bound_resources(job["memory"], job["seconds"])
    gate = Gate(os.getcwd(), job["path"], folder)
    send({"kind": "started"})
    loaded = load(Path(job["path"]), run_all=job["run_all"])
    notes = [*gate.notes, *loaded.notes]
    send({"kind": "loaded", "notes": notes[:50], "broken": loaded.broken[:50]})
    gc.freeze()
    for number, case in enumerate(job["cases"]):
        with gate.opened():
            outcome, blob = _run_forked(case, tensors[number], loaded, gate, job, job["seconds"])
            left = job["seconds"] - outcome["seconds"]
            if job["again"] and _is_repeatable(outcome, blob, job["seconds"]):
                left = min(left, max(AGAIN_SECONDS, AGAIN_SLOWER * outcome["seconds"]))
                second = _run_forked(case, tensors[number], loaded, gate, job, left, again=True)
                outcome["unsteady"] = _unsteady(outcome, blob, *second)
        if more := [note for note in outcome.pop("notes", []) if note not in notes]:
            notes = more + notes
            send({"kind": "loaded", "notes": notes[:50], "broken": loaded.broken[:50]})
        send({"kind": "case", "case": number, **outcome}, blob)
    _exit(0)


def _send(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[_write(fd, view) :]


def _run_forked(
    case: dict[str, Any],
    tensors: dict[str, Any],
    loaded: Loaded,
    gate: Gate,
    job: dict[str, Any],
    seconds: float,
    *,
    again: bool = False,
) -> tuple[dict[str, Any], bytes]:
    """Return what a process of its own makes of one case, and how that process ended.

    With `again` the functions are called with other numbers before.
    """
    inside, outside = os.pipe()
    started = time.monotonic()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(inside)
            gate.close(parent)
            if again:
                _call_with_others(case, tensors, loaded, job)
            _run_case(case, tensors, loaded, gate, outside, job, seed=int(again))
        finally:
            _exit(0)
    os.close(outside)
    gate.adopt(pid)
    buffer, frames = bytearray(), []
    deadline, status = started + seconds, None
    ended = timed_out = False
    try:
        while not ended:
            left = deadline - time.monotonic()
            if left <= 0:
                timed_out = True
                break
            ready, _, _ = select.select([inside], [], [], min(left, 0.1))
            block = os.read(inside, 1 << 20) if ready else b""
            if ready and not block:
                break
            buffer += block
            while (frame := unpack(buffer)) is not None:
                frames.append(frame)
                ended = ended or frame[0].get("kind") == "end"
            if not ready:
                if status is not None:
                    break  # it is gone, and all that it wrote is read
                found, code = os.waitpid(pid, os.WNOHANG)
                status = code if found else None
    except GarbledError as error:
        text = f"the channel of its results was written to by something else: {error}"
        frames = [({"kind": "error", "reason": "exception", "message": text}, b"")]
    finally:
        os.close(inside)
        if status is None:
            status = _end(pid, gate, wait=0.0 if timed_out or ended else 0.2)
    return _outcome(frames, ended, timed_out, status, time.monotonic() - started)


def _end(pid: int, gate: Gate, wait: float) -> int:
    """Return how a process ended, which is given a little time to do so by itself."""
    until = time.monotonic() + wait
    while True:
        found, code = os.waitpid(pid, os.WNOHANG)
        if found:
            return code
        if time.monotonic() >= until:
            gate.kill(pid)
            return os.waitpid(pid, 0)[1]
        time.sleep(0.002)


def _outcome(
    frames: list[tuple[dict[str, Any], bytes]],
    ended: bool,
    timed_out: bool,
    status: int,
    seconds: float,
) -> tuple[dict[str, Any], bytes]:
    """Return one head and one body from what a case sent before it ended."""
    results: dict[str, Any] = {}
    changed: list[str] = []
    outcome: dict[str, Any] = {"results": results, "changed": changed, "seconds": seconds}
    body = b""
    function = None
    for head, blob in frames:
        if head.get("kind") == "calling":
            function = head.get("function")
        elif head.get("kind") == "result":
            for name, about in head["results"].items():
                if "at" in about:
                    about["at"] += len(body)
                results[name] = about
            changed += head["changed"]
            body += blob
        elif head.get("kind") == "error":
            outcome["error"] = {k: v for k, v in head.items() if k != "kind"}
        elif head.get("kind") == "end":
            outcome["notes"] = head.get("notes") or []
    if "error" not in outcome and timed_out:
        outcome["error"] = {"reason": "timeout", "message": "", "function": function}
    elif "error" not in outcome and not ended:
        text = f"its process {how_ended(os.waitstatus_to_exitcode(status))} in mid-call"
        outcome["error"] = {"reason": "exception", "message": text, "function": function}
    return outcome, body


def _is_repeatable(outcome: dict[str, Any], blob: bytes, seconds: float) -> bool:
    quick = outcome["seconds"] <= AGAIN_SHARE * seconds
    return quick and len(blob) <= AGAIN_BYTES and "error" not in outcome


def _unsteady(
    first: dict[str, Any], blob: bytes, second: dict[str, Any], other_blob: bytes
) -> list[str]:
    """Return the tensors that come out different after a call with other numbers.

    What hangs, dies or runs out of memory the second time tells nothing.
    """
    error = second.get("error", {})
    if error and not error.get("raised"):
        return []
    found = []
    for name, about in first["results"].items():
        other = second["results"].get(name)
        if "at" in about and (other is None or not _alike(about, blob, other, other_blob)):
            found.append(name)
    return found


def _alike(about: dict[str, Any], blob: bytes, other: dict[str, Any], other_blob: bytes) -> bool:
    """Tell whether two results are the same array to rounding; a NaN equals a NaN."""
    if any(about.get(key) != other.get(key) for key in ("dtype", "shape")) or "at" not in other:
        return False
    dtype = np.dtype(about["dtype"])
    size = dtype.itemsize
    for length in about["shape"]:
        size *= length
    pieces = (blob[about["at"] :][:size], other_blob[other["at"] :][:size])
    if pieces[0] == pieces[1]:
        return True
    if dtype.kind != "f":
        return False
    a, b = (_frombuffer(piece, dtype).astype("<f8") for piece in pieces)
    with _errstate(all="ignore"):
        finite = a[_isfinite(a)]
        largest = _abs(finite).max() if finite.size else 0.0
        near = _abs(a - b) <= ROUNDING[dtype.str[1:]] * largest
        return bool((near | (a == b) | (_isnan(a) & _isnan(b))).all())


def _run_case(
    case: dict[str, Any],
    tensors: dict[str, Any],
    loaded: Loaded,
    gate: Gate,
    fd: int,
    job: dict[str, Any],
    *,
    seed: int,
) -> None:
    """Make a case's calls in turn, and send what each gives."""
    random.seed(seed)
    _seed(seed)
    earlier: dict[str, Any] = {}
    lent: list[tuple[str, Any]] = []
    for call in case["calls"]:
        name = call["function"]
        _send(fd, pack({"kind": "calling", "function": name}))
        try:
            function = _look_up(loaded.names, name)
            if function is None:
                skipped = loaded.skipped.get(name.split(".")[0], "")
                error = {"reason": "missing", "message": skipped}
                names = [n for n, v in loaded.names.items() if callable(v) and n[:2] != "__"]
                error["defined"] = names[:200]  # type: ignore[assignment]  # names, for a hint
                _send(fd, pack({"kind": "error", "function": name, **error}))
                break
            head, body = _call(function, call, tensors, earlier, lent, job["limit"])
        except BaseException as raised:
            told = {"function": name, **_tell(raised, loaded)}
            told["raised"] = told["reason"] == "exception"
            _send(fd, pack({"kind": "error", **told}))
            break
        _send(fd, pack(head, body))
    _send(fd, pack({"kind": "end", "notes": gate.notes}))


def _call_with_others(
    case: dict[str, Any], tensors: dict[str, Any], loaded: Loaded, job: dict[str, Any]
) -> None:
    """Make a case's calls with other numbers of the same shapes and types, to see what they leave.

    Whatever comes of it is nobody's fault: the numbers are not the case's.
    """
    others = {name: array.ravel()[::-1].reshape(array.shape) for name, array in tensors.items()}
    earlier: dict[str, Any] = {}
    with contextlib.suppress(BaseException):
        for call in case["calls"]:
            function = _look_up(loaded.names, call["function"])
            _call(function, call, others, earlier, [], job["limit"])


def _look_up(names: dict[str, Any], path: str) -> Any:
    first, *rest = path.split(".")
    found = names.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found if callable(found) else None


def _call(
    function: Any,
    call: dict[str, Any],
    tensors: dict[str, Any],
    earlier: dict[str, Any],
    lent: list[tuple[str, Any]],
    limit: int,
) -> tuple[dict[str, Any], bytes]:
    """Make one call. `lent` holds the arrays that this case's calls were given, and grows."""

    def value(form: Form) -> Any:
        kind = form[0]
        if kind in ("tensor", "pad"):
            # A copy for every use: nobody's writing into it reaches another call.
            array = tensors[form[1] if kind == "tensor" else "pad(x)"].copy()
            lent.append((form[1] if kind == "tensor" else "pad(x)", array))
            return array
        if kind == "result":
            return earlier[form[1]]
        if kind == "literal":
            return form[1]
        if kind == "dict":
            return {key: value(item) for key, item in form[1:]}
        items = [value(item) for item in form[1:]]
        return tuple(items) if kind == "tuple" else items

    arguments = [value(form) for form in call["arguments"]]
    keywords = {name: value(form) for name, form in call["keywords"]}
    result = function(*arguments, **keywords)
    # Those of earlier calls too, which a function reaches through the cache that it is handed.
    changed = [name for name, array in lent if not _same(array, tensors[name])]
    targets = call["targets"]
    if len(targets) == 1:
        values = [result]
    elif isinstance(result, tuple | list) and len(result) == len(targets):
        values = list(result)
    else:
        wanted = ", ".join(name for name, _ in targets)
        about = {"refused": f"{_kind(result)} in place of {len(targets)} results ({wanted})"}
        refused = {name: about for name, judged in targets if judged}
        return {"kind": "result", "results": refused, "changed": changed}, b""
    body = b""
    results: dict[str, dict[str, Any]] = {}
    for (name, judged), one in zip(targets, values, strict=True):
        earlier[name] = one
        if not judged:
            continue
        try:
            array = _export(one)
        except RefusedError as error:
            results[name] = {"refused": str(error)}
            continue
        found: dict[str, Any] = {"dtype": array.dtype.str, "shape": list(array.shape)}
        if array.nbytes + len(body) <= limit:
            found["at"] = len(body)
            body += _ascontiguous(array).tobytes()
        results[name] = found
    return {"kind": "result", "results": results, "changed": changed}, body


def _same(array: Any, pristine: Any) -> bool:
    if type(array) is not _ndarray or array.shape != pristine.shape:
        return False
    return array.dtype == pristine.dtype and bool(array.tobytes() == pristine.tobytes())


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing (None)" if value is None else f"{type(value).__name__}"


def _export(value: Any) -> Any:
    """Return a result as an array of real numbers, little-endian; raise RefusedError."""
    if value is None or isinstance(value, tuple | dict | set | str | bytes):
        raise RefusedError(f"{_kind(value)} in place of an array")
    if isinstance(value, list) and any(isinstance(one, _ndarray) for one in value):
        raise RefusedError(f"{_kind(value)} in place of an array")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = _asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # of the conversion, not of the function
        dtype = f" of {value.dtype}" if hasattr(value, "dtype") else ""
        text = f"{_kind(value)}{dtype}, which NumPy cannot take as an array ({describe(error)})"
        raise RefusedError(text) from None
    if type(array) is not _ndarray:
        array = array.view(_ndarray)
    if array.dtype.kind not in "biuf":
        raise RefusedError(f"an array of {array.dtype} in place of real numbers")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype("<f8")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _tell(error: BaseException, loaded: Loaded) -> dict[str, Any]:
    """Return what an exception was, and the submission's own line that it came through last."""
    reason = "out of memory" if isinstance(error, MemoryError) else "exception"
    message = "; ".join(filter(None, [describe(error), skipped_name(error, loaded)]))
    told: dict[str, Any] = {"reason": reason, "message": message}
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        piece = loaded.sources.get(frame.f_code.co_filename)
        if piece is not None and line:
            lines = piece.lines
            text = lines[line - 1] if line <= len(lines) else ""
            told["line"] = f"{piece.place}line {line}"
            told["text"] = text.strip()[:200]
            break
    return told

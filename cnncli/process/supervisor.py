"""What a Python of ours runs first: it splits in two, and one half watches over the other.

The half that watches ends the other, all that came of it and its scratch folder when whoever
started us has gone, however that went: then a pipe ends. It splits before anything is imported, so
it costs a fork of a small Python.

Linux hands it all descendants whose own parents are gone (a subreaper). Elsewhere, as on macOS, it
ends the process's own group, and what left that group stays. Windows is not supported.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

from cnncli.process.scratch import Scratch

_ENDING = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
_LOOK = 0.25
"""Seconds between looks at what a scratch folder holds."""
_GRACE = 10.0
"""Seconds that are left to supervisors below, which end what they watch over."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def begin() -> dict[str, Any]:
    """Split as the order in the first argument says; return it in the process that is to run."""
    order: dict[str, Any] = json.loads(sys.argv.pop(1))
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    for number in (*_ENDING, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # heard through the pipe
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        scratch = Scratch(order["scratch_in"]) if order["scratch_in"] is not None else None
    except OSError as error:
        _leave(order, refused=f"no folder for it in {order['scratch_in']}: {error.strerror}")
    supervisor = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        if scratch is not None:
            scratch.remove()
        _leave(order, refused=error.strerror)
    if pid:
        os.close(order["channel"])
        _tell(order, pid=pid)
        _leave(order, **_watch(pid, order["lifeline"], woken, scratch))
    signal.set_wakeup_fd(-1)
    for number in (*_ENDING, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for end in (woken, wake, order["lifeline"], order["tell"]):
        os.close(end)
    # Our own code stays in the session: Linux shares the processor between sessions, so that one
    # which waits for another's answers would wait for its turn as well.
    if scratch is None:
        os.setpgid(0, 0)
    else:
        os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
    if scratch is not None:
        scratch.close()
        os.chdir(scratch.path)
        os.environ |= {"HOME": scratch.path, "TMPDIR": scratch.path}
    return order


def _watch(pid: int, lifeline: int, woken: int, scratch: Scratch | None) -> dict[str, Any]:
    """Return how a process ended, by itself or by us, when nothing of it is left."""
    told: dict[str, Any] = {}
    poll, pause = select.poll(), None if scratch is None else _LOOK
    for end in (lifeline, woken):
        poll.register(end, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(None if pause is None else pause * 1000)}
        heard = os.read(woken, 1 << 12) if woken in ready else b""
        _, status = _reap(pid)
        if status is not None:
            told["status"] = os.waitstatus_to_exitcode(status)
        if status is not None or lifeline in ready or _ENDING & set(heard):
            break
        if scratch is not None:
            started = time.monotonic()
            if scratch.is_full():
                told["full"] = True
                break
            pause = max(_LOOK, 10 * (time.monotonic() - started))
    _end(pid, is_ours=scratch is None)
    if scratch is not None:
        scratch.remove()
    return told


def _reap(pid: int) -> tuple[bool, int | None]:
    """Return whether any child is left, and the status of `pid` where it has ended now."""
    status = None
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == pid:
                status = found[1]
    except ChildProcessError:
        return False, status
    return True, status


def _end(pid: int, *, is_ours: bool) -> None:
    """End all that came of a process.

    What our own code starts is another supervisor, which is asked to end what it watches over: to
    kill it would leave its scratch folder. People's code is asked nothing.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    started, pause = time.monotonic(), 0.001
    while _reap(pid)[0]:
        time.sleep(pause)
        waited, pause = time.monotonic() - started, min(2 * pause, 0.05)
        if waited > 2 * _GRACE:
            return  # the kernel will not let it go
        is_asked = is_ours and waited < _GRACE
        for child in _children() if is_asked else _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGTERM if is_asked else signal.SIGKILL)


def _parents() -> dict[int, int]:
    """Return every process and its parent, where the system tells (Linux)."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stream:
            found[int(name)] = int(stream.read().rpartition(b")")[2].split()[1])
    return found


def _children() -> list[int]:
    return [pid for pid, parent in _parents().items() if parent == os.getpid()]


def _descendants() -> list[int]:
    parents, found = _parents(), [os.getpid()]
    for one in found:  # which grows
        found += [pid for pid, parent in parents.items() if parent == one]
    return found[1:]


def _tell(order: dict[str, Any], **told: Any) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to hear it
        os.write(order["tell"], json.dumps(told).encode() + b"\n")


def _leave(order: dict[str, Any], **told: Any) -> NoReturn:
    _tell(order, **told)
    os._exit(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)

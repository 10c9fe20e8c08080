"""Bounds on a submission's process: memory, processes, and what it may write to.

Containment of mistakes, not a wall: native code can step over the hook. Imports the standard
library alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

_STARTS = (
    *("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"),
    *("os.system", "subprocess.Popen", "pty.spawn"),
)
_SIGNALS = ("os.kill", "os.killpg", "signal.pthread_kill")
_DATABASES = ("sqlite3.connect",)
"""Events of native code that opens the file named first by itself."""
_NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
_CHANGES = {
    "os.remove": (0, 1), "os.rmdir": (0, 1), "os.mkdir": (0, 2), "os.chmod": (0, 2),
    "os.chown": (0, 3), "os.truncate": (0, None), "os.utime": (0, 3), "os.chflags": (0, None),
    "os.lchmod": (0, None), "os.setxattr": (0, None), "os.removexattr": (0, None),
}  # fmt: skip
"""Events that change a path: where the path and its folder's descriptor stand."""
_PAIRS = ("os.rename", "os.link", "os.symlink")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
MAX_FILE = 256 << 20


def bound_resources(memory: int, seconds: float) -> None:
    """Limit this process: address space, size of files, no core, time as a last resort."""
    try:
        import resource
    except ImportError:
        return  # not a Unix: the time limit of whoever started us is left
    limits = [
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, int(seconds) + 5),
    ]
    for what, limit in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))


def _refused(name: str) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(f"os.{name} is not allowed in a submission")

    return refuse


class Gate:
    """The audit hook that keeps a submission to its folder and to one process."""

    def __init__(self, scratch: str) -> None:
        inside = os.path.realpath(scratch)
        closed = [True]
        realpath, readlink, join = os.path.realpath, os.readlink, os.path.join

        def outside(path: Any, folder: Any = -1) -> bool:
            if isinstance(path, int):
                return False  # a descriptor that it was let open
            text = os.fsdecode(path)
            if text == os.devnull:
                return False
            if isinstance(folder, int) and folder >= 0 and not text.startswith("/"):
                text = join(readlink(f"/proc/self/fd/{folder}"), text)
            # A link itself is removed or renamed, not what it points to; resolve its folder.
            found = join(realpath(os.path.dirname(text) or "."), os.path.basename(text))
            return not all((one + "/").startswith(inside + "/") for one in (found, realpath(found)))

        def path_of(changed: Any) -> Any:
            """Return what a descriptor stands for, which it may have been let open to read."""
            try:
                return readlink(f"/proc/self/fd/{changed}") if isinstance(changed, int) else changed
            except OSError:
                return changed

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if not closed[0]:
                return
            if event == "open":
                path, _, flags = arguments
                if isinstance(flags, int) and flags & _WRITING and outside(path):
                    raise PermissionError(f"writing outside the scratch folder: {path}")
            elif event in _CHANGES:
                at, folder = _CHANGES[event]
                where = arguments[folder] if folder is not None else -1
                if outside(path_of(arguments[at]), where):
                    raise PermissionError(f"{event} outside the scratch folder: {arguments[at]}")
            elif event in _DATABASES:
                name = os.fsdecode(arguments[0])
                if name != ":memory:" and (name.startswith("file:") or outside(name)):
                    raise PermissionError(f"{event} outside the scratch folder: {arguments[0]}")
            elif event in _PAIRS:
                if outside(arguments[0]) or outside(arguments[1]):
                    raise PermissionError(f"{event} outside the scratch folder")
            elif event in _STARTS or event in _SIGNALS or event in _NETWORK:
                raise PermissionError(f"{event} is not allowed in a submission")

        self._closed = closed
        sys.addaudithook(hook)
        for name in ("mkfifo", "mknod"):  # which raise no event
            if hasattr(os, name):
                setattr(os, name, _refused(name))
        plain_open = os.open

        def open_at(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            # The event of opening does not tell the folder.
            if closed[0] and dir_fd is not None and flags & _WRITING and outside(path, dir_fd):
                raise PermissionError(f"writing outside the scratch folder: {path}")
            return plain_open(path, flags, mode, dir_fd=dir_fd)

        os.open = open_at

    @contextlib.contextmanager
    def opened(self) -> Any:
        """Let our own code start and end processes."""
        self._closed[0] = False
        try:
            yield
        finally:
            self._closed[0] = True

    def close(self) -> None:
        """Shut it, in a process that was forked while it stood open."""
        self._closed[0] = True

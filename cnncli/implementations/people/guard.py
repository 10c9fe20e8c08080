"""Bounds on a submission's process: memory, processes, and what it may write to.

Containment of mistakes, not a wall: native code steps over the hook, and Python code that means to
can too; `fence` holds where it does. The hook says in words what was refused, and notes whose code
a submission opens. Imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from cnncli.implementations.people.fence import confine, confine_case

_STARTS = (
    *("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"),
    *("os.system", "subprocess.Popen", "pty.spawn"),
)
_SIGNALS = ("os.kill", "os.killpg", "signal.pthread_kill", "resource.prlimit")
_DATABASES = ("sqlite3.connect",)
"""Events of native code that opens the file named first by itself."""
_NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
_CHANGES = {
    "os.remove": (0, 1), "os.rmdir": (0, 1), "os.mkdir": (0, 2), "os.chmod": (0, 2),
    "os.chown": (0, 3), "os.truncate": (0, None), "os.utime": (0, 3), "os.chflags": (0, None),
    "os.lchmod": (0, None), "os.setxattr": (0, None), "os.removexattr": (0, None),
}  # fmt: skip
"""Events that change a path: where the path and its folder's descriptor stand."""
_PAIRS = {"os.rename": (2, 3), "os.link": (2, 3), "os.symlink": (2, 2)}
"""Events of two paths: where the descriptors of their folders stand."""
_SILENT = {"mkfifo": ("os", "posix"), "mknod": ("os", "posix"),
           "pidfd_send_signal": ("signal", "_signal")}  # fmt: skip
"""Functions that raise no event, and the modules that have them."""
OPENS = "it opens "
"""How a note begins that tells whose code a submission opens."""
_CODE = (".py", ".pyc", ".ipynb")
_OURS = os.path.dirname(os.path.realpath(sys.modules["cnncli"].__file__ or ""))
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
        raise PermissionError(f"{name} is not allowed in a submission")

    return refuse


def _watcher(
    notes: list[str], scratch: str, path: str, siblings: str | None
) -> Callable[[str], None]:
    """Return what notes a file of code that is opened and is neither its own nor a library's."""
    own = os.path.realpath(path)
    libraries = [os.path.abspath(one) + os.sep for one in sys.path if one]
    # A folder that the submission lies in is no library: the others lie there too.
    known = tuple(one for one in libraries if not own.startswith(os.path.realpath(one) + os.sep))
    known += tuple(os.path.realpath(one) + os.sep for one in (scratch, siblings) if one)
    ours = {getattr(module, "__file__", None) for name, module in sys.modules.items()
            if name.split(".")[0] == "cnncli"}  # fmt: skip
    # Ours that run here are opened by whatever prints the stack.
    told_ours: list[bool] = []

    def watch(text: str) -> None:
        if not text.endswith(_CODE) or (text.startswith(known) and _OURS not in text):
            return
        found = os.path.realpath(text)
        with contextlib.suppress(ValueError):
            found = importlib.util.source_from_cache(found)
        if found.startswith(_OURS + os.sep):
            if found not in ours and not told_ours:
                told_ours.append(True)
                part = os.path.relpath(found, os.path.dirname(_OURS)).split(os.sep)[:2]
                notes.append(f"{OPENS}cnncli's own code ({'/'.join(part)})")
        elif found != own and not found.startswith(known) and os.path.isfile(found):
            note = f"{OPENS}another file of code: {found}"
            if note not in notes:
                notes.append(note)

    return watch


class Gate:
    """What keeps a submission to its folder and to one process: the kernel, and an audit hook.

    `path` is the submission and `siblings` the folder of modules that are its own, if there is one.
    """

    def __init__(self, scratch: str, path: str, siblings: str | None = None) -> None:
        self.notes: list[str] = []
        """Whose code it opened, beside its own and libraries', in words."""
        self._group = confine(scratch)
        watch = _watcher(self.notes, scratch, path, siblings)
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
                if not isinstance(path, int):
                    watch(os.fsdecode(path))
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
                if any(outside(arguments[n], arguments[at]) for n, at in enumerate(_PAIRS[event])):
                    raise PermissionError(f"{event} outside the scratch folder")
            elif event in _STARTS or event in _SIGNALS or event in _NETWORK:
                raise PermissionError(f"{event} is not allowed in a submission")

        self._closed = closed
        sys.addaudithook(hook)
        for name, modules in _SILENT.items():
            for module in modules:
                if hasattr(sys.modules.get(module), name):
                    setattr(sys.modules[module], name, _refused(f"{modules[0]}.{name}"))
        plain_open = os.open

        def open_at(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            # The event of opening does not tell the folder.
            if closed[0] and dir_fd is not None and flags & _WRITING and outside(path, dir_fd):
                raise PermissionError(f"writing outside the scratch folder: {path}")
            return plain_open(path, flags, mode, dir_fd=dir_fd)

        os.open = sys.modules[os.name].open = open_at  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def opened(self) -> Any:
        """Let our own code start and end processes."""
        self._closed[0] = False
        try:
            yield
        finally:
            self._closed[0] = True

    def close(self, parent: int) -> None:
        """Shut it, in a process that was forked while it stood open; it ends with its parent."""
        confine_case(parent)
        self._closed[0] = True

    def adopt(self, pid: int) -> None:
        """Make it possible to end a process that was forked."""
        if self._group is not None:
            os.setpgid(pid, self._group)

    def kill(self, pid: int) -> None:
        """End a process that was forked."""
        if self._group is not None:
            os.killpg(self._group, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)

"""What the Linux kernel forbids a submission's process, which no code in the process can lift.

Landlock (Linux 5.13) keeps writing within one folder; a filter of system calls keeps signals,
limits and priorities to the process itself, and refuses programs and sockets. What a kernel lacks
or a container forbids is left out, and the audit hook of `guard` stands alone. For x86_64 and
aarch64; imports the standard library alone.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from functools import cache
from typing import Any

try:
    import ctypes
except ImportError:  # a Python that was built without it
    ctypes = None  # type: ignore[assignment]  # asked for before it is used

# Landlock: include/uapi/linux/landlock.h
_WRITE_FILE, _MAKE_CHAR, _MAKE_BLOCK = 1 << 1, 1 << 6, 1 << 11
_CHANGES = 0b1_1111_1111_0000 | _WRITE_FILE  # removing (4, 5) and making (6 to 12) too
_SINCE = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""By version: to move between folders, to truncate, to command a device."""
_OF_A_FILE = _WRITE_FILE | 1 << 14 | 1 << 15
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446

# Filters: include/uapi/linux/seccomp.h, bpf_common.h, audit.h
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_X32 = 0x40000000
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NUMBERS = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "prlimit64": (302, 261),
    "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "fcntl": (72, 25),
    "ioctl": (16, 29), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "sendto": (44, 206),
    "sendmsg": (46, 211), "sendmmsg": (307, 269), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "io_uring_setup": (425, 425),
    "clock_settime": (227, 112), "sethostname": (170, 161), "prctl": (157, 167),
    "setpgid": (109, 154), "setsid": (112, 157), "fork": (57, None), "vfork": (58, None),
    "clone": (56, 220), "clone3": (435, 435), "seccomp": (317, 277),
}  # fmt: skip
"""The system calls that are named here, as the two machines number them."""
_NEVER = (
    *("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "setpriority"),
    *("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
    *("socket", "connect", "bind", "sendmsg", "sendmmsg", "io_uring_setup"),  # a socketpair may be
    *("shmget", "msgget", "semget", "mq_open", "clock_settime", "sethostname"),
)
_OF_ITSELF = (
    *("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
)
_OWNERS = {"fcntl": (8, 15, 1024), "ioctl": (0x8901, 0x8902, 0x5412)}
"""Commands that have a signal sent to another (or hold up who opens, or type into a terminal)."""

Test = tuple[int, int, int]
"""A half of an argument, counted from the low half of the first; how it is compared; with what."""
Rule = tuple[str, int, int, list[list[Test]]]
"""A call, what it gives where every test of one of the lists holds, and otherwise."""


def confine(folder: str) -> int | None:
    """Confine this process, and all that it will fork, to writing in `folder` and to itself.

    Returns the process group that it may still end, into which it puts what it forks; None where
    the kernel has no filter, and every process may be signalled.
    """
    confine_writing(folder, landlock_version())
    if not has_filter():
        return None
    group = _empty_group()
    return group if _confine_calls(_of_all(os.getpid(), group)) else None


def confine_case(parent: int) -> None:
    """Confine a forked process further: it forks no more and ends with its parent."""
    if not has_filter():
        return
    _call("prctl", 1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)
    _confine_calls(_of_a_case(os.getpid()))


def landlock_version() -> int:
    """Return which version of Landlock the kernel has, 0 for none."""
    return max(0, _call(_CREATE_RULESET, 0, 0, 1)) if _machine() else 0


def has_filter() -> bool:
    """Tell whether the kernel filters system calls on this machine."""
    action = struct.pack("=I", _EPERM & 0xFFFF0000)
    return bool(_machine()) and _call("seccomp", 2, 0, action) == 0  # GET_ACTION_AVAIL


def confine_writing(folder: str, version: int) -> bool:
    """Let this process change nothing outside a folder, with Landlock of this version."""
    if version < 1:
        return False
    handled = _CHANGES
    for since, right in _SINCE.items():
        handled |= right if version >= since else 0
    scoped = 2 if version >= 6 else 0  # signals to itself and what it forks
    rules = _call(_CREATE_RULESET, struct.pack("=QQQ", handled, 0, scoped), 24, 0)
    if rules < 0:
        return False
    granted = {folder: handled & ~(_MAKE_CHAR | _MAKE_BLOCK), os.devnull: handled & _OF_A_FILE}
    for path, rights in granted.items():
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        _call(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0)
        os.close(place)
    done = _call("prctl", 38, 1) == 0 and _call(_RESTRICT_SELF, rules, 0) == 0  # NO_NEW_PRIVS
    os.close(rules)
    return done


def _empty_group() -> int:
    """Return a process group that has nobody in it but a process that has ended.

    A filter cannot know the processes that are forked later, but a group that they are put into.
    The ended one is never waited for, so that its number stays the group's.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.setpgid(pid, pid)
    return pid


def _of_all(own: int, group: int) -> list[Rule]:
    """Return what holds for a submission's process while it loads, and for each of its cases."""
    itself: list[Test] = [(0, _EQUAL, own)]
    cases: list[Test] = [(0, _EQUAL, -group & 0xFFFFFFFF), (2, _EQUAL, signal.SIGKILL)]
    aborts: list[Test] = [(4, _EQUAL, signal.SIGABRT)]  # C's abort, by a process not yet forked
    return [
        *((name, _EPERM, _EPERM, []) for name in _NEVER),
        *((name, _ALLOW, _EPERM, [[(0, _EQUAL, 0)]]) for name in _OF_ITSELF),
        *(
            (name, _EPERM, _ALLOW, [[(2, _EQUAL, one)] for one in commands])
            for name, commands in _OWNERS.items()
        ),
        ("kill", _ALLOW, _EPERM, [itself, cases]),
        ("tgkill", _ALLOW, _EPERM, [itself, aborts]),
        ("sendto", _ALLOW, _EPERM, [[(8, _EQUAL, 0), (9, _EQUAL, 0)]]),  # to whom it is connected
    ]


def _of_a_case(own: int) -> list[Rule]:
    """Return what holds for a case as well."""
    return [
        *((name, _EPERM, _EPERM, []) for name in ("kill", "fork", "vfork", "setpgid", "setsid")),
        ("tgkill", _ALLOW, _EPERM, [[(0, _EQUAL, own)]]),
        ("clone", _ALLOW, _EPERM, [[(0, _HAS, 0x10000)]]),  # CLONE_THREAD
        ("clone3", _ENOSYS, _ENOSYS, []),  # its flags are out of sight: clone is called instead
        ("prctl", _EPERM, _ALLOW, [[(0, _EQUAL, 1)]]),
    ]


def _confine_calls(rules: list[Rule]) -> bool:
    at, architecture = _machine()  # type: ignore[misc]  # has_filter has looked
    program = _step(_LOAD, 4) + _step(_EQUAL, architecture, 1, 0) + _step(_RETURN, _EPERM)
    program += _step(_LOAD, 0) + _step(_AT_LEAST, _X32, 0, 1) + _step(_RETURN, _EPERM)
    for name, met, otherwise, alternatives in rules:
        number = _NUMBERS[name][at]
        if number is None:
            continue
        body = b""
        for tests in alternatives:
            for place, (half, how, value) in enumerate(tests):
                after = 2 * (len(tests) - place) - 1  # steps to the next list of tests
                body += _step(_LOAD, 16 + 4 * half) + _step(how, value, 0, after)
            body += _step(_RETURN, met)
        body += _step(_RETURN, otherwise)
        program += _step(_EQUAL, number, 0, len(body) // 8) + body
    program += _step(_RETURN, _ALLOW)
    held = ctypes.create_string_buffer(program)
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(held))
    # SPEC_ALLOW: older kernels would slow all arithmetic down for whom they filter.
    return _call("prctl", 38, 1) == 0 and _call("seccomp", 1, 4, described) == 0


def _step(code: int, value: int, met: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, met, otherwise, value)


@cache
def _machine() -> tuple[int, int] | None:
    """Return the column of `_NUMBERS` and the name that filters know this machine by."""
    linux = sys.platform == "linux" and ctypes is not None and sys.maxsize > 2**32
    return _MACHINES.get(os.uname().machine) if linux else None


def _call(call: str | int, *arguments: Any) -> int:
    """Make a system call, and return what it gives: -1 for any error."""
    number = _NUMBERS[call][_machine()[0]] if isinstance(call, str) else call  # type: ignore[index]
    padded = (number, *arguments, *(0 for _ in range(6 - len(arguments))))
    return int(_gate()(*(a if isinstance(a, bytes) else ctypes.c_long(a) for a in padded)))


@cache
def _gate() -> Any:
    function = ctypes.CDLL(None).syscall
    function.restype = ctypes.c_long
    return function

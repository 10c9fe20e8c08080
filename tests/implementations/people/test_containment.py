"""What plain Python can try beside what the guard's hook sees: the kernel refuses it.

Each trick is a function of one submission, and a case of its own. The submission tries it as it is,
once more after it has switched the hook off through its own frames, and a third time while loading.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cnncli
from cnncli.cli.app import main
from cnncli.implementations.people.fence import has_filter, landlock_version

FLIP = """
import sys
def flip():
    frame = sys._getframe()
    while frame is not None:
        gate = frame.f_locals.get("gate")
        if gate is not None:
            gate._closed[0] = False
        frame = frame.f_back
"""
TO_OTHERS = {
    "kill": "os.kill(VICTIM, 9)",
    "killpg": "os.killpg(VICTIM, 9)",
    "pidfd": "signal.pidfd_send_signal(os.pidfd_open(VICTIM), 9)",
    "builtin pidfd": "import _signal\n_signal.pidfd_send_signal(os.pidfd_open(VICTIM), 9)",
    "prlimit": "resource.prlimit(VICTIM, resource.RLIMIT_CPU, (0, 0))",
    "setown": """
        end, other = os.pipe()
        fcntl.fcntl(end, fcntl.F_SETOWN, VICTIM)
        fcntl.fcntl(end, fcntl.F_SETFL, os.O_ASYNC)
        os.write(other, b'x')
        """,
    "owner of a socket": """
        pair = socket.socketpair()
        fcntl.ioctl(pair[0], 0x8901, VICTIM.to_bytes(4, 'little'))
        """,
    "priority": "os.setpriority(os.PRIO_PROCESS, VICTIM, 19)",
    "affinity": "os.sched_setaffinity(VICTIM, {0})",
    "memory": "open(f'/proc/{VICTIM}/mem', 'r+b')",
    "runs": """
        import types
        quiet = types.SimpleNamespace(audit=lambda *_: None, platform=sys.platform)
        quiet.getfilesystemencoding, quiet.exc_info = sys.getfilesystemencoding, sys.exc_info
        subprocess.sys = quiet
        subprocess.run(['/bin/touch', HERE + '/hacked'])
        """,
    "becomes": "os.execv('/bin/touch', ['touch', HERE + '/hacked'])",
    "connects": "socket.create_connection(('127.0.0.1', 9), 1)",
    "sends": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', HERE + '/socket')",
    "host name": "socket.sethostname(socket.gethostname())",
}
IN_A_CASE = {
    "forks": "os.fork()",
    "leaves": "os.setsid()",
    "leaves its group": "os.setpgid(0, 0)",
    "ends its parent": "os.kill(os.getppid(), 9)",
}
"""What a process that loads may do, to make cases, and a case may not."""
OUTSIDE = {
    "opens": "open(HERE + '/hacked', 'w')",
    "opens at": "posix.open('hacked', os.O_CREAT | os.O_WRONLY, dir_fd=os.open(HERE, 0))",
    "truncates": "posix.truncate(HERE + '/precious', 0)",
    "truncates as it opens": "os.open(HERE + '/precious', os.O_RDONLY | os.O_TRUNC)",
    "links": "posix.link(mine(), HERE + '/hacked')",
    "links at": "posix.link(mine(), 'hacked', dst_dir_fd=os.open(HERE, 0))",
    "links in": "posix.link(HERE + '/precious', 'in')\nopen('in', 'w').write('hacked')",
    "symlinks": "posix.symlink('x', 'hacked', dir_fd=os.open(HERE, 0))",
    "renames": "posix.rename(mine(), 'hacked', dst_dir_fd=os.open(HERE, 0))",
    "renames in": "posix.rename('precious', 'mine', src_dir_fd=os.open(HERE, 0))",
    "removes": "posix.unlink('precious', dir_fd=os.open(HERE, 0))",
    "makes": "posix.mkdir('hacked', dir_fd=os.open(HERE, 0))",
    "fifo": "posix.mkfifo(HERE + '/hacked')",
    "node": "posix.mknod(HERE + '/hacked')",
    "database": "sqlite3.connect(HERE + '/hacked').execute('create table t (a)')",
    "attaches": """
        base = sqlite3.connect(':memory:')
        base.execute(f"attach '{HERE}/hacked' as h")
        base.execute('create table h.t (a)')
        """,
    "vacuums": """
        base = sqlite3.connect(':memory:')
        base.execute('create table t (a)')
        base.execute(f"vacuum into '{HERE}/hacked'")
        """,
    "history": "readline.add_history('x')\nreadline.write_history_file(HERE + '/hacked')",
    "shared memory": "os.open('/dev/shm/cnncli-hacked', os.O_CREAT | os.O_RDWR)",
}
TRICKS = TO_OTHERS | IN_A_CASE | OUTSIDE
SUBMISSION = """
import fcntl, os, posix, readline, resource, signal, socket, sqlite3, subprocess, sys
HERE, VICTIM = HERE_, VICTIM_
def mine():
    open("mine", "w").write("x")
    return "mine"
"""
WAYS = ("as it is", "hook off", "loading")
needs_filter = pytest.mark.skipif(not has_filter(), reason="the kernel filters no system calls")
needs_landlock = pytest.mark.skipif(not landlock_version(), reason="the kernel has no Landlock")


def written(way: str, here: Path, victim: int) -> str:
    """Return the submission that tries all tricks in one way."""
    text = SUBMISSION.replace("HERE_", repr(str(here))).replace("VICTIM_", str(victim))
    text += FLIP if way != "as it is" else "def flip(): pass\n"
    for number, trick in enumerate(TRICKS.values()):
        body = textwrap.indent(textwrap.dedent(trick).strip(), "    ")
        text += f"def try{number}():\n    flip()\n{body}\n"
        text += f"def f{number}(x):\n    try{number}()\n    return x\n"
    if way == "loading":
        text += "told = {}\n"
        for number, name in enumerate(TRICKS):
            if name not in IN_A_CASE:
                text += f"try: try{number}()\nexcept Exception as e: told[{number}] = e\n"
            text += f"def f{number}(x):\n    if {number} in told: raise told[{number}]\n"
    return text


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Any]]:
    """Yield the result of every trick in every way, after seeing that nothing came of it."""
    root = tmp_path_factory.mktemp("tricks")
    here, class_ = root / "here", root / "class"
    here.mkdir()
    class_.mkdir()
    (here / "precious").write_text("kept")
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    victim = subprocess.Popen(command, start_new_session=True)
    for way in WAYS:
        (class_ / f"{way}.py").write_text(written(way, here, victim.pid))
    config = root / "c.yaml"
    cases = [
        f'  - {{name: "{name}", layer: pad, tensors: {{x: "normal:1x1x2x2"}}, '
        f'params: {{padding: 1}}, call: {{y: "f{number}(x)"}}}}\n'
        for number, name in enumerate(TRICKS)
    ]
    config.write_text("cases:\n" + "".join(cases))
    flags = ["--run-all", "--results", str(root / "r.jsonl"), "--timeout", "5"]
    try:
        assert main(["run", str(config), "--against", str(class_), *flags]) == 1
        lines = (root / "r.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        yield {(Path(one["implementation"]).stem, one["name"]): one for one in found} | {
            ("", "victim"): victim.poll(),
            ("", "shared"): Path("/dev/shm/cnncli-hacked").exists(),
            ("", "here"): [(one.name, one.lstat().st_size) for one in here.iterdir()],
        }
    finally:
        victim.kill()
        victim.wait()
        Path("/dev/shm/cnncli-hacked").unlink(missing_ok=True)


def refused(result: dict[str, Any]) -> bool:
    """Tell whether a case's row says that the system, or the hook, refused what it tried."""
    (check,) = result["checks"]
    errors = ("PermissionError", "[Errno 18]", "unable to open database", "attempt to write a")
    return result.get("reason") == "exception" and any(one in check["note"] for one in errors)


@needs_filter
@needs_landlock
def test_nothing_outside_is_touched(tried: dict[tuple[str, str], Any]) -> None:
    assert len(tried) == len(WAYS) * len(TRICKS) + 3
    assert tried["", "victim"] is None
    assert tried["", "here"] == [("precious", 4)]
    assert not tried["", "shared"]


@needs_filter
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*TO_OTHERS, *IN_A_CASE])
def test_what_reaches_others_is_refused(
    tried: dict[tuple[str, str], Any], way: str, name: str
) -> None:
    if (way, name) not in {("loading", one) for one in IN_A_CASE}:
        assert refused(tried[way, name]), tried[way, name]["checks"]


@needs_landlock
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OUTSIDE)
def test_what_changes_other_places_is_refused(
    tried: dict[tuple[str, str], Any], way: str, name: str
) -> None:
    assert refused(tried[way, name]), tried[way, name]["checks"]


CONFINED = """
import os, signal, sys, time
from cnncli.implementations.people import fence
version, victim = int(sys.argv[1]), int(sys.argv[2])
fence.landlock_version = lambda: version
os.chdir("scratch")
group = fence.confine(os.getcwd())
def refuses(what, *arguments):
    try:
        what(*arguments)
    except OSError as error:
        return error.errno in (1, 13, 18)
    return False
found = {"kill": refuses(os.kill, victim, 0), "write": refuses(open, "../outside", "w")}
found["send"] = refuses(signal.pidfd_send_signal, os.pidfd_open(victim), 0)
os.mkdir("a")
open("a/mine", "w").close()
os.truncate("a/mine", 0)
found["move"] = not refuses(os.rename, "a/mine", "mine")
for name in ("sleep", "abort", "kill", "leave"):
    pid = os.fork()
    if pid == 0:
        fence.confine_case(os.getppid())
        if name == "sleep": time.sleep(60)
        if name == "abort": os.abort()
        os._exit(refuses(os.kill, os.getppid(), 0) + 2 * refuses(os.setpgid, 0, 0))
    os.setpgid(pid, group)
    if name == "sleep": os.killpg(group, signal.SIGKILL)
    found[name + "s"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(found)
"""


@needs_filter
@pytest.mark.parametrize("version", range(8))
def test_each_version_of_the_kernel_holds_what_it_can(tmp_path: Path, version: int) -> None:
    """Without Landlock the filter alone; a folder of one's own can be used, and cases be ended."""
    if version > landlock_version():
        pytest.skip(f"Landlock here is of version {landlock_version()}")
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", CONFINED, str(version), str(os.getpid())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    ends = {"sleeps": -9, "aborts": -6, "kills": 3, "leaves": 3}
    held = {"kill": True, "write": version > 0, "send": True, "move": version != 1}
    assert (done.stdout.strip(), done.stderr) == (repr(held | ends), "")


ORPHAN = """
import os, sys, time
from cnncli.implementations.people import fence
fence.confine(os.getcwd())
if os.fork() == 0:
    fence.confine_case(os.getppid())
    print("there", flush=True)
    time.sleep(60)
sys.stdin.read()
"""


@needs_filter
def test_a_case_ends_with_the_process_that_forked_it(tmp_path: Path) -> None:
    pipe, command = subprocess.PIPE, [sys.executable, "-c", ORPHAN]
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == b""  # whose other end the case held


OTHERS = {
    "ours": ("from cnncli.kernels import conv", "cnncli/kernels"),
    "ours by name": (
        "import importlib\n    importlib.import_module('cnncli.layers')",
        "cnncli/layers",
    ),
    "ours read": ("open('OURS/kernels/conv.py').read()", "cnncli/kernels"),
    "neighbour run": ("import runpy\n    runpy.run_path('HERE/neighbour.py')", "HERE/neighbour.py"),
    "neighbour read": ("exec(open('HERE/neighbour.py').read(), {})", "HERE/neighbour.py"),
    "neighbour imported": (
        "import sys\n    sys.path.insert(0, 'HERE')\n    import neighbour",
        "HERE/neighbour.py",
    ),
    "neighbour copied": (
        "import shutil\n    shutil.copyfile('HERE/book.ipynb', 'mine.ipynb')",
        "HERE/book.ipynb",
    ),
    "nobody": ("pass", ""),
    "itself": ("open('HERE/itself.py').read()", ""),
    "libraries": ("import numpy.polynomial, http.client, colorsys", ""),
    "its own file": (
        "open('mine.py', 'w').write('A = 1')\n    open('mine.py').read()\n    import runpy"
        "\n    runpy.run_path('mine.py')",
        "",
    ),
    "no file": ("try: open('/nowhere/x.py')\n    except OSError: pass", ""),
    "stack": ("import inspect, traceback\n    inspect.stack()\n    traceback.format_stack()", ""),
}
"""What f does beside its work, and which part of the note tells of it."""


@pytest.mark.parametrize("loading", [False, True])
def test_whose_code_a_submission_opens_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, loading: bool
) -> None:
    """The code is judged as it is, and right."""
    right = (
        "import numpy as np\ndef pad(x, p): return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))\n"
    )
    (tmp_path / "neighbour.py").write_text(right)
    (tmp_path / "book.ipynb").write_text('{"cells": []}')
    for name, (does, _) in OTHERS.items():
        work = does.replace("HERE", str(tmp_path)).replace("OURS", cnncli.__path__[0])
        extra = "do()\n" if loading else ""
        call = "" if loading else "    do()\n"
        text = f"{right}def do():\n    {work}\n{extra}def f(x, p):\n{call}    return pad(x, p)\n"
        (tmp_path / f"{name}.py").write_text(text)
    config = tmp_path / "c.yaml"
    config.write_text(
        'layer: pad\ntensors: {x: "normal:1x2x3x4"}\nparams: {padding: 1}\ncall: {y: "f(x, p)"}\n'
    )
    command = ["run", str(config), "--run-all", "--against", str(tmp_path)]
    main([*command, "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    results = {Path(one["implementation"]).stem: one for one in lines}
    for name, (_, words) in OTHERS.items():
        assert results[name]["status"] == "passed"
        told = [words.replace("HERE", str(tmp_path)) in note for note in results[name]["notes"]]
        assert told == [True] * bool(words), results[name]
    if not loading:
        table = tmp_path / "table.csv"
        main([*command, "--csv", str(table)])
        for text in (capsys.readouterr().out, table.read_text()):
            assert sum("it opens " in line for line in text.splitlines()) == 7

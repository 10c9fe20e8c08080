"""The one way to start a Python of ours.

It runs beneath a supervisor (see there), so that it, all that it starts and its scratch folder go
when this process goes, killed or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cnncli.process.endings import FULL, how_ended
from cnncli.process.threads import ONE_THREAD

PATIENCE = 30.0
"""Seconds in which a supervisor has surely ended all and removed what it left."""
_CODE = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])["path"]
from cnncli.process.supervisor import begin
order = begin()
from {module} import {name}
{name}(order["channel"], *order["arguments"])
sys.stdout.flush()
os._exit(0)  # what libraries do as Python ends is not waited for
"""


class NotStartedError(RuntimeError):
    """A process could not be started; the text says why."""


class Process:
    """A Python of ours that runs one function, with a socket between it and us.

    Used in a `with`, or to be ended with `end`.
    """

    channel: socket.socket
    """Our end. It ends when the process, and all that it has handed its own to, has ended."""

    def __init__(
        self,
        function: str,
        *arguments: object,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        scratch_in: str | None = None,
        is_quiet: bool = False,
    ) -> None:
        """Start `function` ("module:name") on its end of the socket and `arguments` (JSON).

        What it prints goes to standard error, or nowhere where it `is_quiet`. With `scratch_in` it
        runs in a new folder made there, whose size is bounded. Raises NotStartedError.
        """
        module, name = function.split(":")
        self.channel, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._told, tell = os.pipe()
        order = {
            "path": [os.path.abspath(place) for place in sys.path],
            "arguments": arguments,
            "scratch_in": scratch_in,
            "channel": theirs.fileno(),
            "lifeline": lifeline,
            "tell": tell,
        }
        self._ending: str | None = None
        self._heard = b""
        try:
            self._supervisor = subprocess.Popen(
                [
                    sys.executable,
                    *options,
                    "-c",
                    _CODE.format(module=module, name=name),
                    json.dumps(order),
                ],
                env=os.environ | ONE_THREAD if environment is None else environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if is_quiet else 2,
                stderr=subprocess.DEVNULL if is_quiet else None,
                pass_fds=(lifeline, tell, theirs.fileno()),
                process_group=0,  # what a terminal sends, it sends to us
            )
        except OSError as error:
            self.channel.close()
            os.close(self._lifeline)
            os.close(self._told)
            raise NotStartedError(f"could not be started: {error.strerror}") from None
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(tell)

    def __enter__(self) -> Process:
        """Return the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.end()

    @property
    def pid(self) -> int | None:
        """Its number, which its group of processes has too; None where it could not be started."""
        if b"\n" not in self._heard:
            self._hear()
        first = self._heard.partition(b"\n")[0]
        return json.loads(first).get("pid") if first else None

    def pause(self) -> None:
        """Stop it with all its threads."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def let_end(self) -> None:
        """Have it ended, without waiting for it."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self.channel.close()

    def how_ended(self, seconds: float) -> str | None:
        """Return how it ended, such as "was killed by SIGSEGV"; None where it runs after `seconds`.

        What is left of it is then gone too.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._supervisor.wait(seconds)
            self._close()
        return self._ending

    def end(self) -> str:
        """End it and all that it started, whatever they do; return how it ended, if by itself."""
        self.let_end()
        try:
            self._supervisor.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        self._close()
        assert self._ending is not None
        return self._ending

    def _signal(self, number: int) -> None:
        if (pid := self.pid) is not None and self._supervisor.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)

    def _hear(self) -> bool:
        """Take what the supervisor says next; tell whether there was anything."""
        block = os.read(self._told, 1 << 12)
        self._heard += block
        return bool(block)

    def _close(self) -> None:
        """Keep how it ended, and let go of what we held of it."""
        if self._ending is not None:
            return
        while self._hear():
            pass
        os.close(self._told)
        self.let_end()
        told: dict[str, Any] = {}
        for line in self._heard.splitlines():
            told |= json.loads(line)
        if "refused" in told:
            self._ending = f"could not be started: {told['refused']}"
        elif "full" in told:
            self._ending = FULL
        elif "status" in told:
            self._ending = how_ended(told["status"])
        else:  # we had it ended, or its supervisor was itself
            self._ending = how_ended(self._supervisor.returncode or -signal.SIGKILL)

"""What was typed into the shell."""

from __future__ import annotations

import shlex
import sys


def command_line() -> str:
    """Return this call as it can be pasted into a shell."""
    return shlex.join(["cnncli", *sys.argv[1:]])

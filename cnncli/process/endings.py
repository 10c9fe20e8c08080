"""How a process ended, in the words that every message has for it."""

from __future__ import annotations

import signal

from cnncli.process.scratch import MOST_BYTES, MOST_FILES

FULL = f"was ended, since it wrote more than {MOST_BYTES >> 30} GiB or {MOST_FILES:,} files"


def how_ended(status: int) -> str:
    """Return what goes after "its process": from an exit status, or a signal's number negated."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"

"""How much memory a case may use."""

from __future__ import annotations

import os
import re

from cnncli.errors import MemoryBoundError, UsageError
from cnncli.numerals import short

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MOST = 1 << 60
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?\Z", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that `512M`, `1.5GiB` or `1000000` means; raise UsageError."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise UsageError(f"must be a size such as 512M or 2G, not {short(text)}", "--max-memory")
    amount = float(match[1]) * _UNITS[match[2].lower()]
    if amount > MOST:
        raise UsageError(f"must be at most {size_text(MOST)}, but is {short(text)}", "--max-memory")
    size = int(amount)
    if size < 1:
        raise UsageError(f"must be above 0, but is {text}", "--max-memory")
    return size


def size_text(size: int) -> str:
    """Return a number of bytes as a person reads it: 1.5 GiB."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            return f"{int(amount)} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def free_bytes() -> int:
    """Return the memory that is free: what Linux calls available, elsewhere all there is."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30


def judge_memory(needed: int, bound: int | None, jobs: int = 1) -> None:
    """Raise MemoryBoundError where a case needs more than `bound`.

    Without one that is half of what is free, shared among the `jobs` that run at once.
    """
    limit = free_bytes() // 2 // jobs if bound is None else bound
    if needed > limit:
        which = "--max-memory"
        if bound is None:
            share = f"one of {jobs} shares of " if jobs > 1 else ""
            which = f"{share}half of the free memory (--max-memory)"
        raise MemoryBoundError(
            f"this case needs up to {size_text(needed)}, more than {which} allows: "
            f"{size_text(limit)}"
        )

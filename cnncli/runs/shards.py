"""`--shard K/N`: the K-th of N parts of a list of cases."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cnncli.errors import UsageError

MOST = 10**9
_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})\Z", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1."""

    number: int = 1
    count: int = 1

    def bounds(self, total: int) -> tuple[int, int]:
        """Return the first place of this part in a list of `total`, and the one after its last.

        Parts are neighbours and differ by one case at most, so the files of all parts, joined in
        their order, are the file of the whole.
        """
        return (self.number - 1) * total // self.count, self.number * total // self.count


def parse_shard(text: str) -> Shard:
    """Return the part that `K/N` names; raise UsageError."""
    match = _SHARD.match(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(
            f"must be K/N, a part from 1/N to N/N with N below {MOST}, not {text!r}", "--shard"
        )
    return Shard(int(match[1]), int(match[2]))

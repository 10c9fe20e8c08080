"""Which cases a command means: paths, part of a name, and one of several shards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cnncli.cases.case import Settings, parse_value
from cnncli.cases.config import Entries, Entry, find_configs
from cnncli.cases.node import Node, nearest
from cnncli.errors import UsageError
from cnncli.layers.base import Layer
from cnncli.layers.parameters import parameters
from cnncli.layers.table import LAYERS

MOST_SHARDS = 10**9
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
            f"must be K/N, a part from 1/N to N/N with N below {MOST_SHARDS}, not {text!r}",
            "--shard",
        )
    return Shard(int(match[1]), int(match[2]))


class Selection:
    """The cases that paths, a part of their names and a shard choose, made anew at each iteration.

    A sweep of thousands is never held at once.
    """

    def __init__(
        self, paths: Sequence[str], match: str | None = None, shard: Shard | None = None
    ) -> None:
        """Read the files; raise UsageError where no case's name holds `match`."""
        self._configs = [Entries(path) for path in find_configs(list(paths))]
        self._match = match
        total = sum(1 for _ in self.whole())
        if match is not None and not any(match in entry.name for entry in self.whole()):
            names = [e.name for e in islice((e for c in self._configs for e in c), 11)]
            text = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            raise UsageError(f"no case's name holds {match!r}; there are {text}", "--match")
        shard = shard or Shard()
        self._first, self._end = shard.bounds(total)
        self.is_shard = shard.count > 1

    def whole(self) -> Iterator[Entry]:
        """Yield the cases of all shards together."""
        for entry in (entry for config in self._configs for entry in config):
            if self._match is None or self._match in entry.name or entry.error is not None:
                yield entry

    def __iter__(self) -> Iterator[Entry]:
        return islice(self.whole(), self._first, self._end)

    def __len__(self) -> int:
        return self._end - self._first

    def refuse_shared_folders(self) -> None:
        """Raise UsageError where cases of two files have one name, and so one folder of --save."""
        seen: dict[str, str] = {}
        for entry in self:
            first = seen.setdefault(entry.name, entry.where)
            if first != entry.where and entry.error is None:
                raise UsageError(
                    f"{entry.name!r} names a case of {first} and one of {entry.where}, "
                    "which would share a folder; give one another name",
                    "--save",
                )


def judge_settings(settings: Iterable[tuple[str, Node]], entries: Iterable[Entry]) -> None:
    """Raise CnncliError where a value of `--set` is wrong for every case, or its key for each."""
    settings = list(settings)
    for key, node in settings:
        for declared in parameters(Settings):
            if key == declared.name:
                parse_value(declared.kind, node, key)
    inner = [key for key, _ in settings if key.startswith(("params.", "tensors."))]
    if not inner:
        return
    layers = _layers(settings, entries)
    for key in inner if layers else ():
        mapping, _, name = key.partition(".")
        known: dict[str, None] = {}
        for layer in layers:
            declared_names = [declared.name for declared in parameters(layer.Params)]
            known |= dict.fromkeys(declared_names if mapping == "params" else layer.source_names)
        if name not in known:
            whose = ", ".join(layer.name for layer in layers)
            hint = nearest(name, known) or f"; known: {', '.join(known)}"
            raise UsageError(
                f"unknown key {name!r} in the {mapping} of {whose}{hint}", f"--set {key}"
            )


def _layers(settings: Iterable[tuple[str, Node]], entries: Iterable[Entry]) -> list[Layer]:
    """Return the layers of all cases; none where a case does not tell its layer plainly."""
    nodes: Iterable[Node | None] = [node for key, node in settings if key == "layer"]
    nodes = nodes or (e.entries.get("layer") for e in entries if e.error is None)
    names: dict[str, None] = {}
    for node in nodes:
        if node is None or not isinstance(node.value, str) or node.value not in LAYERS:
            return []
        names[node.value] = None
    return [LAYERS[name] for name in names]

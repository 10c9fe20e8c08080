"""Who else is to compute a case: the names that `against` and `--against` give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnncli.cases.node import Node


@dataclass(frozen=True, kw_only=True)
class Against:
    """One implementation by name, and the place that names it."""

    text: str
    where: str
    base: Path | None = None
    """The folder that a relative path is relative to; None is the working folder."""


def parse_against(node: Node) -> tuple[Against, ...]:
    """Return what `against` names, each once: one text or a list of them; raise ConfigError."""
    items = node.value if isinstance(node.value, list) else [node]
    if not items:
        raise node.fail("against is an empty list, which judges nothing")
    found: dict[str, Against] = {}
    for item in items:
        text = item.string("against")
        found.setdefault(text, Against(text=text, where=item.where, base=item.base))
    return tuple(found.values())

"""Several conventions in one command: `--convention torch,onnx,keras` is the case under each."""

from __future__ import annotations

from dataclasses import replace

from cnncli.cases.config import Entry
from cnncli.cases.node import Node


def per_convention(entry: Entry) -> list[Entry]:
    """Return the entry itself, or one for each of the conventions that its flag lists."""
    node = entry.entries.get("convention")
    if node is None or not isinstance(node.value, str) or "," not in node.value:
        return [entry]
    words = dict.fromkeys(word.strip() for word in node.value.split(","))
    return [
        replace(
            entry.with_flags({"convention": Node(word, node.where)}),
            name=f"{entry.name}/convention={word}",
        )
        for word in words
    ]

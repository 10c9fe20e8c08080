"""A result without its arrays: what crosses processes, is kept in a file, and is reported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnncli.runs.result import FORMAT, Fault, Result

WELL = ("done", "passed", "skipped")
FAILING = ("fail", "vacuous")
STATUSES = ("passed", "done", "failed", "invalid", "timeout", "crashed", "skipped")
_KEPT_CHECKS = 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line of results, and of its data what a report needs."""

    text: str
    """The result as one line of JSON."""
    name: str
    file: str | None
    status: str
    layer: str | None = None
    shape: tuple[int, ...] | None = None
    """The shape of y."""
    checks: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)
    """The checks that make the case fail, as in the JSON; of very many the first."""
    failures: int = 0
    error: Fault | None = None
    seconds: float = 0.0
    reproduce: str = ""
    key: str | None = None

    @property
    def label(self) -> str:
        """How a case is named among others: FILE::NAME."""
        return f"{self.file}::{self.name}" if self.file else self.name


def outcome_of(data: Mapping[str, Any], text: str) -> Outcome:
    """Return a result's JSON data, and the text it was read from, as an outcome.

    Raises ValueError where the data is not what a result's record is.
    """
    try:
        if data["format"] != FORMAT or data["status"] not in STATUSES:
            raise ValueError("not a result of this format")
        checks, error = data.get("checks", []), data.get("error")
        wrong = [c for c in checks if c["verdict"] in FAILING and not c.get("allowed")]
        y = data.get("tensors", {}).get("y")
        return Outcome(
            text=text,
            name=data["name"],
            file=data.get("file"),
            status=data["status"],
            layer=data.get("layer"),
            shape=tuple(y["shape"]) if y else None,
            checks=len(checks),
            wrong=wrong[:_KEPT_CHECKS],
            failures=len(wrong),
            error=Fault(message=error["message"], where=error.get("where")) if error else None,
            seconds=float(data.get("seconds", 0.0)),
            reproduce=data.get("reproduce", ""),
            key=data.get("key"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a result: {error!r}") from None


def summarize(result: Result, *, values: bool, key: str | None, lines: int = 1) -> Outcome:
    """Return a result as an outcome; `key` tells a resumed run that it is there already.

    `lines` is how many results its case gives, so that a resumed run sees a case cut short.
    """
    from cnncli.runs.record import record

    data = record(result, values=values)
    if key is not None:
        data["key"] = key
        if lines > 1:
            data["lines"] = lines
    return outcome_of(data, json.dumps(data, allow_nan=False))

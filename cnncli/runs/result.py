"""What a case gave: one object, of which every view and file is made, and which a file gives back.

`record` is its JSON, `read` the way back. Arrays, pictures' references and explanations are known
where the case was run; a result that crosses processes, or comes from a file, is without them.
Imports no NumPy: whoever only passes results on needs none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from cnncli.cases.layout import to_outside
from cnncli.checks.check import Check, wrote_into
from cnncli.checks.reasons import CHANGED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnncli.layers.explain.parts import Explanation

FORMAT = "cnncli.result/1"
Role = Literal["input", "output", "gradient"]
Status = Literal["passed", "done", "failed", "invalid", "timeout", "crashed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)
WELL = ("done", "passed", "skipped")


@dataclass(frozen=True, kw_only=True)
class TensorResult:
    """One tensor of a result: what is told of it and, where the case was run, its array.

    All that a user reads, saves or indexes is `outside` and has `shape`, in the order of `layout`.
    """

    name: str
    role: Role
    shape: tuple[int, ...]
    dtype: str
    """The type it was computed with."""
    layout: str = "nchw"
    source: str | None
    stored: str
    """The type it was stored in, where it is an input; else the type it was computed in."""
    min: float
    max: float
    mean: float
    std: float
    sum: float
    nonfinite: int
    held: NDArray[Any] | None = field(default=None, repr=False)

    @property
    def array(self) -> NDArray[Any]:
        """The elements, NCHW, which a result has where its case was run."""
        assert self.held is not None
        return self.held

    @property
    def outside(self) -> NDArray[Any]:
        """The array in the order of the axes that the user chose, a view."""
        return to_outside(self.layout, self.name, self.array)

    def record(self, *, values: bool) -> dict[str, Any]:
        """Return this tensor as JSON data; an output or gradient with its elements if `values`."""
        data: dict[str, Any] = {"role": self.role}
        if self.source is not None:
            data["source"] = self.source
        data |= {"shape": list(self.shape), "dtype": self.dtype}
        if self.stored != self.dtype:
            data["stored_dtype"] = self.stored
        data |= {name: getattr(self, name) for name in _STATISTICS}
        if values and self.role != "input":
            data["values"] = self.outside.tolist()
        return data

    @classmethod
    def read(cls, name: str, data: Mapping[str, Any]) -> TensorResult:
        """Return what was recorded of tensor `name`."""
        return cls(
            name=name,
            role=data["role"],
            shape=tuple(data["shape"]),
            dtype=data["dtype"],
            source=data.get("source"),
            stored=data.get("stored_dtype", data["dtype"]),
            **{statistic: number(data[statistic]) for statistic in _STATISTICS},
        )


_STATISTICS = ("min", "max", "mean", "std", "sum", "nonfinite")

References = dict[str, dict[str, "NDArray[Any]"]]
"""What tensors were judged by and beside: `numeric` of a gradient that was checked, `expected` of
what was given, and by its label what another implementation gave; NCHW."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a case gave nothing, and the place that says so."""

    message: str
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What a case of people's code is about and worth, and what was noticed beside."""

    function: str
    points: float
    notes: tuple[str, ...] = ()
    """What loading the file showed."""
    shrunk: tuple[str, ...] = ()
    """The smallest case at which each of its functions is wrong, in words."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one case gave: of ours alone or, with an `implementation`, of that one."""

    name: str
    status: Status
    file: str | None = None
    layer: str | None = None
    convention: str | None = None
    layout: str | None = None
    """The order of the axes outside, which every index in `checks` and `explanations` has; `params`
    name axes and need none."""
    params: dict[str, Any] | None = None
    tensors: dict[str, TensorResult] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    theirs: dict[str, dict[str, TensorResult]] = field(default_factory=dict)
    """What each implementation that it was judged against computed, by its label."""
    explanations: list[Explanation] = field(default_factory=list)
    references: References = field(default_factory=dict)
    error: Fault | None = None
    seconds: float = 0.0
    reproduce: str = ""
    implementation: str | None = None
    """Whose result this is, where the case was judged by several or is of people's code."""
    grade: Grade | None = None
    """Of people's code: what it is about and worth."""
    key: str | None = None
    """What a resumed run knows it by."""
    lines: int = 1
    """How many results its case gave, so that a resumed run sees a case cut short."""
    line: str = field(default="", repr=False)
    """The record as a line of JSON, once it is made."""
    kept: bool = False
    """It stood in the results file already."""

    @property
    def label(self) -> str:
        """How a case is named among others: FILE::NAME."""
        return f"{self.file}::{self.name}" if self.file else self.name

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong: it passed, had nothing to check, or was skipped."""
        return self.status in WELL

    @property
    def failing(self) -> list[Check]:
        """The checks that make the case fail."""
        return [check for check in self.checks if check.fails_case]

    @property
    def earned(self) -> float:
        """The points earned: all, or none."""
        return self.grade.points if self.grade is not None and self.status == "passed" else 0.0

    @property
    def reason(self) -> str | None:
        """The first reason why the case fails, in the words that `against` has for it."""
        return self.failing[0].reason if self.failing else None

    @property
    def cause(self) -> str | None:
        """Why the case fails, in a line."""
        return self.failing[0].headline if self.failing else None

    @property
    def also_changed(self) -> str:
        """Into what people's code wrote, beside failing for another reason; empty if it did not."""
        changed = dict.fromkeys(name for check in self.checks for name in check.changed or ())
        return wrote_into([*changed]) if changed and self.reason != CHANGED else ""

    def record(self, *, values: bool = False) -> dict[str, Any]:
        """Return the result as strict JSON data; a key that does not apply is absent.

        With `values`, every output and gradient carries its elements.
        """
        data: dict[str, Any] = {"format": FORMAT, "name": self.name, "file": self.file}
        data |= {"layer": self.layer, "status": self.status, "convention": self.convention}
        data |= {"layout": self.layout, "params": self.params}
        if self.tensors:
            data["tensors"] = {n: one.record(values=values) for n, one in self.tensors.items()}
        if self.tensors or self.checks:
            data["checks"] = [check.record() for check in self.checks]
        if self.explanations:
            data["explanations"] = [one.record() for one in self.explanations]
        if self.error is not None:
            data["error"] = {"message": self.error.message}
            if self.error.where is not None:
                data["error"]["where"] = self.error.where
        data["seconds"] = round(self.seconds, 6)
        data["reproduce"] = self.reproduce or None
        data["implementation"] = self.implementation
        if self.grade is not None:
            data |= {"function": self.grade.function, "points": self.grade.points}
            data |= {"earned": self.earned, "reason": self.reason, "cause": self.cause}
            data |= {"notes": list(self.grade.notes), "shrunk": list(self.grade.shrunk)}
        data["key"] = self.key
        data["lines"] = self.lines if self.lines > 1 else None
        return {key: strict(value) for key, value in data.items() if value is not None}

    def text(self, *, values: bool = False) -> str:
        """Return the record as one line of strict JSON, in ASCII, which every stream can show."""
        return json.dumps(self.record(values=values), allow_nan=False)

    def written(self, *, values: bool = False) -> Result:
        """Return the result with its line made and no arrays, as it crosses processes."""
        return replace(
            self,
            tensors={n: replace(one, held=None) for n, one in self.tensors.items()},
            theirs={},
            explanations=[],
            references={},
            line=self.text(values=values),
        )

    @classmethod
    def read(cls, line: str) -> Result:
        """Return the result that a line of JSON records; raise ValueError where it is none."""
        data = json.loads(line)
        try:
            if data["format"] != FORMAT or data["status"] not in STATUSES:
                raise ValueError("not a result of this format")
            error, grade = data.get("error"), None
            if "function" in data:
                grade = Grade(
                    function=str(data["function"]),
                    points=float(data["points"]),
                    notes=tuple(map(str, data["notes"])),
                    shrunk=tuple(map(str, data["shrunk"])),
                )
            return cls(
                name=_text(data["name"]),
                file=None if data.get("file") is None else _text(data["file"]),
                status=data["status"],
                layer=data.get("layer"),
                convention=data.get("convention"),
                layout=data.get("layout"),
                params=data.get("params"),
                tensors={n: TensorResult.read(n, t) for n, t in data.get("tensors", {}).items()},
                checks=[Check.read(check) for check in data.get("checks", [])],
                error=None if error is None else Fault(**error),
                seconds=float(data.get("seconds", 0.0)),
                reproduce=str(data.get("reproduce", "")),
                implementation=data.get("implementation"),
                grade=grade,
                key=data.get("key"),
                lines=int(data.get("lines", 1)),
                line=line,
            )
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"not a result: {fault!r}") from None


def status_of(checks: Sequence[Check]) -> Status:
    """Return what a computed case's checks make of it: a check that was skipped is no pass."""
    if not checks:
        return "done"
    if any(check.fails_case for check in checks):
        return "failed"
    return "skipped" if all(check.verdict == "skipped" for check in checks) else "passed"


def skip_reason(checks: Sequence[Check]) -> Fault | None:
    """Return why every check of a case was skipped, None where one was not."""
    if status_of(checks) != "skipped":
        return None
    reasons = dict.fromkeys(f"{check.implementation}: {check.reason}" for check in checks)
    return Fault(message="; ".join(reasons))


def by_implementation(result: Result) -> list[Result]:
    """Return the result itself, or one for each implementation with the other checks in each."""
    labels = list(dict.fromkeys(check.implementation for check in result.checks))
    named = [label for label in labels if label is not None]
    if len(named) < 2:
        return [result]
    results = []
    for label in named:
        checks = [check for check in result.checks if check.implementation in (None, label)]
        one = replace(
            result,
            checks=checks,
            status=status_of(checks),
            error=skip_reason(checks),
            theirs={name: found for name, found in result.theirs.items() if name == label},
            implementation=label,
            lines=len(named),
        )
        results.append(one)
    return results


def strict(value: Any) -> Any:
    """Return data that strict JSON can hold: numbers that are not finite become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def number(value: Any) -> Any:
    """Return the number that `strict` made text of; whatever else as it is."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value

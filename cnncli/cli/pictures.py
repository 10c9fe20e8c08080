"""The flags for people who see: --show, --plane and --save-report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnncli.cli.flags import Flag, switch_flag, text_flag
from cnncli.errors import UsageError
from cnncli.numerals import short, whole_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEING = "Seeing"
SUFFIXES = (".html", ".svg")
FIRST = "0,0"
WORST = f"{FIRST}; where the worst element is, if it is wrong"
"""The plane of a judged array."""


def picture_flags(default: str) -> list[Flag]:
    """Return the flags that ask for pictures; `default` says which plane is shown unasked."""
    return [
        switch_flag("show", "Show planes of the tensors as heat maps, side by side.", SEEING),
        text_flag(
            "plane",
            f"Which plane to show: sample and channel. [default: {default}]",
            SEEING,
            "N,C",
        ),
        text_flag(
            "save_report",
            "Write what the terminal shows as a page or a picture.",
            SEEING,
            "FILE.html|.svg",
        ),
    ]


def seeing_flags(default: str = FIRST) -> list[Flag]:
    """Return the flags of a layer command that show what it computes; see picture_flags."""
    explain = text_flag(
        "explain",
        "Spell out one element: 0,2,3,1 of y, dx:0,1,4,4 of a gradient; repeatable.",
        SEEING,
        "[NAME:]INDEX",
        many=True,
    )
    config = text_flag(
        "save_config", "Write this call as a config that runs to the same result.", SEEING, "FILE"
    )
    return [*picture_flags(default), explain, config]


@dataclass
class Pictures:
    """What is to be seen, and the file that keeps it."""

    show: bool | None
    plane: tuple[int, ...]
    report: Path | None
    title: str

    def judge_plane(
        self, tensors: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Raise UsageError where no tensor has the plane that was asked for.

        `shapes` are what the message calls theirs.
        """
        if not self.plane or not tensors:
            return
        from cnncli.layers.base import shape_text
        from cnncli.report.heatmap import has_plane

        if not any(has_plane(array, self.plane) for array in tensors.values()):
            known = ", ".join(f"{name} {shape_text(shape)}" for name, shape in shapes.items())
            asked = ",".join(map(str, self.plane))
            raise UsageError(f"no tensor has the plane {asked}: {known}", "--plane")

    def save(self, view: Callable[[Any], None]) -> None:
        """Write the report, where one is wanted; `view` shows it on any console."""
        if self.report is not None:
            from cnncli.report.page import save_report

            save_report(self.report, view, self.title)


def take_pictures(values: dict[str, Any]) -> Pictures:
    """Take the flags that ask for pictures out of a command's values; raise UsageError."""
    from cnncli.cli.typed import command_line
    from cnncli.runs.files import refuse_unwritable

    show, plane = values.pop("show", None), values.pop("plane", None)
    report = values.pop("save_report", None)
    if plane is not None and show is False:
        raise UsageError("--plane says what to show, --no-show forbids it", "--plane")
    if report is not None and Path(report).suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"a report is a page, FILE.html, or a picture, FILE.svg, not {report}", "--save-report"
        )
    if report is not None:
        refuse_unwritable(Path(report), "--save-report")
    return Pictures(
        show=True if plane is not None else show,
        plane=() if plane is None else _plane(plane),
        report=None if report is None else Path(report),
        title=command_line(),
    )


def _plane(text: str) -> tuple[int, ...]:
    indices = [whole_of(word) for word in text.split(",")]
    if any(index is None or index < 0 for index in indices):
        raise UsageError(f"a plane is its indices, such as 0,2, not {short(text)}", "--plane")
    return tuple(index for index in indices if index is not None)

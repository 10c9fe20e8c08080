"""What a worker does with one case: build it, run it, save it, and say what it gave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.cases.case import read_layer
from cnncli.cases.config import Entry
from cnncli.cases.flags import expectations_from
from cnncli.cases.node import Node, from_data
from cnncli.errors import CnncliError, ConfigError, GeometryError, MemoryBoundError
from cnncli.runs.one import RunOptions, invalid, run_case
from cnncli.runs.outcome import Outcome, summarize
from cnncli.runs.result import Fault, Result, Status
from cnncli.runs.split import by_implementation

if TYPE_CHECKING:
    from cnncli.cases.case import Case


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a batch asks of every case; calling it runs one. Pickles, and imports no NumPy."""

    options: RunOptions
    settings: tuple[tuple[str, Node], ...] = ()
    """The values of `--set`."""
    expect: str | None = None
    """The folder whose DIR/CASE holds what every tensor must equal."""
    gradcheck: bool | None = None
    """Whether every case's gradients are checked; None is as the case says."""
    against: tuple[str, ...] = ()
    """Who else is to compute every case."""
    save: str | None = None
    values: bool = False
    keyed: bool = False
    """Results carry the key that a resumed run knows them by."""
    flags: str = ""
    """What the reproduce line repeats of the batch's own flags."""

    def __call__(self, entry: Entry) -> list[Outcome]:
        """Return the outcomes of one entry; whatever goes wrong with it is one of them."""
        return self.outcomes(entry, self.results(entry))

    def outcomes(self, entry: Entry, results: Sequence[Result]) -> list[Outcome]:
        """Return results as they are kept."""
        key = None
        if self.keyed:
            from cnncli.runs.keys import case_key

            key = case_key(self, entry)
        return [
            summarize(result, values=self.values, key=key, lines=len(results)) for result in results
        ]

    def results(self, entry: Entry) -> list[Result]:
        """Return what one entry gives: `invalid`, or `skipped`, where its input is bad."""
        started = time.perf_counter()
        try:
            case = self.build(entry)
            result = run_case(case, self.options)
            if self.save is not None and result.tensors:
                from cnncli.runs.files import save_result

                save_result(result, Path(self.save) / result.name)
        except CnncliError as error:
            return [self._judged(entry, error)]
        except MemoryError:
            message = "this case needs more memory than there is"
            return [self._judged(entry, MemoryBoundError(message, entry.where))]
        except Exception as error:
            # A fault of ours costs this case and no other.
            return [
                self.lost(
                    entry,
                    "crashed",
                    f"a fault of cnncli itself: {type(error).__name__}: {error}",
                    time.perf_counter() - started,
                )
            ]
        return by_implementation(result)

    def build(self, entry: Entry) -> Case:
        """Return the case of an entry, the batch's own flags on top; raise CnncliError."""
        return self.prepared(entry).build(reproduce=self.reproduce(entry))

    def prepared(self, entry: Entry) -> Entry:
        """Return an entry with what the batch asks of every case; raise CnncliError."""
        if entry.error is not None:
            raise entry.error
        entry = entry.with_settings(self.settings)
        if self.expect is not None:
            layer = read_layer(entry.entries, entry.where)
            expected = expectations_from([str(Path(self.expect) / entry.name)], layer)
            entry = entry.with_flags({"expect": Node(expected, "--expect")})
        if self.gradcheck is False:
            entry = entry.with_flags({"gradcheck": Node(False, "--no-gradcheck")})
        elif self.gradcheck:
            written = entry.entries.get("gradcheck")
            if written is None or not written.value:
                entry = entry.with_flags({"gradcheck": Node(True, "--gradcheck")})
        if self.against:
            entry = entry.with_flags({"against": from_data(list(self.against), "--against")})
        return entry

    def not_handed_in(self, entry: Entry) -> list[str]:
        """Return which results that a case is about its folder of `--expect` lacks.

        Nothing where the case, or what the folder holds, is an error of its own.
        """
        from cnncli.cases.handedin import not_handed_in

        if self.expect is None:
            return []
        try:
            self.prepared(entry)
            case = replace(self, expect=None).build(entry)
        except CnncliError:
            return []
        return not_handed_in(case, str(Path(self.expect) / entry.name))

    def reproduce(self, entry: Entry) -> str:
        """Return the command that runs this case alone as the batch runs it."""
        line = entry.reproduce
        return f"{line} {self.flags}" if line and self.flags else line

    def lost(self, entry: Entry, status: Status, message: str, seconds: float) -> Result:
        """Return the result of a case that gave none: its worker died, or took too long."""
        return Result(
            name=entry.name,
            file=entry.file,
            layer=_layer_name(entry),
            status=status,
            error=Fault(message=message, where=entry.where),
            seconds=seconds,
            reproduce=self.reproduce(entry),
        )

    def _judged(self, entry: Entry, error: CnncliError) -> Result:
        result = invalid(error, name=entry.name, file=entry.file, reproduce=self.reproduce(entry))
        if entry.skip_invalid and entry.error is None and self.impossible(entry):
            return replace(result, status="skipped", layer=_layer_name(entry))
        return result

    def impossible(self, entry: Entry) -> bool:
        """Tell whether it is the layer's own rule, on shapes and parameters, that refuses a case.

        A value that reads as nothing, a file that is not there or an expectation of a tensor that
        the layer does not have is a mistake in the config, which no `skip_invalid` may hide.
        """
        from cnncli.cases.tensors import open_ingredients, plan_for

        try:
            case = self.build(entry)
            with open_ingredients(case) as ingredients:
                try:
                    plan_for(case, ingredients.shapes)
                except (GeometryError, ConfigError):
                    return True
        except (CnncliError, MemoryError):
            return False
        return False


def _layer_name(entry: Entry) -> str | None:
    node = entry.entries.get("layer")
    return node.value if node is not None and isinstance(node.value, str) else None

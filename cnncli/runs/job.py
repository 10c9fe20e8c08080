"""What is asked of every case of a batch, and what one process makes of a unit of it.

What is run at once is a `Unit`: one case with its own checks and the libraries that it is judged
against, or one person's file with every case that is for it.

The parent of a pool needs no NumPy: what runs cases is imported where one is run.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.cases.against import Against, parse_against
from cnncli.cases.calls import functions_of
from cnncli.cases.case import read_layer
from cnncli.cases.config import Entry
from cnncli.cases.flags import expectations_from
from cnncli.cases.handedin import not_handed_in
from cnncli.cases.node import Node, from_data
from cnncli.cases.tensors import open_ingredients, plan_for
from cnncli.errors import CnncliError, ConfigError, GeometryError, MemoryBoundError
from cnncli.implementations.names import names_files
from cnncli.runs.files import save_result
from cnncli.runs.options import RunOptions
from cnncli.runs.result import Fault, Grade, Result, Status, by_implementation
from cnncli.runs.results import Identity

if TYPE_CHECKING:
    from cnncli.cases.case import Case
    from cnncli.implementations.base import Implementation
    from cnncli.runs.against import AskedCase

OUT_OF_MEMORY = "this case needs more memory than there is"
MOST_HELD = 256 << 20
"""Bytes of cases that a process keeps ready for the next person's file."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a process is given at once: one case, or a person's file with its cases."""

    entries: tuple[Entry, ...]
    submission: Implementation | None = None

    def identity(self, entry: Entry) -> Identity:
        """Return what the results of one of its cases are known by."""
        return entry.label, None if self.submission is None else self.submission.label


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a batch asks of every case; calling it runs a unit. Pickles, and imports no NumPy."""

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
    shrink: bool = False
    """Find the smallest case at which each of people's functions is wrong."""
    keyed: bool = False
    """Results carry the key that a resumed run knows them by."""
    flags: str = ""
    """What the reproduce line repeats of the batch's own flags, `--against` left out."""
    _exercises: dict[str, AskedCase] = field(default_factory=dict, compare=False, repr=False)
    """Cases that are ready for people's code, by their label: every file is asked the same."""

    def __call__(self, unit: Unit) -> list[Result]:
        """Return the results of a unit; whatever goes wrong with a case is one of them."""
        if unit.submission is not None:
            return self._judged(unit.entries, unit.submission)
        (entry,) = unit.entries
        return self.written(entry, self.results(entry))

    def written(
        self, entry: Entry, results: Sequence[Result], submission: Implementation | None = None
    ) -> list[Result]:
        """Return results as they are kept, with the key of their case."""
        key = self.key(entry, submission) if self.keyed else None
        return [replace(one, key=key).written(values=self.values) for one in results]

    def results(self, entry: Entry) -> list[Result]:
        """Return what one case gives by itself: `invalid`, or `skipped`, where its input is bad.

        What keeps a case from people's functions is such an error. Nothing else is told of a case
        where the batch is about people's code alone.
        """
        from cnncli.runs.one import run_case

        started = time.perf_counter()
        try:
            case = self.build(entry)
            libraries = tuple(one for one in case.against if not names_files(one.text, one.base))
            if len(libraries) < len(case.against) and (case.call or not self.against):
                self.resolve(case)
                self._exercise(entry, case)
                if self.is_people_s:
                    return []
            result = run_case(replace(case, against=libraries), self.options)
            if self.save is not None and result.tensors:
                save_result(result, Path(self.save) / result.name)
        except CnncliError as error:
            return [self.refused(entry, error)]
        except MemoryError:
            return [self.refused(entry, MemoryBoundError(OUT_OF_MEMORY, entry.where))]
        except Exception as error:
            # A fault of ours costs this case and no other.
            text = f"a fault of cnncli itself: {type(error).__name__}: {error}"
            return [self.lost(entry, "crashed", text, time.perf_counter() - started)]
        return by_implementation(result)

    def _judged(self, entries: Sequence[Entry], submission: Implementation) -> list[Result]:
        """Return what a person's file gives for every case that can be asked.

        That a case cannot be is told once, by the case's own unit.
        """
        from cnncli.runs.submissions import judge_submission

        results: list[Result] = []
        asked, exercises = [], []
        for entry in entries:
            try:
                exercises.append(self._exercise(entry, self.build(entry)))
                asked.append(entry)
            except (CnncliError, MemoryError) as error:
                # How much memory is free may have changed since the case's own unit was run.
                is_short = isinstance(error, MemoryError) or (
                    isinstance(error, MemoryBoundError) and self.options.max_memory is None
                )
                if is_short:
                    lost = self.lost(entry, "crashed", OUT_OF_MEMORY, 0.0, submission)
                    results += self.written(entry, [lost], submission)
        found = judge_submission(submission, exercises, self.options, shrink=self.shrink)
        for entry, result in zip(asked, found, strict=True):
            line = self.reproduce(entry, submission)
            results += self.written(entry, [replace(result, reproduce=line)], submission)
        return results

    def _exercise(self, entry: Entry, case: Case) -> AskedCase:
        """Return a case ready for people's code; raise CnncliError where its input is bad."""
        from cnncli.runs.exercise import make_exercise

        if entry.label in self._exercises:
            return self._exercises[entry.label]
        if self.against:
            case = replace(case, gradcheck=None)  # ties are judged as values: no gradient check
        exercise = make_exercise(case, self.options)
        held = sum(one.held_bytes for one in self._exercises.values())
        if held + exercise.held_bytes <= MOST_HELD:
            self._exercises[entry.label] = exercise
        return exercise

    def resolve(self, case: Case) -> list[Implementation]:
        """Return the files of people's code that a case is judged against; raise CnncliError."""
        named = [one for one in case.against if names_files(one.text, one.base)]
        return [found for one in named for found in self.find(one)]

    def find(self, named: Against) -> list[Implementation]:
        """Return who is named, within the batch's limits; raise CnncliError where nobody is."""
        from cnncli.runs.against import resolve_asked

        return resolve_asked(named, self.options)

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

    @property
    def is_people_s(self) -> bool:
        """Whether the batch was asked to judge people's code, and nothing else."""
        return bool(self.against) and all(map(names_files, self.against))

    def key(self, entry: Entry, submission: Implementation | None = None) -> str:
        """Return what a resumed run knows a case by, as this batch runs it; see Entry.key.

        Who else is judged beside the submission, or beside the case by itself, is no part of it.
        """
        asked: dict[str, object] = {"max_memory": self.options.max_memory, "values": self.values}
        try:
            prepared = self.prepared(entry)
            if submission is not None:
                asked["code"] = submission.key
            elif "against" in prepared.entries:
                named = parse_against(prepared.entries["against"])
                files = [one for one in named if names_files(one.text, one.base)]
                libraries = [one.text for one in named if one not in files]
                asked["against"] = None if self.is_people_s else libraries
                for one in files:
                    self.find(one)
            rest = {key: node for key, node in prepared.entries.items() if key != "against"}
            return replace(prepared, entries=rest).key(**asked)
        except CnncliError as error:
            return entry.key(error=str(error), **asked)

    def not_handed_in(self, entry: Entry) -> list[str]:
        """Return which results that a case is about its folder of `--expect` lacks.

        Nothing where the case, or what the folder holds, is an error of its own.
        """
        if self.expect is None:
            return []
        try:
            self.prepared(entry)
            case = replace(self, expect=None).build(entry)
        except CnncliError:
            return []
        return not_handed_in(case, str(Path(self.expect) / entry.name))

    def reproduce(self, entry: Entry, submission: Implementation | None = None) -> str:
        """Return the command that runs this case alone as the batch runs it.

        It is judged against all that the batch says, or against one submission.
        """
        if not entry.reproduce:
            return ""
        if submission is None:
            words = [word for name in self.against for word in ("--against", name)]
        elif self.against or any(key == "against" for key, _ in self.settings):
            words = ["--against", submission.label]  # over what the flags say already
        else:
            words = ["--set", f"against={json.dumps(submission.label)}"]
        return " ".join(filter(None, [entry.reproduce, self.flags, shlex.join(words)]))

    def lost(
        self,
        entry: Entry,
        status: Status,
        message: str,
        seconds: float,
        submission: Implementation | None = None,
    ) -> Result:
        """Return the result of a case that gave none: its worker died, or took too long."""
        grade = None
        if submission is not None:
            with contextlib.suppress(CnncliError):
                case = self.build(entry)
                grade = Grade(function=functions_of(case.call), points=case.points)
        return Result(
            name=entry.name,
            file=entry.file,
            layer=_layer_name(entry),
            status=status,
            error=Fault(message=message, where=entry.where),
            seconds=seconds,
            reproduce=self.reproduce(entry, submission),
            implementation=None if submission is None else submission.label,
            grade=grade,
        )

    def refused(self, entry: Entry, error: CnncliError) -> Result:
        """Return the result of a case whose input is bad, or that is skipped for it."""
        skipped = entry.skip_invalid and entry.error is None and self.is_impossible(entry)
        return Result(
            name=entry.name,
            file=entry.file,
            layer=_layer_name(entry) if skipped else None,
            status="skipped" if skipped else "invalid",
            error=Fault(message=error.message, where=error.where),
            reproduce=self.reproduce(entry),
        )

    def is_impossible(self, entry: Entry) -> bool:
        """Tell whether it is the layer's own rule, on shapes and parameters, that refuses a case.

        A value that reads as nothing, a file that is not there or an expectation of a tensor that
        the layer does not have is a mistake in the config, which no `skip_invalid` may hide.
        """
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

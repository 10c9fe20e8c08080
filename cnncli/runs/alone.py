"""One case against the files that it names: what a layer command judges, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnncli.cases.against import Against
from cnncli.cases.case import Case
from cnncli.checks.check import Check
from cnncli.implementations.people.find import find_submissions
from cnncli.layers.base import Plan, Tensors
from cnncli.runs.one import RunOptions
from cnncli.runs.submissions import judge_limits, prepare, run_prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What one file gave for one case: the verdicts, and the arrays that its functions returned."""

    label: str
    checks: list[Check]
    arrays: dict[str, NDArray[Any]]


def judge_files(
    case: Case, plan: Plan, arrays: Tensors, asked: Against, options: RunOptions
) -> Iterator[Alone]:
    """Yield what every file that `asked` names gave; raise CnncliError where it cannot be asked."""
    judge_limits(options)
    prepared = prepare(case, plan, arrays)
    padded = {target.name for call in case.call for target in call.targets if target.padded}
    for submission in find_submissions(asked.text, asked.where, asked.base):
        (found,), ran = run_prepared(submission, [prepared], options)
        notes = "; ".join(ran.notes)
        checks = []
        for check in found:
            joined = "; ".join(text for text in (check.note, notes) if text)
            checks.append(replace(check, note=joined or None))
        returned = {
            name: one.array
            for name, one in ran.outcomes[0].returned.items()
            if one.array is not None and name not in padded
        }
        yield Alone(label=submission.label, checks=checks, arrays=returned)

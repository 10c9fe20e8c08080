"""Whether a function takes its arguments in another order than the case's call gives them.

Tried, not guessed: where a result is wrong for no known cause, the call is made again with two
arguments exchanged, and that is the cause where it makes the result right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from cnncli.cases.calls import Call
from cnncli.checks.check import CHANGED, Check
from cnncli.checks.diagnosis import UNKNOWN
from cnncli.checks.usercode import SHAPE, VALUES, judge_outcome
from cnncli.implementations.people.isolate import Limits, Outcome, Work, run_submission

if TYPE_CHECKING:
    from cnncli.implementations.people.find import Submission
    from cnncli.runs.submissions import Prepared

FAULT = "arguments exchanged"
MOST = 12
"""Pairs tried of one case."""
MOST_BYTES = 64 << 20
"""Of all trials' tensors: a submission's process holds them all."""
ARRAYS = ("tensor", "pad", "result")
SECONDS, SLOWER = 2.0, 10.0
"""How long a trial may take at least, and how many times what the case took."""


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """One case with two arguments of one of its calls exchanged."""

    case: int
    call: Call
    names: tuple[str, str]
    work: Work


def name_exchanged(
    submission: Submission,
    prepared: Sequence[Prepared],
    checks: Sequence[list[Check]],
    outcomes: Sequence[Outcome],
    limits: Limits,
    *,
    run_all: bool,
) -> list[list[Check]]:
    """Return the checks, with the cause of those that two exchanged arguments make right."""
    doubtful = [number for number, found in enumerate(checks) if any(map(_unexplained, found))]
    trials = _affordable(
        trial for number in doubtful for trial in _trials(number, prepared[number])
    )
    if not trials:
        return list(checks)
    slowest = max(outcomes[number].seconds for number in doubtful)
    seconds = min(limits.seconds, max(SECONDS, SLOWER * slowest))
    ran = run_submission(
        submission.path,
        [trial.work for trial in trials],
        replace(limits, seconds=seconds),
        run_all=run_all,
        siblings=submission.siblings,
        again=False,
    )
    named = [list(found) for found in checks]
    for trial, outcome in zip(trials, ran.outcomes, strict=True):
        one = prepared[trial.case]
        tried = judge_outcome(
            submission.label, one.case.layer, one.case.call, outcome, one.right, one.case.tolerance
        )
        right = {c.tensor for c in tried if c.verdict == "pass" or c.reason == CHANGED}
        for at, check in enumerate(named[trial.case]):
            if check.tensor in right and _unexplained(check):
                named[trial.case][at] = replace(check, diagnosis=[_cause(trial)], runner_up=None)
    return named


def _affordable(trials: Iterable[_Trial]) -> list[_Trial]:
    """Return the trials, as far as their tensors fit into what trials may take."""
    kept, held = [], 0
    for trial in trials:
        held += sum(array.nbytes for array in trial.work.tensors.values())
        if held > MOST_BYTES:
            break
        kept.append(trial)
    return kept


def _unexplained(check: Check) -> bool:
    known = [row for row in check.diagnosis or () if row["cause"] != UNKNOWN]
    return check.reason in (SHAPE, VALUES, "exception") and not known


def _cause(trial: _Trial) -> dict[str, Any]:
    first, second = trial.names
    function = trial.call.function
    return {
        "cause": f"{function} takes {first} and {second} the other way round: "
        "it is right with the two exchanged",
        "distance": 0.0,
        "fault": FAULT,
        "look": f"it is called as {trial.call.text}: check the order in the def line of {function}",
    }


def _trials(number: int, prepared: Prepared) -> Iterator[_Trial]:
    """Yield a case with each two alike arguments of a call exchanged, up to MOST."""
    found = 0
    for at, call in enumerate(prepared.case.call):
        forms = prepared.work.calls[at]["arguments"]
        for i, j in combinations(range(len(forms)), 2):
            if _kind(forms[i]) != _kind(forms[j]) or forms[i] == forms[j] or found == MOST:
                continue
            found += 1
            turned = list(forms)
            turned[i], turned[j] = forms[j], forms[i]
            calls = list(prepared.work.calls)
            calls[at] = {**calls[at], "arguments": turned}
            yield _Trial(
                case=number,
                call=call,
                names=(_name(call, i), _name(call, j)),
                work=replace(prepared.work, calls=calls),
            )


def _kind(form: Any) -> str:
    """Tell arrays from numbers: only like is mistaken for like."""
    return "array" if form[0] in ARRAYS else "number"


def _name(call: Call, at: int) -> str:
    """Return an argument as the call writes it; pad(x) is x to the function."""
    tree = ast.parse(call.text, mode="eval").body
    assert isinstance(tree, ast.Call)
    return "x" if call.arguments[at][0] == "pad" else ast.unparse(tree.args[at])

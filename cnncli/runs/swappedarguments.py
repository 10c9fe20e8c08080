"""Whether a function takes its arguments in another order than the case's call gives them.

Tried, not guessed: where a result is wrong for no known cause, the call is made again with two
arguments exchanged, and that is the cause where it makes the result right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from cnncli.cases.calls import Call
from cnncli.checks.against import Judged, judge
from cnncli.checks.check import Check
from cnncli.checks.reasons import CHANGED, EXCEPTION, SHAPE, UNKNOWN, VALUES
from cnncli.implementations.base import Implementation, Task
from cnncli.implementations.people.submission import used_tensors

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
    task: Task


def name_swapped(implementation: Implementation, judged: Sequence[Judged]) -> list[Judged]:
    """Return the verdicts, with the cause of those that two exchanged arguments make right.

    Nothing is tried where no call asks for anything, as of a library.
    """
    doubtful = [n for n, one in enumerate(judged) if any(map(_unexplained, one.checks))]
    trials = _affordable(trial for n in doubtful for trial in _trials(n, judged[n].task))
    if not trials:
        return list(judged)
    seconds = max(SECONDS, SLOWER * max(judged[n].computed.seconds for n in doubtful))
    tasks = [
        replace(trial.task, seconds=min(seconds, trial.task.seconds or seconds), again=False)
        for trial in trials
    ]
    named = [list(one.checks) for one in judged]
    for trial, task, computed in zip(trials, tasks, implementation.compute(tasks), strict=True):
        one = judged[trial.case]
        tried = judge(implementation.label, task, computed, one.ours, one.tolerance).checks
        right = {c.tensor for c in tried if c.verdict == "pass" or c.reason == CHANGED}
        for at, check in enumerate(named[trial.case]):
            if check.tensor in right and _unexplained(check):
                named[trial.case][at] = replace(check, diagnosis=[_cause(trial)], runner_up=None)
    return [replace(one, checks=checks) for one, checks in zip(judged, named, strict=True)]


def _affordable(trials: Iterable[_Trial]) -> list[_Trial]:
    """Return the trials, as far as their tensors fit into what trials may take."""
    kept, held = [], 0
    for trial in trials:
        held += sum(array.nbytes for array in used_tensors(trial.task).values())
        if held > MOST_BYTES:
            break
        kept.append(trial)
    return kept


def _unexplained(check: Check) -> bool:
    known = [row for row in check.diagnosis or () if row["cause"] != UNKNOWN]
    return check.reason in (SHAPE, VALUES, EXCEPTION) and not known


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


def _trials(number: int, task: Task) -> Iterator[_Trial]:
    """Yield a case with each two alike arguments of a call exchanged, up to MOST."""
    found = 0
    for at, call in enumerate(task.calls):
        forms = call.arguments
        for i, j in combinations(range(len(forms)), 2):
            if _kind(forms[i]) != _kind(forms[j]) or forms[i] == forms[j] or found == MOST:
                continue
            found += 1
            turned = list(forms)
            turned[i], turned[j] = forms[j], forms[i]
            calls = list(task.calls)
            calls[at] = replace(call, arguments=tuple(turned))
            yield _Trial(
                case=number,
                call=call,
                names=(_name(call, i), _name(call, j)),
                task=replace(task, calls=tuple(calls)),
            )


def _kind(form: Any) -> str:
    """Tell arrays from numbers: only like is mistaken for like."""
    return "array" if form[0] in ARRAYS else "number"


def _name(call: Call, at: int) -> str:
    """Return an argument as the call writes it; pad(x) is x to the function."""
    tree = ast.parse(call.text, mode="eval").body
    assert isinstance(tree, ast.Call)
    return "x" if call.arguments[at][0] == "pad" else ast.unparse(tree.args[at])

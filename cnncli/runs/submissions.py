"""People's own functions: cases made ready once, then judged submission by submission."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cnncli import __version__
from cnncli.cases.calls import functions_of, resolve_form
from cnncli.cases.case import Case
from cnncli.checks.check import Check
from cnncli.checks.usercode import SHAPE, VALUES, Right, judge_outcome
from cnncli.errors import CnncliError, ConfigError, GeometryError, UsageError
from cnncli.implementations.usercode.find import Submission
from cnncli.implementations.usercode.isolate import Limits, Ran, Work, run_submission
from cnncli.layers.base import Plan, Request, Tensors
from cnncli.runs.exchanged import name_exchanged
from cnncli.runs.memory import free_bytes, size_text
from cnncli.runs.one import RunOptions, compute
from cnncli.runs.result import Result, TensorResult
from cnncli.runs.split import status_of
from cnncli.runs.unpassed import unpassed_inputs, unpassed_parameters, unpassed_text

ENOUGH, STEP = 1 << 30, 16 << 20
"""Memory in which Python and NumPy surely start, and what the least is found to."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A case computed by us: what a submission is asked, and what is right."""

    case: Case
    plan: Plan
    work: Work
    right: dict[str, Right]
    tensors: dict[str, TensorResult] = field(default_factory=dict)

    @property
    def function(self) -> str:
        """The functions judged, as a column of the class report."""
        return functions_of(self.case.call)

    def key(self) -> str:
        """Return what this case asks, calls, values and tolerance, as a hash."""
        digest = hashlib.sha256(repr((__version__, self.case.call, self.case.points)).encode())
        digest.update(repr((self.plan.params, self.case.tolerance)).encode())
        for name, array in self.work.tensors.items():
            digest.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Graded:
    """What one submission gave: a result for every case, and what loading it showed."""

    submission: Submission
    results: list[Result]
    functions: list[str]
    points: list[float]
    notes: tuple[str, ...] = ()
    shrunk: list[str] = field(default_factory=list)
    key: str = ""
    seconds: float = 0.0


def prepare(case: Case, plan: Plan, arrays: Tensors) -> Prepared:
    """Return a computed case ready for submissions; raise CnncliError where it cannot be called."""
    if not case.call:
        raise ConfigError(
            "needs to know how people's functions are called: call in the case, or "
            '--call "y=conv(x, w, stride)"',
            case.where,
        )
    if case.settings.layout != "nchw":
        raise ConfigError(
            "people's functions are called with N, C, H, W, and the layout is "
            f"{case.settings.layout}: save the arrays as N, C, H, W, and leave the layout out",
            case.where,
        )
    calls = [
        {
            "function": call.function,
            "arguments": [resolve_form(form, plan, call.where) for form in call.arguments],
            "keywords": [(n, resolve_form(form, plan, call.where)) for n, form in call.keywords],
            "targets": [(target.name, target.judged) for target in call.targets],
        }
        for call in case.call
    ]
    right: dict[str, Right] = {}
    padded = None
    if any(call.uses("pad") or any(t.padded for t in call.targets) for call in case.call):
        padded = _padded(case, plan, arrays)
    for call in case.call:
        for target in call.judged:
            if target.padded:
                assert padded is not None
                right[target.name] = padded
            elif target.name in arrays:
                right[target.name] = Right(plan=plan, tensors=arrays, array=arrays[target.name])
            else:
                raise GeometryError(f"{target.name} is not computed in this case", call.where)
    used = [name for name in arrays if any(call.uses("tensor", name) for call in case.call)]
    tensors = {name: arrays[name] for name in used}
    if padded is not None:
        tensors["pad(x)"] = padded.tensors["x"]
    return Prepared(case=case, plan=plan, work=Work(calls=calls, tensors=tensors), right=right)


def _padded(case: Case, plan: Plan, arrays: Tensors) -> Right:
    """Return the case with x padded beforehand, and its dx: the gradient of the padded x."""
    import numpy as np

    if plan.params.get("transposed") or plan.params.get("ceil_mode"):
        raise GeometryError("pad(x) has no meaning with transposed or ceil_mode", case.where)
    pairs = plan.params["padding"]
    value = -np.inf if plan.params.get("mode") == "max" else 0.0
    x = np.pad(arrays["x"], ((0, 0), (0, 0), *map(tuple, pairs)), constant_values=value)
    params = replace(case.params, padding=0, **{n: plan.params[n] for n in ("stride", "dilation")})
    if plan.params.get("count_include_pad") is False and any(map(any, pairs)):
        raise GeometryError(
            "pad(x) hides which values are padding; set count_include_pad", case.where
        )
    shapes = {name: array.shape for name, array in arrays.items() if name in plan.inputs}
    request = Request(
        params=params,
        given={},
        tensors={},
        shapes={**shapes, "x": x.shape},
        convention=case.settings.convention,
    )
    inner = case.layer.plan(request)
    tensors = {**arrays, "x": x}
    dx = case.layer.backward(inner, tensors)["dx"] if "dy" in arrays else x
    return Right(plan=inner, tensors=tensors, array=dx)


def prepare_case(case: Case, options: RunOptions) -> Prepared:
    """Compute a case and return it ready; raise CnncliError at its place."""
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            outcome = compute(replace(case, against=(), gradcheck=None), options)
        arrays = {name: one.array for name, one in outcome.tensors.items()}
        return replace(prepare(case, outcome.plan, arrays), tensors=outcome.tensors)
    except CnncliError as error:
        raise error.at(case.where) from None


def limits_of(options: RunOptions) -> Limits:
    """Return what a submission may use: --max-memory, else 2 GiB or half of what is free."""
    memory = options.max_memory or max(512 << 20, min(2 << 30, free_bytes() // 2))
    return Limits(seconds=options.user_seconds, memory=memory)


def judge_limits(options: RunOptions) -> None:
    """Raise UsageError where --max-memory is less than a process needs that calls nothing."""
    asked = options.max_memory
    if asked is None or asked >= ENOUGH or _starts_in(asked):
        return
    low, high = asked // STEP, ENOUGH // STEP
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _starts_in(middle * STEP) else (middle, high)
    raise UsageError(
        f"people's files need at least {high * STEP >> 20}M, which Python and NumPy take "
        f"by themselves, but it allows {size_text(asked)}",
        "--max-memory",
    )


def _starts_in(memory: int) -> bool:
    """Tell whether a file that only imports NumPy is loaded, and a case begun, in that memory."""
    with tempfile.TemporaryDirectory(prefix="cnncli-") as folder:
        path = Path(folder) / "empty.py"
        path.write_text("import numpy as np\n")
        work = Work(calls=[], tensors={})
        ran = run_submission(path, [work], Limits(memory=memory), run_all=False, siblings=False)
    return ran.outcomes[0].trouble is None


def run_prepared(
    submission: Submission, prepared: Sequence[Prepared], options: RunOptions
) -> tuple[list[list[Check]], Ran]:
    """Return the checks of every case of one submission, and how its process went."""
    ran = run_submission(
        submission.path,
        [one.work for one in prepared],
        limits_of(options),
        run_all=options.run_all,
        siblings=submission.siblings,
    )
    checks = [
        judge_outcome(
            submission.label,
            one.case.layer,
            one.case.call,
            outcome,
            one.right,
            one.case.tolerance,
            ran.broken,
        )
        for one, outcome in zip(prepared, ran.outcomes, strict=True)
    ]
    checks = name_exchanged(
        submission, prepared, checks, ran.outcomes, limits_of(options), run_all=options.run_all
    )
    return [
        [_with_unpassed(check, one) for check in found]
        for one, found in zip(prepared, checks, strict=True)
    ], ran


def _with_unpassed(check: Check, prepared: Prepared) -> Check:
    """Return a check that failed with what the function was never told, which may be why."""
    if check.verdict != "fail" or check.reason not in (VALUES, SHAPE, "exception"):
        return check
    case, plan = prepared.case, prepared.plan
    text = unpassed_text(
        unpassed_parameters(case, plan, words=False), unpassed_inputs(case, plan, {check.tensor})
    )
    joined = "; ".join(part for part in (check.note, text) if part)
    return replace(check, note=joined or None)


def grade(
    submission: Submission, prepared: Sequence[Prepared], options: RunOptions, *, shrink: bool
) -> Graded:
    """Return what one submission gives for every case."""
    import numpy as np

    started = time.perf_counter()
    with np.errstate(all="ignore"):
        checks, ran = run_prepared(submission, prepared, options)
        results = [
            Result(
                name=one.case.name,
                file=one.case.file,
                layer=one.case.layer.name,
                convention=one.case.settings.convention,
                params=one.plan.params,
                status=status_of(found),
                checks=found,
                seconds=outcome.seconds,
                reproduce=_reproduce(one.case, submission),
            )
            for one, found, outcome in zip(prepared, checks, ran.outcomes, strict=True)
        ]
        shrunk = []
        if shrink:
            from cnncli.runs.shrink import shrink_all

            shrunk = shrink_all(submission, prepared, results, options)
    return Graded(
        submission=submission,
        results=results,
        functions=[one.function for one in prepared],
        points=[one.case.points for one in prepared],
        notes=ran.notes + ran.broken,
        shrunk=shrunk,
        key=grading_key(submission, prepared, options),
        seconds=time.perf_counter() - started,
    )


def _reproduce(case: Case, submission: Submission) -> str:
    import shlex

    if not case.reproduce:
        return ""
    return f"{case.reproduce} --against {shlex.quote(submission.label)}"


def grading_key(submission: Submission, prepared: Sequence[Prepared], options: RunOptions) -> str:
    """Return what the grades of a submission depend on, as a hash: its text, the cases, us."""
    digest = hashlib.sha256(f"{options.run_all} {limits_of(options).seconds}".encode())
    digest.update(submission.label.encode() + b"\0")
    digest.update(_content(submission.path))
    for one in prepared:
        digest.update(one.key().encode())
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""


def grade_all(
    submissions: Sequence[Submission],
    prepared: Sequence[Prepared],
    options: RunOptions,
    *,
    jobs: int,
    shrink: bool,
) -> Iterator[Graded]:
    """Yield what every submission gives, in their order, `jobs` at a time.

    Threads are enough: each waits for a process of its own.
    """
    from concurrent.futures import ThreadPoolExecutor

    work: Callable[[Submission], Any] = lambda one: grade(one, prepared, options, shrink=shrink)  # noqa: E731
    if jobs <= 1:
        yield from map(work, submissions)
        return
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, one) for one in submissions]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

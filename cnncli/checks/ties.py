"""Where max pooling has no derivative: windows whose maximum is tied, and who may be paid there.

A gradient is right at a tie where it is what sharing each tied window's dy among its winners gives.
With overlapping windows the shares cannot be read off the sum; whether some shares exist is a flow
problem for each connected group of windows and winners.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from cnncli.checks.check import Check
from cnncli.kernels.windows import windows
from cnncli.layers.base import Array, Problem

NEAR = 1e-6
"""A gap below this share of the range of x is a tie."""


@dataclass(frozen=True, kw_only=True)
class Ties:
    """The ties of a max pooling.

    `tied` marks the windows of y with several winners and a dy to share; `edges` lists, for each of
    them (by flat output), the flat elements of x that tie. `gap` is half the smallest distance
    between a window's winners and the rest: a step within it changes no winner. Infinite where
    there is no rest.
    """

    tied: Array
    edges: dict[int, list[int]]
    gap: float
    spread: float
    """The largest difference between elements that count as tied; 0 where ties are exact."""

    def members(self) -> set[int]:
        """Return every element of x that ties in some window."""
        return {element for elements in self.edges.values() for element in elements}


def find_ties(problem: Problem) -> Ties | None:
    """Return the ties of max pooling x (N, C, *S), of windows whose dy (N, C, *O) is not zero.

    None where the layer is another: nothing else has any.
    """
    plan = problem.plan
    if plan.layer != "pool" or plan.params["mode"] != "max":
        return None
    x, dy = (np.asarray(problem.tensors[name], np.float64) for name in ("x", "dy"))
    arguments = {key: plan.arguments[key] for key in ("kernel", "stride", "padding", "dilation")}
    where = windows(x.shape[2:], output=plan.arguments["output"], **arguments)
    shape = (math.prod(where.kernel), *dy.shape)
    values = np.full(shape, -np.inf)
    places = np.full(shape, -1, np.int64)
    numbers = np.arange(x.size).reshape(x.shape)
    for number, _, outputs, inputs in where.overlaps():
        values[number][outputs] = x[inputs]
        places[number][outputs] = numbers[inputs]
    finite = x[np.isfinite(x)]
    spread = float(finite.max() - finite.min()) if finite.size else 0.0
    largest = float(np.abs(finite).max(initial=0.0))
    near = max(NEAR * spread, 8 * float(np.spacing(largest)))
    with np.errstate(all="ignore"):
        top = values.max(axis=0)
        wins = (places >= 0) & ((top - values <= near) | (values == top))
        rest = np.where((places >= 0) & ~wins, values, -np.inf)
        gaps = top - rest.max(axis=0)
        tied = (wins.sum(axis=0) > 1) & (dy != 0)
        known = gaps[np.isfinite(gaps) & (gaps > 0)]
        apart = float(np.max(np.where(wins & tied, top - values, 0.0), initial=0.0))
    edges = {}
    flat_wins, flat_places = wins.reshape(shape[0], -1), places.reshape(shape[0], -1)
    for window in np.flatnonzero(tied.reshape(-1)):
        edges[int(window)] = flat_places[flat_wins[:, window], window].tolist()
    gap = float(known.min()) / 2 if known.size else math.inf
    return Ties(tied=tied, edges=edges, gap=gap, spread=apart)


@dataclass(frozen=True, kw_only=True)
class TieVerdicts:
    """What sharing each tied window's dy among its winners makes of a gradient, element by element.

    All are flat, of the elements that were judged: whether an element ties, what an even share
    would give it, and whether what it got is wrong because no sharing gives it.
    """

    tied: Array
    even: Array
    wrong: Array

    @property
    def right(self) -> Array:
        """Which elements tie and got what some sharing gives."""
        return np.asarray(self.tied & ~self.wrong)

    def amended(self, got: Array, expected: Array, allowed: Array) -> tuple[Array, Array]:
        """Return what is expected, and allowed, of elements of which some tie.

        A tied element is right by its share alone: then what it got is what is expected. Where no
        sharing gives it, nothing is allowed: less than no error at all.
        """
        nothing = -np.where(allowed > 0, allowed, 1.0)
        return np.where(self.right, got, expected), np.where(self.wrong, nothing, allowed)


def judge_ties(
    ties: Ties, dy: Array, got: Array, smooth: Array, places: Array, rtol: float, atol: float
) -> TieVerdicts:
    """Judge a gradient of x at ties; `got` and `smooth`, the gradient beyond them, are x's size.

    Only the flat elements `places` are judged; who ties with one of them is one of them too.
    """
    even = np.zeros(got.size)
    tied, wrong, judged = (np.zeros(got.size, bool) for _ in range(3))
    judged[places] = True
    got, smooth, dy = got.reshape(-1), smooth.reshape(-1), dy.reshape(-1)
    for windows_of_it, members in components(ties.edges):
        if not judged[members[0]]:
            continue
        tied[members] = True
        amount = {window: float(dy[window]) for window in windows_of_it}
        for window, whole in amount.items():
            winners = ties.edges[window]
            even[winners] += whole / len(winners)
        wanted = {element: float(got[element] - smooth[element]) for element in members}
        slack = atol + rtol * max(sum(map(abs, amount.values())), *map(abs, wanted.values()))
        if not can_be_shared(windows_of_it, ties.edges, amount, wanted, slack):
            wrong[members] = _beyond(ties.edges, amount, wanted, slack)
    return TieVerdicts(tied=tied[places], even=even[places], wrong=wrong[places])


def _beyond(
    edges: dict[int, list[int]],
    amount: dict[int, float],
    wanted: dict[int, float],
    slack: float,
) -> list[bool]:
    """Return which elements got what no window could give them; all, where only sums are wrong."""
    low, high = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0.0)
    for window, whole in amount.items():
        for element in edges[window]:
            low[element] += min(whole, 0.0)
            high[element] += max(whole, 0.0)
    found = [not low[e] - slack <= value <= high[e] + slack for e, value in wanted.items()]
    return found if any(found) else [True] * len(found)


def forgive_ties(check: Check, problem: Problem, theirs: Array | None) -> Check:
    """Return a failed `against` as a kink where some sharing of dy at ties gives `theirs`.

    Beyond ties it must agree with ours: the problem's tensors hold x, dy and our dx. A gradient
    check judges an array that was given in just this way.
    """
    if check.verdict != "fail" or check.tensor != "dx" or check.changed or theirs is None:
        return check
    found = check.comparison
    if found is None or found.wrong is None or check.rtol is None or theirs.dtype.kind != "f":
        return check
    ties = find_ties(problem)
    if ties is None or not ties.edges:
        return check
    x, dy = (np.asarray(problem.tensors[name], np.float64) for name in ("x", "dy"))
    beyond = np.where(ties.tied, 0.0, dy)
    smooth = problem.layer.backward(problem.plan, {**problem.tensors, "x": x, "dy": beyond})["dx"]
    with np.errstate(all="ignore"):
        got = theirs.astype(np.float64)
        at_ties = judge_ties(
            ties, dy, got, smooth, np.arange(got.size), check.rtol, check.atol or 0.0
        )
    if at_ties.wrong.any() or (found.wrong.reshape(-1) & ~at_ties.tied).any():
        return check
    tied = int(at_ties.tied.sum())
    note = (
        f"{tied} elements tie, where the layer has no derivative; this is what "
        "sharing dy among tied winners can give, in another way than ours"
    )
    return replace(
        check,
        verdict="kink",
        reason=None,
        comparison=replace(found, mismatched=0, wrong=np.zeros_like(found.wrong)),
        tied=tied,
        diagnosis=None,
        runner_up=None,
        tell=None,
        sits=None,
        note="; ".join(text for text in (note, check.note) if text),
    )


def components(edges: dict[int, list[int]]) -> list[tuple[list[int], list[int]]]:
    """Return the connected groups of windows and elements, as (windows, elements)."""
    of_element: dict[int, list[int]] = defaultdict(list)
    for window, elements in edges.items():
        for element in elements:
            of_element[element].append(window)
    seen: set[int] = set()
    groups = []
    for first in edges:
        if first in seen:
            continue
        seen.add(first)
        queue, windows, members = [first], [], set()
        while queue:
            window = queue.pop()
            windows.append(window)
            for element in edges[window]:
                members.add(element)
                for other in of_element[element]:
                    if other not in seen:
                        seen.add(other)
                        queue.append(other)
        groups.append((sorted(windows), sorted(members)))
    return groups


def can_be_shared(
    windows: list[int],
    edges: dict[int, list[int]],
    amount: dict[int, float],
    wanted: dict[int, float],
    slack: float,
) -> bool:
    """Tell whether shares of each window's amount among its elements give what is wanted.

    `amount` (dy of a window) and `wanted` (what an element got from ties) may have either sign;
    `slack` is how much may be amiss in all. A window with dy > 0 sends it to elements, one with
    dy < 0 fetches it from them, an element keeps or brings its own: all of it must flow.
    """
    if not all(map(math.isfinite, (*wanted.values(), slack))):
        return False
    if _is_usual(windows, edges, amount, wanted, slack / max(1, len(wanted))):
        return True
    source, sink = "source", "sink"
    capacity: dict[Any, dict[Any, float]] = defaultdict(lambda: defaultdict(float))
    sent = taken = 0.0
    for window in windows:
        dy, node = amount[window], ("window", window)
        if dy > 0:
            capacity[source][node] += dy
            sent += dy
        else:
            capacity[node][sink] -= dy
            taken -= dy
        for element in edges[window]:
            there = ("element", element)
            pair = (node, there) if dy > 0 else (there, node)
            capacity[pair[0]][pair[1]] = abs(dy)
    for element, value in wanted.items():
        node = ("element", element)
        if value > 0:
            capacity[node][sink] += value
            taken += value
        else:
            capacity[source][node] -= value
            sent -= value
    if abs(sent - taken) > slack:
        return False
    flow = _max_flow(capacity, source, sink, 1e-14 * max(sent, taken))
    return flow >= max(sent, taken) - slack


def _is_usual(
    windows: list[int],
    edges: dict[int, list[int]],
    amount: dict[int, float],
    wanted: dict[int, float],
    near: float,
) -> bool:
    """Tell whether the first winner got all, or the last, or all the same: no flow is needed."""
    first, last, even = (dict.fromkeys(wanted, 0.0) for _ in range(3))
    for window in windows:
        dy, some = amount[window], edges[window]
        first[some[0]] += dy
        last[some[-1]] += dy
        for element in some:
            even[element] += dy / len(some)
    return any(
        all(abs(value - usual[element]) <= near for element, value in wanted.items())
        for usual in (first, last, even)
    )


def _max_flow(
    capacity: dict[Any, dict[Any, float]], source: Any, sink: Any, negligible: float
) -> float:
    """Return the largest flow, by shortest augmenting paths in layers (Dinic 1970).

    A capacity up to `negligible` is rounding left by earlier paths, not room.
    """
    for node in list(capacity):
        for other in list(capacity[node]):
            capacity[other][node] += 0.0
    total = 0.0
    while True:
        level = {source: 0}
        queue = deque([source])
        while queue:
            node = queue.popleft()
            for other, room in capacity[node].items():
                if room > negligible and other not in level:
                    level[other] = level[node] + 1
                    queue.append(other)
        if sink not in level:
            return total
        pushed = _block(capacity, source, sink, level, negligible)
        if pushed <= negligible:
            return total
        total += pushed


def _block(
    capacity: dict[Any, dict[Any, float]],
    source: Any,
    sink: Any,
    level: dict[Any, int],
    negligible: float,
) -> float:
    """Push all that the layers let through, without recursion; return how much that was."""
    left = {node: list(capacity[node]) for node in level}
    total, path = 0.0, [source]
    while path:
        node = path[-1]
        if node == sink:
            steps = list(pairwise(path))
            push = min(capacity[a][b] for a, b in steps)
            for a, b in steps:
                capacity[a][b] -= push
                capacity[b][a] += push
            total += push
            path = [source]
            continue
        while left[node]:
            other = left[node][-1]
            if level.get(other) == level[node] + 1 and capacity[node][other] > negligible:
                path.append(other)
                break
            left[node].pop()
        else:
            path.pop()
            if path:
                left[path[-1]].pop()
    return total

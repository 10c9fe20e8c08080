"""Ties of max pooling: which gradients a sharing of dy gives, judged against Hall's condition."""

from __future__ import annotations

import math
from itertools import chain, combinations

import numpy as np

from cnncli.checks.ties import can_be_shared, components, find_ties
from cnncli.layers.base import Problem
from tests.checks.randomcases import plan_of

Edges = dict[int, list[int]]


def hall(edges: Edges, amount: dict[int, float], wanted: dict[int, float]) -> bool:
    """Every set of windows must fit into what its elements got, and all of it be accounted for.

    For dy > 0 alone: the theorem of supply and demand on a bipartite graph (Gale 1957).
    """
    if min(wanted.values()) < -1e-9 or abs(sum(amount.values()) - sum(wanted.values())) > 1e-9:
        return False
    every = chain.from_iterable(combinations(edges, size) for size in range(1, len(edges) + 1))
    for some in every:
        reach = {element for window in some for element in edges[window]}
        if sum(amount[w] for w in some) > sum(wanted[e] for e in reach) + 1e-9:
            return False
    return True


def test_the_flow_agrees_with_halls_condition() -> None:
    rng = np.random.default_rng(0)
    seen = {True: 0, False: 0}
    for _ in range(1500):
        windows, elements = int(rng.integers(1, 5)), int(rng.integers(2, 6))
        edges = {
            w: sorted(rng.choice(elements, int(rng.integers(1, elements + 1)), False).tolist())
            for w in range(windows)
        }
        amount = {w: float(rng.integers(1, 4)) for w in edges}
        members = sorted({e for some in edges.values() for e in some})
        # Totals that agree, so that only the structure tells.
        shares = rng.multinomial(int(sum(amount.values())), [1 / len(members)] * len(members))
        wanted = {e: float(s) for e, s in zip(members, shares, strict=True)}
        found = can_be_shared(list(edges), edges, amount, wanted, 1e-9)
        assert found == hall(edges, amount, wanted), (edges, amount, wanted)
        seen[found] += 1
    assert min(seen.values()) > 200


def test_random_shares_of_either_sign_are_right_and_a_shift_between_strangers_is_not() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        edges = {
            w: sorted(rng.choice(6, int(rng.integers(2, 4)), False).tolist()) for w in (0, 1, 2)
        }
        amount = {w: float(rng.normal()) for w in edges}
        wanted = dict.fromkeys(sorted({e for some in edges.values() for e in some}), 0.0)
        for window, some in edges.items():
            for element, share in zip(some, rng.dirichlet([0.3] * len(some)), strict=True):
                wanted[element] += share * amount[window]
        assert can_be_shared(list(edges), edges, amount, wanted, 1e-9)
        most = sum(abs(value) for value in amount.values())
        first, *_, last = wanted
        wanted[first] += 2.1 * most  # totals still agree
        wanted[last] -= 2.1 * most
        assert not can_be_shared(list(edges), edges, amount, wanted, 1e-9)


def test_bounds_and_totals_alone_would_accept_what_no_sharing_gives() -> None:
    # Windows {0, 1} and {1, 2} with dy 1 and 3: element 0 gets at most 1, though 2 gives the total.
    edges, amount = {0: [0, 1], 1: [1, 2]}, {0: 1.0, 1: 3.0}
    assert can_be_shared([0, 1], edges, amount, {0: 1.0, 1: 0.0, 2: 3.0}, 1e-9)
    assert not can_be_shared([0, 1], edges, amount, {0: 0.0, 1: 0.5, 2: 3.5}, 1e-9)
    assert not can_be_shared([0, 1], edges, {0: 1.0, 1: -1.0}, {0: -0.5, 1: 0.0, 2: 0.5}, 1e-9)
    assert can_be_shared([0, 1], edges, {0: 1.0, 1: -1.0}, {0: 0.5, 1: 0.0, 2: -0.5}, 1e-9)


def test_a_nan_is_no_share() -> None:
    assert not can_be_shared([0], {0: [0, 1]}, {0: 1.0}, {0: float("nan"), 1: 0.0}, 1e-9)


def test_ties_gaps_and_groups() -> None:
    layer, plan = plan_of("pool", {"x": (1, 1, 1, 6)}, kernel=(1, 2), stride=(1, 1))
    x = np.array([[[[5.0, 5.0, 5.0, 1.0, 2.0, 2.0 + 1e-9]]]])
    problem = Problem(layer=layer, plan=plan, tensors={"x": x, "dy": np.ones((1, 1, 1, 5))})
    ties = find_ties(problem)
    assert ties is not None
    assert ties.edges == {0: [0, 1], 1: [1, 2], 4: [4, 5]}
    assert components(ties.edges) == [([0, 1], [0, 1, 2]), ([4], [4, 5])]
    assert ties.gap == 0.5
    # A window whose dy is zero has nothing to share.
    dy = np.array([[[[0.0, 1.0, 1.0, 1.0, 0.0]]]])
    ties = find_ties(problem.changed(dy=dy))
    assert ties is not None
    assert ties.edges == {1: [1, 2]}
    # A window with one real element has no tie and no gap.
    layer, plan = plan_of(
        "pool", {"x": (1, 1, 1, 2)}, kernel=(1, 2), stride=(1, 2), padding=((0, 0), (1, 1))
    )
    tensors = {"x": np.zeros((1, 1, 1, 2)), "dy": np.ones((1, 1, 1, 2))}
    ties = find_ties(Problem(layer=layer, plan=plan, tensors=tensors))
    assert ties is not None
    assert (ties.edges, ties.gap) == ({}, math.inf)

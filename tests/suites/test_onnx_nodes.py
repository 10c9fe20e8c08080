"""Every node test of ONNX that speaks of our layers, at the suite's own tolerance."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from tests.suites.onnx_nodes import OPERATORS, NodeTest, node_tests, run_node_test

TESTS = node_tests()
LEFT_OUT = {"": ""} | {test.name: test.reason for test in TESTS if test.reason}


@pytest.mark.parametrize("test", [t for t in TESTS if t.reason is None], ids=lambda t: t.name)
def test_the_layer_gives_what_onnx_expects(test: NodeTest, tmp_path: Path) -> None:
    run_node_test(test, tmp_path)


def test_there_are_tests_of_every_operator_and_none_is_left_out_unseen() -> None:
    counts = collections.Counter(test.operator for test in TESTS if test.reason is None)
    assert set(counts) == set(OPERATORS)
    assert sum(counts.values()) >= 65
    assert len(LEFT_OUT) - 1 <= 2, LEFT_OUT

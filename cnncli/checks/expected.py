"""One assertion of `expect`: judged and, where a whole tensor fails, diagnosed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnncli.cases.assertions import Assertion
from cnncli.checks.check import Check
from cnncli.checks.expect import check_assertion
from cnncli.layers.base import Layer, Plan, Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray


def judge_expected(
    layer: Layer,
    plan: Plan,
    tensors: Tensors,
    assertion: Assertion,
    name: str,
    stored: str,
    reference: NDArray[Any] | None,
    reference_stored: str,
) -> Check:
    """Return the verdict of an assertion on tensor `name`, stored as `stored`.

    `tensors` holds every tensor of the case, `reference` the array that the assertion's source
    gave. Raises TensorError as `check_assertion` does, or where a derived tolerance cannot be.
    """
    if reference is not None and assertion.tolerance.derived:
        from cnncli.checks.derived import check_derived

        types = (stored, reference_stored)
        found = check_derived(layer, plan, tensors, assertion, name, reference, types)
    else:
        found = check_assertion(assertion, name, tensors[name], stored, reference, reference_stored)
    if found.verdict == "fail" and reference is not None and assertion.is_whole:
        from cnncli.checks.diagnosis import explain_expected

        theirs = (reference, reference_stored)
        return explain_expected(found, layer, plan, tensors, theirs, tensors[name])
    return found

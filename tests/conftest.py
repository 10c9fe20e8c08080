from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Undo what a command run in this process set: kernels start with one thread."""
    from cnncli.kernels.threads import set_threads

    yield
    set_threads(1)

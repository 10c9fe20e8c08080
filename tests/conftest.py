from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# The program is run as users run it: with this set, standard output is another kind of stream.
os.environ.pop("PYTHONUNBUFFERED", None)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Undo what a command run in this process set: kernels start with one thread."""
    from cnncli.kernels.threads import set_threads

    yield
    set_threads(1)

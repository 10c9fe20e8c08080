"""Processes of ours: what each is started with. Imports the standard library alone."""

from __future__ import annotations

ONE_THREAD = dict.fromkeys(
    (
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "GOTO_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
"""What holds every BLAS to one thread: read as the library is loaded, so set before NumPy is.

Threads of a BLAS change the bits of its results; ours (kernels/threads) do not.
"""

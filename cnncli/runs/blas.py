"""What NumPy's matrix products run with, and what holds them back."""

from __future__ import annotations

import os
from collections.abc import Mapping

HOLDING_BACK = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES")
_NARROW = ("Haswell", "Zen", "Sandybridge", "Nehalem", "Prescott", "Core2", "Barcelona")


def blas_text() -> str:
    """Return the library, its version and the processor whose kernels it took."""
    import numpy as np

    name = _openblas()
    if name:
        return name
    info = np.show_config(mode="dicts")
    blas = info.get("Build Dependencies", {}).get("blas", {}) if isinstance(info, dict) else {}
    return f"{blas.get('name', 'unknown BLAS')} {blas.get('version', '')}".strip()


def warnings(blas: str, environment: Mapping[str, str]) -> list[str]:
    """Say what holds a measurement back: variables, kernels too narrow for this CPU, other work."""
    found = [
        f"{name}={environment[name]} is set, which can hold NumPy back; unset it to measure"
        for name in HOLDING_BACK
        if name in environment
    ]
    if _has_avx512() and any(blas.endswith(f"({core})") for core in _NARROW):
        found.append(f"this CPU has AVX-512, but the BLAS runs without it: {blas}")
    cores = core_count()
    try:
        load = os.getloadavg()[0]
    except OSError:
        return found
    if load > cores / 2:
        found.append(
            f"the machine is busy (load {load:.1f} on {cores} cores): trust ratios, not seconds"
        )
    return found


def core_count() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _openblas() -> str:
    """Ask the OpenBLAS that this process has loaded; empty where it is another library."""
    import ctypes

    import numpy.linalg  # noqa: F401  # loads the library

    try:
        with open("/proc/self/maps", encoding="utf-8") as stream:
            paths = {line.split(maxsplit=5)[5].strip() for line in stream if "openblas" in line}
    except OSError:
        return ""
    for path in sorted(paths):
        library = ctypes.CDLL(path)
        for prefix, suffix in (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", "")):
            try:
                config = getattr(library, f"{prefix}openblas_get_config{suffix}")
                core = getattr(library, f"{prefix}openblas_get_corename{suffix}")
            except AttributeError:
                continue
            config.restype = core.restype = ctypes.c_char_p
            return f"{' '.join(config().decode().split()[:2])} ({core().decode()})"
    return ""


def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return any("avx512f" in line for line in stream if line.startswith("flags"))
    except OSError:
        return False

"""An environment enters; one that pins the arithmetic of torch, MKL, oneDNN, NumPy and OpenBLAS leaves.

These libraries choose their kernels by the processor, and another kernel rounds otherwise. Held to AVX2 and one
thread they give the same bits on every x86-64-v3 processor (Haswell, Zen and later); tests/test_same_bits.py proves it.
All of it is read when the libraries are loaded: `fgbench.__main__` sets it before anything imports them, and so does
the tests' conftest. Commands that measure time run native, in one thread too.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, MutableMapping
from functools import cache
from pathlib import Path

from fgbench.errors import FgbenchError

PINS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""Environment variables of what must be reproduced bit by bit; another number of threads changes bits too."""

THREADS = {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

NATIVE_COMMANDS = frozenset({"cost", "scaling"})
"""The commands that measure time: they run on the processor as it is."""


def set_numerics(environment: MutableMapping[str, str], *, native: bool) -> None:
    """Set one thread, and the pins where they can be had; a native environment is freed of them."""
    environment.update(THREADS)
    for name in (*PINS, "NPY_ENABLE_CPU_FEATURES"):  # NumPy refuses the latter beside its pin
        environment.pop(name, None)
    if not native and can_be_pinned():
        environment.update(PINS)


def pins_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those variables of `PINS` that an environment sets, with their values."""
    return {name: environment[name] for name in sorted(PINS) if name in environment}


def require_pinned(capability: str) -> None:
    """Refuse to go on where the pins could be had but do not hold; `capability` is torch's.

    Raises FgbenchError.
    """
    if can_be_pinned() and (pins_of(os.environ) != PINS or capability != "AVX2"):
        raise FgbenchError(
            f"numerics are not pinned (torch uses {capability}, pins set: {sorted(pins_of(os.environ))}), so the "
            "result would depend on this processor. Start `python -m fgbench`, or call "
            "fgbench.numerics.set_numerics(os.environ, native=False) before torch and NumPy are imported."
        )


def can_be_pinned() -> bool:
    """Return whether this processor has what the pins name: x86-64 with AVX2 and FMA."""
    return instruction_set() in {"x86-64-v3", "x86-64-v4"}


@cache
def instruction_set() -> str:
    """Return the processor's level: x86-64-v2, -v3 (AVX2, FMA) or -v4 (AVX-512); elsewhere its architecture."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return platform.machine()
    flags = _flags()
    if flags is None:  # no Linux; every x86-64 sold since 2015 with another system has AVX2
        return "x86-64-v3"
    if not {"avx2", "fma"} <= flags:
        return "x86-64-v2"
    return "x86-64-v4" if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags else "x86-64-v3"


def _flags() -> set[str] | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), None)

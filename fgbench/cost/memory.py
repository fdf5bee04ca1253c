"""A workload and a method enter; the bytes that one step adds to the loaded model leave, each from a fresh process."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median_low

import torch

from fgbench.cost.fresh import fresh_processes
from fgbench.cost.steps import Method, Workload, whole_step
from fgbench.errors import CostError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_M_MMAP_THRESHOLD = -3
_BIG = 16 * 1024
_STEPS = 3


class PeakMemory:
    """Measures steps, each in a process of its own that has loaded torch and done nothing else."""

    def __init__(self) -> None:
        """Start what the processes are forked from."""
        self._context = fresh_processes()

    def of(self, workload: Workload, method: Method, *, device: str) -> int:
        """Return a step's `peak_memory_bytes` above the loaded model: resident memory, or a GPU's allocator's.

        Raises CostError where the process ended without an answer, or the system does not tell.
        """
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_answer, args=(sender, workload, method, device))
        process.start()
        sender.close()
        try:
            found: int | str = receiver.recv()
        except EOFError:
            found = ""
        process.join()
        if isinstance(found, str):
            raise CostError(
                found or f"its process ended with exit status {process.exitcode}; too little memory?"
            )
        return found


def _answer(sender: Connection, workload: Workload, method: Method, device: str) -> None:
    import fgbench.cost.loaded  # noqa: F401  (there already, unless its preload failed, which Python hides)

    try:
        answer: int | str = _peak_memory_bytes(workload, method, device)
    except Exception as error:  # told where the answer is waited for
        first_line = "".join(str(error).splitlines()[:1])
        answer = f"{type(error).__name__}: {first_line}"
    with suppress(BrokenPipeError):  # the process that asked was interrupted meanwhile
        sender.send(answer)


def _peak_memory_bytes(workload: Workload, method: Method, device: str) -> int:
    """Take one step to load what a process loads only once, then return the middle one of the next three."""
    torch.set_num_threads(1)
    _stay_on_one_processor()
    trim = _return_memory_at_once()
    step = whole_step(workload, method, device=device)
    step()
    measured = _gpu_bytes if device == "cuda" else _resident_growth
    found = []
    for _ in range(_STEPS):
        trim()
        found.append(measured(step))
    return median_low(found)


def _gpu_bytes(step: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _resident_growth(step: Callable[[], object]) -> int:
    before = _resident_bytes("VmRSS")
    _CLEAR.write_text("5", encoding="ascii")  # the peak starts anew from here
    step()
    return max(_resident_bytes("VmHWM") - before, 0)


def _stay_on_one_processor() -> None:
    """Linux counts a process's pages by processor, and its peak leaves out what each has not yet passed on."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _return_memory_at_once() -> Callable[[], object]:
    """Make glibc map each large block by itself, so that freed memory leaves; return what trims the rest."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return lambda: None
    libc.mallopt(_M_MMAP_THRESHOLD, _BIG)
    return lambda: libc.malloc_trim(0)


def _resident_bytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

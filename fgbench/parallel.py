"""Independent calls go in; what they return comes out in their order, made by several processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from fgbench.errors import ResultError

Calls = Sequence[Callable[[], Any]]


def num_cores() -> int:
    """Return how many cores this process may use; 1 where a process cannot be copied safely."""
    if sys.platform != "linux":
        return 1
    return len(os.sched_getaffinity(0))


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile: in work so short that would take a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.unfreeze()  # what was made meanwhile counts as old now: it is not looked through at once
            gc.enable()


def together(calls: Calls, *, processes: int, meanwhile: Callable[[], Any] = lambda: None) -> list[Any]:
    """Return what the calls return, in their order; each is made once, in one of `processes` copies of this process.

    What a call returns must be picklable. With one process nothing is copied. An error of a call is raised here, and
    a process that ended before its call did is a ResultError. This process does what it is to do `meanwhile`, which
    nothing may hang on.
    """
    if processes < 2 or len(calls) < 2:
        return [call() for call in calls]
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(min(processes, len(calls)), context, _start, (calls,))
    try:
        found = pool.map(_call, range(len(calls)))
        meanwhile()
        return [*found]
    except BrokenProcessPool:
        raise ResultError(
            "a process that made a part of this was ended from outside, as when memory runs out. Free some memory, "
            "then run the same command again."
        ) from None
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()  # or the pool would wait until its calls are done
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start(calls: Calls) -> None:
    """Keep the calls, which a fork needs no pickle for; leave it to the parent to hear of an interrupt."""
    _CALLS[:] = calls
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _call(place: int) -> Any:
    return _CALLS[place]()


_CALLS: list[Callable[[], Any]] = []

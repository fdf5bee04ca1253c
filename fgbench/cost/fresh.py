"""Nothing enters; the context leaves whose processes are fresh: forked from one that has imported torch, no more."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

SLOW = {"checkpointed_backprop": ["torch._dynamo"]}
"""What an estimator loads at its first call, by the estimator's name: a second that not every parent need take."""


def fresh_processes(estimators: Iterable[str] = ()) -> ForkServerContext:
    """Return the context, its parent process started; the parent imports torch while this process goes on.

    It imports what these `estimators` need, too. A process forked from the one that measures times would have that
    one's memory to draw on. Ctrl-C, which reaches all of them, is blocked in them from their start: the process that
    asked tells of it.
    """
    context = multiprocessing.get_context("forkserver")
    slow = [module for name in estimators for module in SLOW.get(name, ())]
    context.set_forkserver_preload(["fgbench.cost.memory", "fgbench.cost.loaded", *slow])
    resource_tracker.ensure_running()  # it unblocks what it blocked itself, so before
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
    return context

"""Nothing enters; the context leaves whose processes are fresh: forked from one that has imported torch, no more."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

SLOW = {"checkpointed_backprop": ["torch._dynamo"]}
"""What an estimator loads at its first call, by the estimator's name: a second that not every parent need take."""


def fresh_processes(estimators: Iterable[str] = ()) -> ForkServerContext:
    """Return the context, its parent process started; the parent imports torch while this process goes on.

    It imports what these `estimators` need, too. A process forked from the one that measures times would have that
    one's memory to draw on.
    """
    context = multiprocessing.get_context("forkserver")
    slow = [module for name in estimators for module in SLOW.get(name, ())]
    context.set_forkserver_preload(["fgbench.cost.memory", "fgbench.cost.loaded", *slow])
    forkserver.ensure_running()
    return context

"""Nothing enters; the context leaves whose processes are fresh: forked from one that has imported torch, no more."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext


def fresh_processes() -> ForkServerContext:
    """Return the context, its parent process started; the parent imports torch while this process goes on.

    A process forked from the one that measures times would have that one's memory to draw on.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fgbench.cost.memory", "fgbench.cost.loaded"])
    forkserver.ensure_running()
    return context

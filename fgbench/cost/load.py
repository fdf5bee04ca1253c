"""The machine's counters enter, before and after; how much a measurement was disturbed leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time

import psutil

from fgbench.types import Json


@contextmanager
def watched_load() -> Iterator[Json]:
    """Give a mapping that holds, once the block has ended, what else the machine did meanwhile.

    `wall_s`, `own_cpu_s` (this process), `others_cpu_s` (all else that ran, all cores together), `steal_s` (taken by
    the host of a virtual machine) and `involuntary_switches` (how often this process was made to wait); the last
    two are None where the system does not count them.
    """
    load: Json = {}
    before = _counters()
    try:
        yield load
    finally:
        after = _counters()
        spent = {
            name: None if after[name] is None or value is None else max(after[name] - value, 0)
            for name, value in before.items()
        }
        busy = spent.pop("busy_s")
        load |= {
            **spent,
            "others_cpu_s": max((busy or 0.0) - (spent["own_cpu_s"] or 0.0), 0.0),
            "num_cpus": psutil.cpu_count(),
        }


def _counters() -> Json:
    process, cpus = psutil.Process(), psutil.cpu_times()
    return {
        "wall_s": perf_counter(),
        "own_cpu_s": process_time(),
        "busy_s": cpus.user + cpus.system + getattr(cpus, "nice", 0.0),
        "steal_s": getattr(cpus, "steal", None),
        "involuntary_switches": process.num_ctx_switches().involuntary,
    }

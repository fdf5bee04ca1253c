"""Steps enter; the seconds of a step leave, by blocks of many steps, interleaved so that a drift meets all alike."""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import get_clock_info, perf_counter
from timeit import Timer
from typing import TypeAlias

import torch

from fgbench.cost.steps import Step

BlockSeconds: TypeAlias = Callable[[Step, int], float]
"""Runs a step a number of times and returns the seconds that all of them took."""

LEAST_TICKS = 1000
"""A block lasts at least so many ticks of the clock: what one tick adds is then a thousandth."""


@dataclass
class Timed:
    """A step's blocks: how many steps each has, and the seconds of one step in each, by round [there, back]."""

    steps_per_block: int
    step_time_s: list[list[float]] = field(default_factory=list)


def interleaved(
    steps: Sequence[Step], *, rounds: int, block_s: float, block_seconds: BlockSeconds | None = None
) -> list[Timed]:
    """Time each of `steps`, two blocks a round, all in one process.

    A round takes all steps in a shuffled order and then in the same order back (A B C C B A), so that a steady
    drift adds the same to each of its steps, and none always follows the same other. The shuffles are seeded.
    """
    measure = block_seconds or cpu_block_seconds
    timed = [Timed(block_size(step, block_s, measure)) for step in steps]
    shuffle = random.Random(0).shuffle
    order = list(range(len(steps)))
    for _ in range(rounds):
        shuffle(order)
        for place in order:
            timed[place].step_time_s.append([])
        for place in (*order, *reversed(order)):
            number = timed[place].steps_per_block
            timed[place].step_time_s[-1].append(measure(steps[place], number) / number)
    return timed


def block_size(step: Step, block_s: float, block_seconds: BlockSeconds) -> int:
    """Return how many steps last `block_s` seconds and `LEAST_TICKS` ticks of the clock; warms the step up.

    A size counts by the shorter of two blocks: a disturbance makes one longer, and would leave blocks too small.
    """
    at_least = max(block_s, LEAST_TICKS * get_clock_info("perf_counter").resolution)
    number = 1
    block_seconds(step, number)  # what is done only once is no cost of a step
    while (lasted := min(block_seconds(step, number) for _ in range(2))) < at_least:
        number = max(number + 1, min(10 * number, math.ceil(1.1 * number * at_least / max(lasted, 1e-9))))
    return number


def cpu_block_seconds(step: Step, number: int) -> float:
    """Return the seconds of `number` steps, after one that nobody counts, without garbage collection.

    By `timeit`, as `torch.utils.benchmark` does it too, whose two uncounted steps a block would triple long ones.
    """
    step()
    return Timer(step, timer=perf_counter).timeit(number)


def cuda_block_seconds(step: Step, number: int) -> float:
    """Return the seconds of `number` steps on a GPU by its own events, after one that nobody counts."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    step()
    with _no_garbage_collection():
        torch.cuda.synchronize()
        start.record()
        for _ in range(number):
            step()
        end.record()
        torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000


BLOCK_SECONDS: dict[str, BlockSeconds] = {"cpu": cpu_block_seconds, "cuda": cuda_block_seconds}


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

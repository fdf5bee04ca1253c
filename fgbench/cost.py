"""A split and settings enter; the seconds that a run's steps took leave. Never compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

from torch import nn

from fgbench.training import Examples, Record, Run, Settings, evaluate, train
from fgbench.types import Split


@dataclass
class Clock:
    """Adds up the seconds between `start` and `stop`."""

    seconds: float = 0.0
    started: float | None = None

    def start(self) -> None:
        """Go on counting."""
        self.started = perf_counter()

    def stop(self) -> None:
        """Stand still; nothing is added where the clock was not started."""
        if self.started is not None:
            self.seconds += perf_counter() - self.started
            self.started = None


def timed_run(
    split: Split, settings: Settings, *, num_classes: int, seed: int, watch: Callable[[Record], None]
) -> tuple[Run, float]:
    """Train a cell at one seed; return the run and the seconds of its steps alone.

    The clock stands still while whole parts are evaluated: how often somebody looks at a training is no cost of
    its method.
    """
    clock = Clock()

    def stopping_evaluate(model: nn.Module, parts: Mapping[str, Examples]) -> Record:
        clock.stop()
        return evaluate(model, parts)

    def starting_watch(record: Record) -> None:
        watch(record)
        clock.start()

    run = train(
        split, settings, num_classes=num_classes, seed=seed, evaluate=stopping_evaluate, watch=starting_watch
    )
    return run, clock.seconds


def warm_up(split: Split, settings: Settings, *, num_classes: int, seed: int) -> None:
    """Train a few steps and forget them: what a process does only once is no cost of a step."""
    train(split, replace(settings, max_steps=min(settings.max_steps, 50)), num_classes=num_classes, seed=seed)

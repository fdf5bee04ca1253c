"""Progress speaks to a person at a terminal, now and then, and to nobody else."""

from __future__ import annotations

import io

import pytest

from fgbench import progress
from fgbench.progress import INTERVAL_S, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that goes on only when told."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    return clock


def started(clock: Clock, stream: io.StringIO) -> Progress:
    """A run's progress that began now."""
    return Progress("iris/mlp/backprop seed 0 (1 of 5)", 2000, stream, clock(), clock())


def test_a_log_hears_nothing(clock: Clock) -> None:
    log = io.StringIO()
    watch = started(clock, log)
    for step in range(10):
        clock.now_s += 10 * INTERVAL_S
        watch({"step": step, "train_loss": 1.0})
    assert log.getvalue() == ""


def test_a_line_names_cell_step_loss_speed_and_time_left(clock: Clock) -> None:
    terminal = Terminal()
    watch = started(clock, terminal)
    clock.now_s += 4
    watch({"step": 1000, "train_loss": 0.123456})
    assert terminal.getvalue() == (
        "iris/mlp/backprop seed 0 (1 of 5): step 1,000 of 2,000, loss 0.1235, 250 steps/s, at most 4 s left\n"
    )


def test_there_is_at_most_one_line_an_interval(clock: Clock) -> None:
    terminal = Terminal()
    watch = started(clock, terminal)
    duration_s = 0.0
    for step in range(1, 101):
        clock.now_s += INTERVAL_S / 8
        duration_s += INTERVAL_S / 8
        watch({"step": step, "train_loss": 1.0})
    assert len(terminal.getvalue().splitlines()) == int(duration_s / INTERVAL_S)


def test_a_short_run_says_nothing(clock: Clock) -> None:
    terminal = Terminal()
    watch = started(clock, terminal)
    for step in (0, 1000, 2000):
        clock.now_s += INTERVAL_S / 4
        watch({"step": step, "train_loss": 1.0})
    assert terminal.getvalue() == ""


def test_before_the_first_step_no_time_left_is_guessed(clock: Clock) -> None:
    terminal = Terminal()
    watch = started(clock, terminal)
    clock.now_s += INTERVAL_S
    watch({"step": 0, "train_loss": float("nan")})
    assert terminal.getvalue().endswith("step 0 of 2,000, loss nan, 0 steps/s\n")

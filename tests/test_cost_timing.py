"""Steps are timed by interleaved blocks of fitting size that hold nothing else; known ratios are found again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import records
import torch

from fgbench.cost.steps import Step
from fgbench.cost.timing import (
    LEAST_TICKS,
    Timed,
    block_size,
    cpu_block_seconds,
    cuda_block_seconds,
    interleaved,
)
from fgbench.cost_tables import cost_tables

NUM_STEPS, ROUNDS = 5, 8


@dataclass
class FakeClock:
    """Stands for `block_seconds`: each step is a number, and takes as long as `seconds` says of the nth block."""

    seconds: Callable[[int, int], float] = lambda step, block: 1.0
    blocks: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, step: Step, number: int) -> float:
        self.blocks.append((step(), number))  # type: ignore[arg-type]
        return number * self.seconds(self.blocks[-1][0], len(self.blocks))

    def timed(self) -> list[Timed]:
        steps = [partial(int, place) for place in range(NUM_STEPS)]
        return interleaved(steps, rounds=ROUNDS, block_s=0.5, block_seconds=self)

    def rounds(self) -> list[list[int]]:
        """The steps of each round in the order of their blocks, without those that sought the blocks' sizes."""
        steps = [step for step, _ in self.blocks[-2 * NUM_STEPS * ROUNDS :]]
        return [steps[start : start + 2 * NUM_STEPS] for start in range(0, len(steps), 2 * NUM_STEPS)]


def orders() -> list[list[int]]:
    clock = FakeClock()
    clock.timed()
    return clock.rounds()


def test_a_round_holds_each_step_twice_in_some_order_and_then_back() -> None:
    assert len(orders()) == ROUNDS
    for order in orders():
        assert order == order[::-1]
        assert sorted(order[:NUM_STEPS]) == list(range(NUM_STEPS))


def test_rounds_have_different_orders_and_a_second_measurement_has_the_same() -> None:
    assert orders() == orders()
    there = {tuple(order[:NUM_STEPS]) for order in orders()}
    assert len(there) == ROUNDS
    assert all(len({order[place] for order in there}) > 1 for place in range(NUM_STEPS))


def test_every_block_is_in_the_samples_as_seconds_a_step() -> None:
    clock = FakeClock(seconds=lambda step, block: 0.1 * (step + 1) + 1e-6 * block)
    timed = clock.timed()
    expected: list[list[list[float]]] = [[[] for _ in range(ROUNDS)] for _ in range(NUM_STEPS)]
    first = len(clock.blocks) - 2 * NUM_STEPS * ROUNDS
    for block, (step, number) in enumerate(clock.blocks[first:]):
        assert number == timed[step].steps_per_block
        expected[step][block // (2 * NUM_STEPS)].append(0.1 * (step + 1) + 1e-6 * (first + block + 1))
    assert np.shape(expected) == (NUM_STEPS, ROUNDS, 2)
    for one, blocks in zip(timed, expected, strict=True):
        np.testing.assert_allclose(one.step_time_s, blocks, rtol=1e-12)


def test_a_steady_drift_adds_the_same_to_every_step_of_a_round() -> None:
    timed = FakeClock(seconds=lambda step, block: 1.0 + 0.01 * block).timed()
    values = np.array([one.step_time_s for one in timed]).mean(axis=2)
    np.testing.assert_allclose(values, np.tile(values[0], (NUM_STEPS, 1)), rtol=1e-12)
    assert (np.diff(values[0]) > 0).all()


@pytest.mark.parametrize("step_s", [3e-10, 1e-8, 1e-6, 7e-6, 1e-4, 3e-3, 0.1, 5.0])
@pytest.mark.parametrize("block_s", [0.0, 2e-4, 5e-3])
def test_a_block_lasts_long_enough_and_no_longer_than_a_tenth_and_a_step_more(
    step_s: float, block_s: float
) -> None:
    number = block_size(int, block_s, FakeClock(seconds=lambda step, block: step_s))
    at_least = max(block_s, LEAST_TICKS * 1e-9)
    assert at_least <= number * step_s <= 1.1 * at_least + step_s


def test_a_block_lasts_many_ticks_of_a_coarse_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = SimpleNamespace(resolution=1e-4)
    monkeypatch.setattr("fgbench.cost.timing.get_clock_info", lambda name: coarse)
    number = block_size(int, 0.0, FakeClock(seconds=lambda step, block: 1e-3))
    assert number * 1e-3 >= LEAST_TICKS * 1e-4


@pytest.mark.parametrize("spike", range(1, 12))
def test_a_spike_while_the_size_is_sought_leaves_no_block_too_small(spike: int) -> None:
    clock = FakeClock(seconds=lambda step, block: 1e-5 * (1000 if block == spike else 1))
    assert block_size(int, 5e-3, clock) * 1e-5 >= 5e-3


def test_a_first_call_that_takes_long_leaves_no_block_too_small() -> None:
    """As that of a step whose libraries are loaded, or whose kernels are compiled, when it first runs."""
    assert block_size(int, 5e-3, FakeClock(seconds=lambda step, block: 60.0 if block == 1 else 1e-5)) >= 500


@dataclass
class Watched:
    """A step and a clock that write down when they are called, and whether garbage was collected meanwhile."""

    events: list[str] = field(default_factory=list)
    collecting: list[bool] = field(default_factory=list)

    def step(self) -> None:
        self.note("step")

    def clock(self) -> float:
        self.note("clock")
        return float(len(self.events))

    def note(self, event: str) -> None:
        self.events.append(event)
        self.collecting.append(gc.isenabled())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr("fgbench.cost.timing.perf_counter", watched.clock)
    return watched


@pytest.fixture
def no_gpu_needed(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    """Events of a GPU that tell milliseconds by the watched clock."""

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = watched.clock()

        def elapsed_time(self, end: Event) -> float:
            return end.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: watched.note("synchronize"))


@pytest.mark.parametrize("number", [1, 7])
def test_between_two_looks_at_the_clock_there_are_the_steps_and_nothing_else(
    watched: Watched, number: int
) -> None:
    seconds = cpu_block_seconds(watched.step, number)
    assert watched.events == ["step", "clock", *["step"] * number, "clock"]
    assert seconds == number + 1


@pytest.mark.parametrize("number", [1, 7])
def test_a_gpu_is_idle_before_its_steps_are_timed_and_done_when_they_are_read(
    watched: Watched, no_gpu_needed: None, number: int
) -> None:
    seconds = cuda_block_seconds(watched.step, number)
    assert watched.events == [
        "step",
        "synchronize",
        "clock",
        *["step"] * number,
        "clock",
        "synchronize",
    ]
    assert seconds == pytest.approx((number + 1) / 1000)


@pytest.mark.parametrize("block_seconds", [cpu_block_seconds, cuda_block_seconds])
@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_in_a_block_and_then_again_as_before(
    watched: Watched, no_gpu_needed: None, block_seconds: Callable[[Step, int], float], enabled: bool
) -> None:
    assert gc.isenabled()
    if not enabled:
        gc.disable()
    try:
        block_seconds(watched.step, 5)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    first, last = (watched.events.index("clock", start) for start in (0, watched.events.index("clock") + 1))
    assert last - first == 6
    assert not any(watched.collecting[first : last + 1])


@pytest.mark.parametrize("block_seconds", [cpu_block_seconds, cuda_block_seconds])
def test_a_step_that_fails_leaves_garbage_to_be_collected_again(
    no_gpu_needed: None, block_seconds: Callable[[Step, int], float]
) -> None:
    calls = count()

    def failing() -> None:
        if next(calls) == 3:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        block_seconds(failing, 5)
    assert gc.isenabled()


# Soundness: pairs of steps of known ratio, timed on the real clock and told by the report's own table.

NUM_PAIRS, PAIR_ROUNDS, BLOCK_S = 300, 16, 5e-5
RATIOS = {"backprop": 1.0, "1.00": 1.0, "1.05": 1.05, "1.5": 1.5, "2.0": 2.0}
SCATTER = 0.05
CHANCES = 42
"""A seed whose ratios a perfect clock covers 94 to 96 times in 100, all seeds 94 times; the rest is the real clock."""


class BusyWait:
    """A step of known duration: it looks at the clock until its time is over.

    Within a block each step ends when it is due by the block's beginning, so that no overhead adds up; a process
    that was made to wait meanwhile catches up. Every block is longer or shorter by chance, by the same chances again
    whenever blocks get another size: how that was sought does not matter.
    """

    def __init__(self, step_s: float, *seed: int) -> None:
        self.step_s, self.seed, self.number = step_s, seed, 0

    def begin(self, number: int) -> None:
        if number != self.number:
            self.number, self.rng = number, np.random.default_rng(self.seed)
        self.lasting = self.step_s * self.rng.lognormal(0, SCATTER)
        self.due: float | None = None
        self.counts = False

    def __call__(self) -> None:
        if not self.counts:
            self.counts = True
            return
        self.due = (self.due or perf_counter()) + self.lasting
        while perf_counter() < self.due:
            pass


def busy_block_seconds(step: Step, number: int) -> float:
    """Measure as on any CPU, once the step knows that a block begins."""
    assert isinstance(step, BusyWait)
    step.begin(number)
    return cpu_block_seconds(step, number)


@pytest.fixture(scope="module")
def measured_ratios() -> pd.DataFrame:
    """The ratios to "backprop" of `NUM_PAIRS` experiments, and that of "backprop" to its twin, with the true ones."""
    experiments = []
    variants = [("backprop", True), *((method, False) for method in RATIOS)]
    for number in range(NUM_PAIRS):
        steps = [
            BusyWait(BLOCK_S / 10 * RATIOS[method], CHANCES, number, place)
            for place, (method, _) in enumerate(variants)
        ]
        timed = interleaved(steps, rounds=PAIR_ROUNDS, block_s=BLOCK_S, block_seconds=busy_block_seconds)
        times = [
            {"method": method, "engine": "eager", "part": "step", "twin": twin} | asdict(one)
            for (method, twin), one in zip(variants, timed, strict=True)
        ]
        experiments.append(
            {"dataset": "made_up", "data": "made_up", "model": f"{number:03}", "device": "cpu"}
            | {"methods": {method: {"estimator": {"name": method}} for method in RATIOS}}
            | {"load": records.QUIET, "times": times, "memory": [], "skipped": []}
        )
    record = {"machine": records.MACHINE, "absent": [], "experiments": experiments}
    table = cost_tables(cost=record)["step_ratios"]
    assert (table["rounds"] == PAIR_ROUNDS).all()
    return table.assign(true=table["method"].map(RATIOS).where(table["method"] != table["against"], 1.0))


def covered(table: pd.DataFrame, ratio: float) -> float:
    """The share of intervals that hold a ratio."""
    return float((table["low"].le(ratio) & table["high"].ge(ratio)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["1.00", "1.05", "1.5", "2.0"])
def test_intervals_on_a_real_clock_cover_the_true_ratio_at_least_90_times_in_100(
    measured_ratios: pd.DataFrame, method: str
) -> None:
    rows = measured_ratios.query("method == @method and against == 'backprop'")
    assert len(rows) == NUM_PAIRS
    assert covered(rows, RATIOS[method]) >= 0.90
    # The intervals say something, on a machine as busy as may be: twice the ratio they mostly exclude.
    assert covered(rows, 2 * RATIOS[method]) < 0.5


@pytest.mark.slow
def test_a_step_on_a_real_clock_and_its_copy_are_not_resolved_at_least_95_times_in_100(
    measured_ratios: pd.DataFrame,
) -> None:
    copies = measured_ratios.query("method == against")
    assert len(copies) == NUM_PAIRS
    assert copies["verdict"].eq("not resolved").mean() >= 0.95

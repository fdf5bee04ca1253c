"""Peak memory follows the laws of what each method must keep; a step that cannot be measured says why.

The unit is the output of one hidden layer for the whole batch, which outweighs the parameters.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from workloads import BACKPROP, CHECKPOINTED, FORWARD_PASS, forward, workload

from fgbench.cost.measuring import rung_workload
from fgbench.cost.memory import PeakMemory
from fgbench.cost.steps import Method, Problem, Workload
from fgbench.errors import CostError
from fgbench.types import Json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its peak memory")

DEPTHS = (4, 8, 16, 32)
WIDTH, BATCH_SIZE = 32, 4096
OUTPUT_BYTES = 4 * WIDTH * BATCH_SIZE


@pytest.fixture(scope="module")
def peak() -> PeakMemory:
    return PeakMemory()


Outputs = Callable[[Method, int], float]
"""The peak of a method's step at a depth, as so many hidden layers' outputs, less its tangents and its estimate."""


@pytest.fixture(scope="module")
def outputs(peak: PeakMemory) -> Outputs:
    @cache
    def measured(estimator: str | None, num_tangents: int, depth: int) -> float:
        method = forward(num_tangents) if num_tangents else Method(estimator and {"name": estimator})
        own = 4 * num_parameters(depth) * (num_tangents + 1 if num_tangents else 0)
        return (peak.of(ladder(depth), method, device="cpu") - own) / OUTPUT_BYTES

    def outputs(method: Method, depth: int) -> float:
        return measured((method.estimator or {}).get("name"), method.num_tangents or 0, depth)

    return outputs


def ladder(depth: int, batch_size: int = BATCH_SIZE) -> Workload:
    return rung_workload({"depth": depth, "width": WIDTH, "batch_size": batch_size})


def num_parameters(depth: int) -> int:
    return sum(value.numel() for value in Problem(ladder(depth), FORWARD_PASS, "cpu").params.values())


def test_backprop_keeps_the_output_of_every_layer(outputs: Outputs) -> None:
    for depth in DEPTHS:
        assert 0.95 * depth <= outputs(BACKPROP, depth) <= depth + 5
    assert outputs(BACKPROP, 32) > 4 * outputs(BACKPROP, 4)


def test_the_memory_of_a_forward_gradient_is_flat_in_depth(outputs: Outputs) -> None:
    found = [outputs(forward(1), depth) for depth in DEPTHS]
    assert max(found) <= 1.3 * min(found)
    assert max(found) < outputs(BACKPROP, 32) / 3


def test_the_memory_of_four_tangents_is_flat_in_depth(outputs: Outputs) -> None:
    found = [outputs(forward(4), depth) for depth in (4, 32)]
    assert max(found) <= 1.3 * min(found)


def test_a_forward_pass_holds_a_few_outputs_at_any_depth(outputs: Outputs) -> None:
    for depth in DEPTHS:
        assert outputs(FORWARD_PASS, depth) < 4


def test_checkpointed_backprop_keeps_about_twice_the_root_of_the_layers(outputs: Outputs) -> None:
    """Of L = 2·depth + 1 modules, the inputs of √L segments and the outputs within one."""
    for depth in DEPTHS[1:]:
        assert outputs(CHECKPOINTED, depth) < 2 * (2 * depth + 1) ** 0.5 + 5
        assert outputs(CHECKPOINTED, depth) < outputs(BACKPROP, depth)
    assert outputs(CHECKPOINTED, 32) < 0.6 * outputs(BACKPROP, 32)


def test_memory_grows_in_proportion_to_the_number_of_tangents(outputs: Outputs) -> None:
    found = {number: outputs(forward(number), 4) for number in (2, 4, 8)}
    first, second = (found[4] - found[2]) / 2, (found[8] - found[4]) / 4
    assert first > 2
    assert second == pytest.approx(first, rel=0.3)


def test_memory_grows_in_proportion_to_the_batch(peak: PeakMemory) -> None:
    for method in (BACKPROP, forward(1)):
        once, twice = (
            peak.of(ladder(8, size), method, device="cpu") for size in (BATCH_SIZE, 2 * BATCH_SIZE)
        )
        assert twice == pytest.approx(2 * once, rel=0.15)


def test_two_measurements_agree_whatever_the_process_that_asks_for_them_holds(peak: PeakMemory) -> None:
    first = peak.of(ladder(8), BACKPROP, device="cpu")
    kept = torch.ones(50 * 1024**2)
    kept_too = [bytearray(100) for _ in range(100_000)]
    second = peak.of(ladder(8), BACKPROP, device="cpu")
    del kept, kept_too
    assert second == pytest.approx(first, rel=0.1)


class Loading(dict[str, object]):
    """A model's choice that takes much memory for a moment, in the process that is handed it."""

    def __reduce__(self) -> tuple[Callable[[Json], Json], tuple[Json]]:
        return after_much_memory, (dict(self),)


def after_much_memory(choice: Json) -> Json:
    assert any(bytearray(b"1") * (64 * 1024**2))
    return choice


def test_what_only_loading_takes_is_not_a_steps(peak: PeakMemory) -> None:
    one = ladder(8)
    loading = replace(one, model=Loading(one.model))
    expected, found = (peak.of(each, BACKPROP, device="cpu") for each in (one, loading))
    assert found == pytest.approx(expected, rel=0.3)


class Ends:
    """What ends the process that is handed it."""

    def __init__(self, call: Callable[[int], object], argument: int) -> None:
        self.call, self.argument = call, argument

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return self.call, (self.argument,)


@pytest.mark.parametrize(
    ("ends", "status"),
    [(Ends(os._exit, 3), 3), (Ends(signal.raise_signal, signal.SIGKILL), -9)],
    ids=["exit", "killed"],
)
def test_a_process_that_ends_is_a_reason_and_the_next_is_measured(
    peak: PeakMemory, ends: Ends, status: int
) -> None:
    one = workload()
    dying = replace(one, model=ends)
    with pytest.raises(
        CostError, match=rf"^its process ended with exit status {status}; too little memory\?$"
    ):
        peak.of(dying, BACKPROP, device="cpu")
    assert peak.of(one, BACKPROP, device="cpu") >= 0


def test_memory_that_cannot_be_had_is_a_reason_of_one_line(peak: PeakMemory) -> None:
    with pytest.raises(CostError, match=r"^[^\n]*can't allocate memory[^\n]*$"):
        peak.of(ladder(4, batch_size=10**15), BACKPROP, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_memory_of_a_forward_gradient_is_flat_in_depth_on_a_gpu_too(peak: PeakMemory) -> None:
    shallow, deep = (
        peak.of(ladder(depth), forward(1), device="cuda") - 8 * num_parameters(depth) for depth in (4, 32)
    )
    assert deep <= 1.3 * shallow
    assert peak.of(ladder(32), BACKPROP, device="cuda") > 2 * deep

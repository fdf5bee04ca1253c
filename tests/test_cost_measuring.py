"""A measurement of cost has every variant that can be timed, names what could not, and says nothing while it times."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest
import torch
from workloads import BACKPROP, FORWARD_PASS, METHODS, workload

from fgbench.cost import measuring
from fgbench.cost.measuring import (
    AXES,
    LADDER_CLASSES,
    cost_of_experiment,
    cost_of_ladder,
    devices,
    rung_workload,
)
from fgbench.cost.memory import PeakMemory
from fgbench.cost.steps import COMPILED, COMPILED_TORCH_FUNC, Method, Problem, Workload
from fgbench.cost.timing import Timed
from fgbench.cost_tables import cost_tables
from fgbench.errors import CostError
from fgbench.types import Json

ALL = {"forward pass": FORWARD_PASS, **METHODS}
LOAD_KEYS = {"wall_s", "own_cpu_s", "others_cpu_s", "steal_s", "involuntary_switches", "num_cpus"}
SETTINGS: dict[str, Any] = {"device": "cpu", "rounds": 3, "block_s": 1e-5, "compiled": False}


class Peak:
    """Stands for `PeakMemory`: each method's memory is a number, or none is to be had."""

    def __init__(self, *without: str) -> None:
        self.without = without
        self.asked: list[Method] = []

    def of(self, workload: Workload, method: Method, *, device: str) -> int:
        self.asked.append(method)
        if method.estimator and method.estimator["name"] in self.without:
            raise CostError("too little memory")
        return 1000 + len(self.asked)


def measured(peak: Peak | None = None, **changes: Any) -> Json:
    """What a small step of every method costs."""
    return cost_of_experiment(
        workload(),
        ALL,
        peak=peak or Peak(),  # type: ignore[arg-type]
        **SETTINGS | changes,
    )


@pytest.fixture(scope="module")
def cost() -> Json:
    return measured()


def variants(cost: Json) -> list[tuple[str, str, str, bool]]:
    return [(one["method"], one["engine"], one["part"], one["twin"]) for one in cost["times"]]


def test_every_method_is_timed_whole_with_a_twin_and_in_parts_and_where_it_can_be_by_torch_func(
    cost: Json,
) -> None:
    assert sorted(variants(cost)) == sorted(
        [(name, "eager", "step", twin) for name in ALL for twin in (False, True)]
        + [(name, "eager", part, False) for name in METHODS for part in ("estimate", "update")]
        + [
            (name, "eager", part, False)
            for name in ("forward_gradient", "forward_gradient_4")
            for part in ("draw", "product")
        ]
        + [
            (name, "torch.func", "step", twin)
            for name in ("backprop", "forward_gradient")
            for twin in (False, True)
        ]
    )


def test_a_record_holds_every_block_and_plain_values_only(cost: Json) -> None:
    assert cost.keys() == {"load", "times", "memory", "skipped"}
    assert cost["load"].keys() == LOAD_KEYS
    for timed in cost["times"]:
        assert timed.keys() == {"method", "engine", "part", "twin", "steps_per_block", "step_time_s"}
        assert timed["steps_per_block"] >= 1
        assert [len(blocks) for blocks in timed["step_time_s"]] == [2, 2, 2]
        assert all(seconds > 0 for blocks in timed["step_time_s"] for seconds in blocks)
    assert json.loads(json.dumps(cost, allow_nan=False)) == cost


def test_memory_is_measured_of_every_method_once() -> None:
    peak = Peak()
    memory = measured(peak)["memory"]
    assert peak.asked == list(ALL.values())
    assert memory == [{"method": name, "peak_memory_bytes": 1001 + place} for place, name in enumerate(ALL)]


def test_what_was_not_to_be_compiled_says_so(cost: Json) -> None:
    reason = "`cost.compiled` is false in the config"
    assert cost["skipped"] == [
        {"method": method, "engine": engine, "quantity": "step_time_s", "reason": reason}
        for engine in (COMPILED, COMPILED_TORCH_FUNC)
        for method in ("backprop", "forward_gradient")
    ]


def test_memory_that_could_not_be_measured_is_skipped_with_the_reason_and_all_else_is_there() -> None:
    found = measured(Peak("backprop"))
    assert found["skipped"][0] == {
        "method": "backprop",
        "engine": "eager",
        "quantity": "peak_memory_bytes",
        "reason": "too little memory",
    }
    assert [one["method"] for one in found["memory"]] == [name for name in ALL if name != "backprop"]
    assert ("backprop", "eager", "step", False) in variants(found)


def test_the_tables_take_a_measurement_as_it_is(cost: Json) -> None:
    experiment = cost | {
        **{"dataset": "made_up", "data": "made_up", "model": "mlp", "device": "cpu"},
        "methods": {name: {"estimator": method.estimator} for name, method in ALL.items()},
    }
    machine = {"cpu": "", "instruction_set": "", "threads": 1, "torch": "", "load_average": 0.0}
    tables = cost_tables(cost={"machine": machine, "absent": [], "experiments": [experiment]})
    assert len(tables["blocks"]) == 6 * len(cost["times"])
    assert set(tables["step_ratios"]["method"]) == set(ALL)
    assert len(tables["unmeasured"]) == len(cost["skipped"])


def test_all_variants_are_timed_together_and_nothing_else_happens_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []

    def interleaved(steps: Iterable[Callable[[], object]], **settings: Any) -> list[Timed]:
        assert settings.keys() == {"rounds", "block_s", "block_seconds"}
        happened.append("times")
        return [Timed(1, [[1.0, 1.0]]) for _ in steps]

    monkeypatch.setattr(measuring, "interleaved", interleaved)
    measured(watch=happened.append)
    assert Counter(happened)["times"] == 1
    assert happened[-1] == "times"
    assert happened[0] == "peak memory"


@pytest.mark.parametrize(
    ("available", "expected"),
    [(False, (["cpu"], [{"device": "cuda", "reason": "no GPU"}])), (True, (["cpu", "cuda"], []))],
)
def test_a_missing_gpu_is_absent_with_the_reason(
    available: bool, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert devices() == expected


LADDER: Json = {
    "rounds": 2,
    "at": {"depth": 2, "width": 4, "batch_size": 8},
    "depth": [1, 2, 3],
    "width": [2, 4],
    "batch_size": [4, 8],
    "num_tangents": [1, 2, 3],
}


def measured_ladder(*without: str) -> Json:
    return cost_of_ladder(LADDER, METHODS, device="cpu", block_s=1e-5, peak=Peak(*without))  # type: ignore[arg-type]


def test_a_ladder_has_a_point_for_every_axis_size_and_method_with_tangents_where_they_vary() -> None:
    found = measured_ladder()
    assert found.keys() == {"load", "points", "skipped"}
    assert found["load"].keys() == LOAD_KEYS
    points = [(point["axis"], point["size"], point["method"]) for point in found["points"]]
    with_tangents = [name for name, method in METHODS.items() if method.tangents]
    assert sorted(points) == sorted(
        (axis, size, name)
        for axis in AXES
        for size, name in product(LADDER[axis], with_tangents if axis == "num_tangents" else METHODS)
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_point_of_a_ladder_varies_its_axis_and_nothing_else() -> None:
    for point in measured_ladder()["points"]:
        sizes = {**LADDER["at"], "num_tangents": METHODS[point["method"]].num_tangents}
        assert {name: point[name] for name in sizes} == {**sizes, point["axis"]: point["size"]}
        assert len(point["step_time_s"]) == LADDER["rounds"]
        assert all(len(blocks) == 2 and min(blocks) > 0 for blocks in point["step_time_s"])
        assert point["peak_memory_bytes"] > 0
        assert point.keys() == {*sizes, "axis", "size", "method", "step_time_s", "peak_memory_bytes"}


def test_a_rung_without_memory_keeps_its_times_and_says_why() -> None:
    found = measured_ladder("checkpointed_backprop")
    without = [point for point in found["points"] if point["peak_memory_bytes"] is None]
    assert {point["method"] for point in without} == {"checkpointed_backprop"}
    assert found["skipped"] == [
        {name: point[name] for name in ("axis", "size", "method")}
        | {"quantity": "peak_memory_bytes", "reason": "too little memory"}
        for point in without
    ]


def test_a_rung_is_so_many_equal_layers() -> None:
    one = rung_workload({"depth": 3, "width": 5, "batch_size": 7})
    problem = Problem(one, BACKPROP, "cpu")
    shapes = [tuple(value.shape) for name, value in problem.params.items() if name.endswith("weight")]
    assert shapes == [(5, 5)] * 3 + [(LADDER_CLASSES, 5)]
    assert problem.loss_fn.inputs.shape == (7, 5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_is_measured_on_a_gpu(cost: Json) -> None:
    found = measured(device="cuda", peak=PeakMemory())
    assert variants(found) == variants(cost)
    assert all(min(blocks) > 0 for timed in found["times"] for blocks in timed["step_time_s"])
    assert [one["method"] for one in found["memory"]] == list(ALL)
    assert found["skipped"] == cost["skipped"]

"""A study reproduces a reference bit by bit, within tolerance, or not: told for each run and count, in numbers."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studies import fgbench, tables_command, tiny_study, trained_study
from support import skip_or_fail

from fgbench.errors import ResultError
from fgbench.numerics import can_be_pinned
from fgbench.provenance import MAKER
from fgbench.results import cell_name, read_study, study_sha256
from fgbench.storage import read_json, write_json
from fgbench.types import Json
from fgbench.verification import (
    DIFFERS,
    IDENTICAL,
    NOT_COMPARABLE,
    NOT_VERIFIED,
    TOLERANCES,
    VOLATILE,
    WITHIN,
    agreed_reference,
    exit_status,
    loss_tolerance,
    reference_of,
    require_reference,
    verification,
)

TARGET = 0.35
CHANGES = {
    "experiments.0.record_every": 2,
    "experiments.0.target_loss": TARGET,
    "methods.backprop.learning_rate": {"logistic_regression": 0.5, "mlp": 1e30},
}
"""Of the four cells one reaches its target, one diverges, and two take all their steps."""

REACHED, MISSED = "iris/logistic_regression/backprop", "iris/logistic_regression/forward_gradient"
DIVERGED, OTHER = "digits/mlp/backprop", "digits/mlp/forward_gradient"
CELLS = (REACHED, MISSED, DIVERGED, OTHER)
ROUNDING = 2.0**-23


def count(cell: str, operations: int) -> Json:
    """What `operations.json` holds of a cell's step."""
    dataset, model, method = cell.split("/")
    forward = method == "forward pass"
    return {
        "dataset": dataset,
        "data": dataset,
        "model": model,
        "method": method,
        "settings": {
            "model": {"name": model},
            "estimator": None if forward else {"name": method},
            "tangents": None,
            "num_tangents": None,
            "optimizer": None if forward else {"name": "sgd", "momentum": 0},
            "batch_size": 20,
            "input_shape": [4],
            "num_classes": 3,
        },
        "operations": operations,
    }


BARE, BESIDE = "iris/logistic_regression/forward pass", "digits/mlp/checkpointed_backprop"
COUNTS = [count(cell, 2**53 + place) for place, cell in enumerate((BARE, *CELLS, BESIDE))]
"""Of a bare forward pass, of what is trained and of what is measured only: next to each other, and beyond floats."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three independent runs of one study, the last with its seeds in other chunks."""
    folder = tmp_path_factory.mktemp("verification")
    for name, changes in (("first", {}), ("again", {}), ("chunked", {"seeds_per_job": 3})):
        trained_study(folder / name, **CHANGES, **changes)
    return folder


@pytest.fixture(scope="module")
def folder(trained: Path) -> Path:
    """The three runs, and a reference that the command made of two."""
    assert fgbench(f"reference {trained}/first {trained}/again --output {trained}/reference.json") == 0
    return trained


@pytest.fixture(scope="module")
def kept(trained: Path) -> tuple[list[Json], Json]:
    """The first study's records, and the reference that they make with `COUNTS`."""
    records, again = read_study(trained / "first")[1], read_study(trained / "again")[1]
    made = {"command": "fgbench reference", "finished": "2026", "config_sha256": "12" * 32}
    return records, agreed_reference(("first", records, COUNTS), ("again", again, COUNTS), made)


class Study:
    """Records and counts that a test may change; their cells by name, their runs by seed."""

    def __init__(self, records: list[Json], counts: list[Json] = COUNTS) -> None:
        self.records = copy.deepcopy(records)
        self.counts = copy.deepcopy(counts)

    def of(self, cell: str) -> list[Json]:
        return [record for record in self.records if cell_name(record) == cell]

    def run(self, cell: str, seed: int = 0) -> Json:
        [run] = [run for record in self.of(cell) for run in record["runs"] if run["seed"] == seed]
        assert isinstance(run, dict)
        return run

    def count(self, cell: str) -> Json:
        [one] = [one for one in self.counts if cell_name(one) == cell]
        return one

    def verified(self, *references: Json) -> Json:
        named = {f"reference {n}": one for n, one in enumerate(references, 1)}
        return verification(self.records, self.counts, named)

    def reference(self) -> Json:
        return reference_of(self.records, self.counts, {})


@pytest.fixture
def study(kept: tuple[list[Json], Json]) -> Study:
    return Study(kept[0])


@pytest.fixture
def reference(kept: tuple[list[Json], Json]) -> Json:
    return copy.deepcopy(kept[1])


def cell_of(found: Json, cell: str) -> Json:
    [one] = [one for one in found["cells"] if cell_name(one) == cell]
    return dict(one)


def run_of(found: Json, cell: str, seed: int = 0) -> Json:
    [run] = [run for run in cell_of(found, cell)["runs"] if run["seed"] == seed]
    return dict(run)


def quantity(run: Json, name: str) -> Json:
    [one] = [one for one in run["quantities"] if one["quantity"] == name]
    return dict(one)


def otherwise(run: Json) -> dict[str, Any]:
    """The verdicts of those quantities that are not identical."""
    return {one["quantity"]: one["verdict"] for one in run["quantities"] if one["verdict"] != IDENTICAL}


def at(run: Json, step: int) -> int:
    return int(run["curve"]["step"].index(step))


def cut(run: Json, num_records: int) -> None:
    """Take the last records of a run that reached its target away, as if it had reached it before."""
    run["curve"] = {name: values[:-num_records] for name, values in run["curve"].items()}
    run["steps"] = run["steps_to_target"] = run["curve"]["step"][-1]


def test_the_study_has_every_way_to_end(study: Study) -> None:
    ends = {cell: {study.run(cell, seed)["status"] for seed in range(3)} for cell in CELLS}
    assert ends == {
        REACHED: {"reached"},
        MISSED: {"not_reached"},
        DIVERGED: {"diverged"},
        OTHER: {"not_reached"},
    }
    assert study.run(DIVERGED)["curve"]["train_loss"][-1] is None


# Identical


def test_an_independent_run_of_the_same_study_is_identical(trained: Path, reference: Json) -> None:
    found = Study(read_study(trained / "again")[1]).verified(reference)
    assert found["verdict"] == IDENTICAL
    assert found["runs"] == {IDENTICAL: 12, WITHIN: 0, DIFFERS: 0, NOT_COMPARABLE: 0}
    assert [cell["reference"] for cell in found["cells"]] == ["reference 1"] * 4
    assert [cell["reason"] for cell in found["cells"]] == [None] * 4
    assert found["absent"] == []


def test_seeds_in_chunks_of_another_size_change_nothing(trained: Path, reference: Json) -> None:
    chunked, first = read_study(trained / "chunked")[1], read_study(trained / "first")[1]
    assert (len(chunked), len(first)) == (4, 8)
    found = Study(chunked).verified(reference)
    assert found["runs"][IDENTICAL] == 12
    assert study_sha256(chunked) == study_sha256(first) == found["study_sha256"]


def test_the_order_of_records_and_runs_changes_nothing(study: Study, reference: Json) -> None:
    study.records.reverse()
    for record in study.records:
        record["runs"].reverse()
    assert study.verified(reference)["runs"][IDENTICAL] == 12


# What is compared


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) // 2, len(value) - 1}) if value else []:
            yield from leaves(value[index], (*place, index))
    else:
        yield place


def put(value: Any, place: tuple[Any, ...], new: Callable[[Any], Any]) -> None:
    *parents, last = place
    for key in parents:
        value = value[key]
    value[last] = new(value[last])


def another(value: Any) -> Any:
    """The nearest other value of its kind."""
    if isinstance(value, float):
        return value * (1 - 2**-52) if value else 2.0**-1074
    if isinstance(value, int):
        return value + 1
    return "another" if value != "another" else None


def test_any_field_but_the_volatile_ones_is_noticed(study: Study, reference: Json) -> None:
    """By the least change: the last bit of a number, one more, another word; in a cell's first chunk or its second."""
    assert VOLATILE == ("provenance",)
    identity = {("dataset",), ("model",), ("method",)}
    seen: set[str] = set()
    for number in (0, 1):
        for place in leaves(
            {key: value for key, value in study.of(MISSED)[number].items() if key not in VOLATILE}
        ):
            if place in identity:  # a record of another cell: its own test
                continue
            changed = Study(study.records)
            put(changed.of(MISSED)[number], place, another)
            try:
                found = changed.verified(reference)
            except ResultError as error:
                assert "its records do not belong together" in str(error)  # noqa: PT017
            else:
                assert found["runs"][IDENTICAL] < 12, place
            seen.add(str(place[0]))
    assert seen == {
        "data",
        "kinked",
        "num_parameters",
        "runs",
        "samples_sha256",
        "settings",
        "skipped",
        "split",
    }


@pytest.mark.parametrize("level", ["record", "settings", "run", "curve"])
def test_a_field_more_is_noticed(study: Study, reference: Json, level: str) -> None:
    for record in study.of(MISSED):
        run = record["runs"][0]
        holder = {"record": record, "settings": record["settings"], "run": run, "curve": run["curve"]}[level]
        holder["more"] = [0] * len(run["curve"]["step"])
    assert study.verified(reference)["runs"][IDENTICAL] < 12


def test_what_made_a_run_plays_no_part(study: Study, reference: Json) -> None:
    for record in study.records:
        for place in [*leaves(record["provenance"])]:
            put(record["provenance"], place, lambda _: "another")
    assert study.verified(reference)["verdict"] == IDENTICAL


def test_times_play_no_part(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Path(shutil.copytree(folder / "first", tmp_path / "results"))
    for name in ("cost.json", "scaling.json"):
        (results / name).write_text("{", encoding="utf-8")
    told = []
    for where in (folder / "first", results):
        capsys.readouterr()
        assert fgbench(f"verify {where} --against {folder}/reference.json") == 0
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]


# Within tolerance, and beyond


def words(text: str) -> Callable[[int, float, float], float]:
    """Return the formula that a tolerance states in words."""
    expression = text.replace("·", "*").replace("2⁻²³", "2**-23").replace("|loss|", "abs(loss)")
    kinks = "one example's share of a step, from step 1 on, if the model has kinks"
    expression = expression.replace(kinks, "share * (step >= 1)")
    return eval(f"lambda step, loss, share: {expression}", {"max": max, "abs": abs})


@pytest.mark.parametrize("step", [0, 1, 100, 100_000])
@pytest.mark.parametrize("loss", [0.0, 0.3, 1.0, 2.5, 1e6])
@pytest.mark.parametrize("share", [0.0, 0.01])
def test_the_tolerance_of_a_loss_is_the_one_that_the_report_states(
    step: int, loss: float, share: float
) -> None:
    [stated] = [one.tolerance for one in TOLERANCES if one.quantity == "losses"]
    assert loss_tolerance(step, loss, share) == words(stated)(step, loss, share) > 0


def test_every_tolerance_says_why() -> None:
    assert all(one.quantity and one.tolerance and one.reason.endswith(".") for one in TOLERANCES)


def standing_still(study: Study) -> Json:
    """Return the reference of a study whose training losses do not fall: a step's share of an example is nothing."""
    for record in study.records:
        for run in record["runs"]:
            losses = run["curve"]["train_loss"]
            run["curve"]["train_loss"] = [loss if loss is None else 0.9 for loss in losses]
    return study.reference()


@pytest.mark.parametrize("name", ["train_loss", "validation_loss", "test_loss"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_changed_by_rounding_is_within_tolerance_and_by_more_is_not(
    study: Study, name: str, sign: int
) -> None:
    """After ten steps, below one nat, eighteen roundings are allowed."""
    reference = standing_still(study)
    place = at(study.run(MISSED), 10)
    before = study.run(MISSED)["curve"][name][place]
    assert before < 1
    for factor, verdict, status in ((17.9, WITHIN, 0), (18.1, DIFFERS, 1)):
        changed = Study(study.records)
        here = before + sign * factor * ROUNDING
        changed.run(MISSED)["curve"][name][place] = here
        found = changed.verified(reference)
        assert (found["verdict"], exit_status(found["verdict"])) == (verdict, status)
        assert found["runs"] == {IDENTICAL: 11, WITHIN: 0, DIFFERS: 0, NOT_COMPARABLE: 0} | {verdict: 1}
        run = run_of(found, MISSED)
        assert (run["verdict"], run["parts_at_step"], otherwise(run)) == (verdict, 10, {name: verdict})
        told = quantity(run, name)
        assert (told["step"], told["here"], told["reference"]) == (10, here, before)
        assert told["tolerance"] == pytest.approx(18 * ROUNDING)


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ([1.0, 0.9, 0.4, 0.4, 0.4], 0.6 / 40 / 20),
        ([0.4, 0.5, 0.6, 0.7, 0.8], 0.0),
        ([0.5, 90.0, 30.0, 0.4, 0.4], 0.1 / 40 / 20),
        ([0.4, 0.4, 0.2, None, None], 0.0),
        ([None] * 5, 0.0),
    ],
    ids=["falling", "rising", "a spike", "diverging", "never finite"],
)
@pytest.mark.parametrize("kinked", [True, False])
def test_an_example_that_takes_the_other_side_of_a_kink_is_allowed_from_the_first_step_on(
    study: Study, losses: list[float | None], share: float, kinked: bool
) -> None:
    """Batches of twenty: the mean fall of the reference's training loss a step, over twenty."""
    for record in study.of(MISSED):
        record["kinked"] = kinked
    run = study.run(MISSED)
    run["curve"] = {name: values[:5] for name, values in run["curve"].items()}
    run["curve"] |= {"train_loss": losses, "step": [0, 10, 20, 30, 40]}
    reference = study.reference()
    tests = run["curve"]["test_loss"]
    before = list(tests)
    for place, step, part in ((1, 10, kinked), (4, 40, kinked), (0, 0, False)):
        roundings = (8 + step) * ROUNDING * max(1.0, before[place])
        for factor, verdict in ((0.99, WITHIN), (1.01, DIFFERS)):
            tests[place] = before[place] + factor * (part * share + roundings)
            found = run_of(study.verified(reference), MISSED)
            assert (found["verdict"], otherwise(found)) == (verdict, {"test_loss": verdict}), step
        tests[place] = before[place]


def test_of_several_changed_records_the_one_farthest_off_is_told(study: Study, reference: Json) -> None:
    losses = study.run(MISSED)["curve"]["test_loss"]
    for step, off in ((10, 1e-7), (20, 0.5), (30, 0.1)):
        losses[at(study.run(MISSED), step)] += off
    run = run_of(study.verified(reference), MISSED)
    assert (run["verdict"], run["parts_at_step"], quantity(run, "test_loss")["step"]) == (DIFFERS, 10, 20)


def test_a_change_in_a_record_that_the_reference_does_not_keep_in_full_is_noticed(
    study: Study, reference: Json
) -> None:
    """The first and very step is told; no value can be."""
    [known] = [
        cell for cell in reference["cells"] if cell["method"] == "forward_gradient" and cell["model"] != "mlp"
    ]
    steps = study.run(MISSED)["curve"]["step"]
    left_out = [step for step in steps if step not in known["runs"][0]["curve"]["step"]]
    assert len(left_out) > len(steps) / 3
    for step in left_out:
        changed = Study(study.records)
        curve = changed.run(MISSED)["curve"]
        curve["validation_accuracy"][at(changed.run(MISSED), step)] += 0.5
        found = changed.verified(reference)
        assert found["runs"][IDENTICAL] == 11
        assert run_of(found, MISSED)["parts_at_step"] == step
        # all later records differ too, as they do when a training parts
        for later in range(at(changed.run(MISSED), step), len(steps)):
            curve["train_loss"][later] += 0.1
        run = run_of(changed.verified(reference), MISSED)
        assert (run["verdict"], run["parts_at_step"]) == (DIFFERS, step)


PARTS = [("train", 80), ("validation", 20), ("test", 50)]
"""100 training samples of iris less a fifth; 50 test samples."""


def test_two_accuracies_one_example_apart_are_so_however_their_difference_is_rounded(study: Study) -> None:
    """49/50 - 48/50 is more than 1/50 in floats."""
    assert 49 / 50 - 48 / 50 > 1 / 50
    accuracies = study.run(MISSED)["curve"]["test_accuracy"]
    accuracies[-1] = 49 / 50
    reference = study.reference()
    accuracies[-1] = 48 / 50
    assert run_of(study.verified(reference), MISSED)["verdict"] == WITHIN


@pytest.mark.parametrize(("part", "num_examples"), PARTS)
def test_one_example_may_be_classified_otherwise_and_no_more(
    study: Study, reference: Json, part: str, num_examples: int
) -> None:
    name = f"{part}_accuracy"
    accuracies = study.run(MISSED)["curve"][name]
    before = accuracies[-1]
    for num_changed, verdict in ((1, WITHIN), (2, DIFFERS)):
        accuracies[-1] = (round(before * num_examples) - num_changed) / num_examples
        run = run_of(study.verified(reference), MISSED)
        assert (run["verdict"], otherwise(run)) == (verdict, {name: verdict})


def test_one_prediction_may_flip_and_no_more(study: Study, reference: Json) -> None:
    predicted = study.run(MISSED)["predictions"]["predicted"]
    for num_flipped, verdict in ((1, WITHIN), (2, DIFFERS)):
        predicted[num_flipped] = (predicted[num_flipped] + 1) % 3
        run = run_of(study.verified(reference), MISSED)
        assert (run["verdict"], otherwise(run)) == (verdict, {"predictions that changed": verdict})
        told = quantity(run, "predictions that changed")
        assert (told["here"], told["reference"], told["tolerance"]) == (num_flipped, 0, 1)
        assert run["parts_at_step"] is None


def test_after_many_steps_more_examples_may_be_classified_otherwise(study: Study) -> None:
    """500,000 roundings are six parts in a hundred, 2.98 of 50 examples."""
    standing_still(study)
    run = study.run(MISSED)
    run["steps"] = run["curve"]["step"][-1] = 500_000
    long = study.reference()
    for num_flipped, verdict in ((2, WITHIN), (3, DIFFERS)):
        changed = Study(study.records)
        predicted = changed.run(MISSED)["predictions"]["predicted"]
        for place in range(num_flipped):
            predicted[place] = (predicted[place] + 1) % 3
        assert run_of(changed.verified(long), MISSED)["verdict"] == verdict
    assert loss_tolerance(500_000, 0, 0) == pytest.approx(0.0596, abs=1e-4)


def test_other_software_or_arithmetic_is_named_where_the_numbers_are_not_identical(
    study: Study, reference: Json
) -> None:
    assert study.verified(reference)["made_otherwise"] == []
    reference["made"]["makers"][0]["versions"]["torch"] = "1.0"
    reference["made"]["makers"][0]["cpu"] = "another, which pinned arithmetic does not notice"
    [told] = study.verified(reference)["made_otherwise"]
    assert told.startswith("reference 1: versions.torch is ")
    assert told.endswith(" instead of '1.0'")


# Ends


def around_the_target(study: Study, off: float) -> None:
    """The last record but one of a run that reached its target lies `off` from it."""
    study.run(REACHED)["curve"]["train_loss"][-2] = TARGET + off


@pytest.mark.parametrize("earlier", [True, False], ids=["earlier", "later"])
def test_a_stop_one_record_off_is_within_tolerance_where_the_loss_lies_within_rounding_of_the_target(
    study: Study, earlier: bool
) -> None:
    stopped, went_on = Study(study.records), Study(study.records)
    around_the_target(went_on, 3 * ROUNDING)
    around_the_target(stopped, -3 * ROUNDING)
    cut(stopped.run(REACHED), 1)
    here, there = (stopped, went_on) if earlier else (went_on, stopped)
    run = run_of(here.verified(there.reference()), REACHED)
    assert run["verdict"] == WITHIN
    assert otherwise(run) == {"steps": WITHIN, "steps_to_target": WITHIN, "train_loss": WITHIN}
    assert quantity(run, "steps")["here"] == here.run(REACHED)["steps"]
    assert quantity(run, "steps")["reference"] == there.run(REACHED)["steps"]
    assert run["parts_at_step"] == stopped.run(REACHED)["steps"]


@pytest.mark.parametrize("earlier", [True, False], ids=["earlier", "later"])
def test_a_stop_one_record_off_differs_where_the_loss_does_not(study: Study, earlier: bool) -> None:
    stopped, went_on = Study(study.records), Study(study.records)
    around_the_target(went_on, 0.05)
    around_the_target(stopped, -0.05)
    cut(stopped.run(REACHED), 1)
    here, there = (stopped, went_on) if earlier else (went_on, stopped)
    run = run_of(here.verified(there.reference()), REACHED)
    assert (run["verdict"], quantity(run, "train_loss")["verdict"]) == (DIFFERS, DIFFERS)


def test_a_stop_two_records_off_differs(study: Study, reference: Json) -> None:
    cut(study.run(REACHED), 2)
    run = run_of(study.verified(reference), REACHED)
    assert run["verdict"] == DIFFERS
    assert otherwise(run) == {"steps": DIFFERS, "steps_to_target": DIFFERS}


def test_a_run_that_ends_otherwise_differs(study: Study, reference: Json) -> None:
    study.run(MISSED)["status"] = "reached"
    run = run_of(study.verified(reference), MISSED)
    assert (run["verdict"], otherwise(run)) == (DIFFERS, {"status": DIFFERS})
    told = quantity(run, "status")
    assert (told["here"], told["reference"], told["tolerance"]) == ("reached", "not_reached", None)


def test_a_run_that_reached_the_target_in_the_end_and_its_reference_did_not_differs(
    study: Study, reference: Json
) -> None:
    run = study.run(MISSED)
    run |= {"status": "reached", "steps_to_target": 40}
    assert otherwise(run_of(study.verified(reference), MISSED)) == {
        "status": DIFFERS,
        "steps_to_target": DIFFERS,
    }


def test_a_run_that_diverged_in_the_same_way_is_compared_like_any_other(
    study: Study, reference: Json
) -> None:
    curve = study.run(DIVERGED)["curve"]
    assert curve["train_loss"][-1] is None
    assert curve["train_loss"][0] is not None
    curve["train_loss"][0] += ROUNDING
    run = run_of(study.verified(reference), DIVERGED)
    assert (run["verdict"], otherwise(run), run["parts_at_step"]) == (WITHIN, {"train_loss": WITHIN}, 0)


def test_a_loss_that_is_not_finite_on_one_side_alone_differs(study: Study, reference: Json) -> None:
    for cell in (DIVERGED, MISSED):
        changed = Study(study.records)
        losses = changed.run(cell)["curve"]["test_loss"]
        before = losses[-1]
        losses[-1] = 2.5 if before is None else None
        run = run_of(changed.verified(reference), cell)
        assert run["verdict"] == DIFFERS
        told = quantity(run, "test_loss")
        assert (told["here"], told["reference"], told["verdict"]) == (losses[-1], before, DIFFERS)


def test_other_test_examples_of_the_same_split_settings_differ(study: Study, reference: Json) -> None:
    predictions = study.run(MISSED)["predictions"]
    predictions["id"][0], predictions["label"][0] = 149, 2
    run = run_of(study.verified(reference), MISSED)
    assert run["verdict"] == DIFFERS
    assert otherwise(run) == {"split": DIFFERS}


def test_one_run_that_differs_decides_for_all(study: Study, reference: Json) -> None:
    study.run(MISSED, 2)["curve"]["test_loss"][0] += 1
    study.run(OTHER, 1)["curve"]["test_loss"][0] += ROUNDING
    found = study.verified(reference)
    assert found["verdict"] == DIFFERS
    assert found["runs"] == {IDENTICAL: 10, WITHIN: 1, DIFFERS: 1, NOT_COMPARABLE: 0}
    assert [run["verdict"] for run in cell_of(found, MISSED)["runs"]] == [IDENTICAL, IDENTICAL, DIFFERS]


OTHER_KERNELS = """
import json, sys
from pathlib import Path
from fgbench.results import read_study
from fgbench.splits import split_from_arrays
from fgbench.storage import read_arrays
from fgbench.training import Settings, train
results = Path(sys.argv[1])
_, records, _ = read_study(results)
for record in records:
    arrays = {}
    for path in results.glob(f"splits/{record['dataset']}/*.npz"):
        arrays |= read_arrays(path).arrays
    for place, run in enumerate(record["runs"]):
        split = split_from_arrays(arrays, run["seed"])
        num_classes = 3 if record["dataset"] == "iris" else 10
        run = train(split, Settings(**record["settings"]), num_classes=num_classes, seed=run["seed"])
        record["runs"][place] = run.record(split.test)
print(json.dumps(records))
"""


def test_training_with_the_kernels_of_another_processor_stays_within_tolerance(
    trained: Path, reference: Json
) -> None:
    """Those that torch takes where there is no AVX2: what rounding really does, not what a test makes of it."""
    if not can_be_pinned():
        skip_or_fail(
            "this processor has no other kernels than those of the reference: run this on x86-64 with AVX2"
        )
    env = os.environ | {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    ran = subprocess.run(
        [sys.executable, "-c", OTHER_KERNELS, str(trained / "first")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = Study(json.loads(ran.stdout)).verified(reference)
    assert found["verdict"] == WITHIN
    assert found["runs"][DIFFERS] == found["runs"][NOT_COMPARABLE] == 0
    assert all(cell["reason"] is None for cell in found["cells"])


# Not comparable


OBSTACLES: dict[str, tuple[Callable[[Json], object], str]] = {
    "stand-in data": (
        lambda record: record.update(data="digits"),
        "reference 1 was made on iris, this study on digits",
    ),
    "other samples": (
        lambda record: record.update(samples_sha256="0" * 64),
        "reference 1 was made on other samples of iris",
    ),
    "another setting": (
        lambda record: record["settings"].update(learning_rate=0.25),
        "other than in reference 1, settings.learning_rate is 0.25 instead of 0.1",
    ),
    "another option": (
        lambda record: record["settings"]["optimizer"].update(momentum=0.9),
        "other than in reference 1, settings.optimizer.momentum is 0.9 instead of 0",
    ),
    "another split": (
        lambda record: record["split"].update(seed=7),
        "other than in reference 1, split.seed is 7 instead of None",
    ),
    "another model of the same name": (
        lambda record: record.update(num_parameters=16),
        "other than in reference 1, num_parameters is 16 instead of 15",
    ),
    "fewer seeds": (
        lambda record: record.update(runs=record["runs"][:1]),
        "other than in reference 1, seeds is [0, 2] instead of [0, 1, 2]",
    ),
    "other seeds": (
        lambda record: [run.update(seed=run["seed"] + 10) for run in record["runs"]],
        "other than in reference 1, seeds is [10, 11, 12] instead of [0, 1, 2]",
    ),
    "a method that it does not have": (
        lambda record: record.update(method="mine"),
        "reference 1 does not hold it",
    ),
}


@pytest.mark.parametrize(("change", "reason"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_is_not_the_same_study_is_not_compared_and_told_why(
    study: Study, reference: Json, change: Callable[[Json], object], reason: str
) -> None:
    for record in study.of(MISSED):
        change(record)
    method = study.records[2]["method"]
    found = study.verified(reference)
    cell = cell_of(found, MISSED.replace("forward_gradient", method))
    assert (cell["reference"], cell["reason"]) == (None, reason)
    assert {run["verdict"] for run in cell["runs"]} == {NOT_COMPARABLE}
    assert found["runs"][IDENTICAL] == 9
    assert found["verdict"] == IDENTICAL
    assert found["absent"] == ([MISSED] if method == "mine" else [])


def test_where_nothing_can_be_compared_nothing_is_claimed(study: Study, reference: Json) -> None:
    for record in study.records:
        record["settings"]["max_steps"] = 50
    found = study.verified(reference)
    assert (found["verdict"], exit_status(found["verdict"])) == (NOT_COMPARABLE, 2)
    assert found["runs"] == {IDENTICAL: 0, WITHIN: 0, DIFFERS: 0, NOT_COMPARABLE: 12}


def test_without_a_reference_nothing_is_claimed(study: Study) -> None:
    found = study.verified()
    assert (found["verdict"], exit_status(found["verdict"])) == (NOT_VERIFIED, 2)
    assert found["runs"][NOT_COMPARABLE] == 12
    assert found["operations"] == {
        "verdict": NOT_VERIFIED,
        "compared": 0,
        "identical": 0,
        "differing": [],
        "not_comparable": [BARE, *CELLS, BESIDE],
    }
    assert {cell["reason"] for cell in found["cells"]} == {"no reference was named"}


def test_a_cell_is_compared_with_the_first_reference_that_can_be(study: Study, reference: Json) -> None:
    stand_ins, other_rates = copy.deepcopy(reference), copy.deepcopy(reference)
    for cell in stand_ins["cells"]:
        cell["data"] = {"iris": "digits", "digits": "iris"}[cell["data"]]
    for cell in other_rates["cells"]:
        if cell["dataset"] == "digits":
            cell["settings"]["learning_rate"] = 7.5
    broken = copy.deepcopy(reference)
    for cell in broken["cells"]:
        cell["runs"][0]["sha256"], cell["runs"][0]["status"] = "0" * 64, "another"
    found = study.verified(stand_ins, other_rates, reference, broken)
    assert found["verdict"] == IDENTICAL
    assert [cell_of(found, cell)["reference"] for cell in CELLS] == [
        "reference 2",
        "reference 2",
        "reference 3",
        "reference 3",
    ]
    assert (
        study.verified(broken, reference)["verdict"] == DIFFERS
    )  # the first that can be, not the one that suits
    assert [one["name"] for one in found["references"]] == [f"reference {number}" for number in (1, 2, 3, 4)]
    assert len({one["sha256"] for one in found["references"]}) == 4


def test_data_that_stands_in_for_other_data_is_compared_with_a_reference_on_that_very_data(
    study: Study, reference: Json
) -> None:
    """Whatever the config asked for: its settings and its samples are the same."""
    for record in study.records:
        if record["dataset"] == "digits":
            record["dataset"] = "kmnist"
    found = study.verified(reference)
    assert found["runs"][IDENTICAL] == 12
    for record in study.of("kmnist/mlp/backprop"):
        record["samples_sha256"] = "0" * 64
    assert cell_of(study.verified(reference), "kmnist/mlp/backprop")["reason"] == (
        "reference 1 was made on other samples of digits"
    )


def test_a_cell_of_the_same_name_goes_before_one_on_the_same_data(study: Study, reference: Json) -> None:
    """Two names that the same data stand for, with other settings each."""
    stand_ins = [{**cell, "dataset": "kmnist"} for cell in reference["cells"] if cell["dataset"] == "digits"]
    for cell in stand_ins:
        cell["settings"] = cell["settings"] | {"learning_rate": 7.5}
    reference["cells"] = [*stand_ins, *reference["cells"]]
    assert study.verified(reference)["runs"][IDENTICAL] == 12


def test_every_reason_is_told_where_no_reference_can_be_compared(study: Study, reference: Json) -> None:
    stand_ins = copy.deepcopy(reference)
    for cell in stand_ins["cells"]:
        cell["data"] = "another"
    empty = {"made": {}, "cells": [], "operations": []}
    reason = cell_of(study.verified(stand_ins, empty), MISSED)["reason"]
    assert reason == "reference 1 was made on another, this study on iris; reference 2 does not hold it"


def test_records_of_a_cell_that_do_not_belong_together_are_refused(study: Study, reference: Json) -> None:
    study.of(MISSED)[1]["num_parameters"] += 1
    with pytest.raises(
        ResultError, match=rf"^{MISSED}: its records do not belong together: num_parameters is 16"
    ):
        study.verified(reference)


# Operations


def counted(found: Json) -> dict[str, Any]:
    """The counts' part of a verdict, without what is empty."""
    return {key: value for key, value in found["operations"].items() if value}


IDENTICAL_COUNTS = {"verdict": IDENTICAL, "compared": 6, "identical": 6}


def test_equal_counts_are_identical_in_whatever_order(study: Study, reference: Json) -> None:
    assert counted(study.verified(reference)) == IDENTICAL_COUNTS
    study.counts.reverse()
    assert counted(study.verified(reference)) == IDENTICAL_COUNTS


@pytest.mark.parametrize("cell", [BARE, MISSED, BESIDE])
@pytest.mark.parametrize("off", [1, -1])
def test_a_count_one_operation_off_makes_the_study_differ_though_every_run_is_identical(
    study: Study, reference: Json, cell: str, off: int
) -> None:
    there = study.count(cell)["operations"]
    study.count(cell)["operations"] = there + off
    found = study.verified(reference)
    assert (found["verdict"], exit_status(found["verdict"])) == (DIFFERS, 1)
    assert found["runs"][IDENTICAL] == 12
    assert counted(found) == {
        "verdict": DIFFERS,
        "compared": 6,
        "identical": 5,
        "differing": [{"cell": cell, "reference": "reference 1", "here": there + off, "there": there}],
    }


def test_a_count_that_differs_decides_whatever_the_runs_say(study: Study, reference: Json) -> None:
    study.run(MISSED)["curve"]["test_loss"][0] += ROUNDING
    assert study.verified(reference)["verdict"] == WITHIN
    for record in study.records:
        record["samples_sha256"] = "0" * 64
    assert study.verified(reference)["verdict"] == NOT_COMPARABLE
    study.count(OTHER)["operations"] += 1
    assert study.verified(reference)["verdict"] == DIFFERS
    reference["made"]["makers"][0]["versions"]["torch"] = "1.0"
    [told] = study.verified(reference)[
        "made_otherwise"
    ]  # of the reference that only counts were compared with
    assert told.startswith("reference 1: versions.torch is ")


def test_equal_counts_make_no_study_comparable_whose_runs_are_not(study: Study, reference: Json) -> None:
    reference["cells"] = []
    found = study.verified(reference)
    assert (found["verdict"], exit_status(found["verdict"])) == (NOT_COMPARABLE, 2)
    assert counted(found) == IDENTICAL_COUNTS
    assert found["made_otherwise"] == []


def test_any_field_of_a_count_is_noticed(study: Study, reference: Json) -> None:
    """By the least change; of the name asked for none is needed, where the data are the same."""
    for place in leaves(study.count(MISSED)):
        changed = Study(study.records)
        put(changed.count(MISSED), place, another)
        found = counted(changed.verified(reference))
        if place == ("dataset",):
            assert found == IDENTICAL_COUNTS
        elif place == ("operations",):
            assert found["differing"][0]["cell"] == MISSED
        else:
            assert (found["compared"], len(found["not_comparable"])) == (5, 1), place
            assert "differing" not in found


def test_a_step_that_no_reference_counted_is_no_harm(study: Study, reference: Json) -> None:
    """A study may measure other methods than its reference did, more of them or fewer."""
    study.counts += [count("digits/mlp/forward_gradient_64", 7)]
    study.count(BESIDE)["settings"]["num_tangents"] = 4
    reference["operations"] = [one for one in reference["operations"] if cell_name(one) != BARE]
    found = study.verified(reference)
    assert found["verdict"] == IDENTICAL
    assert counted(found) == {
        "verdict": IDENTICAL,
        "compared": 4,
        "identical": 4,
        "not_comparable": [BARE, BESIDE, "digits/mlp/forward_gradient_64"],
    }
    study.counts = [study.count(MISSED)]
    assert counted(study.verified(reference)) == {"verdict": IDENTICAL, "compared": 1, "identical": 1}


def test_a_study_without_counts_has_nothing_to_say_of_them(study: Study, reference: Json) -> None:
    study.counts = []
    found = study.verified(reference)
    assert found["verdict"] == IDENTICAL
    assert counted(found) == {"verdict": NOT_COMPARABLE}


def test_a_count_is_compared_with_the_first_reference_that_counted_the_same_step(
    study: Study, reference: Json
) -> None:
    others, wrong, right = ({**reference, "operations": copy.deepcopy(COUNTS)} for _ in range(3))
    for one in others["operations"]:
        one["settings"]["batch_size"] = 21
    for one in wrong["operations"]:
        one["operations"] *= 2
    found = study.verified(others, wrong, right)
    assert {one["reference"] for one in found["operations"]["differing"]} == {"reference 2"}
    assert len(found["operations"]["differing"]) == 6
    assert counted(study.verified(others, right, wrong)) == IDENTICAL_COUNTS


def test_counts_on_stand_in_data_are_compared_with_those_on_that_very_data(
    study: Study, reference: Json
) -> None:
    """Whatever the config asked for; of two such, with those of the same name."""
    study.count(OTHER)["dataset"] = "kmnist"
    assert counted(study.verified(reference)) == IDENTICAL_COUNTS
    named = {**study.count("kmnist/mlp/forward_gradient"), "operations": 7}
    reference["operations"] += [named]
    [found] = study.verified(reference)["operations"]["differing"]
    assert (found["cell"], found["there"]) == ("kmnist/mlp/forward_gradient", 7)
    named["settings"] = named["settings"] | {"batch_size": 21}
    assert counted(study.verified(reference)) == IDENTICAL_COUNTS
    study.count("kmnist/mlp/forward_gradient")["data"] = "kmnist"  # the data itself is another
    assert study.verified(reference)["operations"]["not_comparable"] == ["kmnist/mlp/forward_gradient"]


def test_a_reference_keeps_every_count_in_order(study: Study) -> None:
    study.counts.reverse()
    assert study.reference()["operations"] == sorted(COUNTS, key=cell_name)


@pytest.mark.parametrize(
    ("key", "without"),
    [
        ("operations", lambda reference: reference.pop("operations")),
        ("settings", lambda reference: reference["operations"][-1].pop("settings")),
    ],
    ids=["one of an older version", "half a count"],
)
def test_a_reference_without_counts_is_refused(
    reference: Json, key: str, without: Callable[[Json], object]
) -> None:
    require_reference(reference)
    without(reference)
    with pytest.raises(
        ResultError,
        match=f"^is no reference that this version of fgbench can read: '{key}' is missing$",
    ):
        require_reference(reference)


# By hand


@pytest.fixture
def results(folder: Path, tmp_path: Path) -> Path:
    """A copy of the second run of the study."""
    return Path(shutil.copytree(folder / "again", tmp_path / "results"))


def change_record(results: Path, cell: str, change: Callable[[Json], object]) -> None:
    """Change a record as another training would have written it, hash and all."""
    path = results / "runs" / cell / "0.json"
    record = read_json(path)
    change(record["runs"][0])
    write_json(path, record)


def nothing(run: Json) -> None:
    pass


def rounded(run: Json) -> None:
    run["curve"]["test_loss"][-1] += ROUNDING


def worse(run: Json) -> None:
    run["curve"]["test_loss"][-1] = 0.987654321


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (nothing, 0, "Reproduces "),
        (rounded, 0, "Agrees with "),
        (worse, 1, "Does not reproduce "),
    ],
)
def test_verify_by_hand_says_and_exits_what_it_found(
    folder: Path,
    results: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Json], object],
    status: int,
    said: str,
) -> None:
    before = read_json(results / "runs" / MISSED / "0.json")["runs"][0]["curve"]["test_loss"][-1]
    change_record(results, MISSED, change)
    changed = read_json(results / "runs" / MISSED / "0.json")["runs"][0]["curve"]["test_loss"][-1]
    assert fgbench(f"verify {results} --against {folder}/reference.json") == status
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith(said)
    assert f"{folder}/reference.json" in first
    if change is nothing:
        assert lines == []
        return
    why, difference = lines
    assert (
        why
        == "  Made with its reference's software and arithmetic: the code, or this processor, makes the difference."
    )
    assert f"{MISSED} seed 0: " in difference
    assert "part at step 40" in difference
    assert str(changed)[:8] in difference
    assert str(before)[:8] in difference


def test_the_references_of_the_config_are_taken_where_none_is_named(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fgbench(f"verify {results}") == 2
    assert capsys.readouterr().err.startswith("Not verified")
    config = results / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(
        text.replace("references: []", f"references: [{folder}/reference.json]"), encoding="utf-8"
    )
    assert fgbench(f"verify {results}") == 0
    assert f"{folder}/reference.json" in capsys.readouterr().err


def test_verify_exits_two_where_nothing_can_be_compared(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = tiny_study()["experiments"][:1]
    longer = trained_study(tmp_path / "longer", experiments=only, **{"experiments.0.batch_size": 10})
    assert fgbench(f"verify {longer} --against {folder}/reference.json") == 2
    told = capsys.readouterr().err
    assert "Not verified" in told
    assert "settings.batch_size is 10 instead of 20" in told


def change_count(results: Path) -> Json:
    """Change the first count as another step would have written it, hash and all; return it as it was."""
    path = results / "operations.json"
    counted = read_json(path)
    before: Json = dict(counted["cells"][0])
    counted["cells"][0]["operations"] += 1
    write_json(path, counted)
    return before


def test_verify_by_hand_says_which_count_of_operations_differs(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num_counts = len(read_json(results / "operations.json")["cells"])
    before = change_count(results)
    assert fgbench(f"verify {results} --against {folder}/reference.json") == 1
    first, _, difference = capsys.readouterr().err.splitlines()
    assert first == (
        f"Does not reproduce the reference {folder}/reference.json: 12 of 12 runs identical. "
        f"Counted operations: {num_counts - 1} of {num_counts} identical and 1 different."
    )
    there = before["operations"]
    assert difference == (
        f"  {cell_name(before)}: {there + 1:,} operations a step, {there:,} in {folder}/reference.json"
    )


def test_a_study_without_counts_is_not_verified_but_refused(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "operations.json").unlink()
    assert fgbench(f"verify {results} --against {folder}/reference.json") == 1
    told = f"{results}: the study is not complete, 1 of 9 records are missing ({results}/operations.json …)"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("change", [nothing, rounded, worse])
def test_a_comparison_written_to_a_file_is_no_failure(
    folder: Path, results: Path, change: Callable[[Json], object]
) -> None:
    change_record(results, MISSED, change)
    assert fgbench(f"verify {results} --against {folder}/reference.json --output {results}/v.json") == 0
    written = read_json(results / "v.json")
    expected = {nothing: IDENTICAL, rounded: WITHIN, worse: DIFFERS}[change]
    assert (written["verdict"], written["runs"][IDENTICAL]) == (expected, 12 if change is nothing else 11)


def test_the_summary_says_the_verdict_and_where_the_report_lies(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    trained_study(results, measured=True, **CHANGES)
    config = results / "config.yaml"
    text = re.sub(
        r"^results: .*$", f"results: {results}", config.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    config.write_text(text, encoding="utf-8")
    assert fgbench(tables_command(results)) == 0
    assert fgbench(f"summary --config {config}") == 1
    assert f"{results}/verification.json: no such file" in capsys.readouterr().err
    against = f"--against {folder}/reference.json"
    assert fgbench(f"verify {results} {against} --output {results}/verification.json") == 0
    (results / "report.html").write_text("the page", encoding="utf-8")
    capsys.readouterr()
    assert fgbench(f"summary --config {config}") == 0
    text, _, place = capsys.readouterr().err.strip().rpartition("\n")
    assert "\nReproduces " in text
    assert place == f"The report: {results}/report.html"


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a number changed": (
        lambda content: content.replace(b'"steps": 40', b'"steps": 41', 1),
        "was changed after",
    ),
    "cut": (lambda content: content[:-100], "cannot be read ("),
    "a run record": (
        lambda _: b'{"runs": []}',
        "is no file of the kind expected, it has no made, cells, sha256",
    ),
}


@pytest.mark.parametrize(("change", "complaint"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_reference_is_refused_by_name_with_a_way_out(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[bytes], bytes],
    complaint: str,
) -> None:
    broken = tmp_path / "broken.json"
    whole = (folder / "reference.json").read_bytes()
    broken.write_bytes(change(whole))
    assert broken.read_bytes() != whole
    assert fgbench(f"verify {folder}/first --against {broken}") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"fgbench verify: {broken}: ")
    assert complaint in told
    assert "Take it from the repository again, or make another: see `fgbench reference --help`." in told
    assert "Rebuild" not in told


# References


@pytest.mark.parametrize("same", [True, False], ids=["the same folder", "a copy"])
def test_copies_of_one_run_are_no_reference(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], same: bool
) -> None:
    second = folder / "first" if same else Path(shutil.copytree(folder / "first", tmp_path / "copy"))
    assert fgbench(f"reference {folder}/first {second} --output {tmp_path}/reference.json") == 1
    told = capsys.readouterr().err
    assert f"{folder}/first and {second} hold copies of the same run; two independent runs are needed" in told
    assert not (tmp_path / "reference.json").exists()


def test_a_folder_that_is_partly_a_copy_is_no_independent_run(
    folder: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "first" / "runs" / OTHER / "1.json", results / "runs" / OTHER / "1.json")
    assert fgbench(f"reference {folder}/first {results} --output {tmp_path}/reference.json") == 1
    assert "hold copies of the same run" in capsys.readouterr().err


@pytest.mark.parametrize("change", [rounded, worse])
def test_runs_that_do_not_agree_in_every_bit_are_no_reference(
    folder: Path,
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Json], object],
) -> None:
    change_record(results, OTHER, change)
    assert fgbench(f"reference {folder}/first {results} --output {tmp_path}/reference.json") == 1
    told = capsys.readouterr().err
    assert (
        f"{results} does not reproduce {folder}/first, so neither can be a reference: {OTHER}, its runs"
        in told
    )
    assert not (tmp_path / "reference.json").exists()


def test_counts_that_do_not_agree_are_no_reference(
    folder: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = change_count(results)
    cell, there = cell_name(before), before["operations"]
    assert fgbench(f"reference {folder}/first {results} --output {tmp_path}/reference.json") == 1
    told = capsys.readouterr().err
    complaint = f"{cell}, its step has {there + 1} operations instead of {there} "
    assert f"{results} does not reproduce {folder}/first, so neither can be a reference: {complaint}" in told
    assert not (tmp_path / "reference.json").exists()


def test_a_reference_of_an_older_version_is_refused_with_a_way_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = read_json(folder / "reference.json")
    del older["operations"]
    write_json(tmp_path / "older.json", older)
    assert fgbench(f"verify {folder}/first --against {tmp_path}/older.json") == 1
    told = capsys.readouterr().err
    assert "is no reference that this version of fgbench can read: 'operations' is missing." in told
    assert "Take it from the repository again, or make another: see `fgbench reference --help`." in told


def test_studies_of_other_cells_settings_or_seeds_are_no_reference(
    trained: Path, kept: tuple[list[Json], Json]
) -> None:
    records, again = read_study(trained / "first")[1], read_study(trained / "again")[1]
    fewer, slower, seeds = again[:4], copy.deepcopy(again), copy.deepcopy(again)
    for record in slower[:2]:
        record["settings"]["learning_rate"] = 0.25
    seeds[1]["runs"] = []
    for second, complaint in (
        (fewer, f"{OTHER.replace('forward_gradient', 'backprop')} is missing"),
        (slower, f"{REACHED}, other than in first, settings.learning_rate is 0.25 instead of 0.5"),
        (seeds, f"{REACHED}, other than in first, seeds is [0, 1] instead of [0, 1, 2]"),
    ):
        with pytest.raises(ResultError, match=re.escape(complaint)):
            agreed_reference(("first", records, COUNTS), ("again", second, COUNTS), kept[1]["made"])
    with pytest.raises(ResultError, match=f"{DIVERGED}, again does not hold it"):
        agreed_reference(("again", fewer, COUNTS), ("first", records, COUNTS), kept[1]["made"])


def test_studies_of_other_counts_are_no_reference(trained: Path, kept: tuple[list[Json], Json]) -> None:
    records, again = read_study(trained / "first")[1], read_study(trained / "again")[1]
    other, settings = copy.deepcopy(COUNTS), copy.deepcopy(COUNTS)
    other[-1]["operations"] = 7
    settings[-1]["settings"]["batch_size"] = 21
    for first, second, complaint in (
        (COUNTS, other, f"{BESIDE}, its step has 7 operations instead of {COUNTS[-1]['operations']}"),
        (COUNTS, settings, f"{BESIDE}, first holds no count of its step's operations"),
        (COUNTS[:-1], COUNTS, f"{BESIDE}, first holds no count of its step's operations"),
        (COUNTS, COUNTS[:-1], f"the count of {BESIDE}'s operations is missing"),
    ):
        with pytest.raises(
            ResultError,
            match=re.escape(f"again does not reproduce first, so neither can be a reference: {complaint} "),
        ):
            agreed_reference(("first", records, first), ("again", again, second), kept[1]["made"])
    agreed_reference(("first", records, COUNTS), ("again", again, COUNTS[::-1]), kept[1]["made"])


def test_a_reference_is_one_that_verify_accepts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    num_counts = len(read_json(folder / "first" / "operations.json")["cells"])
    for name in ("first", "again", "chunked"):
        assert fgbench(f"verify {folder}/{name} --against {folder}/reference.json") == 0
        [said] = capsys.readouterr().err.splitlines()
        assert said == (
            f"Reproduces the reference {folder}/reference.json: 12 of 12 runs identical. "
            f"Counted operations: {num_counts} of {num_counts} identical."
        )


def test_a_reference_holds_the_studys_counts(folder: Path) -> None:
    counts = read_json(folder / "first" / "operations.json")["cells"]
    assert len(counts) >= len(CELLS)
    assert read_json(folder / "reference.json")["operations"] == sorted(counts, key=cell_name)


def test_a_reference_says_what_made_it(folder: Path) -> None:
    made = read_json(folder / "reference.json")["made"]
    assert made.keys() == {"command", "finished", "config_sha256", "makers", "data"}
    assert made["command"].startswith(f"fgbench reference {folder}/first {folder}/again ")
    [maker] = made["makers"]  # both runs and all their commands share one checkout and machine
    assert maker.keys() == {*MAKER}
    assert [one["used"] for one in made["data"]] == ["iris", "digits"]


def test_the_same_runs_give_the_same_reference_but_for_what_made_it(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    assert fgbench(f"reference {folder}/chunked {folder}/again --output {again}") == 0
    texts = [path.read_text(encoding="utf-8") for path in (folder / "reference.json", again)]
    cells = [text.partition('\n "made": ')[0] for text in texts]
    assert cells[0] == cells[1]
    assert len(cells[0]) > 5000
    counts = [text.partition('\n "operations": ')[2].partition('\n "sha256": ')[0] for text in texts]
    assert counts[0] == counts[1]
    assert len(counts[0]) > 1000


def in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
    return dict(pairs)


def test_a_reference_is_laid_out_for_a_diff(
    folder: Path, kept: tuple[list[Json], Json], tmp_path: Path
) -> None:
    """Keys and cells in order, a line for each list; a run or a count that changes changes a few lines and no other."""
    text = (folder / "reference.json").read_text(encoding="utf-8")
    whole = json.loads(text, object_pairs_hook=in_order)
    assert [cell_name(one) for one in whole["cells"]] == sorted(CELLS)
    assert (names := [cell_name(one) for one in whole["operations"]]) == sorted(names)
    lists = re.findall(
        r'^ *"((?:train|validation|test)_(?:loss|accuracy)|step|predicted)": (.*?),?$',
        text,
        flags=re.MULTILINE,
    )
    assert len(lists) == 12 * 8
    assert all(isinstance(json.loads(values), list) for _, values in lists)
    changed = Study(kept[0], whole["operations"])
    worse(changed.run(MISSED))
    changed.counts[0]["operations"] += 1
    write_json(tmp_path / "changed.json", reference_of(changed.records, changed.counts, whole["made"]))
    lines = text.splitlines(), (tmp_path / "changed.json").read_text(encoding="utf-8").splitlines()
    differing = [line.split(":")[0].strip() for line, other in zip(*lines, strict=True) if line != other]
    assert sorted(differing) == ['"marks"', '"operations"', '"sha256"', '"sha256"', '"test_loss"']


def test_a_reference_keeps_little_of_a_long_curve(study: Study) -> None:
    run = study.run(MISSED)
    steps = list(range(0, 20_010, 10))
    run["curve"] = {name: [0.5] * len(steps) for name in run["curve"]} | {"step": steps}
    [cell] = reference_of(study.of(MISSED), [], {})["cells"]
    kept = cell["runs"][0]
    assert kept["curve"]["step"] == [0, 2500, 5000, 7500, 10_000, 12_500, 15_000, 17_500, 19_990, 20_000]
    assert len(kept["marks"]) == 4 * len(steps)

"""What differs between two studies is told number by number; what cannot be compared is said, with the reason."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import pandas as pd
import pytest
import records
from finished import BOTH, again, altered, base_runs, finished, shifted
from records import Record

from fgbench.comparing import (
    BETTER,
    CHANGED,
    NEEDED,
    UNRESOLVED,
    WORSE,
    ComparedCell,
    Comparison,
    Difference,
    Study,
    _ratio_verdict,
    compared,
    differing,
    require_readable,
)
from fgbench.errors import ResultError
from fgbench.statistics import paired_difference
from fgbench.tables import COLUMNS
from fgbench.verification import DIFFERS, IDENTICAL, NOT_COMPARABLE, WITHIN


@cache
def one() -> Study:
    """The study that others are compared with."""
    return finished(base_runs())


def beside(runs: list[Record], **changes: Any) -> Comparison:
    return compared(one(), finished(runs, name="other", **changes))


def cell(found: Comparison, method: str = "forward_gradient", model: str = "mlp") -> ComparedCell:
    return next(told for told in found.cells if (told.experiment.model, told.method) == (model, method))


def told(found: ComparedCell) -> dict[str, Difference]:
    return {difference.metric: difference for difference in found.differences}


def cell_runs(runs: list[Record]) -> list[Record]:
    return [run for record in runs if record["method"] == "forward_gradient" for run in record["runs"]]


def edited(runs: list[Record], **changes: Any) -> list[Record]:
    """Return runs trained another time, each record changed."""
    return [record | copy.deepcopy(changes) for record in again(runs)]


# The same


def test_the_same_runs_are_identical_without_any_statistics() -> None:
    found = beside(again(base_runs()))
    assert {told.verdict for told in found.cells} == {IDENTICAL}
    assert {run["verdict"] for told in found.cells for run in told.runs} == {IDENTICAL}
    assert not any(told.differences for told in found.cells)
    assert not any(told.differing for told in found.facts)
    assert {count.verdict for count in found.counts} == {IDENTICAL}
    assert all(claim.first == claim.second for claim in found.claims)
    assert found.copies == 0


def test_copies_are_told_from_runs_that_were_trained_again() -> None:
    runs = again(base_runs())
    assert beside([*base_runs()[:2], *runs[2:]]).copies == 2
    assert compared(one(), one()).copies == len(base_runs())


def test_the_order_of_records_and_the_size_of_chunks_are_no_difference() -> None:
    runs = again(base_runs(models=BOTH))
    whole = [
        first | {"runs": [*first["runs"], *second["runs"]]}
        for first, second in zip(runs[::2], runs[1::2], strict=True)
    ]
    found = compared(finished(runs), finished(whole[::-1]))
    assert {told.verdict for told in found.cells} == {IDENTICAL}
    assert [told.experiment.model for told in found.cells] == [*2 * BOTH[:1], *2 * BOTH[1:]]


# Within tolerance, changed, not resolved


def test_rounding_is_within_tolerance_and_no_verdict_is_claimed_of_it() -> None:
    runs = altered(base_runs(), "forward_gradient", shifted("test_loss", lambda seed: 1e-7 + 1e-9 * seed))
    found = cell(beside(runs))
    assert found.verdict == WITHIN
    assert {metric: told.verdict for metric, told in told(found).items()} == {
        "test_loss": WITHIN,
        "test_accuracy": IDENTICAL,
        "train_loss": IDENTICAL,
        "steps_to_target": IDENTICAL,
    }


@pytest.mark.parametrize(
    ("metric", "by", "verdict"),
    [
        ("test_loss", 0.1, WORSE),
        ("test_loss", -0.1, BETTER),
        ("train_loss", -0.1, BETTER),
        ("test_accuracy", 0.1, BETTER),
        ("test_accuracy", -0.1, WORSE),
    ],
)
def test_a_result_that_moved_with_every_seed_changed(metric: str, by: float, verdict: str) -> None:
    runs = altered(base_runs(), "forward_gradient", shifted(metric, lambda seed: by * (1 + seed / 10)))
    found = cell(beside(runs))
    assert found.verdict == CHANGED
    assert [run["verdict"] for run in found.runs] == 6 * [DIFFERS]
    difference = told(found)[metric]
    assert difference.verdict == verdict
    assert difference.mean == pytest.approx(1.25 * by)
    assert difference.second - difference.first == pytest.approx(difference.mean)
    assert {told.verdict for name, told in told(found).items() if name != metric} == {IDENTICAL}
    assert cell(beside(runs), "backprop").verdict == IDENTICAL


def test_a_differences_numbers_are_those_of_the_studys_own_statistics() -> None:
    runs = altered(base_runs(), "forward_gradient", shifted("test_loss", lambda seed: 0.01 * (seed - 2)))
    difference = told(cell(beside(runs)))["test_loss"]
    losses, others = ([run["curve"]["test_loss"][-1] for run in cell_runs(of)] for of in (base_runs(), runs))
    expected = paired_difference(others, losses, higher_is_better=False)
    assert expected.interval is not None
    assert (difference.low, difference.high) == (expected.interval.low, expected.interval.high)
    assert difference.p_value == expected.p_value
    assert difference.verdict == UNRESOLVED


def test_what_moved_with_some_seeds_up_and_with_others_down_is_not_resolved() -> None:
    runs = altered(base_runs(), "forward_gradient", shifted("test_loss", lambda seed: 0.1 * (-1) ** seed))
    found = cell(beside(runs))
    assert (found.verdict, told(found)["test_loss"].verdict) == (UNRESOLVED, UNRESOLVED)


def test_too_few_seeds_resolve_nothing() -> None:
    runs = altered(base_runs(3), "forward_gradient", shifted("test_loss", lambda seed: 10.0 + seed))
    found = cell(compared(finished(base_runs(3)), finished(runs)))
    assert (found.verdict, told(found)["test_loss"].pairs) == (UNRESOLVED, 3)


def test_steps_to_the_target_are_compared_as_a_ratio() -> None:
    runs = altered(
        base_runs(), "forward_gradient", lambda run: run | {"steps_to_target": 2 * run["steps_to_target"]}
    )
    difference = told(cell(beside(runs)))["steps_to_target"]
    assert difference.verdict == WORSE
    assert (difference.mean, difference.second / difference.first) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("change", "lost"), [(records.diverged, "test_loss"), (records.missed, "steps_to_target")]
)
def test_a_pair_that_lacks_a_number_leaves_the_result_open(change: Any, lost: str) -> None:
    worse = shifted("test_loss", lambda seed: 1.0 + seed / 10)
    runs = altered(
        base_runs(), "forward_gradient", lambda run: change(worse(run)) if run["seed"] == 0 else worse(run)
    )
    difference = told(cell(beside(runs)))[lost]
    assert (difference.pairs, difference.unpaired, difference.verdict) == (5, 1, UNRESOLVED)


def test_a_number_that_every_run_of_both_lacks_is_the_same() -> None:
    runs = altered(base_runs(), "forward_gradient", records.missed)
    others = altered(runs, "forward_gradient", shifted("test_loss", lambda seed: 1.0 + seed))
    difference = told(cell(compared(finished(runs), finished(others))))["steps_to_target"]
    assert (difference.verdict, difference.pairs) == (IDENTICAL, 0)
    assert math.isnan(difference.mean)


# What cannot be compared


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": "iris"}, "other data: penguins in A, iris in B"),
        ({"samples_sha256": "ef" * 32}, "other samples of penguins"),
        (
            {"split": {"num_train": 50, "num_test": 20, "validation_fraction": 0.2, "seed": None}},
            "other splits: num_train 40 in A, 50 in B",
        ),
    ],
)
def test_other_data_samples_or_splits_cannot_be_compared(change: Record, reason: str) -> None:
    found = beside(edited(base_runs(), **change))
    assert {told.reason for told in found.cells} == {reason}
    assert {told.verdict for told in found.cells} == {NOT_COMPARABLE}
    assert not any(told.runs or told.differences for told in found.cells)


def test_other_seeds_cannot_be_compared_and_the_reason_names_them() -> None:
    runs = again(base_runs())
    for record in runs:
        record["runs"] = [run | {"seed": run["seed"] + 10} for run in record["runs"]]
    found = beside(runs)
    assert {told.reason for told in found.cells} == {"other seeds: 0 to 5 in A, 10 to 15 in B"}


def test_of_seeds_that_only_partly_are_the_same_those_are_compared() -> None:
    found = compared(one(), finished(again(base_runs(4))))
    assert {told.verdict for told in found.cells} == {IDENTICAL}
    assert [len(told.runs) for told in found.cells] == 2 * [4]
    assert found.cells[0].left_out == [4, 5]


def test_a_cell_that_one_study_did_not_train_cannot_be_compared() -> None:
    runs = [
        record | {"skipped": "it does not apply", "runs": []}
        if record["method"] == "forward_gradient"
        else record
        for record in again(base_runs())
    ]
    assert cell(beside(runs)).reason == "not trained in B: it does not apply"
    assert cell(compared(finished(runs), one())).reason == "not trained in A: it does not apply"


def test_cells_of_one_study_alone_are_listed() -> None:
    found = compared(finished(base_runs(models=BOTH)), one())
    assert found.only_first == [
        "penguins/logistic_regression/backprop",
        "penguins/logistic_regression/forward_gradient",
    ]
    assert (found.only_second, len(found.cells)) == ([], 2)


# Other settings


def test_other_settings_are_compared_and_named() -> None:
    runs = altered(base_runs(), "forward_gradient", shifted("test_loss", lambda seed: 0.1 + seed / 100))
    for record in runs:
        record["settings"] = record["settings"] | {"batch_size": 25}
    found = beside(runs)
    assert [(fact.what, fact.first, fact.second) for fact in cell(found).otherwise] == [
        ("batch_size", "50", "25")
    ]
    assert (cell(found).verdict, cell(found, "backprop").verdict) == (CHANGED, IDENTICAL)


def test_steps_to_another_target_are_not_compared() -> None:
    runs = altered(
        base_runs(), "forward_gradient", lambda run: run | {"steps_to_target": 2 * run["steps_to_target"]}
    )
    for record in runs:
        record["settings"] = record["settings"] | {"target_loss": 0.7}
    found = cell(beside(runs))
    assert told(found)["steps_to_target"].verdict == NOT_COMPARABLE
    assert found.verdict == UNRESOLVED


# What made them


def facts(found: Comparison, kind: str) -> list[tuple[str, str, str]]:
    (of_kind,) = [told for told in found.facts if told.kind == kind]
    return [(fact.what, fact.first, fact.second) for fact in of_kind.differing]


def test_another_machine_commit_and_software_are_told() -> None:
    software = {"python": "3.11.7", "torch": "2.14.0"}
    runs = again(base_runs(), cpu="Another", commit="f" * 40, versions=software, code_hash="beef" * 4)
    found = beside(runs)
    assert facts(found, "Machine") == [("processor", "A processor", "A processor; Another")]
    assert facts(found, "Software") == [("torch", "2.13.0", "2.13.0; 2.14.0")]
    assert [fact[0] for fact in facts(found, "Code")] == ["code of train", "commit"]
    assert facts(found, "Config") == facts(found, "Data") == []


def test_the_config_is_compared_key_by_key_but_for_the_folder() -> None:
    cost = records.CONFIG["cost"] | {"rounds": 10}  # type: ignore[operator]
    found = beside(
        again(base_runs()), config=records.CONFIG | {"results": "elsewhere", "cost": cost, "more": None}
    )
    assert facts(found, "Config") == [("cost.rounds", "20", "10"), ("more", "–", "null")]


def test_where_files_came_from_is_no_difference_but_what_is_in_them_is() -> None:
    def obtained(**changes: str) -> list[Record]:
        described = copy.deepcopy(base_runs()[0]["provenance"]["data"])
        described[0]["files"][0] |= changes
        return again(base_runs(), data=described)

    file = "penguins: SHA-256 of penguins.csv"
    elsewhere = beside(obtained(origin="/a/mirror"))
    assert facts(elsewhere, "Data") == []
    assert file in [fact[0] for fact in facts(beside(obtained(sha256="ef" * 32)), "Data")]


def test_experiments_are_held_against_each_other_by_name() -> None:
    first = [{"dataset": "a", "model": "m", "steps": 1}, {"dataset": "b", "model": "m", "steps": 2}]
    assert differing({"experiments": first}, {"experiments": first[::-1]}) == []
    assert [fact.what for fact in differing({"experiments": first}, {"experiments": first[:1]})] == [
        "experiments.b/m.dataset",
        "experiments.b/m.model",
        "experiments.b/m.steps",
    ]


# Cost


def ratio(low: float, high: float, *, floor: float = 1.01, against: str = "backprop") -> Record:
    return {"ratio": (low * high) ** 0.5, "low": low, "high": high, "floor": floor, "against": against}


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (ratio(1.9, 2.1), ratio(2.0, 2.2), UNRESOLVED),
        (ratio(1.9, 2.1), ratio(2.12, 2.3), UNRESOLVED),
        (ratio(1.9, 2.1), ratio(2.2, 2.3), WORSE),
        (ratio(1.9, 2.1, floor=1.1), ratio(2.2, 2.3), UNRESOLVED),
        (ratio(1.9, 2.1), ratio(2.2, 2.3, floor=1.1), UNRESOLVED),
        (ratio(2.2, 2.3), ratio(1.9, 2.1), BETTER),
        (ratio(1.9, 2.1, floor=math.nan), ratio(9.0, 9.1), UNRESOLVED),
        (ratio(1.9, 2.1), ratio(1.9, 2.1, against="another"), NOT_COMPARABLE),
        (ratio(1.9, 2.1), None, NOT_COMPARABLE),
        (None, None, ""),
    ],
)
def test_a_ratio_changed_only_if_both_intervals_lie_apart_beyond_both_noise_floors(
    first: Record | None, second: Record | None, verdict: str
) -> None:
    assert _ratio_verdict(first, second) == verdict


def test_a_machine_twice_as_slow_changes_times_and_no_ratio() -> None:
    slower = {name: 2 * seconds for name, seconds in TIMES.items()}
    first = finished(base_runs(), rounds=12, times=TIMES)
    second = finished(again(base_runs()), rounds=12, times=slower, seed=1)
    steps = [
        step for step in compared(first, second).steps if step.engine == "eager" and step.method in TIMES
    ]
    assert {step.verdict for step in steps if step.method == "forward_gradient"} == {UNRESOLVED}
    for step in steps:
        (time, other) = step.times
        assert time is not None
        assert other is not None
        assert other["step_time_s"] == pytest.approx(2 * time["step_time_s"], rel=0.1)


def test_a_step_that_costs_more_beside_the_baseline_changed() -> None:
    first = finished(base_runs(), rounds=12, times=TIMES)
    second = finished(again(base_runs()), rounds=12, times=TIMES | {"forward_gradient": 5e-3})
    found = {(step.method, step.engine): step.verdict for step in compared(first, second).steps}
    assert found["forward_gradient", "eager"] == WORSE
    assert found["backprop", "eager"] == ""
    assert found["checkpointed_backprop", "eager"] == UNRESOLVED


def test_a_study_that_measured_nothing_has_no_ratio_to_compare() -> None:
    found = compared(finished(base_runs(), rounds=2), one())
    assert {step.verdict for step in found.steps} == {"", NOT_COMPARABLE}
    assert all(step.times[1] is None for step in found.steps)


def test_counted_operations_are_the_same_to_the_digit_or_not() -> None:
    second = finished(again(base_runs()))
    rows = second.tables["operations"].copy()
    rows.loc[0, "operations"] += 1
    other = Study(**(vars(second) | {"tables": second.tables | {"operations": rows[:-1]}}))
    found = [count for count in compared(one(), other).counts if count.verdict != IDENTICAL]
    assert [count.verdict for count in found] in ([CHANGED, NOT_COMPARABLE], [NOT_COMPARABLE, CHANGED])
    (changed,) = [count for count in found if count.verdict == CHANGED]
    assert changed.first is not None
    assert changed.second == changed.first + 1


# Claims, and what can be read


def test_claims_are_judged_by_each_studys_own_tables() -> None:
    first = finished(base_runs(), rounds=12, times=TIMES)
    second = finished(again(base_runs()), rounds=12, times=TIMES | {"forward_gradient": 1e-4})
    unlike = {
        claim.entry.id: (claim.first.verdict, claim.second.verdict)
        for claim in compared(first, second).claims
        if claim.first.verdict != claim.second.verdict
    }
    assert unlike["faster_step"] == ("does not hold", "holds")


def test_the_tables_that_a_comparison_reads_are_all_that_it_needs() -> None:
    first = finished(base_runs(), rounds=4)
    only = Study(**(vars(first) | {"tables": {name: first.tables[name] for name in NEEDED}}))
    assert compared(only, only).copies == len(base_runs())


def test_tables_of_another_version_are_refused_by_table_and_column() -> None:
    require_readable("results", COLUMNS)
    require_readable("results", {name: [*columns, "more"] for name, columns in COLUMNS.items()} | {"new": []})
    require_readable("results", {name: columns for name, columns in COLUMNS.items() if name in NEEDED})
    lacking = COLUMNS | {"runs": [column for column in COLUMNS["runs"] if column != "steps"]}
    with pytest.raises(
        ResultError, match=r"^results: .* another version of fgbench: runs has no column steps"
    ):
        require_readable("results", lacking)
    with pytest.raises(ResultError, match="there is no probes"):
        require_readable("results", {name: COLUMNS[name] for name in NEEDED if name != "probes"})


def test_nothing_in_a_study_is_changed_by_comparing_it() -> None:
    study = finished(again(base_runs()))
    before = copy.deepcopy((study.records, study.provenance)), {k: v.copy() for k, v in study.tables.items()}
    compared(one(), study)
    assert (study.records, study.provenance) == before[0]
    for name, table in before[1].items():
        pd.testing.assert_frame_equal(table, study.tables[name])


TIMES = {"forward pass": 0.5e-3, "backprop": 1e-3, "forward_gradient": 2e-3, "checkpointed_backprop": 1.4e-3}
"""True seconds a step."""

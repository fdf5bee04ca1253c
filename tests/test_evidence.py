"""How comparisons are made of tables, weighed against each other, and become a verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import records

from fgbench.evidence import (
    STEPS_TO_TARGET,
    TEST_ACCURACY,
    TEST_LOSS,
    TIME_TO_TARGET,
    TRAIN_LOSS,
    Evidence,
    bounded,
    figure_text,
    judged,
    measured,
    said,
    weighed,
)
from fgbench.judgements import (
    AGAINST,
    FAILS,
    FOR,
    HOLDS,
    OPEN,
    PARTLY,
    UNRESOLVED,
    Measured,
)
from fgbench.statistics import Interval, PairedDifference, holm
from fgbench.tables import study_tables

METHODS = ("backprop", "normal_1", "rademacher_1", "rademacher_4", "orthonormal_4", "local")
"""Of rank i a method takes 20 + 180 i steps, 10 more a seed."""

SETTINGS: dict[str, records.Record] = {
    "normal_1": {"tangents": "normal", "num_tangents": 1},
    "rademacher_1": {"tangents": "rademacher", "num_tangents": 1},
    "rademacher_4": {"tangents": "rademacher", "num_tangents": 4},
    "orthonormal_4": {
        "estimator": {"name": "orthonormal_projection"},
        "tangents": "normal",
        "num_tangents": 4,
    },
    "local": {"estimator": {"name": "local_guesses"}, "tangents": None, "num_tangents": None},
}


def runs_of(
    methods: tuple[str, ...] = METHODS, *, num_seeds: int = 6, models: tuple[str, ...] = ("mlp",)
) -> list[records.Record]:
    """Return run records of methods with these settings."""
    found = records.run_records(methods=methods, num_seeds=num_seeds)
    for record in found:
        record["settings"] = record["settings"] | SETTINGS.get(record["method"], {})
    return [record for record in found if record["model"] in models]


def evidence_of(runs: list[records.Record], **changes: Any) -> Evidence:
    return Evidence(study_tables(runs, **changes))


def one_measured(
    says: str, *, where: str = "mlp", what: str = "a against b", p_value: float = 0.002
) -> Measured:
    return Measured(where, what, 2.0, 1.9, 2.1, p_value, says)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """All the methods' evidence, at a single seed: nothing is compared in it."""
    return evidence_of(runs_of(num_seeds=1))


def test_methods_are_found_by_what_they_are(evidence: Evidence) -> None:
    (experiment,) = evidence.experiments
    names = [cell["method"] for cell in evidence.cells(experiment, "forward_gradient")]
    assert names == ["normal_1", "rademacher_1", "rademacher_4"]
    (four,) = evidence.cells(experiment, "forward_gradient", tangents="rademacher", num_tangents=4)
    assert four["method"] == "rademacher_4"
    baseline = evidence.baseline(experiment)
    assert baseline is not None
    assert baseline["method"] == "backprop"
    assert evidence.estimators("local") == {"local_guesses"}


def test_a_cell_is_held_against_as_many_tangents_of_its_kind_if_there_are_some(evidence: Evidence) -> None:
    (experiment,) = evidence.experiments

    def plain(method: str, **options: Any) -> str | None:
        cells = evidence.tables["cells"].to_dict("records")
        (cell,) = [cell for cell in cells if cell["method"] == method]
        found = evidence.plain(experiment, cell, **options)
        return None if found is None else found["method"]

    assert plain("rademacher_4", num_tangents=1) == "rademacher_1"
    assert plain("orthonormal_4") == "rademacher_4"  # no normal one has four
    assert plain("local") == "normal_1"  # which takes none
    assert plain("local", num_tangents=16) is None


def test_a_cell_that_was_skipped_is_no_evidence() -> None:
    runs = runs_of(num_seeds=1)
    for record in runs:
        if record["method"] == "local":
            record["runs"] = []
    evidence = evidence_of(runs)
    (experiment,) = evidence.experiments
    assert evidence.cells(experiment, "local_guesses") == []


def compared(runs: list[records.Record], metric: str, **changes: Any) -> PairedDifference | None:
    """Return how far the plain forward gradient is from backprop."""
    evidence = evidence_of(runs, **changes)
    (experiment,) = evidence.experiments
    (cell,) = evidence.cells(experiment, "forward_gradient")
    baseline = evidence.baseline(experiment)
    assert baseline is not None
    return evidence.compared(experiment, cell, baseline, metric)


PAIR = ("backprop", "rademacher_1")


def test_steps_and_accuracies_are_compared_as_the_table_of_comparisons_does() -> None:
    runs = runs_of(PAIR)
    rows = {row["metric"]: row for row in study_tables(runs)["comparisons"].to_dict("records")}
    for metric, back in ((STEPS_TO_TARGET, math.exp), (TEST_ACCURACY, float)):
        found = compared(runs, metric)
        assert found is not None
        assert found.interval is not None
        assert back(found.mean) == pytest.approx(rows[metric]["mean"])
        assert back(found.interval.low) == pytest.approx(rows[metric]["low"])
        assert found.verdict == rows[metric]["verdict"]


def test_times_to_the_target_are_compared_with_the_uncertainty_of_the_steps() -> None:
    runs = runs_of(PAIR)
    cost = records.cost_record(runs, rounds=8)
    found = compared(runs, TIME_TO_TARGET, cost=cost)
    (row,) = [
        row
        for row in study_tables(runs, cost=cost)["comparisons"].to_dict("records")
        if row["metric"] == TIME_TO_TARGET
    ]
    assert found is not None
    assert math.exp(found.mean) == pytest.approx(row["mean"])
    assert found.verdict == row["verdict"] == "worse"
    assert compared(runs, TIME_TO_TARGET) is None  # no step was timed


def test_losses_are_compared_where_the_shorter_run_ends() -> None:
    runs = runs_of(PAIR, num_seeds=6)
    found = {metric: compared(runs, metric) for metric in (TRAIN_LOSS, TEST_LOSS)}
    # backprop ends at step 20 + 10 s with 0.49; the other is then (20 + 10 s) / (200 + 10 s) on its way from log 3
    ends = [(20 + 10 * seed) / (200 + 10 * seed) for seed in range(6)]
    there = [math.log(3) + (0.49 - math.log(3)) * part for part in ends]
    assert found[TRAIN_LOSS] is not None
    assert found[TRAIN_LOSS].mean == pytest.approx(np.mean(np.log(np.array(there) / 0.49)))
    extra = [(0.1 + 0.01 * seed) for seed in range(6)]  # of test loss, for each rank once more
    assert found[TEST_LOSS] is not None
    assert found[TEST_LOSS].mean == pytest.approx(np.mean(np.array(there) - 0.49 + extra))
    assert found[TEST_LOSS].verdict == "worse"


def test_nothing_is_compared_unless_every_pair_is_complete() -> None:
    runs = runs_of(PAIR, num_seeds=6)
    runs[0]["runs"][0] = records.missed(runs[0]["runs"][0])
    assert compared(runs, STEPS_TO_TARGET) is None
    assert compared(runs, TRAIN_LOSS) is not None
    runs[0]["runs"][0] = records.diverged(runs[0]["runs"][0])
    assert all(compared(runs, metric) is None for metric in (STEPS_TO_TARGET, TRAIN_LOSS, TEST_ACCURACY))
    runs[0]["runs"] = runs[0]["runs"][1:]
    assert compared(runs, TRAIN_LOSS) is None


def test_training_is_told_by_steps_and_by_a_loss_where_a_target_was_missed() -> None:
    runs = runs_of(PAIR, num_seeds=6)

    def progress() -> tuple[str, PairedDifference | None]:
        evidence = evidence_of(runs)
        (experiment,) = evidence.experiments
        (cell,) = evidence.cells(experiment, "forward_gradient")
        baseline = evidence.baseline(experiment)
        assert baseline is not None
        return evidence.progress(experiment, cell, baseline)

    assert progress()[0] == STEPS_TO_TARGET
    runs[-1]["runs"][0] = records.missed(runs[-1]["runs"][0])
    by, difference = progress()
    assert by == TRAIN_LOSS
    assert difference is not None
    assert difference.verdict == "worse"


def test_a_miss_counts_as_the_most_steps_that_a_run_takes() -> None:
    runs = runs_of(PAIR, num_seeds=6)
    runs[-1]["runs"][-1] = records.missed(runs[-1]["runs"][-1])
    evidence = evidence_of(runs)
    (experiment,) = evidence.experiments
    (cell,) = evidence.cells(experiment, "forward_gradient")
    assert evidence.censored_steps(cell).to_dict() == {0: 200, 1: 210, 2: 220, 3: 230, 4: 240, 5: 100_000}


@pytest.mark.parametrize(
    ("verdict", "claimed", "says"),
    [
        ("better", "better", FOR),
        ("worse", "better", AGAINST),
        ("worse", "worse", FOR),
        ("not resolved", "worse", OPEN),
    ],
)
def test_what_a_comparison_says_hangs_on_what_is_claimed(verdict: str, claimed: str, says: str) -> None:
    assert said(verdict, claimed=claimed) == says
    difference = PairedDifference(10, math.log(2), Interval(math.log(1.5), math.log(2.5)), 0.002, verdict)  # type: ignore[arg-type]
    found = measured("mlp", "a against b", difference, claimed=claimed)
    assert (found.says, found.text) == (says, "2.0× [1.5, 2.5]")


def test_a_comparison_that_is_not_complete_is_open_and_has_no_figure() -> None:
    found = measured("mlp", "a against b", None)
    assert (found.says, found.text) == (OPEN, "–")


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.8, 1.2, FOR),
        (1.6, 2.0, AGAINST),
        (0.3, 0.5, AGAINST),
        (1.4, 1.6, OPEN),
        (0.5, 2.0, OPEN),
        (math.nan, 1, OPEN),
    ],
)
def test_a_figure_lies_between_bounds_only_with_its_whole_interval(
    low: float, high: float, says: str
) -> None:
    one = Measured("mlp", "steps", 1.0, low, high, 0.5, OPEN)
    assert bounded(one, low=1 / 1.5, high=1.5).says == says


def test_comparisons_that_all_say_the_same_are_not_corrected() -> None:
    found = [one_measured(FOR, p_value=0.04) for _ in range(5)]
    assert weighed(found) == found


def test_what_only_some_say_must_outlast_the_correction() -> None:
    found = [
        one_measured(FOR, p_value=0.03),
        one_measured(AGAINST, p_value=0.001),
        one_measured(OPEN, p_value=0.2),
    ]
    assert [one.says for one in weighed(found)] == [OPEN, AGAINST, OPEN]
    assert [one.p_value for one in weighed(found)] == pytest.approx([0.06, 0.003, 0.2])


def test_the_correction_counts_no_comparison_that_has_no_test() -> None:
    found = [
        one_measured(FOR, p_value=0.03),
        one_measured(OPEN, p_value=math.nan),
        one_measured(AGAINST, p_value=math.nan),
    ]
    assert [one.says for one in weighed(found)] == [FOR, OPEN, AGAINST]


def test_chance_alone_speaks_for_or_against_in_no_more_than_one_of_twenty() -> None:
    """Ten fair tests a claim: without a correction four claims in ten would have one that speaks."""
    rng = np.random.default_rng(0)
    spoken = 0
    for p_values in rng.uniform(size=(2000, 10)):
        found = [one_measured(FOR if p < 0.05 else OPEN, p_value=p) for p in p_values]
        spoken += any(one.says == FOR for one in weighed(found))
    assert spoken / 2000 < 0.06


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        ((FOR, FOR), HOLDS),
        ((FOR, AGAINST), PARTLY),
        ((FOR, OPEN), PARTLY),
        ((AGAINST, AGAINST), FAILS),
        ((AGAINST, OPEN), FAILS),
        ((OPEN, OPEN), UNRESOLVED),
    ],
)
def test_a_claim_without_a_condition_is_judged_by_all_its_comparisons(
    says: tuple[str, ...], verdict: str
) -> None:
    found = [one_measured(one, where=f"model {place}") for place, one in enumerate(says)]
    assert judged(found, "steps").verdict == verdict


def test_a_condition_names_where_a_claim_holds_and_where_not() -> None:
    found = [
        one_measured(FOR, where="cnn"),
        one_measured(AGAINST, where="mlp"),
        one_measured(OPEN, where="tree", p_value=0.5),
    ]
    assert judged(found, "steps").reason == "the case is cnn (against it: mlp; not resolved: tree)"


def test_a_condition_names_what_was_compared_where_a_place_is_of_two_minds() -> None:
    found = [
        one_measured(FOR, what="16 tangents"),
        one_measured(AGAINST, what="4 tangents"),
        one_measured(FOR, where="cnn"),
    ]
    assert (
        judged(found, "steps").reason == "the case is mlp, 16 tangents and cnn (against it: mlp, 4 tangents)"
    )


def test_a_long_condition_is_counted() -> None:
    found = [one_measured(FOR, where=f"model {place}") for place in range(9)]
    text = judged([*found, one_measured(AGAINST, where="tree")], "steps").reason
    assert text == "the case is model 0, model 1, model 2, model 3 and 5 more (against it: tree)"


def test_figures_are_told_from_the_least_to_the_greatest() -> None:
    found = [one_measured(FOR), replace(one_measured(FOR), value=0.5, low=0.4, high=0.6)]
    assert figure_text(found) == "0.50× [0.40, 0.60] to 2.0× [1.9, 2.1]"
    assert figure_text(found[:1]) == "2.0× [1.9, 2.1]"
    assert figure_text([measured("mlp", "steps", None)]) == ""


def test_a_difference_has_a_sign_and_a_number_has_none() -> None:
    one = Measured("mlp", "accuracy", 0.1, 0.05, 0.15, 0.002, FOR)
    assert replace(one, scale="difference").text == "+0.10 [0.05, 0.15]"
    assert replace(one, scale="number").text == "0.10 [0.05, 0.15]"


def test_corrected_p_values_are_those_of_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


def test_tables_are_left_as_they_were() -> None:
    tables = study_tables(runs_of(PAIR))
    before = {name: table.copy() for name, table in tables.items()}
    evidence = Evidence(tables)
    for experiment in evidence.experiments:
        for cell in evidence.cells(experiment, "forward_gradient"):
            evidence.progress(experiment, cell, evidence.cells(experiment, "backprop")[0])
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, before[name])

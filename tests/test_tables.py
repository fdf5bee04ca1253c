"""Tables made from records of known content."""

from __future__ import annotations

import copy
import io
import math

import pandas as pd
import pytest
import records

from fgbench.errors import ResultError
from fgbench.tables import COLUMNS, KEY, LONG_TABLES, study_tables, table_from_csv

RUNS = records.run_records()
TABLES = study_tables(RUNS, records.time_records(RUNS))


def of(table: str, model: str, method: str, tables: dict[str, pd.DataFrame] = TABLES) -> pd.DataFrame:
    rows = tables[table]
    return rows[(rows["model"] == model) & (rows["method"] == method)].reset_index(drop=True)


@pytest.mark.parametrize("tables", [TABLES, study_tables(RUNS), study_tables([])])
def test_tables_have_exactly_the_described_columns(tables: dict[str, pd.DataFrame]) -> None:
    assert {name: list(table.columns) for name, table in tables.items()} == {
        name: list(columns) for name, columns in COLUMNS.items()
    }
    assert set(tables) >= LONG_TABLES
    assert all(text for columns in COLUMNS.values() for text in columns.values())


def test_the_order_of_records_changes_nothing() -> None:
    backwards = study_tables(RUNS[::-1], records.time_records(RUNS)[::-1])
    for name, table in TABLES.items():
        pd.testing.assert_frame_equal(table, backwards[name])


@pytest.mark.parametrize("methods", [("backprop", "NA"), ("", 'a,"b\nお')])
def test_tables_come_back_from_their_csv_as_they_were(methods: tuple[str, ...]) -> None:
    runs = records.run_records(methods=methods)
    for tables in (study_tables(runs, records.time_records(runs)), study_tables([])):
        for name, table in tables.items():
            text = io.StringIO(table.to_csv(index=False))
            pd.testing.assert_frame_equal(table_from_csv(name, text), table, check_exact=True)


@pytest.mark.parametrize("text", ["", "dataset,data\n", "not,a\ntable"])
def test_a_csv_that_is_no_such_table_is_refused(text: str) -> None:
    with pytest.raises(ResultError, match="table runs"):
        table_from_csv("runs", io.StringIO(text))


@pytest.mark.parametrize("name", sorted(LONG_TABLES))
def test_long_tables_can_be_parquet(name: str) -> None:
    stream = io.BytesIO()
    TABLES[name].to_parquet(stream, index=False)
    assert len(pd.read_parquet(stream)) == len(TABLES[name])


def test_the_true_name_of_the_data_stands_in_every_row() -> None:
    for table in TABLES.values():
        assert set(table["data"]) == {"penguins", "digits"}
        assert set(table["dataset"][table["data"] == "digits"]) == {"kmnist_t10k"}


def test_a_run_has_one_row_and_a_record_one_row() -> None:
    assert len(TABLES["runs"]) == 3 * 2 * 6
    assert len(TABLES["curves"]) == sum(
        len(run["curve"]["step"]) for record in RUNS for run in record["runs"]
    )


def test_misses_and_divergence_are_counted_and_never_averaged_away() -> None:
    cell = of("summary", "cnn", "forward_gradient").iloc[0]
    assert (cell["runs"], cell["reached"], cell["not_reached"], cell["diverged"]) == (6, 4, 1, 1)
    # the six, misses as infinite: 220, 230, 240, 250, ∞, ∞
    assert cell["steps_to_target_median"] == 245


def test_no_median_of_steps_is_given_once_half_of_the_runs_miss() -> None:
    runs = copy.deepcopy(RUNS)
    for record in runs:
        record["runs"] = [records.missed(run) if run["seed"] >= 3 else run for run in record["runs"]]
    summary = study_tables(runs)["summary"]
    assert (summary["steps_to_target_median"] == math.inf).all()


def test_final_values_are_means_over_the_runs_that_did_not_diverge() -> None:
    cell = of("summary", "cnn", "forward_gradient").iloc[0]
    # seed s ends at losses 0.49 and 0.49 + 2·(0.1 + 0.01·s); seed 0 diverged, seed 1 stayed at 0.51
    assert cell["train_loss_mean"] == pytest.approx((0.51 + 4 * 0.49) / 5)
    assert cell["test_loss_mean"] == pytest.approx(0.49 + 2 * (0.1 + 0.01 * 3))
    assert cell["test_loss_low"] < cell["test_loss_mean"] < cell["test_loss_high"]


def test_a_cell_whose_runs_all_diverged_has_no_final_values() -> None:
    runs = copy.deepcopy(RUNS)
    for record in runs:
        record["runs"] = [records.diverged(run) for run in record["runs"]]
    summary = study_tables(runs)["summary"]
    assert (summary["diverged"] == summary["runs"]).all()
    assert summary["test_loss_mean"].isna().all()
    assert len(study_tables(runs)["confusion"]) == 0


def test_paired_differences_are_those_of_the_records() -> None:
    rows = of("comparisons", "mlp", "forward_gradient").set_index("metric")
    # test loss differs by 0.1 + 0.01·s, seeds 0 to 5; test accuracy by one example of twenty
    assert rows.loc["test_loss", "mean"] == pytest.approx(0.125)
    assert rows.loc["test_accuracy", "mean"] == pytest.approx(-1 / 20)
    assert rows.loc["test_loss", "p_value"] == pytest.approx(2 / 64)
    assert list(rows.loc[["test_loss", "test_accuracy"], "verdict"]) == ["worse", "worse"]
    # steps are 200 + 10·s against 20 + 10·s
    logarithms = [math.log((200 + 10 * seed) / (20 + 10 * seed)) for seed in range(6)]
    assert rows.loc["steps_to_target", "mean"] == pytest.approx(math.exp(sum(logarithms) / 6))


def test_nothing_is_claimed_where_a_pair_is_missing() -> None:
    rows = of("comparisons", "cnn", "forward_gradient").set_index("metric")
    assert list(rows.loc[["test_loss", "steps_to_target"], "unpaired"]) == [1, 2]
    assert set(rows["verdict"]) == {"not resolved"}


def test_every_other_method_is_compared_with_the_exact_one() -> None:
    methods = ("backprop", "a", "b")
    comparisons = study_tables(records.run_records(methods=methods))["comparisons"]
    assert set(comparisons["method"]) == {"a", "b"}
    assert set(comparisons["baseline"]) == {"backprop"}


def test_confusion_counts_every_tested_example_once() -> None:
    confusion = of("confusion", "logistic_regression", "backprop")
    assert confusion["count"].sum() == 6 * records.NUM_TESTED
    # seed s misclassifies s + 1 examples, each as the next class
    wrong = confusion[confusion["label"] != confusion["predicted"]]
    assert wrong["count"].sum() == 1 + 2 + 3 + 4 + 5 + 6
    assert (wrong["predicted"][wrong["count"] > 0] == (wrong["label"][wrong["count"] > 0] + 1) % 3).all()
    assert confusion.groupby("label")["rate"].sum().tolist() == pytest.approx([1, 1, 1])


def test_misclassified_examples_say_by_how_many_of_the_runs_that_tested_them() -> None:
    missed = of("misclassified", "logistic_regression", "backprop").set_index("id")
    # seed s tests examples s to s + 19, wrong on s to 2s: example 4 is tested by seeds 0-4, wrong for 2, 3, 4
    example = missed.loc[4]
    assert (example["wrong"], example["tested"], example["predicted_by"]) == (3, 5, 3)
    assert (example["label"], example["predicted"], example["rate"]) == (1, 2, 3 / 5)
    assert missed["wrong"].is_monotonic_decreasing


def test_seconds_on_a_curve_are_steps_times_the_median_timed_step() -> None:
    curve = of("curves", "mlp", "backprop")
    # timed at 1.0 and 1.1 ms a step
    assert curve["time_s"].to_numpy() == pytest.approx(curve["step"].to_numpy() * 0.00105)
    assert of("curves", "mlp", "backprop", study_tables(RUNS))["time_s"].isna().all()


def test_a_timed_run_that_ends_elsewhere_than_the_study_is_told() -> None:
    timings = records.time_records(RUNS)
    timings[0]["runs"][0]["final_train_loss"] += 1e-12
    times = study_tables(RUNS, timings)["times"]
    assert (~times["identical"]).sum() == 1
    assert TABLES["times"]["identical"].all()  # a diverged one too


def test_a_seed_in_two_records_is_refused() -> None:
    with pytest.raises(ResultError, match=r"penguins / logistic_regression / backprop: seed 0 stands in two"):
        study_tables([*RUNS, RUNS[0]])


def test_records_of_one_cell_made_with_different_settings_are_refused() -> None:
    runs = copy.deepcopy(RUNS)
    runs[1]["settings"] = runs[1]["settings"] | {"learning_rate": 0.5}
    with pytest.raises(ResultError, match="different settings"):
        study_tables(runs)


def test_tables_name_their_cell_first() -> None:
    assert all(tuple(columns)[:4] == KEY for columns in COLUMNS.values())

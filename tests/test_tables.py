"""Tables made from records of known content."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pandas as pd
import pytest
import records
from records import METHODS

from fgbench.errors import ResultError
from fgbench.judgements import JUDGEMENT_COLUMNS
from fgbench.tables import COLUMNS, KEY, LONG_TABLES, study_tables, table_from_csv

RUNS = records.run_records()
MLP_RUNS = [record for record in RUNS if record["model"] == "mlp"]
COSTS = {
    "operations": records.operations_record(RUNS),
    "cost": records.cost_record(RUNS),
    "scaling": records.scaling_record(),
}
TABLES = study_tables(RUNS, **COSTS)
EMPTY = study_tables([])


def of(table: str, model: str, method: str, tables: dict[str, pd.DataFrame] = TABLES) -> pd.DataFrame:
    rows = tables[table]
    return rows[(rows["model"] == model) & (rows["method"] == method)].reset_index(drop=True)


ONE_METHOD = records.run_records(methods=("backprop",), num_seeds=1)[:1]
LACKING: dict[str, tuple[list[records.Record], dict[str, records.Record]]] = {
    "nothing": (RUNS, COSTS),
    "everything": ([], {}),
    "costs": (MLP_RUNS, {}),
    "runs": ([], COSTS),
    "a second method and seed": (ONE_METHOD, {"operations": records.operations_record(ONE_METHOD)}),
    "cost of some methods": (MLP_RUNS, {"cost": records.cost_record(MLP_RUNS, without=METHODS[1:])}),
    "a baseline and a second round": (
        MLP_RUNS,
        {"cost": records.cost_record(MLP_RUNS, without=METHODS[:1], rounds=1)},
    ),
    "nothing, not even a GPU": (
        MLP_RUNS,
        {
            "cost": records.cost_record(MLP_RUNS, cuda=True),
            "scaling": records.scaling_record(cuda=True),
        },
    ),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_tables_have_exactly_the_described_columns_of_the_same_types_whatever_is_lacking(
    lacking: str,
) -> None:
    runs, costs = LACKING[lacking]
    tables = study_tables(runs, **costs)
    assert {name: list(table.columns) for name, table in tables.items()} == {
        name: list(columns) for name, columns in COLUMNS.items() if name not in JUDGEMENT_COLUMNS
    }
    for name, table in tables.items():
        pd.testing.assert_series_equal(table.dtypes, EMPTY[name].dtypes)
    assert set(tables) >= LONG_TABLES
    assert all(text for columns in COLUMNS.values() for text in columns.values())


def test_the_order_of_records_changes_nothing() -> None:
    costs = copy.deepcopy(COSTS)
    for record, name in (("operations", "cells"), ("cost", "experiments"), ("scaling", "ladders")):
        costs[record][name].reverse()
    costs["scaling"]["ladders"][0]["points"].reverse()
    for experiment in costs["cost"]["experiments"]:
        experiment["times"].reverse()
        experiment["methods"] = dict(reversed(experiment["methods"].items()))
    backwards = study_tables(RUNS[::-1], **costs)
    for name, table in TABLES.items():
        pd.testing.assert_frame_equal(table, backwards[name])


@pytest.mark.parametrize("methods", [("backprop", "NA"), ("", 'a,"b\nお')])
def test_tables_come_back_from_their_csv_as_they_were(methods: tuple[str, ...]) -> None:
    runs = records.run_records(methods=methods)
    costs = {
        "operations": records.operations_record(runs),
        "cost": records.cost_record(runs, rounds=2),
        "scaling": records.scaling_record(),
    }
    for tables in (study_tables(runs, **costs), study_tables(runs[:2]), EMPTY):
        for name, table in tables.items():
            text = io.StringIO(table.to_csv(index=False))
            pd.testing.assert_frame_equal(table_from_csv(name, text), table, check_exact=True)


@pytest.mark.parametrize("text", ["", "dataset,data\n", "not,a\ntable"])
def test_a_csv_that_is_no_such_table_is_refused(text: str) -> None:
    with pytest.raises(ResultError, match="table runs"):
        table_from_csv("runs", io.StringIO(text))


def test_a_csv_with_another_word_where_yes_or_no_belongs_is_refused() -> None:
    text = TABLES["measurements"].to_csv(index=False).replace("False", "perhaps")
    with pytest.raises(ResultError, match="table measurements"):
        table_from_csv("measurements", io.StringIO(text))


@pytest.mark.parametrize("name", sorted(LONG_TABLES))
def test_long_tables_can_be_parquet(name: str) -> None:
    stream = io.BytesIO()
    TABLES[name].to_parquet(stream, index=False)
    assert len(pd.read_parquet(stream)) == len(TABLES[name])


def test_the_true_name_of_the_data_stands_in_every_row_of_an_experiment() -> None:
    told = [table for table in TABLES.values() if "data" in table and len(table)]
    assert len(told) >= 13
    for table in told:
        assert set(table["data"]) - {""} == {"penguins", "digits"}
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


def test_pairs_are_the_runs_at_seeds_at_which_no_method_diverged() -> None:
    missed = of("misclassified", "cnn", "backprop").set_index("id")
    # the other method's seed 0 diverged; example 0 is tested by seed 0 alone, 4 by seeds 0-4 and wrong for 2, 3, 4
    assert missed.loc[0, ["tested", "paired", "paired_wrong"]].to_list() == [1, 0, 0]
    assert missed.loc[4, ["tested", "wrong", "paired", "paired_wrong"]].to_list() == [5, 3, 4, 3]
    others = of("misclassified", "mlp", "backprop")
    assert (others["paired"] == others["tested"]).all()
    assert (others["paired_wrong"] == others["wrong"]).all()


def test_seconds_and_operations_on_a_curve_are_steps_times_those_of_a_step() -> None:
    curve = of("curves", "mlp", "forward_gradient")
    steps = curve["step"].to_numpy()
    assert curve["time_s"].to_numpy() == pytest.approx(steps * 2.0e-3, rel=0.01)
    assert curve["operations"].to_list() == (steps * 3_000 * 131).tolist()
    bare = of("curves", "mlp", "forward_gradient", study_tables(MLP_RUNS))
    assert bare[["time_s", "operations"]].isna().all(axis=None)


def test_time_to_target_is_the_median_of_steps_times_the_median_step() -> None:
    cell = of("summary", "mlp", "backprop").iloc[0]
    # 20, 30, …, 70 steps of 1 ms
    assert cell["step_time_s"] == pytest.approx(1e-3, rel=0.01)
    assert cell["time_to_target_s"] == 45 * cell["step_time_s"]
    assert cell["time_to_target_low"] < 0.035
    assert cell["time_to_target_high"] > 0.055
    assert cell["operations"] == 3_000 * 131


def test_time_to_target_has_no_interval_once_a_run_misses_and_is_infinite_once_half_do() -> None:
    missed = of("summary", "cnn", "forward_gradient").iloc[0]
    assert missed["time_to_target_s"] == 245 * missed["step_time_s"]
    assert math.isnan(missed["time_to_target_low"])
    assert math.isnan(missed["time_to_target_high"])
    runs = copy.deepcopy(RUNS)
    for record in runs:
        record["runs"] = [records.missed(run) if run["seed"] >= 3 else run for run in record["runs"]]
    cost = records.cost_record(runs, rounds=2)
    summary = study_tables(runs, cost=cost)["summary"]
    assert (summary["time_to_target_s"] == math.inf).all()
    assert summary["time_to_target_low"].isna().all()


def test_noise_of_the_timing_widens_the_interval_of_the_time_to_target() -> None:
    def width(noise: float) -> float:
        tables = study_tables(MLP_RUNS, cost=records.cost_record(MLP_RUNS, noise=noise))
        cell = of("summary", "mlp", "forward_gradient", tables).iloc[0]
        return float((cell["time_to_target_high"] - cell["time_to_target_low"]) / cell["time_to_target_s"])

    assert width(0.5) > 1.2 * width(0.001)


def test_times_to_target_are_compared_by_steps_of_each_seed_and_step_times_of_each_round() -> None:
    rows = of("comparisons", "mlp", "forward_gradient").set_index("metric")
    steps, time = rows.loc["steps_to_target"], rows.loc["time_to_target_s"]
    # twice the time a step
    assert time["mean"] == pytest.approx(2 * steps["mean"], rel=0.01)
    assert [time["low"], time["high"]] == pytest.approx([2 * steps["low"], 2 * steps["high"]], rel=0.05)
    assert (time["scale"], time["pairs"], time["unpaired"]) == ("ratio", 6, 0)
    assert (time["p_value"], time["verdict"]) == (pytest.approx(2 / 64), "worse")


def test_fewer_seconds_to_the_target_are_better_though_they_take_more_steps() -> None:
    cost = records.cost_record(MLP_RUNS, times={"forward_gradient": 0.05e-3})
    rows = of("comparisons", "mlp", "forward_gradient", study_tables(MLP_RUNS, cost=cost)).set_index("metric")
    assert rows.loc["steps_to_target", "verdict"] == "worse"
    assert rows.loc["time_to_target_s", "mean"] == pytest.approx(0.05 * 5.418, rel=0.01)
    assert rows.loc["time_to_target_s", "verdict"] == "better"


@pytest.mark.parametrize("costs", [{}, {"cost": records.cost_record(MLP_RUNS, without=("backprop",))}])
def test_nothing_is_said_of_times_to_target_unless_both_steps_were_timed(costs: dict[str, Any]) -> None:
    rows = of("comparisons", "mlp", "forward_gradient", study_tables(MLP_RUNS, **costs)).set_index("metric")
    time = rows.loc["time_to_target_s"]
    assert (time["pairs"], time["unpaired"], time["verdict"]) == (0, 6, "not resolved")
    assert time[["mean", "low", "high"]].isna().all()


def test_times_to_target_are_those_of_the_processor_that_training_ran_on() -> None:
    cost = records.cost_record(MLP_RUNS, cuda=True)
    cost["experiments"].reverse()
    assert of("summary", "mlp", "backprop", study_tables(MLP_RUNS, cost=cost))["step_time_s"][
        0
    ] == pytest.approx(1e-3, rel=0.01)


METHODS_OF_TWO = ("backprop", "one", "two")
"""`one` takes one pass a step, `two` takes two."""


def counted(methods: tuple[str, ...] = METHODS_OF_TWO) -> dict[str, pd.DataFrame]:
    """Return the tables of runs on the multilayer network alone, their passes and operations counted."""
    runs = [record for record in records.run_records(methods=methods) if record["model"] == "mlp"]
    return study_tables(runs, operations=records.operations_record(runs))


def test_passes_on_a_curve_are_steps_times_those_of_a_step() -> None:
    curve = of("curves", "mlp", "two", counted())
    assert curve["passes"].to_list() == (2 * curve["step"]).to_list()
    assert study_tables(MLP_RUNS)["curves"]["passes"].isna().all()


def test_passes_and_operations_to_the_target_are_exact_multiples_of_its_steps() -> None:
    tables = counted()
    rows = of("comparisons", "mlp", "two", tables).set_index("metric")
    steps, passes, operations = (rows.loc[f"{name}_to_target"] for name in ("steps", "passes", "operations"))
    for end in ("mean", "low", "high"):
        assert passes[end] == pytest.approx(2 * steps[end])
        assert operations[end] == pytest.approx(2 * steps[end])  # 3 a tangent, against 3
    assert (passes["pairs"], passes["unpaired"], passes["verdict"]) == (6, 0, "worse")
    one = of("comparisons", "mlp", "one", tables).set_index("metric")["mean"]
    assert one["passes_to_target"] == one["steps_to_target"]


def test_nothing_is_said_of_passes_and_operations_that_nobody_counted() -> None:
    counts = records.operations_record(MLP_RUNS)
    for cell in counts["cells"]:
        if cell["method"] == "forward_gradient":
            cell |= {"operations": None, "passes": None, "skipped": "it does not apply"}
    tables = study_tables(MLP_RUNS, operations=counts)
    rows = of("comparisons", "mlp", "forward_gradient", tables).set_index("metric")
    for metric in ("passes_to_target", "operations_to_target"):
        assert (rows.loc[metric, "pairs"], rows.loc[metric, "verdict"]) == (0, "not resolved")
        assert math.isnan(rows.loc[metric, "mean"])
    assert rows.loc["steps_to_target", "pairs"] == 6
    for cell in counts["cells"]:
        del cell["passes"]
    assert study_tables(MLP_RUNS, operations=counts)["operations"]["passes"].isna().all()


def test_an_interquartile_mean_is_over_all_runs_a_diverged_one_as_the_worst() -> None:
    cell = of("summary", "cnn", "forward_gradient").iloc[0]
    # seed s ends at 0.49 + 2·(0.1 + 0.01·s), seed 1 at 0.02 more, seed 0 at ∞; a quarter of six is one, at either end
    kept = sorted([0.49 + 0.2 + 0.02 * seed for seed in (2, 3, 4, 5)] + [0.49 + 0.2 + 0.02])[1:]
    assert cell["test_loss_iqm"] == pytest.approx(sum(kept) / 4, abs=0.006)
    assert cell["test_loss_iqm_high"] == math.inf
    # seed s has s + 2 of 20 wrong, and the diverged one all
    assert cell["test_accuracy_iqm"] == pytest.approx(1 - (4 + 5 + 6 + 7) / 4 / 20)
    assert cell["heavy_tailed"]
    calm = of("summary", "mlp", "backprop").iloc[0]
    assert not calm["heavy_tailed"]
    assert calm["test_loss_iqm_low"] < calm["test_loss_iqm"] < calm["test_loss_iqm_high"] < math.inf


def test_a_cell_whose_every_run_diverged_has_the_worst_interquartile_mean() -> None:
    runs = copy.deepcopy(RUNS)
    for record in runs:
        record["runs"] = [records.diverged(run) for run in record["runs"]]
    summary = study_tables(runs)["summary"]
    assert (summary["test_loss_iqm"] == math.inf).all()
    assert (summary["test_accuracy_iqm"] == 0).all()
    assert summary["heavy_tailed"].all()


def test_pooled_runs_are_multiples_of_the_median_of_each_experiments_baseline() -> None:
    pooled = TABLES["pooled"].set_index(["method", "axis"])
    forward = pooled.loc[("forward_gradient", "step")]
    # 200 to 250 steps by a median of 45 in three experiments, the convolutional network's first two runs missed
    multiples = [*2 * [(200 + 10 * seed) / 45 for seed in range(6)]]
    multiples += [(200 + 10 * seed) / 45 for seed in range(2, 6)] + [math.inf, math.inf]
    kept = sorted(multiples)[4:-4]
    assert forward["iqm"] == pytest.approx(sum(kept) / len(kept))
    assert forward["low"] < forward["iqm"] < forward["high"]
    assert (forward["experiments"], forward["runs"], forward["reached"]) == (3, 18, 16)
    assert pooled.loc[("forward_gradient", "passes"), "iqm"] == pytest.approx(forward["iqm"])
    assert pooled.loc[("forward_gradient", "time_s"), "iqm"] == pytest.approx(2 * forward["iqm"], rel=0.02)
    assert pooled.loc[("backprop", "step"), "iqm"] == pytest.approx(1)


def test_pairs_are_made_by_seed_and_a_difference_that_they_alone_show_is_gone_without_them() -> None:
    def verdict(baseline_seeds: list[int]) -> str:
        """Return the verdict on the test loss where these, in this order, are the seeds of the baseline's runs."""
        runs = copy.deepcopy(MLP_RUNS)
        for record in runs:
            for run in record["runs"]:
                spread = 5.0 * (run["seed"] % 3) ** 2
                rank = METHODS.index(record["method"])
                run["curve"]["test_loss"][-1] = spread + rank * (0.5 + 0.01 * run["seed"])
        order = iter(baseline_seeds)
        for run in [run for record in runs if record["method"] == "backprop" for run in record["runs"]]:
            run["seed"] = next(order)
        rows = of("comparisons", "mlp", "forward_gradient", study_tables(runs)).set_index("metric")
        assert rows.loc["test_loss", "pairs"] == 6
        return str(rows.loc["test_loss", "verdict"])

    assert verdict([0, 1, 2, 3, 4, 5]) == "worse"
    assert verdict([1, 2, 0, 4, 5, 3]) == "not resolved"


def test_a_seed_in_two_records_is_refused() -> None:
    with pytest.raises(ResultError, match=r"penguins / logistic_regression / backprop: seed 0 stands in two"):
        study_tables([*RUNS, RUNS[0]])


def test_records_of_one_cell_made_with_different_settings_are_refused() -> None:
    runs = copy.deepcopy(RUNS)
    runs[1]["settings"] = runs[1]["settings"] | {"learning_rate": 0.5}
    with pytest.raises(ResultError, match="different settings"):
        study_tables(runs)


def test_tables_name_their_cell_first() -> None:
    others = {name for name, columns in COLUMNS.items() if tuple(columns)[:4] != KEY}
    assert others == {
        "ladder",
        "exponents",
        "measurements",
        "pooled",
        "laws",
        "laws_skipped",
        *JUDGEMENT_COLUMNS,
    }

"""The report's sentences, against records whose truth is known."""

from __future__ import annotations

import copy
import re
from functools import cache

import pandas as pd
import pytest
import records

from fgbench.findings import (
    Experiment,
    asked,
    experiment_findings,
    experiments,
    methods,
    overview,
    question,
    rates_note,
)
from fgbench.tables import study_tables

RUNS = records.run_records()
CNN = Experiment("kmnist_t10k", "digits", "cnn")
MLP = Experiment("penguins", "penguins", "mlp")


@cache
def whole() -> dict[str, pd.DataFrame]:
    """The tables of a whole study."""
    return study_tables(RUNS, cost=records.cost_record(RUNS))


def test_experiments_come_smallest_model_first_and_exact_gradients_before_others() -> None:
    assert [experiment.model for experiment in experiments(whole())] == ["logistic_regression", "mlp", "cnn"]
    assert methods(study_tables(records.run_records(methods=("z", "a", "m")))) == ["z", "a", "m"]


def test_a_stand_in_is_named_wherever_its_experiment_is() -> None:
    assert CNN.title == "cnn on digits (stand-in for kmnist_t10k)"
    assert CNN.title in asked(whole())


def test_what_was_asked_is_said_with_its_seeds_and_limits() -> None:
    assert question(whole()) == "Does forward_gradient train as well as backprop?"
    text = asked(whole())
    assert "6 seeds (0 to 5)" in text
    assert "(0.5), or after 100,000 steps" in text


def test_the_overview_counts_runs_and_verdicts_over_all_experiments() -> None:
    said = " ".join(overview(whole()))
    assert "backprop reached the target in 18 of 18 runs." in said
    assert "forward_gradient reached the target in 16 of 18 runs; 1 diverged." in said
    assert "final test loss worse in 2 and not resolved in 1" in said
    assert (
        "forward_gradient took 5.4× the steps to the target of backprop where every pair is complete, 2 of 3."
        in said
    )


def test_an_experiment_says_how_runs_ended_and_what_is_worse() -> None:
    said = experiment_findings(whole(), MLP)
    ending = "; the mean at the end of all 6 runs is 0.490 [0.490, 0.490]."
    assert (
        said[0]
        == f"backprop reached a training loss of 0.5 in 6 of 6 runs, after a median of 45 steps{ending}"
    )
    assert "paired difference +0.125" in said[3]
    assert said[3].endswith(": worse.")
    assert re.fullmatch(
        r"Median time to the target: 4\d\d \[\d+, \d+\] ms with forward_gradient, 4\d \[\d+, \d+\] ms with backprop; "
        r"1\d× \[.*\] as long \(geometric mean of the pairs\), p = 0\.031: worse\.",
        said[5],
    )


def test_lost_runs_are_said_and_nothing_is_claimed_from_the_rest() -> None:
    said = " ".join(experiment_findings(whole(), CNN))
    assert "in 4 of 6 runs, after a median of 245 steps; the mean at the end of" in said
    assert "; 1 diverged." in said
    assert "is not claimed: at 2 seeds one or both of the two missed the target" in said
    assert "1 pair lost to divergence: not resolved." in said
    assert "ms with forward_gradient (reached by 4/6)" in said
    assert "; no ratio is claimed, for the same reason as for the steps." in said
    assert "worse" not in said


def test_a_time_to_the_target_that_most_runs_missed_is_not_reached_and_one_not_timed_is_not_known() -> None:
    runs = copy.deepcopy(RUNS)
    for record in runs:
        if record["method"] == "forward_gradient" and record["model"] == "mlp":
            record["runs"] = [records.missed(run) for run in record["runs"]]
    said = experiment_findings(study_tables(runs, cost=records.cost_record(runs, rounds=2)), MLP)
    assert "time to the target: not reached with forward_gradient (reached by 0/6), 4" in said[-1]
    cost = records.cost_record(RUNS, rounds=2, without=("forward_gradient",))
    said = experiment_findings(study_tables(RUNS, cost=cost), MLP)
    assert said[-1] == (
        "The times to the target of forward_gradient and backprop are not known: their steps were not both timed."
    )


def test_a_study_whose_every_run_diverged_is_still_told() -> None:
    runs = copy.deepcopy(RUNS)
    for record in runs:
        record["runs"] = [records.diverged(run) for run in record["runs"]]
    tables = study_tables(runs)
    said = " ".join([*overview(tables), *experiment_findings(tables, MLP)])
    assert "in 0 of 6 runs; 6 diverged." in said
    assert "No pair of runs can be compared." in said


def test_a_single_seed_resolves_nothing_and_says_so() -> None:
    tables = study_tables(records.run_records(num_seeds=1))
    assert "With 1 seed no difference can be resolved" in overview(tables)[-1]
    assert not any("p =" in sentence for sentence in experiment_findings(tables, MLP))


@pytest.mark.parametrize("names", [("backprop",), ("backprop", "a", "b")])
def test_any_number_of_methods_is_told(names: tuple[str, ...]) -> None:
    tables = study_tables(records.run_records(methods=names))
    said = " ".join([question(tables), *overview(tables), *experiment_findings(tables, MLP)])
    assert all(name in said for name in names)
    assert ("nothing is compared" in said) == (len(names) == 1)


def test_learning_rates_are_given_with_where_they_come_from() -> None:
    note = rates_note(MLP.rows(whole()["cells"]), MLP.rows(whole()["rates"]))
    assert note.startswith("Learning rates: 0.1 for backprop and 0.01 for forward_gradient.")
    assert "did not tune" in note

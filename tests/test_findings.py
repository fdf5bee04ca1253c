"""The report's sentences, against records whose truth is known."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import records

from fgbench.findings import (
    Experiment,
    asked,
    difference_text,
    experiment_findings,
    experiments,
    methods,
    overview,
    question,
    rates_note,
    verdict_lines,
    verdict_text,
)
from fgbench.tables import study_tables
from fgbench.verification import verification

RUNS = records.run_records()
TABLES = study_tables(RUNS, cost=records.cost_record(RUNS))
CNN = Experiment("kmnist_t10k", "digits", "cnn")
MLP = Experiment("penguins", "penguins", "mlp")


def miscounted(verified: Any) -> Any:
    """Return a verdict as it is where two counts of a thousand are others, one of them beyond what floats can tell."""
    pairs = {"backprop": (2**53 + 1, 2**53), "forward pass": (7, 131)}
    differing = [
        {"cell": f"penguins/mlp/{method}", "reference": "references/other.json", "here": here, "there": there}
        for method, (here, there) in pairs.items()
    ]
    operations = {"compared": 1017, "identical": 1015, "differing": differing}
    operations |= {"verdict": "differs", "not_comparable": ["penguins/mlp/mine"]}
    return verified | {"verdict": "differs", "operations": operations}


def uncounted(verified: Any, cells: tuple[str, ...] = ("penguins/mlp/mine", "iris/mlp/mine")) -> Any:
    """Return a verdict as it is where no reference holds a count."""
    operations = {"verdict": "not comparable", "compared": 0, "identical": 0, "differing": []}
    return verified | {"operations": operations | {"not_comparable": [*cells]}}


def test_experiments_come_smallest_model_first_and_exact_gradients_before_others() -> None:
    assert [experiment.model for experiment in experiments(TABLES)] == ["logistic_regression", "mlp", "cnn"]
    assert methods(study_tables(records.run_records(methods=("z", "a", "m")))) == ["z", "a", "m"]


def test_a_stand_in_is_named_wherever_its_experiment_is() -> None:
    assert CNN.title == "cnn on digits (stand-in for kmnist_t10k)"
    assert CNN.title in asked(TABLES)


def test_what_was_asked_is_said_with_its_seeds_and_limits() -> None:
    assert question(TABLES) == "Does forward_gradient train as well as backprop?"
    text = asked(TABLES)
    assert "6 seeds (0 to 5)" in text
    assert "(0.5), or after 100,000 steps" in text


def test_the_overview_counts_runs_and_verdicts_over_all_experiments() -> None:
    said = " ".join(overview(TABLES))
    assert "backprop reached the target in 18 of 18 runs." in said
    assert "forward_gradient reached the target in 16 of 18 runs; 1 diverged." in said
    assert "final test loss worse in 2 and not resolved in 1" in said
    assert (
        "forward_gradient took 5.4× the steps to the target of backprop where every pair is complete, 2 of 3."
        in said
    )


def test_an_experiment_says_how_runs_ended_and_what_is_worse() -> None:
    said = experiment_findings(TABLES, MLP)
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
    said = " ".join(experiment_findings(TABLES, CNN))
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


@pytest.mark.parametrize(
    ("verified", "text"),
    [
        (
            records.verified(RUNS),
            "Reproduces the reference references/study.json: 36 of 36 runs identical. Counted operations: 18 of 18 "
            "identical.",
        ),
        (
            records.verified(RUNS, against=RUNS[2:]),
            "Reproduces the reference references/study.json: 30 of 30 runs identical; 6 more cannot be compared. "
            "Counted operations: 17 of 17 identical; 1 more cannot be compared.",
        ),
        (
            records.verified(records.nudged(RUNS, 1e-7), against=RUNS),
            "Agrees with the reference references/study.json within tolerance: 35 of 36 runs identical and 1 "
            "within tolerance. Counted operations: 18 of 18 identical.",
        ),
        (
            records.verified(records.nudged(RUNS, 1e-3, num_runs=2), against=RUNS),
            "Does not reproduce the reference references/study.json: 34 of 36 runs identical and 2 different. "
            "Counted operations: 18 of 18 identical.",
        ),
        (
            records.verified(RUNS[:2], against=RUNS[2:]),
            "Not verified: none of 6 runs can be compared with the reference references/study.json. Counted "
            "operations: 4 of 4 identical; 1 more cannot be compared.",
        ),
        (
            verification(RUNS, records.operations_record(RUNS)["cells"], {}),
            "Not verified: the config names no reference to compare with.",
        ),
        (
            miscounted(records.verified(RUNS)),
            "Does not reproduce the references references/study.json and references/other.json: 36 of 36 runs "
            "identical. Counted operations: 1,015 of 1,017 identical and 2 different; 1 more cannot be compared.",
        ),
        (
            miscounted(records.verified(RUNS[:2], against=RUNS[2:])),
            "Does not reproduce the reference references/other.json: none of 6 runs can be compared. Counted "
            "operations: 1,015 of 1,017 identical and 2 different; 1 more cannot be compared.",
        ),
        (
            uncounted(records.verified(RUNS)),
            "Reproduces the reference references/study.json: 36 of 36 runs identical. Counted operations: none of 2 "
            "can be compared.",
        ),
        (
            uncounted(records.verified(RUNS), cells=()),
            "Reproduces the reference references/study.json: 36 of 36 runs identical.",
        ),
    ],
)
def test_the_verdict_is_said_with_its_counts(verified: Any, text: str) -> None:
    assert verdict_text(verified) == text
    assert verdict_lines(verified)[0] == text


def test_the_verdicts_lines_name_what_differs_and_what_cannot_be_compared() -> None:
    _, why, first, *rest = verdict_lines(records.verified(records.nudged(RUNS, 1e-3), against=RUNS))
    assert why.startswith("  Made with its reference's software and arithmetic: ")
    assert first.startswith(
        "  penguins/logistic_regression/backprop seed 0: differs; curves part at step 10;"
    )
    assert "train_loss 0.79510045 instead of 0.794306144 at step 10 (allowed: 2.1e-06 off)" in first
    assert rest == []
    _, missing, not_counted = verdict_lines(records.verified(RUNS, against=RUNS[2:]))
    assert missing == (
        "  penguins/logistic_regression/backprop: not comparable: references/study.json does not hold it"
    )
    assert not_counted == (
        "  counted operations that no reference holds: penguins/logistic_regression/backprop"
    )


def test_the_verdicts_lines_give_every_count_that_differs_to_the_last_digit() -> None:
    _, why, *lines = verdict_lines(miscounted(records.verified(RUNS)))
    assert why.startswith("  Made with its reference's software and arithmetic: ")
    assert lines == [
        "  penguins/mlp/backprop: 9,007,199,254,740,993 operations a step, 9,007,199,254,740,992 in "
        "references/other.json",
        "  penguins/mlp/forward pass: 7 operations a step, 131 in references/other.json",
        "  counted operations that no reference holds: penguins/mlp/mine",
    ]
    assert len(verdict_lines(verification(RUNS, records.operations_record(RUNS)["cells"], {}))) == 1


def test_a_run_that_parts_where_the_reference_keeps_nothing_is_told_by_its_step() -> None:
    run = {"verdict": "within tolerance", "parts_at_step": 30, "quantities": []}
    assert difference_text(run) == "within tolerance; curves part at step 30."


def test_learning_rates_are_given_with_where_they_come_from() -> None:
    note = rates_note(MLP.rows(TABLES["cells"]), MLP.rows(TABLES["rates"]))
    assert note.startswith("Learning rates: 0.1 for backprop and 0.01 for forward_gradient.")
    assert "did not tune" in note

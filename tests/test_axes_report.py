"""Four axes tell different stories, and failures are counted: sentences, profiles and tables of known content."""

from __future__ import annotations

import copy
import re
from functools import cache
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
import records

from fgbench.axes import AXES, known_axes
from fgbench.axes_findings import axes_overview, axes_sentences, pooled_sentences, tail_sentences
from fgbench.axes_report import Pooled, Spent, pooled, spent
from fgbench.cost_findings import measured_methods
from fgbench.cost_report import cost_section
from fgbench.findings import MOST_TOLD, Experiment, grouped_findings, methods, overview
from fgbench.svg import method_styles
from fgbench.tables import study_tables

MLP = Experiment("penguins", "penguins", "mlp")
CNN = Experiment("kmnist_t10k", "digits", "cnn")
MANY = ("backprop", *"abcdefgh")


def tables_of(
    methods: tuple[str, ...] = records.METHODS,
    *,
    times: dict[str, float] | None = None,
    operations: dict[str, int] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return a study's tables; `times` are true seconds of a step, `operations` those of a step on every model."""
    runs = records.run_records(methods=methods)
    counted = records.operations_record(runs)
    for cell in counted["cells"]:
        cell["operations"] = (operations or {}).get(cell["method"], cell["operations"])
    return study_tables(
        runs, operations=counted, cost=records.cost_record(runs, rounds=8, noise=0.001, times=times)
    )


@cache
def of_two() -> dict[str, pd.DataFrame]:
    return tables_of()


@cache
def of_many() -> dict[str, pd.DataFrame]:
    """All of equally many operations a step but for one of very few, which takes the most steps."""
    return tables_of(MANY, operations=dict.fromkeys(MANY, 3_000 * 131) | {"h": 131})


def spent_in(tables: dict[str, pd.DataFrame], experiment: Experiment) -> Spent:
    found = spent(tables, experiment, "e", method_styles(methods(tables)))
    assert found is not None
    return found


def pooled_of(tables: dict[str, pd.DataFrame]) -> Pooled:
    found = pooled(tables, method_styles(methods(tables)))
    assert found is not None
    return found


def test_a_methods_multiples_stand_together_where_they_are_the_same() -> None:
    said = axes_sentences(of_two(), MLP)
    # one pass a step each, as many operations, twice the time
    assert re.fullmatch(
        r"To the target forward_gradient takes 5\.4× \[4\.0, 8\.8\] the steps, passes and operations, "
        r"11× \[8, 1\d\] the seconds of backprop\.",
        said[0],
    )
    assert said[1] == "Against backprop, forward_gradient is worse along all four axes."
    assert said[2] == "The medians come in the same order along all four axes: backprop, forward_gradient."


def test_axes_that_disagree_are_told_with_their_verdicts_and_their_orders() -> None:
    # a hundredth of the operations, a twentieth of the time
    tables = tables_of(times={"forward_gradient": 0.05e-3}, operations={"forward_gradient": 3_930})
    said = axes_sentences(tables, MLP)
    assert said[1] == (
        "The axes disagree: against backprop, forward_gradient is worse by steps and passes and better by operations "
        "and seconds."
    )
    assert said[2] == (
        "The axes order the medians differently: by steps and passes backprop, forward_gradient; by operations and "
        "seconds forward_gradient, backprop."
    )


def test_the_overview_says_in_how_many_experiments_the_axes_disagree() -> None:
    assert axes_overview(of_two()) == [
        "Steps, passes, operations and seconds give the same verdicts and the same order of methods in all 3 "
        "experiments; how far apart the methods are hangs on what is counted."
    ]
    (said,) = axes_overview(of_many())
    assert said.startswith(
        "Steps, passes, operations and seconds tell different stories in 3 of 3 experiments (logi"
    )
    runs = records.run_records()
    assert axes_overview(study_tables(runs)) == axes_overview(study_tables([])) == []
    (said,) = axes_overview(study_tables(runs[:4], operations=records.operations_record(runs[:4])))
    assert said.startswith(
        "Steps, passes and operations give the same verdicts and the same order of methods in the "
    )


def test_where_pairs_are_missing_nothing_is_claimed_and_medians_are_still_ordered() -> None:
    said = axes_sentences(of_two(), CNN)
    assert said == ["The medians come in the same order along all four axes: backprop, forward_gradient."]
    runs = copy.deepcopy(records.run_records())
    for record in runs:
        if (record["model"], record["method"]) == ("mlp", "forward_gradient"):
            record["runs"] = [records.missed(run) for run in record["runs"]]
    assert axes_sentences(study_tables(runs), MLP) == []


def test_axes_that_nobody_counted_or_timed_are_not_known() -> None:
    bare = study_tables(records.run_records())
    assert [axis.name for axis in known_axes(bare["summary"])] == ["step"]
    assert (
        axes_sentences(bare, MLP)[0]
        == "To the target forward_gradient takes 5.4× [4.0, 8.8] the steps of backprop."
    )
    assert len(spent_in(bare, MLP).profile.svgs) == 1
    runs = records.run_records()
    counted = study_tables(runs, operations=records.operations_record(runs))
    assert "worse along all three axes that are known" in axes_sentences(counted, MLP)[1]


def test_of_many_methods_it_is_said_how_many_pairs_change_places_and_which_moves_most() -> None:
    said = axes_sentences(of_many(), MLP)
    assert said[0] == (
        "The axes disagree: against backprop, h is worse by steps, passes and seconds and better by operations."
    )
    assert said[1] == "Against backprop, the other 7 methods are worse along all four axes."
    # h goes from the last place to the first, past the other eight
    assert said[2].startswith(
        "The axes order the medians differently: 8 of 36 pairs of methods change places; h moves"
    )
    assert re.search(r"place 9 by steps, passes and seconds and place 1 by operations\.", said[2])


def test_every_axis_has_a_profile_and_the_medians_stand_in_a_table() -> None:
    found = spent_in(of_two(), MLP)
    assert len(found.profile.svgs) == len(AXES)
    for svg, axis in zip(found.profile.svgs, AXES, strict=True):
        ET.fromstring(svg)
        assert axis.label in svg
    baseline, forward = found.table.rows
    assert baseline[:4] == ["backprop", "6/6", "45", "baseline"]
    assert forward[:4] == ["forward_gradient", "6/6", "225", "5.4× [4.0, 8.8]"]
    assert forward[6:] == [f"{225 * 3 * 131_000 / 1e6:.1f} million", "5.4× [4.0, 8.8]", "450 ms", forward[-1]]
    assert all(len(row) == len(found.table.columns) for row in found.table.rows)


def test_runs_that_never_arrive_are_counted_in_the_profile_and_never_dropped() -> None:
    found = spent_in(of_two(), CNN)
    assert (
        "6 of 6 with backprop, half of all within 45 steps; 4 of 6 with forward_gradient, half of all within 245"
        in found.profile.caption
    )
    table = found.profile.table
    assert table is not None
    steps = next(row for row in table.rows if row[:2] == ["forward_gradient", "steps"])
    # 220, 230, 240, 250 and two that never do: a quarter of six is reached by the second, the median lies between two
    assert steps[2:] == ["230", "245", "not reached", "not reached"]
    assert found.table.rows[1][1:4] == ["4/6", "245", "–"]


def test_heavy_tails_are_told_with_the_interquartile_mean_of_all_runs() -> None:
    assert tail_sentences(of_two(), MLP) == []
    (said,) = tail_sentences(of_two(), CNN)
    assert said.startswith(
        "The runs of forward_gradient are heavy-tailed (1 of 6 runs diverged): the interquartile"
    )
    assert ", ∞]; the mean of the others is 0.75" in said
    row = spent_in(of_two(), CNN).final.rows[1]
    assert (row[0], row[1], row[-1]) == ("forward_gradient", "1", "yes")
    assert "∞]" in row[3]
    runs = copy.deepcopy(records.run_records())
    far = next(record for record in runs if (record["model"], record["method"]) == ("mlp", "backprop"))
    far["runs"][0]["curve"]["test_loss"][-1] = 9.0
    (said,) = tail_sentences(study_tables(runs), MLP)
    assert "backprop are heavy-tailed (one or more lie far out)" in said


def test_a_study_whose_every_run_diverged_is_told_without_a_number_that_is_none() -> None:
    runs = copy.deepcopy(records.run_records())
    for record in runs:
        record["runs"] = [records.diverged(run) for run in record["runs"]]
    tables = study_tables(runs, operations=records.operations_record(runs))
    found = spent_in(tables, MLP)
    assert found.sentences == []
    assert len(found.tails) == 2
    assert pooled(tables, method_styles(records.METHODS)) is None
    shown = str((found.table, found.final, found.tails, found.profile.caption, found.profile.table))
    assert "nan" not in shown
    assert found.table.rows[0][:3] == ["backprop", "0/6", "not reached"]


def test_all_experiments_together_are_multiples_of_the_baseline() -> None:
    said = pooled_sentences(of_two())
    assert re.fullmatch(
        r"forward_gradient takes 5\.2× \[4\.\d+, .*\] the steps, passes and operations, 10× \[.*\] the seconds of "
        r"backprop to the target: interquartile means over all 18 runs of 3 experiments, 16 of which reached it, by "
        r"the median of backprop in the same experiment\.",
        said[0],
    )
    found = pooled_of(of_two())
    assert len(found.profile.svgs) == 4
    assert [row[:3] for row in found.table.rows] == [
        ["backprop", "3", "18/18"],
        ["forward_gradient", "3", "16/18"],
    ]
    assert found.table.rows[0][3].startswith("1.0")


def test_one_experiment_alone_is_not_pooled() -> None:
    runs = [record for record in records.run_records() if record["model"] == "mlp"]
    assert pooled(study_tables(runs), method_styles(records.METHODS)) is None


@pytest.mark.parametrize("names", [("backprop",), ("a", "b"), MANY])
def test_any_number_of_methods_is_told(names: tuple[str, ...]) -> None:
    tables = of_many() if names == MANY else tables_of(names)
    found = spent_in(tables, MLP)
    assert [row[0] for row in found.table.rows] == [row[0] for row in found.final.rows] == methods(tables)
    together = pooled_of(tables)
    assert [row[0] for row in together.table.rows] == methods(tables)
    assert len(together.sentences) == (len(names) - 1 if len(names) <= MOST_TOLD + 1 else 0)


def test_a_step_that_was_never_counted_has_no_number_of_operations() -> None:
    runs = records.run_records()
    counted = records.operations_record(runs)
    for cell in counted["cells"]:
        if cell["method"] == "forward_gradient":
            cell |= {"operations": None, "passes": None}
    tables = study_tables(runs, operations=counted)
    shown = cost_section(tables, method_styles(measured_methods(tables))).experiments[1].table
    row = next(row for row in shown.rows if row[0] == "forward_gradient")
    assert row[-4:] == ["–", "–", "–", "6/6"]
    assert spent_in(tables, MLP).table.rows[1][4:] == ["–", "–", "–", "–"]


def test_a_method_without_a_single_run_is_left_out() -> None:
    runs = records.run_records()
    for record in runs:
        if record["method"] == "forward_gradient" and record["model"] == "mlp":
            record |= {"runs": [], "skipped": "it does not apply"}
    tables = study_tables(runs, operations=records.operations_record(runs))
    assert [row[0] for row in spent_in(tables, MLP).table.rows] == ["backprop"]
    assert set(tables["pooled"]["experiments"][tables["pooled"]["method"] == "forward_gradient"]) == {2}
    assert not (tables["comparisons"]["model"] == "mlp").any()


def test_of_many_methods_those_that_ended_alike_are_told_together() -> None:
    said = grouped_findings(of_many(), CNN)
    assert (
        said[0]
        == "The target was reached in 4 of 6 runs (1 diverged) with h; 6 of 6 runs with the other 8 methods."
    )
    assert "Final test loss against backprop: not resolved with h; worse with the other 7 methods." in said
    assert "Time to the target against backprop: not resolved with h; worse with the other 7 methods." in said
    everywhere = overview(of_many())
    assert "16 of 18 runs (1 diverged) with h" in everywhere[0]
    assert (
        "Final test accuracy against backprop: worse in 2 and not resolved in 1 with h; worse in 3 with the other 7 "
        "methods." in everywhere
    )

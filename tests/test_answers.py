"""The first screen: sentences as strong as the comparison beneath them, and a chart with every run of every seed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
import records
from records import Record

from fgbench.answers import Answer, answer, sentence
from fgbench.findings import MOST_TOLD, experiments, methods
from fgbench.svg import method_styles
from fgbench.tables import study_tables
from fgbench.wording import ratio_text

RUNS = records.run_records()[:4]
"""One experiment's, two methods at six seeds: backprop takes 20, 30, … 70 steps, the other 180 more at each."""

Tables = dict[str, pd.DataFrame]
HOSTILE = "<script>alert('$x$')</script>" + "long" * 50
KANA = "お" * 80
HALF = r"0\.50+× \[0\.50+, 0\.50+\]"


def told(runs: list[Record]) -> list[str]:
    """Return what is said of each experiment of runs whose steps were not timed."""
    tables = study_tables(runs)
    return [sentence(tables, one) for one in experiments(tables)]


def timed(runs: list[Record], **cost: Any) -> Tables:
    """Return the tables of runs, and of what their steps cost."""
    cost_record = records.cost_record(runs, rounds=3, **cost)
    return study_tables(runs, operations=records.operations_record(runs), cost=cost_record)


def changed(
    change: Callable[[Record], Record], *, method: str, seeds: tuple[int, ...] = tuple(range(6))
) -> list[Record]:
    """Return the runs, those of a method at these seeds changed."""
    runs = copy.deepcopy(RUNS)
    for record in runs:
        if record["method"] == method:
            record["runs"] = [change(run) if run["seed"] in seeds else run for run in record["runs"]]
    return runs


def taking(factor: float) -> Callable[[Record], Record]:
    """Return what makes a run reach the target after as many times the steps that backprop takes at its seed."""

    def change(run: Record) -> Record:
        steps = round(factor * (20 + records.RECORD_EVERY * run["seed"]))
        step = [
            round(place * steps / (len(run["curve"]["step"]) - 1))
            for place in range(len(run["curve"]["step"]))
        ]
        return run | {"steps": steps, "steps_to_target": steps, "curve": run["curve"] | {"step": step}}

    return change


def begun_below(run: Record) -> Record:
    """Return a run that was below the target before its first step."""
    curve = {name: values[:1] for name, values in run["curve"].items()}
    return run | {"steps": 0, "steps_to_target": 0, "curve": curve}


def answered(tables: Tables) -> Answer:
    used = [records.metadata()[name] for name in dict.fromkeys(tables["cells"]["dataset"])]
    sizes = {one["used"]: {"num_train": 40, "num_test": 10} for one in used}
    return answer(tables, method_styles(methods(tables)), used, sizes)


def groups(svg: str, method: str) -> list[ET.Element]:
    """Return what a chart draws for a method."""
    return [one for one in ET.fromstring(svg).iter() if one.get("data-method") == method]


def marks(svg: str, method: str) -> dict[str, list[tuple[float, float]]]:
    """Return where a chart draws a method's points (round), arrows (three corners) and ratio (four): by shape."""
    shapes = {one.get("id"): one.get("d", "") for one in ET.fromstring(svg).iter() if one.get("id")}
    found: dict[str, list[tuple[float, float]]] = {"point": [], "arrow": [], "ratio": []}
    for group in groups(svg, method):
        for use in group.iter():
            if use.tag.endswith("use"):
                path = shapes[use.get("href", "")[1:]]
                shape = "point" if "C" in path else {2: "arrow", 3: "ratio"}[path.count("L")]
                found[shape].append((float(use.get("x", "")), float(use.get("y", ""))))
    return found


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(svg).iter() if one.tag.endswith("text")]


def test_a_resolved_price_is_told_with_its_interval_and_its_verdict() -> None:
    (said,) = told(RUNS)
    assert said.startswith(
        "forward_gradient takes 5.4× [4.0, 8.8] the steps of backprop to the same training loss: more steps; "
    )
    assert said.endswith("its test accuracy is lower by 0.050 [0.050, 0.050].")


def test_a_method_that_needs_half_the_steps_at_every_seed_is_told_by_steps() -> None:
    (said,) = told(changed(taking(0.5), method="forward_gradient"))
    assert re.search(rf"takes {HALF} the steps of backprop to the same training loss: fewer steps;", said)


def test_a_price_whose_interval_holds_one_is_not_resolved() -> None:
    runs = changed(taking(1.2), method="forward_gradient", seeds=(0, 1, 2))
    for record in runs:
        if record["method"] == "forward_gradient":
            record["runs"] = [taking(0.8)(run) if run["seed"] > 2 else run for run in record["runs"]]
    (said,) = told(runs)
    assert re.search(r"takes 0\.98× \[0\.\d+, 1\.\d+\] the steps of backprop .*: not resolved;", said)


def test_with_times_the_verdict_is_that_of_the_time() -> None:
    runs = changed(taking(0.5), method="forward_gradient")  # half the steps, each of twice the time and more
    tables = timed(runs, times={"backprop": 1e-3, "forward_gradient": 8e-3})
    (experiment,) = experiments(tables)
    said = sentence(tables, experiment)
    assert re.search(rf"takes {HALF} the steps and 4\.\d+× \[.*?\] the time of backprop", said)
    assert "to the same training loss: slower;" in said


@pytest.mark.parametrize("change", [records.missed, records.diverged, begun_below])
@pytest.mark.parametrize("method", ["backprop", "forward_gradient"])
def test_where_a_pair_is_missing_no_ratio_is_claimed(change: Callable[[Record], Record], method: str) -> None:
    (said,) = told(changed(change, method=method, seeds=(0, 3)))
    how = ", from above it," if change is begun_below else ""
    mine, others = (4, 6) if method == "forward_gradient" else (6, 4)
    later = 6 if (method == "forward_gradient") != (change is begun_below) else 4
    assert said.startswith(
        f"forward_gradient reached the target{how} at {mine} of 6 seeds, backprop at {others}, and was the later of "
        f"the two at {later} (a miss counts as later): how many times longer it takes is not claimed; "
    )
    assert "×" not in said


def test_where_every_run_diverged_nothing_is_claimed_of_accuracy_either() -> None:
    (said,) = told(changed(records.diverged, method="forward_gradient"))
    assert (
        "forward_gradient reached the target at 0 of 6 seeds, backprop at 6, and was the later of the two at 6"
        in said
    )
    assert said.endswith("; no pair of test accuracies can be compared.")


def test_a_single_seed_resolves_nothing() -> None:
    first, *_ = told(records.run_records(num_seeds=1))
    assert first == (
        "forward_gradient takes 10.0× the steps of backprop to the same training loss: not resolved; "
        "a difference in test accuracy is not resolved (−0.0500)."
    )


def test_many_methods_are_told_together_by_their_verdicts() -> None:
    names = ("backprop", *(f"m{place}" for place in range(MOST_TOLD + 1)))
    few = told(records.run_records(methods=names[:-1])[: 2 * len(names) - 2])
    many = told(records.run_records(methods=names)[: 2 * len(names)])
    assert few[0].count("takes") == MOST_TOLD
    assert many == [
        f"Steps to the target against backprop: worse with all {MOST_TOLD + 1} methods. "
        f"Final test accuracy against backprop: worse with all {MOST_TOLD + 1} methods."
    ]


def test_without_a_baseline_it_is_told_how_the_runs_ended() -> None:
    alone = [record for record in RUNS if record["method"] != "backprop"]
    assert told(alone) == [
        "forward_gradient reached the target in 6 of 6 runs, after a median of 225 steps. Nothing is compared."
    ]
    found = answered(study_tables(alone))
    assert "ratio" not in found.caption
    assert marks(found.panels[0].svg, "forward_gradient")["ratio"] == []


def test_runs_that_never_arrive_have_no_median_to_tell() -> None:
    alone = [one for one in changed(records.missed, method="backprop") if one["method"] == "backprop"]
    assert told(alone) == ["backprop reached the target in 0 of 6 runs. Nothing is compared."]


def test_with_times_seconds_are_drawn_and_the_machine_is_named() -> None:
    found = answered(timed(RUNS))
    assert found.title == "Seconds to the target, seed by seed"
    assert "A processor, 1 thread" in found.caption
    assert "seconds to the target" in texts(found.panels[0].svg)
    assert {one.table for one in found.sources} == {"runs", "comparisons"}
    assert found.sources[1].where == {"metric": "time_to_target_s"}


@pytest.mark.parametrize(
    "tables",
    [study_tables(RUNS), timed(RUNS, without=("forward_gradient",))],
    ids=["none timed", "one not timed"],
)
def test_where_a_method_was_not_timed_steps_are_drawn_for_all(tables: Tables) -> None:
    found = answered(tables)
    assert found.title == "Steps to the target, seed by seed"
    assert "processor" not in found.caption
    svg = found.panels[0].svg
    assert "steps to the target" in texts(svg)
    assert all(len(marks(svg, method)["point"]) == 6 for method in records.METHODS)
    assert found.sources[1].where == {"metric": "steps_to_target"}


def test_the_data_really_used_is_named_and_a_stand_in_as_such() -> None:
    tables = study_tables(records.run_records(num_seeds=1))
    assert answered(tables).data == (
        "Data: digits (50 of 60 samples a run, 10 of them to test on, a stand-in for kmnist_t10k) and penguins (50 of "
        "60 samples a run, 10 of them to test on)."
    )
    assert [one.title for one in answered(tables).panels][-1] == "cnn on digits (stand-in for kmnist_t10k)"


def test_every_run_of_every_seed_is_a_point_and_a_miss_an_arrow() -> None:
    runs = changed(records.missed, method="forward_gradient", seeds=(1,))
    for record in runs:
        record["runs"] = [
            records.diverged(run) if (record["method"], run["seed"]) == ("forward_gradient", 4) else run
            for run in record["runs"]
        ]
    found = answered(study_tables(runs))
    svg = found.panels[0].svg
    drawn = {method: marks(svg, method) for method in records.METHODS}
    assert {method: (len(one["point"]), len(one["arrow"])) for method, one in drawn.items()} == {
        "backprop": (6, 0),
        "forward_gradient": (4, 2),
    }
    assert "an arrow is a run that missed the target" in found.caption
    rightmost = max(x for x, _ in drawn["forward_gradient"]["point"])
    assert all(x > rightmost for x, _ in drawn["forward_gradient"]["arrow"])
    assert "forward_gradient: 2/6 missed" in texts(svg)
    assert "not claimed" in texts(svg)


def test_a_line_joins_the_runs_of_each_seed_and_leaves_with_either_method() -> None:
    svg = answered(study_tables(RUNS)).panels[0].svg
    here, there = (sorted(marks(svg, method)["point"], key=lambda one: one[1]) for method in records.METHODS)
    joins = [
        [float(number) for number in re.findall(r"[\d.]+", one.get("d", ""))]
        for group in groups(svg, "backprop")
        if group.get("data-beside") == "forward_gradient"
        for one in group.iter()
        if "stroke-opacity: 0.28" in one.get("style", "")
    ]
    assert [(join[:2], join[2:]) for join in joins] == [
        ([*above], [*below]) for above, below in zip(here, there, strict=True)
    ]
    assert [x for x, _ in here] == sorted(x for x, _ in here)  # seed s takes 10 s steps more


def test_the_ratio_beside_the_runs_is_the_comparisons() -> None:
    for tables in (study_tables(RUNS), timed(RUNS)):
        found = answered(tables)
        rows = tables["comparisons"].set_index("metric")
        row = rows.loc[found.sources[1].where["metric"]]
        text = ratio_text(row["mean"], row["low"], row["high"])
        svg = found.panels[0].svg
        assert text in texts(svg)
        assert text in found.panels[0].sentence
        assert len(marks(svg, "forward_gradient")["ratio"]) == 1
        assert "× backprop" in texts(svg)


def test_a_run_that_began_below_the_target_is_a_point_at_the_left_end() -> None:
    found = answered(study_tables(changed(begun_below, method="backprop", seeds=(2,))))
    svg = found.panels[0].svg
    points = sorted(marks(svg, "backprop")["point"])
    assert len(points) == 6
    first, second, *_ = points
    assert first[0] < second[0]
    assert "a point at the left end is a run that began below it" in found.caption
    assert "began below" not in answered(study_tables(RUNS)).caption
    assert not re.search(r"\b(nan|inf)\b", svg)


def test_a_study_of_which_no_run_arrived_still_has_its_chart() -> None:
    runs = [record | {"runs": [records.missed(run) for run in record["runs"]]} for record in RUNS]
    svg = answered(timed(runs)).panels[0].svg
    assert {method: len(marks(svg, method)["arrow"]) for method in records.METHODS} == dict.fromkeys(
        records.METHODS, 6
    )
    assert not re.search(r"\b(nan|inf)\b", svg)


def test_the_text_alternative_of_a_chart_is_the_answer() -> None:
    (panel,) = answered(study_tables(RUNS)).panels
    title, description, *_ = ET.fromstring(panel.svg)
    assert title.text == f"Steps to the target, {panel.title}"
    assert description.text == panel.sentence


def test_hostile_and_very_long_names_are_text_and_stay_within_the_chart() -> None:
    names = ("backprop", HOSTILE, KANA, 'a"b\\c')
    tables = study_tables(records.run_records(methods=names, num_seeds=2))
    for panel in answered(tables).panels:
        svg = panel.svg
        assert "<script" not in svg
        assert all(len(groups(svg, name)) > 2 for name in names)
        assert HOSTILE in panel.sentence
        width = float((ET.fromstring(svg).get("viewBox") or "").split()[2])
        for one in ET.fromstring(svg).iter():
            if one.tag.endswith("text") and "text-anchor: start" in one.get("style", ""):
                reach = sum(9.5 if letter > "\u3000" else 5.3 for letter in one.text or "")
                assert float(one.get("x", "")) + reach < 0.7 * width, (
                    one.text
                )  # where the ratios' texts begin


def test_the_same_tables_make_the_same_answer_whatever_their_order() -> None:
    assert answered(study_tables(RUNS)) == answered(study_tables(RUNS[::-1]))

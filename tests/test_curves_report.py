"""Learning curves: a view for each axis that is known, single seeds on demand, and captions made from the numbers."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
import records

from fgbench.curves_report import METRICS, Curves, View, learning_curves
from fgbench.figures import MOST_BANDS
from fgbench.findings import experiments, methods
from fgbench.page import Contents, _templates
from fgbench.pieces import Source
from fgbench.svg import method_styles
from fgbench.tables import study_tables

RUNS = records.run_records()[:4]
"""One experiment's: two methods at six seeds."""


def curves_of(runs: list[records.Record], **measured: Any) -> Curves:
    """Return the curves of the first experiment of these runs."""
    tables = study_tables(runs, **measured)
    experiment = experiments(tables)[0]
    own = {name: experiment.rows(table) if "dataset" in table else table for name, table in tables.items()}
    return learning_curves(own, experiment, "e0", method_styles(methods(tables)))


def seeds_lines(svg: str) -> list[ET.Element]:
    """Return the groups that the page shows on demand."""
    return [one for one in ET.fromstring(svg).iter() if "seeds" in one.get("class", "").split()]


def view_of(curves: Curves, name: str) -> View:
    return next(view for view in curves.views if view.axis.name == name)


@pytest.fixture(scope="module")
def timed() -> Curves:
    """The curves of runs whose steps were counted and timed."""
    return curves_of(
        RUNS, operations=records.operations_record(RUNS), cost=records.cost_record(RUNS, rounds=3)
    )


@pytest.fixture(scope="module")
def bare() -> Curves:
    """The curves of runs whose steps were neither counted nor timed."""
    return curves_of(RUNS)


def test_there_is_a_view_for_every_axis_steps_first_and_a_panel_for_every_metric(timed: Curves) -> None:
    assert [view.axis.name for view in timed.views] == ["step", "passes", "operations", "time_s"]
    assert all(len(view.svgs) == len(METRICS) for view in timed.views)
    assert timed.title == "Learning curves, logistic_regression on penguins"


def test_what_was_not_counted_or_timed_is_no_view(bare: Curves) -> None:
    assert [view.axis.name for view in bare.views] == ["step"]
    counted = curves_of(RUNS, operations=records.operations_record(RUNS))
    assert [view.axis.name for view in counted.views] == ["step", "passes", "operations"]


def test_the_charts_of_all_views_share_no_id(timed: Curves) -> None:
    ids = [one for view in timed.views for svg in view.svgs for one in re.findall(r'\sid="([^"]*)"', svg)]
    assert ids
    assert len(ids) == len(set(ids))


def test_every_methods_seeds_are_thin_lines_of_their_own_that_the_filter_knows(timed: Curves) -> None:
    for svg in (svg for view in timed.views for svg in view.svgs):
        lines = seeds_lines(svg)
        assert [one.get("data-method") for one in lines] == [*records.METHODS]
        for group in lines:
            paths = [path.get("d", "") for path in group.iter() if path.tag.endswith("path")]
            assert sum(path.count("M") for path in paths) == 6  # a stroke begins at each seed
            assert any("stroke-width: 0.7" in path.get("style", "") for path in group.iter())


def test_what_is_not_on_demand_is_the_methods_too(timed: Curves) -> None:
    svg = timed.views[0].svgs[0]
    for method in records.METHODS:
        drawn = [one for one in ET.fromstring(svg).iter() if one.get("data-method") == method]
        assert (
            len([one for one in drawn if "seeds" not in one.get("class", "")]) >= 3
        )  # band, median, ends of runs


def test_of_more_methods_than_bands_are_drawn_no_seeds_are_either() -> None:
    for number in (MOST_BANDS, MOST_BANDS + 1):
        names = ("backprop", *(f"m{place}" for place in range(number - 1)))
        found = curves_of(records.run_records(methods=names, num_seeds=2)[: 2 * number])
        assert found.is_banded == (number == MOST_BANDS)
        assert {len(seeds_lines(svg)) for svg in found.views[0].svgs} == {number * found.is_banded}
    assert "the table below tells where each median ends" in found.views[0].caption


def test_the_target_is_drawn_with_the_training_loss_alone(bare: Curves) -> None:
    assert [">target<" in svg for svg in bare.views[0].svgs] == [metric == "train_loss" for metric in METRICS]


def test_a_caption_says_where_medians_end_and_how_long_the_longest_run_was(bare: Curves) -> None:
    (view,) = bare.views
    # all runs end 0.01 below the target; the median of six test losses is the mean of the third's and the fourth's
    assert view.caption.startswith(
        "Against steps: medians end with backprop at training loss 0.490, test loss 0.615 and test accuracy 0.825 "
        "(longest run 70 steps); forward_gradient at training loss 0.490, test loss 0.740 and test accuracy 0.775 "
        "(longest run 250 steps)."
    )


def test_only_seconds_name_the_machine_and_each_other_axis_says_how_it_is_made(timed: Curves) -> None:
    captions = {view.axis.name: view.caption for view in timed.views}
    assert {name for name, text in captions.items() if "A processor" in text} == {"time_s"}
    assert "Operations are steps × those of a step's matrix products" in captions["operations"]
    # forward_gradient's 250 steps of 3 · 1,000 · 15 operations
    assert "(longest run 11.2 million operations)" in captions["operations"]


def test_the_text_alternative_says_what_the_panel_shows(timed: Curves) -> None:
    for view in timed.views:
        for name, svg in zip(METRICS.values(), view.svgs, strict=True):
            title, description, *_ = ET.fromstring(svg)
            assert title.text == f"{name} against {view.axis.title}, logistic_regression on penguins"
            assert (description.text or "").startswith(f"medians end with backprop at {name.lower()} ")


def test_the_table_tells_the_same_and_its_first_and_last_rows_are_the_runs_ends(bare: Curves) -> None:
    rows = [row for row in bare.table.rows if row[0] == "backprop"]
    assert [row[1] for row in rows] == ["0", "10", "20", "30", "40", "50", "60", "70"]
    assert rows[0][2] == "1.10 (1.10 to 1.10)"  # log 3
    assert rows[-1][2:] == ["0.490 (0.490 to 0.490)", "0.615 (0.590 to 0.640)", "0.825 (0.700 to 0.950)"]
    assert bare.sources == [
        Source("curves", {"dataset": "penguins", "data": "penguins", "model": "logistic_regression"})
    ]


def test_a_method_that_diverged_everywhere_reads_well() -> None:
    runs = [
        record | {"runs": [records.diverged(run) for run in record["runs"]]}
        if record["method"] == "forward_gradient"
        else record
        for record in RUNS
    ]
    (view,) = curves_of(runs).views
    assert "forward_gradient at training loss ∞, test loss ∞ and test accuracy 0.000" in view.caption
    assert not any(re.search(r"\b(nan|inf)\b", svg) for svg in view.svgs)


def test_all_views_stand_in_one_figure_the_first_one_chosen(timed: Curves) -> None:
    contents = Contents({"curves": pd.DataFrame({"step": [0]})})
    contents.section("s", "A section")
    source = '{% import "macros.html.j2" as show with context %}{{ show.curves(curves) }}'
    markup = _templates().from_string(source).render(contents=contents, curves=timed)
    assert markup.count("<figure") == 1
    assert [one.title for one in contents.sections[0].figures] == [timed.title]
    choices = re.findall(r'<input type="radio" name="e0-axis" value="(\w+)"( checked)?>', markup)
    assert choices == [("step", " checked"), ("passes", ""), ("operations", ""), ("time_s", "")]
    assert markup.count('<div class="view" data-axis=') == 4
    assert 'value="seeds"' in markup
    assert [*contents.datasets()] == ["curves"]

"""The report's section on tuning: true to its tables, readable for any names, and whole where methods failed."""

from __future__ import annotations

import io
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markupsafe import escape
from support import part_of_page
from test_report import Outline, text_of
from tuning_records import BEST, TRIALS, Record, tuning_record

from fgbench.svg import method_styles
from fgbench.tidy import parsed
from fgbench.tuning_findings import budget_sentences, flag_sentences, rate_text
from fgbench.tuning_report import TOGETHER, Tuning, tuning_section
from fgbench.tuning_tables import TUNING_COLUMNS, tuning_tables

ROOT = Path(__file__).parents[1]
HOSTILE = '<script>alert("1")</script>: a, b'
SMALL = tuning_record(model="logistic_regression", num_parameters=15, best=BEST | {"forward_gradient": 0.1})
MIDDLE = tuning_record()
LARGE = tuning_record(
    dataset="kmnist_t10k",
    data="digits",
    model="cnn",
    num_parameters=4330,
    best=BEST | {"forward_gradient": 1e-3},
)


def shown(*records: Record, methods: tuple[str, ...] = ("backprop", "forward_gradient")) -> Tuning:
    found = tuning_section(tuning_tables(records), method_styles(methods))
    assert found is not None
    return found


def markup(tuning: Tuning) -> str:
    """Return the section as the report's template makes it."""
    return part_of_page("tuning.html.j2", tuning=tuning)


def page(*records: Record, **options: Any) -> str:
    return markup(shown(*records, **options))


@pytest.fixture(scope="module")
def whole() -> str:
    return page(LARGE, MIDDLE, SMALL)


def test_without_tuning_there_is_no_section() -> None:
    assert tuning_section(tuning_tables([]), {}) is None


def test_what_every_method_was_given_is_said_and_counted() -> None:
    budget = budget_sentences(tuning_tables([SMALL, MIDDLE]))
    assert budget[0] == (
        "All methods of an experiment had the same number of trials, 21: 7 rates, 3.2 times apart, each at 3 seeds "
        "(100 to 102) and for 2,000 steps."
    )
    assert "Momentum and schedule were not tuned" in budget[1]
    assert len(budget) == 2


def test_budgets_that_are_not_equal_would_be_said() -> None:
    unequal = tuning_record()
    unequal["methods"]["backprop"]["trials"] += unequal["methods"]["backprop"]["trials"][:3]
    tables = tuning_tables([unequal])
    tables["trials"] = tables["trials"].drop_duplicates(["method", "learning_rate", "seed"])
    assert budget_sentences(tables)[0].startswith(
        "The methods of mlp on penguins did not have the same number of trials"
    )


def test_trials_shorter_than_runs_are_said() -> None:
    changed = tuning_record(settings={name: {"max_steps": 12_000} for name in BEST})
    assert budget_sentences(tuning_tables([changed, SMALL]))[2] == (
        "Trials of mlp on penguins are shorter than runs may be, 2,000 steps instead of up to 12,000; the schedule "
        "ends with the trial."
    )


def test_momentum_schedule_and_the_rest_stand_in_a_table_of_what_was_equal() -> None:
    rows = shown(LARGE, SMALL).equal.rows
    assert [row[0] for row in rows] == [
        "logistic_regression on penguins",
        "cnn on digits (stand-in for kmnist_t10k)",
    ]
    assert list(rows[0][1:]) == [
        "2",
        "7",
        "3",
        "21",
        "2,000",
        "5",
        "0",
        "50",
        "sgd, momentum=0",
        "cosine, final_fraction=0",
    ]


def test_a_chosen_rate_stands_with_its_prediction_its_ratios_and_its_trials() -> None:
    rows = {row[0]: list(row[1:]) for row in shown(MIDDLE).experiments[0].table.rows}
    assert rows["backprop"] == ["1", "1", "1", "1.0×", "1.0×", "1.0×", "0.110", "21", "14 %", "–"]
    assert rows["forward_gradient"] == [
        "0.032",
        "0.032",
        "0.032",
        "31×",
        "31×",
        "131×",
        "0.410",
        "21",
        "14 %",
        "–",
    ]


def test_the_rate_of_the_least_last_loss_stands_beside_that_of_the_least_score() -> None:
    record = tuning_record()
    for trial in record["methods"]["backprop"]["trials"]:
        if trial["rate"] == 10:
            trial["validation_loss"] = 1e-3
    found = shown(record)
    row = next(row for row in found.experiments[0].table.rows if row[0] == "backprop")
    assert list(row[1:4]) == ["1", "1", "10"]
    assert found.flags[-1] == (
        "Chosen by the least last validation loss instead, 1 of 2 rates would have been another: those stand beside "
        "them, by last loss."
    )


def test_a_rate_at_the_edge_is_flagged_in_a_sentence_and_in_its_row() -> None:
    record = tuning_record(centres={"forward_gradient": 1e-6}, extensions=2)
    found = shown(record)
    assert found.flags[:-1] == [
        "forward_gradient, mlp on penguins: the rate chosen, 0.0032, lies at the edge of its grid, also after "
        "2 extensions of all grids: a better one may lie beyond."
    ]
    rows = {row[0]: row[-1] for row in found.experiments[0].table.rows}
    assert rows == {
        "backprop": "–",
        "forward_gradient": "at the edge of its grid: a better rate may lie beyond",
    }


def test_rates_within_their_grids_are_said_to_be_with_how_many_grids_grew() -> None:
    assert flag_sentences(tuning_tables([SMALL, MIDDLE])) == ["No chosen rate lies at the edge of its grid."]
    grown = tuning_record(centres={"forward_gradient": 1e-3}, extensions=1)
    assert flag_sentences(tuning_tables([SMALL, grown])) == [
        "No chosen rate lies at the edge of its grid, after 1 experiment had all grids extended."
    ]


def test_methods_that_were_not_tuned_or_never_survived_are_said() -> None:
    record = tuning_record(
        best=BEST | {"wild": 0.1}, diverged=("wild",), skipped={"other": "needs hidden layers"}
    )
    found = shown(record, methods=("backprop", "forward_gradient", "wild", "other"))
    assert found.flags[-2] == "wild, mlp on penguins: diverged at every rate, so that it has none."
    rows = {row[0]: row for row in found.experiments[0].table.rows}
    assert rows["other"][-1] == "not tuned: needs hidden layers"
    assert rows["other"][1] == "–"
    assert rows["wild"][1] == "–"
    assert rows["wild"][-1] == "diverged at every rate"
    (chart,) = found.experiments[0].charts
    assert list(chart.legend) == ["backprop", "forward_gradient", "wild"]
    assert "wild diverges at every rate" in chart.caption
    assert "100 % of wild" in chart.caption


def test_an_experiment_has_both_losses_and_the_share_of_diverged_trials_against_the_rate(whole: str) -> None:
    titles = dict(re.findall(r"<title id=[^>]*>([^<]*)</title><desc id=[^>]*>([^<]*)</desc>", whole))
    for name in (
        "logistic_regression on penguins",
        "mlp on penguins",
        "cnn on digits (stand-in for kmnist_t10k)",
    ):
        assert f"Score against learning rate, {name}" in titles
        assert f"Last validation loss against learning rate, {name}" in titles
        assert "14 % of backprop" in titles[f"Share of diverged trials against learning rate, {name}"]
    said = titles["Score against learning rate, mlp on penguins"]
    assert "forward_gradient 0.410 at 0.032 (predicted: 0.032)" in said


def test_a_chart_has_its_trials_as_a_table() -> None:
    (chart,) = shown(MIDDLE).experiments[0].charts
    assert chart.table is not None
    rows = [list(row) for row in chart.table.rows]
    assert len(rows) == 14
    assert ["backprop", "1", "0.110 (0.100 to 0.120)", "0.0550 (0.0500 to 0.0600)", "0 %"] in rows
    assert ["backprop", "32", "diverged", "diverged", "100 %"] in rows


def marks(svg: str, series: int) -> tuple[int, int, int]:
    """Return how many faint dots, rings and crosses of a method's colour a chart draws."""
    uses = re.findall(rf"<use href=\"#([^\"]+)\"[^>]*style=\"([^\"]*var\(--series-{series},[^\"]*)\"", svg)
    dots = sum("fill-opacity: 0.45" in style for _, style in uses)
    rings = sum("fill-opacity: 0;" in style for _, style in uses)
    return dots, rings, len(uses) - dots - rings


def test_every_trial_is_drawn_the_chosen_rate_ringed_and_a_diverged_one_crossed() -> None:
    (chart,) = shown(MIDDLE).experiments[0].charts
    for svg in chart.svgs[:2]:
        assert marks(svg, 0) == marks(svg, 1) == (6 * 3, 1, 1)
    lost = shown(tuning_record(diverged=("forward_gradient",))).experiments[0].charts[0].svgs[0]
    assert marks(lost, 1) == (0, 0, 7)


def test_many_methods_share_charts_a_few_at_a_time_each_with_the_baseline() -> None:
    best = {"backprop": 1.0} | {f"forward_{place}": 0.1 for place in range(12)}
    charts = shown(tuning_record(best=best), methods=tuple(best)).experiments[0].charts
    legends = [list(chart.legend) for chart in charts]
    assert len(charts) == math.ceil(12 / TOGETHER)
    assert all(legend[0] == "backprop" and len(legend) <= TOGETHER + 1 for legend in legends)
    assert sorted(name for legend in legends for name in legend[1:]) == sorted(list(best)[1:])


def test_ratios_stand_against_the_law_and_beside_the_published_ones(whole: str) -> None:
    found = shown(LARGE, SMALL)
    assert found.ratios == [
        "logistic_regression on penguins, d = 15: the rate of backprop is 10× that of forward_gradient (by the grids' "
        "middles 10×, by the law 15×).",
        "cnn on digits (stand-in for kmnist_t10k), d = 4,330: the rate of backprop is 1,000× that of forward_gradient "
        "(by the grids' middles 1,000×, by the law 4,330×).",
    ]
    assert found.ratio_chart is not None
    assert found.ratio_chart.caption.startswith(
        "Backprop's rate as a multiple of each forward gradient's: 2 of 2 chosen ones lie below the law's"
    )
    assert "47, 212 and 548" in text_of(whole)
    assert "Helmholtz-AI-Energy/frog" in text_of(whole)


def test_a_shared_rate_that_reverses_the_order_is_said_to() -> None:
    """At 0.001 backprop scores 0.1 + 0.1 · 3² + 0.01 = 1.01, the forward gradient 0.41 at its best."""
    found = shown(LARGE)
    assert found.shared[0] == (
        "With the method's rate for both, the order of the two scores would have been another in 1 of 1 comparison. "
        "These are means over 3 seeds, not verdicts; 6 or more could resolve one."
    )
    assert found.shared[1] == (
        "cnn on digits (stand-in for kmnist_t10k): tuned apart, backprop scores 0.110 and forward_gradient 0.410; "
        "backprop is lower at 3 of 3 seeds. At 0.001, the rate of forward_gradient, backprop scores 1.01, lower at 0 "
        "of 3: the order would have been reversed. At 1, the rate of backprop, forward_gradient diverges at 3 of 3 "
        "seeds."
    )
    assert found.shared_table is not None
    assert list(found.shared_table.rows[0][1:]) == [
        "forward_gradient",
        "backprop",
        "0.001",
        "1",
        "0.410",
        "0.110",
        "1.01",
        "diverged",
        "reversed",
    ]


def test_a_shared_rate_that_keeps_the_order_is_said_to_with_both_gaps() -> None:
    (total, told) = shown(SMALL).shared
    assert "another in 0 of 1 comparison" in total
    assert "the order stays, with a gap of 0.200 instead of 0.300" in told
    assert "At 1, the rate of backprop, forward_gradient scores 0.510." in told


def test_with_enough_seeds_nothing_is_said_of_too_few() -> None:
    many = TRIALS | {"seeds": [*range(100, 106)]}
    assert "could resolve" not in shown(tuning_record(trials=many)).shared[0]


def test_one_sentence_an_experiment_tells_of_shared_rates_the_table_of_all() -> None:
    best = {"backprop": 1.0, "forward_gradient": 0.1, "forward_4": 0.3, "other": 0.5}
    settings = {"forward_4": {"num_tangents": 4}, "other": {"estimator": {"name": "local_guesses"}}}
    found = shown(tuning_record(best=best, settings=settings), methods=tuple(best))
    assert len(found.shared) == 2
    assert "the rate of forward_gradient," in found.shared[1]
    assert found.shared_table is not None
    assert [row[1] for row in found.shared_table.rows] == ["forward_4", "forward_gradient", "other"]
    (chart,) = found.shared_charts
    assert list(chart.legend) == ["backprop", "forward_gradient", "forward_4"]


def test_the_published_comparison_at_one_rate_is_quoted_with_its_source(whole: str) -> None:
    text = text_of(whole)
    assert "test accuracy 0.909 with forward gradients, 0.884 with backprop (orobix/fwdgrad, README)" in text


def test_the_reason_for_the_score_is_given_and_that_the_test_part_is_not_used(whole: str) -> None:
    text = text_of(whole)
    assert "The test part is never looked at." in text
    assert "as early stopping would have it: both how low a rate comes and how soon count" in text


STUDIES: dict[str, Record] = {
    "as usual": {},
    "no backprop": {"best": {"forward_gradient": 0.1}},
    "backprop alone": {"best": {"backprop": 1.0}},
    "backprop diverges": {"diverged": ("backprop",)},
    "all diverge": {"diverged": ("backprop", "forward_gradient")},
    "none applies": {"best": {}, "skipped": {"backprop": "too large", "forward_gradient": "too large"}},
    "one applies": {"best": {"backprop": 1.0}, "skipped": {"forward_gradient": "too large"}},
    "one seed": {"trials": TRIALS | {"seeds": [7]}},
    "far from predicted": {"centres": {"backprop": 1e-4}, "extensions": 2},
    "no law": {"settings": {"forward_gradient": {"estimator": {"name": "mine"}}}},
    "a hostile name": {"best": {"backprop": 1.0, HOSTILE: 0.1}},
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_lacks_something_makes_a_whole_section(name: str) -> None:
    text = page(tuning_record(**STUDIES[name]), methods=())
    outline = Outline(text)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(outline.headings))
    assert not re.search(r"\b(nan|none|inf)\b", text_of(text).lower().replace("so that it has none", ""))


def test_ids_are_unique_over_many_experiments(whole: str) -> None:
    ids = Outline(whole).ids
    assert len(ids) == len(set(ids))


def test_hostile_names_are_text() -> None:
    names = ("backprop", HOSTILE, "お" * 200, "$\\frac{a}{b}$ & 'quoted'")
    best = dict(zip(names, (1.0, 0.1, 0.1, 0.1), strict=True))
    text = page(tuning_record(best=best, skipped={f"{HOSTILE}2": HOSTILE}), methods=names)
    assert not any(tag == "script" for tag, _ in Outline(text).tags)
    assert all(str(escape(name)) in text for name in names)


def test_a_method_that_the_study_has_no_style_for_is_drawn_all_the_same() -> None:
    assert list(shown(MIDDLE, methods=()).experiments[0].charts[0].legend) == ["backprop", "forward_gradient"]


def test_the_same_tables_make_the_same_bytes_in_any_order_of_records(whole: str) -> None:
    assert page(SMALL, LARGE, MIDDLE) == whole


def test_a_large_study_stays_a_light_section() -> None:
    best = {"backprop": 1.0} | {f"forward_{place}": 0.1 / (place + 1) for place in range(12)}
    assert len(page(tuning_record(best=best, extensions=2), methods=tuple(best)).encode()) < 1_000_000


def test_small_and_large_rates_are_readable() -> None:
    texts = [rate_text(rate) for rate in (3.2, 12_000.0, 0.00032, 3.2e-5, 1e-6)]
    assert texts == ["3.2", "1.2 × 10⁴", "0.00032", "3.2 × 10⁻⁵", "1.0 × 10⁻⁶"]


def test_the_tables_survive_their_files() -> None:
    """The report is rendered from CSV files, where an infinite score and an empty text have to come back."""
    tables = tuning_tables([SMALL, tuning_record(diverged=("forward_gradient",), skipped={"other": "why"})])
    again = {
        name: parsed(
            pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype="str", keep_default_na=False),
            TUNING_COLUMNS[name],
        )
        for name, table in tables.items()
    }
    styles = method_styles(["backprop", "forward_gradient"])
    assert tuning_section(again, styles) == tuning_section(tables, styles)

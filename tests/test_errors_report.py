"""What methods get wrong on the test parts: who shares which error, by known answers, and how the page shows it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import records
from scipy import stats

from fgbench import findings
from fgbench.errors_figures import MARKS, scatter_chart, telling_features
from fgbench.errors_findings import (
    ClassName,
    Compared,
    agreement_sentence,
    basis_sentences,
    between_sentence,
    class_name,
    compared,
    confused_text,
    only_sentences,
)
from fgbench.errors_report import IMAGES_A_CLASS, ROWS_A_METHOD, Errors, errors_part
from fgbench.svg import PALETTE
from fgbench.tables import paired_methods, study_tables

NAMES = {"class_names": ["Adelie", "Chinstrap", "Gentoo"]}


def missed(*rows: tuple[str, int, int, int], **changes: Any) -> pd.DataFrame:
    """Return rows of `misclassified`: method, example, wrong and all of the runs compared."""
    table = pd.DataFrame(rows, columns=["method", "id", "paired_wrong", "paired"])
    return table.assign(label=0, predicted=1, wrong=table["paired_wrong"], tested=table["paired"], **changes)


def errors(run_records: list[records.Record], model: str = "cnn", **samples: Any) -> Errors:
    """Return the errors of one model's experiment."""
    tables = study_tables(run_records)
    experiment = next(one for one in findings.experiments(tables) if one.model == model)
    own = {name: experiment.rows(table) if "dataset" in table else table for name, table in tables.items()}
    return errors_part(
        own,
        experiment,
        findings.methods(tables),
        "e0",
        records.metadata()[experiment.dataset],
        records.samples()[experiment.dataset] | samples,
    )


def predicting(**wrong: dict[int, list[int]]) -> list[records.Record]:
    """Return records of two examples, 0 and 1, tested at each seed; `wrong` holds, by method and seed, those missed."""
    runs = records.run_records(methods=tuple(wrong), num_seeds=2)
    for record in runs:
        for run in record["runs"]:
            is_wrong = [example in wrong[record["method"]].get(run["seed"], []) for example in (0, 1)]
            run["predictions"] = {
                "id": [0, 1],
                "label": [0, 1],
                "predicted": [0 + is_wrong[0], 1 + is_wrong[1]],
            }
    return runs


def told(run_records: list[records.Record]) -> str:
    """Return what is said of the examples that one method alone gets wrong."""
    by_one = errors(run_records, "mlp").by_one
    assert by_one is not None
    return " ".join(by_one.sentences)


def test_kana_stands_apart_from_its_reading_and_other_names_as_they_are() -> None:
    names = {"class_names": ["お (o)", "つ (tsu)", "T-shirt (top)", "7"]}
    found = [class_name(names, label) for label in range(5)]
    assert found[:2] == [ClassName("お", "o"), ClassName("つ", "tsu")]
    assert found[2:] == [ClassName("T-shirt (top)"), ClassName("7"), ClassName("4")]
    assert [one.full for one in found[:3]] == names["class_names"][:3]


def test_only_one_method_is_wrong_where_half_its_runs_are_and_none_of_the_others() -> None:
    rows = missed(
        *[("a", example, 1, 1) for example in range(12)],
        *[("b", example, 1, 1) for example in range(20, 23)],
        *[(method, example, 2, 2) for method in "ab" for example in range(30, 50)],
        ("a", 60, 1, 2),  # half
        ("a", 61, 1, 3),  # fewer than half
        *[("a", 62, 2, 2), ("b", 62, 1, 3)],  # the other sometimes
    )
    found = compared(rows, ["a", "b"])
    assert (found.total, found.by_all) == (38, 20)
    assert [len(found.only[method]) for method in "ab"] == [13, 3]
    assert list(only_sentences(found)) == [
        "Of 38 examples that any run got wrong, 13 are misclassified by a only, 3 by b only and 20 by both; "
        "2 by some of the runs or methods.",
        "Of the 16 by one method only, 15 rest on one run a method: they were tested at a single seed.",
    ]


def test_of_three_methods_all_means_all_three() -> None:
    rows = missed(
        *[(method, 1, 2, 2) for method in "abc"], *[(method, 2, 2, 2) for method in "ab"], ("c", 3, 2, 2)
    )
    assert list(only_sentences(compared(rows, ["a", "b", "c"]))) == [
        "Of 3 examples that any run got wrong, 0 are misclassified by a only, 0 by b only, 1 by c only and 1 by all 3; "
        "1 by some of the runs or methods."
    ]


def test_of_many_methods_those_with_most_of_their_own_are_named() -> None:
    rows = missed(
        *[(method, 10 * place + one, 2, 2) for place, method in enumerate("abcdef") for one in range(place)]
    )
    found = compared(rows, list("abcdefgh"))
    assert list(only_sentences(found)) == [
        "Of 15 examples that any run got wrong, 5 are misclassified by f only, 4 by e only, 3 by d only, 2 by c only, "
        "1 by one of the other 4 methods only and 0 by all 8."
    ]
    nothing = Compared(list("abcdefgh"), 1, {method: [] for method in "abcdefgh"}, 1)
    assert "0 are misclassified by one of the 8 methods only and 1 by all 8." in next(only_sentences(nothing))


def test_an_error_outside_the_seeds_compared_does_not_count() -> None:
    assert compared(missed(("a", 1, 0, 0), ("b", 1, 1, 1)), ["a", "b"]).only["b"][0]["id"] == 1
    assert list(only_sentences(compared(missed(("a", 1, 0, 2)), ["a", "b"]))) == [
        "No run misclassified any of them."
    ]


def test_methods_are_paired_at_the_seeds_at_which_none_diverged() -> None:
    statuses = {"a": "rrrr", "b": "rrdr", "c": "dddr"}
    runs = pd.DataFrame(
        [
            {"method": method, "seed": seed, "status": "diverged" if one == "d" else "reached"}
            for method, of_method in statuses.items()
            for seed, one in enumerate(of_method)
        ]
    )
    assert paired_methods(runs) == (["a", "b"], [0, 1, 3])  # c diverged at most seeds, and is left out
    assert list(basis_sentences(runs, ["a", "b"], [0, 1, 3])) == [
        "Compared: both methods on the same test examples at 3 of 4 seeds, those at which none of them diverged.",
        "Left out, for most of the runs diverged: c.",
    ]
    assert paired_methods(runs[:0]) == ([], [])


def test_an_example_that_one_method_misses_only_where_the_other_diverged_is_not_its_own() -> None:
    runs = predicting(backprop={0: [0], 1: [1]}, forward_gradient={})
    assert "Of 2 examples that any run got wrong, 2 are misclassified by backprop only" in told(runs)
    for record in runs:
        if record["method"] == "forward_gradient":
            record["runs"] = [records.diverged(run) if run["seed"] == 0 else run for run in record["runs"]]
    assert "at 1 of 2 seeds" in told(runs)
    assert "Of 1 example that any run got wrong, 1 is misclassified by backprop only" in told(runs)


def test_runs_that_are_wrong_on_an_example_agree_or_differ() -> None:
    rows = [{"wrong": 1, "predicted_by": 1}, {"wrong": 3, "predicted_by": 3}, {"wrong": 2, "predicted_by": 1}]
    assert agreement_sentence(rows) == (
        "Of 2 examples that two or more runs get wrong, 1 is taken for one and the same class by all of these runs."
    )
    assert agreement_sentence(rows[:1]) == "No example is misclassified by more than one run."


def test_an_image_says_how_many_runs_were_wrong_and_whether_they_agree() -> None:
    runs = records.run_records(methods=("backprop",), num_seeds=4)
    taken = {0: [2, 2, 2, 2], 1: [2, 2, 3, 1], 2: [3, 4, 2, 2], 3: [4, 3, 3, 3]}
    for run in [run for record in runs for run in record["runs"]]:
        predicted = [votes[run["seed"]] for votes in taken.values()]
        run["predictions"] = {"id": [0, 1, 2, 3], "label": [0, 1, 2, 3], "predicted": predicted}
    thumbnails = [one for group in errors(runs).galleries[0].groups for one in group.thumbnails]
    assert [(one.votes, one.agreement) for one in thumbnails] == [
        ("4/4", "alike"),
        ("3/4", "2 alike"),
        ("2/4", "differ"),
        ("1/4", ""),
    ]
    assert thumbnails[1].alt == "Example 1, a き (ki), misclassified by 3 of 4 runs, as 2 by 2"
    assert thumbnails[1].true == ClassName("き", "ki")


def test_the_most_frequent_confusion_is_named() -> None:
    names = [ClassName("a"), ClassName("お", "o")]
    assert (
        confused_text(np.array([[5, 1], [3, 4]]), names)
        == " Most often confused: お (o) taken for a, 3 times."
    )
    assert confused_text(np.array([[5, 0], [0, 4]]), names) == ""


def test_errors_are_counted_between_two_classes_whichever_is_the_true_one() -> None:
    rows = missed(*[("a", example, 1, 1) for example in range(8)], ("b", 9, 1, 1))
    rows["label"] = [0, 0, 0, 1, 1, 1, 1, 2, 0]
    rows["predicted"] = [1, 1, 1, 0, 0, 0, 0, 0, 2]
    assert between_sentence(rows, ["a"], NAMES) == (
        "7 of 8 misclassified examples with a confuse Adelie and Chinstrap."
    )
    assert between_sentence(rows, ["a", "b"], NAMES) == (
        "7 of 8 misclassified examples with a and 0 of 1 misclassified example with b confuse Adelie and Chinstrap."
    )
    assert between_sentence(rows, list("abcde"), NAMES) == (
        "Of the 9 misclassified examples of 5 methods, each method's counted by itself, 7 confuse Adelie and "
        "Chinstrap."
    )
    assert between_sentence(rows, ["c"], NAMES) == "No example is misclassified."


def test_the_most_telling_features_are_those_of_greatest_f() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    noise = rng.normal(size=(60, 4))
    inputs = noise + labels[:, None] * np.array([0.0, 1.0, 5.0, 0.5])
    found = telling_features(inputs, labels)
    assert [one.place for one in found] == [2, 1]
    scipys = stats.f_oneway(*(inputs[labels == label][:, [2, 1]] for label in range(3))).statistic
    assert [one.f_statistic for one in found] == pytest.approx(scipys)
    in_other_units = telling_features(inputs * [1, 1000, 0.001, 1], labels)
    assert [one.f_statistic for one in in_other_units] == pytest.approx([one.f_statistic for one in found])


def test_features_without_spread_tell_nothing_or_all() -> None:
    labels = np.array([0, 0, 1, 1])
    constant = np.ones((4, 2))
    assert telling_features(constant, labels) == []
    assert telling_features(np.array([[0.0], [0.0], [1.0], [1.0]]), labels)[0].f_statistic == np.inf
    assert telling_features(np.eye(4), np.zeros(4)) == []
    assert telling_features(np.eye(4), np.arange(4)) == []


def scatter(rows: pd.DataFrame, method: str = "a") -> str:
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]])
    return scatter_chart(
        points,
        np.array([0, 1, 2]),
        rows,
        method=method,
        class_names=NAMES["class_names"],
        axis_titles=("x", "y"),
        key="k",
        title="t",
        description="d",
    )


def test_a_scatter_outlines_each_misclassified_example_in_the_colour_it_was_taken_for() -> None:
    rows = missed(("a", 0, 1, 1), ("a", 2, 1, 2), rate=1.0)
    assert re.findall(r"fill-opacity: 0; stroke: var\(--series-(\d)", scatter(rows)) == ["1", "1"]
    assert scatter(rows) == scatter(rows)
    assert "fill-opacity: 0" not in scatter(rows[:0])


def test_a_scatter_belongs_to_its_method_whatever_its_name() -> None:
    assert scatter(missed()[:0], 'a "<b>" & c').startswith("<svg data-method='a \"&lt;b&gt;\" &amp; c' ")


def test_penguins_have_a_scatter_of_every_method_and_images_have_none() -> None:
    runs = records.run_records()
    found = errors(runs, "mlp").scatter
    assert found is not None
    assert [re.search('data-method="([^"]*)"', svg)[1] for svg in found.svgs] == list(records.METHODS)  # type: ignore[index]
    assert found.sources[0].table == "misclassified"
    assert "culmen" in found.caption or "flipper" in found.caption or "body mass" in found.caption
    assert "confuse Adelie and" in found.caption
    assert errors(runs, "cnn").scatter is None


def test_no_scatter_is_drawn_of_one_feature_or_of_more_classes_than_marks() -> None:
    runs = records.run_records()
    one_feature = np.ones((records.NUM_SAMPLES, 4), dtype=np.float32)
    one_feature[:, 0] = np.arange(records.NUM_SAMPLES)
    assert errors(runs, "mlp", inputs=one_feature).scatter is None
    assert len(MARKS) == len(PALETTE)


def test_images_and_rows_beyond_the_cap_are_counted_not_shown() -> None:
    runs = records.run_records(methods=("backprop",))
    for record in runs:
        for run in record["runs"]:
            ids = list(range(records.NUM_SAMPLES))
            labels = [place % 2 for place in ids]
            classes = 10 if record["model"] == "cnn" else 3
            predicted = [(one + 1) % classes for one in labels]
            run["predictions"] = {"id": ids, "label": labels, "predicted": predicted}
    gallery = errors(runs).galleries[0]
    assert gallery.total == "60 examples misclassified by at least one of 6 runs"
    assert [(len(group.thumbnails), group.more) for group in gallery.groups] == 2 * [
        (IMAGES_A_CLASS, records.NUM_SAMPLES // 2 - IMAGES_A_CLASS)
    ]
    rows = errors(runs, "mlp").galleries[0].table
    assert rows is not None
    assert len(rows.rows) == ROWS_A_METHOD
    assert f"; {ROWS_A_METHOD} of them shown" in rows.caption


def test_one_method_alone_is_compared_with_none() -> None:
    assert errors(records.run_records(methods=("backprop",))).by_one is None


def test_diverged_runs_are_told_and_a_method_without_any_other_shows_no_errors() -> None:
    runs = records.run_records()
    assert "forward_gradient: 1 of 6 runs diverged, and are left out." in errors(runs).notes
    for record in runs:
        if record["method"] == "forward_gradient":
            record["runs"] = [records.diverged(run) for run in record["runs"]]
    found = errors(runs)
    assert "forward_gradient: all 6 runs diverged, there are no errors to show." in found.notes
    assert [one.method for one in (*found.matrices, *found.galleries)] == ["backprop", "backprop"]


def test_methods_that_no_seed_leaves_together_are_not_compared() -> None:
    runs = predicting(backprop={}, forward_gradient={})
    for record in runs:
        seed = 0 if record["method"] == "backprop" else 1
        record["runs"] = [records.diverged(run) if run["seed"] == seed else run for run in record["runs"]]
    assert told(runs).startswith("No two methods can be compared")


def test_errors_of_many_methods_are_folded_and_show_fewer_images() -> None:
    many = errors(records.run_records(methods=tuple("abcdefgh"), num_seeds=2))
    assert many.is_folded
    assert not errors(records.run_records(methods=tuple("abcd"), num_seeds=2)).is_folded
    assert max(len(group.thumbnails) for one in many.galleries for group in one.groups) <= IMAGES_A_CLASS // 2

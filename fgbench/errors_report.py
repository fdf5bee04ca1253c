"""What one experiment's methods get wrong on the test parts goes in; matrices, galleries and a scatter come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.errors_figures import MARKS, Feature, scatter_chart, telling_features
from fgbench.errors_findings import (
    ClassName,
    agreement_sentence,
    basis_sentences,
    between_sentence,
    class_name,
    compared,
    confused_text,
    diverged_sentences,
    only_sentences,
)
from fgbench.figures import image_uri
from fgbench.findings import MOST_TOLD, Experiment, Row, Tables, skipped_sentences
from fgbench.headings import HEADINGS
from fgbench.pieces import METHOD, Chart, Column, Source, Table, words
from fgbench.tables import paired_methods
from fgbench.types import Json
from fgbench.wording import counted, joined, number_text, percent_text

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

IMAGES_A_CLASS = 8
IMAGES_BY_ONE = 16
ROWS_A_METHOD = 20
"""Misclassified examples shown at most of a method; the total is said, and the table `misclassified` has them all."""

_BENEATH = "what it was mostly taken for, and how many of the runs that tested it were wrong"

OF_MANY = 2
"""By how many times fewer images are shown of each method where there are too many to tell each by itself."""


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row a true class, each cell its count and its rate of the row."""

    method: str
    title: str
    total: str
    caption: str
    class_names: Sequence[ClassName]
    rows: Sequence[tuple[ClassName, Sequence[tuple[int, float]]]]


@dataclass(frozen=True)
class Thumbnail:
    """A misclassified image: how many runs were wrong on it, and how many of these took it for the same class."""

    uri: str
    alt: str
    true: ClassName
    predicted: ClassName
    votes: str
    agreement: str


@dataclass(frozen=True)
class Group:
    """Images under one heading, and how many more there are."""

    thumbnails: Sequence[Thumbnail]
    more: int
    name: ClassName | None = None


@dataclass(frozen=True)
class Gallery:
    """A method's misclassified examples: images in `groups`, a figure of that title and caption, or a table."""

    method: str
    total: str
    agreement: str = ""
    groups: Sequence[Group] = ()
    title: str = ""
    caption: str = ""
    sources: Sequence[Source] = ()
    table: Table | None = None


@dataclass(frozen=True)
class ByOne:
    """The examples that one method alone gets wrong: how many, and which."""

    sentences: Sequence[str]
    galleries: Sequence[Gallery] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Errors:
    """All that is shown of one experiment's errors; of many methods, those of each are folded away."""

    notes: Sequence[str]
    is_folded: bool
    matrices: Sequence[Matrix]
    galleries: Sequence[Gallery]
    by_one: ByOne | None
    scatter: Chart | None


def errors_part(
    own: Tables, experiment: Experiment, methods: Sequence[str], key: str, metadata: Json, samples: Arrays
) -> Errors:
    """Return what each of these methods gets wrong on the test parts; `own` are the experiment's rows of each table.

    `samples` holds `inputs`, uint8 [N, height, width] or [N, features], and `labels` [N]; `key` keeps the charts' ids
    apart from others'.
    """
    predicting = [method for method in methods if (own["confusion"]["method"] == method).any()]
    is_folded = len(predicting) > MOST_TOLD
    shown = _Shown(own, experiment, metadata, samples["inputs"], is_folded)
    return Errors(
        notes=[*skipped_sentences(own["cells"]), *diverged_sentences(own["runs"], methods)],
        is_folded=is_folded,
        matrices=[_matrix(own, experiment, method, metadata) for method in predicting],
        galleries=[_gallery(shown, method) for method in predicting],
        by_one=_by_one(shown, methods) if len(predicting) > 1 else None,
        scatter=_scatter(shown, predicting, key, samples["labels"]),
    )


@dataclass(frozen=True)
class _Shown:
    """What every gallery of an experiment is made from."""

    own: Tables
    experiment: Experiment
    metadata: Json
    inputs: NDArray[Any]
    is_folded: bool

    @property
    def has_images(self) -> bool:
        return self.inputs.ndim == 3

    def missed(self, method: str) -> pd.DataFrame:
        return self.own["misclassified"][self.own["misclassified"]["method"] == method]

    def at_most(self, number: int) -> int:
        return number // OF_MANY if self.is_folded else number


def _matrix(own: Tables, experiment: Experiment, method: str, metadata: Json) -> Matrix:
    confusion = own["confusion"][own["confusion"]["method"] == method]
    size = int(confusion["label"].max()) + 1
    names = [class_name(metadata, label) for label in range(size)]
    counts = confusion["count"].to_numpy(dtype=int).reshape(size, size)
    rates = confusion["rate"].to_numpy(dtype=float).reshape(size, size)
    runs = own["runs"][own["runs"]["method"] == method]
    diverged = int((runs["status"] == "diverged").sum())
    left_out = f", {diverged} diverged left out" if diverged else ""
    num_right, num_tested = int(counts.trace()), int(counts.sum())
    right = f"{num_right:,} of {num_tested:,} test examples right ({percent_text(num_right / num_tested)})"
    caption = (
        f"{method}, {experiment.title}: {right} over {counted(len(runs), 'run')}{left_out}."
        f"{confused_text(counts, names)} Rows are true classes; below each count, its share of the row."
    )
    rows = [
        (name, [(int(count), float(rate)) for count, rate in zip(counts[label], rates[label], strict=True)])
        for label, name in enumerate(names)
    ]
    return Matrix(method, f"{method}, {experiment.title}", right, caption, names, rows)


def _gallery(shown: _Shown, method: str) -> Gallery:
    missed = shown.missed(method)
    statuses = shown.own["runs"]["status"][shown.own["runs"]["method"] == method]
    num_runs = counted(int((statuses != "diverged").sum()), "run")
    total = f"{counted(len(missed), 'example')} misclassified by at least one of {num_runs}"
    rows = missed.to_dict("records")
    if not rows:
        return Gallery(method, total)
    agreement = agreement_sentence(rows)
    if shown.has_images:
        caption = (
            f"{total}. {agreement} By true class, first what is wrong most often; beneath each, {_BENEATH}."
        )
        return _pictures(
            shown, method, "Characters misclassified", total, caption, list(_by_class(shown, rows))
        )
    return Gallery(method, total, agreement, table=_missed_table(shown, method, rows))


def _pictures(
    shown: _Shown, method: str, what: str, total: str, caption: str, groups: Sequence[Group]
) -> Gallery:
    """Return images as a figure."""
    title = shown.experiment.title
    return Gallery(
        method,
        total,
        groups=groups,
        title=f"{what} by {method}, {title}",
        caption=f"{title}, {method}: {caption}",
        sources=[Source("misclassified", shown.experiment.where | {"method": method})],
    )


def _by_class(shown: _Shown, rows: Sequence[Row]) -> Iterator[Group]:
    """Yield each true class's images, those wrong most often, and how many more there are."""
    by_label = sorted(rows, key=lambda row: int(row["label"]))
    for label, group in groupby(by_label, key=lambda row: int(row["label"])):
        missed = list(group)
        thumbnails = [_thumbnail(shown, row) for row in missed[: shown.at_most(IMAGES_A_CLASS)]]
        yield Group(thumbnails, len(missed) - len(thumbnails), class_name(shown.metadata, label))


def _thumbnail(shown: _Shown, row: Row) -> Thumbnail:
    true, predicted = (class_name(shown.metadata, row[name]) for name in ("label", "predicted"))
    wrong = f"misclassified by {row['wrong']} of {counted(row['tested'], 'run')}"
    return Thumbnail(
        uri=image_uri(shown.inputs[row["id"]]),
        alt=f"Example {row['id']}, a {true.full}, {wrong}, as {predicted.full} by {row['predicted_by']}",
        true=true,
        predicted=predicted,
        votes=f"{row['wrong']}/{row['tested']}",
        agreement=_agreement(row),
    )


def _agreement(row: Row) -> str:
    """Return how many of the runs that are wrong agree on what they take an example for; nothing of one run."""
    if row["wrong"] == 1:
        return ""
    if row["predicted_by"] == row["wrong"]:
        return "alike"
    return "differ" if row["predicted_by"] == 1 else f"{row['predicted_by']} alike"


def _missed_table(shown: _Shown, method: str, rows: Sequence[Row]) -> Table:
    caption = (
        f"{method}, {shown.experiment.title}: wrong most often first, features as they stand in the data set"
    )
    if len(rows) > ROWS_A_METHOD:
        caption += f"; {ROWS_A_METHOD} of them shown"
    columns = [
        *words("Example", "True"),
        *words("Predicted", about=HEADINGS["Predicted class"]),
        Column("Wrong in runs"),
        Column("Same prediction"),
        *(Column(_feature_title(name), about="") for name in shown.metadata["feature_names"]),
    ]
    cells = [
        [
            *_example_cells(shown, row),
            f"{row['wrong']}/{row['tested']}",
            f"{row['predicted_by']}/{row['wrong']}",
            *(f"{float(value):g}" for value in shown.inputs[row["id"]]),
        ]
        for row in rows[:ROWS_A_METHOD]
    ]
    return Table(caption, columns, cells)


def _example_cells(shown: _Shown, row: Row) -> list[str]:
    return [str(row["id"]), *(class_name(shown.metadata, row[name]).full for name in ("label", "predicted"))]


def _feature_title(name: str) -> str:
    return name.replace("_", " ")


def _by_one(shown: _Shown, methods: Sequence[str]) -> ByOne:
    runs = shown.own["runs"]
    kept, seeds = paired_methods(runs)
    chosen = [method for method in methods if method in kept]
    if len(chosen) < 2 or not seeds:
        return ByOne(
            ["No two methods can be compared: there is no seed at which the runs of both did not diverge."]
        )
    found = compared(shown.own["misclassified"], chosen)
    sentences = [*basis_sentences(runs, chosen, seeds), *only_sentences(found)]
    told = {method: rows for method, rows in found.only.items() if rows}
    if shown.has_images:
        return ByOne(sentences, galleries=[_only_gallery(shown, *one) for one in told.items()])
    return ByOne(sentences, table=_only_table(shown, told) if told else None)


def _only_gallery(shown: _Shown, method: str, rows: Sequence[Row]) -> Gallery:
    thumbnails = [_thumbnail(shown, row) for row in rows[: shown.at_most(IMAGES_BY_ONE)]]
    total = f"{counted(len(rows), 'example')} that no other method misclassifies"
    caption = f"{total}. Beneath each, its class, {_BENEATH}."
    groups = [Group(thumbnails, len(rows) - len(thumbnails))]
    return _pictures(shown, method, "Characters misclassified only", total, caption, groups)


def _only_table(shown: _Shown, only: Mapping[str, Sequence[Row]]) -> Table:
    caption = f"Examples that one method alone misclassifies, {shown.experiment.title}"
    if any(len(rows) > ROWS_A_METHOD for rows in only.values()):
        caption += f"; {ROWS_A_METHOD} a method shown"
    columns = [
        METHOD,
        *words("Example", "True"),
        *words("Predicted", about=HEADINGS["Predicted class"]),
        Column("Wrong in runs compared"),
    ]
    rows = [
        [method, *_example_cells(shown, row), f"{row['paired_wrong']}/{row['paired']}"]
        for method, of_method in only.items()
        for row in of_method[:ROWS_A_METHOD]
    ]
    return Table(caption, columns, rows)


def _scatter(shown: _Shown, methods: Sequence[str], key: str, labels: NDArray[Any]) -> Chart | None:
    """Return a scatter a method over the two most telling features; None of images, or of more classes than marks."""
    names = shown.metadata["class_names"]
    if shown.inputs.ndim != 2 or len(names) > len(MARKS) or not methods:
        return None
    features = telling_features(shown.inputs, labels)
    if len(features) < 2:
        return None
    titles = [_feature_title(str(shown.metadata["feature_names"][one.place])) for one in features]
    points = np.asarray(shown.inputs, dtype=np.float64)[:, [one.place for one in features]]
    svgs = [
        scatter_chart(
            points,
            labels,
            shown.missed(method),
            method=method,
            class_names=names,
            axis_titles=(titles[0], titles[1]),
            key=f"{key}-errors-{place}",
            title=f"Misclassified examples of {method}, {shown.experiment.title}",
            description=between_sentence(shown.own["misclassified"], [method], shown.metadata),
        )
        for place, method in enumerate(methods)
    ]
    return Chart(
        svgs,
        _scatter_caption(shown, methods, features, titles),
        title=f"Misclassified examples, {shown.experiment.title}",
        sources=[Source("misclassified", shown.experiment.where)],
    )


def _scatter_caption(
    shown: _Shown, methods: Sequence[str], features: Sequence[Feature], titles: Sequence[str]
) -> str:
    told = [
        f"{title} (F = {number_text(one.f_statistic)})" for one, title in zip(features, titles, strict=True)
    ]
    return (
        f"{shown.experiment.title}. {between_sentence(shown.own['misclassified'], methods, shown.metadata)} "
        f"All {len(shown.inputs):,} examples of the data set, by class; outlined those misclassified by any run that "
        "tested them, with the mark of the class that they are mostly taken for, the larger the greater the share of "
        "these runs. Of all features the two that tell the classes apart best, by the F of a one-way analysis of "
        f"variance: {joined(told)}."
    )

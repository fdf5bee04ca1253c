"""Tables of what methods get wrong go in; who shares which error, and the sentences that say so, come out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.findings import MOST_TOLD, Row
from fgbench.types import Json
from fgbench.wording import counted, joined

Counts: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class ClassName:
    """A class's name, and how it is read where it is a Japanese character."""

    text: str
    reading: str = ""

    @property
    def full(self) -> str:
        """The name with its reading: お (o)."""
        return f"{self.text} ({self.reading})" if self.reading else self.text


@dataclass(frozen=True)
class Compared:
    """Examples that any run got wrong where all of these methods were tested on them, by who gets them wrong.

    `only` holds, by method, its rows of `misclassified` of the examples that it alone gets wrong; `by_all` counts those
    that all methods do. The rest of the `total` is wrong in too few runs, or with several methods and not all.
    """

    methods: Sequence[str]
    total: int
    only: Mapping[str, Sequence[Row]]
    by_all: int


def class_name(metadata: Json, label: int) -> ClassName:
    """Return the name of a data set's class, kana apart from its reading; without one its number.

    >>> class_name({"class_names": ["お (o)", "Adelie"]}, 0)
    ClassName(text='お', reading='o')
    """
    names = metadata["class_names"]
    name = str(names[label]) if label < len(names) else str(label)
    found = _KANA.fullmatch(name)
    return ClassName(found["kana"], found["reading"]) if found else ClassName(name)


def compared(missed: pd.DataFrame, methods: Sequence[str]) -> Compared:
    """Return what methods get wrong of the same examples at the same seeds.

    `missed` are one experiment's rows of `misclassified`, `methods` those of `paired_methods`. A method gets an example
    wrong if at least half of its runs there do; it alone does if no run of another does.
    """
    rows = missed[missed["method"].isin(methods) & (missed["paired_wrong"] > 0)]
    by_example: dict[int, list[Row]] = {}
    for row in rows.sort_values(["paired_wrong", "id"], ascending=[False, True]).to_dict("records"):
        by_example.setdefault(int(row["id"]), []).append(row)
    mostly = [
        [row for row in same if 2 * row["paired_wrong"] >= row["paired"]] for same in by_example.values()
    ]
    alone = [
        most[0] for same, most in zip(by_example.values(), mostly, strict=True) if len(same) == len(most) == 1
    ]
    return Compared(
        methods=methods,
        total=len(by_example),
        only={method: [row for row in alone if row["method"] == method] for method in methods},
        by_all=sum(len(most) == len(methods) for most in mostly),
    )


def basis_sentences(runs: pd.DataFrame, methods: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """Yield what is compared: how many methods, at how many seeds, and who is left out of one experiment's `runs`."""
    num_seeds = runs["seed"].nunique()
    all_of_them = "both methods" if len(methods) == 2 else f"{len(methods)} methods"
    at_seeds = counted(num_seeds, "seed")
    if len(seeds) < num_seeds:
        at_seeds = f"{len(seeds)} of {at_seeds}, those at which none of them diverged"
    yield f"Compared: {all_of_them} on the same test examples at {at_seeds}."
    left_out = [method for method in dict.fromkeys(runs["method"]) if method not in methods]
    if left_out:
        yield f"Left out, for most of the runs diverged: {joined(left_out)}."


def only_sentences(found: Compared) -> Iterator[str]:
    """Yield how many examples one method alone gets wrong, how many all do, and on how little that rests."""
    if not found.total:
        yield "No run misclassified any of them."
        return
    alone = [row for rows in found.only.values() for row in rows]
    everyone = "both" if len(found.methods) == 2 else f"all {len(found.methods)}"
    rest = found.total - len(alone) - found.by_all
    parts = joined([*_only_parts(found), f"{found.by_all:,} by {everyone}"])
    yield (
        f"Of {counted(found.total, 'example')} that any run got wrong, {parts}"
        f"{f'; {rest:,} by some of the runs or methods' if rest else ''}."
    )
    single = sum(row["paired"] == 1 for row in alone)
    if single:
        yield (
            f"Of the {len(alone):,} by one method only, {single:,} rest on one run a method: they were tested at a "
            "single seed."
        )


def _only_parts(found: Compared) -> Iterator[str]:
    """Yield how many examples are wrong with which method only; of many methods, those with most by name."""
    counts = {method: len(rows) for method, rows in found.only.items()}
    named = list(counts)
    if len(counts) > MOST_TOLD:
        some = [method for method in counts if counts[method]]
        named = sorted(some, key=lambda method: -counts[method])[:MOST_TOLD]
    told = [(counts[method], f"by {method} only") for method in named]
    if len(named) < len(counts):
        others = f"{'the other ' if named else 'the '}{len(counts) - len(named)} methods"
        told.append((sum(counts.values()) - sum(count for count, _ in told), f"by one of {others} only"))
    for place, (count, by) in enumerate(told):
        verb = "" if place else "is misclassified " if count == 1 else "are misclassified "
        yield f"{count:,} {verb}{by}"


def agreement_sentence(rows: Sequence[Row]) -> str:
    """Return how often runs that are wrong on one example, a row each of `misclassified`, take it for one class."""
    several = [row for row in rows if row["wrong"] > 1]
    if not several:
        return "No example is misclassified by more than one run."
    agreed = sum(row["predicted_by"] == row["wrong"] for row in several)
    return (
        f"Of {counted(len(several), 'example')} that two or more runs get wrong, {agreed:,} "
        f"{'is' if agreed == 1 else 'are'} taken for one and the same class by all of these runs."
    )


def confused_text(counts: Counts, names: Sequence[ClassName]) -> str:
    """Return which class is most often taken for which, of a confusion matrix of counts [true, predicted]."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    if not wrong.any():
        return ""
    label, predicted = np.unravel_index(int(wrong.argmax()), wrong.shape)
    most = counted(int(wrong[label, predicted]), "time")
    return f" Most often confused: {names[int(label)].full} taken for {names[int(predicted)].full}, {most}."


def between_sentence(missed: pd.DataFrame, methods: Sequence[str], metadata: Json) -> str:
    """Return between which two classes most misclassified examples lie; of many methods, counted over all of them.

    `missed` are one experiment's rows of `misclassified`.
    """
    missed = missed[missed["method"].isin(methods)]
    if missed.empty:
        return "No example is misclassified."
    pairs = np.sort(missed[["label", "predicted"]].to_numpy(dtype=int), axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    commonest = found[counts.argmax()]
    is_between = (pairs == commonest).all(axis=1)
    confused = f"confuse {joined([class_name(metadata, int(label)).full for label in commonest])}."
    if len(methods) > MOST_TOLD:
        every = f"{len(missed):,} misclassified examples of {len(methods)} methods, each method's counted by itself"
        return f"Of the {every}, {is_between.sum():,} {confused}"
    parts = []
    for method in methods:
        is_own = (missed["method"] == method).to_numpy()
        own = counted(int(is_own.sum()), "misclassified example")
        parts.append(f"{(is_between & is_own).sum():,} of {own} with {method}")
    return f"{joined(parts)} {confused}"


def diverged_sentences(runs: pd.DataFrame, methods: Sequence[str]) -> Iterator[str]:
    """Yield for each method of which runs diverged a sentence that says so: their predictions count nowhere."""
    for method in methods:
        statuses = runs["status"][runs["method"] == method]
        diverged = int((statuses == "diverged").sum())
        if diverged and diverged == len(statuses):
            every = "its only run" if diverged == 1 else f"all {diverged} runs"
            yield f"{method}: {every} diverged, there are no errors to show."
        elif diverged:
            yield f"{method}: {diverged} of {len(statuses)} runs diverged, and are left out."


_KANA = re.compile(r"(?P<kana>[\u3040-\u30ff]+) \((?P<reading>[^()]+)\)")

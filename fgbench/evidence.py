"""A study's tables go in; its comparisons of one kind of method with another, and a verdict over several, come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fgbench.cost_findings import round_values
from fgbench.findings import Experiment, Row, Tables, experiments
from fgbench.judgements import (
    AGAINST,
    FAILS,
    FOR,
    HOLDS,
    OPEN,
    PARTLY,
    UNRESOLVED,
    UNTESTED,
    Judgement,
    Measured,
    Scale,
)
from fgbench.statistics import (
    SIGNIFICANCE,
    PairedDifference,
    ends,
    holm,
    paired_difference,
    paired_ratio,
    paired_time_to_target,
)
from fgbench.tidy import EXPERIMENT, KEY, rows_of
from fgbench.wording import counted, joined

FORWARD_GRADIENT = "forward_gradient"
BACKPROP = "backprop"


@dataclass(frozen=True)
class Evidence:
    """A study's tables, asked for methods by what they are, and for comparisons between two of them."""

    tables: Tables

    @cached_property
    def experiments(self) -> list[Experiment]:
        """The study's experiments, the smallest model first."""
        return experiments(self.tables)

    def cells(
        self,
        experiment: Experiment,
        *estimators: str,
        tangents: str | None = None,
        num_tangents: int | None = None,
    ) -> list[Row]:
        """Return the cells of an experiment that were trained with one of the estimators, by tangents, then names.

        Those alone with these tangents, and so many of them, where that is given.
        """
        return [
            cell
            for cell in self._trained.get(experiment, [])
            if cell["estimator"] in estimators
            and tangents in (None, cell["tangents"])
            and (num_tangents is None or _number(cell["num_tangents"]) == num_tangents)
        ]

    def baseline(self, experiment: Experiment) -> Row | None:
        """Return the cell of an experiment with exact gradients, if it has one."""
        return next(iter(self.cells(experiment, BACKPROP)), None)

    @property
    def beside_baseline(self) -> Iterator[tuple[Experiment, Row, Row]]:
        """Each forward gradient with one tangent, and the backprop that was trained beside it."""
        for experiment in self.experiments:
            if baseline := self.baseline(experiment):
                for cell in self.cells(experiment, FORWARD_GRADIENT, num_tangents=1):
                    yield experiment, cell, baseline

    def plain(self, experiment: Experiment, like: Row, *, num_tangents: int | None = None) -> Row | None:
        """Return the forward gradient to hold a cell against: of the same kind of tangents if there is one.

        It has so many tangents, or as many as the cell; an estimator that takes none is held against a single one.
        """
        own = _number(like["num_tangents"]) or 1
        found = self.cells(experiment, FORWARD_GRADIENT, num_tangents=num_tangents or own)
        return min(found, key=lambda cell: cell["tangents"] != like["tangents"], default=None)

    def estimators(self, method: str) -> set[str]:
        """Return the estimators that a method's name stands for in this study: one, or none where it is not trained."""
        cells = self.tables["cells"]
        return {*cells["estimator"][cells["method"] == method]}

    def laws(self, experiment: Experiment, law: str, estimator: str, *, tangents: str) -> list[Row]:
        """Return what was measured of a law's mean of an estimator with these tangents, by point and their number."""
        rows = experiment.rows(self.tables["laws"])
        rows = rows[(rows["law"] == law) & (rows["estimator"] == estimator) & (rows["tangents"] == tangents)]
        known = rows[rows["standard_error"].notna() & (rows["measured"] > 0)]
        return [*known.to_dict("records")]

    def cosines(self, experiment: Experiment, cell: Row, other: Row) -> tuple[Row, Row] | None:
        """Return both cells' mean cosine to the gradient over the points of training at which both were probed.

        Each is a `measured` mean with the `standard_error` of its draws; None where there is no such point.
        """
        rows = experiment.rows(self.tables["probes"])
        rows = rows[rows["quantity"] == "cosine"]
        own = [rows[rows["method"] == one["method"]].set_index("step") for one in (cell, other)]
        steps = own[0].index.intersection(own[1].index)
        if steps.empty:
            return None
        found = [
            {
                "measured": one.loc[steps, "mean"].mean(),
                "standard_error": math.sqrt((one.loc[steps, "sd"] ** 2 / one.loc[steps, "draws"]).sum())
                / len(steps),
                "points": len(steps),
            }
            for one in own
        ]
        return found[0], found[1]

    def skipped(self, estimator: str) -> list[str]:
        """Return why cells with an estimator were not trained, each reason once."""
        cells = self.tables["cells"]
        return sorted({*cells["skipped"][cells["estimator"] == estimator]} - {""})

    def compared(self, experiment: Experiment, cell: Row, other: Row, metric: str) -> PairedDifference | None:
        """Return how far a cell is from another, paired by seed, or None unless every pair is complete.

        `metric` is a key of `PAIRED`: of a ratio, the difference is that of logarithms.
        """
        pairs = self._pairs(cell, other, metric)
        if pairs is None:
            return None
        if metric == TIME_TO_TARGET:
            blocks = experiment.rows(self.tables["blocks"])
            blocks = blocks[blocks["device"] == "cpu"]
            rounds = [round_values(blocks, one["method"]) for one in (cell, other)]
            if not all(one.size for one in rounds):
                return None
            return paired_time_to_target(np.log(pairs.to_numpy()) @ [1, -1], rounds[0] / rounds[1])
        values, others = pairs.to_numpy().T
        if PAIRED[metric] == "ratio":
            return paired_ratio(values, others)
        return paired_difference(values, others, higher_is_better=metric.endswith("accuracy"))

    def progress(self, experiment: Experiment, cell: Row, other: Row) -> tuple[str, PairedDifference | None]:
        """Return by what a cell's training is told from another's, a key of `PAIRED`, and how far it is.

        That are the steps to the target, and where a run of either missed it, the training loss after as many steps.
        """
        steps = self.compared(experiment, cell, other, STEPS_TO_TARGET)
        if steps is not None:
            return STEPS_TO_TARGET, steps
        return TRAIN_LOSS, self.compared(experiment, cell, other, TRAIN_LOSS)

    def censored_steps(self, cell: Row) -> pd.Series[float]:
        """Return the steps to the target by seed, a miss as the most steps a run takes: a bound from below."""
        runs = rows_of(self.tables["runs"], cell).set_index("seed")
        return runs["steps_to_target"].astype("float64").fillna(float(cell["max_steps"]))

    @cached_property
    def _trained(self) -> dict[Experiment, list[Row]]:
        """The cells that were trained, by experiment; one that was skipped has no runs."""
        keys = [*self.tables["runs"][list(KEY)].drop_duplicates().itertuples(index=False, name=None)]
        cells = self.tables["cells"].sort_values(["num_tangents", "method"], kind="stable")
        found: dict[Experiment, list[Row]] = {}
        for cell in cells.to_dict("records"):
            if tuple(cell[name] for name in KEY) in keys:
                found.setdefault(Experiment(*(cell[name] for name in EXPERIMENT)), []).append(cell)
        return found

    def _pairs(self, cell: Row, other: Row, metric: str) -> pd.DataFrame | None:
        """Return both cells' numbers by seed, or None unless all are there, finite and, for a ratio, above 0."""
        sides = [rows_of(self.tables["runs"], one) for one in (cell, other)]
        if any((one["status"] == "diverged").any() for one in sides):
            return None
        if {*sides[0]["seed"]} != {*sides[1]["seed"]} or sides[0].empty:
            return None
        if metric in (TRAIN_LOSS, TEST_LOSS):
            pairs = self._at_equal_steps(cell, other, metric)
        else:
            column = STEPS_TO_TARGET if metric == TIME_TO_TARGET else metric
            pairs = pd.concat([one.set_index("seed")[column].astype("float64") for one in sides], axis=1)
        known = np.isfinite(pairs) & ((pairs > 0) | (PAIRED[metric] == "difference"))
        return pairs.sort_index() if bool(known.all(axis=None)) and len(pairs) else None

    def _at_equal_steps(self, cell: Row, other: Row, metric: str) -> pd.DataFrame:
        """Return both cells' loss at each seed at the last record that both runs have."""
        curves = [
            rows_of(self.tables["curves"], one).set_index(["seed", "step"])[metric] for one in (cell, other)
        ]
        both = pd.concat(curves, axis=1, join="inner").sort_index()
        return both.groupby(level="seed").tail(1).droplevel("step")


def measured(
    where: str,
    what: str,
    difference: PairedDifference | None,
    *,
    claimed: str = "better",
    scale: Scale = "ratio",
) -> Measured:
    """Return a paired difference as what it says to a claim that it is `claimed`, "better" or "worse".

    Of a ratio, the difference is that of logarithms. None, a comparison that is not complete, is open.
    """
    if difference is None:
        return Measured(where, what, math.nan, math.nan, math.nan, math.nan, OPEN, scale)
    back: Callable[[float], float] = math.exp if scale == "ratio" else float
    low, high = (back(end) for end in ends(difference.interval))
    says = said(difference.verdict, claimed=claimed)
    return Measured(where, what, back(difference.mean), low, high, difference.p_value, says, scale)


def mean_ratio(where: str, what: str, one: Row, other: Row, *, claimed: str) -> Measured:
    """Return the ratio of two independent means, and what it says to a claim that it is "less" or "more" than 1.

    Each has a `measured` value and its `standard_error`. The logarithm of the ratio is taken as normal, its variance as
    the sum of both relative ones (the delta method).
    """
    ratio = one["measured"] / other["measured"]
    error = math.hypot(*(row["standard_error"] / row["measured"] for row in (one, other)))
    reach, p_value = _normal(math.log(ratio), error)
    says = OPEN if p_value >= SIGNIFICANCE else FOR if (ratio < 1) == (claimed == "less") else AGAINST
    return Measured(where, what, ratio, ratio * math.exp(-reach), ratio * math.exp(reach), p_value, says)


def mean_difference(where: str, what: str, one: Row, other: Row) -> Measured:
    """Return how much greater one mean is than another, independent of it, for a claim that it is.

    Each has a `measured` value and its `standard_error`.
    """
    difference = one["measured"] - other["measured"]
    reach, p_value = _normal(difference, math.hypot(one["standard_error"], other["standard_error"]))
    says = OPEN if p_value >= SIGNIFICANCE else FOR if difference > 0 else AGAINST
    low, high = difference - reach, difference + reach
    return Measured(where, what, difference, low, high, p_value, says, "difference")


def said(verdict: str, *, claimed: str) -> str:
    """Return what a comparison's verdict says to a claim that it is "better", or "worse".

    >>> said("better", claimed="worse"), said("not resolved", claimed="worse")
    ('against', 'open')
    """
    if verdict == UNRESOLVED:
        return OPEN
    return FOR if verdict == claimed else AGAINST


def bounded(one: Measured, *, low: float = -math.inf, high: float = math.inf) -> Measured:
    """Return a figure as what it says to a claim that it lies between two bounds.

    For it if its whole interval lies between them, against it if its whole interval lies outside; else open.
    """
    if not (math.isfinite(one.low) and math.isfinite(one.high)):
        return replace(one, says=OPEN, p_value=math.nan)
    if low <= one.low and one.high <= high:
        return replace(one, says=FOR, p_value=math.nan)
    return replace(one, says=AGAINST if one.low > high or one.high < low else OPEN, p_value=math.nan)


def weighed(found: Sequence[Measured]) -> list[Measured]:
    """Return comparisons with what they say after a correction for how many they are.

    Where all say the same, each was tested at 5 % for itself: that none of them is wrong needs no more (an
    intersection-union test, Berger 1982). Where they do not, what only some say must outlast Holm's correction of the
    p-values over all of them.
    """
    if len({one.says for one in found}) < 2:
        return list(found)
    tested = [place for place, one in enumerate(found) if math.isfinite(one.p_value)]
    corrected = dict(zip(tested, holm([found[place].p_value for place in tested]), strict=True))
    return [
        replace(one, says=OPEN, p_value=float(corrected[place]))
        if place in corrected and corrected[place] >= SIGNIFICANCE
        else replace(one, p_value=float(corrected.get(place, math.nan)))
        for place, one in enumerate(found)
    ]


def judged(
    found: Iterable[Measured],
    quantity: str,
    *,
    note: str = "",
    limits: Sequence[float] = (),
    timed: bool = False,
) -> Judgement:
    """Return the verdict on a claim that is made without a condition, by all comparisons that test it.

    It holds if all speak for it; it does not hold if none speaks for it and one against; it holds only if …, where
    some do; else it is not resolved. Without a comparison it cannot be tested, which the caller says.
    """
    every = weighed(list(found))
    says = {one.says for one in every}
    if says == {FOR}:
        verdict, reason = HOLDS, ""
    elif FOR in says:
        verdict, reason = PARTLY, f"the case is {condition_text(every)}"
    elif AGAINST in says:
        verdict, reason = FAILS, "" if says == {AGAINST} else _tally(every)
    else:
        verdict, reason = UNRESOLVED, ""
    return Judgement(verdict, reason, quantity, figure_text(every), note, every, limits, timed)


def condition_text(found: Sequence[Measured]) -> str:
    """Return where comparisons speak for a claim, and where they do not, as shortly as that can be told.

    >>> one, other = (Measured(where, "steps", 2.0, 1.9, 2.1, 0.002, FOR) for where in ("mlp", "cnn"))
    >>> condition_text([one, replace(other, says=AGAINST)])
    'mlp (against it: cnn)'
    """
    names = _names(found)
    parts = {
        says: list(dict.fromkeys(name for name, one in zip(names, found, strict=True) if one.says == says))
        for says in (FOR, AGAINST, OPEN)
    }
    rest = [
        f"{words}: {_several(parts[says])}"
        for says, words in ((AGAINST, "against it"), (OPEN, "not resolved"))
        if parts[says]
    ]
    return _several(parts[FOR]) + (f" ({'; '.join(rest)})" if rest else "")


def figure_text(found: Sequence[Measured]) -> str:
    """Return the range of the figures, the ends with their intervals; nothing where there is no number."""
    known = sorted((one for one in found if math.isfinite(one.value)), key=lambda one: one.value)
    if not known:
        return ""
    ends_of_range = dict.fromkeys([known[0].text, known[-1].text])
    return " to ".join(ends_of_range)


def untested(missing: str) -> Judgement:
    """Return that a claim cannot be tested, and what the study lacks for it."""
    return Judgement(UNTESTED, missing)


def _normal(value: float, error: float) -> tuple[float, float]:
    """Return how far the interval of a normal value reaches to either side, and the p-value of its being zero."""
    from scipy import stats

    reach = float(stats.norm.isf(SIGNIFICANCE / 2)) * error
    return reach, float(2 * stats.norm.sf(abs(value) / error)) if error > 0 else float(value == 0)


def _number(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _names(found: Sequence[Measured]) -> list[str]:
    """Return a name for each comparison: the place alone, if all that was compared there says the same."""
    mixed = {
        one.where for one in found for other in found if one.where == other.where and one.says != other.says
    }
    return [f"{one.where}, {one.what}" if one.where in mixed else one.where for one in found]


def _several(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    return joined(shown) if len(names) <= _NAMED else f"{', '.join(shown)} and {len(names) - _NAMED} more"


def _tally(found: Sequence[Measured]) -> str:
    counts = {
        f"{words} in {number}": number
        for says, words in ((FOR, "for it"), (AGAINST, "against it"), (OPEN, "not resolved"))
        if (number := sum(one.says == says for one in found))
    }
    return f"{joined(list(counts))} of {counted(len(found), 'comparison')}"


_NAMED = 4
"""Comparisons that a condition names; a table has them all."""

STEPS_TO_TARGET = "steps_to_target"
TIME_TO_TARGET = "time_to_target_s"
TRAIN_LOSS = "train_loss"
TEST_LOSS = "test_loss"
TEST_ACCURACY = "test_accuracy"

PAIRED: dict[str, Scale] = {
    STEPS_TO_TARGET: "ratio",
    TIME_TO_TARGET: "ratio",
    TRAIN_LOSS: "ratio",
    TEST_LOSS: "difference",
    TEST_ACCURACY: "difference",
}
"""What two cells are compared by, and how: losses at the last record that both runs have, accuracies at the end."""

"""The rows of probed runs go in; the sentences come out that say how estimates lie to the gradient, beside theory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from fgbench import theory
from fgbench.findings import MOST_TOLD, Row
from fgbench.probe_tables import COSINE, DIRECTIONAL_DERIVATIVE, NORM_RATIO, PROJECTION
from fgbench.wording import count_text, joined, number_text

EXACT = ("backprop", "checkpointed_backprop")
"""Estimators that give the gradient itself."""


@dataclass(frozen=True)
class Probed:
    """A cell's rows of the table of probes, and its settings."""

    method: str
    cell: Row
    rows: pd.DataFrame

    def of(self, quantity: str) -> list[Row]:
        """Return the rows of a quantity, by step."""
        return self._by_quantity.get(quantity, [])

    def at(self, quantity: str, place: int) -> Row | None:
        """Return the row of a quantity at the first step looked at (0) or the last (-1), if it has a number there."""
        rows = self.of(quantity)
        return rows[place] if rows else None

    @cached_property
    def _by_quantity(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows.sort_values("step", kind="stable").to_dict("records"):
            found.setdefault(row["quantity"], []).append(row)
        return found

    @property
    def num_parameters(self) -> int:
        """The number d of parameters."""
        return int(self.cell["num_parameters"])

    @property
    def num_tangents(self) -> int:
        """The number K of tangents a step."""
        return 0 if pd.isna(self.cell["num_tangents"]) else int(self.cell["num_tangents"])


def expected(one: Probed, quantity: str) -> float | None:
    """Return what theory says of the mean of a quantity (of norm_ratio, of its root mean square), or None.

    Cosines are exact for normal tangents and for one on the sphere; others come near where the gradient has many
    entries of like size. The rest is exact for all tangents.
    """
    estimator, tangents = one.cell["estimator"], one.cell["tangents"]
    d, k = one.num_parameters, one.num_tangents
    if estimator in EXACT:
        return 1.0
    if tangents not in theory.DISTRIBUTIONS:
        return None
    if estimator == "forward_gradient":
        root = math.sqrt(1 + theory.forward_variance(tangents, d, k))
        return {COSINE: theory.forward_cosine(d, k), NORM_RATIO: root, PROJECTION: 1.0}.get(quantity)
    if estimator in ("orthonormal_projection", "unbiased_orthonormal_projection") and k <= d:
        scale = d / k if estimator.startswith("unbiased") else 1.0
        found = {NORM_RATIO: scale * math.sqrt(k / d), PROJECTION: scale * k / d}
        return (found | {COSINE: theory.projection_cosine(d, k)}).get(quantity)
    return None


def probe_sentences(probed: Sequence[Probed]) -> list[str]:
    """Return what was seen in one experiment: how each method's estimates, and the batch's, lie to the gradient."""
    drawn = [one for one in probed if one.cell["estimator"] not in EXACT and one.at(COSINE, -1)]
    if len(drawn) > MOST_TOLD:
        sentences = [_ranking_sentence(drawn)]
    else:
        sentences = [sentence for one in drawn for sentence in _method_sentences(one)]
    return [*sentences, *_derivative_sentences(drawn), *_batch_sentences(probed)]


def mean_text(row: Row) -> str:
    """Return a mean over draws, and two standard errors of it."""
    if row["draws"] < 2:
        return number_text(row["mean"])
    error = 2 * row["sd"] / math.sqrt(row["draws"])
    if not error:
        return number_text(row["mean"])
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 6)
    return f"{number_text(row['mean'], decimals=decimals)} ± {number_text(error, decimals=decimals)}"


def _method_sentences(one: Probed) -> list[str]:
    """Return how a method's estimates lie to the gradient at the last step looked at, beside what theory says."""
    first, last = one.at(COSINE, 0), one.at(COSINE, -1)
    ratio, projection = one.at(NORM_RATIO, -1), one.at(PROJECTION, -1)
    if not (first and last and ratio and projection):
        return []
    longer = math.hypot(ratio["mean"], ratio["sd"])
    return [
        f"At step {count_text(last['step'])}, the last looked at, the estimates of {one.method} have a mean cosine of "
        f"{mean_text(last)} to the gradient ({_cosine_theory(one)}at step {count_text(first['step'])}: "
        f"{mean_text(first)}). They are {number_text(longer)} times as long as it (root mean square"
        f"{_theory_text(expected(one, NORM_RATIO))}), and g·∇f/‖∇f‖² averages {mean_text(projection)} "
        f"({_bias_text(expected(one, PROJECTION))})."
    ]


def _derivative_sentences(drawn: Sequence[Probed]) -> list[str]:
    """Return how far directional derivatives spread at the last step looked at, over the methods that have some."""
    rows = [row for one in drawn if (row := one.at(DIRECTIONAL_DERIVATIVE, -1))]
    if not rows:
        return []
    low, high = (number_text(pick(row["sd"] for row in rows), decimals=2) for pick in (min, max))
    return [
        f"Directional derivatives ∇f·v/‖∇f‖ have, at the last step looked at, a standard deviation of "
        f"{low if low == high else f'{low} to {high}'} (theory: 1.00)."
    ]


def _cosine_theory(one: Probed) -> str:
    """Return theory's word on a cosine, with a semicolon after it, or nothing."""
    value = expected(one, COSINE)
    if value is None:
        return ""
    tangents = str(one.cell["tangents"])
    is_exact = tangents == "normal" or (tangents == theory.SPHERE and one.num_tangents == 1)
    near = "" if is_exact else f", which {tangents} ones come near"
    number = "one normal tangent" if one.num_tangents == 1 else f"{one.num_tangents} normal tangents"
    return f"theory for {number} in d = {count_text(one.num_parameters)}{near}: {number_text(value)}; "


def _theory_text(value: float | None) -> str:
    return "" if value is None else f"; theory: {number_text(value)}"


def _bias_text(value: float | None) -> str:
    """Return theory's word on g·∇f/‖∇f‖², or what an unbiased estimate would give."""
    return "1 of an unbiased one" if value is None else f"theory: {number_text(value)}"


def _ranking_sentence(drawn: Sequence[Probed]) -> str:
    """Return which of many methods' estimates are aligned best and worst at the last step looked at."""
    means = {one.method: float(row["mean"]) for one in drawn if (row := one.at(COSINE, -1))}
    order = sorted(means, key=lambda method: -means[method])
    best, worst = (
        joined([f"{method} {number_text(means[method])}" for method in some])
        for some in (order[:3], order[-3:])
    )
    return f"Mean cosine to the gradient at the last step looked at: the best are {best}, the worst {worst}."


def _batch_sentences(probed: Sequence[Probed]) -> list[str]:
    """Return how far the batch's own gradient is from the whole training part's, with the first method that has it."""
    one = next((one for one in probed if one.at(COSINE, 0)), None)
    if one is None:
        return []
    rows = [row for place in (0, -1) if (row := one.at(COSINE, place))]
    said = [f"{number_text(row['batch_cosine'])} at step {count_text(row['step'])}" for row in rows]
    return [
        f"The noise of the batch beside it: with {one.method}, the cosine of the mini-batch's gradient to the whole "
        f"training part's is {joined([*dict.fromkeys(said)])}."
    ]

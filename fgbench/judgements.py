"""What the numbers say to claims goes in; two tidy tables come out, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import pandas as pd

from fgbench.tidy import tidy
from fgbench.wording import interval_text, ratio_text, signed_interval_text

Scale: TypeAlias = Literal["ratio", "difference", "number"]

HOLDS = "holds"
FAILS = "does not hold"
PARTLY = "holds only if"
UNRESOLVED = "not resolved"
UNTESTED = "cannot be tested here"
VERDICTS = (HOLDS, PARTLY, FAILS, UNRESOLVED, UNTESTED)
"""What may be said of a claim, in the order in which it is counted."""

FOR = "for"
AGAINST = "against"
OPEN = "open"
"""What a comparison says to a claim; open is what is not resolved."""


@dataclass(frozen=True)
class Measured:
    """A comparison that a claim is judged by: where it was made, of what, its figure, and what it says to the claim.

    `value`, `low` and `high` are NaN where there is no number to be had; then it is open. `p_value` is NaN where the
    interval alone decides.
    """

    where: str
    what: str
    value: float
    low: float
    high: float
    p_value: float
    says: str
    scale: Scale = "ratio"

    @property
    def text(self) -> str:
        """The figure with its interval."""
        if self.scale == "ratio":
            return ratio_text(self.value, self.low, self.high)
        text = signed_interval_text if self.scale == "difference" else interval_text
        return text(self.value, self.low, self.high)


@dataclass(frozen=True)
class Judgement:
    """What the numbers say to a claim.

    `reason` completes the verdict: on what condition it holds, why it is not resolved, what is missing to test it.
    `quantity` names what the figures are, `figure` gives their range, `note` says what else was measured. `limits` are
    where a figure has to lie below, above or between, beside no difference. `timed` says that seconds were measured.
    """

    verdict: str
    reason: str = ""
    quantity: str = ""
    figure: str = ""
    note: str = ""
    measured: Sequence[Measured] = ()
    limits: Sequence[float] = ()
    timed: bool = False


def judgement_tables(judgements: Mapping[str, Judgement]) -> dict[str, pd.DataFrame]:
    """Return what was said to each claim, by its id, as two tables; `JUDGEMENT_COLUMNS` describes their columns."""
    claims = [
        asdict(one) | {"claim": claim, "limits": json.dumps([*one.limits])}
        for claim, one in judgements.items()
    ]
    comparisons = [
        asdict(one) | {"claim": claim} for claim, judged in judgements.items() for one in judged.measured
    ]
    return {
        name: tidy(rows, JUDGEMENT_COLUMNS[name])
        for name, rows in (("claims", claims), ("claim_comparisons", comparisons))
    }


def judgements_in(tables: Mapping[str, pd.DataFrame]) -> dict[str, Judgement]:
    """Return what a study's tables say to each claim, by its id: what `judgement_tables` made of it, undone."""
    measured: dict[str, list[Measured]] = {}
    for row in _rows(tables["claim_comparisons"]):
        measured.setdefault(row.pop("claim"), []).append(Measured(**row))
    return {
        (claim := row.pop("claim")): Judgement(
            **row | {"measured": tuple(measured.get(claim, ())), "limits": tuple(json.loads(row["limits"]))}
        )
        for row in _rows(tables["claims"])
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


JUDGEMENT_COLUMNS = {
    "claims": {
        "claim": "id of the claim's entry in claims.yaml",
        "verdict": "holds, holds only if, does not hold, not resolved, or cannot be tested here",
        "reason": "what completes the verdict: its condition, why it is not resolved, what is missing to test it",
        "quantity": "what the figures are",
        "figure": "their range, the ends with their 95 % intervals",
        "note": "what else was measured",
        "limits": "where a figure has to lie below, above or between, beside no difference: a JSON list",
        "timed": "whether seconds were measured",
    },
    "claim_comparisons": {
        "claim": "id of the claim that the comparison tests",
        "where": "experiment or device where it was made",
        "what": "what was compared",
        "scale": "ratio, difference, or number: the value is compared with nothing",
        "value": "the figure; empty where there is none to be had",
        "low": "lower end of its 95 % interval",
        "high": "upper end of that",
        "p_value": "of no difference, corrected where comparisons disagree; empty where the interval alone decides",
        "says": "for or against the claim; open if not resolved",
    },
}
"""What each column of the tables holds."""

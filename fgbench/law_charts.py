"""The table of measured laws goes in; its charts, each with its finding and its numbers as a table, come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from fgbench import theory
from fgbench.law_figures import Dots, Floats, Line, law_chart
from fgbench.law_findings import (
    expected_text,
    experiment_of,
    held_text,
    measured_text,
    share_text,
    signed_text,
)
from fgbench.pieces import Chart, Source, Table, numbers, words
from fgbench.svg import Style, method_styles
from fgbench.wording import count_text, joined, number_text

FORWARD, PROJECTION = "forward_gradient", "orthonormal_projection"
COSINES = {"projection_cosine": PROJECTION, "cosine": FORWARD}
"""Laws of a cosine by K, and the estimator that each is of."""


def variance_chart(rows: pd.DataFrame) -> Chart | None:
    """Return the variance of forward gradients against d, and what tells distributions apart at the smallest d."""
    known = _at_first_point(rows[(rows["law"] == "variance") & (rows["estimator"] == FORWARD)])
    if known.empty:
        return None
    styles = method_styles([name for name in theory.DISTRIBUTIONS if (known["tangents"] == name).any()])
    least = int(known["num_parameters"].min())
    smallest = known[known["num_parameters"] == least].drop_duplicates(["tangents", "num_tangents"])
    farthest = float((known["measured"] / known["expected"] - 1).abs().max())
    said = (
        f"The relative variance of a forward gradient grows as d and falls as K: {held_text(known)} measurements at "
        f"{_where(known)} hold, the farthest {share_text(farthest)} from theory."
    )
    apart = _apart_text(smallest, styles)
    svgs = [
        law_chart(
            _dots(known, "tangents", styles, "num_parameters"),
            _variance_lines(known, styles),
            styles=styles,
            heading="E‖g − ∇f‖² / ‖∇f‖²",
            axis="parameters d",
            logarithmic=True,
            key="laws-variance",
            title="Variance of the forward gradient against the number of parameters",
            description=said,
        ),
        law_chart(
            _dots(_apart(smallest), "tangents", styles, "num_tangents"),
            _apart_lines(smallest, styles),
            styles=styles,
            heading=f"K E‖g − ∇f‖² / ‖∇f‖² − d, d = {count_text(least)}",
            axis="tangents K",
            logarithmic=False,
            key="laws-apart",
            title=f"Variance times K, less d, by distribution at d = {count_text(least)}",
            description=apart,
        ),
    ]
    table = _table(known, "Variance of the forward gradient relative to ‖∇f‖²", "Tangents", "tangents")
    caption = f"{said} {apart} Lines are theory, (d + κ − 2)/K; marks are means with intervals."
    return Chart(
        svgs,
        caption,
        table,
        styles,
        "Tangents",
        title="Variance against parameters and tangents",
        sources=[Source("laws", {"law": "variance"})],
    )


def cosine_chart(rows: pd.DataFrame) -> Chart | None:
    """Return E cos against K: of the projection on orthonormal tangents, and of the mean over normal ones."""
    own = rows[rows["law"].isin(COSINES) & (rows["tangents"] == "normal")]
    known = _at_first_point(own).drop_duplicates(["num_parameters", "estimator", "num_tangents"])
    if known.empty:
        return None
    styles = method_styles([name for name in COSINES.values() if (known["estimator"] == name).any()])
    said = f"{_gain_text(known)}{held_text(known)} measurements at {_where(known)} hold."
    svg = law_chart(
        _dots(known, "estimator", styles, "num_tangents"),
        _cosine_lines(known, styles),
        styles=styles,
        heading="E cos(g, ∇f)",
        axis="tangents K",
        logarithmic=True,
        key="laws-cosine",
        title="Cosine of estimate and gradient against the number of tangents",
        description=said,
    )
    lines = "Lines are theory, near √(K/d) for the projection and √(K/(K + d − 1)) for the mean"
    table = _table(known, "Cosine of estimate and gradient, normal tangents", "Estimator", "estimator")
    return Chart(
        [svg],
        f"{said} {lines}; marks are means with intervals.",
        table,
        styles,
        "Estimators",
        title="Cosine against tangents",
        sources=[Source("laws", {"law": law}) for law in COSINES],
    )


def _variance_lines(known: pd.DataFrame, styles: Mapping[str, Style]) -> list[Line]:
    sizes = _span(known["num_parameters"], beyond=1.4)
    lines = []
    for number in sorted(set(known["num_tangents"])):
        for rank, name in enumerate(styles):
            law = partial(theory.forward_variance, name, num_tangents=int(number))
            lines.append(Line(name, sizes, _each(law, sizes), f"K = {number}" if rank == 0 else ""))
    return lines


def _apart_lines(smallest: pd.DataFrame, styles: Mapping[str, Style]) -> list[Line]:
    sizes = _span(smallest["num_tangents"], beyond=1.3)
    return [Line(name, sizes, np.full(sizes.size, theory.effective_kurtosis(name) - 2)) for name in styles]


def _cosine_lines(known: pd.DataFrame, styles: Mapping[str, Style]) -> list[Line]:
    """Return theory's lines, the projection's no farther than to K = d."""
    sizes = _span(known["num_tangents"], beyond=1.25)
    laws = {PROJECTION: theory.projection_cosine, FORWARD: theory.forward_cosine}
    lines = []
    for d in sorted(set(known["num_parameters"])):
        for rank, name in enumerate(styles):
            own = np.unique(np.minimum(sizes, d)) if name == PROJECTION else sizes
            text = f"d = {count_text(d)}" if rank == len(styles) - 1 else ""
            lines.append(Line(name, own, _each(partial(laws[name], int(d)), own), text))
    return lines


def _span(sizes: pd.Series[float], *, beyond: float) -> Floats:
    return np.geomspace(float(sizes.min()) / beyond, float(sizes.max()) * beyond, 60)


def _each(law: Callable[[float], float], sizes: Floats) -> Floats:
    return np.array([law(float(size)) for size in sizes])


def _apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Return variances times K, less d: κ - 2."""
    factor, less = (rows[name].astype("float64") for name in ("num_tangents", "num_parameters"))
    return rows.assign(**{name: rows[name] * factor - less for name in ("measured", "low", "high")})


def _apart_text(smallest: pd.DataFrame, styles: Mapping[str, Style]) -> str:
    """Return how the distributions differ, where most tangents make it clearest."""
    most = smallest["num_tangents"].max()
    rows = {
        row["tangents"]: row for row in _apart(smallest[smallest["num_tangents"] == most]).to_dict("records")
    }
    said = [
        f"{name} {signed_text(row['measured'])} [{signed_text(row['low'])}, {signed_text(row['high'])}] where theory "
        f"says {signed_text(theory.effective_kurtosis(name) - 2)}"
        for name in styles
        if (row := rows.get(name))
    ]
    return f"Distributions differ by κ − 2. K times the variance less d is, at K = {most}, {joined(said)}."


def _gain_text(known: pd.DataFrame) -> str:
    """Return both measured cosines where K comes nearest to d: there orthonormal tangents are to gain most."""
    cosines = known.pivot(index=["num_parameters", "num_tangents"], columns="estimator", values="measured")
    if not {*COSINES.values()} <= {*cosines.columns}:
        return ""
    both = cosines.dropna().reset_index()
    if both.empty:
        return ""
    best = both.iloc[int((both["num_tangents"] / both["num_parameters"]).argmax())]
    return (
        f"Where K is nearest to d, d = {count_text(best['num_parameters'])} and "
        f"K = {count_text(best['num_tangents'])}, orthonormal tangents reach a cosine of "
        f"{number_text(best[PROJECTION])}, the mean of as many "
        f"{number_text(best[FORWARD])}. "
    )


def _at_first_point(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a finite mean of the point that was measured first, where most is drawn."""
    finite = rows[rows["low"].notna() & rows["high"].notna()]
    return finite[finite["point"] == rows["point"].iloc[0]] if len(finite) else finite


def _where(rows: pd.DataFrame) -> str:
    return f"{rows['point'].iloc[0]} parameters"


def _dots(rows: pd.DataFrame, kind: str, styles: Mapping[str, Style], size: str) -> list[Dots]:
    columns = (size, "measured", "low", "high")
    return [
        Dots(name, *(rows[column][rows[kind] == name].to_numpy(dtype=float) for column in columns))
        for name in styles
    ]


def _table(rows: pd.DataFrame, caption: str, kind: str, column: str) -> Table:
    cells: Sequence[Sequence[str]] = [
        [
            experiment_of(row).title,
            row[column],
            count_text(row["num_parameters"]),
            count_text(row["num_tangents"]),
            count_text(row["draws"]),
            expected_text(row),
            measured_text(row),
        ]
        for row in rows.to_dict("records")
    ]
    columns = [*words("Experiment", kind), *numbers("d", "K", "Draws", "Predicted", "Measured [interval]")]
    return Table(f"{caption}, at {_where(rows)}.", columns, cells)

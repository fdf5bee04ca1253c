"""The table of probes goes in; the section of the report comes out that says why estimates train as they do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgbench.findings import MOST_TOLD, Experiment, Tables, experiments
from fgbench.headings import HEADINGS
from fgbench.pieces import METHOD, Chart, Source, Table, numbers
from fgbench.probe_figures import MOST_TOGETHER, NORMAL, Spread, Trace, spread_chart, trace_chart
from fgbench.probe_findings import EXACT, Probed, expected, mean_text, probe_sentences
from fgbench.probe_tables import COSINE, DIRECTIONAL_DERIVATIVE, NORM_RATIO, PROJECTION
from fgbench.svg import Style
from fgbench.wording import ABSENT, count_text, counted, joined, number_text


@dataclass(frozen=True)
class Looked:
    """What was seen along training in one experiment."""

    title: str
    sentences: Sequence[str]
    traces: Chart
    spreads: Chart | None


@dataclass(frozen=True)
class Probes:
    """All that the report shows of how estimates lie to the true gradient."""

    asked: str
    experiments: Sequence[Looked]


def probes_section(tables: Tables, styles: Mapping[str, Style]) -> Probes | None:
    """Return what the report shows of probes, or None without any.

    `styles` hold every method that was trained, in the report's order.
    """
    rows = tables["probes"]
    if rows.empty:
        return None
    seeds = joined([str(seed) for seed in sorted(set(rows["seed"]))])
    draws = rows["draws"].max()
    asked = (
        f"Of each cell the run of seed {seeds} was trained a second time and looked into at points on a logarithmic "
        "grid; it came out as the study's own to the last bit. At each point one mini-batch was drawn, the same for "
        f"all methods at one step, its gradient ∇f computed by backprop, and {counted(int(draws), 'estimate')} g of it "
        "drawn (one where an estimator draws nothing)."
    )
    found = {experiment: _probed(tables, experiment, styles) for experiment in experiments(tables)}
    return Probes(
        asked,
        [
            _looked(experiment, probed, f"p{place}", styles)
            for place, (experiment, probed) in enumerate(found.items())
            if probed
        ],
    )


def _probed(tables: Tables, experiment: Experiment, styles: Mapping[str, Style]) -> list[Probed]:
    rows = experiment.rows(tables["probes"])
    cells = {cell["method"]: cell for cell in experiment.rows(tables["cells"]).to_dict("records")}
    return [
        Probed(method, cells[method], own)
        for method in styles
        if len(own := rows[rows["method"] == method]) and method in cells
    ]


def _looked(
    experiment: Experiment, probed: Sequence[Probed], key: str, styles: Mapping[str, Style]
) -> Looked:
    return Looked(
        title=experiment.title,
        sentences=probe_sentences(probed),
        traces=_traces(experiment, probed, key, styles),
        spreads=_spreads(experiment, probed, key, styles),
    )


def _traces(experiment: Experiment, probed: Sequence[Probed], key: str, styles: Mapping[str, Style]) -> Chart:
    svgs = [
        trace_chart(
            traces,
            quantity=quantity,
            styles=styles,
            reference=1.0,
            key=f"{key}-{quantity.replace('_', '-')}",
            title=f"{_NAMES[quantity]} along training, {experiment.title}",
            description=_last_text(probed, quantity),
        )
        for quantity in (COSINE, NORM_RATIO, PROJECTION)
        if (traces := [trace for one in probed if (trace := _trace(one, quantity))])
    ]
    together = len(probed) <= MOST_TOGETHER
    caption = (
        f"{experiment.title}, along training: {'; '.join(_NAMES.values())}. "
        f"{_last_text(probed, COSINE) if together else 'The table has the first and the last point of each method.'}"
    )
    shown = {one.method for one in probed}
    legend = {method: style for method, style in styles.items() if method in shown}
    return Chart(
        svgs,
        caption,
        _table(experiment, probed),
        legend if together else {},
        title=f"Estimates along training, {experiment.title}",
        sources=[Source("probes", experiment.where)],
    )


def _trace(one: Probed, quantity: str) -> Trace | None:
    rows = one.of(quantity)
    if not rows:
        return None
    names = ("step", "q05", "q50", "q95", "mean")
    steps, low, median, high, mean = (np.array([float(row[name]) for row in rows]) for name in names)
    drawn = one.cell["estimator"] not in EXACT and quantity != NORM_RATIO
    return Trace(one.method, steps, low, median, high, mean, expected(one, quantity) if drawn else None)


def _spreads(
    experiment: Experiment, probed: Sequence[Probed], key: str, styles: Mapping[str, Style]
) -> Chart | None:
    found = {one.method: spreads for one in probed if (spreads := _boxes(one))}
    if not found:
        return None
    last = {method: boxes[-1].quantiles for method, boxes in found.items()}
    texts = {name: _texts(values) for name, values in {"a standard normal number": NORMAL, **last}.items()}
    said = "; ".join(f"{name} {first} to {end}" for name, (first, *_, end) in texts.items())
    title = f"Directional derivatives ∇f·v/‖∇f‖ along training, {experiment.title}"
    svg = spread_chart(
        found,
        styles=styles,
        key=f"{key}-derivatives",
        title=title,
        description=f"5 to 95 % at the last step looked at: {said}.",
    )
    rows = [
        [method, count_text(one.step), *_texts(one.quantiles)]
        for method, boxes in found.items()
        for one in boxes
    ]
    table = Table(
        f"{title}: quantiles. Of a standard normal number they are {joined(_texts(NORMAL))}.",
        [
            METHOD,
            *numbers("Step"),
            *numbers("5 %", "25 %", "50 %", "75 %", "95 %", about=HEADINGS["Quantile"]),
        ],
        rows,
    )
    caption = (
        f"{experiment.title}, directional derivatives ∇f·v/‖∇f‖ at the first, the middle and the last step looked at, "
        "from above: box 25 to 75 %, line 5 to 95 %; dotted, the same of a standard normal number. "
        f"{f'5 to 95 % at the last: {said}. ' if len(found) <= MOST_TOLD else ''}"
        "Methods that draw no tangents in the space of the parameters have none."
    )
    return Chart([svg], caption, table, title=title, sources=[Source("probes", experiment.where)])


def _texts(quantiles: Sequence[float]) -> list[str]:
    return [number_text(value, decimals=2) for value in quantiles]


def _boxes(one: Probed) -> list[Spread]:
    """Return the spread at the first, the middle and the last step looked at."""
    rows = one.of(DIRECTIONAL_DERIVATIVE)
    places = sorted({0, len(rows) // 2, len(rows) - 1}) if rows else []
    return [Spread(rows[place]["step"], [rows[place][name] for name in _QUANTILES]) for place in places]


def _last_text(probed: Sequence[Probed], quantity: str) -> str:
    said = [f"{one.method} {mean_text(row)}" for one in probed if (row := one.at(quantity, -1))]
    return f"Means at the last step looked at: {'; '.join(said)}." if said else ""


def _table(experiment: Experiment, probed: Sequence[Probed]) -> Table:
    rows = [_cells(one, place) for one in probed for place in (0, -1) if one.at(COSINE, place)]
    columns = [
        METHOD,
        *numbers(
            "Step",
            "Estimates",
            "Cosine",
            "Theory",
            "‖g‖/‖∇f‖, root mean square",
            "Theory",
            "g·∇f/‖∇f‖²",
            "Theory",
            "‖∇f‖",
            "Cosine, batch to all",
        ),
    ]
    return Table(
        f"{experiment.title}, at the first and the last step looked at: means over the estimates ± two standard "
        "errors. What theory says of a cosine is exact for normal tangents, and for one on the sphere.",
        columns,
        rows,
    )


def _cells(one: Probed, place: int) -> list[str]:
    cosine, ratio, projection = (one.at(quantity, place) for quantity in (COSINE, NORM_RATIO, PROJECTION))
    if cosine is None or ratio is None or projection is None:
        return []
    theories = [
        ABSENT if (value := expected(one, quantity)) is None else number_text(value)
        for quantity in (COSINE, NORM_RATIO, PROJECTION)
    ]
    return [
        one.method,
        count_text(cosine["step"]),
        count_text(cosine["draws"]),
        mean_text(cosine),
        theories[0],
        number_text(math.hypot(ratio["mean"], ratio["sd"])),
        theories[1],
        mean_text(projection),
        theories[2],
        number_text(cosine["gradient_norm"]),
        number_text(cosine["batch_cosine"]),
    ]


_NAMES = {
    COSINE: "cosine of the estimate to the gradient",
    NORM_RATIO: "‖g‖/‖∇f‖",
    PROJECTION: "g·∇f/‖∇f‖²",
}
_QUANTILES = ("q05", "q25", "q50", "q75", "q95")

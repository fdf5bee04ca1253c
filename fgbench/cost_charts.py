"""The tables of what a step costs go in; its charts, each with its finding and its numbers as a table, come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from fgbench.cost_figures import (
    PARTS,
    Arrival,
    Bar,
    Growth,
    Ratio,
    growth_chart,
    parts_chart,
    ratio_chart,
    ratio_limit,
    target_chart,
)
from fgbench.cost_findings import (
    Case,
    axis_name,
    ladder_sentences,
    layer_sentence,
    measured_methods,
    measured_on,
    part_name,
    parts_of,
    ratio_verdict,
    round_values,
)
from fgbench.findings import Experiment, Row, Tables, experiments, methods, target_time_text
from fgbench.headings import HEADINGS
from fgbench.pieces import METHOD, Chart, Source, Table, numbers, of_methods, words
from fgbench.svg import Style, printable
from fgbench.wording import (
    ABSENT,
    bytes_text,
    count_text,
    floor_text,
    joined,
    percent_text,
    ratio_text,
    seconds_interval_text,
    seconds_text,
)

Styles: TypeAlias = Mapping[str, Style]

FAR = 3
"""Steps that take so many times the slowest that training takes have a chart, and an axis, of their own."""

PART_NAMES = {
    "draw": "draw tangents",
    "estimate": "directional derivative, or gradient",
    "product": "derivative × tangent",
    "update": "update",
}
QUANTITIES = {"step_time_s": "time of a step", "peak_memory_bytes": "peak memory"}


def ratio_charts(tables: Tables, found: Sequence[Case], styles: Styles) -> dict[Case, Chart]:
    """Return for each case with a baseline how the others' steps compare with its, all on the same axes."""
    ratios = {case: [_ratios(case, group) for group in _groups(tables, case)] for case in found}
    limits = [
        ratio_limit([one for group in each for one in group]) for each in zip(*ratios.values(), strict=True)
    ]
    return {
        case: _ratio_chart(tables, case, f"c{place}-ratios", dict(zip(limits, each, strict=True)), styles)
        for place, (case, each) in enumerate(ratios.items())
        if any(each)
    }


def parts_charts(tables: Tables, found: Sequence[Case]) -> dict[Case, Chart]:
    """Return for each case where the time of its steps goes."""
    bars = {case: [_bars(case, group) for group in _groups(tables, case)] for case in found}
    return {
        case: _parts_chart(tables, case, f"c{place}-parts", [group for group in each if group])
        for place, (case, each) in enumerate(bars.items())
        if any(each)
    }


def ladder_chart(tables: Tables, rows: pd.DataFrame, key: str, on: str, styles: Styles) -> Chart:
    """Return how time and memory of a step grow along an axis; `rows` are the ladder's of that axis and a device.

    `on` is said of the device, with a comma before it, or empty.
    """
    axis, device = str(rows["axis"].iloc[0]), str(rows["device"].iloc[0])
    sentences = ladder_sentences(tables, device, axis) or ["Too few sizes for an exponent."]
    of_layers = layer_sentence(tables, device) if axis == "depth" else None
    said = " ".join([*([of_layers] if of_layers else []), *sentences])
    name = f"{axis_name(axis).capitalize()}{on}"
    svgs = [
        growth_chart(
            growths,
            quantity=quantity,
            axis=axis_name(axis),
            styles=styles,
            key=f"{key}-{quantity.split('_')[1]}",
            title=f"{name}: {QUANTITIES[quantity]}",
            description=said,
        )
        for quantity in QUANTITIES
        if (growths := _growths(tables, rows[rows["quantity"] == quantity]))
    ]
    present = set(rows["method"])
    return Chart(
        svgs,
        f"{name}{_fixed_text(rows, axis)}. {said} {measured_on(tables)}",
        _growth_table(tables, rows, f"{name}{_fixed_text(rows, axis)}"),
        {method: style for method, style in styles.items() if method in present},
        title=f"Cost against {axis_name(axis)}{on}",
        sources=[Source("ladder", {"axis": axis, "device": device})],
    )


def target_charts(tables: Tables, styles: Styles) -> list[Chart]:
    """Return each experiment's times to the target, all on the same axis."""
    found = {experiment: _arrivals(tables, experiment) for experiment in experiments(tables)}
    ends = [[*one.runs_s, one.low, one.high] for each in found.values() for one in each]
    known = [value for each in ends for value in each if math.isfinite(value) and value > 0]
    if not known:
        return []
    return [
        _target_chart(tables, experiment, f"t{place}", arrivals, (min(known), max(known)), styles)
        for place, (experiment, arrivals) in enumerate(found.items())
        if arrivals
    ]


def step_text(step: Row | None) -> str:
    """Return the time of a step, a row of `step_times`, with its interval."""
    if step is None:
        return ABSENT
    return seconds_interval_text(step["step_time_s"], step["step_time_low"], step["step_time_high"])


def row_ratio_text(row: Row | None) -> str:
    """Return the ratio of two steps, a row of `step_ratios`, with its interval."""
    return ratio_text(row["ratio"], row["low"], row["high"]) if row else ABSENT


def _groups(tables: Tables, case: Case) -> tuple[list[str], list[str]]:
    """Return the methods whose steps were timed: those of like times as what training takes, and the far longer."""
    times = {
        method: float(step["step_time_s"])
        for method in measured_methods(tables)
        if (step := case.step(method))
    }
    trained = [times[method] for method in methods(tables) if method in times] or [*times.values()]
    most = FAR * max(trained, default=math.inf)
    return (
        [method for method, seconds in times.items() if seconds <= most],
        [method for method, seconds in times.items() if seconds > most],
    )


def _ratios(case: Case, group: Sequence[str]) -> list[Ratio]:
    baseline, blocks = case.baseline, case.tables["blocks"]
    found = []
    for method in group:
        row = case.ratio(method, baseline)
        if row is None or baseline is None or method == baseline:
            continue
        own, other = round_values(blocks, method), round_values(blocks, baseline)
        verdict = ratio_verdict(row["verdict"])
        text = f"{printable(method, longest=26)}: {row_ratio_text(row)}, {verdict}"
        rounds = own / other if len(own) == len(other) else np.empty(0)
        found.append(
            Ratio(method, rounds, row["ratio"], row["low"], row["high"], row["floor"], verdict, text)
        )
    return found


def _ratio_chart(
    tables: Tables, case: Case, key: str, by_limit: Mapping[float, Sequence[Ratio]], styles: Styles
) -> Chart:
    baseline = case.baseline
    ratios = [one for group in by_limit.values() for one in group]
    title = f"Time of a step by that of {baseline}, {case.title}"
    svgs = [
        ratio_chart(
            group,
            styles=styles,
            limit=limit,
            key=f"{key}-{place}",
            title=title if place == 0 else f"{title}: far longer steps",
            description=f"A step's time as a multiple of {baseline}'s: {_ratios_text(group)}.",
        )
        for place, (limit, group) in enumerate(by_limit.items())
        if group
    ]
    rows = [
        [
            one.method,
            ratio_text(one.ratio, one.low, one.high),
            floor_text(one.floor),
            count_text(len(one.rounds)),
            one.verdict,
        ]
        for one in ratios
    ]
    columns = [
        METHOD,
        *numbers(f"× {baseline}", about=HEADINGS["× baseline, time"]),
        *numbers("Noise floor", "Rounds"),
        *words("Verdict", about=HEADINGS["Verdict on times"]),
    ]
    caption = f"{case.title}: a step's time as a multiple of {baseline}'s is {_ratios_text(ratios)}."
    return Chart(
        svgs,
        f"{caption} {measured_on(tables)}",
        Table(f"{title}. {measured_on(tables)}", columns, rows),
        title=title,
        sources=[Source("step_ratios", case.experiment.where | {"device": case.device})],
    )


def _ratios_text(ratios: Sequence[Ratio]) -> str:
    return joined(
        [f"{one.method} {ratio_text(one.ratio, one.low, one.high)} ({one.verdict})" for one in ratios]
    )


def _bars(case: Case, group: Sequence[str]) -> list[Bar]:
    blocks, found = case.tables["blocks"], []
    for method in group:
        if step := case.step(method):
            text = f"{printable(method, longest=34)}: {step_text(step)}"
            parts = parts_of(case, method)
            found.append(Bar(method, parts, round_values(blocks, method), step["step_time_s"], text))
    return found


def _parts_chart(tables: Tables, case: Case, key: str, groups: Sequence[Sequence[Bar]]) -> Chart:
    bars = [one for group in groups for one in group]
    title = f"Where the time of a step goes, {case.title}"
    svgs = [
        parts_chart(
            group,
            key=f"{key}-{place}",
            title=title if place == 0 else f"{title}: far longer steps",
            description=f"Time of a step: {_bars_text(group)}.",
        )
        for place, group in enumerate(groups)
    ]
    rows = [
        [
            one.method,
            seconds_text(one.step_time_s),
            *(_part_text(one, part) for part in PARTS),
            seconds_text(one.whole_s) if one.parts else ABSENT,
        ]
        for one in bars
    ]
    columns = [
        METHOD,
        *numbers("Whole step"),
        *numbers(*(PART_NAMES[part] for part in PARTS), about=HEADINGS["Part of a step"]),
        *numbers("All parts"),
    ]
    table = Table(f"{title}: medians, and shares of all parts together. {measured_on(tables)}", columns, rows)
    trained = [one for one in bars if one.method in methods(tables)]
    caption = (
        f"{case.title}, where the time of a step goes: {_bars_text(trained or bars)}. {measured_on(tables)}"
    )
    return Chart(
        svgs,
        caption,
        table,
        parts=[PART_NAMES[part] for part in PARTS],
        title=title,
        sources=[Source("step_times", case.experiment.where | {"device": case.device})],
    )


def _bars_text(bars: Sequence[Bar]) -> str:
    said = []
    for one in bars:
        parts = [
            f"{percent_text(seconds / one.whole_s)} {part_name(part, list(one.parts))}"
            for part, seconds in one.parts.items()
        ]
        within = f" ({', '.join(parts)})" if parts else ""
        said.append(f"{one.method} {seconds_text(one.step_time_s)}{within}")
    return "; ".join(said)


def _part_text(one: Bar, part: str) -> str:
    if part not in one.parts:
        return ABSENT
    return f"{seconds_text(one.parts[part])}, {percent_text(one.parts[part] / one.whole_s)}"


def _growths(tables: Tables, rows: pd.DataFrame) -> list[Growth]:
    exponents, found = tables["exponents"], []
    for method in measured_methods(tables):
        own = rows[rows["method"] == method]
        if own.empty:
            continue
        line = [exponents[name] == own[name].iloc[0] for name in ("axis", "device", "method", "quantity")]
        law = exponents["exponent"][np.logical_and.reduce(line)]
        sizes, values = (own[name].to_numpy(dtype=float) for name in ("size", "value"))
        found.append(Growth(method, sizes, values, math.nan if law.empty else float(law.iloc[0])))
    return found


def _fixed_text(rows: pd.DataFrame, axis: str) -> str:
    """Return the sizes that stay as they are along an axis, in brackets."""
    fixed = [
        f"{axis_name(name)} {rows[name].iloc[0]}"
        for name in ("depth", "width", "batch_size")
        if name != axis and rows[name].nunique() == 1
    ]
    return f" ({', '.join(fixed)})" if fixed else ""


def _growth_table(tables: Tables, rows: pd.DataFrame, name: str) -> Table:
    present = [method for method in measured_methods(tables) if (rows["method"] == method).any()]
    texts: dict[str, tuple[str, Callable[[float], str]]] = {
        "step_time_s": ("time", seconds_text),
        "peak_memory_bytes": ("memory", bytes_text),
    }
    columns = [*numbers("Size"), *of_methods(present, *(short for short, _ in texts.values()))]
    medians = rows.groupby(["size", "method", "quantity"])["value"].median().to_dict()
    cells = [
        [
            count_text(size),
            *(
                text(medians.get((size, method, quantity), math.nan))
                for method in present
                for quantity, (_, text) in texts.items()
            ),
        ]
        for size in sorted(set(rows["size"]))
    ]
    return Table(f"{name}: median time of a step, and its peak memory. {measured_on(tables)}", columns, cells)


def _arrivals(tables: Tables, experiment: Experiment) -> list[Arrival]:
    runs, summary = experiment.rows(tables["runs"]), experiment.rows(tables["summary"])
    cells = {cell["method"]: cell for cell in summary.to_dict("records")}
    found = []
    for method in methods(tables):
        cell = cells.get(method)
        if cell is None or math.isnan(cell["step_time_s"]):
            continue
        steps = runs["steps_to_target"][runs["method"] == method].dropna().to_numpy(dtype=float)
        median, low, high = (cell[f"time_to_target_{end}"] for end in ("s", "low", "high"))
        text = f"{printable(method, longest=24)}: {_arrival_text(cell)}"
        found.append(Arrival(method, steps[steps > 0] * cell["step_time_s"], median, low, high, text))
    return found


def _arrival_text(cell: Row) -> str:
    median = "median not reached" if math.isinf(cell["time_to_target_s"]) else target_time_text(cell)
    return f"{median}, reached {cell['reached']}/{cell['runs']}"


def _target_chart(
    tables: Tables,
    experiment: Experiment,
    key: str,
    arrivals: Sequence[Arrival],
    limits: tuple[float, float],
    styles: Styles,
) -> Chart:
    cells = {cell["method"]: cell for cell in experiment.rows(tables["summary"]).to_dict("records")}
    said = "; ".join(f"{one.method} {_arrival_text(cells[one.method])}" for one in arrivals)
    title = f"Time to the target, {experiment.title}"
    svg = target_chart(
        arrivals, styles=styles, limits=limits, key=key, title=title, description=f"Median times: {said}."
    )
    rows = [
        [
            one.method,
            f"{cells[one.method]['reached']}/{cells[one.method]['runs']}",
            count_text(cells[one.method]["steps_to_target_median"]),
            seconds_text(cells[one.method]["step_time_s"]),
            target_time_text(cells[one.method]),
        ]
        for one in arrivals
    ]
    columns = [METHOD, *numbers("Reached", "Median steps", "Time of a step", "Time to the target")]
    table = Table(f"{title}. {measured_on(tables)}", columns, rows)
    return Chart(
        [svg],
        f"{experiment.title}, median times: {said}. {measured_on(tables)}",
        table,
        title=title,
        sources=[Source("runs", experiment.where), Source("summary", experiment.where)],
    )

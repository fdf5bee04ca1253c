"""The tables of what a step costs go in; the section of the report that shows them comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fgbench.cost_charts import (
    QUANTITIES,
    ladder_chart,
    parts_charts,
    ratio_charts,
    row_ratio_text,
    step_text,
    target_charts,
)
from fgbench.cost_findings import (
    Case,
    absent_texts,
    axis_name,
    cases,
    counted_cases,
    device_text,
    exponent_text,
    measured_methods,
    measured_on,
    noise_text,
    ratio_verdict,
    step_sentences,
)
from fgbench.cost_tables import EAGER, FORWARD_PASS
from fgbench.findings import Experiment, Row, Tables
from fgbench.headings import HEADINGS
from fgbench.pieces import METHOD, Chart, Table, numbers, of_methods, words
from fgbench.svg import Style
from fgbench.wording import (
    ABSENT,
    bytes_text,
    count_text,
    counted,
    joined,
    number_text,
    percent_text,
    ratio_text,
)


@dataclass(frozen=True)
class Measured:
    """What a step costs in one experiment: its charts, and all of it as a table."""

    title: str
    charts: Sequence[Chart]
    table: Table


@dataclass(frozen=True)
class Ladder:
    """How a step's cost grows along each axis of a ladder of equal layers, on one device."""

    title: str
    charts: Sequence[Chart]
    exponents: Table


@dataclass(frozen=True)
class Cost:
    """All that the report shows of what a step costs; without a measurement, only what was counted."""

    is_measured: bool
    measured_on: str
    noise: str | None
    absent: Sequence[str]
    findings: Sequence[str]
    experiments: Sequence[Measured]
    engines: Table | None
    unmeasured: Table | None
    ladders: Sequence[Ladder]
    targets: Sequence[Chart]
    machines: Table | None
    floors: Table | None


def cost_section(tables: Tables, styles: Mapping[str, Style]) -> Cost:
    """Return what the report shows of costs; `styles` hold every method that was measured."""
    found = cases(tables)
    charts = (ratio_charts(tables, found, styles), parts_charts(tables, found))
    return Cost(
        is_measured=not tables["step_times"].empty,
        measured_on=measured_on(tables),
        noise=noise_text(tables),
        absent=absent_texts(tables),
        findings=[sentence for case in found for sentence in step_sentences(tables, case)],
        experiments=[
            Measured(case.title, [each[case] for each in charts if case in each], case_table(tables, case))
            for case in found or counted_cases(tables)
        ],
        engines=engines_table(tables, found),
        unmeasured=_unmeasured_table(tables),
        ladders=_ladders(tables, styles),
        targets=target_charts(tables, styles),
        machines=_machines_table(tables),
        floors=_floors_table(tables, found),
    )


def case_table(tables: Tables, case: Case) -> Table:
    baseline = case.baseline
    columns = [
        METHOD,
        *numbers("Time of a step", "× forward pass"),
        *numbers(f"× {baseline or 'baseline'}", about=HEADINGS["× baseline, time"]),
        *words("Verdict", about=HEADINGS["Verdict on times"]),
        *numbers("Operations", "× forward pass, operations", "Peak memory", "Reached the target"),
    ]
    known = {
        method
        for name in ("operations", "step_times", "step_memory")
        for method in case.tables[name]["method"]
    }
    rows = [_case_row(case, method) for method in measured_methods(tables) if method in known]
    return Table(
        f"What a step costs, {case.title}: medians [95 % interval]. Operations are counted, those of matrix "
        "products and convolutions alone. Peak memory is the growth of resident memory (on a GPU, of the "
        f"allocator's) above the loaded model. {measured_on(tables)}",
        columns,
        rows,
    )


def _case_row(case: Case, method: str) -> list[str]:
    baseline = case.baseline
    compared = None if method == baseline else case.ratio(method, baseline)
    passes = case.ratio(method, FORWARD_PASS)
    operations, memory = (_row_of(case.tables[name], method) for name in ("operations", "step_memory"))
    if operations and pd.isna(operations["operations"]):  # of an estimator that does not apply to the model
        operations = None
    trained = _row_of(case.tables["summary"], method)
    return [
        method,
        step_text(case.step(method)),
        "1×" if method == FORWARD_PASS else row_ratio_text(passes),
        "1×" if method == baseline else row_ratio_text(compared),
        "baseline" if method == baseline else ratio_verdict(compared["verdict"]) if compared else ABSENT,
        count_text(operations["operations"]) if operations else ABSENT,
        ratio_text(operations["forward_passes"]) if operations else ABSENT,
        bytes_text(memory["peak_memory_bytes"]) if memory else ABSENT,
        f"{trained['reached']}/{trained['runs']}" if trained else "not trained",
    ]


def engines_table(tables: Tables, found: Sequence[Case]) -> Table | None:
    rows = [row for case in found for row in _engine_rows(tables, case)]
    if not rows:
        return None
    columns = [
        *words("Experiment"),
        METHOD,
        *words("Engine"),
        *numbers("Time of a step", "× the same method, eager"),
        *words("Verdict", about=HEADINGS["Verdict on times"]),
        *numbers("× baseline, same engine"),
        *words("Verdict", about=HEADINGS["Verdict on times"]),
    ]
    return Table(
        "Ways to compute the same step. Eager is what training runs: torch.autograd.grad for backprop, dual tensors "
        "for one tangent, torch.func.jvp under vmap for several. Medians [95 % interval]; a method is compared with "
        f"the baseline that runs on the same engine. {measured_on(tables)}",
        columns,
        rows,
    )


def _engine_rows(tables: Tables, case: Case) -> list[list[str]]:
    """Return a row for each engine of each method that runs on more than one."""
    times, baseline = case.tables["step_times"], case.baseline
    rows = []
    for method in measured_methods(tables):
        timed = set(times["engine"][(times["method"] == method) & (times["part"] == "step")])
        engines = sorted(timed, key=lambda engine: (engine != EAGER, "compiled" in engine, engine))
        for engine in engines if len(engines) > 1 else []:
            by_eager = case.engine_ratio(method, engine)
            by_baseline = None if method == baseline else case.ratio(method, baseline, engine)
            time = step_text(case.step(method, engine=engine))
            rows.append(
                [case.title, method, engine, time, *_with_verdict(by_eager), *_with_verdict(by_baseline)]
            )
    return rows


def _with_verdict(row: Row | None) -> tuple[str, str]:
    return (row_ratio_text(row), ratio_verdict(row["verdict"])) if row else (ABSENT, ABSENT)


def _unmeasured_table(tables: Tables) -> Table | None:
    """Return what was skipped, each reason once with all the steps and places that it holds for."""
    rows = tables["unmeasured"]
    skipped = rows[rows["method"] != ""].to_dict("records")
    places: dict[tuple[str, ...], list[str]] = {}
    for row in skipped:
        key = (row["method"], *(row[name] for name in ("engine", "quantity", "reason")))
        places.setdefault(key, []).append(_where_text(row))
    together: dict[tuple[str, ...], list[str]] = {}
    for (method, *about), where in places.items():
        together.setdefault((*about, joined(list(dict.fromkeys(where)))), []).append(method)
    cells = [
        [
            f"{joined(methods)}{f', {engine}' if engine else ''}: {QUANTITIES.get(quantity, quantity)}",
            where,
            reason,
        ]
        for (engine, quantity, reason, where), methods in sorted(together.items())
    ]
    columns = [
        *words("Step", about=HEADINGS["Step not measured"]),
        *words("Where", about=HEADINGS["Where not measured"]),
        *words("Reason"),
    ]
    return Table("What was not measured, and why.", columns, cells) if cells else None


def _where_text(row: Row) -> str:
    experiment = Experiment(row["dataset"], row["data"], row["model"])
    place = f"ladder, {row['at']}" if row["at"] else experiment.title
    return place if row["device"] == "cpu" else f"{place}, {device_text(row['device'])}"


def _ladders(tables: Tables, styles: Mapping[str, Style]) -> list[Ladder]:
    """Return the ladder of each device; a size that is not above zero has no place on a logarithmic axis."""
    ladder = tables["ladder"]
    devices = sorted(set(ladder["device"]))
    ladders = []
    for place, device in enumerate(devices):
        rows = ladder[(ladder["device"] == device) & (ladder["value"] > 0)]
        on = f", {device_text(device)}" if len(devices) > 1 or device != "cpu" else ""
        by_axis = {axis: of_axis for axis in _AXES if len(of_axis := rows[rows["axis"] == axis])}
        charts = [
            ladder_chart(tables, of_axis, f"l{place}-{axis.replace('_', '-')}", on, styles)
            for axis, of_axis in by_axis.items()
        ]
        ladders.append(Ladder(f"Ladder of equal layers{on}", charts, _exponents_table(tables, device, on)))
    return ladders


def _exponents_table(tables: Tables, device: str, on: str) -> Table:
    rows = tables["exponents"]
    rows = rows[rows["device"] == device]
    present = [method for method in measured_methods(tables) if (rows["method"] == method).any()]
    found = {(row["axis"], row["quantity"], row["method"]): row for row in rows.to_dict("records")}
    cells = [
        [
            f"{name.capitalize()} against {axis_name(axis)}",
            *(
                exponent_text(found[key]) if (key := (axis, quantity, method)) in found else ABSENT
                for method in present
            ),
        ]
        for axis in _AXES
        for quantity, name in QUANTITIES.items()
        if any((axis, quantity, method) in found for method in present)
    ]
    return Table(
        f"Exponents of growth{on}: slope of the logarithm of the median against that of the size [95 % t-interval]. "
        f"1 is proportional, 0 is flat. {measured_on(tables)}",
        [*words("Growth"), *of_methods(present)],
        cells,
    )


def _machines_table(tables: Tables) -> Table | None:
    measurements = tables["measurements"]
    if measurements.empty:
        return None
    columns = [
        *words("Measured", "Machine"),
        *numbers(
            "Load before",
            "Lasted",
            "Cores busy otherwise",
            "Steal",
            "Involuntary switches a second",
            "Off the processor",
            "Noisy",
        ),
    ]
    rows = [
        [
            row["workload"],
            _machine_text(row),
            number_text(row["load_average"], decimals=1),
            f"{number_text(row['wall_s'], decimals=1)} s",
            number_text(row["others_cores"], decimals=2),
            percent_text(row["steal_fraction"]),
            number_text(row["switches_per_s"], decimals=1),
            percent_text(row["off_cpu_fraction"]),
            "yes" if row["noisy"] else "no",
        ]
        for row in measurements.to_dict("records")
    ]
    return Table("The machine while times were measured.", columns, rows)


def _machine_text(row: Row) -> str:
    cpu, instructions = (
        row["cpu"] or "an unnamed processor",
        row["instruction_set"] or "instruction set unknown",
    )
    threads = counted(int(row["threads"]), "thread")
    return f"{device_text(row['device'])}; {cpu}, {instructions}, {threads}, torch {row['torch']}"


def _floors_table(tables: Tables, found: Sequence[Case]) -> Table | None:
    order = measured_methods(tables)
    rows = []
    for case in found:
        ratios = case.tables["step_ratios"]
        itself = ratios[
            (ratios["against"] == ratios["method"]) & (ratios["against_engine"] == ratios["engine"])
        ]
        rows += [
            [
                case.title,
                row["method"],
                row["engine"],
                row_ratio_text(row),
                count_text(row["rounds"]),
                ratio_verdict(row["verdict"]),
            ]
            for row in sorted(itself.to_dict("records"), key=lambda row: order.index(row["method"]))
        ]
    if not rows:
        return None
    unresolved = [row for row in rows if row[-1] == ratio_verdict("not resolved")]
    return Table(
        "Each step against a second copy of itself, timed in the same rounds: a difference between two steps is "
        f"claimed only beyond the ends of both their intervals here. {len(unresolved)} of {len(rows)} copies are not "
        f"resolved from their originals. {measured_on(tables)}",
        [
            *words("Experiment"),
            METHOD,
            *words("Engine"),
            *numbers("Copy by original", "Rounds"),
            *words("Verdict", about=HEADINGS["Verdict on copies"]),
        ],
        rows,
    )


def _row_of(rows: pd.DataFrame, method: str) -> Row | None:
    own = rows[rows["method"] == method]
    return None if own.empty else own.iloc[0].to_dict()


_AXES = ("depth", "width", "batch_size", "num_tangents")

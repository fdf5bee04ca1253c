"""The tables of what a step costs go in; the sentences about it come out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fgbench.cost_tables import EAGER, FORWARD_PASS, STEP
from fgbench.findings import Experiment, Row, Tables, experiments, methods
from fgbench.statistics import Floats
from fgbench.tidy import EXPERIMENT
from fgbench.wording import (
    bytes_text,
    capital,
    counted,
    floor_text,
    joined,
    number_text,
    p_text,
    percent_text,
    ratio_text,
    seconds_text,
)


@dataclass(frozen=True)
class Case:
    """An experiment whose steps were measured on a device; `title` names the device where there are several.

    `tables` are the case's rows alone, all of the experiment's where a table knows no device.
    """

    experiment: Experiment
    device: str
    title: str
    tables: Tables = field(compare=False, repr=False)

    def step(self, method: str, part: str = STEP, engine: str = EAGER) -> Row | None:
        """Return the row of `step_times` of a method's step, or of a part of it, if it was timed."""
        return self._steps.get((method, part, engine))

    def ratio(self, method: str, against: str | None, engine: str = EAGER) -> Row | None:
        """Return the row of `step_ratios` of a method's step against another's, if both were timed.

        Both ran on the same engine, but for a bare forward pass, which is eager.
        """
        with_engine = EAGER if against == FORWARD_PASS else engine
        return self._ratios.get((method, engine, against, with_engine))

    def engine_ratio(self, method: str, engine: str) -> Row | None:
        """Return the row of `step_ratios` of a method's step on an engine against the same step, eager."""
        return None if engine == EAGER else self._ratios.get((method, engine, method, EAGER))

    @cached_property
    def baseline(self) -> str | None:
        """The method that the others' steps are compared with, if there is one."""
        others = [against for method, _, against, _ in self._ratios if against not in (method, FORWARD_PASS)]
        return others[0] if others else None

    @cached_property
    def _steps(self) -> dict[tuple[str, ...], Row]:
        return _indexed(self.tables["step_times"], ("method", "part", "engine"))

    @cached_property
    def _ratios(self) -> dict[tuple[str | None, ...], Row]:
        return _indexed(self.tables["step_ratios"], ("method", "engine", "against", "against_engine"))


def cases(tables: Tables) -> list[Case]:
    """Return what was measured: each experiment, in the report's order if one was trained, on each device."""
    devices = sorted({*tables["step_times"]["device"], *tables["step_memory"]["device"]})
    measured = tables["step_times"][list(EXPERIMENT)].itertuples(index=False, name=None)
    return [
        Case(experiment, device, _on_device(experiment.title, device, devices), own)
        for experiment in dict.fromkeys([*experiments(tables), *(Experiment(*key) for key in measured)])
        for device in devices
        if not (own := _own(tables, experiment, device))["step_times"].empty or not own["step_memory"].empty
    ]


def counted_cases(tables: Tables) -> list[Case]:
    """Return the experiments whose steps' operations were counted, for a study that measured none."""
    every = [Case(one, "cpu", one.title, _own(tables, one, "cpu")) for one in experiments(tables)]
    return [case for case in every if not case.tables["operations"].empty]


def measured_methods(tables: Tables) -> list[str]:
    """Return every method whose cost is known: the study's own first, then the others, a bare forward pass last.

    >>> numbers_last = ["forward_gradient_16", "forward_gradient_4"]
    >>> sorted(numbers_last, key=natural)
    ['forward_gradient_4', 'forward_gradient_16']
    """
    known = {*tables["operations"]["method"], *tables["step_times"]["method"], *tables["ladder"]["method"]}
    known |= {*tables["step_memory"]["method"]}
    own = methods(tables)
    others = sorted(known - {*own, FORWARD_PASS}, key=natural)
    return [*own, *others, *([FORWARD_PASS] if FORWARD_PASS in known else [])]


def natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them."""
    return [(int(part) if place % 2 else 0, part) for place, part in enumerate(re.split(r"(\d+)", name))]


def step_sentences(tables: Tables, case: Case) -> list[str]:
    """Return a sentence for each method that the study trains: what its step costs, and what of it goes where.

    Without a trained one, a sentence for each that was measured, a bare forward pass apart.
    """
    measured = [method for method in measured_methods(tables) if method != FORWARD_PASS]
    own = [method for method in methods(tables) or measured if case.step(method)]
    told = [method for method in own if method != case.baseline] or own
    return [_step_sentence(case, method) for method in told]


def parts_of(case: Case, method: str) -> dict[str, float]:
    """Return what goes where in a method's step, in seconds: the parts of its estimate apart from each other.

    They were timed apart from the whole step, and need not add up to it.
    """
    found = {
        part: float(row["step_time_s"])
        for part in ("draw", "estimate", "product", "update")
        if (row := case.step(method, part))
    }
    if "product" in found and "estimate" in found:
        found["estimate"] = max(found["estimate"] - found["product"], 0.0)
    return found


def part_name(part: str, parts: Sequence[str]) -> str:
    """Return what a part of a step is called, which hangs on the parts beside it.

    >>> part_name("estimate", ["estimate", "update"])
    'the gradient'
    """
    if part == "estimate":
        forward = "the directional derivative" if "product" in parts else "the estimate"
        return forward if "draw" in parts else "the gradient"
    return {"draw": "drawing tangents", "product": "its product with the tangent", "update": "the update"}[
        part
    ]


def round_values(blocks: pd.DataFrame, method: str) -> Floats:
    """Return the seconds of a method's whole step, a value a round; `blocks` are one experiment's on one device."""
    own = blocks[
        (blocks["method"] == method)
        & (blocks["engine"] == EAGER)
        & (blocks["part"] == STEP)
        & ~blocks["twin"]
    ]
    return own.groupby("round", sort=True)["step_time_s"].mean().to_numpy(dtype=float)


def measured_on(tables: Tables) -> str:
    """Return on what times were measured, in one sentence that goes beside every number of seconds."""
    machines = zip(*(tables["measurements"][name] for name in ("cpu", "threads", "torch")), strict=True)
    named = [
        f"{cpu or 'an unnamed processor'}, {counted(int(threads), 'thread')}, torch {torch}"
        for cpu, threads, torch in dict.fromkeys(machines)
    ]
    if not named:
        return "No step was measured."
    return f"Times: {joined(named)}; never part of the regeneration check."


def noise_text(tables: Tables) -> str | None:
    """Return what disturbed the measurements, at worst, or None where nothing did."""
    every = tables["measurements"]
    noisy = every[every["noisy"]]
    if noisy.empty:
        return None
    worst = {column: float(noisy[column].max()) for column in _CONDITIONS}
    seen = [
        _CONDITIONS[column].format(
            percent_text(value) if column in _FRACTIONS else number_text(value, decimals=int(value < 10))
        )
        for column, value in worst.items()
        if math.isfinite(value)
    ]
    where = joined([_measured_text(row) for row in noisy.to_dict("records")])
    return (
        f"In {len(noisy)} of {counted(len(every), 'measurement')} ({where}) the machine was not left alone; at "
        f"worst, {joined(seen)}. Noise widens the intervals and raises the noise floor: what is small is then not "
        "resolved."
    )


def absent_texts(tables: Tables) -> list[str]:
    """Return for each device that could not be measured at all a sentence that says so."""
    rows = tables["unmeasured"]
    devices = rows[rows["method"] == ""].drop_duplicates(["device", "reason"])
    return [
        f"{capital(row['reason'])}: nothing was measured on {device_text(row['device'])}."
        for row in devices.to_dict("records")
    ]


def device_text(device: str) -> str:
    """Return what a device is called.

    >>> device_text("cpu"), device_text("cuda")
    ('CPU', 'CUDA')
    """
    return device.upper() if device in {"cpu", "cuda"} else device


def ratio_verdict(verdict: str) -> str:
    """Return a verdict on a ratio of times in words."""
    return {"better": "faster", "worse": "slower"}.get(verdict, verdict)


def exponent_text(row: Row) -> str:
    """Return how a quantity grows with a size: the exponent of its power law, with the interval if there is one."""
    exponent = number_text(row["exponent"], decimals=2)
    if not math.isfinite(row["low"]):
        return exponent
    return f"{exponent} [{number_text(row['low'], decimals=2)}, {number_text(row['high'], decimals=2)}]"


def ladder_sentences(tables: Tables, device: str, axis: str) -> list[str]:
    """Return how the time and the memory of a step grow along an axis of the ladder, for each of its methods."""
    rows = tables["exponents"]
    rows = rows[(rows["device"] == device) & (rows["axis"] == axis)]
    order = measured_methods(tables)
    sentences = []
    for quantity, name in (("step_time_s", "time"), ("peak_memory_bytes", "peak memory")):
        own = rows[(rows["quantity"] == quantity) & rows["exponent"].notna()].to_dict("records")
        grows = [
            f"{exponent_text(row)} with {row['method']}{_flat_text(row)}"
            for row in sorted(own, key=lambda row: order.index(row["method"]))
        ]
        if grows:
            sentences.append(
                f"The {name} of a step grows as the {axis_name(axis)} to the power of {joined(grows)}."
            )
    return sentences


def layer_sentence(tables: Tables, device: str) -> str | None:
    """Return what one more layer adds to a step's peak memory, and what of it a forward gradient's own vectors are.

    A layer of width w has w² + w parameters; K tangents and the estimate are K + 1 float32 numbers for each.
    """
    ladder = tables["ladder"]
    rows = ladder[(ladder["device"] == device) & (ladder["axis"] == "depth")]
    rows = rows[rows["quantity"] == "peak_memory_bytes"]
    if rows["size"].nunique() < 2:
        return None
    grows = []
    for method in (one for one in measured_methods(tables) if (rows["method"] == one).any()):
        own = rows[rows["method"] == method]
        slope = max(float(np.polyfit(own["size"], own["value"], 1)[0]), 0.0)
        num_tangents, width = own["num_tangents"].iloc[0], int(own["width"].iloc[0])
        vectors = 0 if pd.isna(num_tangents) else 4 * (int(num_tangents) + 1) * (width**2 + width)
        of_it = f" (its tangents and estimate alone are {bytes_text(vectors)})" if vectors else ""
        grows.append(f"{bytes_text(slope)} with {method}{of_it}")
    return f"One more layer adds about {joined(grows)}."


def axis_name(axis: str) -> str:
    """Return what an axis of the ladder is called.

    >>> axis_name("batch_size"), axis_name("num_tangents")
    ('batch size', 'number of tangents')
    """
    return axis.replace("num_", "number of ").replace("_", " ")


def _flat_text(row: Row) -> str:
    is_flat = row["low"] <= 0 <= row["high"] if math.isfinite(row["low"]) else row["exponent"] <= 0
    return " (no growth resolved)" if is_flat else ""


def _own(tables: Tables, experiment: Experiment, device: str) -> Tables:
    own = {name: experiment.rows(tables[name]) for name in _OF_A_CASE}
    return {name: rows[rows["device"] == device] if "device" in rows else rows for name, rows in own.items()}


def _indexed(rows: pd.DataFrame, names: Sequence[str]) -> dict[Any, Row]:
    return {tuple(row[name] for name in names): row for row in rows.to_dict("records")}


def _on_device(title: str, device: str, devices: Sequence[str]) -> str:
    return f"{title}, {device_text(device)}" if len(devices) > 1 or device != "cpu" else title


def _measured_text(row: Row) -> str:
    return (
        str(row["workload"])
        if row["device"] == "cpu"
        else f"{row['workload']} on {device_text(row['device'])}"
    )


def _step_sentence(case: Case, method: str) -> str:
    passes = case.ratio(method, FORWARD_PASS)
    bare = (
        f"{ratio_text(passes['ratio'], passes['low'], passes['high'])} a bare forward pass" if passes else ""
    )
    step, compared = case.step(method), case.ratio(method, case.baseline) if method != case.baseline else None
    if compared is None:
        text = f"a step of {method} takes {bare or seconds_text(step['step_time_s'] if step else math.nan)}"
    elif compared["verdict"] == "not resolved":
        text = f"{_unresolved(method, compared)}{f'; it takes {bare}' if bare else ''}"
    else:
        times = ratio_text(compared["ratio"], compared["low"], compared["high"])
        text = f"a step of {method} takes {times} a step of {compared['against']}{f' and {bare}' if bare else ''}"
    return f"{case.title}: {text}{_shares_text(case, method)}."


def _unresolved(method: str, row: Row) -> str:
    text = (
        f"the ratio of a step of {method} to a step of {row['against']} is not resolved: "
        f"{ratio_text(row['ratio'], row['low'], row['high'])}"
    )
    rounds = counted(int(row["rounds"]), "round")
    if not math.isfinite(row["low"]):
        return f"{text} in {rounds}, without an interval"
    if not math.isfinite(row["floor"]):
        return f"{text}, and how far the same step differs from itself is not known"
    if row["high"] < 1 / row["floor"] or row["low"] > row["floor"]:
        return f"{text}, but {p_text(row['p_value'])} over {rounds}"
    return f"{text}, and the same step against itself differs by up to {floor_text(row['floor'])}"


def _shares_text(case: Case, method: str) -> str:
    parts = parts_of(case, method)
    if len(parts) < 2:
        return ""
    whole = sum(parts.values())
    first, *others = [
        (percent_text(seconds / whole), part_name(part, list(parts))) for part, seconds in parts.items()
    ]
    said = [
        f"{first[0]} of its parts' time goes into {first[1]}",
        *(f"{share} into {name}" for share, name in others),
    ]
    return f"; {joined(said)}"


_OF_A_CASE = ("blocks", "step_times", "step_ratios", "step_memory", "operations", "summary")

_CONDITIONS = {
    "others_cores": "other processes kept {} cores busy",
    "steal_fraction": "the host took {} of the time (steal)",
    "switches_per_s": "the measuring process was made to wait {} times a second (involuntary switches)",
    "off_cpu_fraction": "it was off the processor for {} of the time",
}
"""What a column of `measurements` says of the machine."""

_FRACTIONS = frozenset({"steal_fraction", "off_cpu_fraction"})

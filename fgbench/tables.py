"""Records of runs and of what a step costs go in; tidy tables, each column described, come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.axes import AXES, relative_to_baseline
from fgbench.cost_tables import COST_COLUMNS, cost_tables, step_rounds, step_time_ratios
from fgbench.errors import ResultError
from fgbench.judgements import JUDGEMENT_COLUMNS
from fgbench.law_tables import LAW_COLUMNS, law_tables
from fgbench.probe_tables import PROBE_COLUMNS, probe_tables
from fgbench.statistics import (
    Floats,
    PairedDifference,
    ends,
    iqm,
    iqm_interval,
    is_heavy_tailed,
    mean_interval,
    paired_difference,
    paired_ratio,
    paired_time_to_target,
    time_to_target_interval,
)
from fgbench.tidy import CELL, EXACT_ESTIMATOR, EXPERIMENT, KEY, key_of, parsed, rows_of, tidy, worst
from fgbench.tuning_tables import TUNING_COLUMNS, tuning_tables
from fgbench.types import Json

__all__ = [
    "COLUMNS",
    "EXACT_ESTIMATOR",
    "EXPERIMENT",
    "KEY",
    "LONG_TABLES",
    "METRICS",
    "paired_methods",
    "study_tables",
    "table_from_csv",
]

METRICS = (
    "train_loss",
    "validation_loss",
    "test_loss",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
)
LONG_TABLES = frozenset({"curves", "confusion", "misclassified", "blocks", "ladder", "trials", "probes"})
"""Tables written as Parquet too."""


def study_tables(
    run_records: Sequence[Json],
    *,
    operations: Json | None = None,
    cost: Json | None = None,
    scaling: Json | None = None,
    tuning: Sequence[Json] = (),
    laws: Sequence[Json] = (),
    probes: Sequence[Json] = (),
) -> dict[str, pd.DataFrame]:
    """Return every table of a study by name; `COLUMNS` describes their columns.

    `run_records` hold a cell's chunk of seeds each; the others are the records of what a step costs, without which
    their tables are empty. The order of records does not matter. Raises ResultError where two records of a cell
    disagree in its settings or share a seed.
    """
    cells = _cells(run_records)
    trained = cells[cells["skipped"] == ""]
    runs = _runs(run_records)
    costs = cost_tables(operations, cost, scaling, trained=set(cells["method"]))
    summary = _summary(trained, runs, costs["operations"], cost)
    return {
        "cells": cells,
        "runs": runs,
        "curves": _curves(run_records, summary),
        "summary": summary,
        "comparisons": _comparisons(trained, runs, summary, cost),
        "pooled": _pooled(trained, runs, summary),
        "confusion": _confusion(run_records),
        "misclassified": _misclassified(run_records, runs),
        **costs,
        **tuning_tables(tuning),
        **law_tables(laws),
        **probe_tables(probes),
    }


def paired_methods(runs: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Return the methods that are compared example by example, and the seeds at which none of them diverged.

    `runs` are one experiment's rows of that table. A method that diverged at more than half of the seeds is left
    out: it would leave too few of them to the others.
    """
    finished = runs[runs["status"] != "diverged"].groupby("method")["seed"].agg(set)
    num_seeds = runs["seed"].nunique()
    kept = {str(method): seeds for method, seeds in finished.items() if 2 * len(seeds) >= num_seeds}
    return list(kept), sorted(set.intersection(*kept.values())) if kept else []


def table_from_csv(name: str, source: Path | TextIO) -> pd.DataFrame:
    """Return one of `study_tables`, by its name, as its CSV file holds it: every value and type as written.

    Raises ResultError where the file lacks a column, or holds what its column cannot.
    """
    try:
        text = pd.read_csv(source, dtype="str", keep_default_na=False)
        return parsed(text, COLUMNS[name])
    except (OSError, KeyError, ValueError) as error:
        raise ResultError(
            f"table {name}: cannot be read ({error}). Delete it and run the study again."
        ) from error


def _cells(records: Sequence[Json]) -> pd.DataFrame:
    rows: dict[tuple[str, ...], Json] = {}
    for record in records:
        key = tuple(record[name] for name in KEY)
        row = _flat(record["settings"]) | key_of(record) | {"num_parameters": record["num_parameters"]}
        row["skipped"] = record.get("skipped")
        if rows.setdefault(key, row) != row:
            raise ResultError(
                f"{' / '.join(key)}: its run records were made with different settings. "
                "Delete the cell's records and run the study again."
            )
    return _table("cells", rows.values(), sort=KEY)


def _flat(settings: Json) -> Json:
    """Return a cell's settings a column each; a choice is its name and, in one text, its options."""
    row = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    for choice in ("model", "estimator", "optimizer", "schedule"):
        options = dict(settings[choice])
        row[choice] = options.pop("name")
        row[f"{choice}_options"] = ", ".join(f"{name}={options[name]}" for name in sorted(options))
    return row


def _runs(records: Sequence[Json]) -> pd.DataFrame:
    rows = []
    for record, run in _each_run(records):
        facts = {
            name: run[name] for name in ("seed", "status", "steps", "steps_to_target", "diverged_at_step")
        }
        rows.append(key_of(record) | facts | {metric: run["curve"][metric][-1] for metric in METRICS})
    table = _table("runs", rows, sort=(*KEY, "seed"))
    twice = table[table.duplicated([*KEY, "seed"])]
    if len(twice):
        first = twice.iloc[0]
        raise ResultError(
            f"{' / '.join(first[list(KEY)])}: seed {first['seed']} stands in two run records. "
            "Delete the cell's records and run the study again."
        )
    return table


def _curves(records: Sequence[Json], summary: pd.DataFrame) -> pd.DataFrame:
    parts = [
        pd.DataFrame({name: run["curve"][name] for name in ("step", *METRICS)}).assign(
            **key_of(record), seed=run["seed"]
        )
        for record, run in _each_run(records)
    ]
    if not parts:
        return _table("curves", [])
    of_step = [axis.per_step for axis in AXES if axis.per_step]
    table = pd.concat(parts).merge(summary[[*KEY, *of_step]], on=list(KEY))
    for axis in AXES:
        if axis.per_step:
            table[axis.name] = table["step"] * table[axis.per_step]
    return _table("curves", table, sort=(*KEY, "seed", "step"))


def _summary(
    cells: pd.DataFrame, runs: pd.DataFrame, operations: pd.DataFrame, cost: Json | None
) -> pd.DataFrame:
    rows = []
    for cell in cells.to_dict("records"):
        of_cell = rows_of(runs, cell)
        survived = of_cell[of_cell["status"] != "diverged"]
        steps = of_cell["steps_to_target"].to_numpy(
            dtype=float, na_value=math.inf
        )  # a miss is infinitely late
        counts = rows_of(operations, cell)
        row = {name: cell[name] for name in (*KEY, "num_parameters")} | {
            "runs": len(of_cell),
            "reached": int((of_cell["status"] == "reached").sum()),
            "not_reached": int((of_cell["status"] == "not_reached").sum()),
            "diverged": int((of_cell["status"] == "diverged").sum()),
            "steps_to_target_median": np.median(steps) if steps.size else math.nan,
            **{name: next(iter(counts[name]), None) for name in ("passes", "operations")},
        }
        row |= _time_to_target(steps, step_rounds(cost, cell))
        for metric in METRICS:
            values = survived[metric].to_numpy(dtype=float)
            row[f"{metric}_mean"] = values.mean() if len(values) else math.nan
            row[f"{metric}_low"], row[f"{metric}_high"] = ends(mean_interval(values))
        rows.append(row | _robust(of_cell))
    return _table("summary", rows, sort=KEY)


def _robust(runs: pd.DataFrame) -> Json:
    """Return what is told of a cell's final values over all its runs, one that diverged as the worst there is."""
    diverged = (runs["status"] == "diverged").to_numpy()
    row: Json = {}
    for metric in _ROBUST:
        values = np.where(diverged, worst(metric), runs[metric].to_numpy(dtype=float))
        low, high = ends(iqm_interval(values))
        row |= {f"{metric}_iqm": iqm(values), f"{metric}_iqm_low": low, f"{metric}_iqm_high": high}
        if metric == "test_loss":
            row["heavy_tailed"] = is_heavy_tailed(values)
    return row


def _time_to_target(steps: Floats, step_times: Floats) -> Json:
    """Return a cell's step time and time to target, of its steps to target [seeds] and step times [rounds]."""
    step_time_s = float(np.median(step_times)) if step_times.size else math.nan
    low, high = ends(time_to_target_interval(steps, step_times))
    return {
        "step_time_s": step_time_s,
        "time_to_target_s": np.median(steps) * step_time_s if steps.size else math.nan,
        "time_to_target_low": low,
        "time_to_target_high": high,
    }


def _comparisons(
    cells: pd.DataFrame, runs: pd.DataFrame, summary: pd.DataFrame, cost: Json | None
) -> pd.DataFrame:
    rows = []
    for _, experiment in cells.groupby(list(EXPERIMENT), sort=False):
        baseline = _baseline(experiment)
        if baseline is None:
            continue
        for cell in experiment.to_dict("records"):
            if cell["method"] != baseline["method"]:
                rows += _compared(cell, baseline, runs, summary, cost)
    return _table("comparisons", rows, sort=(*KEY, "metric"))


def _baseline(experiment: pd.DataFrame) -> dict[str, Any] | None:
    exact = experiment[experiment["estimator"] == EXACT_ESTIMATOR].to_dict("records")
    return exact[0] if exact else None  # type: ignore[return-value]


def _compared(
    cell: Mapping[Any, Any],
    baseline: Mapping[Any, Any],
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    cost: Json | None,
) -> list[Json]:
    num_seeds = len({*rows_of(runs, cell)["seed"], *rows_of(runs, baseline)["seed"]})
    survived = runs[runs["status"] != "diverged"]
    pairs = rows_of(survived, cell).merge(rows_of(survived, baseline), on="seed", suffixes=("", "_baseline"))
    factors = _fixed_ratios(rows_of(summary, cell), rows_of(summary, baseline))
    rows = []
    for metric, (scale, _) in _COMPARED.items():
        difference = _difference(metric, pairs, factors, step_time_ratios(cost, cell, baseline))
        unpaired = num_seeds - difference.num_pairs
        rows.append(
            {name: cell[name] for name in KEY}
            | {"baseline": baseline["method"], "metric": metric, "scale": scale, "unpaired": unpaired}
            | _claimed(difference, scale, complete=not unpaired)
        )
    return rows


def _fixed_ratios(cell: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, float]:
    """Return, by metric, how many times the baseline's step a method's spends, for what is counted and not timed.

    Both are a row of `summary`; NaN where either was not counted.
    """
    here, there = (rows.iloc[0].to_dict() for rows in (cell, baseline))
    spent = {axis.metric: (axis.of_step(here), axis.of_step(there)) for axis in AXES if axis.name != "time_s"}
    return {metric: one / other if other > 0 else math.nan for metric, (one, other) in spent.items()}


def _difference(
    metric: str, pairs: pd.DataFrame, factors: Mapping[str, float], step_times: Floats
) -> PairedDifference:
    """Return how far a method is from its baseline, of pairs of runs.

    `factors` hold what their steps spend, one by the other, by metric; `step_times` [rounds] their times.
    """
    scale, higher_is_better = _COMPARED[metric]
    column = "steps_to_target" if scale == "ratio" else metric
    both = pairs[[column, f"{column}_baseline"]].astype("float64").to_numpy()
    both = both[(np.isfinite(both) & ((both > 0) | (scale == "difference"))).all(axis=1)]
    if metric == "time_to_target_s":
        return paired_time_to_target(np.log(both[:, 0] / both[:, 1]), step_times)
    if scale == "ratio":
        known = both if factors[metric] > 0 else both[:0]
        return paired_ratio(*known.T, factor=factors[metric])
    return paired_difference(*both.T, higher_is_better=higher_is_better)


def _claimed(difference: PairedDifference, scale: str, *, complete: bool) -> Json:
    """Return a comparison's numbers; nothing is claimed unless complete: else only the lucky are left."""
    back: Callable[[float], float] = math.exp if scale == "ratio" else float
    interval = difference.interval
    return {
        "pairs": difference.num_pairs,
        "mean": back(difference.mean),
        "low": back(interval.low) if interval else math.nan,
        "high": back(interval.high) if interval else math.nan,
        "p_value": difference.p_value,
        "verdict": difference.verdict if complete else "not resolved",
    }


def _pooled(cells: pd.DataFrame, runs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return what all runs of a method spent to the target as multiples of each experiment's baseline's median."""
    found: dict[tuple[str, str, str], list[Floats]] = {}
    for _, experiment in cells.groupby(list(EXPERIMENT), sort=False):
        baseline = _baseline(experiment)
        if baseline is None:
            continue
        of_baseline = rows_of(runs, baseline), rows_of(summary, baseline).iloc[0].to_dict()
        for cell in experiment.to_dict("records"):
            own = rows_of(runs, cell), rows_of(summary, cell).iloc[0].to_dict()
            multiples = relative_to_baseline(*own, *of_baseline)
            for axis, values in multiples.items():
                found.setdefault((cell["method"], baseline["method"], axis.name), []).append(values)
    rows = [
        {"method": method, "baseline": baseline, "axis": axis, "experiments": len(samples)}
        | {"runs": sum(map(len, samples)), "reached": int(np.isfinite(np.concatenate(samples)).sum())}
        | dict(zip(("low", "high"), ends(iqm_interval(*samples)), strict=True))
        | {"iqm": iqm(np.concatenate(samples))}
        for (method, baseline, axis), samples in found.items()
    ]
    return _table("pooled", rows, sort=("method", "baseline", "axis"))


def _predictions(records: Sequence[Json]) -> pd.DataFrame:
    """Return a row a run and test example, diverged runs left out."""
    parts = [
        pd.DataFrame(run["predictions"]).assign(**key_of(record), seed=run["seed"])
        for record, run in _each_run(records)
        if run["status"] != "diverged"
    ]
    columns = [*KEY, "seed", "id", "label", "predicted"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def _confusion(records: Sequence[Json]) -> pd.DataFrame:
    predictions = _predictions(records)
    rows = []
    for key, of_cell in predictions.groupby(list(KEY), sort=False):
        same_data = predictions[predictions["dataset"] == key[0]]
        size = int(same_data[["label", "predicted"]].to_numpy().max()) + 1
        counts = np.zeros((size, size), dtype=np.int64)
        np.add.at(counts, (of_cell["label"].to_numpy(int), of_cell["predicted"].to_numpy(int)), 1)
        totals = counts.sum(axis=1)
        for label, predicted in np.ndindex(size, size):
            count = int(counts[label, predicted])
            rate = count / totals[label] if totals[label] else math.nan
            cell = dict(zip(KEY, key, strict=True))
            rows.append(cell | {"label": label, "predicted": predicted, "count": count, "rate": rate})
    return _table("confusion", rows, sort=(*KEY, "label", "predicted"))


def _misclassified(records: Sequence[Json], runs: pd.DataFrame) -> pd.DataFrame:
    predictions = _predictions(records)
    predictions["is_wrong"] = predictions["label"] != predictions["predicted"]
    predictions["is_paired"] = _is_paired(predictions, runs)
    example = [*KEY, "id", "label"]
    tested = predictions.groupby(example, as_index=False).agg(tested=("seed", "nunique"))
    missed = predictions[predictions["is_wrong"]]
    paired = predictions[predictions["is_paired"]].groupby(example, as_index=False)
    pairs = paired.agg(paired=("seed", "nunique"), paired_wrong=("is_wrong", "sum"))
    votes = missed.groupby([*example, "predicted"], as_index=False).agg(predicted_by=("seed", "nunique"))
    favourite = votes.sort_values(
        [*example, "predicted_by", "predicted"], ascending=[True] * len(example) + [False, True]
    ).drop_duplicates(example)
    wrong = votes.groupby(example, as_index=False).agg(wrong=("predicted_by", "sum"))
    table = wrong.merge(tested, on=example).merge(favourite, on=example).merge(pairs, on=example, how="left")
    table[["paired", "paired_wrong"]] = table[["paired", "paired_wrong"]].fillna(0)
    table["rate"] = table["wrong"] / table["tested"]
    ordered = table.sort_values(
        [*KEY, "wrong", "rate", "id"], ascending=[True] * len(KEY) + [False, False, True]
    )
    return _table("misclassified", ordered)


def _is_paired(predictions: pd.DataFrame, runs: pd.DataFrame) -> NDArray[np.bool_]:
    """Return for each prediction whether every method that is compared made one of its example at its seed."""
    found = np.zeros(len(predictions), dtype=np.bool_)
    for experiment, of_experiment in runs.groupby(list(EXPERIMENT), sort=False):
        methods, seeds = paired_methods(of_experiment)
        of_it = [predictions[name] == value for name, value in zip(EXPERIMENT, experiment, strict=True)]
        among = [predictions["method"].isin(methods), predictions["seed"].isin(seeds)]
        found |= np.logical_and.reduce([*of_it, *among])
    return found


def _each_run(records: Sequence[Json]) -> Iterable[tuple[Json, Json]]:
    return ((record, run) for record in records for run in record["runs"])


def _table(name: str, rows: pd.DataFrame | Iterable[Json], *, sort: Sequence[str] = ()) -> pd.DataFrame:
    return tidy(rows, COLUMNS[name], sort=sort)


_COMPARED = {
    "test_loss": ("difference", False),
    "test_accuracy": ("difference", True),
} | {axis.metric: ("ratio", False) for axis in AXES}
"""Metric: how a pair is compared, and whether more is better."""

_ROBUST = ("test_loss", "test_accuracy")

_SEED = {"seed": "the run's seed; at one seed all methods share split, initial parameters and batches"}
_METRICS = {
    "train_loss": "mean cross-entropy over the training part, nats",
    "validation_loss": "mean cross-entropy over the validation part, nats",
    "test_loss": "mean cross-entropy over the test part, nats",
    "train_accuracy": "fraction of the training part classified rightly",
    "validation_accuracy": "fraction of the validation part classified rightly",
    "test_accuracy": "fraction of the test part classified rightly",
}

_RUN_COLUMNS: dict[str, dict[str, str]] = {
    "cells": CELL
    | {
        "num_parameters": "parameters trained",
        "model_options": "the model's options",
        "estimator": "the gradient estimator's function",
        "estimator_options": "the estimator's options",
        "tangents": "distribution of the tangents; empty where the estimator takes none",
        "num_tangents": "tangents a step; empty where the estimator takes none",
        "learning_rate": "learning rate at the first step",
        "batch_size": "training examples a step",
        "optimizer": "optimiser",
        "optimizer_options": "the optimiser's options",
        "schedule": "how the learning rate goes on from the first step",
        "schedule_options": "the schedule's options",
        "target_loss": "training loss at which a run stops, nats",
        "max_steps": "steps after which a run stops without reaching the target",
        "record_every": "steps between two records of losses and accuracies, the grain of steps to target",
        "skipped": "why the cell was not trained; empty where it was",
    },
    "runs": CELL
    | _SEED
    | {
        "status": "reached (the target), not_reached, or diverged (a loss that is not finite)",
        "steps": "steps taken",
        "steps_to_target": "first recorded step below the target; empty where missed",
        "diverged_at_step": "step at which a loss was first not finite; empty where none was",
    }
    | {name: f"last recorded {text}; empty where not finite" for name, text in _METRICS.items()},
    "curves": CELL
    | _SEED
    | {"step": "steps taken so far; 0 is before training"}
    | {name: f"{text}; empty where not finite" for name, text in _METRICS.items()}
    | {
        "passes": "passes through the whole model so far: step × passes of a step; empty where not counted",
        "time_s": "training time so far, seconds: step × the median step time; empty where not measured",
        "operations": "floating-point operations so far: step × operations of a step; empty where not counted",
    },
    "summary": CELL
    | {
        "num_parameters": "parameters trained",
        "runs": "runs, one a seed",
        "reached": "runs that reached the target",
        "not_reached": "runs that took `max_steps` without reaching the target",
        "diverged": "runs stopped by a loss that is not finite",
        "steps_to_target_median": "median over all runs, a miss as infinitely late: inf if half or more miss",
    }
    | {
        f"{name}_{end}": f"{words} the last recorded {text}; over the runs that did not diverge"
        for name, text in _METRICS.items()
        for end, words in (
            ("mean", "mean of"),
            ("low", "lower end of the 95 % BCa bootstrap interval of the mean of"),
            ("high", "upper end of the 95 % BCa bootstrap interval of the mean of"),
        )
    }
    | {
        f"{name}_iqm{end}": f"{words} the last recorded {_METRICS[name]}; over all runs, one that diverged as "
        + ("infinite" if name.endswith("loss") else "0")
        for name in _ROBUST
        for end, words in (
            ("", "interquartile mean of"),
            ("_low", "lower end of the 95 % BCa bootstrap interval of the interquartile mean of"),
            ("_high", "upper end of the 95 % BCa bootstrap interval of the interquartile mean of"),
        )
    }
    | {
        "heavy_tailed": "whether a run diverged, or its last test loss lies beyond the quartiles of them all by more "
        "than three times their distance (Tukey's far out)",
        "step_time_s": "median time of a step as training takes it, on the processor, seconds",
        "operations": "floating-point operations of a step; empty where not counted",
        "passes": "passes of a step through the whole model: jvps, reverse and perturbed forward passes; empty where "
        "not counted",
        "time_to_target_s": "median steps to target × step_time_s, seconds: inf if half or more of the runs miss",
        "time_to_target_low": "lower end of its 95 % BCa bootstrap interval over both seeds and rounds of timing",
        "time_to_target_high": "upper end of that; both empty if any run missed the target",
    },
    "comparisons": CELL
    | {
        "baseline": "the method compared with, of the same data and model",
        "metric": "final test_loss or test_accuracy, steps_to_target, passes_to_target, operations_to_target, or "
        "time_to_target_s",
        "scale": "difference (method − baseline) or ratio (method / baseline)",
        "pairs": "seeds compared",
        "unpaired": "seeds left out (diverged, target missed, no such number); if any, nothing is claimed",
        "mean": "mean of the paired differences, or geometric mean of the paired ratios",
        "low": "lower end of its 95 % BCa bootstrap interval; of a time, over both seeds and rounds of timing",
        "high": "upper end of its 95 % BCa bootstrap interval",
        "p_value": "two-sided sign-flip permutation test of the differences (for a ratio, of logarithms)",
        "verdict": "better or worse if the interval excludes no difference and p < 0.05; else not resolved",
    },
    "pooled": {
        "method": "method's name: a configured gradient estimator",
        "baseline": "the method whose median in the same experiment is 1",
        "axis": "step, passes, operations or time_s: what is spent until the target",
        "experiments": "experiments pooled: those whose baseline has a median, and whose steps were counted or timed",
        "runs": "their runs",
        "reached": "of these, how many reached the target",
        "iqm": "interquartile mean over all runs of what was spent, by the baseline's median; a miss is infinite",
        "low": "lower end of its 95 % bootstrap interval, each experiment's runs resampled for themselves",
        "high": "upper end of that; the uncertainty of the steps' times is not in it",
    },
    "confusion": CELL
    | {
        "label": "true class",
        "predicted": "predicted class",
        "count": "test examples, over the runs that did not diverge",
        "rate": "count / all test examples of the true class; empty where there are none",
    },
    "misclassified": CELL
    | {
        "id": "the example's position in the data set",
        "label": "true class",
        "wrong": "runs that misclassified it",
        "tested": "runs (that did not diverge) that had it in their test part",
        "rate": "wrong / tested",
        "predicted": "most frequent wrong prediction; of several, the lowest class",
        "predicted_by": "runs that predicted that",
        "paired": "of `tested`, runs at seeds at which no method diverged; a method that diverged at more than half "
        "of its seeds is left out, its own number 0",
        "paired_wrong": "of `paired`, runs that misclassified it",
    },
}

COLUMNS = _RUN_COLUMNS | COST_COLUMNS | TUNING_COLUMNS | LAW_COLUMNS | PROBE_COLUMNS | JUDGEMENT_COLUMNS
"""What each column of each table holds; units end a name."""

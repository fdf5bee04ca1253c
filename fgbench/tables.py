"""Run and timing records go in; tidy tables, each column described, come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from fgbench.errors import ResultError
from fgbench.statistics import PairedDifference, mean_interval, paired_difference
from fgbench.types import Json

KEY = ("dataset", "data", "model", "method")
EXPERIMENT = ("dataset", "data", "model")
METRICS = (
    "train_loss",
    "validation_loss",
    "test_loss",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
)
EXACT_ESTIMATOR = "backprop"
"""The estimator whose methods are the baseline that the others are compared with."""

LONG_TABLES = frozenset({"curves", "confusion", "misclassified"})
"""Tables written as Parquet too."""


def study_tables(run_records: Sequence[Json], time_records: Sequence[Json] = ()) -> dict[str, pd.DataFrame]:
    """Return every table of a study by name; `COLUMNS` describes their columns.

    `run_records` hold a cell's chunk of seeds each, `time_records` a cell's timed runs. The order of records
    does not matter. Raises ResultError where two records of a cell disagree in its settings or share a seed.
    """
    cells = _cells(run_records)
    runs = _runs(run_records)
    times = _times(time_records, runs)
    return {
        "cells": cells,
        "runs": runs,
        "curves": _curves(run_records, times),
        "summary": _summary(cells, runs, times),
        "comparisons": _comparisons(cells, runs, times),
        "confusion": _confusion(run_records),
        "misclassified": _misclassified(run_records),
        "times": times,
    }


def table_from_csv(name: str, source: Path | TextIO) -> pd.DataFrame:
    """Return one of `study_tables`, by its name, as its CSV file holds it: every value and type as written.

    Raises ResultError where the file lacks a column, or holds what its column cannot.
    """
    try:
        text = pd.read_csv(source, dtype="str", keep_default_na=False)
        return pd.DataFrame({column: _parsed(text[column], _dtype(column)) for column in COLUMNS[name]})
    except (OSError, KeyError, ValueError) as error:
        raise ResultError(
            f"table {name}: cannot be read ({error}). Delete it and run the study again."
        ) from error


def _parsed(column: Any, dtype: str) -> Any:
    if dtype == "boolean":
        return column.map({"True": True, "False": False}).astype(dtype)
    return column if dtype == "str" else column.mask(column == "").astype(dtype)


def _cells(records: Sequence[Json]) -> pd.DataFrame:
    rows: dict[tuple[str, ...], Json] = {}
    for record in records:
        key = tuple(record[name] for name in KEY)
        row = _flat(record["settings"]) | _key(record) | {"num_parameters": record["num_parameters"]}
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
        rows.append(_key(record) | facts | {metric: run["curve"][metric][-1] for metric in METRICS})
    table = _table("runs", rows, sort=(*KEY, "seed"))
    twice = table[table.duplicated([*KEY, "seed"])]
    if len(twice):
        first = twice.iloc[0]
        raise ResultError(
            f"{' / '.join(first[list(KEY)])}: seed {first['seed']} stands in two run records. "
            "Delete the cell's records and run the study again."
        )
    return table


def _curves(records: Sequence[Json], times: pd.DataFrame) -> pd.DataFrame:
    step_times = {key: rows["step_time_s"].median() for key, rows in times.groupby(list(KEY), sort=False)}
    parts = []
    for record, run in _each_run(records):
        key = tuple(record[name] for name in KEY)
        curve = pd.DataFrame({name: run["curve"][name] for name in ("step", *METRICS)})
        curve["time_s"] = curve["step"] * step_times.get(key, math.nan)
        parts.append(curve.assign(**_key(record), seed=run["seed"]))
    return _table("curves", pd.concat(parts) if parts else [], sort=(*KEY, "seed", "step"))


def _times(records: Sequence[Json], runs: pd.DataFrame) -> pd.DataFrame:
    final_losses = {
        tuple(row[:5]): row[5] for row in runs[[*KEY, "seed", "train_loss"]].itertuples(index=False)
    }
    rows = []
    for record, run in _each_run(records):
        machine = record.get("machine") or {}
        study_loss = final_losses.get((*(record[name] for name in KEY), run["seed"]))
        rows.append(
            _key(record)
            | {name: run[name] for name in ("seed", "steps", "train_time_s", "final_train_loss")}
            | {
                "step_time_s": run["train_time_s"] / run["steps"] if run["steps"] else math.nan,
                "identical": None if study_loss is None else _same(study_loss, run["final_train_loss"]),
                "cpu": machine.get("cpu"),
                "instruction_set": machine.get("instruction_set"),
                "threads": machine.get("threads"),
                "torch": machine.get("torch"),
                "load_average": machine.get("load_average"),
            }
        )
    return _table("times", rows, sort=(*KEY, "seed"))


def _same(study_loss: float, timed_loss: float | None) -> bool:
    if timed_loss is None or not math.isfinite(timed_loss):
        return not math.isfinite(study_loss)
    return study_loss == timed_loss


def _summary(cells: pd.DataFrame, runs: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for cell in cells.to_dict("records"):
        of_cell = _rows_of(runs, cell)
        timed = _rows_of(times, cell)
        survived = of_cell[of_cell["status"] != "diverged"]
        steps = of_cell["steps_to_target"].to_numpy(
            dtype=float, na_value=math.inf
        )  # a miss is infinitely late
        row = {name: cell[name] for name in (*KEY, "num_parameters")} | {
            "runs": len(of_cell),
            "reached": int((of_cell["status"] == "reached").sum()),
            "not_reached": int((of_cell["status"] == "not_reached").sum()),
            "diverged": int((of_cell["status"] == "diverged").sum()),
            "steps_to_target_median": np.median(steps),
            "timed_runs": len(timed),
            "train_time_s_median": timed["train_time_s"].median(),
            "train_time_s_min": timed["train_time_s"].min(),
            "train_time_s_max": timed["train_time_s"].max(),
            "step_time_s_median": timed["step_time_s"].median(),
        }
        for metric in METRICS:
            values = survived[metric].to_numpy(dtype=float)
            interval = mean_interval(values)
            row[f"{metric}_mean"] = values.mean() if len(values) else math.nan
            row[f"{metric}_low"] = interval.low if interval else math.nan
            row[f"{metric}_high"] = interval.high if interval else math.nan
        rows.append(row)
    return _table("summary", rows, sort=KEY)


def _comparisons(cells: pd.DataFrame, runs: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for _, experiment in cells.groupby(list(EXPERIMENT), sort=False):
        baseline = _baseline(experiment)
        if baseline is None:
            continue
        for cell in experiment.to_dict("records"):
            if cell["method"] != baseline["method"]:
                rows += _compared(cell, baseline, runs, times)
    return _table("comparisons", rows, sort=(*KEY, "metric"))


def _baseline(experiment: pd.DataFrame) -> dict[str, Any] | None:
    exact = experiment[experiment["estimator"] == EXACT_ESTIMATOR].to_dict("records")
    return exact[0] if exact else None  # type: ignore[return-value]


def _compared(
    cell: Mapping[Any, Any], baseline: Mapping[Any, Any], runs: pd.DataFrame, times: pd.DataFrame
) -> list[Json]:
    survived = runs[runs["status"] != "diverged"]
    timed = times[np.isfinite(times["final_train_loss"])]
    rows = []
    for metric, (scale, higher_is_better) in _COMPARED.items():
        source, everything = (timed, times) if metric == "train_time_s" else (survived, runs)
        pairs = _rows_of(source, cell).merge(
            _rows_of(source, baseline), on="seed", suffixes=("", "_baseline")
        )
        both = pairs[[metric, f"{metric}_baseline"]].astype("float64").to_numpy()
        both = both[(np.isfinite(both) & ((both > 0) | (scale == "difference"))).all(axis=1)]
        num_seeds = len({*_rows_of(everything, cell)["seed"], *_rows_of(everything, baseline)["seed"]})
        values, references = (np.log(both) if scale == "ratio" else both).T
        difference = paired_difference(values, references, higher_is_better=higher_is_better)
        rows.append(
            {name: cell[name] for name in KEY}
            | {"baseline": baseline["method"], "metric": metric, "scale": scale}
            | {"unpaired": num_seeds - len(both)}
            | _claimed(difference, scale, complete=num_seeds == len(both))
        )
    return rows


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


def _predictions(records: Sequence[Json]) -> pd.DataFrame:
    """Return a row a run and test example, diverged runs left out."""
    parts = [
        pd.DataFrame(run["predictions"]).assign(**_key(record), seed=run["seed"])
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


def _misclassified(records: Sequence[Json]) -> pd.DataFrame:
    predictions = _predictions(records)
    example = [*KEY, "id", "label"]
    tested = predictions.groupby(example, as_index=False).agg(tested=("seed", "nunique"))
    missed = predictions[predictions["label"] != predictions["predicted"]]
    votes = missed.groupby([*example, "predicted"], as_index=False).agg(predicted_by=("seed", "nunique"))
    favourite = votes.sort_values(
        [*example, "predicted_by", "predicted"], ascending=[True] * len(example) + [False, True]
    ).drop_duplicates(example)
    wrong = votes.groupby(example, as_index=False).agg(wrong=("predicted_by", "sum"))
    table = wrong.merge(tested, on=example).merge(favourite, on=example)
    table["rate"] = table["wrong"] / table["tested"]
    ordered = table.sort_values(
        [*KEY, "wrong", "rate", "id"], ascending=[True] * len(KEY) + [False, False, True]
    )
    return _table("misclassified", ordered)


def _key(record: Json) -> Json:
    return {name: record[name] for name in KEY}


def _each_run(records: Sequence[Json]) -> Iterable[tuple[Json, Json]]:
    return ((record, run) for record in records for run in record["runs"])


def _rows_of(table: pd.DataFrame, cell: Mapping[Any, Any]) -> pd.DataFrame:
    chosen = np.logical_and.reduce([table[name] == cell[name] for name in KEY])
    return table[chosen]


def _table(name: str, rows: pd.DataFrame | Iterable[Json], *, sort: Sequence[str] = ()) -> pd.DataFrame:
    """Return `rows` with exactly the columns that `COLUMNS` describes, in that order."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    table = table.reindex(columns=list(COLUMNS[name]))
    texts = [column for column in table.columns if _dtype(column) == "str"]
    table[texts] = table[texts].astype("object").fillna("")
    table = table.astype({column: _dtype(column) for column in table.columns})
    if sort:
        table = table.sort_values(list(sort))
    return table.reset_index(drop=True)


def _dtype(column: str) -> str:
    return _DTYPES.get(column, "float64")


_COMPARED = {
    "test_loss": ("difference", False),
    "test_accuracy": ("difference", True),
    "steps_to_target": ("ratio", False),
    "train_time_s": ("ratio", False),
}
"""Metric: how a pair is compared, and whether more is better."""

_CELL = {
    "dataset": "data set asked for in the config",
    "data": "data set really used: another than `dataset` where a stand-in was needed",
    "model": "model's name",
    "method": "method's name: a configured gradient estimator",
}
_SEED = {"seed": "the run's seed; at one seed all methods share split, initial parameters and batches"}
_METRICS = {
    "train_loss": "mean cross-entropy over the training part, nats",
    "validation_loss": "mean cross-entropy over the validation part, nats",
    "test_loss": "mean cross-entropy over the test part, nats",
    "train_accuracy": "fraction of the training part classified rightly",
    "validation_accuracy": "fraction of the validation part classified rightly",
    "test_accuracy": "fraction of the test part classified rightly",
}

COLUMNS: dict[str, dict[str, str]] = {
    "cells": _CELL
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
    },
    "runs": _CELL
    | _SEED
    | {
        "status": "reached (the target), not_reached, or diverged (a loss that is not finite)",
        "steps": "steps taken",
        "steps_to_target": "first recorded step below the target; empty where missed",
        "diverged_at_step": "step at which a loss was first not finite; empty where none was",
    }
    | {name: f"last recorded {text}; empty where not finite" for name, text in _METRICS.items()},
    "curves": _CELL
    | _SEED
    | {"step": "steps taken so far; 0 is before training"}
    | {name: f"{text}; empty where not finite" for name, text in _METRICS.items()}
    | {"time_s": "training time so far, seconds: step × the cell's median timed step; empty where not timed"},
    "summary": _CELL
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
        "timed_runs": "runs whose training was timed, alone on the machine",
        "train_time_s_median": "median time of a timed run's steps alone, seconds",
        "train_time_s_min": "least time of a timed run's steps alone, seconds",
        "train_time_s_max": "greatest time of a timed run's steps alone, seconds",
        "step_time_s_median": "median over timed runs of the mean time a step, seconds",
    },
    "comparisons": _CELL
    | {
        "baseline": "the method compared with, of the same data and model",
        "metric": "final test_loss or test_accuracy, steps_to_target, or train_time_s",
        "scale": "difference (method − baseline) or ratio (method / baseline)",
        "pairs": "seeds compared",
        "unpaired": "seeds left out (diverged, target missed, no such number); if any, nothing is claimed",
        "mean": "mean of the paired differences, or geometric mean of the paired ratios",
        "low": "lower end of its 95 % BCa bootstrap interval",
        "high": "upper end of its 95 % BCa bootstrap interval",
        "p_value": "two-sided sign-flip permutation test of the differences (for a ratio, of logarithms)",
        "verdict": "better or worse if the interval excludes no difference and p < 0.05; else not resolved",
    },
    "confusion": _CELL
    | {
        "label": "true class",
        "predicted": "predicted class",
        "count": "test examples, over the runs that did not diverge",
        "rate": "count / all test examples of the true class; empty where there are none",
    },
    "misclassified": _CELL
    | {
        "id": "the example's position in the data set",
        "label": "true class",
        "wrong": "runs that misclassified it",
        "tested": "runs (that did not diverge) that had it in their test part",
        "rate": "wrong / tested",
        "predicted": "most frequent wrong prediction; of several, the lowest class",
        "predicted_by": "runs that predicted that",
    },
    "times": _CELL
    | _SEED
    | {
        "steps": "steps taken",
        "train_time_s": "time of the steps alone, seconds",
        "step_time_s": "train_time_s / steps",
        "final_train_loss": "last recorded training loss of the timed run; empty where not finite",
        "identical": "whether that is, bit by bit, the study's own for that seed; empty where it has none",
        "cpu": "processor",
        "instruction_set": "the widest that torch used, e.g. AVX2 or AVX512; the study's runs are held to AVX2",
        "threads": "math threads",
        "torch": "torch's version",
        "load_average": "the machine's load average before timing",
    },
}
"""What each column of each table holds; units end a name."""

_DTYPES = (
    dict.fromkeys([*_CELL, "estimator", "tangents", "optimizer", "schedule"], "str")
    | dict.fromkeys(["schedule_options", "model_options", "estimator_options", "optimizer_options"], "str")
    | dict.fromkeys(["status", "baseline", "metric", "scale", "verdict"], "str")
    | dict.fromkeys(["cpu", "instruction_set", "torch"], "str")
    | dict.fromkeys(
        ["seed", "step", "steps", "num_parameters", "batch_size", "max_steps", "record_every"], "int64"
    )
    | dict.fromkeys(
        ["runs", "reached", "not_reached", "diverged", "timed_runs", "pairs", "unpaired"], "int64"
    )
    | dict.fromkeys(["label", "predicted", "count", "id", "wrong", "tested", "predicted_by"], "int64")
    | dict.fromkeys(["steps_to_target", "diverged_at_step", "num_tangents", "threads"], "Int64")
    | {"identical": "boolean"}
)
"""Columns that are not float64."""

"""Rows go in; a tidy table with the columns described for it comes out, and back from its CSV file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fgbench.types import Json

EXPERIMENT = ("dataset", "data", "model")
KEY = (*EXPERIMENT, "method")

EXACT_ESTIMATOR = "backprop"
"""The estimator whose methods are the baseline that the others are compared with."""

CELL = {
    "dataset": "data set asked for in the config",
    "data": "data set really used: another than `dataset` where a stand-in was needed",
    "model": "model's name",
    "method": "method's name: a configured gradient estimator",
}


def tidy(
    rows: pd.DataFrame | Iterable[Json], columns: Iterable[str], *, sort: Sequence[str] = ()
) -> pd.DataFrame:
    """Return `rows` with exactly these columns, in that order, each of the type that its name has everywhere."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    table = table.reindex(columns=list(columns))
    texts = [column for column in table.columns if _dtype(column) == "str"]
    table[texts] = table[texts].astype("object").fillna("")
    table = table.astype({column: _dtype(column) for column in table.columns})
    if sort:
        table = table.sort_values(list(sort), kind="stable")
    return table.reset_index(drop=True)


def parsed(text: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return the table that was written as `text`, all of whose columns are strings; raises KeyError, ValueError."""
    return pd.DataFrame({column: _parsed(text[column], _dtype(column)) for column in columns})


def key_of(record: Mapping[str, Any]) -> Json:
    """Return a record's data set, data really used, model and method."""
    return {name: record[name] for name in KEY}


def rows_of(table: pd.DataFrame, cell: Mapping[Any, Any], key: Sequence[str] = KEY) -> pd.DataFrame:
    """Return a cell's rows of a table; or what else a `key` of text columns names, such as an experiment's."""
    chosen = [table[name].to_numpy() == cell[name] for name in key]  # as arrays: half of the time
    return table[np.logical_and.reduce(chosen)]


def worst(metric: str) -> float:
    """Return what a metric of a failed run counts as where it is not left out.

    >>> worst("test_loss"), worst("test_accuracy")
    (inf, 0.0)
    """
    return math.inf if metric.endswith("loss") else 0.0


def _parsed(column: Any, dtype: str) -> Any:
    if dtype == "bool":
        return column.map({"True": True, "False": False}).astype("boolean").astype("bool")
    return column if dtype == "str" else column.mask(column == "").astype(dtype)


def _dtype(column: str) -> str:
    return _DTYPES.get(column, "float64")


_DTYPES = (
    dict.fromkeys([*CELL, "estimator", "tangents", "optimizer", "schedule"], "str")
    | dict.fromkeys(["schedule_options", "model_options", "estimator_options", "optimizer_options"], "str")
    | dict.fromkeys(["status", "baseline", "metric", "scale", "verdict", "skipped"], "str")
    | dict.fromkeys(["device", "engine", "part", "against", "against_engine", "axis", "quantity"], "str")
    | dict.fromkeys(["workload", "cpu", "instruction_set", "torch", "at", "reason"], "str")
    | dict.fromkeys(
        ["seed", "step", "steps", "num_parameters", "batch_size", "max_steps", "record_every"], "int64"
    )
    | dict.fromkeys(["runs", "reached", "not_reached", "diverged", "pairs", "unpaired"], "int64")
    | dict.fromkeys(["label", "predicted", "count", "id", "wrong", "tested", "predicted_by"], "int64")
    | dict.fromkeys(["paired", "paired_wrong"], "int64")
    | dict.fromkeys(["round", "rounds", "block", "steps_per_block", "peak_memory_bytes"], "int64")
    | dict.fromkeys(["size", "sizes", "depth", "width"], "int64")
    | dict.fromkeys(["num_rates", "num_trials", "num_seeds", "rates_per_decade", "extensions"], "int64")
    | dict.fromkeys(["trial_steps"], "int64")
    | dict.fromkeys(["rate_of", "note"], "str")
    | dict.fromkeys(["claim", "where", "what", "says", "figure", "limits"], "str")
    | dict.fromkeys(["at_edge"], "bool")
    | dict.fromkeys(["law", "point"], "str")
    | dict.fromkeys(["experiments", "draws"], "int64")
    | dict.fromkeys(["steps_to_target", "diverged_at_step", "num_tangents", "threads", "operations"], "Int64")
    | dict.fromkeys(["passes"], "Int64")
    | dict.fromkeys(["twin", "noisy", "heavy_tailed", "timed"], "bool")
)
"""Columns that are not float64."""

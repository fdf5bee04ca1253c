"""Finished studies that never ran, for the tests of their comparison: in memory, and as folders of results."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import records
from records import Record

from fgbench import provenance
from fgbench.comparing import Study
from fgbench.digests import file_sha256
from fgbench.judgements import judgement_tables
from fgbench.results import study_sha256
from fgbench.storage import write_json, write_text
from fgbench.tables import COLUMNS, study_tables

ANOTHER = "2026-03-04T05:06:07.000001Z"
"""When the runs of another study were finished: it is no copy then."""


BOTH = ("logistic_regression", "mlp")


@cache
def base_runs(
    num_seeds: int = 6, *, models: tuple[str, ...] = ("mlp",), methods: tuple[str, ...] = records.METHODS
) -> list[Record]:
    """Return the runs of the experiments of penguins with these models."""
    every = records.run_records(num_seeds=num_seeds, methods=methods)
    return [record for record in every if record["model"] in models]


def again(runs: list[Record], **changes: Any) -> list[Record]:
    """Return the same runs, trained another time; `changes` are of what made them."""
    runs = copy.deepcopy(runs)
    for record in runs:
        record["provenance"] |= {"finished": ANOTHER} | changes
    return runs


def altered(
    runs: list[Record], method: str, change: Callable[[Record], Record], *, model: str = "mlp"
) -> list[Record]:
    """Return runs trained another time, those of one cell changed."""
    runs = again(runs)
    for record in runs:
        if (record["model"], record["method"]) == (model, method):
            record["runs"] = [change(run) for run in record["runs"]]
    return runs


def shifted(metric: str, by: Callable[[int], float]) -> Callable[[Record], Record]:
    """Return what adds to all values of a run's curve but the first a number that hangs on its seed."""

    def change(run: Record) -> Record:
        first, *rest = run["curve"][metric]
        moved = [first, *(value + by(run["seed"]) for value in rest)]
        return run | {"curve": run["curve"] | {metric: moved}}

    return change


def finished(runs: list[Record], *, name: str = "one", config: Record = records.CONFIG, **cost: Any) -> Study:
    """Return the study of these runs; `cost` are arguments of `cost_record`, without any nothing is measured."""
    counted = records.operations_record(runs)
    measured = records.cost_record(runs, **cost) if cost else None
    made = {f"runs/{place}.json": record["provenance"] for place, record in enumerate(runs)}
    made |= {"tables": records.made("tables", seeds=None), "operations.json": counted["provenance"]}
    return Study(
        name=name,
        tables=study_tables(runs, operations=counted, cost=measured),
        records=runs,
        counts=counted["cells"],
        provenance=provenance.study_provenance(config, "12" * 32, made, study_sha256(runs)),
        verification=records.verified(runs),
    )


def written(folder: Path, study: Study) -> Path:
    """Write what a comparison reads of a study; return the folder."""
    write_text(folder / "config.yaml", "results: anywhere\n")
    for place, record in enumerate(study.records):
        write_json(folder / f"runs/{place}.json", record)
    write_json(
        folder / "operations.json",
        {"settings": {}, "cells": list(study.counts), "provenance": records.made("operations")},
    )
    for name, table in {**study.tables, **judgement_tables({})}.items():
        path = folder / f"tables/{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    files = {path.name: file_sha256(path) for path in sorted((folder / "tables").iterdir())}
    described = {"columns": COLUMNS, "files_sha256": files, "study_sha256": study_sha256(study.records)}
    write_json(folder / "tables/columns.json", described)
    write_json(folder / "provenance.json", study.provenance)
    write_json(folder / "verification.json", study.verification)
    return folder

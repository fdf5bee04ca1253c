"""A small study that never ran: records of known content for the tests of tables, figures and report."""

from __future__ import annotations

import copy
import math
import shlex
from typing import Any

import numpy as np

from fgbench import provenance
from fgbench.numerics import PINS
from fgbench.results import cell_name
from fgbench.verification import reference_of, verification

Record = dict[str, Any]

TASKS = (
    ("penguins", "penguins", "logistic_regression", 15, 3),
    ("penguins", "penguins", "mlp", 131, 3),
    ("kmnist_t10k", "digits", "cnn", 4330, 10),
)
"""asked for, used, model, parameters, classes: the images are a stand-in."""

METHODS = ("backprop", "forward_gradient")
TARGET = 0.5
RECORD_EVERY = 10
FINISHED = "2026-01-02T03:04:05.678901Z"
CONFIG = {"results": "results", "seeds": [0, 1, 2, 3, 4, 5], "note": "お <b>"}
NUM_SAMPLES = 60
NUM_TESTED = 20


def run_records(*, methods: tuple[str, ...] = METHODS, num_seeds: int = 6) -> list[Record]:
    """Return two chunks a cell. Method i takes 20 + 180·i steps, 10 more a seed, and reaches the target.

    Except the convolutional network's last method: its seed 0 diverges, its seed 1 misses the target.
    """
    records = []
    for dataset, data, model, num_parameters, num_classes in TASKS:
        for rank, method in enumerate(methods):
            runs = [_run(seed, rank, num_classes) for seed in range(num_seeds)]
            if model == "cnn" and rank and method == methods[-1]:
                runs[0] = diverged(runs[0])
                if num_seeds > 1:
                    runs[1] = missed(runs[1])
            cell = {
                "dataset": dataset,
                "data": data,
                "model": model,
                "method": method,
                "num_parameters": num_parameters,
                "kinked": model != "logistic_regression",
                "samples_sha256": "cd" * 32,
                "split": {"num_train": 40, "num_test": NUM_TESTED, "validation_fraction": 0.2, "seed": None},
                "settings": _settings(rank) | {"model": {"name": model}},
            }
            half = (num_seeds + 1) // 2
            records += [
                cell | {"runs": chunk, "provenance": made("train")}
                for chunk in (runs[:half], runs[half:])
                if chunk
            ]
    return records


def time_records(records: list[Record], *, num_seeds: int = 2) -> list[Record]:
    """Return timings of each cell's first seeds: (1 + rank) ms a step, final losses as in the study."""
    cells: dict[tuple[str, ...], Record] = {}
    for record in records:
        key = tuple(record[name] for name in ("dataset", "data", "model", "method"))
        cell = cells.setdefault(key, {name: record[name] for name in ("dataset", "data", "model", "method")})
        step_time_s = 0.001 if record["settings"]["estimator"]["name"] == "backprop" else 0.002
        timed = [run for run in record["runs"] if run["seed"] < num_seeds]
        cell.setdefault("runs", []).extend(_timed(run, step_time_s * (1 + run["seed"] / 10)) for run in timed)
        cell["machine"] = {
            "cpu": "A processor",
            "instruction_set": "AVX512",
            "threads": 1,
            "torch": "2.13.0",
            "load_average": 0.1,
        }
    return list(cells.values())


def made(command: str, *arguments: str, finished: str = FINISHED, **changes: Any) -> Record:
    """Return a result's provenance: `fgbench command arguments`, on pinned numerics."""
    return {
        "command": shlex.join(["fgbench", command, *arguments]),
        "finished": finished,
        "commit": "0123abc" + 33 * "0",
        "dirty": False,
        "code_hash": "c0de" * 4,
        "config_sha256": "12" * 32,
        "seeds": [0, 1, 2],
        "data": [provenance.data_of(one) for one in metadata().values()],
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "versions_sha256": "56" * 32,
        "cpu": "A processor",
        "instruction_set": "x86-64-v4",
        "pins": PINS,
        "threads": 1,
        "os": "Linux-6.1",
    } | changes


def study_provenance(records: list[Record], *, finished: str = FINISHED) -> Record:
    """Return the study's provenance: a training and a timing a cell, the timings native, and the tables."""
    results = {"tables": made("tables", seeds=None, finished=finished)}
    for name in map(cell_name, records):
        results[f"runs/{name}/0.json"] = made("train", "--method", name.rpartition("/")[2], finished=finished)
        results[f"times/{name}.json"] = made("time", finished=finished, pins={})
    return provenance.study_provenance(CONFIG, "12" * 32, results, "34" * 32)


def verified(records: list[Record], *, against: list[Record] | None = None) -> Record:
    """Return whether records are those of the reference that other records make: without any, their own."""
    maker = {key: made("train")[key] for key in provenance.MAKER}
    reference = reference_of(
        records if against is None else against,
        {**made("reference", "one", "other"), "makers": [maker]},
    )
    return verification(records, {"references/study.json": reference})


def nudged(records: list[Record], by: float, *, num_runs: int = 1) -> list[Record]:
    """Return records whose first runs have all training losses but the first times 1 + `by`."""
    records = copy.deepcopy(records)
    for run in [run for record in records for run in record["runs"]][:num_runs]:
        losses = run["curve"]["train_loss"]
        losses[1:] = [loss * (1 + by) for loss in losses[1:]]
    return records


def diverged(run: Record) -> Record:
    """Return `run` stopped at half its steps by losses that are not finite."""
    keep = len(run["curve"]["step"]) // 2 + 1
    curve = {name: values[:keep] for name, values in run["curve"].items()}
    for name in ("train_loss", "validation_loss", "test_loss"):
        curve[name] = [*curve[name][:-1], None]
    step = curve["step"][-1]
    stopped = {"status": "diverged", "steps": step, "steps_to_target": None, "diverged_at_step": step}
    return run | stopped | {"curve": curve}


def missed(run: Record) -> Record:
    """Return `run` as one that took all its steps above the target."""
    curve = dict(run["curve"])
    curve["train_loss"] = [max(loss, TARGET + 0.01) for loss in curve["train_loss"]]
    return run | {"status": "not_reached", "steps_to_target": None, "curve": curve}


def metadata() -> dict[str, Record]:
    """Return both data sets' metadata by the name asked for; the images' is a stand-in."""
    penguins = {
        "asked_for": "penguins",
        "used": "penguins",
        "title": "Palmer penguins",
        "reasons": [],
        "note": "All 334 rows.",
        "num_samples": NUM_SAMPLES,
        "input_shape": [4],
        "class_names": ["Adelie", "Chinstrap", "Gentoo"],
        "feature_names": ["culmen length (mm)", "culmen depth (mm)", "flipper length (mm)", "body mass (g)"],
        "homepage": "https://allisonhorst.github.io/palmerpenguins/",
        "licence": "CC0 1.0",
        "citation": "Gorman et al. 2014",
        "files": [
            {
                "name": "penguins.csv",
                "algorithm": "sha256",
                "digest": "ab" * 32,
                "sha256": "ab" * 32,
                "origin": "https://example.org/penguins.csv",
            }
        ],
        "samples_sha256": "cd" * 32,
    }
    digits = penguins | {
        "asked_for": "kmnist_t10k",
        "used": "digits",
        "title": "Handwritten digits",
        "reasons": ["kmnist_t10k: no network and no mirror", "kmnist: no network and no mirror"],
        "note": "Enlarged from 8×8 to 28×28.",
        "input_shape": [28, 28],
        "class_names": ["お (o)", "き (ki)", *"23456789"],
        "feature_names": [],
        "homepage": "https://scikit-learn.org/",
        "licence": "CC BY 4.0",
        "citation": "Alpaydin and Kaynak 1998",
        "files": [],
    }
    return {"penguins": penguins, "kmnist_t10k": digits}


def samples() -> dict[str, dict[str, Any]]:
    """Return both data sets' raw samples by the name asked for."""
    rng = np.random.default_rng(0)
    rows = rng.normal([40, 18, 200, 4000], [5, 2, 15, 500], size=(NUM_SAMPLES, 4)).astype(np.float32)
    images = np.zeros((NUM_SAMPLES, 28, 28), dtype=np.uint8)
    for index, image in enumerate(images):
        image[4:24, 4 + index % 10 : 10 + index % 10] = 255
    return {
        "penguins": {"inputs": rows, "labels": np.arange(NUM_SAMPLES) % 3},
        "kmnist_t10k": {"inputs": images, "labels": np.arange(NUM_SAMPLES) % 10},
    }


def _settings(rank: int) -> Record:
    exact: Record = {"estimator": {"name": "backprop"}, "tangents": None, "num_tangents": None}
    forward = {"estimator": {"name": "forward_gradient"}, "tangents": "rademacher", "num_tangents": rank}
    return (forward if rank else exact) | {
        "learning_rate": 0.1 / 10**rank,
        "batch_size": 50,
        "optimizer": {"name": "sgd", "momentum": 0.0},
        "schedule": {"name": "cosine", "final_fraction": 0.0},
        "target_loss": TARGET,
        "max_steps": 100_000,
        "record_every": RECORD_EVERY,
    }


def _run(seed: int, rank: int, num_classes: int) -> Record:
    """Return a run whose losses fall on a line to the target; seed s misclassifies s + 1 of its test part."""
    steps = 20 + 180 * rank + RECORD_EVERY * seed
    step = list(range(0, steps + 1, RECORD_EVERY))
    initial = math.log(num_classes)
    fallen = [now / steps for now in step]
    train = [initial + (TARGET - 0.01 - initial) * part for part in fallen]
    ids = [(seed + offset) % NUM_SAMPLES for offset in range(NUM_TESTED)]
    labels = [sample % num_classes for sample in ids]
    num_wrong = seed + 1 + rank
    predicted = [(label + (place < num_wrong)) % num_classes for place, label in enumerate(labels)]
    final_accuracy = 1 - num_wrong / NUM_TESTED
    accuracy = [1 / num_classes + (final_accuracy - 1 / num_classes) * part for part in fallen]
    curve = {
        "step": step,
        "train_loss": train,
        "validation_loss": [loss + 0.05 for loss in train],
        "test_loss": [loss + (0.1 + 0.01 * seed) * (1 + rank) for loss in train],
        "train_accuracy": accuracy,
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
    }
    return {
        "seed": seed,
        "status": "reached",
        "steps": steps,
        "steps_to_target": steps,
        "diverged_at_step": None,
        "curve": curve,
        "predictions": {"id": ids, "label": labels, "predicted": predicted},
    }


def _timed(run: Record, step_time_s: float) -> Record:
    return {
        "seed": run["seed"],
        "steps": run["steps"],
        "train_time_s": run["steps"] * step_time_s,
        "final_train_loss": run["curve"]["train_loss"][-1],
    }

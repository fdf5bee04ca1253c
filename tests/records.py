"""A small study that never ran: records of known content for the tests of tables, figures and report."""

from __future__ import annotations

import copy
import math
import shlex
from collections.abc import Mapping
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
NUM_SAMPLES = 60
NUM_TESTED = 20

COST_METHODS: dict[str, Record] = {
    "checkpointed_backprop": {
        "estimator": {"name": "checkpointed_backprop"},
        "tangents": None,
        "num_tangents": None,
    },
    "forward_gradient_4": {
        "estimator": {"name": "forward_gradient"},
        "tangents": "rademacher",
        "num_tangents": 4,
    },
    "forward_gradient_16": {
        "estimator": {"name": "forward_gradient"},
        "tangents": "rademacher",
        "num_tangents": 16,
    },
}
"""Methods whose cost is measured, and that no run was trained with."""

ENGINES = {"torch.func": 1.5, "compiled torch.func": 0.75}
"""Engines beside eager, with their time as a multiple of its; the engine compiled is skipped, for both or neither."""

SPEED_UP = {"cpu": 1.0, "cuda": 0.1}
LADDER = {
    "depth": (5, 10, 20, 40, 80),
    "width": (32, 64, 128, 256),
    "batch_size": (16, 64, 256, 1024),
    "num_tangents": (1, 2, 4, 8, 16),
}
EXPONENTS = {"depth": (1.0, 0.9), "width": (1.5, 1.0), "batch_size": (0.7, 1.0), "num_tangents": (1.0, 0.5)}
"""Axis of the ladder: the power of its size that time and memory follow; forward gradients' memory is flat in depth."""

DROPPED = "the compiled step of forward_gradient drops the tangent"
NO_GPU = {"device": "cuda", "reason": "no GPU"}
MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "threads": 1,
    "instruction_set": "AVX512",
    "torch": "2.13.0",
    "load_average": 0.1,
}
QUIET = {
    "wall_s": 20.0,
    "own_cpu_s": 19.95,
    "others_cpu_s": 0.4,
    "steal_s": 0.0,
    "involuntary_switches": 40,
    "num_cpus": 2,
}
NOISY = QUIET | {"own_cpu_s": 15.0, "others_cpu_s": 18.0, "steal_s": 1.2, "involuntary_switches": 4_000}
"""Loads of the machine while a cost was measured."""

CONFIG = {
    "results": "results",
    "seeds": [0, 1, 2, 3, 4, 5],
    "note": "お <b>",
    "datasets": {
        name: {"num_train": 40, "num_test": 20} for name in ("penguins", "kmnist_t10k", "digits", "iris")
    },
    "cost": {
        "methods": {
            "checkpointed_backprop": {"estimator": "checkpointed_backprop"},
            "forward_gradient_4": {
                "estimator": "forward_gradient",
                "tangents": "rademacher",
                "num_tangents": 4,
            },
            "forward_gradient_16": {
                "estimator": "forward_gradient",
                "tangents": "rademacher",
                "num_tangents": 16,
            },
        },
        "rounds": 20,
        "block_s": 0.005,
        "compiled": True,
        "ladder": {"methods": [*METHODS, "checkpointed_backprop"], "rounds": 4, "depth": {}},
    },
}


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
                "skipped": None,
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


def operations_record(runs: list[Record]) -> Record:
    """Return the operations of a step: 1,000 a parameter forward, 3 and 4 times that backward, 3 a tangent.

    And its passes: one a tangent, one without.
    """
    cells = [
        {**experiment, "method": name, "settings": _counted(about)}
        | {"operations": _operations(about, size), "passes": about["num_tangents"] or 1}
        for experiment, size, methods in _measured(runs)
        for name, about in methods.items()
    ]
    return {"provenance": made("operations", seeds=None), "cells": cells}


def cost_record(
    runs: list[Record],
    *,
    rounds: int = 20,
    noise: float = 0.01,
    times: Mapping[str, float] | None = None,
    without: tuple[str, ...] = (),
    load: Record = QUIET,
    cuda: bool = False,
    seed: int = 0,
) -> Record:
    """Return the measured cost of every experiment: blocks scattered by `noise` about `step_time_s`.

    `times` hold the true seconds a step of methods that take another time; those `without` are not measured at
    all. The engine compiled is skipped; without `cuda` there is no device but the processor.
    """
    rng = np.random.default_rng(seed)
    experiments = []
    for experiment, size, methods in _measured(runs):
        kept = {name: about for name, about in methods.items() if name not in without}
        for device in ("cpu", "cuda") if cuda else ("cpu",):
            true = {name: step_time_s(about) * SPEED_UP[device] for name, about in kept.items()}
            true |= {name: seconds for name, seconds in (times or {}).items() if name in kept}
            experiments.append(
                {
                    **experiment,
                    "device": device,
                    "methods": kept,
                    "load": load,
                    "times": [
                        variant | {"steps_per_block": 8, "step_time_s": _blocks(rng, seconds, rounds, noise)}
                        for name, about in kept.items()
                        for variant, seconds in _variants(name, about, true[name])
                    ],
                    "memory": [
                        {"method": name, "peak_memory_bytes": peak_memory_bytes(about, size)}
                        for name, about in kept.items()
                    ],
                    "skipped": [
                        {"method": name, "engine": "compiled", "quantity": "step_time_s", "reason": DROPPED}
                        for name, about in kept.items()
                        if _has_engines(about)
                    ],
                }
            )
    return {
        "provenance": made("cost", seeds=None, pins={}),
        "machine": MACHINE,
        "settings": {"rounds": rounds, "block_s": 0.005, "compiled": True},
        "absent": [] if cuda else [NO_GPU],
        "experiments": experiments,
    }


def scaling_record(
    *,
    rounds: int = 4,
    noise: float = 0.01,
    methods: tuple[str, ...] = (*METHODS, "checkpointed_backprop"),
    load: Record = QUIET,
    cuda: bool = False,
    seed: int = 0,
) -> Record:
    """Return ladders of known laws, `EXPONENTS`: a size to that power, times blocks scattered by `noise`."""
    rng = np.random.default_rng(seed)
    ladders = []
    for device in ("cpu", "cuda") if cuda else ("cpu",):
        points = [
            _point(rng, axis, size, method, SPEED_UP[device], rounds, noise)
            for axis, sizes in LADDER.items()
            for size in sizes
            for method in methods
            if axis != "num_tangents" or method == "forward_gradient"
        ]
        skipped = {
            "axis": "depth",
            "size": 160,
            "method": "backprop",
            "quantity": "peak_memory_bytes",
            "reason": "there was not enough memory",
        }
        ladders.append({"device": device, "load": load, "points": points, "skipped": [skipped]})
    return {
        "provenance": made("scaling", seeds=None, pins={}),
        "machine": MACHINE,
        "settings": {"methods": list(methods), "rounds": rounds},
        "absent": [] if cuda else [NO_GPU],
        "ladders": ladders,
    }


def step_time_s(about: Record) -> float:
    """Return the true seconds of a measured method's step on the processor: 2 ms for one forward gradient."""
    return sum(_parts(about).values())


def peak_memory_bytes(about: Record, size: int) -> int:
    """Return the true memory of a measured method's step, for a model of so many parameters."""
    forward = 1_000_000 + 400 * size
    factors = {"backprop": 4, "checkpointed_backprop": 3}
    return forward * (1 if about["estimator"] is None else factors.get(about["estimator"]["name"], 2))


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
    """Return the study's provenance: trainings of each cell, the tables, and what was counted and timed natively."""
    results = {
        "tables": made("tables", seeds=None, finished=finished),
        "operations.json": made("operations", seeds=None, finished=finished),
        "cost.json": made("cost", seeds=None, finished=finished, pins={}),
        "scaling.json": made("scaling", seeds=None, finished=finished, pins={}),
    }
    for name in map(cell_name, records):
        results[f"runs/{name}/0.json"] = made("train", "--method", name.rpartition("/")[2], finished=finished)
    return provenance.study_provenance(CONFIG, "12" * 32, results, "34" * 32)


def verified(records: list[Record], *, against: list[Record] | None = None) -> Record:
    """Return whether records are those of the reference that other records make: without any, their own."""
    maker = {key: made("train")[key] for key in provenance.MAKER}
    held = records if against is None else against
    reference = reference_of(
        held,
        operations_record(held)["cells"],
        {**made("reference", "one", "other"), "makers": [maker]},
    )
    counted = operations_record(records)["cells"]
    return verification(records, counted, {"references/study.json": reference})


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


def _measured(runs: list[Record]) -> list[tuple[Record, int, dict[str, Record]]]:
    """Return each experiment with its number of parameters and the methods whose cost is measured."""
    found: dict[tuple[str, ...], tuple[Record, int, dict[str, Record]]] = {}
    bare = {"estimator": None, "tangents": None, "num_tangents": None}
    for record in runs:
        experiment = {name: record[name] for name in ("dataset", "data", "model")}
        start = (experiment, record["num_parameters"], {"forward pass": bare})
        methods = found.setdefault(tuple(experiment.values()), start)[2]
        methods[record["method"]] = {name: record["settings"][name] for name in bare}
    return [
        (experiment, size, methods | {name: about for name, about in COST_METHODS.items() if methods})
        for experiment, size, methods in found.values()
    ]


def _counted(about: Record) -> Record:
    shape = {"batch_size": 50, "input_shape": [4], "num_classes": 3}
    optimizer = None if about["estimator"] is None else {"name": "sgd", "momentum": 0.0}
    return about | {"model": {"name": "mlp"}, "optimizer": optimizer} | shape


def _operations(about: Record, size: int) -> int:
    factors = {"backprop": 3, "checkpointed_backprop": 4}
    if about["estimator"] is None:
        return 1_000 * size
    return 1_000 * size * factors.get(about["estimator"]["name"], 3 * (about["num_tangents"] or 1))


def _parts(about: Record) -> dict[str, float]:
    """Return the true seconds of a step's parts; all of a bare forward pass is one, and told nowhere."""
    if about["estimator"] is None:
        return {"step": 0.5e-3}
    exact = {"backprop": 0.8e-3, "checkpointed_backprop": 1.2e-3}
    if about["estimator"]["name"] in exact:
        return {"estimate": exact[about["estimator"]["name"]], "update": 0.2e-3}
    tangents = about["num_tangents"] or 1
    return {"draw": 0.3e-3 * tangents, "estimate": 1.5e-3 * tangents, "update": 0.2e-3}


def _variants(name: str, about: Record, seconds: float) -> list[tuple[Record, float]]:
    """Return all that is timed of a method, with its true seconds: engines each with a twin, and parts."""
    engines = {"eager": 1.0} | (ENGINES if _has_engines(about) else {})
    found = [
        ({"method": name, "engine": engine, "part": "step", "twin": twin}, seconds * factor)
        for engine, factor in engines.items()
        for twin in (False, True)
    ]
    if about["estimator"] is None:
        return found
    parts = _parts(about)
    slower = seconds / step_time_s(about)
    if "draw" in parts:
        parts["product"] = parts["estimate"] / 10
    return found + [
        ({"method": name, "engine": "eager", "part": part, "twin": False}, true * slower)
        for part, true in parts.items()
    ]


def _has_engines(about: Record) -> bool:
    exact = about["estimator"] is not None and about["estimator"]["name"] == "backprop"
    return exact or about["num_tangents"] == 1


def _blocks(rng: np.random.Generator, seconds: float, rounds: int, noise: float) -> list[list[float]]:
    blocks: list[list[float]] = (seconds * rng.lognormal(0, noise, size=(rounds, 2))).tolist()
    return blocks


def _point(
    rng: np.random.Generator,
    axis: str,
    size: int,
    method: str,
    speed_up: float,
    rounds: int,
    noise: float,
) -> Record:
    base: Record = {"depth": 10, "width": 64, "batch_size": 64}
    base["num_tangents"] = 1 if method == "forward_gradient" else None
    time, memory = EXPONENTS[axis]
    if axis == "depth" and method == "forward_gradient":
        memory = 0.0
    return {
        "axis": axis,
        "size": size,
        "method": method,
        **base,
        axis: size,
        "step_time_s": _blocks(rng, 1e-4 * speed_up * size**time, rounds, noise),
        "peak_memory_bytes": round(1e7 * size**memory),
    }

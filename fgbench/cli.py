"""The commands of the workflow's rules, usable by hand; the only module that parses arguments and names paths."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import webbrowser
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.config import (
    Cell,
    cell_settings,
    cells,
    config_sha256,
    cost_settings,
    data_settings,
    ladder_settings,
    laws_settings,
    mirrors_hash,
    operations_settings,
    probes_settings,
    read_config,
    require_places,
    shown_config,
    split_settings,
    tuning_settings,
    write_config,
)
from fgbench.digests import file_sha256, json_sha256
from fgbench.errors import ConfigError, FgbenchError, NotApplicableError, ResultError
from fgbench.numerics import require_pinned
from fgbench.progress import Progress
from fgbench.provenance import provenance, study_provenance
from fgbench.results import (
    OPERATIONS_KEYS,
    RUN_KEYS,
    rated,
    read_cost,
    read_laws,
    read_operations,
    read_probe,
    read_run_record,
    read_runs,
    read_scaling,
    read_study,
    read_tuning,
    require_described,
    require_split,
    split_identity,
    study_sha256,
    tuning_files,
    why_no_rate,
)
from fgbench.storage import (
    Arrays,
    read_arrays,
    read_json,
    rebuild,
    write_arrays,
    write_json,
    write_text,
    write_with,
)
from fgbench.tuned import read_tuned, tuned_file, tuned_text, used_records
from fgbench.types import Json, Samples, Split

if TYPE_CHECKING:
    import pandas as pd

    from fgbench.comparing import Study as FinishedStudy
    from fgbench.cost.steps import Method, Workload
    from fgbench.training import Settings

LOG = logging.getLogger("fgbench")
METADATA_KEYS = ("asked_for", "used", "input_shape", "class_names", "samples_sha256", "files")
VERIFICATION_KEYS = ("verdict", "runs", "operations", "cells", "references", "study_sha256")
TERMINAL_WIDTH = 80
LOG.propagate = False  # absl, which comes with a data set, would print every line again


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: its own (0 for most), 1 for bad input, 130 for an interrupt."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(given)
    parsed.given = given[1:]
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: what is half-written is removed
    try:
        _log_to(parsed.log)
        return parsed.run(parsed) or 0
    except FgbenchError as error:
        LOG.error("fgbench %s: %s", parsed.command, error)
        return 1
    except KeyboardInterrupt:
        LOG.error(
            "fgbench %s: interrupted; finished work is kept, the same command goes on from there",
            parsed.command,
        )
        return 130
    except Exception:
        LOG.exception("fgbench %s: a fault of fgbench; please report it with these lines", parsed.command)
        return 1


def check(parsed: argparse.Namespace) -> None:
    """Check a config, and that its study can run here; say what study it describes."""
    config = rated(read_config(parsed.config))
    require_places(config, source=str(parsed.config))
    for path in config["references"]:
        _reference(Path(path))
    num_cells, num_seeds = len(cells(config)), len(config["seeds"])
    LOG.info(
        "%s: %d cells at %d seeds, results in %s", parsed.config, num_cells, num_seeds, config["results"]
    )


def prepare(parsed: argparse.Namespace) -> None:
    """Make a study's folder ready: write its config, clear what a killed study left, respect one at work."""
    from fgbench.recovery import clear_leftovers

    config = read_config(parsed.config)
    results = Path(parsed.into or config["results"])
    for sentence in clear_leftovers(Path.cwd(), results, config=parsed.config):
        LOG.warning("%s", sentence)
    write_config(results / "config.yaml", config | {"results": str(results)})


def summary(parsed: argparse.Namespace) -> None:
    """Say in a terminal what a study found and whether it reproduces its references; open its report on a desktop."""
    from fgbench.terminal import study_text

    results = Path(read_config(parsed.config)["results"])
    found, study = _tables(results / "tables")
    verification = _of_study(results / "verification.json", VERIFICATION_KEYS, study)
    width = shutil.get_terminal_size((TERMINAL_WIDTH, 24)).columns
    LOG.info("%s", study_text(found, verification, width=max(width, TERMINAL_WIDTH)))
    page = results / "report.html"
    if not page.exists():
        LOG.info("There is no report yet; `make report CONFIG=%s` makes it.", parsed.config)
        return
    opened = not parsed.closed and _has_desktop() and webbrowser.open(page.resolve().as_uri())
    LOG.info("The report%s: %s", ", opened in your browser" if opened else "", page)


def data(parsed: argparse.Namespace) -> None:
    """Fetch a data set's files, verify them, and read them into one file of samples."""
    config = _config(parsed)
    arrays, metadata = _obtained(parsed.dataset, config)
    made = {"provenance": _provenance(parsed, config, described=[metadata])}
    write_arrays(parsed.samples, arrays, made)
    write_json(parsed.metadata, metadata | made | {"mirrors_hash": mirrors_hash(config, os.environ)})
    LOG.info("%s: %d samples of %s", parsed.dataset, metadata["num_samples"], metadata["used"])


def split(parsed: argparse.Namespace) -> None:
    """Draw each seed's training, validation and test part."""
    from fgbench.seeding import derived_seed
    from fgbench.splits import draw_split, split_arrays

    config, metadata = _config(parsed), _metadata(parsed)
    settings = split_settings(config, parsed.dataset)
    samples = _samples(parsed.samples, metadata)
    pinned = settings["seed"]
    splits = {
        seed: draw_split(
            samples,
            **settings["sizes"][samples.name],
            validation_fraction=settings["validation_fraction"],
            seed=derived_seed(seed, "split") if pinned is None else pinned,
        )
        for seed in _each_once(parsed.seeds)
    }
    made = _provenance(parsed, config, seeds=parsed.seeds, described=[metadata])
    about = {**split_identity(config, metadata), "provenance": made}
    write_arrays(parsed.output, split_arrays(splits), about)
    LOG.info("%s: split for seeds %s", parsed.dataset, _joined(parsed.seeds))


def tune(parsed: argparse.Namespace) -> None:
    """Choose the learning rate of an experiment's methods, each by the same budget, on validation data."""
    from fgbench.tuning import tuned as tuned_methods

    config, metadata = read_config(parsed.config), _metadata(parsed)
    _load(config)
    settings = tuning_settings(config, parsed.dataset, parsed.model)
    _use_one_thread()
    _require_pinned()
    parsed.seeds = settings["trials"]["seeds"]
    found = tuned_methods(
        dict(_splits(parsed, config, metadata)),
        settings["methods"],
        trials=settings["trials"],
        num_classes=len(metadata["class_names"]),
        watch=partial(LOG.info, "%s"),
    )
    write_json(parsed.output, _aside_record(parsed, config, metadata, settings) | found)


def tuned(parsed: argparse.Namespace) -> None:
    """Write the rates that a study tuned, with all its trials, into a file that others name by `tuned`."""
    config = read_config(parsed.results / "config.yaml")
    records = [read_tuning(path, config) for path in tuning_files(parsed.results, config)]
    if not records:
        raise ConfigError(f"{parsed.results}: this study tunes nothing. Name one with `tuning: true`.")
    command = f"make tuned CONFIG={parsed.of} TUNED={parsed.output}"
    text = tuned_text(tuned_file(records, _provenance(parsed, config)), command=command)
    write_text(parsed.output, text)
    LOG.info("%s: the rates of %d experiments", parsed.output, len(records))


def train(parsed: argparse.Namespace) -> None:
    """Train a cell at the given seeds and record the runs."""
    from fgbench.training import model_facts, train

    config, metadata = _config(parsed), _metadata(parsed)
    settings = _settings(parsed, config)
    _require_pinned()
    runs, skipped = [], None
    num_classes, splits = len(metadata["class_names"]), _splits(parsed, config, metadata)
    if settings.learning_rate is None:
        skipped = why_no_rate(read_config(parsed.config), _cell(parsed))
    for seed, one_split in splits if skipped is None else ():
        try:
            run = train(
                one_split,
                settings,
                num_classes=num_classes,
                seed=seed,
                watch=_progress(parsed, seed, settings),
            )
        except NotApplicableError as error:
            skipped = str(error)
            break
        runs.append(run.record(one_split.test))
        LOG.info("seed %d: %s after %d steps", seed, run.status, run.steps)
    if skipped:
        LOG.info("%s/%s/%s: skipped: %s", parsed.dataset, parsed.model, parsed.method, skipped)
    facts = model_facts(settings.model, splits[0][1].train.inputs.shape[1:], num_classes)
    record = _record(parsed, config, metadata, settings) | facts
    write_json(parsed.output, record | {"runs": runs, "skipped": skipped})


def laws(parsed: argparse.Namespace) -> None:
    """Measure the laws of estimators on a model at its initial, half-trained and trained parameters."""
    from fgbench.laws import measured_laws
    from fgbench.training import Settings, initial_parameters, model_facts, points_along

    config, metadata = _config(parsed), _metadata(parsed)
    settings = laws_settings(config, parsed.dataset, parsed.model)
    _use_one_thread()
    _require_pinned()
    parsed.seeds, num_classes = [settings["seed"]], len(metadata["class_names"])
    (seed, one_split), *_ = _splits(parsed, config, metadata)
    loss_fn, initial = initial_parameters(
        one_split, settings["model"], batch_size=settings["batch_size"], num_classes=num_classes, seed=seed
    )
    points = {"initial": initial}
    if settings["trained_with"] and settings["trained_with"]["learning_rate"] is not None:
        trained_with = Settings(**settings["trained_with"])
        points |= points_along(one_split, trained_with, num_classes=num_classes, seed=seed)
    found = measured_laws(
        points,
        loss_fn,
        draws=settings["draws"],
        num_tangents=settings["num_tangents"],
        seed=seed,
        watch=partial(LOG.info, "%s"),
    )
    facts = model_facts(settings["model"], one_split.train.inputs.shape[1:], num_classes)
    write_json(parsed.output, _aside_record(parsed, config, metadata, settings) | facts | found)


def probe(parsed: argparse.Namespace) -> None:
    """Train a cell's first seed again, and look at its estimates along the way: beside the true gradient."""
    from fgbench.probes import Probe
    from fgbench.training import Settings, model_facts
    from fgbench.training import train as train_again

    config, metadata = _config(parsed), _metadata(parsed)
    asked = probes_settings(config, _cell(parsed))
    kept = read_run_record(parsed.run_record, config)
    _use_one_thread()
    _require_pinned()
    parsed.seeds, num_classes = [asked["seed"]], len(metadata["class_names"])
    (seed, one_split), *_ = _splits(parsed, config, metadata)
    rows: list[Json] = []
    if kept["skipped"] is None:
        settings = Settings(**asked["settings"])
        watching = Probe(
            draws=asked["draws"],
            points_per_decade=asked["points_per_decade"],
            batch_size=settings.batch_size,
            seed=seed,
        )
        again = train_again(one_split, settings, num_classes=num_classes, seed=seed, look=watching)
        _require_same_bits(parsed.run_record, kept, again.record(one_split.test))
        rows = watching.rows()
    facts = model_facts(asked["settings"]["model"], one_split.train.inputs.shape[1:], num_classes)
    about = {"method": parsed.method, "seed": seed, "rows": rows, "skipped": kept["skipped"]}
    write_json(parsed.output, _aside_record(parsed, config, metadata, asked) | facts | about)


def _require_same_bits(path: Path, kept: Json, again: Json) -> None:
    """Refuse a probed run that is not, to the last bit, the run that it looks into."""
    known = next(run for run in kept["runs"] if run["seed"] == again["seed"])
    if json_sha256(known) != json_sha256(again):
        raise ResultError(
            f"{path}: seed {again['seed']}, trained again to be probed, came out otherwise. {rebuild(path)}"
        )


def operations(parsed: argparse.Namespace) -> None:
    """Count the operations of every method's step; the same on every machine."""
    _use_one_thread()
    config, described = _config(parsed), _all_metadata(parsed)
    settings = operations_settings(config)
    counted = _counted(settings, described)
    made = _provenance(parsed, config, described=described)
    write_json(parsed.output, {"settings": settings, "cells": counted, "provenance": made})
    LOG.info("operations of %d steps counted", len(counted))


def cost(parsed: argparse.Namespace) -> None:
    """Measure what steps cost: time, its parts, engines, memory. Prints a table; with --output, writes the study's."""
    config = read_config(parsed.config)
    _load(config)
    settings = _asked_for(parsed, cost_settings(config))
    described = _all_metadata(parsed) if parsed.metadata else _obtained_metadata(config, settings)
    record = _cost_record(settings, described)
    if parsed.output is None:
        _print_cost(record, described)
    else:
        write_json(parsed.output, record | {"provenance": _provenance(parsed, config, described=described)})


def scaling(parsed: argparse.Namespace) -> None:
    """Measure how a step's time and memory grow on a ladder of equal layers."""
    config = read_config(parsed.config)
    _load(config)
    settings = ladder_settings(config)
    _start_fresh_processes(settings)
    from fgbench.cost.measuring import cost_of_ladder, devices
    from fgbench.cost.memory import PeakMemory
    from fgbench.provenance import machine

    _use_one_thread()
    peak, before, methods = PeakMemory(), machine(), _methods(settings)
    present, absent = devices()
    ladders = [
        {"device": device}
        | cost_of_ladder(
            settings,
            methods,
            device=device,
            block_s=settings["block_s"],
            peak=peak,
            watch=partial(LOG.info, "%s: %s", device),
        )
        for device in present
    ]
    record = {"settings": settings, "machine": before, "absent": absent, "ladders": ladders}
    write_json(parsed.output, record | {"provenance": _provenance(parsed, config)})


def tables(parsed: argparse.Namespace) -> None:
    """Gather records into tidy tables: CSV, Parquet for the long ones, what each column means, and their provenance."""
    from fgbench.claims import claim_tables
    from fgbench.tables import COLUMNS, LONG_TABLES, study_tables

    as_written = read_config(parsed.config)
    config = rated(as_written)
    run_records = read_runs(parsed.runs, config)
    measured = {
        parsed.operations: read_operations(parsed.operations, config),
        parsed.cost: read_cost(parsed.cost, config),
        parsed.scaling: read_scaling(parsed.scaling, config),
    }
    counted, costs, ladder = measured.values()
    beside = {
        "tuning": {path: read_tuning(path, as_written) for path in parsed.tuning},
        "laws": {path: read_laws(path, config) for path in parsed.laws},
        "probes": {path: read_probe(path, config) for path in parsed.probes},
    }
    of_others = [record for path in parsed.tuned for record in used_records(read_tuned(path), as_written)]
    found = study_tables(
        run_records,
        operations=counted,
        cost=costs,
        scaling=ladder,
        tuning=[*beside["tuning"].values(), *of_others],
        laws=[*beside["laws"].values()],
        probes=[*beside["probes"].values()],
    )
    found |= claim_tables(found)
    written = []
    for name, table in found.items():
        written.append(parsed.output / f"{name}.csv")
        write_with(written[-1], partial(table.to_csv, index=False))
        if name in LONG_TABLES:
            written.append(parsed.output / f"{name}.parquet")
            write_with(written[-1], partial(table.to_parquet, index=False))
    by_path = dict(zip(parsed.runs, run_records, strict=True)) | measured
    for records in beside.values():
        by_path |= records
    made = {_below(path, config): record["provenance"] for path, record in by_path.items()}
    own = made[_below(parsed.output, config)] = _provenance(parsed, config)
    study = study_sha256(run_records)
    files = {path.name: file_sha256(path) for path in written}
    write_json(
        parsed.output / "columns.json",
        {"columns": COLUMNS, "files_sha256": files, "study_sha256": study, "provenance": own},
    )
    if parsed.archive:
        write_with(parsed.archive, partial(_zip, [*written, parsed.output / "columns.json"]))
    write_json(parsed.provenance, study_provenance(shown_config(config), config_sha256(config), made, study))
    LOG.info("%d tables of %d records in %s", len(COLUMNS), len(run_records), parsed.output)


def verify(parsed: argparse.Namespace) -> int:
    """Compare a study's runs with references: exit 0 if reproduced, 1 if not, 2 if nothing can be compared."""
    from fgbench.verification import exit_status, verification
    from fgbench.verification_findings import verdict_lines

    config, records, counted = _study(parsed.results)
    against = config["references"] if parsed.against is None else parsed.against
    found = verification(records, counted["cells"], {str(path): _reference(Path(path)) for path in against})
    for line in verdict_lines(found):
        LOG.info("%s", line)
    if parsed.output is None:
        return exit_status(found["verdict"])
    write_json(parsed.output, found | {"provenance": _provenance(parsed, config)})
    return 0


def reference(parsed: argparse.Namespace) -> None:
    """Write what later studies are compared with, after two independent runs of a study agree bit by bit."""
    from fgbench.verification import agreed_reference

    (config, records, counted), (_, again, counted_again) = _study(parsed.first), _study(parsed.second)
    runs = (str(parsed.first), records, counted["cells"]), (str(parsed.second), again, counted_again["cells"])
    write_json(parsed.output, agreed_reference(*runs, _provenance(parsed, config)))
    LOG.info("%s: written, two independent runs agree", parsed.output)


def report(parsed: argparse.Namespace) -> None:
    """Render the tables as one HTML page that needs no other file."""
    from fgbench.parallel import num_cores
    from fgbench.report import render

    if len(parsed.metadata) != len(parsed.samples):
        numbers = f"{len(parsed.samples)} --samples and {len(parsed.metadata)} --metadata"
        raise ConfigError(f"{numbers} were given; one of each for every data set is accepted.")
    described = _all_metadata(parsed)
    read = [_samples(path, metadata) for metadata, path in zip(described, parsed.samples, strict=True)]
    samples = {
        metadata["asked_for"]: {"inputs": one.inputs, "labels": one.labels}
        for metadata, one in zip(described, read, strict=True)
    }
    tables, study = _tables(parsed.tables)
    page = render(
        tables=tables,
        data={metadata["asked_for"]: metadata for metadata in described},
        samples=samples,
        config=shown_config(rated(read_config(parsed.config))),
        provenance=_of_study(parsed.provenance, ("makers", "results"), study),
        verification=_of_study(parsed.verification, VERIFICATION_KEYS, study),
        rendered=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processes=num_cores(),
    )
    write_text(parsed.output, page)
    LOG.info("%s: %d bytes", parsed.output, len(page.encode()))
    for metadata in described:
        if metadata["used"] != metadata["asked_for"]:
            LOG.warning(
                "%s was asked for, %s was used: the report says why", metadata["asked_for"], metadata["used"]
            )


def compare(parsed: argparse.Namespace) -> None:
    """Compare two finished studies, A and B: what changed, what is within noise, what cannot be compared."""
    from fgbench.compare_findings import headline, overview
    from fgbench.compare_report import comparison_page
    from fgbench.comparing import compared

    if parsed.a.resolve() == parsed.b.resolve():
        raise ConfigError(
            f"{parsed.a} and {parsed.b} are the same folder; two studies' folders are accepted."
        )
    found = compared(_finished(parsed.a), _finished(parsed.b))
    rendered = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_text(parsed.output, comparison_page(found, rendered=rendered))
    for sentence in (headline(found).words, *overview(found)):
        LOG.info("%s", sentence)
    LOG.info("The comparison: %s", parsed.output)


def _has_desktop() -> bool:
    """Return whether somebody sits before a screen here: a terminal, with a desktop around it."""
    shown = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return sys.stdout.isatty() and shown


def _zip(files: Sequence[Path], path: Path) -> None:
    """Write these files to one archive, the same bytes for the same files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(f"tables/{file.name}"), file.read_bytes(), zipfile.ZIP_DEFLATED)


def _config(parsed: argparse.Namespace) -> Json:
    """Return the config, with the rates that tuning chose; what its plugins register is known from here on."""
    config = rated(read_config(parsed.config))
    _load(config)
    return config


def _load(config: Json) -> None:
    from fgbench.plugins import load_plugins

    load_plugins(config["plugins"])


def _settings(parsed: argparse.Namespace, config: Json) -> Settings:
    from fgbench.training import Settings

    _use_one_thread()
    return Settings(**cell_settings(config, _cell(parsed)))


def _start_fresh_processes(settings: Json) -> None:
    """Start the parent of the processes that measure memory: it imports torch while this process does."""
    from fgbench.cost.fresh import fresh_processes

    fresh_processes(method["estimator"]["name"] for method in settings["methods"].values())


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # two are slower on models this small, and give other bits


def _require_pinned() -> None:
    import torch

    require_pinned(torch.backends.cpu.get_cpu_capability())


def _cell(parsed: argparse.Namespace) -> Cell:
    return Cell(parsed.dataset, parsed.model, parsed.method)


def _metadata(parsed: argparse.Namespace) -> Json:
    metadata = read_json(parsed.metadata, keys=METADATA_KEYS)
    require_described(parsed.metadata, metadata, parsed.dataset)
    return metadata


def _obtained(dataset: str, config: Json) -> tuple[Arrays, Json]:
    """Return a data set's arrays and description, its files fetched and verified."""
    from fgbench.datasets import obtain
    from fgbench.datasets.files import Fetcher, mirrors_from
    from fgbench.datasets.packing import samples_to_files

    stand_ins = data_settings(config, dataset)["stand_ins"] or None
    mirrors = mirrors_from(config["data"]["mirrors"], os.environ)
    fetch = Fetcher(Path(config["data"]["folder"]), mirrors)
    obtained = obtain(dataset, fetch=fetch, stand_ins=stand_ins)
    for reason in obtained.reasons:
        LOG.warning("%s: using %s instead. %s", dataset, obtained.samples.name, reason)
    return samples_to_files(obtained)


def _all_metadata(parsed: argparse.Namespace) -> list[Json]:
    return [read_json(path, keys=METADATA_KEYS) for path in parsed.metadata]


def _obtained_metadata(config: Json, settings: Json) -> list[Json]:
    """Return the descriptions of the data sets that a terminal's table needs, fetching them where needed."""
    names = dict.fromkeys(experiment["dataset"] for experiment in settings["experiments"])
    return [_obtained(name, config)[1] for name in names]


def _cost_record(settings: Json, described: Sequence[Json]) -> Json:
    """Return what was measured of each experiment's steps. Rule `cost` hangs on this, not on how it is shown."""
    _start_fresh_processes(settings)
    from fgbench.cost.measuring import cost_of_experiment, devices
    from fgbench.cost.memory import PeakMemory
    from fgbench.provenance import machine

    _use_one_thread()
    peak, before, methods = PeakMemory(), machine(), _methods(settings)
    (present, absent), experiments = devices(), []
    for metadata, named, workload in _workloads(settings, described):
        for device in present:
            where = f"{metadata['asked_for']}/{named} on {device}"
            measured = cost_of_experiment(
                workload,
                methods,
                device=device,
                peak=peak,
                watch=partial(LOG.info, "%s: %s", where),
                **{key: settings[key] for key in ("rounds", "block_s", "compiled")},
            )
            experiments.append(
                {
                    "dataset": metadata["asked_for"],
                    "data": metadata["used"],
                    "model": named,
                    "device": device,
                    "methods": {name: asdict(method) for name, method in methods.items()},
                    **measured,
                }
            )
    return {"settings": settings, "machine": before, "absent": absent, "experiments": experiments}


def _print_cost(record: Json, described: Sequence[Json]) -> None:
    from fgbench.tables import study_tables
    from fgbench.terminal import cost_text

    counted = {"cells": _counted(record["settings"], described)}
    tables = study_tables([], operations=counted, cost=record)
    print(cost_text(tables, width=shutil.get_terminal_size((100, 24)).columns))


def _counted(settings: Json, described: Sequence[Json]) -> list[Json]:
    """Return the operations of each method's step in each experiment, and its passes; of those that apply there."""
    from fgbench.cost.operations import operations, passes
    from fgbench.cost.steps import refusal

    return [
        {
            "dataset": metadata["asked_for"],
            "data": metadata["used"],
            "model": named,
            "method": name,
            "settings": asdict(workload) | asdict(method),
            "operations": operations(workload, method),
            "passes": passes(workload, method),
        }
        for metadata, named, workload in _workloads(settings, described)
        for name, method in _methods(settings).items()
        if refusal(workload, method) is None
    ]


def _methods(settings: Json) -> dict[str, Method]:
    """Return what is measured, by name: a bare forward pass, then the methods."""
    from fgbench.cost.steps import FORWARD_PASS, Method

    return {FORWARD_PASS: Method(None)} | {
        name: Method(**method) for name, method in settings["methods"].items()
    }


def _workloads(settings: Json, described: Sequence[Json]) -> list[tuple[Json, str, Workload]]:
    """Return each experiment's data set's description, its model's name and its workload.

    Raises ConfigError where a description is missing, or a model does not fit its data: before anything is measured.
    """
    from fgbench.cost.steps import Workload
    from fgbench.models import built_model
    from fgbench.splits import model_input_shape

    by_name = {metadata["asked_for"]: metadata for metadata in described}
    missing = [one["dataset"] for one in settings["experiments"] if one["dataset"] not in by_name]
    if missing:
        raise ConfigError(f"--metadata: no description of {missing[0]}; one of each data set is accepted.")
    found = [
        (
            metadata := by_name[experiment["dataset"]],
            experiment["named"],
            Workload(
                input_shape=model_input_shape(metadata["input_shape"]),
                num_classes=len(metadata["class_names"]),
                **{key: experiment[key] for key in ("model", "batch_size", "optimizer")},
            ),
        )
        for experiment in settings["experiments"]
    ]
    for *_, workload in found:
        built_model(workload.model, workload.input_shape, workload.num_classes, seed=0)
    return found


def _asked_for(parsed: argparse.Namespace, settings: Json) -> Json:
    """Return the settings of the experiments and methods named on the command line, of all where none is.

    Raises ConfigError where the study has none of that name, or a part of it would be written as the whole.
    """
    named = {name: value for name in ("dataset", "model", "method") if (value := getattr(parsed, name))}
    if named and parsed.output:
        raise ConfigError(f"--output holds a whole study's cost; leave out --{', --'.join(named)}.")
    of = {
        "dataset": [experiment["dataset"] for experiment in settings["experiments"]],
        "model": [experiment["named"] for experiment in settings["experiments"]],
        "method": [*settings["methods"]],
    }
    for name, value in named.items():
        if value not in of[name]:
            raise ConfigError(
                f"--{name}: {value!r} is not in {parsed.config}; accepted: {', '.join(dict.fromkeys(of[name]))}"
            )
    experiments = [
        experiment
        for experiment in settings["experiments"]
        if parsed.dataset in (None, experiment["dataset"]) and parsed.model in (None, experiment["named"])
    ]
    if not experiments:
        pairs = map("/".join, zip(of["dataset"], of["model"], strict=True))
        raise ConfigError(
            f"--dataset {parsed.dataset} --model {parsed.model}: no experiment of {parsed.config}; accepted: "
            + ", ".join(pairs)
        )
    methods = {
        name: method
        for name, method in settings["methods"].items()
        if parsed.method in (None, name) or method["estimator"]["name"] == "backprop"
    }
    return settings | {"experiments": experiments, "methods": methods}


def _samples(path: Path, metadata: Json) -> Samples:
    from fgbench.datasets.packing import samples_from

    try:
        return samples_from(read_arrays(path).arrays, metadata)
    except ResultError as error:
        raise ResultError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _record(parsed: argparse.Namespace, config: Json, metadata: Json, settings: Settings) -> Json:
    """Return what every record of a cell begins with: what it is, what decided it, what made it."""
    return {
        **vars(_cell(parsed)),
        **split_identity(config, metadata),
        "settings": asdict(settings),
        "provenance": _provenance(parsed, config, seeds=parsed.seeds, described=[metadata]),
    }


def _aside_record(parsed: argparse.Namespace, config: Json, metadata: Json, settings: Json) -> Json:
    """Return what a record of an experiment begins with: its names, what decided it, what made it."""
    return {
        **{key: value for key, value in split_identity(config, metadata).items() if key != "split"},
        "model": parsed.model,
        "settings": settings,
        "provenance": _provenance(parsed, config, seeds=parsed.seeds, described=[metadata]),
    }


def _provenance(
    parsed: argparse.Namespace,
    config: Json,
    *,
    seeds: Sequence[int] | None = None,
    described: Sequence[Json] = (),
) -> Json:
    return provenance(
        parsed.command, parsed.given, config_sha256=config_sha256(config), seeds=seeds, data=described
    )


def _splits(parsed: argparse.Namespace, config: Json, metadata: Json) -> list[tuple[int, Split]]:
    from fgbench.splits import split_from_arrays

    arrays: Arrays = {}
    for path in parsed.splits:
        stored = read_arrays(path)
        require_split(path, stored.about, config=config, metadata=metadata)
        arrays |= stored.arrays
    return [(seed, split_from_arrays(arrays, seed)) for seed in _each_once(parsed.seeds)]


def _each_once(seeds: list[int]) -> list[int]:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ConfigError(f"--seeds: {_joined(twice)} given more than once; each at most once is accepted.")
    return seeds


def _tables(folder: Path) -> tuple[dict[str, pd.DataFrame], str]:
    """Return a study's tables, none changed since it was written, and the hash of the study they tell of."""
    import pandas as pd

    from fgbench.tables import COLUMNS, table_from_csv

    study = _unchanged_tables(folder)
    with pd.option_context("mode.string_storage", "python"):  # for small tables faster than pyarrow's way
        return {name: table_from_csv(name, folder / f"{name}.csv") for name in COLUMNS}, study


def _unchanged_tables(folder: Path) -> str:
    """Check that every file of tables is as it was written; return the hash of the study they tell of."""
    way_out = rebuild(folder, "-r ")
    described = read_json(folder / "columns.json", keys=("files_sha256", "study_sha256"), way_out=way_out)
    for name, recorded in described["files_sha256"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != recorded:
            raise ResultError(f"{path}: was changed or removed after it was written. {way_out}")
    return str(described["study_sha256"])


def _of_study(path: Path, keys: Sequence[str], study: str) -> Json:
    """Return a mapping that tells of the very study whose hash is given."""
    found = read_json(path, keys=(*keys, "study_sha256"))
    if found["study_sha256"] != study:
        raise ResultError(f"{path}: tells of other runs than the tables do. {rebuild(path)}")
    return found


def _finished(folder: Path) -> FinishedStudy:
    """Return what a comparison reads of a finished study: whatever version made it, nothing was changed since.

    Run records are held against the study's own tables, not against its config, which another version may not read.
    """
    from fgbench.comparing import NEEDED, require_made, require_readable
    from fgbench.comparing import Study as FinishedStudy
    from fgbench.tables import table_from_csv

    _require_finished(folder)
    study = _unchanged_tables(folder / "tables")
    require_readable(str(folder), read_json(folder / "tables/columns.json", keys=("columns",))["columns"])
    made = _of_study(folder / "provenance.json", ("config", "data", "makers", "results"), study)
    require_made(str(folder), made)
    paths = [folder / one["path"] for one in made["results"] if one["path"].startswith("runs/")]
    records = [read_json(path, keys=(*RUN_KEYS, "num_parameters")) for path in paths]
    if study_sha256(records) != study:
        raise ResultError(
            f"{folder / 'runs'}: holds other runs than its tables tell of. {rebuild(folder / 'tables', '-r ')}"
        )
    return FinishedStudy(
        name=str(folder),
        tables={name: table_from_csv(name, folder / f"tables/{name}.csv") for name in NEEDED},
        records=records,
        counts=read_json(folder / "operations.json", keys=OPERATIONS_KEYS)["cells"],
        provenance=made,
        verification=_of_study(folder / "verification.json", VERIFICATION_KEYS, study),
    )


def _require_finished(folder: Path) -> None:
    """Refuse a folder that holds no study, or one that `make report` has not finished."""
    if not (folder / "config.yaml").is_file():
        raise ResultError(
            f"{folder}: holds no study (no {folder / 'config.yaml'}); a study's folder of results is accepted."
        )
    parts = ("operations.json", "tables/columns.json", "provenance.json", "verification.json")
    if missing := [part for part in parts if not (folder / part).is_file()]:
        raise ResultError(
            f"{folder}: the study is not finished, it has no {', '.join(missing)}. `make report`, with its CONFIG, "
            "goes on with it."
        )


def _study(path: Path) -> tuple[Json, list[Json], Json]:
    """Return a study's config, run records and counted operations, given its folder of results or its config."""
    if not path.is_file():
        return read_study(path)
    config = rated(read_config(path))
    made_with, records, counted = read_study(Path(config["results"]))
    if config_sha256(made_with) != config_sha256(config):
        raise ResultError(
            f"{config['results']}: was made with another config than {path} is now. Run it first: "
            f"make report CONFIG={path}"
        )
    return config, records, counted


def _reference(path: Path) -> Json:
    from fgbench.verification import require_reference

    way_out = "Take it from the repository again, or make another: see `fgbench reference --help`."
    found = read_json(path, keys=("made", "cells"), way_out=way_out)
    try:
        require_reference(found)
    except ResultError as error:
        raise ResultError(f"{path}: {error}. {way_out}") from None
    return found


def _below(path: Path, config: Json) -> str:
    """Return a result's path below the study's folder."""
    folder = Path(config["results"]).absolute()
    absolute = path.absolute()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(path)


def _progress(parsed: argparse.Namespace, seed: int, settings: Settings) -> Progress:
    place = f"{parsed.seeds.index(seed) + 1} of {len(parsed.seeds)}"
    return Progress(
        f"{parsed.dataset}/{parsed.model}/{parsed.method} seed {seed} ({place})", settings.max_steps
    )


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _log_to(path: Path | None) -> None:
    """Send warnings to the terminal, and everything to the log file where one is named."""
    logging.raiseExceptions = False  # a full disk is told once, by the result that cannot be written
    LOG.setLevel(logging.INFO)
    while LOG.handlers:
        LOG.handlers[0].close()
        LOG.removeHandler(LOG.handlers[0])
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING if path else logging.INFO)
    LOG.addHandler(terminal)
    if path:
        LOG.addHandler(_log_file(path))


def _log_file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, mode="w", encoding="utf-8")
    except OSError as error:
        raise ResultError(
            f"{path}: the log cannot be written ({error.strerror}). Name another --log."
        ) from None


def _joined(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fgbench",
        description="Benchmark forward gradients against backpropagation. `snakemake --cores 4` runs these "
        "commands in their order; each can be run by hand.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for run, arguments, example in _COMMANDS:
        command = commands.add_parser(
            run.__name__,
            help=run.__doc__,
            description=run.__doc__,
            epilog=f"example:\n  fgbench {run.__name__} {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument in arguments:
            name, options = _ARGUMENTS[argument]
            command.add_argument(name, **options)
        command.add_argument("--log", type=Path, metavar="FILE", help="write a log here")
        command.set_defaults(run=run)
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not accepted; accepted: whole numbers from 0 to {2**32 - 1}"
        )
    return int(text)


def _option(name: str, help_text: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return name, {"required": True, "help": help_text, **options}


def _file(name: str, help_text: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return _option(name, help_text, type=Path, metavar="FILE", **options)


def _some(name: str, help_text: str) -> tuple[str, dict[str, Any]]:
    return _file(name, help_text + "; none where there are none", nargs="*", required=False, default=[])


def _folder(name: str, help_text: str) -> tuple[str, dict[str, Any]]:
    return name, {"help": help_text, "type": Path, "metavar": name.upper()}


_ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "config": _file("--config", "the study's config"),
    "dataset": _option("--dataset", "a data set of the config"),
    "model": _option("--model", "a model of the config"),
    "method": _option("--method", "a method of the config"),
    "seeds": _option("--seeds", "the runs' seeds", type=_seed, nargs="+", metavar="SEED"),
    "samples": _file("--samples", "the data set's samples, .npz"),
    "metadata": _file("--metadata", "the data set's description, .json"),
    "splits": _file("--splits", "the seeds' splits, .npz", nargs="+"),
    "all_samples": _file("--samples", "every data set's samples, .npz", nargs="+"),
    "all_metadata": _file("--metadata", "every data set's description, .json, in the same order", nargs="+"),
    "runs": _file(
        "--runs", "run records, .json, at their places …/dataset/model/method/chunk.json", nargs="+"
    ),
    "operations": _file("--operations", "the counted operations, .json"),
    "cost": _file("--cost", "what steps cost, .json"),
    "scaling": _file("--scaling", "how cost grows, .json"),
    "tuning": _some("--tuning", "tuning records of this study, .json"),
    "tuned": _some("--tuned", "the file of tuned rates that this study uses"),
    "laws": _some("--laws", "records of measured laws, .json"),
    "probes": _some("--probes", "records of probed runs, .json"),
    "run_record": _file("--run", "the cell's run record with the first seed, .json", dest="run_record"),
    "a_config": _file(
        "--config",
        "the study's config; without it, config/config.yaml",
        required=False,
        default=Path("config/config.yaml"),
    ),
    "a_dataset": _option("--dataset", "measure this data set's models only", required=False),
    "a_model": _option("--model", "measure this model only", required=False),
    "a_method": _option("--method", "measure this method only, beside backprop", required=False),
    "some_metadata": _file(
        "--metadata",
        "every data set's description, .json; without it, the data sets are fetched",
        nargs="+",
        required=False,
    ),
    "whole": _file(
        "--output", "write the whole study's cost here; without it, a table is printed", required=False
    ),
    "tables": _file("--tables", "the folder of tables"),
    "provenance": _file("--provenance", "what made the study, .json"),
    "verification": _file("--verification", "whether the study reproduces its references, .json"),
    "archive": _file(
        "--archive", "where to write all tables in one .zip; without it, nowhere", required=False
    ),
    "closed": (
        "--no-open",
        {"dest": "closed", "action": "store_true", "help": "do not open the report in a browser"},
    ),
    "into": _file("--into", "the folder of results; without it, the config's", required=False),
    "output": _file("--output", "where to write the result"),
    "results": _folder("results", "a study's folder of results, or its config"),
    "of": _file("--of", "the config that was tuned, for the comment that says how the file is made anew"),
    "first": _folder("first", "a study's folder of results, or its config"),
    "second": _folder("second", "the same of another, independent run of that study"),
    "a": _folder("a", "the folder of results of a finished study, A"),
    "b": _folder("b", "the same of another, B, which is told beside A"),
    "page": _file(
        "--output",
        "where to write the page; without it, comparison.html",
        required=False,
        default=Path("comparison.html"),
    ),
    "against": _file(
        "--against",
        "references to compare with; without it, those that the config names",
        nargs="+",
        required=False,
    ),
    "record": _file(
        "--output",
        "write the comparison here; the exit status then tells only whether that was possible",
        required=False,
    ),
}

_COMMANDS: tuple[tuple[Callable[[argparse.Namespace], int | None], tuple[str, ...], str], ...] = (
    (check, ("config",), "--config config/config.yaml"),
    (prepare, ("config", "into"), "--config config/config.yaml"),
    (
        data,
        ("config", "dataset", "samples", "metadata"),
        "--config config/config.yaml --dataset penguins \\\n"
        "    --samples results/data/penguins.npz --metadata results/data/penguins.json",
    ),
    (
        split,
        ("config", "dataset", "seeds", "samples", "metadata", "output"),
        "--config config/config.yaml --dataset penguins --seeds 0 1 2 3 4 \\\n"
        "    --samples results/data/penguins.npz --metadata results/data/penguins.json \\\n"
        "    --output results/splits/penguins/0.npz",
    ),
    (
        tune,
        ("config", "dataset", "model", "splits", "metadata", "output"),
        "--config config/estimators.yaml --dataset penguins --model mlp \\\n"
        "    --splits results/splits/penguins/20.npz --metadata results/data/penguins.json --output tuning.json",
    ),
    (
        tuned,
        ("results", "of", "output"),
        "build/tuned --of config/config.yaml --output config/tuned.yaml",
    ),
    (
        train,
        ("config", "dataset", "model", "method", "seeds", "splits", "metadata", "output"),
        "--config config/config.yaml --dataset penguins --model mlp --method forward_gradient --seeds 0 1 \\\n"
        "    --splits results/splits/penguins/0.npz --metadata results/data/penguins.json --output run.json",
    ),
    (
        laws,
        ("config", "dataset", "model", "splits", "metadata", "output"),
        "--config config/config.yaml --dataset penguins --model mlp \\\n"
        "    --splits results/splits/penguins/0.npz --metadata results/data/penguins.json --output laws.json",
    ),
    (
        probe,
        ("config", "dataset", "model", "method", "run_record", "splits", "metadata", "output"),
        "--config config/config.yaml --dataset penguins --model mlp --method forward_gradient \\\n"
        "    --run results/runs/penguins/mlp/forward_gradient/0.json --splits results/splits/penguins/0.npz \\\n"
        "    --metadata results/data/penguins.json --output probe.json",
    ),
    (
        operations,
        ("config", "all_metadata", "output"),
        "--config config/config.yaml --metadata results/data/*.json --output results/operations.json",
    ),
    (
        cost,
        ("a_config", "a_dataset", "a_model", "a_method", "some_metadata", "whole"),
        "--model mlp --method forward_gradient",
    ),
    (scaling, ("config", "output"), "--config config/config.yaml --output results/scaling.json"),
    (
        tables,
        (
            *("config", "runs", "operations", "cost", "scaling", "tuning", "tuned", "laws", "probes"),
            *("output", "archive", "provenance"),
        ),
        "--config results/config.yaml --runs results/runs/*/*/*/*.json \\\n"
        "    --operations results/operations.json --cost results/cost.json --scaling results/scaling.json \\\n"
        "    --output results/tables --provenance results/provenance.json",
    ),
    (verify, ("results", "against", "record"), "results --against references/default.json"),
    (
        reference,
        ("first", "second", "output"),
        "results-first results-second --output references/mine.json",
    ),
    (
        report,
        ("config", "tables", "all_samples", "all_metadata", "provenance", "verification", "output"),
        "--config results/config.yaml --tables results/tables \\\n"
        "    --samples results/data/*.npz --metadata results/data/*.json --provenance results/provenance.json \\\n"
        "    --verification results/verification.json --output results/report.html",
    ),
    (summary, ("config", "closed"), "--config config/config.yaml"),
    (compare, ("a", "b", "page"), "results results-of-another-commit --output comparison.html"),
)

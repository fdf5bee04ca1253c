"""The commands of the workflow's rules, usable by hand; the only module that parses arguments and names paths."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.config import (
    Cell,
    cell_settings,
    cells,
    data_settings,
    mirrors_hash,
    read_config,
    split_settings,
)
from fgbench.errors import ConfigError, FgbenchError, ResultError
from fgbench.progress import Progress
from fgbench.storage import read_arrays, read_json, write_arrays, write_json, write_text, write_with
from fgbench.types import Json, Split

if TYPE_CHECKING:
    from fgbench.training import Settings

LOG = logging.getLogger("fgbench")
METADATA_KEYS = ("asked_for", "used", "class_names")
LOG.propagate = False  # absl, which comes with a data set, would print every line again


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 for bad input, 130 for an interrupt."""
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: what is half-written is removed
    try:
        _log_to(parsed.log)
        parsed.run(parsed)
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
    return 0


def check(parsed: argparse.Namespace) -> None:
    """Check a config and say what study it describes."""
    config = read_config(parsed.config)
    num_cells, num_seeds = len(cells(config)), len(config["seeds"])
    LOG.info(
        "%s: %d cells at %d seeds, results in %s", parsed.config, num_cells, num_seeds, config["results"]
    )


def where(parsed: argparse.Namespace) -> None:
    """Say where a study's report lies."""
    LOG.info("The report: %s", Path(read_config(parsed.config)["results"]) / "report.html")


def data(parsed: argparse.Namespace) -> None:
    """Fetch a data set's files, verify them, and read them into one file of samples."""
    from fgbench.datasets import obtain
    from fgbench.datasets.files import Fetcher, mirrors_from
    from fgbench.datasets.packing import samples_to_files

    config = read_config(parsed.config)
    stand_ins = data_settings(config, parsed.dataset)["stand_ins"] or None
    mirrors = mirrors_from(config["data"]["mirrors"], os.environ)
    fetch = Fetcher(Path(config["data"]["folder"]), mirrors)
    obtained = obtain(parsed.dataset, fetch=fetch, stand_ins=stand_ins)
    for reason in obtained.reasons:
        LOG.warning("%s: using %s instead. %s", parsed.dataset, obtained.samples.name, reason)
    arrays, metadata = samples_to_files(obtained)
    write_arrays(parsed.samples, arrays)
    write_json(parsed.metadata, metadata | {"mirrors_hash": mirrors_hash(config, os.environ)})
    LOG.info("%s: %d samples of %s", parsed.dataset, metadata["num_samples"], metadata["used"])


def split(parsed: argparse.Namespace) -> None:
    """Draw each seed's training, validation and test part."""
    from fgbench.datasets.packing import samples_from
    from fgbench.seeding import derived_seed
    from fgbench.splits import draw_split, split_arrays

    settings = split_settings(read_config(parsed.config), parsed.dataset)
    samples = samples_from(read_arrays(parsed.samples), read_json(parsed.metadata, keys=METADATA_KEYS))
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
    write_arrays(parsed.output, split_arrays(splits))
    LOG.info("%s: split for seeds %s", parsed.dataset, _joined(parsed.seeds))


def train(parsed: argparse.Namespace) -> None:
    """Train a cell at the given seeds and record the runs."""
    from fgbench.training import train

    settings, metadata = _settings(parsed), read_json(parsed.metadata, keys=METADATA_KEYS)
    runs, num_parameters = [], 0
    for seed, one_split in _splits(parsed):
        run = train(
            one_split,
            settings,
            num_classes=len(metadata["class_names"]),
            seed=seed,
            watch=_progress(parsed, seed, settings),
        )
        runs.append(run.record(one_split.test))
        num_parameters = run.num_parameters
        LOG.info("seed %d: %s after %d steps", seed, run.status, run.steps)
    record = {"num_parameters": num_parameters, "settings": asdict(settings), "runs": runs}
    write_json(parsed.output, _identity(parsed, metadata) | record)


def time(parsed: argparse.Namespace) -> None:
    """Train a cell at the given seeds, one run after another, and record the seconds that its steps took."""
    from fgbench.cost import timed_run, warm_up
    from fgbench.provenance import machine

    settings, metadata = _settings(parsed), read_json(parsed.metadata, keys=METADATA_KEYS)
    num_classes = len(metadata["class_names"])
    before, runs = machine(), []
    for index, (seed, one_split) in enumerate(_splits(parsed)):
        if index == 0:
            warm_up(one_split, settings, num_classes=num_classes, seed=seed)
        run, seconds = timed_run(
            one_split, settings, num_classes=num_classes, seed=seed, watch=_progress(parsed, seed, settings)
        )
        loss = run.record(one_split.test)["curve"]["train_loss"][-1]
        runs.append({"seed": seed, "steps": run.steps, "train_time_s": seconds, "final_train_loss": loss})
        LOG.info("seed %d: %d steps in %.2f s", seed, run.steps, seconds)
    write_json(parsed.output, _identity(parsed, metadata) | {"machine": before, "runs": runs})


def tables(parsed: argparse.Namespace) -> None:
    """Gather records into tidy tables: CSV, Parquet for the long ones, and what each column means."""
    from fgbench.tables import COLUMNS, LONG_TABLES, study_tables

    run_records = [read_json(path, keys=("settings", "runs")) for path in parsed.runs]
    time_records = [read_json(path, keys=("machine", "runs")) for path in parsed.times]
    for name, table in study_tables(run_records, time_records).items():
        write_with(parsed.output / f"{name}.csv", partial(table.to_csv, index=False))
        if name in LONG_TABLES:
            write_with(parsed.output / f"{name}.parquet", partial(table.to_parquet, index=False))
    write_json(parsed.output / "columns.json", COLUMNS)
    LOG.info("%d tables of %d records in %s", len(COLUMNS), len(run_records), parsed.output)


def report(parsed: argparse.Namespace) -> None:
    """Render the tables as one HTML page that needs no other file."""
    from fgbench.datasets.packing import samples_from
    from fgbench.provenance import environment
    from fgbench.report import render
    from fgbench.tables import COLUMNS, table_from_csv

    if len(parsed.metadata) != len(parsed.samples):
        numbers = f"{len(parsed.samples)} --samples and {len(parsed.metadata)} --metadata"
        raise ConfigError(f"{numbers} were given; one of each for every data set is accepted.")
    described = [read_json(path, keys=METADATA_KEYS) for path in parsed.metadata]
    samples = {
        metadata["asked_for"]: {"inputs": samples_from(read_arrays(path), metadata).inputs}
        for metadata, path in zip(described, parsed.samples, strict=True)
    }
    page = render(
        tables={name: table_from_csv(name, parsed.tables / f"{name}.csv") for name in COLUMNS},
        data={metadata["asked_for"]: metadata for metadata in described},
        samples=samples,
        config=read_config(parsed.config),
        environment=environment(),
    )
    write_text(parsed.output, page)
    LOG.info("%s: %d bytes", parsed.output, len(page.encode()))
    for metadata in described:
        if metadata["used"] != metadata["asked_for"]:
            LOG.warning(
                "%s was asked for, %s was used: the report says why", metadata["asked_for"], metadata["used"]
            )


def _settings(parsed: argparse.Namespace) -> Settings:
    import torch

    from fgbench.training import Settings

    torch.set_num_threads(1)  # two are slower on models this small, and give other bits
    return Settings(**cell_settings(read_config(parsed.config), _cell(parsed)))


def _cell(parsed: argparse.Namespace) -> Cell:
    return Cell(parsed.dataset, parsed.model, parsed.method)


def _identity(parsed: argparse.Namespace, metadata: Json) -> Json:
    return {**vars(_cell(parsed)), "data": metadata["used"]}


def _splits(parsed: argparse.Namespace) -> list[tuple[int, Split]]:
    from fgbench.splits import split_from_arrays

    arrays = {key: value for path in parsed.splits for key, value in read_arrays(path).items()}
    return [(seed, split_from_arrays(arrays, seed)) for seed in _each_once(parsed.seeds)]


def _each_once(seeds: list[int]) -> list[int]:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ConfigError(f"--seeds: {_joined(twice)} given more than once; each at most once is accepted.")
    return seeds


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
            command.add_argument(name, required=True, **options)
        command.add_argument("--log", type=Path, metavar="FILE", help="write a log here")
        command.set_defaults(run=run)
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not accepted; accepted: whole numbers from 0 to {2**32 - 1}"
        )
    return int(text)


def _path(help_text: str, **options: Any) -> dict[str, Any]:
    return {"type": Path, "metavar": "FILE", "help": help_text, **options}


_ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "config": ("--config", _path("the study's config")),
    "dataset": ("--dataset", {"help": "a data set of the config"}),
    "model": ("--model", {"help": "a model of the config"}),
    "method": ("--method", {"help": "a method of the config"}),
    "seeds": ("--seeds", {"type": _seed, "nargs": "+", "metavar": "SEED", "help": "the runs' seeds"}),
    "samples": ("--samples", _path("the data set's samples, .npz")),
    "metadata": ("--metadata", _path("the data set's description, .json")),
    "splits": ("--splits", _path("the seeds' splits, .npz", nargs="+")),
    "all_samples": ("--samples", _path("every data set's samples, .npz", nargs="+")),
    "all_metadata": (
        "--metadata",
        _path("every data set's description, .json, in the same order", nargs="+"),
    ),
    "runs": ("--runs", _path("run records, .json", nargs="+")),
    "times": ("--times", _path("timing records, .json", nargs="+")),
    "tables": ("--tables", _path("the folder of tables")),
    "output": ("--output", _path("where to write the result")),
}

_CELL = ("config", "dataset", "model", "method", "seeds", "splits", "metadata", "output")
_CELL_EXAMPLE = (
    "--config config/config.yaml --dataset penguins --model mlp --method forward_gradient --seeds 0 1 \\\n"
    "    --splits results/splits/penguins/0.npz --metadata results/data/penguins.json --output "
)

_COMMANDS: tuple[tuple[Callable[[argparse.Namespace], None], tuple[str, ...], str], ...] = (
    (check, ("config",), "--config config/config.yaml"),
    (where, ("config",), "--config config/config.yaml"),
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
    (train, _CELL, _CELL_EXAMPLE + "run.json"),
    (time, _CELL, _CELL_EXAMPLE + "time.json"),
    (
        tables,
        ("runs", "times", "output"),
        "--runs results/runs/*/*/*/*.json --times results/times/*/*/*.json --output results/tables",
    ),
    (
        report,
        ("config", "tables", "all_samples", "all_metadata", "output"),
        "--config results/config.yaml --tables results/tables \\\n"
        "    --samples results/data/*.npz --metadata results/data/*.json --output results/report.html",
    ),
)


if __name__ == "__main__":
    sys.exit(main())

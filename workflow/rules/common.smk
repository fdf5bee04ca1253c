# Config in, checked; names of cells, chunks and files out.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from fgbench.config import (
    Cell,
    cell_settings,
    checked,
    chunks,
    cost_settings,
    data_settings,
    ladder_settings,
    mirrors_hash,
    operations_settings,
    read_yaml,
    require_places,
    split_settings,
    write_config,
)
from fgbench.errors import FgbenchError
from fgbench.provenance import versions
from fgbench.recovery import MARK, mark, mark_owner
from fgbench.results import run_files
from fgbench.storage import read_json
from fgbench.sources import code_hash, folder_hash

try:
    for file in workflow.configfiles:
        read_yaml(Path(file))
    source = ", ".join(map(str, workflow.configfiles))
    CONFIG = checked(config, source=source)
    require_places(CONFIG, source=source)
except FgbenchError as error:
    raise WorkflowError(str(error)) from None

RESULTS = Path(CONFIG["results"])
# What every job reads. Not an input of theirs: a job hangs, by its params, on its own part of the config alone.
RESOLVED = RESULTS / "config.yaml"
CHUNKS = chunks(CONFIG, CONFIG["seeds"])
# Jobs that outlive a killed Snakemake are known by this.
os.environ[MARK] = mark()

# Jobs run this very Python, activated or not; --sdm conda brings its own.
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')


wildcard_constraints:
    dataset="[^/]+",
    model="[^/]+",
    method="[^/]+",
    chunk=r"\d+",


def settings_of(wildcards):
    """All of the config that decides a cell's runs: with it as a param, no other change of the config reruns it."""
    return cell_settings(
        CONFIG, Cell(wildcards.dataset, wildcards.model, wildcards.method)
    )


def seeds_of(wildcards):
    return CHUNKS[int(wildcards.chunk)]


def mirrors_tried(wildcards):
    """Return what makes a stand-in's job run again, another mirror; data that was had needs no second look."""
    named = mirrors_hash(CONFIG, os.environ)
    metadata = RESULTS / f"data/{wildcards.dataset}.json"
    try:
        described = read_json(metadata, keys=("asked_for", "used", "mirrors_hash"))
    except FgbenchError:  # not made yet, or damaged: its reader tells
        return named
    had = described["used"] == described["asked_for"]
    return described["mirrors_hash"] if had else named


def datasets():
    """The data sets that the experiments name, each once."""
    return list(
        dict.fromkeys(experiment["dataset"] for experiment in CONFIG["experiments"])
    )

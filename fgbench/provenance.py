"""What made a result: commit, code, config, data, software, machine, command. Plain mappings leave."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import fgbench
from fgbench.digests import json_sha256
from fgbench.numerics import THREADS, instruction_set, pins_of
from fgbench.sources import code_hash
from fgbench.types import Json

PACKAGES = (
    "torch",
    "torchvision",
    "tensorflow-datasets",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "snakemake",
)

MAKER = (
    "commit",
    "dirty",
    "versions",
    "versions_sha256",
    "cpu",
    "instruction_set",
    "pins",
    "threads",
    "os",
)
"""The fields of a provenance that results of one checkout on one machine share."""


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the installed versions of packages by name, without importing them."""
    return {package: metadata.version(package) for package in packages}


def provenance(
    command: str,
    arguments: Sequence[str],
    *,
    config_sha256: str,
    seeds: Sequence[int] | None = None,
    data: Sequence[Json] = (),
) -> Json:
    """Return what makes a result, here and now, by `fgbench command arguments`.

    `data` are the data sets' metadata, as `datasets.packing` writes them; `seeds` those of the runs. `dirty` says
    whether the checkout differs from its commit; `pins` hold what pins the arithmetic, none where it is native.
    """
    software = {"fgbench": fgbench.__version__, "python": platform.python_version(), **versions()}
    return {
        "command": shlex.join(["fgbench", command, *arguments]),
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        **_checkout(),
        "code_hash": code_hash(command),
        "config_sha256": config_sha256,
        "seeds": None if seeds is None else list(seeds),
        "data": [data_of(one) for one in data],
        "versions": software,
        "versions_sha256": json_sha256(software),
        "cpu": cpu(),
        "instruction_set": instruction_set(),
        "pins": pins_of(os.environ),
        "threads": int(os.environ.get("OMP_NUM_THREADS", THREADS["OMP_NUM_THREADS"])),
        "os": platform.platform(),
    }


def data_of(described: Json) -> Json:
    """Return of a data set's metadata what identifies its content and says where it came from."""
    return {key: described[key] for key in ("asked_for", "used", "samples_sha256", "files")}


def study_provenance(
    config: Json, config_sha256: str, results: Mapping[str, Json], study_sha256: str
) -> Json:
    """Return what made a study: its config, its data, and each result's maker and command.

    `results` hold each result's provenance by its path below the results folder, and `study_sha256` is the hash of
    all runs. What several results share stands once, under `makers`; a result names its maker by position. The
    whole is described by `workflow/schemas/provenance.schema.yaml`.
    """
    makers: list[Json] = []
    lines = []
    for path, made in sorted(results.items()):
        maker = {key: made[key] for key in MAKER}
        if maker not in makers:
            makers.append(maker)
        own = {key: made[key] for key in ("command", "code_hash", "config_sha256", "seeds", "finished")}
        lines.append({"path": path, "maker": makers.index(maker), **own})
    data = {json_sha256(one): one for made in results.values() for one in made["data"]}
    return {
        "config": config,
        "config_sha256": config_sha256,
        "seeds": config["seeds"],
        "data": sorted(data.values(), key=lambda one: (one["asked_for"], one["used"])),
        "makers": makers,
        "results": lines,
        "study_sha256": study_sha256,
    }


def machine() -> Json:
    """Return the machine as it is now, for a record of times."""
    import torch

    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "load_average": os.getloadavg()[0],
    }


def cpu() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@cache
def _checkout() -> Json:
    """Return this package's commit, and whether its files differ from it."""
    if shutil.which("git") is None:
        return {"commit": "unknown: there is no git", "dirty": None}
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": "not a git checkout", "dirty": None}
    # A stranger's own config beside the code is no change of it; a new module is.
    changes = [
        _git("status", "--porcelain", "--untracked-files=no"),
        _git("status", "--porcelain", "--", *(f":/{place}" for place in ("fgbench", "report", "workflow"))),
    ]
    return {"commit": commit, "dirty": None if None in changes else any(changes)}


def _git(*arguments: str) -> str | None:
    """Return what git prints of this package's checkout, or None where it fails."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

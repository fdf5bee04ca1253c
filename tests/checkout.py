"""A copy of the sources in which Snakemake is run as a user runs it, and a study that takes it seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SOURCES = (
    "Snakefile",
    "config",
    "environment.yml",
    "fgbench",
    "profiles",
    "report",
    "workflow",
    "pyproject.toml",
)


def tiny_study() -> dict[str, Any]:
    """The smoke study on data that needs no network, with a step or two."""
    study = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    names = {"penguins": "iris", "kmnist_t10k": "digits"}
    for experiment in study["experiments"]:
        experiment["dataset"] = names[experiment["dataset"]]
        experiment |= {"max_steps": 20, "record_every": 10, "target_loss": 1e-9}
    return study | {"results": "results", "seeds": [0, 1, 2], "seeds_per_job": 2, "timed_seeds": [0]}


class Checkout:
    """A copy of the sources, in which Snakemake can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in SOURCES:
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(
                source, folder
            )

    def start(self, study: Any, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `snakemake --cores 4` on a study."""
        text = study if isinstance(study, str) else yaml.safe_dump(study)
        (self.folder / "study.yaml").write_text(text, encoding="utf-8")
        snakemake = str(Path(sys.executable).with_name("snakemake"))
        return subprocess.Popen(
            [snakemake, *arguments, "--cores", "4", "--configfile", "study.yaml"],
            cwd=self.folder,
            env=os.environ | {"FGBENCH_MIRROR": ""} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, study: Any, *arguments: str, **environment: str) -> str:
        """Run it to its end; return what it printed."""
        process = self.start(study, *arguments, **environment)
        printed, _ = process.communicate(timeout=300)
        self.status = process.returncode
        return printed

    def due(self, study: Any, **environment: str) -> dict[str, int]:
        """How many jobs of each rule a run would do now."""
        printed = self.run(study, "--dry-run", **environment)
        assert self.status == 0, printed
        table = printed.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}

    def records(self, pattern: str = "results/runs/*/*/*/*.json") -> dict[str, Any]:
        """Run records by their path."""
        paths = sorted(self.folder.glob(pattern))
        return {str(path.relative_to(self.folder)): json.loads(path.read_text("utf-8")) for path in paths}

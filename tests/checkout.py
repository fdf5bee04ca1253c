"""A copy of the sources in which Snakemake is run as a user runs it, and a study that takes it seconds."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from studies import study_commands

from fgbench.results import study_sha256

ROOT = Path(__file__).parents[1]
SOURCES = (
    "CITATION.cff",
    "Makefile",
    "Snakefile",
    "config",
    "environment.yml",
    "fgbench",
    "profiles",
    "report",
    "workflow",
    "pyproject.toml",
    "references",
)


def tiny_study() -> dict[str, Any]:
    """The smoke study on data that needs no network, with a step or two."""
    study = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    names = {"penguins": "iris", "kmnist_t10k": "digits"}
    for experiment in study["experiments"]:
        experiment["dataset"] = names[experiment["dataset"]]
        experiment |= {"max_steps": 20, "record_every": 10, "target_loss": 1e-9}
    sizes = {"depth": [1, 2], "width": [2, 4], "batch_size": [4, 8], "num_tangents": [1, 2]}
    study["cost"] |= {"rounds": 2, "block_s": 0.0001, "methods": {}}
    study["cost"]["ladder"] |= {"rounds": 1, "at": {"depth": 2, "width": 4, "batch_size": 8}} | sizes
    return study | {"results": "results", "references": [], "seeds": [0, 1, 2], "seeds_per_job": 2}


def sensitive_study(**changes: Any) -> dict[str, Any]:
    """A convolutional network at three seeds, both methods, no ladder: what shows a changed bit first."""
    study = tiny_study()
    study["cost"]["ladder"]["methods"] = []
    return study | {"experiments": study["experiments"][2:], "seeds": [0, 1, 2]} | changes


class Checkout:
    """A copy of the sources, in which Snakemake can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in SOURCES:
            source = ROOT / name
            ignore = shutil.ignore_patterns("*.pyc.*")  # another worker is just writing it
            shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(
                source, folder
            )
        (folder / ".venv").symlink_to(Path(sys.prefix))

    def copied(self, folder: Path) -> Checkout:
        """Return a copy of it, results, times of files and all."""
        shutil.copytree(self.folder, folder, symlinks=True)
        copy = object.__new__(Checkout)
        copy.folder = folder
        return copy

    def start(self, study: Any, *arguments: str, cores: int = 4, **environment: str) -> subprocess.Popen[str]:
        """Start `snakemake --cores 4` on a study."""
        snakemake = str(Path(sys.executable).with_name("snakemake"))
        command = [snakemake, *arguments, "--cores", str(cores), "--configfile", "study.yaml"]
        return self.start_command(study, command, environment)

    def start_make(self, study: Any, *before: str, **environment: str) -> subprocess.Popen[str]:
        """Start `make report` on a study, as a user does; `before` stands before it on the command line.

        The environment that runs the tests is used as it is: make may not install this copy into it.
        """
        command = [*before, "make", "--old-file=.venv/installed", "report", "CONFIG=study.yaml"]
        return self.start_command(study, command, environment)

    def make(self, study: Any, *before: str, **environment: str) -> str:
        """Run `make report` to its end; return what it printed."""
        return self.ended(self.start_make(study, *before, **environment))

    def start_command(
        self, study: Any, command: list[str], environment: dict[str, str]
    ) -> subprocess.Popen[str]:
        """Start a command on a study, in a session and process group of its own."""
        text = study if isinstance(study, str) else yaml.safe_dump(study)
        (self.folder / "study.yaml").write_text(text, encoding="utf-8")
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | {"FGBENCH_MIRROR": ""} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell's background job ignores Ctrl-C, and hands that on to all it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def run(self, study: Any, *arguments: str, cores: int = 4, **environment: str) -> str:
        """Run Snakemake to its end; return what it printed."""
        return self.ended(self.start(study, *arguments, cores=cores, **environment))

    def ended(self, process: subprocess.Popen[str]) -> str:
        """Return what a process printed to its end; its exit status is `status`."""
        printed, _ = process.communicate(timeout=300)
        self.status = process.returncode
        return printed

    def due(self, study: Any, **environment: str) -> dict[str, int]:
        """How many jobs of each rule a run would do now."""
        printed = self.run(study, "--dry-run", **environment)
        assert self.status == 0, printed
        table = printed.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}

    def study_sha256(self) -> str:
        """The hash of all runs."""
        return study_sha256(list(self.records().values()))

    def records(self, pattern: str = "results/runs/*/*/*/*.json") -> dict[str, Any]:
        """Run records by their path."""
        paths = sorted(self.folder.glob(pattern))
        return {str(path.relative_to(self.folder)): json.loads(path.read_text("utf-8")) for path in paths}


def by_hand(results: Path, *launcher: str) -> None:
    """Train the study in `results/config.yaml` by the commands themselves, all in one process.

    Data and splits are taken from `results` where they are there.
    """
    commands = study_commands(results).items()
    words = [shlex.split(command) for made, command in commands if not made.exists()]
    script = (
        "import os, sys\nfrom fgbench.numerics import set_numerics\nset_numerics(os.environ, native=False)\n"
        f"from fgbench.cli import main\nsys.exit(any([main(words) for words in {words!r}]))"
    )
    ran = subprocess.run(
        [*launcher, sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr

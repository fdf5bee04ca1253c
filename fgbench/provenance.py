"""What made a result: versions, machine, commit. Nothing enters; plain mappings leave."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import fgbench
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


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the installed versions of packages by name, without importing them."""
    return {package: metadata.version(package) for package in packages}


def environment() -> Json:
    """Return what the study was rendered with: software, machine and commit."""
    commit = _git("rev-parse", "HEAD")
    return {
        "fgbench": fgbench.__version__,
        "python": platform.python_version(),
        **versions(),
        "cpu": cpu(),
        "platform": platform.platform(),
        "commit": commit or "not a git checkout",
        "dirty": bool(_git("status", "--porcelain")) if commit else None,
    }


def machine() -> Json:
    """Return the machine as it is now, for a record of times."""
    import torch

    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
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


def _git(*arguments: str) -> str:
    """Return what git prints of this package's checkout, or nothing where there is none."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

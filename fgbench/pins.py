"""The running environment enters; constraints.txt and environment.yml leave: `python -m fgbench.pins`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

HEADER = """\
# The pins of constraints.txt for conda users: conda env create -f environment.yml
# conda brings Python and pip; pip brings the very builds that the tests ran on, under the same versions.
name: fgbench
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip>=23.2
  - pip:
"""


def installed() -> list[str]:
    """Return the environment's packages as pins, less this one; a build's local tag ("+cpu") is left out."""
    command = [sys.executable, "-m", "pip", "freeze", "--all", "--exclude", "pip", "--exclude-editable"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    pins = [line.partition("+")[0] for line in frozen if "==" in line]
    return [pin for pin in pins if not pin.startswith(("nvidia-", "cuda-", "triton=="))]


def environment_yml(pins: list[str]) -> str:
    """Return the conda environment that holds these pins."""
    return HEADER + "".join(f"      - {pin}\n" for pin in pins)


if __name__ == "__main__":
    (ROOT / "constraints.txt").write_text("".join(f"{pin}\n" for pin in installed()), encoding="utf-8")
    (ROOT / "environment.yml").write_text(environment_yml(installed()), encoding="utf-8")

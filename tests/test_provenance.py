"""Provenance names the versions, the machine and the commit as they are."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata

import pytest
import torch

from fgbench import provenance


def test_versions_are_the_installed_ones() -> None:
    assert provenance.versions(["torch", "numpy"]) == {
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
    }


def test_the_environment_fits_into_json_and_names_every_package() -> None:
    environment = provenance.environment()
    assert json.loads(json.dumps(environment)) == environment
    assert {"fgbench", "python", "cpu", "platform", "commit", *provenance.PACKAGES} <= environment.keys()


def test_the_commit_is_that_of_the_checkout() -> None:
    environment = provenance.environment()
    folder = os.path.dirname(provenance.__file__)  # noqa: PTH120
    head = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if head.returncode == 0:
        assert environment["commit"] == head.stdout.strip()
        assert isinstance(environment["dirty"], bool)
    else:
        assert environment["commit"] == "not a git checkout"


def test_without_git_the_commit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    environment = provenance.environment()
    assert environment["commit"] == "not a git checkout"
    assert environment["dirty"] is None


def test_the_machine_is_this_one() -> None:
    machine = provenance.machine()
    assert machine["cores"] == os.cpu_count()
    assert machine["torch"] == torch.__version__
    assert machine["threads"] >= 1
    assert machine["cpu"] == provenance.cpu() != ""

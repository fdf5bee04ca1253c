"""The pins are exact, complete and the same for pip and conda."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import skip_or_fail

from fgbench import pins

ROOT = Path(__file__).parents[1]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PINNED = {canonicalize_name(Requirement(pin).name): Requirement(pin) for pin in CONSTRAINTS}
REQUIRED = [
    *PROJECT["dependencies"],
    *(requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra),
]
CONDA_SPECS = [spec for spec in CONDA["dependencies"] if isinstance(spec, str)]
CUDA = re.compile(r"nvidia-|cuda-|triton$")


def test_every_pin_is_one_exact_version_that_any_index_can_have() -> None:
    # No marker, no address, and no local tag ("+cpu"): that one exists in one index only.
    assert [pin for pin in CONSTRAINTS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)] == []


def test_no_package_is_pinned_twice() -> None:
    assert len(PINNED) == len(CONSTRAINTS)


def test_conda_users_get_the_same_pins() -> None:
    [pip] = [spec["pip"] for spec in CONDA["dependencies"] if isinstance(spec, dict)]
    assert pip == CONSTRAINTS


def test_the_conda_environment_is_the_one_written_from_the_pins() -> None:
    assert (ROOT / "environment.yml").read_text(encoding="utf-8") == pins.environment_yml(CONSTRAINTS)


@pytest.mark.parametrize("spec", CONDA_SPECS)
def test_conda_parses_each_spec_strictly(spec: str) -> None:
    try:
        import rattler
    except ImportError:
        skip_or_fail("py-rattler is not installed: make test installs it")
    rattler.MatchSpec(spec, strict=True)


def test_the_conda_environments_python_is_one_that_the_package_takes() -> None:
    [python] = [spec for spec in CONDA_SPECS if spec.startswith("python")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.partition("=")[2])


@pytest.mark.parametrize("requirement", REQUIRED)
def test_what_the_package_asks_for_is_pinned_at_a_version_that_it_takes(requirement: str) -> None:
    asked = Requirement(requirement)
    [pin] = PINNED[canonicalize_name(asked.name)].specifier
    assert asked.specifier.contains(pin.version)


def test_what_a_pinned_package_asks_for_is_pinned_too() -> None:
    unpinned = {
        f"{requirement} of {name}"
        for name in PINNED
        for requirement in map(Requirement, installed_requirements(name))
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) not in PINNED and not CUDA.match(requirement.name)
    }
    assert unpinned == set()


def installed_requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        skip_or_fail(f"{name} is not installed: make test installs it")


def test_no_package_for_a_gpu_is_pinned() -> None:
    assert [name for name in PINNED if CUDA.match(name)] == []


def test_what_is_installed_leaves_as_pins_without_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen:
        stdout = "numpy==2.0.0\ntorch==2.9.0+cpu\nnvidia-nccl-cu12==2.0\ntriton==3.0\ncuda-python==1.0\nlocal @ file:///a\n"

    monkeypatch.setattr(pins.subprocess, "run", lambda *_, **__: Frozen)
    assert pins.installed() == ["numpy==2.0.0", "torch==2.9.0"]

"""A run is the same to its last bit on another processor: on those that qemu imitates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, by_hand, sensitive_study
from support import skip_or_fail

from fgbench.results import read_study, study_sha256
from fgbench.sources import registered


@pytest.fixture(scope="module")
def smoke(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke study's data, and its first seed's splits and 20 steps of its runs, made on this processor by hand."""
    results = tmp_path_factory.mktemp("smoke") / "results"
    study = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    study["data"] |= {"folder": str(results.parent / "resources"), "mirrors": [str(mirror)]}
    study |= {"results": str(results), "references": [], "seeds": [0]}
    for experiment in study["experiments"]:
        experiment |= {"max_steps": 20, "target_loss": 1e-9}
    results.mkdir()
    (results / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    by_hand(results)
    return results


@pytest.fixture(scope="module")
def every_drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short study of every distribution, one tangent and three, with Adam and momentum, made by hand."""
    results = tmp_path_factory.mktemp("every") / "results"
    study = sensitive_study(seeds=[0], results=str(results))
    adam = {"name": "adam", "beta1": 0.9, "beta2": 0.999}
    exponential = {"name": "exponential", "final_fraction": 0.1}
    experiment = study["experiments"][0] | {"dataset": "iris", "optimizer": {"name": "sgd", "momentum": 0.9}}
    study["experiments"] = [
        experiment | {"model": "mlp", "optimizer": adam, "schedule": {"name": "constant"}},
        experiment | {"model": "logistic_regression", "schedule": exponential},
    ]
    drawn = {
        f"{tangents}-{number}": {"tangents": tangents, "num_tangents": number, "learning_rate": 0.01}
        for tangents in registered("tangents")
        for number in (1, 3)
    }
    study["methods"] = {"backprop": {"estimator": "backprop", "learning_rate": 0.01}} | {
        name: {"estimator": "forward_gradient", **options} for name, options in drawn.items()
    }
    # These two call LAPACK.
    study["methods"]["orthonormal"] = drawn["normal-3"] | {"estimator": "orthonormal_projection"}
    study["methods"]["second_order"] = drawn["normal-3"] | {
        "estimator": "second_order_forward",
        "damping": 0.1,
    }
    study["cost"]["ladder"]["methods"] = ["backprop"]
    results.mkdir()
    (results / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    by_hand(results)
    return results


@pytest.fixture
def emulator() -> str:
    """What imitates another processor."""
    if (path := shutil.which("qemu-x86_64")) is None:
        skip_or_fail("qemu-x86_64 is not installed: apt-get install qemu-user")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("study", "cpu"), [("smoke", "Haswell"), ("every_drawing", "EPYC-Rome")])
def test_another_processor_gives_the_same_bits(
    study: str, cpu: str, emulator: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    here, elsewhere = request.getfixturevalue(study), tmp_path / "results"
    for made in ("data", "splits"):
        shutil.copytree(here / made, elsewhere / made)
    config = yaml.safe_load((here / "config.yaml").read_text(encoding="utf-8"))
    (elsewhere / "config.yaml").write_text(yaml.safe_dump(config | {"results": str(elsewhere)}))
    by_hand(elsewhere, emulator, "-cpu", cpu)
    (_, runs, counted), (_, runs_here, counted_here) = read_study(elsewhere), read_study(here)
    assert study_sha256(runs) == study_sha256(runs_here)
    assert counted["cells"] == counted_here["cells"]

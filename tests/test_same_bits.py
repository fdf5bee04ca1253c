"""A run is the same to its last bit: in any job, folder, locale, after any kill, and on another processor."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, Checkout, sensitive_study
from support import skip_or_fail

from fgbench.config import cells, chunks, read_config
from fgbench.results import read_study, study_sha256
from fgbench.sources import registered
from fgbench.storage import read_arrays, read_json

KILLS = 10


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The study, trained by one job after another, all of a cell's seeds in one."""
    checkout = Checkout(tmp_path_factory.mktemp("undisturbed") / "checkout")
    printed = checkout.run(sensitive_study(seeds_per_job=10), "--until", "train", cores=1)
    assert checkout.status == 0, printed
    return checkout


def by_hand(config: Path, results: Path, *launcher: str) -> str:
    """Train a study by the commands themselves, all in one process; return what it printed.

    Data and splits are taken from `results` where they are there.
    """
    study = read_config(config)
    commands = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells(study)):
        samples, metadata = results / f"data/{dataset}.npz", results / f"data/{dataset}.json"
        here = ["--config", config, "--dataset", dataset, "--metadata", metadata]
        if not metadata.exists():
            commands.append(["data", *here, "--samples", samples])
        for chunk, seeds in chunks(study, study["seeds"]).items():
            splits = results / f"splits/{dataset}/{chunk}.npz"
            seeds_given = ["--seeds", *seeds]
            if not splits.exists():
                commands.append(["split", *here, *seeds_given, "--samples", samples, "--output", splits])
            for cell in (cell for cell in cells(study) if cell.dataset == dataset):
                named = ["--model", cell.model, "--method", cell.method, "--splits", splits]
                record = results / f"runs/{dataset}/{cell.model}/{cell.method}/{chunk}.json"
                commands.append(["train", *here, *named, *seeds_given, "--output", record])
    words = [[str(word) for word in command] for command in commands]
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
    return ran.stderr


@pytest.mark.parametrize(
    ("cores", "seeds_per_job", "environment"),
    [
        pytest.param(2, 1, {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"}, id="2 cores, a seed a job"),
        pytest.param(4, 3, {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "7"}, id="4 cores, 3 seeds a job"),
    ],
)
@pytest.mark.slow
def test_cores_chunks_folder_locale_and_time_zone_change_no_bit(
    undisturbed: Checkout, tmp_path: Path, cores: int, seeds_per_job: int, environment: dict[str, str]
) -> None:
    checkout = Checkout(tmp_path / "another folder")
    study = sensitive_study(seeds_per_job=seeds_per_job)
    printed = checkout.run(study, "--until", "train", cores=cores, **environment)
    assert checkout.status == 0, printed
    assert len(checkout.records()) > len(undisturbed.records())
    assert checkout.study_sha256() == undisturbed.study_sha256()


def test_started_by_hand_or_by_snakemake_no_bit_changes(undisturbed: Checkout, tmp_path: Path) -> None:
    config, results = tmp_path / "study.yaml", tmp_path / "results"
    study = sensitive_study(seeds_per_job=10, results=str(results))
    config.write_text(yaml.safe_dump(study), encoding="utf-8")
    by_hand(config, results)
    shutil.copy(config, results / "config.yaml")
    assert study_sha256(read_study(results)[1]) == undisturbed.study_sha256()


def whole(results: Path) -> Iterator[Path]:
    """Read every result that lies under its own name; a half-written one would raise."""
    for path in results.rglob("*.json"):
        if not path.name.startswith("."):
            read_json(path)
            yield path
    for path in results.rglob("*.npz"):
        if not path.name.startswith("."):
            read_arrays(path)
            yield path


@pytest.mark.slow
def test_a_study_killed_ten_times_goes_on_by_make_report_alone_to_the_same_bits(
    undisturbed: Checkout, tmp_path: Path
) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = sensitive_study(seeds_per_job=2)
    kills, moments = 0, []
    while kills < KILLS:
        process = checkout.start_make(study)
        moments.append(random.uniform(1, 6))
        try:
            printed, _ = process.communicate(timeout=moments[-1])
            assert process.returncode == 0, f"after {moments}: {printed}"
            shutil.rmtree(checkout.folder / "results")  # done before its moment came: from the start again
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
        list(whole(checkout.folder / "results"))
    printed = checkout.make(study)
    assert checkout.status == 0, f"after {moments}: {printed}"
    assert checkout.study_sha256() == undisturbed.study_sha256(), f"after {moments}"
    left = [path.name for path in (checkout.folder / "results").rglob(".*")]
    assert set(left) <= {".study.json", ".snakemake_timestamp"}


@pytest.fixture(scope="module")
def smoke(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke study's data, splits and runs, made on this processor by hand."""
    results = tmp_path_factory.mktemp("smoke") / "results"
    study = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    study["data"] |= {"folder": str(results.parent / "resources"), "mirrors": [str(mirror)]}
    study |= {"results": str(results), "references": []}
    results.mkdir()
    (results / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    by_hand(results / "config.yaml", results)
    return results


@pytest.fixture(scope="module")
def every_drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short study of every distribution, one tangent and three, with Adam and momentum, made by hand."""
    results = tmp_path_factory.mktemp("every") / "results"
    study = sensitive_study(seeds=[0], timed_seeds=[0], results=str(results))
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
    results.mkdir()
    (results / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    by_hand(results / "config.yaml", results)
    return results


@pytest.fixture
def emulator() -> str:
    """What imitates another processor."""
    if (path := shutil.which("qemu-x86_64")) is None:
        skip_or_fail("qemu-x86_64 is not installed: apt-get install qemu-user")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["Haswell", "EPYC-Rome"])
@pytest.mark.parametrize("study", ["smoke", "every_drawing"])
def test_another_processor_gives_the_same_bits(
    study: str, cpu: str, emulator: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    here, elsewhere = request.getfixturevalue(study), tmp_path / "results"
    for made in ("data", "splits"):
        shutil.copytree(here / made, elsewhere / made)
    config = yaml.safe_load((here / "config.yaml").read_text(encoding="utf-8"))
    (elsewhere / "config.yaml").write_text(yaml.safe_dump(config | {"results": str(elsewhere)}))
    by_hand(elsewhere / "config.yaml", elsewhere, emulator, "-cpu", cpu)
    assert study_sha256(read_study(elsewhere)[1]) == study_sha256(read_study(here)[1])

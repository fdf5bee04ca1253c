"""A run is the same to its last bit: in any job, folder and locale, and after any kill."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import Checkout, by_hand, sensitive_study

from fgbench.results import read_study, study_sha256
from fgbench.storage import read_arrays, read_json
from fgbench.types import Json

KILLS = 10
COUNTED_AND_TRAINED = ("--until", "train", "operations")


def counts(results: Path) -> list[Json]:
    """The counted operations of a study's steps."""
    return list(read_json(results / "operations.json")["cells"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The study, trained by one job after another, all of a cell's seeds in one."""
    checkout = Checkout(tmp_path_factory.mktemp("undisturbed") / "checkout")
    printed = checkout.run(sensitive_study(seeds_per_job=10), *COUNTED_AND_TRAINED, cores=1)
    assert checkout.status == 0, printed
    return checkout


@pytest.mark.slow
def test_cores_chunks_folder_locale_and_time_zone_change_no_bit(
    undisturbed: Checkout, tmp_path: Path
) -> None:
    """Two cores and a seed a job; the study that is killed has four, and two."""
    checkout = Checkout(tmp_path / "another folder")
    environment = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    printed = checkout.run(sensitive_study(seeds_per_job=1), *COUNTED_AND_TRAINED, cores=2, **environment)
    assert checkout.status == 0, printed
    assert len(checkout.records()) > len(undisturbed.records())
    assert checkout.study_sha256() == undisturbed.study_sha256()
    assert counts(checkout.folder / "results") == counts(undisturbed.folder / "results")


def test_started_by_hand_or_by_snakemake_no_bit_changes(undisturbed: Checkout, tmp_path: Path) -> None:
    results = tmp_path / "results"
    study = sensitive_study(seeds_per_job=10, results=str(results))
    results.mkdir()
    (results / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    by_hand(results)
    assert study_sha256(read_study(results)[1]) == undisturbed.study_sha256()
    assert counts(results) == counts(undisturbed.folder / "results")


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
    assert counts(checkout.folder / "results") == counts(undisturbed.folder / "results")
    left = [path.name for path in (checkout.folder / "results").rglob(".*")]
    assert set(left) <= {".study.json", ".snakemake_timestamp"}

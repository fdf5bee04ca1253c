"""A data set that cannot be had is stood in for as declared, or refused."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fgbench.datasets
from fgbench.datasets import DATASETS, obtain
from fgbench.datasets.files import Fetcher, UnavailableError, UpstreamFile
from fgbench.errors import DataError
from fgbench.types import VerifiedFile

STAND_INS = {"kmnist": ["kmnist_t10k", "digits"], "kmnist_t10k": ["digits"], "penguins": ["iris"]}


def no_network(file: UpstreamFile) -> tuple[Path, VerifiedFile]:
    raise UnavailableError(f"{file.name} could not be fetched; tried nothing", f"Supply {file.name}.")


def failing(error: Exception) -> Callable[[UpstreamFile], tuple[Path, VerifiedFile]]:
    def fetch(_: UpstreamFile) -> tuple[Path, VerifiedFile]:
        raise error

    return fetch


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_a_data_set_that_can_be_had_is_used_without_a_reason(name: str) -> None:
    obtained = obtain(name, fetch=no_network, stand_ins=STAND_INS)
    assert (obtained.samples.name, obtained.asked_for, obtained.reasons) == (name, name, ())


@pytest.mark.parametrize(
    ("name", "used", "missing"),
    [
        ("penguins", "iris", ["penguins: penguins_processed.csv"]),
        ("kmnist_t10k", "digits", ["kmnist_t10k: t10k-images-idx3-ubyte.gz"]),
        (
            "kmnist",
            "digits",
            ["kmnist: train-images-idx3-ubyte.gz", "kmnist_t10k: t10k-images-idx3-ubyte.gz"],
        ),
    ],
)
def test_stand_ins_are_tried_in_order_and_each_failure_gives_its_reason(
    name: str, used: str, missing: list[str]
) -> None:
    obtained = obtain(name, fetch=no_network, stand_ins=STAND_INS)
    assert obtained.samples.name == used
    assert obtained.asked_for == name
    assert obtained.reasons == tuple(
        f"{file} could not be fetched; tried nothing. Supply {file.partition(': ')[2]}." for file in missing
    )


def test_kmnist_is_stood_in_for_by_its_t10k_part_where_that_can_be_had(mirror: Path, tmp_path: Path) -> None:
    fetch = Fetcher(tmp_path / "resources", (str(mirror),))

    def fetch_but_training_images(file: UpstreamFile) -> tuple[Path, VerifiedFile]:
        return no_network(file) if file.name.startswith("train-images") else fetch(file)

    obtained = obtain("kmnist", fetch=fetch_but_training_images, stand_ins=STAND_INS)
    assert obtained.samples.name == "kmnist_t10k"
    assert len(obtained.reasons) == 1


def test_a_reason_tells_expected_and_found_digest(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "penguins_processed.csv").write_bytes(b"")
    fetch = Fetcher(tmp_path / "resources", (str(mirror),), attempts=1, answer_s=0.05)
    (reason,) = obtain("penguins", fetch=fetch, stand_ins=STAND_INS).reasons
    assert "expected sha256 d9e034c8d8905e19" in reason
    assert "found sha256 e3b0c44298fc1c14" in reason


@pytest.mark.parametrize("stand_ins", [None, {}, {"penguins": []}])
def test_without_stand_ins_a_missing_data_set_is_an_error(stand_ins: dict[str, list[str]] | None) -> None:
    with pytest.raises(UnavailableError, match=r"^penguins: penguins_processed\.csv .*Supply penguins_pro"):
        obtain("penguins", fetch=no_network, stand_ins=stand_ins)


def test_where_stand_ins_fail_too_the_error_tells_all_and_how_to_supply_the_first() -> None:
    with pytest.raises(UnavailableError) as caught:
        obtain("kmnist", fetch=no_network, stand_ins={"kmnist": ["kmnist_t10k"]})
    message = str(caught.value)
    assert "kmnist: train-images" in message
    assert "kmnist_t10k: t10k-images" in message
    assert message.endswith("Supply train-images-idx3-ubyte.gz.")


def test_only_a_missing_file_is_stood_in_for() -> None:
    with pytest.raises(DataError, match="disk is full"):
        obtain("penguins", fetch=failing(DataError("disk is full")), stand_ins=STAND_INS)


@pytest.mark.parametrize("stand_ins", [None, {"penguins": ["mnist"]}])
def test_an_unknown_name_is_refused_with_the_names_that_exist(
    stand_ins: dict[str, list[str]] | None,
) -> None:
    with pytest.raises(DataError, match="'mnist'; there are: digits, iris, kmnist, kmnist_t10k, penguins"):
        obtain("penguins" if stand_ins else "mnist", fetch=no_network, stand_ins=stand_ins)


def test_the_registry_is_a_plain_literal_at_the_foot() -> None:
    """Names are read from it without importing."""
    assert fgbench.datasets.__file__
    last = ast.parse(Path(fgbench.datasets.__file__).read_text()).body[-1]
    assert isinstance(last, ast.AnnAssign)
    assert isinstance(last.value, ast.Dict)
    assert [ast.literal_eval(key) for key in last.value.keys if key] == list(DATASETS)


def test_importing_the_data_sets_is_cheap() -> None:
    heavy = ["torch", "torchvision", "sklearn", "tensorflow_datasets", "requests", "pooch"]
    script = (
        f"import sys, fgbench.datasets, fgbench.splits; sys.exit(bool(sys.modules.keys() & set({heavy})))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_data_set_bears_its_registered_name() -> None:
    for name in ("digits", "iris"):
        assert obtain(name, fetch=no_network, stand_ins=None).samples.name == name

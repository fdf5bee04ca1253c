"""tensorflow-datasets reads the penguins from the verified file, and from nowhere else."""

from __future__ import annotations

import csv
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from fgbench.datasets.files import Fetcher, UpstreamFile
from fgbench.datasets.penguins import PENGUINS_PROCESSED, penguins
from fgbench.digests import file_sha256
from fgbench.types import VerifiedFile


def test_the_digest_is_the_one_that_tensorflow_datasets_publishes() -> None:
    import tensorflow_datasets

    checksums = Path(tensorflow_datasets.__file__).parent / "datasets/penguins/checksums.tsv"
    published = {url: digest for url, _, digest, _ in map(str.split, checksums.read_text().splitlines())}
    assert published[PENGUINS_PROCESSED.url] == PENGUINS_PROCESSED.digest


def test_penguins_are_the_rows_of_the_file(fetcher: Fetcher, mirror: Path) -> None:
    samples = penguins(fetcher)
    with (mirror / "penguins_processed.csv").open() as file:
        rows = np.array([list(map(float, row)) for row in list(csv.reader(file))[1:]])
    found = np.column_stack([samples.labels, samples.inputs])
    assert samples.inputs.dtype == np.float32
    assert samples.labels.dtype == np.int64
    assert found.shape == (334, 5)
    np.testing.assert_allclose(found[np.lexsort(found.T)], rows[np.lexsort(rows.T)], atol=1e-6)


def test_the_species_are_named_in_the_order_of_their_labels(fetcher: Fetcher) -> None:
    """The counts of penguins without a missing value, as the palmerpenguins package has them."""
    samples = penguins(fetcher)
    assert samples.class_names == ("Adelie", "Chinstrap", "Gentoo")
    assert np.bincount(samples.labels).tolist() == [146, 68, 120]
    assert samples.feature_names == (
        "culmen_length",
        "culmen_depth",
        "flipper_length",
        "body_mass",
    )
    assert samples.part is None
    assert [file.name for file in samples.files] == ["penguins_processed.csv"]


def test_reading_is_silent_and_touches_neither_network_nor_tensorflow(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    penguins(fetcher)
    assert capfd.readouterr() == ("", "")
    assert "tensorflow" not in sys.modules


def test_two_readings_give_the_same_order(fetcher: Fetcher) -> None:
    np.testing.assert_array_equal(penguins(fetcher).inputs, penguins(fetcher).inputs)


def test_the_reader_checks_again(tmp_path: Path) -> None:
    """A file that changed after it was verified is refused by tensorflow-datasets itself."""

    def fetch(file: UpstreamFile) -> tuple[Path, VerifiedFile]:
        path = tmp_path / file.name
        path.write_text("species,a,b,c,d\n0,1,1,1,1\n")
        return path, VerifiedFile(file.name, file.algorithm, file.digest, file_sha256(path), "a test")

    with pytest.raises(Exception, match="wrong checksum"):
        penguins(fetch)

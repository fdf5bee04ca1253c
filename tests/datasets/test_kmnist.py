"""torchvision reads KMNIST from verified files, whole or one part of it, and downloads nothing."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fgbench.datasets.files import Fetcher, UnavailableError, UpstreamFile
from fgbench.datasets.torchvision_ops import load_torchvision
from fgbench.digests import file_sha256
from fgbench.types import VerifiedFile

module = importlib.import_module("fgbench.datasets.kmnist")  # the package's own `kmnist` is the function


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_addresses_and_digests_are_those_of_torchvision() -> None:
    published = load_torchvision().datasets.KMNIST
    files = (*module.TRAIN_FILES, *module.TEST_FILES)
    assert [(file.name, file.digest) for file in files] == published.resources
    assert {file.url.removesuffix(file.name) for file in files} == set(published.mirrors)
    assert {file.algorithm for file in files} == {"md5"}


def test_classes_are_in_the_order_of_torchvision() -> None:
    romanised = [name.split("(")[1].rstrip(")") for name in module._CLASS_NAMES]
    assert romanised == load_torchvision().datasets.KMNIST.classes


@pytest.mark.usefixtures("no_network")
def test_the_t10k_part_is_one_balanced_pool_of_10000_images(fetcher: Fetcher, mirror: Path) -> None:
    samples = module.kmnist_t10k(fetcher)
    raw = gzip.decompress((mirror / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    np.testing.assert_array_equal(samples.inputs, np.frombuffer(raw, dtype=np.uint8).reshape(10_000, 28, 28))
    assert np.bincount(samples.labels).tolist() == [1000] * 10
    assert samples.labels.dtype == np.int64
    assert samples.part is None
    assert [file.name for file in samples.files] == [file.name for file in module.TEST_FILES]
    assert "CC BY-SA 4.0" in samples.licence
    assert "created by CODH" in samples.licence


@pytest.mark.usefixtures("no_network")
def test_kmnist_keeps_the_official_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small files of the same format: the real training images are 18 MB."""
    rng = np.random.default_rng(0)
    train_images, test_images = (rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (30, 20))
    train_labels, test_labels = (np.arange(n, dtype=np.uint8) % 10 for n in (30, 20))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    train_files = (
        idx_file(mirror / "train-images-idx3-ubyte.gz", train_images),
        idx_file(mirror / "train-labels-idx1-ubyte.gz", train_labels),
    )
    test_files = (
        idx_file(mirror / "t10k-images-idx3-ubyte.gz", test_images),
        idx_file(mirror / "t10k-labels-idx1-ubyte.gz", test_labels),
    )
    monkeypatch.setattr(module, "TRAIN_FILES", train_files)
    monkeypatch.setattr(module, "TEST_FILES", test_files)
    samples = module.kmnist(Fetcher(tmp_path / "resources", (str(mirror),)))
    assert samples.part is not None
    np.testing.assert_array_equal(samples.inputs[samples.part == "train"], train_images)
    np.testing.assert_array_equal(samples.inputs[samples.part == "test"], test_images)
    np.testing.assert_array_equal(samples.labels[samples.part == "train"], train_labels)
    np.testing.assert_array_equal(samples.labels[samples.part == "test"], test_labels)
    assert len(samples.files) == 4


def test_kmnist_without_its_training_images_says_which_file_is_missing() -> None:
    def fetch(file: UpstreamFile) -> tuple[Path, VerifiedFile]:
        raise UnavailableError(f"{file.name} could not be fetched", "Supply it.")

    with pytest.raises(UnavailableError, match="train-images-idx3-ubyte"):
        module.kmnist(fetch)


@pytest.mark.usefixtures("no_network")
def test_the_reader_checks_again(tmp_path: Path) -> None:
    """A file that changed after it was verified is refused by torchvision itself."""

    def fetch(file: UpstreamFile) -> tuple[Path, VerifiedFile]:
        path = tmp_path / file.name
        path.write_bytes(gzip.compress(b"something else"))
        return path, VerifiedFile(file.name, file.algorithm, file.digest, file_sha256(path), "a test")

    with pytest.raises(RuntimeError, match="t10k-images-idx3-ubyte"):
        module.kmnist_t10k(fetch)


def idx_file(path: Path, array: NDArray[np.uint8]) -> UpstreamFile:
    """Write `array` in the format of MNIST's files."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = gzip.compress(header + array.tobytes())
    path.write_bytes(content)
    digest = hashlib.md5(content).hexdigest()
    return UpstreamFile(path.name, "http://upstream.invalid/" + path.name, "md5", digest)

"""A fetcher enters; Kuzushiji-MNIST as torchvision reads it leaves: whole, or its 10,000-image part alone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgbench.datasets.files import Fetch, UpstreamFile
from fgbench.datasets.torchvision_ops import load_torchvision
from fgbench.types import Samples, VerifiedFile

_UPSTREAM = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"


def _file(name: str, digest: str) -> UpstreamFile:
    return UpstreamFile(name=name, url=_UPSTREAM + name, algorithm="md5", digest=digest)


TRAIN_FILES = (
    _file("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
    _file("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
)
TEST_FILES = (
    _file("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
    _file("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
)

_CLASS_NAMES = (
    "お (o)",
    "き (ki)",
    "す (su)",
    "つ (tsu)",
    "な (na)",
    "は (ha)",
    "ま (ma)",
    "や (ya)",
    "れ (re)",
    "を (wo)",
)


def kmnist_t10k(fetch: Fetch) -> Samples:
    """Return KMNIST's official test part as one pool: `inputs` uint8 [10000, 28, 28], ten classes.

    Raises UnavailableError where no address gives one of its two files (3 MB).
    """
    images, labels, verified = _read(fetch, TEST_FILES, train=False)
    note = (
        "KMNIST's official 10,000-image part (t10k), used as one pool from which disjoint training, "
        "validation and test parts are drawn: a few hundred images do not need the 18 MB of the official "
        "training part. "
        "The data set `kmnist` keeps to the official parts."
    )
    return _samples("kmnist_t10k", "Kuzushiji-MNIST (t10k part)", images, labels, None, verified, note)


def kmnist(fetch: Fetch) -> Samples:
    """Return KMNIST with its official parts: `inputs` uint8 [70000, 28, 28], ten classes.

    Raises UnavailableError where no address gives one of its four files (21 MB).
    """
    train_images, train_labels, train_verified = _read(fetch, TRAIN_FILES, train=True)
    test_images, test_labels, test_verified = _read(fetch, TEST_FILES, train=False)
    return _samples(
        "kmnist",
        "Kuzushiji-MNIST",
        np.concatenate([train_images, test_images]),
        np.concatenate([train_labels, test_labels]),
        np.repeat(["train", "test"], [len(train_labels), len(test_labels)]),
        train_verified + test_verified,
        "KMNIST's official parts: training and validation images are drawn from the 60,000 for training, "
        "test images from the 10,000 for testing.",
    )


def _read(
    fetch: Fetch, files: tuple[UpstreamFile, ...], *, train: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[VerifiedFile, ...]]:
    """Return images [N, 28, 28], labels [N] and what they were read from.

    torchvision checks the MD5 sums again and unpacks. It wants all four files and would download what is
    missing: a subclass that knows only these files, and no address that could be asked, keeps it to them.
    """
    fetched = [fetch(file) for file in files]
    datasets = load_torchvision().datasets
    offline = {"resources": [(file.name, file.digest) for file in files], "mirrors": ["no-download:"]}
    with tempfile.TemporaryDirectory() as root:
        dataset_type = type("KMNIST", (datasets.KMNIST,), offline)
        raw = Path(root) / "KMNIST" / "raw"
        raw.mkdir(parents=True)
        for path, _ in fetched:
            shutil.copyfile(path, raw / path.name)
        dataset = dataset_type(root, train=train, download=True)
    images, labels = dataset.data.numpy(), dataset.targets.numpy()
    return images, labels.astype(np.int64), tuple(verified for _, verified in fetched)


def _samples(
    name: str,
    title: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    part: NDArray[np.str_] | None,
    files: tuple[VerifiedFile, ...],
    note: str,
) -> Samples:
    return Samples(
        name=name,
        title=title,
        inputs=images,
        labels=labels,
        class_names=_CLASS_NAMES,
        feature_names=(),
        part=part,
        files=files,
        homepage="http://codh.rois.ac.jp/kmnist/",
        licence='CC BY-SA 4.0: "KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" '
        "(created by NIJL and others), doi:10.20676/00000341",
        citation="Clanuwat T, Bober-Irizar M, Kitamoto A, Lamb A, Yamamoto K, Ha D (2018). "
        "Deep Learning for Classical Japanese Literature. arXiv:1812.01718",
        note=note,
    )

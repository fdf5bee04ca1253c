"""Bundled data sets need no file and no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgbench.datasets.bundled import digits, iris
from fgbench.datasets.files import UpstreamFile
from fgbench.types import VerifiedFile


def fetch_nothing(file: UpstreamFile) -> tuple[Path, VerifiedFile]:
    raise AssertionError(f"{file.name} was fetched")


def test_digits_are_enlarged_to_the_size_and_range_of_kmnist() -> None:
    samples = digits(fetch_nothing)
    assert samples.inputs.shape == (1797, 28, 28)
    assert samples.inputs.dtype == np.uint8
    assert (samples.inputs.min(), samples.inputs.max()) == (0, 255)
    assert samples.labels.dtype == np.int64
    assert len(samples.class_names) == 10
    assert "enlarged" in samples.title


def test_an_enlarged_digit_is_still_that_digit() -> None:
    """Averaged back over the blocks, it agrees with the original but for the smoothing at edges."""
    from sklearn.datasets import load_digits

    small = load_digits().images * (255 / 16)
    large = digits(fetch_nothing).inputs.astype(float)
    centres = np.rint((np.arange(8) + 0.5) * 3.5 - 0.5).astype(int)
    sampled = large[:, centres][:, :, centres]
    assert np.corrcoef(sampled.ravel(), small.ravel())[0, 1] > 0.98


def test_iris_has_four_features_and_three_balanced_species() -> None:
    samples = iris(fetch_nothing)
    assert samples.inputs.shape == (150, 4)
    assert samples.inputs.dtype == np.float32
    assert len(samples.feature_names) == 4
    assert np.bincount(samples.labels).tolist() == [50, 50, 50]
    assert samples.class_names == ("setosa", "versicolor", "virginica")

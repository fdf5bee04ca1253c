"""Splits are disjoint, stratified, repeatable, and scaled by their training part alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fgbench.errors import DataError, ResultError
from fgbench.splits import draw_split, model_input_shape, split_arrays, split_from_arrays
from fgbench.storage import read_arrays, write_arrays
from fgbench.types import Part, Samples, Split


def samples_of(
    inputs: NDArray[np.float32] | NDArray[np.uint8], labels: NDArray[np.int64], num_official_test: int = 0
) -> Samples:
    part = None
    if num_official_test:
        part = np.repeat(["train", "test"], [len(labels) - num_official_test, num_official_test])
    return Samples(
        name="made_up",
        title="Made up",
        inputs=inputs,
        labels=labels,
        class_names=tuple(str(label) for label in range(labels.max() + 1)),
        feature_names=(),
        part=part,
        files=(),
        homepage="",
        licence="",
        citation="",
        note="",
    )


def features(num_samples: int = 120, num_official_test: int = 0) -> Samples:
    """Three classes, of which the last is twice as frequent; the last of four features is constant."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(3, 2, (num_samples, 4)).astype(np.float32)
    inputs[:, 3] = 0.1
    return samples_of(inputs, np.array([0, 1, 2, 2] * (num_samples // 4)), num_official_test)


def images(num_samples: int = 100) -> Samples:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (num_samples, 28, 28), dtype=np.uint8)
    return samples_of(pixels, np.arange(num_samples) % 10)


def split_of(samples: Samples, **changes: float) -> Split:
    sizes = {"num_train": 60, "num_test": 40, "validation_fraction": 0.2, "seed": 0} | changes
    return draw_split(samples, **sizes)  # type: ignore[arg-type]


def parts(split: Split) -> tuple[Part, Part, Part]:
    return split.train, split.validation, split.test


@pytest.mark.parametrize("samples", [features(), images(), features(num_official_test=48)])
def test_parts_are_disjoint_and_of_the_sizes_asked_for(samples: Samples) -> None:
    split = split_of(samples)
    assert [len(part.ids) for part in parts(split)] == [48, 12, 40]
    assert len(np.unique(np.concatenate([part.ids for part in parts(split)]))) == 100


def test_labels_and_inputs_belong_to_their_ids() -> None:
    samples = features()
    for part in parts(split_of(samples)):
        np.testing.assert_array_equal(part.labels, samples.labels[part.ids])
        order = np.argsort(part.inputs[:, 0])
        np.testing.assert_array_equal(order, np.argsort(samples.inputs[part.ids, 0]))


def test_every_part_has_the_classes_in_the_proportion_of_the_whole() -> None:
    counts = [np.bincount(part.labels).tolist() for part in parts(split_of(features()))]
    assert counts == [[12, 12, 24], [3, 3, 6], [10, 10, 20]]


def test_official_parts_are_kept_to() -> None:
    samples = features(num_official_test=48)
    assert samples.part is not None
    split = split_of(samples)
    assert set(samples.part[split.train.ids]) == {"train"}
    assert set(samples.part[split.validation.ids]) == {"train"}
    assert set(samples.part[split.test.ids]) == {"test"}


def test_equal_seeds_give_equal_splits_and_others_differ() -> None:
    first, again, other = (split_of(features(), seed=seed) for seed in (1, 1, 2))
    for part, same in zip(parts(first), parts(again), strict=True):
        np.testing.assert_array_equal(part.ids, same.ids)
        np.testing.assert_array_equal(part.inputs, same.inputs)
    assert set(first.test.ids) != set(other.test.ids)


def test_features_are_standardised_by_the_training_part_alone() -> None:
    samples = features()
    split = split_of(samples)
    raw = samples.inputs[split.train.ids].astype(np.float64)
    mean, deviation = raw.mean(axis=0)[:3], raw.std(axis=0)[:3]
    for part in parts(split):
        expected = (samples.inputs[part.ids, :3] - mean) / deviation
        np.testing.assert_allclose(part.inputs[:, :3], expected, rtol=1e-4, atol=1e-6)
        assert part.inputs.dtype == np.float32
        assert part.labels.dtype == np.int64


def test_a_constant_feature_becomes_zero() -> None:
    for part in parts(split_of(features())):
        np.testing.assert_allclose(part.inputs[:, 3], 0, atol=1e-7)


def test_images_get_a_channel_and_the_training_parts_mean_and_deviation() -> None:
    samples = images()
    split = split_of(samples)
    raw = samples.inputs[split.train.ids] / 255
    assert split.train.inputs.shape == (48, 1, 28, 28)
    for part in parts(split):
        expected = (samples.inputs[part.ids][:, None] / 255 - raw.mean()) / raw.std()
        np.testing.assert_allclose(part.inputs, expected, atol=1e-5)
        assert part.inputs.dtype == np.float32


@pytest.mark.parametrize("samples", [features(), images()], ids=["features", "images"])
def test_a_models_input_has_the_shape_that_splits_give_it(samples: Samples) -> None:
    shape = model_input_shape(samples.inputs.shape[1:])
    assert all(part.inputs.shape[1:] == shape for part in parts(split_of(samples)))


def test_images_of_a_single_grey_stay_finite() -> None:
    grey = samples_of(np.full((100, 28, 28), 7, dtype=np.uint8), np.arange(100) % 10)
    np.testing.assert_allclose(split_of(grey).test.inputs, 0, atol=1e-6)


def test_all_samples_can_be_used() -> None:
    split = split_of(features(), num_train=60, num_test=60)
    assert len(np.unique(np.concatenate([part.ids for part in parts(split)]))) == 120
    official = split_of(features(num_official_test=48), num_train=72, num_test=48, validation_fraction=0.5)
    assert [len(part.ids) for part in parts(official)] == [36, 36, 48]


@pytest.mark.parametrize(
    ("samples", "changes", "message"),
    [
        (features(), {"num_train": 100}, "140 samples are asked for, 120 exist"),
        (
            features(num_official_test=48),
            {"num_train": 73},
            "73 training samples are asked for, 72 exist",
        ),
        (features(num_official_test=48), {"num_test": 49}, "49 test samples are asked for, 48 exist"),
        (images(), {"num_test": 9}, "9 samples for the test part cannot hold one of each of 10 classes"),
        (images(), {"num_train": 18, "validation_fraction": 0.5}, "9 samples for the train part"),
        (images(), {"validation_fraction": 0.001}, "0 samples for the validation part"),
        (images(), {"validation_fraction": 0.1}, "6 samples for the validation part"),
        (
            samples_of(np.eye(20, dtype=np.float32), np.repeat([0, 1], [19, 1])),
            {"num_train": 10, "num_test": 10},
            "cannot be drawn",
        ),
    ],
)
def test_impossible_sizes_are_refused_with_both_numbers(
    samples: Samples, changes: dict[str, float], message: str
) -> None:
    with pytest.raises(DataError, match=f"^made_up: .*{message}"):
        split_of(samples, **({"validation_fraction": 0.2} | changes))


def test_splits_of_several_seeds_come_back_from_one_file(tmp_path: Path) -> None:
    splits = {seed: split_of(images(), seed=seed) for seed in (3, 10)}
    write_arrays(tmp_path / "splits.npz", split_arrays(splits), {})
    arrays = read_arrays(tmp_path / "splits.npz").arrays
    assert "10/validation/labels" in arrays
    for seed, split in splits.items():
        for part, packed in zip(parts(split), parts(split_from_arrays(arrays, seed)), strict=True):
            np.testing.assert_array_equal(part.inputs, packed.inputs)
            np.testing.assert_array_equal(part.labels, packed.labels)
            np.testing.assert_array_equal(part.ids, packed.ids)


def test_a_seed_without_a_split_is_refused_with_the_seeds_that_exist() -> None:
    arrays = split_arrays({seed: split_of(features(), seed=seed) for seed in (3, 10)})
    with pytest.raises(ResultError, match=r"no split of seed 4: .*there are: 3, 10"):
        split_from_arrays(arrays, 4)

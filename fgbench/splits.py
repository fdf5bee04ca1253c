"""Samples and a seed enter; disjoint, stratified, scaled training, validation and test parts leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbench.datasets.torchvision_ops import load_torchvision
from fgbench.errors import DataError, ResultError
from fgbench.types import Part, Samples, Split


def draw_split(
    samples: Samples, *, num_train: int, num_test: int, validation_fraction: float, seed: int
) -> Split:
    """Return stratified, disjoint parts drawn by `seed`, scaled by the mean and deviation of `train` alone.

    The validation part is `validation_fraction` of the `num_train` samples; `train` keeps the rest of them.
    Where upstream publishes official parts, training and validation samples come from its training part and
    test samples from its test part. Features leave as float32 [n, features], images as float32
    [n, 1, height, width], labels as int64 [n]. Equal seeds give equal splits: `seed` feeds numpy's
    SeedSequence, whose words feed scikit-learn.

    Raises DataError where more samples are asked for than exist, or fewer than one of each class.
    """
    num_validation = round(num_train * validation_fraction)
    _check_sizes(samples, num_train - num_validation, num_validation, num_test)
    seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(3)]
    fit_ids, test_ids = _drawn_ids(samples, num_train, num_test, seeds[:2])
    train_ids, validation_ids = _parted(
        samples, fit_ids, num_train - num_validation, num_validation, seeds[2]
    )
    scaled = _scaled_images if samples.inputs.ndim == 3 else _scaled_features
    reference = samples.inputs[train_ids]
    train, validation, test = (
        Part(scaled(samples.inputs[ids], reference), samples.labels[ids].astype(np.int64), ids)
        for ids in (train_ids, validation_ids, test_ids)
    )
    return Split(train=train, validation=validation, test=test)


def split_arrays(splits: Mapping[int, Split]) -> dict[str, NDArray[Any]]:
    """Return the arrays of several seeds' splits, each under "seed/part/field"."""
    return {
        f"{seed}/{part}/{field.name}": getattr(getattr(split, part), field.name)
        for seed, split in splits.items()
        for part in _PARTS
        for field in fields(Part)
    }


def split_from_arrays(arrays: Mapping[str, NDArray[Any]], seed: int) -> Split:
    """Return the split of `seed` that `split_arrays` packed.

    Raises ResultError where it is not there.
    """
    try:
        return Split(
            **{
                part: Part(**{field.name: arrays[f"{seed}/{part}/{field.name}"] for field in fields(Part)})
                for part in _PARTS
            }
        )
    except KeyError as error:
        seeds = ", ".join(sorted({key.split("/")[0] for key in arrays}, key=lambda seed: (len(seed), seed)))
        raise ResultError(
            f"no split of seed {seed}: {error} is missing; there are: {seeds}. "
            "Delete the file and run the study again: only what depends on it is rebuilt."
        ) from None


_PARTS = ("train", "validation", "test")


def model_input_shape(stored: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of one input as a model sees it, for that of one sample as stored: images get a channel.

    >>> model_input_shape([4]), model_input_shape([28, 28])
    ((4,), (1, 28, 28))
    """
    return (1, *stored) if len(stored) == 2 else tuple(stored)


def _check_sizes(samples: Samples, num_train: int, num_validation: int, num_test: int) -> None:
    """Refuse sizes that the samples cannot fill, or that cannot hold one sample of each class."""
    num_classes = len(samples.class_names)
    for part, size in (("train", num_train), ("validation", num_validation), ("test", num_test)):
        if size < num_classes:
            raise DataError(
                f"{samples.name}: {size} samples for the {part} part cannot hold one of each of "
                f"{num_classes} classes. Ask for more samples."
            )
    num_fit = num_train + num_validation
    if samples.part is None:
        _check_enough(samples, "samples", num_fit + num_test, len(samples.labels))
    else:
        _check_enough(samples, "training samples", num_fit, int(np.sum(samples.part == "train")))
        _check_enough(samples, "test samples", num_test, int(np.sum(samples.part == "test")))


def _check_enough(samples: Samples, what: str, asked: int, existing: int) -> None:
    if asked > existing:
        raise DataError(
            f"{samples.name}: {asked} {what} are asked for, {existing} exist. Ask for fewer samples "
            "in the config (training samples, which include the validation part, and test samples)."
        )


def _drawn_ids(
    samples: Samples, num_train: int, num_test: int, seeds: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return positions [num_train] to train and validate on, and positions [num_test] to test on."""
    ids = np.arange(len(samples.labels))
    if samples.part is None:
        return _parted(samples, ids, num_train, num_test, seeds[0])
    train, _ = _parted(samples, ids[samples.part == "train"], num_train, 0, seeds[0])
    test, _ = _parted(samples, ids[samples.part == "test"], num_test, 0, seeds[1])
    return train, test


def _parted(
    samples: Samples, ids: NDArray[np.int64], num_first: int, num_second: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return two disjoint stratified draws from `ids`, of `num_first` and `num_second` positions."""
    from sklearn.model_selection import train_test_split

    if num_first == len(ids):
        return ids, ids[:0]
    try:
        first, second = train_test_split(
            ids,
            train_size=num_first,
            test_size=num_second or len(ids) - num_first,
            stratify=samples.labels[ids],
            random_state=seed,
        )
    except ValueError as error:
        raise DataError(
            f"{samples.name}: {num_first} and {num_second} of {len(ids)} samples cannot be drawn: {error}"
        ) from None
    return first, second[:num_second]


def _scaled_features(features: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float32]:
    """Return features [n, features] less the reference's mean, over its deviation (over 1 for a constant)."""
    reference = reference.astype(np.float64)
    deviation = reference.std(axis=0)
    constant = np.ptp(reference, axis=0) == 0
    scaled: NDArray[np.float64] = (features - reference.mean(axis=0)) / np.where(constant, 1, deviation)
    return scaled.astype(np.float32)


def _scaled_images(images: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float32]:
    """Return images [n, height, width] as [n, 1, height, width], less the reference's mean, in its deviation.

    The two statistics come from sums of integers, which are exact on every CPU.
    """
    import torch

    v2 = load_torchvision().transforms.v2
    pixels = reference.astype(np.int64)
    mean = int(pixels.sum()) / pixels.size
    variance = int((pixels**2).sum()) / pixels.size - mean**2
    deviation = float(np.sqrt(variance)) if np.ptp(pixels) else 255.0
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[mean / 255], std=[deviation / 255]),
        ]
    )
    scaled: NDArray[np.float32] = transform(torch.from_numpy(images[:, None])).numpy()
    return scaled

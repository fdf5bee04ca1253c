"""Samples survive their way through files, and are refused where they did not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fgbench.datasets import Obtained
from fgbench.datasets.packing import samples_from, samples_to_files
from fgbench.errors import ResultError
from fgbench.storage import read_arrays, read_json, write_arrays, write_json
from fgbench.types import Samples, VerifiedFile


def obtained(*, part: bool) -> Obtained:
    samples = Samples(
        name="digits",
        title="Digits",
        inputs=np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2),
        labels=np.array([0, 1, 0, 1]),
        class_names=("お (o)", "き (ki)"),
        feature_names=(),
        part=np.array(["train", "train", "test", "test"]) if part else None,
        files=(VerifiedFile("a.gz", "md5", "0" * 32, "1" * 64, "http://host/a.gz"),),
        homepage="http://host",
        licence="CC0",
        citation="Nobody (2000)",
        note="All of it.",
    )
    return Obtained(samples, asked_for="kmnist", reasons=("kmnist: not reached",))


@pytest.mark.parametrize("part", [False, True])
def test_samples_come_back_from_files_as_they_were(tmp_path: Path, part: bool) -> None:
    before = obtained(part=part)
    arrays, metadata = samples_to_files(before)
    write_arrays(tmp_path / "samples.npz", arrays, {})
    write_json(tmp_path / "samples.json", metadata)
    after = samples_from(read_arrays(tmp_path / "samples.npz").arrays, read_json(tmp_path / "samples.json"))
    for field in dataclasses.fields(Samples):
        np.testing.assert_array_equal(getattr(after, field.name), getattr(before.samples, field.name))
    assert after.inputs.dtype == np.uint8
    assert after.files == before.samples.files


def test_the_metadata_tells_what_was_asked_for_used_and_why() -> None:
    _, metadata = samples_to_files(obtained(part=False))
    assert metadata["asked_for"] == "kmnist"
    assert metadata["used"] == "digits"
    assert metadata["reasons"] == ["kmnist: not reached"]
    assert metadata["num_samples"] == 4
    assert metadata["input_shape"] == [2, 2]
    assert metadata["files"] == [
        {
            "name": "a.gz",
            "algorithm": "md5",
            "digest": "0" * 32,
            "sha256": "1" * 64,
            "origin": "http://host/a.gz",
        }
    ]
    assert json.loads(json.dumps(metadata)) == metadata


@pytest.mark.parametrize("name", ["inputs", "labels", "part"])
def test_arrays_that_were_tampered_with_are_refused(name: str) -> None:
    arrays, metadata = samples_to_files(obtained(part=True))
    arrays[name] = arrays[name][::-1].copy()
    with pytest.raises(ResultError, match="do not belong to their metadata"):
        samples_from(arrays, metadata)


def test_metadata_that_lacks_a_field_is_refused_by_its_name() -> None:
    arrays, metadata = samples_to_files(obtained(part=True))
    del metadata["licence"]
    with pytest.raises(ResultError, match="'licence' is missing"):
        samples_from(arrays, metadata)

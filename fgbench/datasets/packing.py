"""Samples enter; arrays and a mapping fit for files leave, and the other way round, verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from numpy.typing import NDArray

from fgbench.datasets import Obtained
from fgbench.digests import arrays_sha256
from fgbench.errors import ResultError
from fgbench.types import Json, Samples, VerifiedFile


def samples_to_files(obtained: Obtained) -> tuple[dict[str, NDArray[Any]], Json]:
    """Return the arrays of the samples by name, and all else about them as a mapping that JSON can hold.

    `input_shape` is that of one sample as stored ([4] or [28, 28]); `samples_sha256` is over the arrays.
    """
    samples = obtained.samples
    arrays: dict[str, NDArray[Any]] = {"inputs": samples.inputs, "labels": samples.labels}
    if samples.part is not None:
        arrays["part"] = samples.part
    metadata: Json = {
        "asked_for": obtained.asked_for,
        "used": samples.name,
        "reasons": list(obtained.reasons),
        "title": samples.title,
        "note": samples.note,
        "num_samples": len(samples.labels),
        "input_shape": list(samples.inputs.shape[1:]),
        "class_names": list(samples.class_names),
        "feature_names": list(samples.feature_names),
        "homepage": samples.homepage,
        "licence": samples.licence,
        "citation": samples.citation,
        "files": [asdict(file) for file in samples.files],
        "samples_sha256": arrays_sha256(arrays),
    }
    return arrays, metadata


def samples_from(arrays: Mapping[str, NDArray[Any]], metadata: Json) -> Samples:
    """Return the samples that `samples_to_files` took apart.

    Raises ResultError where the arrays are not those that the metadata describes, or a field is missing.
    """
    found, expected = arrays_sha256(arrays), metadata.get("samples_sha256")
    if found != expected:
        raise ResultError(
            f"samples of {metadata.get('used')}: the arrays do not belong to their metadata "
            f"(expected SHA-256 {expected}, found {found}). {_REBUILD}"
        )
    try:
        return Samples(
            name=metadata["used"],
            inputs=arrays["inputs"],
            labels=arrays["labels"],
            part=arrays.get("part"),
            class_names=tuple(metadata["class_names"]),
            feature_names=tuple(metadata["feature_names"]),
            files=tuple(VerifiedFile(**file) for file in metadata["files"]),
            **{key: metadata[key] for key in ("title", "homepage", "licence", "citation", "note")},
        )
    except KeyError as error:
        raise ResultError(f"samples of {metadata.get('used')}: {error} is missing. {_REBUILD}") from None


_REBUILD = "Delete both files and run the study again: only what depends on them is rebuilt."

"""A fetcher enters; the Palmer penguins leave, as tensorflow-datasets reads them (without TensorFlow)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from fgbench.datasets.files import Fetch, UpstreamFile
from fgbench.types import Samples

PENGUINS_PROCESSED = UpstreamFile(
    name="penguins_processed.csv",
    url="https://storage.googleapis.com/download.tensorflow.org/data/palmer_penguins/penguins_processed.csv",
    algorithm="sha256",
    digest="d9e034c8d8905e19b5528a9c195091ceba4b14df6c095c050d89c5f106dd50ba",
)


def penguins(fetch: Fetch) -> Samples:
    """Return 334 penguins: `inputs` float32 [334, 4], each feature scaled to 0..1 by upstream; three species.

    Raises UnavailableError where no address gives the file.
    """
    path, verified = fetch(PENGUINS_PROCESSED)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        builder = _prepared_builder(path, Path(folder))
        rows = list(builder.as_data_source("train"))
        # Upstream names a unit (culmen_length_mm) for features that it has scaled to 0..1.
        columns = [name.rpartition("_")[0] for name in builder.builder_config.features if name != "species"]
        info = builder.info
    return Samples(
        name="penguins",
        title="Palmer penguins",
        inputs=np.stack([row["features"] for row in rows]).astype(np.float32),
        labels=np.array([row["species"] for row in rows], dtype=np.int64),
        class_names=_species(builder),
        feature_names=tuple(columns),
        part=None,
        files=(verified,),
        homepage=info.homepage,
        licence="CC0 1.0",
        citation="Horst AM, Hill AP, Gorman KB (2020). palmerpenguins: Palmer Archipelago (Antarctica) "
        "penguin data. R package version 0.1.0. doi:10.5281/zenodo.3960218",
        note=f"All {len(rows)} rows of {info.full_name}: the penguins without a missing value, "
        "in the single pool that upstream publishes. Upstream has scaled each feature to 0..1; no unit holds.",
    )


def _prepared_builder(path: Path, folder: Path) -> Any:
    """Return a builder that has read `path` anew, its SHA-256 checked again; its own files go to `folder`.

    tensorflow-datasets looks for a file by its upstream name in `manual_dir` before it would download it.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder("penguins/processed", file_format="array_record", data_dir=folder)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=path.parent))
    return builder


def _species(builder: Any) -> tuple[str, ...]:
    """Return the species in the order of their labels: `processed` only counts them, `simple` names them."""
    (simple,) = (config for config in builder.BUILDER_CONFIGS if config.name == "simple")
    return tuple(simple.features["species"].names)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tensorflow-datasets' progress bars, print-outs and log off the terminal."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel("ERROR")
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        absl.setLevel(level)

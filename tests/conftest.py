"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import skip_or_fail

from fgbench.datasets.files import Fetcher

ROOT = Path(__file__).parents[1]
REAL_FILES = ("penguins_processed.csv", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the real data files: FGBENCH_TEST_MIRROR, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("FGBENCH_TEST_MIRROR") or ROOT.parent / "shared" / "data")
    if missing := [name for name in REAL_FILES if not (folder / name).is_file()]:
        skip_or_fail(
            f"{folder} has no {', '.join(missing)}; the default study fetches them to resources/: "
            "run it with a network, and the tests with FGBENCH_TEST_MIRROR=resources"
        )
    return folder


@pytest.fixture
def fetcher(mirror: Path, tmp_path: Path) -> Fetcher:
    """A fetcher of the real files, from their mirror into an empty folder."""
    return Fetcher(tmp_path / "resources", (str(mirror),))

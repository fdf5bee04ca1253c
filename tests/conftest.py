"""Fixtures for all tests."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import TORN, Report, made_report, smoke_report
from filelock import FileLock
from support import skip_or_fail

from fgbench.datasets.files import Fetcher

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
SLOW = (
    "same_bits",
    "failures",
    "workflow",
    "other_processors",
    "report_browser",
    "readme",
    "report_files",
    "report_pointing",
    "headings",
    "report",
)
"""Files that take minutes come first: the last of them must not keep one worker busy alone."""

REAL_FILES = ("penguins_processed.csv", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow files first, in the order of `SLOW`; all else stays as it was."""
    rank = {f"test_{name}": place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(SLOW)))


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


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Report:
    """The real report of the smoke study, which is run for it: some twenty seconds."""
    return made_once(tmp_path_factory, "smoke", lambda folder: smoke_report(folder, mirror))


@pytest.fixture(scope="session")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a study that never ran, of hostile names, with every section that a report can have."""
    return made_once(tmp_path_factory, "torn", lambda folder: made_report(folder, TORN))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Report]) -> Report:
    """Return what `make` makes in a folder: made by the first worker that asks for it, read by the others."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}-of-all-workers"
    made = folder / "made.pickle"
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            folder.mkdir(exist_ok=True)
            made.write_bytes(pickle.dumps(make(folder)))
        report: Report = pickle.loads(made.read_bytes())
        return report


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: FGBENCH_CHROMIUM, or the one that the shell finds."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("playwright is not installed; `make test` installs it (pip install '.[test]')")
    path = os.environ.get("FGBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        skip_or_fail(
            "there is no Chromium; install it (apt-get install chromium) or name one in FGBENCH_CHROMIUM"
        )
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()

"""What goes wrong in the middle of a study is told, spoils no file, and is mended by the same command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout, tiny_study
from support import skip_or_fail
from test_same_bits import whole

from fgbench.storage import read_json

pytestmark = pytest.mark.slow


def small_study(**changes: Any) -> dict[str, Any]:
    """Two cells on iris, two chunks of seeds, no ladder: the least that has a middle."""
    study = tiny_study()
    study["cost"]["ladder"]["methods"] = []
    return study | {"experiments": study["experiments"][:1], "seeds": [0, 1, 2, 3]} | changes


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the small study has been run."""
    checkout = Checkout(tmp_path_factory.mktemp("done") / "checkout")
    printed = checkout.make(small_study())
    assert checkout.status == 0, printed
    return checkout


@pytest.fixture
def again(done: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it, times of files and all."""
    return done.copied(tmp_path / "checkout")


@pytest.fixture
def untrained(again: Checkout) -> Checkout:
    """A copy without its runs and what was made of them: what was measured is there, and need not be once more."""
    results = again.folder / "results"
    for folder in ("runs", "logs/runs", "tables"):
        shutil.rmtree(results / folder)
    for name in ("tables.zip", "provenance.json", "verification.json", "report.html"):
        (results / name).unlink()
    return again


def told(checkout: Checkout, printed: str) -> str:
    """What a run printed, less the traceback-free check that every failure must pass."""
    assert checkout.status != 0, printed
    assert "Traceback" not in printed
    return printed


def wait_for(checkout: Checkout, pattern: str, process: subprocess.Popen[str]) -> Path:
    """Return the first file of a pattern that a running study makes."""
    while process.poll() is None:
        if found := sorted(checkout.folder.glob(pattern)):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no {pattern}: {process.communicate()[0]}")


RECORD = "results/runs/iris/logistic_regression/backprop/0.json"
OTHER = "results/runs/iris/logistic_regression/forward_gradient/0.json"


def changed_by_hand(folder: Path) -> None:
    record = json.loads((folder / RECORD).read_text("utf-8"))
    record["runs"][0]["curve"]["test_accuracy"][-1] = 1.0
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")


def cut_short(folder: Path) -> None:
    os.truncate(folder / RECORD, 1000)


def swapped(folder: Path) -> None:
    shutil.copy(folder / OTHER, folder / RECORD)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "changed by hand": (changed_by_hand, "was changed after it was written"),
    "cut short": (cut_short, "cannot be read"),
    "swapped": (swapped, "holds other runs than belong there: method is 'forward_gradient' instead of"),
}


def test_a_damaged_record_is_named_and_what_the_message_says_mends_it(
    done: Checkout, again: Checkout
) -> None:
    for damage, complaint in DAMAGE.values():
        damage(again.folder)
        printed = told(again, again.make(small_study()))
        assert f"{RECORD}: {complaint}" in printed
        assert f"`rm {RECORD}`" in printed
    (again.folder / RECORD).unlink()
    printed = again.make(small_study())
    assert again.status == 0, printed
    assert again.study_sha256() == done.study_sha256()


def test_damage_to_what_was_counted_or_measured_is_named_and_what_the_message_says_mends_it(
    done: Checkout, again: Checkout
) -> None:
    counted = read_json(again.folder / "results/operations.json")["cells"]
    for name in ("operations", "cost", "scaling"):
        place = f"results/{name}.json"
        os.truncate(again.folder / place, 1000)
        printed = told(again, again.make(small_study()))
        assert f"{place}: cannot be read" in printed
        assert f"`rm {place}`" in printed
        (again.folder / place).unlink()
    printed = again.make(small_study())
    assert again.status == 0, printed
    assert "rule train" not in printed
    assert read_json(again.folder / "results/operations.json")["cells"] == counted
    assert again.study_sha256() == done.study_sha256()


def test_a_table_changed_by_hand_is_named_and_what_the_message_says_mends_it(again: Checkout) -> None:
    path = again.folder / "results/tables/summary.csv"
    path.write_text(path.read_text("utf-8").replace("backprop", "backdrop"), encoding="utf-8")
    printed = told(again, again.make(small_study()))
    assert "results/tables/summary.csv: was changed or removed after it was written" in printed
    assert "`rm -r results/tables`" in printed
    shutil.rmtree(again.folder / "results/tables")
    printed = again.make(small_study())
    assert again.status == 0, printed
    assert "backdrop" not in (again.folder / "results/report.html").read_text("utf-8")


# As root, in a namespace of its own; without root, as the root of a user namespace.
NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
# A file system at results with little more space than what is there; the study fails on it, is grown, and goes on.
FULL_DISK = """
set -eu
mv results before
mkdir results
mount -t tmpfs -o size=$(($(du --summarize --block-size=1k before | cut -f 1) + $1))k tmpfs results
cp --archive before/. results
status=0
make --old-file=.venv/installed report CONFIG=study.yaml || status=$?
echo "first status: $status"
df --output=avail results
mount -o remount,size=64m results
find results -name '.*-*' -type f | sed 's/^/left behind: /'
make --old-file=.venv/installed report CONFIG=study.yaml
cp --recursive results kept
"""


def test_on_a_full_disk_it_is_told_nothing_is_spoilt_and_with_more_space_it_goes_on(
    done: Checkout, untrained: Checkout
) -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        skip_or_fail("a file system of the test's own cannot be mounted: run the tests as root")
    checkout = untrained
    process = checkout.start_command(small_study(), [*NAMESPACE, "bash", "-c", FULL_DISK, "bash", "120"], {})
    printed = checkout.ended(process)
    assert checkout.status == 0, printed
    first, _, rest = printed.partition("first status: ")
    assert not rest.startswith("0"), printed
    assert "No space left on device" in first, first
    assert "Nothing was left half-written" in first
    assert "Traceback" not in first
    assert "left behind" not in rest
    list(whole(checkout.folder / "kept"))
    shutil.rmtree(checkout.folder / "results")
    (checkout.folder / "kept").rename(checkout.folder / "results")
    assert checkout.study_sha256() == done.study_sha256()


# root may write anywhere, unless it gives that up
NOT_ALMIGHTY = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]


@pytest.mark.parametrize("folder", ["results/runs"])
def test_a_read_only_folder_is_told_and_once_writable_it_goes_on(
    done: Checkout, untrained: Checkout, folder: str
) -> None:
    before = NOT_ALMIGHTY if os.geteuid() == 0 else []
    checkout = untrained
    read_only = checkout.folder / folder
    read_only.mkdir(parents=True)
    read_only.chmod(0o555)
    try:
        printed = told(checkout, checkout.make(small_study(), *before))
    finally:
        read_only.chmod(0o755)
    assert "cannot be written" in printed
    assert folder in printed
    list(whole(checkout.folder / "results"))
    printed = checkout.make(small_study(), *before)
    assert checkout.status == 0, printed
    assert checkout.study_sha256() == done.study_sha256()


def test_an_input_that_vanishes_in_mid_study_is_told_and_made_again(
    done: Checkout, untrained: Checkout
) -> None:
    checkout = untrained
    process = checkout.start_make(small_study())
    wait_for(checkout, "results/logs/runs/iris/*/*/*.log", process)
    for path in checkout.folder.glob("results/splits/iris/*.npz"):
        path.unlink()
    printed = told(checkout, checkout.ended(process))
    assert "results/splits/iris" in printed
    assert "no such file" in printed or "Missing input files" in printed
    list(whole(checkout.folder / "results"))
    printed = checkout.make(small_study())
    assert checkout.status == 0, printed
    assert checkout.study_sha256() == done.study_sha256()


def test_while_a_study_is_at_work_another_start_is_refused_by_the_name_of_its_process(
    done: Checkout, untrained: Checkout
) -> None:
    checkout = untrained
    process = checkout.start_make(small_study())
    try:
        wait_for(checkout, "results/logs/runs/iris/*/*/*.log", process)
        printed = told(checkout, checkout.make(small_study()))
        assert "a study is at work on these results: process " in printed
        number = int(printed.partition("at work on these results: process ")[2].partition(",")[0])
        assert os.getpgid(number) == process.pid
        first = process.communicate(timeout=300)[0]
        assert process.returncode == 0, first
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert checkout.study_sha256() == done.study_sha256()

"""A result says what would be needed to repeat it: commit, code, config, data, software, machine, command."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator
from studies import cost_commands, fgbench, study_commands, tables_command, trained_study, write_study

from fgbench import provenance
from fgbench.config import config_sha256, read_config
from fgbench.numerics import PINS, can_be_pinned, instruction_set
from fgbench.provenance import MAKER, study_provenance
from fgbench.results import read_study, study_sha256
from fgbench.sources import code_hash
from fgbench.storage import read_arrays, read_json
from fgbench.types import Json

ROOT = Path(__file__).parents[1]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/provenance.schema.yaml").read_text(encoding="utf-8"))

CELL = "iris/logistic_regression/forward_gradient"
MADE = {
    "data": ("data/iris.json", None),
    "samples": ("data/iris.npz", None),
    "split": ("splits/iris/0.npz", [0, 1]),
    "train": (f"runs/{CELL}/0.json", [0, 1]),
    "operations": ("operations.json", None),
    "cost": ("cost.json", None),
    "scaling": ("scaling.json", None),
}
"""For each kind of result: one, and the seeds of its runs."""

DATA = {"operations": ["iris", "digits"], "cost": ["iris", "digits"], "scaling": []}
"""The data sets that a result was made from, where those are not iris alone."""

NATIVE = ("cost", "scaling")

FIELDS = {
    *("command", "finished", "commit", "dirty", "code_hash", "config_sha256", "seeds", "data", "versions"),
    *("versions_sha256", "cpu", "instruction_set", "pins", "threads", "os"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with its tables, made now, by a config that names a mirror with a password."""
    mirrors = {"data.mirrors": ["http://me:secret@127.0.0.1:9/data", " HTTP://also:secret@127.0.0.1:9 "]}
    results = trained_study(tmp_path_factory.mktemp("provenance") / "results", measured=True, **mirrors)
    assert fgbench(tables_command(results)) == 0
    return results


def made(path: Path) -> Json:
    about = read_arrays(path).about if path.suffix == ".npz" else read_json(path)
    return dict(about["provenance"])


@pytest.mark.parametrize("kind", MADE)
def test_every_result_says_what_made_it(results: Path, kind: str) -> None:
    place, seeds = MADE[kind]
    found = made(results / place)
    assert found.keys() == FIELDS
    assert found["seeds"] == seeds
    assert shlex.split(found["command"])[:2] == ["fgbench", "data" if kind == "samples" else kind]
    assert found["config_sha256"] == config_sha256(read_config(results / "config.yaml"))
    names = DATA.get(kind, ["iris"])
    assert [(one["asked_for"], one["used"]) for one in found["data"]] == [(name, name) for name in names]
    for name, data in zip(names, found["data"], strict=True):
        assert data["samples_sha256"] == read_json(results / f"data/{name}.json")["samples_sha256"]


def test_it_names_this_software_and_machine(results: Path) -> None:
    found = made(results / MADE["train"][0])
    named = {"torch": torch.__version__, "python": platform.python_version()}
    named |= {name: metadata.version(name) for name in ("numpy", "scikit-learn", "pandas", "snakemake")}
    assert found["versions"].items() >= named.items()
    assert found["cpu"] == provenance.cpu() != ""
    assert found["instruction_set"] == instruction_set()
    assert found["pins"] == (PINS if can_be_pinned() else {})
    assert found["threads"] == torch.get_num_threads() == 1
    assert platform.release() in found["os"]
    age = datetime.now(UTC) - datetime.strptime(found["finished"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(
        tzinfo=UTC
    )
    assert timedelta(0) < age < timedelta(hours=1)


@pytest.mark.parametrize("kind", MADE)
def test_what_a_result_was_made_by_is_todays_code(results: Path, kind: str) -> None:
    command = "data" if kind == "samples" else kind
    assert made(results / MADE[kind][0])["code_hash"] == code_hash(command)


@pytest.mark.parametrize("kind", ["operations", *NATIVE])
def test_the_command_of_what_was_measured_is_the_one_that_was_given(results: Path, kind: str) -> None:
    counting = study_commands(results)[results / "operations.json"]
    commands = dict(zip(("operations", *NATIVE), (counting, *cost_commands(results)), strict=True))
    assert made(results / MADE[kind][0])["command"] == f"fgbench {commands[kind]}"


def test_what_was_timed_names_its_machine_in_both_places(results: Path) -> None:
    for kind in NATIVE:
        record = read_json(results / MADE[kind][0])
        assert record["machine"].items() >= {"cpu": provenance.cpu(), "torch": torch.__version__}.items()
        assert record["provenance"]["cpu"] == provenance.cpu()


def test_the_hash_of_versions_is_one_that_anybody_can_compute(results: Path) -> None:
    found = made(results / MADE["train"][0])
    text = json.dumps(found["versions"], sort_keys=True, separators=(",", ":"))
    assert found["versions_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_command_it_names_makes_the_result_again(results: Path) -> None:
    path = results / MADE["train"][0]
    before, kept = read_json(path), path.rename(path.with_suffix(".kept"))
    try:
        assert fgbench(before["provenance"]["command"].removeprefix("fgbench ")) == 0
        again = read_json(path)
    finally:
        kept.replace(path)
    assert (again["provenance"]["command"], again["runs"]) == (
        before["provenance"]["command"],
        before["runs"],
    )
    assert again["provenance"]["finished"] > before["provenance"]["finished"]


def test_a_command_is_written_as_a_shell_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "it's here; $HOME"
    write_study(tmp_path / "study.yaml")
    words = ["data", "--config", f"{tmp_path}/study.yaml", "--dataset", "iris"]
    words += ["--samples", f"{folder}/iris.npz", "--metadata", f"{folder}/iris.json"]
    assert fgbench(shlex.join(words)) == 0
    echoed = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {made(folder / 'iris.json')['command']}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert echoed.stdout.splitlines() == ["fgbench", *words]


def test_files_of_data_are_named_by_their_content_and_origin(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FGBENCH_MIRROR", str(mirror))
    sizes = {"datasets.penguins": {"num_train": 9, "num_test": 9}}
    write_study(tmp_path / "study.yaml", **sizes, **{"data.folder": str(tmp_path / "resources")})
    command = f"data --config {tmp_path}/study.yaml --dataset penguins --samples {tmp_path}/p.npz"
    assert fgbench(f"{command} --metadata {tmp_path}/p.json") == 0
    [data] = made(tmp_path / "p.json")["data"]
    [file] = data["files"]
    content = (mirror / "penguins_processed.csv").read_bytes()
    assert file["name"] == "penguins_processed.csv"
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["digest"] == hashlib.new(file["algorithm"], content).hexdigest()
    assert file["origin"] == str(mirror / "penguins_processed.csv")


# The checkout


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder that is taken for the one with this package."""
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    provenance._checkout.cache_clear()
    yield tmp_path
    provenance._checkout.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    ran = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def found_checkout() -> tuple[str, bool | None]:
    provenance._checkout.cache_clear()
    found = provenance.provenance("train", [], config_sha256="")
    return found["commit"], found["dirty"]


def test_the_commit_is_the_checkouts_and_dirty_says_whether_it_was_changed(checkout: Path) -> None:
    git(checkout, "init", "--quiet")
    (checkout / "code.py").write_text("a = 1\n", encoding="utf-8")
    git(checkout, "add", "code.py")
    git(checkout, "commit", "--quiet", "--message", "one")
    commit = git(checkout, "rev-parse", "HEAD")
    assert found_checkout() == (commit, False)
    (checkout / "code.py").write_text("a = 2\n", encoding="utf-8")
    assert found_checkout() == (commit, True)
    git(checkout, "checkout", "--quiet", "code.py")
    (checkout / "my-study.yaml").touch()  # a stranger's own, beside the code
    assert found_checkout() == (commit, False)
    (checkout / "fgbench").mkdir()
    (checkout / "fgbench" / "more.py").touch()
    assert found_checkout() == (commit, True)


def test_outside_of_a_checkout_the_commit_says_so(checkout: Path) -> None:
    assert found_checkout() == ("not a git checkout", None)


def test_without_git_the_commit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert found_checkout() == ("unknown: there is no git", None)
    provenance._checkout.cache_clear()


# A study's


def test_a_studys_provenance_is_as_its_schema_describes_it(results: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    written = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(written)] == []


def test_a_studys_provenance_names_every_result_once_by_its_path(results: Path) -> None:
    found = read_json(results / "provenance.json")
    runs = sorted(str(path.relative_to(results)) for path in results.glob("runs/**/*.json"))
    assert len(runs) == 8
    measured = ["operations.json", "cost.json", "scaling.json"]
    assert [line["path"] for line in found["results"]] == sorted([*runs, *measured, "tables"])
    assert found["study_sha256"] == study_sha256(read_study(results)[1])
    assert found["study_sha256"] == read_json(results / "tables/columns.json")["study_sha256"]
    assert [one["asked_for"] for one in found["data"]] == ["digits", "iris"]
    assert found["seeds"] == [0, 1, 2]


def test_a_result_leads_back_to_all_that_made_it(results: Path) -> None:
    """What stands once under `makers`, with the result's own line, is the provenance in the result itself."""
    found = read_json(results / "provenance.json")
    for line in found["results"]:
        if line["path"] != "tables":
            whole = made(results / line["path"])
            again = found["makers"][line["maker"]] | {key: line[key] for key in line.keys() & FIELDS}
            assert again == {key: whole[key] for key in FIELDS - {"data"}}
            assert all(data in found["data"] for data in whole["data"])


def test_results_of_one_maker_name_it_together_and_any_other_thing_makes_another(results: Path) -> None:
    one = made(results / MADE["train"][0])
    changes = {
        "commit": "0" * 40,
        "dirty": None,
        "versions": {"torch": "0"},
        "versions_sha256": "0" * 64,
        "cpu": "another",
        "instruction_set": "aarch64",
        "pins": {"ATEN_CPU_CAPABILITY": "default"},
        "threads": 2,
        "os": "another",
    }
    assert changes.keys() == {*MAKER}
    others = {f"{key}.json": one | {key: value} for key, value in changes.items()}
    later = one | {
        "finished": "2100-01-01T00:00:00.000000Z",
        "command": "fgbench train --seeds 5",
        "seeds": [5],
    }
    found = study_provenance({"seeds": [0]}, "0", {"z.json": one, **others, "y.json": later}, "0")
    maker = {line["path"]: line["maker"] for line in found["results"]}
    assert len(found["makers"]) == 1 + len(changes)
    assert maker["z.json"] == maker["y.json"]
    assert len({maker[name] for name in others} | {maker["z.json"]}) == 1 + len(changes)
    assert all(found["makers"][maker[f"{key}.json"]][key] == value for key, value in changes.items())


def test_the_order_of_results_changes_nothing(results: Path) -> None:
    one = made(results / MADE["train"][0])
    several = {"a": one, "b": one | {"cpu": "another"}, "c": copy.deepcopy(one)}
    backwards = dict(reversed(several.items()))
    assert study_provenance({"seeds": []}, "0", several, "0") == study_provenance(
        {"seeds": []}, "0", backwards, "0"
    )


def test_no_result_holds_a_mirrors_password(results: Path) -> None:
    assert "secret" in (results / "config.yaml").read_text(encoding="utf-8")  # which every job reads
    leaky = [
        str(path.relative_to(results))
        for path in results.rglob("*")
        if path.is_file() and path.name != "config.yaml" and b"secret" in path.read_bytes()
    ]
    assert leaky == []
    mirrors = read_json(results / "provenance.json")["config"]["data"]["mirrors"]
    assert mirrors == ["http://127.0.0.1:9/data", "http://127.0.0.1:9"]


def test_a_records_machine_is_this_one() -> None:
    machine = provenance.machine()
    assert machine["cores"] == os.cpu_count()
    assert machine["torch"] == torch.__version__
    assert machine["threads"] >= 1
    assert machine["cpu"] == provenance.cpu() != ""

"""The workflow makes a report from nothing, reruns what depends on a change and nothing else, and resumes."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout, tiny_study

DEAD_PROXY = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the tiny study has been run."""
    checkout = Checkout(tmp_path_factory.mktemp("study") / "checkout")
    printed = checkout.run(tiny_study())
    assert checkout.status == 0, printed
    return checkout


def test_the_study_trains_the_six_at_every_seed_and_renders_a_report(done: Checkout) -> None:
    seeds = {}
    for record in done.records().values():
        cell = (record["dataset"], record["model"], record["method"])
        seeds.setdefault(cell, []).extend(run["seed"] for run in record["runs"])
    assert len(seeds) == 6
    assert all(sorted(found) == [0, 1, 2] for found in seeds.values())
    page = (done.folder / "results" / "report.html").read_text(encoding="utf-8")
    assert all(name in page for cell in seeds for name in cell)


def test_with_nothing_to_do_nothing_is_done(done: Checkout) -> None:
    assert "Nothing to be done" in done.run(tiny_study())


def test_every_job_wrote_a_log(done: Checkout) -> None:
    logs = [
        path.relative_to(done.folder / "results/logs") for path in done.folder.glob("results/logs/**/*.log")
    ]
    jobs = 2 + 4 + 12 + 6 + 1 + 1 + 1
    assert len(logs) == jobs
    assert "seed 0: not_reached after 20 steps" in (
        done.folder / "results/logs/runs/iris/mlp/backprop/0.log"
    ).read_text(encoding="utf-8")


def test_records_of_training_hold_no_time(done: Checkout) -> None:
    for path, record in done.records().items():
        assert not re.search(r"time|second|_s\"", json.dumps(record)), path


def test_runs_of_one_seed_share_their_test_examples(done: Checkout) -> None:
    tested: dict[tuple[str, int], set[str]] = {}
    for record in done.records().values():
        for run in record["runs"]:
            key = record["dataset"], run["seed"]
            tested.setdefault(key, set()).add(json.dumps(run["predictions"]["id"]))
    assert all(len(variants) == 1 for variants in tested.values())
    assert len({next(iter(ids)) for (name, _), ids in tested.items() if name == "iris"}) == 3


TRAINED = {"train": 12, "time": 6, "tables": 1, "verify": 1, "report": 1, "all": 1}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    study = copy.deepcopy(tiny_study())
    change(study)
    return study


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda study: None, {}, id="nothing"),
        pytest.param(
            lambda study: study["methods"]["backprop"]["learning_rate"].update({"iris/mlp": 0.5}),
            {"train": 2, "time": 1, "tables": 1, "verify": 1, "report": 1, "all": 1},
            id="one cell's rate",
        ),
        pytest.param(
            lambda study: study["experiments"][0].update(batch_size=25),
            {"train": 4, "time": 2, "tables": 1, "verify": 1, "report": 1, "all": 1},
            id="an experiment's batch size",
        ),
        pytest.param(
            lambda study: study["seeds"].append(3),
            {"split": 2, "train": 6, "tables": 1, "verify": 1, "report": 1, "all": 1},
            id="a seed: its chunk alone",
        ),
        pytest.param(
            lambda study: study["methods"].update(
                more={
                    "estimator": "forward_gradient",
                    "tangents": "normal",
                    "num_tangents": 2,
                    "learning_rate": 0.1,
                }
            ),
            {"train": 6, "time": 3, "tables": 1, "verify": 1, "report": 1, "all": 1},
            id="a method more",
        ),
        pytest.param(
            lambda study: study["models"].update(mlp={"hidden_widths": [4]}),
            {"train": 4, "time": 2, "tables": 1, "verify": 1, "report": 1, "all": 1},
            id="a model's width",
        ),
        pytest.param(
            lambda study: study["datasets"].update(kmnist={"num_train": 1000, "num_test": 10}),
            {"tables": 1, "report": 1, "all": 1},
            id="a data set nobody uses: only the provenance and the report, which show the config",
        ),
    ],
)
def test_a_changed_config_reruns_what_depends_on_it(done: Checkout, change, expected: dict[str, int]) -> None:
    due = done.due(changed(change))
    # A time job reads its seeds' splits; which of them are remade counts, not that they might be.
    assert due == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("report.py", {"report": 1, "all": 1}),
        ("tables.py", {"tables": 1, "verify": 1, "report": 1, "all": 1}),
        ("verification.py", {"verify": 1, "report": 1, "all": 1}),
        ("cost.py", {"time": 6, "tables": 1, "report": 1, "all": 1}),
        ("estimators.py", TRAINED),
        ("splits.py", {"split": 4, **TRAINED}),
        ("datasets/files.py", {"data": 2, "split": 4, **TRAINED}),
        ("progress.py", TRAINED),
        ("pins.py", {}),
    ],
)
def test_an_edited_module_reruns_what_runs_it_and_a_touch_or_a_revert_nothing(
    done: Checkout, module: str, expected: dict[str, int]
) -> None:
    path = done.folder / "fgbench" / module
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text + "\n# edited\n", encoding="utf-8")
        assert done.due(tiny_study()) == expected
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.due(tiny_study()) == {}


def test_data_that_was_had_is_not_fetched_again_for_another_mirror(done: Checkout) -> None:
    assert done.due(tiny_study(), FGBENCH_MIRROR="http://127.0.0.1:9/") == {}


def test_an_edited_template_rerenders_the_report(done: Checkout) -> None:
    path = next((done.folder / "report").rglob("*.css"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    assert done.due(tiny_study()) == {"report": 1, "all": 1}
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("study", "told"),
    [
        pytest.param(
            changed(lambda study: study.update(sedes=[1])), "'sedes' (did you mean 'seeds'?)", id="key"
        ),
        pytest.param(changed(lambda study: study.update(seeds=[])), "seeds: ", id="no seeds"),
        pytest.param(
            changed(lambda study: study["experiments"][0].update(model="mpl")),
            "'mpl' (did you mean 'mlp'?)",
            id="model",
        ),
        pytest.param("- a\n- list\n", "keys at top level", id="a list"),
        pytest.param("a: [\n", "not valid JSON or YAML", id="no YAML"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_bad_config_is_told_before_any_job_and_without_a_traceback(
    done: Checkout, study: Any, told: str
) -> None:
    printed = done.run(study)
    assert done.status == 1
    assert told in printed
    assert "Traceback" not in printed
    assert "Job stats" not in printed


def test_a_mirror_that_is_a_file_is_refused(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = changed(lambda study: study["experiments"][0].update(dataset="penguins"))
    for method in study["methods"].values():
        method["learning_rate"] = 0.1
    printed = checkout.run(study, "results/data/penguins.json", FGBENCH_MIRROR="Snakefile")
    assert checkout.status == 1
    assert "Snakefile" in printed
    assert "Traceback" not in printed


def test_without_network_and_mirror_declared_stand_ins_are_used_and_the_report_says_so(
    tmp_path: Path,
) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = changed(lambda study: study["experiments"][0].update(dataset="penguins"))
    study = study | {"seeds": [0], "experiments": study["experiments"][:1]}
    for method in study["methods"].values():
        method["learning_rate"] = 0.1
    printed = checkout.run(study, **DEAD_PROXY)
    assert checkout.status == 0, printed
    assert "penguins: using iris instead" in printed
    page = (checkout.folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "stand-in" in page.lower()
    assert all(record["data"] == "iris" for record in checkout.records().values())
    assert checkout.due(study) == {}
    assert checkout.due(study, FGBENCH_MIRROR="http://127.0.0.1:9/")["data"] == 1
    refused = changed(lambda _: None) | study | {"data": study["data"] | {"stand_ins": False}}
    printed = checkout.run(refused, **DEAD_PROXY)
    assert checkout.status == 1
    assert "penguins_processed.csv" in printed
    assert "Traceback" not in printed


def test_an_interrupted_study_leaves_nothing_half_written_and_goes_on(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = tiny_study() | {"seeds": [0, 1]}
    study["experiments"] = study["experiments"][2:]
    study["experiments"][0] |= {"max_steps": 20_000, "record_every": 100}
    study["methods"]["backprop"]["learning_rate"] = study["methods"]["forward_gradient"]["learning_rate"] = (
        1e-6
    )
    process = checkout.start(study)
    deadline = time.monotonic() + 60
    while (
        not list(checkout.folder.glob("results/logs/*/digits/cnn/**/*.log")) and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode != 0, printed
    assert "Traceback" not in printed
    results = checkout.folder / "results"
    assert not list(results.glob("runs/**/*.json")) + list(results.glob("times/**/*.json"))
    assert not [
        path for path in results.rglob(".*") if path.name not in {".snakemake_timestamp", ".study.json"}
    ]
    study["experiments"][0] |= {"max_steps": 20, "record_every": 10}
    printed = checkout.run(study)
    assert checkout.status == 0, printed
    assert "rule data" not in printed
    assert (results / "report.html").exists()

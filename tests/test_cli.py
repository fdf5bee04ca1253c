"""The rules' commands work by hand; bad input is one clear message and an exit status, never a traceback."""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import webbrowser
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import finished
import psutil
import pytest
import yaml
from studies import tiny_study

from fgbench import cli
from fgbench.config import read_config
from fgbench.storage import read_arrays, read_json, write_json
from fgbench.types import Json

COMMANDS = {run.__name__: example for run, _, example in cli._COMMANDS}
NUM_SEEDS = 40


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """What a command sets for its own process is taken back."""
    handler, handlers = signal.getsignal(signal.SIGTERM), cli.LOG.handlers
    yield
    signal.signal(signal.SIGTERM, handler)
    cli.LOG.handlers = handlers


def write_study(path: Path, **changes: object) -> Json:
    study = tiny_study(**{"seeds": list(range(NUM_SEEDS)), **changes})
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return study


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, iris, and its splits, made by hand."""
    folder = tmp_path_factory.mktemp("prepared")
    write_study(folder / "study.yaml")
    here = f"--config {folder}/study.yaml --dataset iris --samples {folder}/iris.npz --metadata {folder}/iris.json"
    seeds = " ".join(map(str, range(NUM_SEEDS)))
    assert cli.main(["data", *here.split()]) == 0
    assert (
        cli.main(["split", *here.split(), "--seeds", *seeds.split(), "--output", f"{folder}/splits.npz"]) == 0
    )
    return folder


@pytest.fixture
def by_hand(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of what is prepared."""
    for path in prepared.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CELL = "--config study.yaml --dataset iris --model logistic_regression --method forward_gradient"
INPUTS = "--splits splits.npz --metadata iris.json"
TRAIN = f"train {CELL} --seeds 0 1 {INPUTS} --output run.json"
SPLIT = "split --config study.yaml --dataset iris --seeds 0 1 --samples iris.npz --metadata iris.json"

MEASURED = "--operations none.json --cost none.json --scaling none.json"
TABLES = f"tables --config study.yaml {MEASURED} --output tables --provenance provenance.json"
COUNT = "operations --config study.yaml --metadata iris.json --output run.json"
COST = "cost --config study.yaml --metadata iris.json"
ONE_EXPERIMENT = {"experiments": tiny_study()["experiments"][:1]}


def fgbench(command: str) -> int:
    try:
        return cli.main(shlex.split(command))
    finally:
        for handler in cli.LOG.handlers:
            handler.close()  # a command has its process, and its log file, to itself


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fgbench("--help")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\s", printed, flags=re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_says_what_it_does_and_shows_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fgbench(f"{name} --help")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert getattr(cli, name).__doc__ in printed
    assert f"example:\n  fgbench {name} {COMMANDS[name]}" in printed


@pytest.mark.parametrize(("name", "example"), COMMANDS.items(), ids=COMMANDS)
def test_the_example_of_a_command_is_one_that_it_takes(name: str, example: str) -> None:
    parsed = cli._parser().parse_args([name, *shlex.split(example.replace("\\\n", " "))])
    assert isinstance(parsed, argparse.Namespace)
    assert parsed.run is getattr(cli, name)


@pytest.mark.parametrize("arguments", ["", "trian", "train", "train --seeds one", "data --colour red"])
def test_arguments_that_are_not_taken_end_with_usage_and_status_two(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fgbench(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: fgbench")


def test_the_whole_chain_works_by_hand(by_hand: Path) -> None:
    write_study(Path("study.yaml"), seeds=[0, 1], **ONE_EXPERIMENT)
    runs = []
    for method in ("backprop", "forward_gradient"):
        cell, place = CELL.replace("forward_gradient", method), f"iris/logistic_regression/{method}"
        runs.append(f"results/runs/{place}/0.json")
        assert fgbench(f"train {cell} --seeds 0 1 {INPUTS} --output {runs[-1]} --log logs/{method}.log") == 0
        record = read_json(Path(runs[-1]))
        assert [run["seed"] for run in record["runs"]] == [0, 1]
        assert (record["method"], record["data"]) == (method, "iris")
        assert "seed 1: not_reached after 40 steps" in Path(f"logs/{method}.log").read_text(encoding="utf-8")
    measured = {name: f"results/{name}.json" for name in ("operations", "cost", "scaling")}
    assert fgbench(COUNT.replace("run.json", measured["operations"])) == 0
    assert fgbench(f"{COST} --output {measured['cost']}") == 0
    assert fgbench(f"scaling --config study.yaml --output {measured['scaling']}") == 0
    options = " ".join(f"--{name} {path}" for name, path in measured.items())
    tables = f"tables --config study.yaml --runs {' '.join(runs)} {options} --output results/tables"
    tables += " --archive results/tables.zip"
    assert fgbench(f"{tables} --provenance results/provenance.json") == 0
    with zipfile.ZipFile("results/tables.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == {f"tables/{path.name}": path.read_bytes() for path in Path("results/tables").iterdir()}
    written = {path.name for path in Path("results/tables").iterdir()}
    assert {"runs.csv", "summary.csv", "step_times.csv", "curves.parquet", "columns.json"} <= written
    assert read_json(Path("results/tables/columns.json"))["files_sha256"].keys() == written - {"columns.json"}
    made = [line["path"] for line in read_json(Path("results/provenance.json"))["results"]]
    assert made == sorted(path.removeprefix("results/") for path in (*runs, *measured.values(), "tables"))


def test_what_is_counted_and_measured_is_every_method_and_a_bare_forward_pass(by_hand: Path) -> None:
    write_study(Path("study.yaml"), **ONE_EXPERIMENT)
    methods = ["forward pass", "backprop", "forward_gradient", "checkpointed_backprop"]
    assert fgbench(COUNT) == fgbench(f"{COST} --output cost.json") == 0
    counted, (experiment, *_) = (
        read_json(Path("run.json"))["cells"],
        read_json(Path("cost.json"))["experiments"],
    )
    assert [cell["method"] for cell in counted] == methods
    assert {cell["data"] for cell in counted} == {experiment["data"]} == {"iris"}
    assert all(cell["operations"] > 0 for cell in counted)
    assert experiment["methods"].keys() == {*methods}
    assert {timed["method"] for timed in experiment["times"]} == {*methods}
    assert all(len(timed["step_time_s"]) == 2 for timed in experiment["times"])


def test_counting_again_differs_in_provenance_alone(by_hand: Path) -> None:
    write_study(Path("study.yaml"), **ONE_EXPERIMENT)
    assert fgbench(COUNT) == fgbench(COUNT.replace("run.json", "again.json")) == 0
    first, again = ({**read_json(Path(name)), "provenance": None} for name in ("run.json", "again.json"))
    assert first == again


def test_a_studys_folder_is_made_ready_and_a_lost_config_is_written_again(by_hand: Path) -> None:
    for _ in range(2):
        assert fgbench("prepare --config study.yaml") == 0
        assert read_config(Path("results/config.yaml")) == read_config(Path("study.yaml"))
        Path("results/config.yaml").unlink()
    assert fgbench("prepare --config study.yaml --into another") == 0
    assert read_config(Path("another/config.yaml"))["results"] == "another"


def test_training_again_differs_in_provenance_alone(by_hand: Path) -> None:
    assert fgbench(TRAIN) == fgbench(TRAIN.replace("run.json", "again.json")) == 0
    first, again = read_json(Path("run.json")), read_json(Path("again.json"))
    made, made_again = first.pop("provenance"), again.pop("provenance")
    assert first == again
    assert {key for key in made if made[key] != made_again[key]} == {"command", "finished"}


def test_a_seeds_run_is_the_same_whatever_seeds_are_trained_beside_it(by_hand: Path) -> None:
    assert (
        fgbench(TRAIN)
        == fgbench(TRAIN.replace("--seeds 0 1", "--seeds 1").replace("run.json", "one.json"))
        == 0
    )
    assert read_json(Path("run.json"))["runs"][1] == read_json(Path("one.json"))["runs"][0]


def test_methods_share_their_splits_and_first_loss_at_one_seed(by_hand: Path) -> None:
    assert fgbench(TRAIN) == 0
    assert fgbench(TRAIN.replace("forward_gradient", "backprop").replace("run.json", "other.json")) == 0
    for run, other in zip(
        read_json(Path("run.json"))["runs"], read_json(Path("other.json"))["runs"], strict=True
    ):
        assert run["curve"]["train_loss"][0] == other["curve"]["train_loss"][0]
        assert run["predictions"]["id"] == other["predictions"]["id"]


def test_each_run_has_its_own_split_unless_one_is_pinned(by_hand: Path) -> None:
    def tested(**changes: object) -> list[list[int]]:
        write_study(Path("study.yaml"), **changes)
        assert fgbench(f"{SPLIT} --output two.npz") == 0
        arrays = read_arrays(Path("two.npz")).arrays
        return [arrays[f"{seed}/test/ids"].tolist() for seed in (0, 1)]

    own, pinned = tested(), tested(**{"splits.seed": 7})
    assert own[0] != own[1]
    assert pinned[0] == pinned[1]


def study(**changes: object) -> Callable[[], object]:
    return lambda: write_study(Path("study.yaml"), **changes)


def cut(path: str) -> Callable[[], object]:
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[:-100])


IMAGES_OF_FEATURES = ONE_EXPERIMENT | {
    "models.cnn": {"channels": [2]},
    "experiments.0.model": "cnn",
    "methods.forward_gradient.learning_rate": 0.1,
}

BAD_INPUT: dict[str, tuple[Callable[[], object], str, str]] = {
    "no config": (lambda: Path("study.yaml").unlink(), TRAIN, "study.yaml: no such config. Copy config/"),
    "a config that is no study": (study(seeds=[]), TRAIN, "seeds: [] is not accepted; accepted: at least 1"),
    "a cell that is not in the study": (
        lambda: None,
        TRAIN.replace("logistic_regression", "mlp"),
        "unknown cell 'iris/mlp/forward_gradient'",
    ),
    "no splits": (lambda: Path("splits.npz").unlink(), TRAIN, "splits.npz: no such file. Run the stage that"),
    "half the splits": (
        cut("splits.npz"),
        TRAIN,
        "splits.npz: cannot be read (File is not a zip file). Rebuild it: `rm splits.npz`, then ",
    ),
    "a seed that was not split": (
        lambda: None,
        TRAIN.replace("--seeds 0 1", f"--seeds {NUM_SEEDS}"),
        f"no split of seed {NUM_SEEDS}",
    ),
    "no description of the data": (
        lambda: Path("iris.json").unlink(),
        TRAIN,
        "iris.json: no such file. Run the stage that",
    ),
    "a description that is a list": (
        lambda: Path("iris.json").write_text("[]", encoding="utf-8"),
        TRAIN,
        "iris.json: a mapping was expected, a list found",
    ),
    "a batch larger than the training part": (
        study(**{"experiments.0.batch_size": 81}),
        TRAIN,
        "batch_size: 81 is more than iris's training part; accepted: up to 80",
    ),
    "images asked of features": (
        study(
            **{
                "models.cnn": {"channels": [2]},
                "experiments.0.model": "cnn",
                "methods.forward_gradient.learning_rate": 0.1,
            }
        ),
        TRAIN.replace("logistic_regression", "cnn"),
        "model cnn: inputs of shape (4,) are no images",
    ),
    "an output below a file": (
        lambda: None,
        TRAIN.replace("run.json", "study.yaml/run.json"),
        "study.yaml/run.json: cannot be written (",
    ),
    "more samples than exist": (
        study(**{"datasets.iris": {"num_train": 150, "num_test": 50}}),
        f"{SPLIT} --output run.json",
        "iris: 200 samples are asked for, 150 exist",
    ),
    "a data set without sizes": (
        lambda: write_json(Path("iris.json"), read_json(Path("iris.json")) | {"asked_for": "kmnist"}),
        f"{SPLIT} --output run.json".replace("iris --seeds", "kmnist --seeds"),
        "datasets: no sizes for 'kmnist'; accepted: iris, digits",
    ),
    "samples that are not those described": (
        lambda: write_json(Path("iris.json"), read_json(Path("iris.json")) | {"samples_sha256": "0"}),
        f"{SPLIT} --output run.json",
        "the arrays do not belong to their metadata",
    ),
    "a data set that does not exist": (
        lambda: None,
        "data --config study.yaml --dataset irsi --samples a.npz --metadata run.json",
        "no data set is called 'irsi'; there are: ",
    ),
    "a config that check refuses": (
        study(**{"methods.backprop.learning_rate": -1}),
        "check --config study.yaml",
        "methods.backprop.learning_rate: -1 is not accepted",
    ),
    "records that are not there": (
        lambda: None,
        f"{TABLES} --runs none.json",
        "none.json: no such file",
    ),
    "counting without a description of every data set": (
        lambda: None,
        COUNT,
        "--metadata: no description of digits; one of each data set is accepted.",
    ),
    "measuring without a description of every data set": (
        lambda: None,
        f"{COST} --output run.json",
        "--metadata: no description of digits; one of each data set is accepted.",
    ),
    "counting by a description that is not there": (
        lambda: Path("iris.json").unlink(),
        COUNT,
        "iris.json: no such file. Run the stage that",
    ),
    "measuring by a description of another kind": (
        lambda: None,
        COST.replace("iris.json", "splits.npz"),
        "splits.npz: cannot be read (",
    ),
    "measuring by a config that is no study": (
        study(**{"cost.rounds": 0}),
        f"{COST} --output run.json",
        "cost.rounds: 0 is not accepted; accepted: 1 or more",
    ),
    "a ladder with a method that is not there": (
        study(**{"cost.ladder.methods": ["backprob"]}),
        "scaling --config study.yaml --output run.json",
        "cost.ladder.methods: unknown method 'backprob' (did you mean 'backprop'?)",
    ),
    "counting steps of a network for images on features": (
        study(**IMAGES_OF_FEATURES),
        COUNT,
        "model cnn: inputs of shape (4,) are no images",
    ),
    "measuring steps of a network for images on features": (
        study(**IMAGES_OF_FEATURES),
        f"{COST} --output run.json",
        "model cnn: inputs of shape (4,) are no images",
    ),
}


@pytest.mark.parametrize(("change", "command", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_clear_message_and_status_one(
    by_hand: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[], object],
    command: str,
    message: str,
) -> None:
    change()
    before = {path: path.stat().st_mtime_ns for path in by_hand.rglob("*")}
    assert fgbench(command) == 1
    told = capsys.readouterr().err
    name = command.split(maxsplit=1)[0]
    assert told.count(f"fgbench {name}: ") == 1
    assert message in told.partition(f"fgbench {name}: ")[2]
    assert "Traceback" not in told
    assert {path: path.stat().st_mtime_ns for path in by_hand.rglob("*")} == before


WRONG_PART = {
    "a data set that is misspelt": (
        "--dataset irsi",
        "--dataset: 'irsi' is not in study.yaml; accepted: iris, digits",
    ),
    "a model that is misspelt": (
        "--model mpl",
        "--model: 'mpl' is not in study.yaml; accepted: logistic_regression, mlp",
    ),
    "a model of the config that no experiment has": (
        "--model cnn",
        "--model: 'cnn' is not in study.yaml; accepted: logistic_regression, mlp",
    ),
    "a method that is misspelt": (
        "--model mlp --method backprob",
        "--method: 'backprob' is not in study.yaml; accepted: backprop, forward_gradient, "
        "checkpointed_backprop",
    ),
    "a data set and a model that no experiment has together": (
        "--dataset iris --model mlp",
        "--dataset iris --model mlp: no experiment of study.yaml; accepted: iris/logistic_regression, "
        "digits/mlp",
    ),
    "a part to be written as the whole": (
        "--model mlp --method backprop --output cost.json",
        "--output holds a whole study's cost; leave out --model, --method.",
    ),
}


@pytest.mark.parametrize(("arguments", "complaint"), WRONG_PART.values(), ids=WRONG_PART)
def test_a_part_of_the_cost_that_is_not_in_the_study_is_refused_in_one_line(
    by_hand: Path, capsys: pytest.CaptureFixture[str], arguments: str, complaint: str
) -> None:
    write_study(Path("study.yaml"), **{"models.cnn": {"channels": [2]}})
    before = set(by_hand.iterdir())
    assert fgbench(f"cost --config study.yaml {arguments}") == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"fgbench cost: {complaint}\n")
    assert set(by_hand.iterdir()) == before


def test_the_cost_of_a_part_is_printed_and_writes_nothing(
    by_hand: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(by_hand.rglob("*"))
    assert fgbench(f"{COST} --dataset iris --model logistic_regression --method forward_gradient") == 0
    assert capsys.readouterr().out
    assert set(by_hand.rglob("*")) == before


def test_the_log_file_holds_the_error_too(by_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("splits.npz").unlink()
    assert fgbench(f"{TRAIN} --log logs/train.log") == 1
    told = capsys.readouterr().err
    assert Path("logs/train.log").read_text(encoding="utf-8") == told
    assert "splits.npz: no such file" in told


def test_with_a_log_file_the_terminal_hears_only_warnings(
    by_hand: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fgbench(f"{TRAIN} --log train.log") == 0
    assert capsys.readouterr().err == ""
    assert "seed 0: not_reached after 40 steps" in Path("train.log").read_text(encoding="utf-8")


def test_one_command_says_its_line_once(by_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(root)
    try:
        assert fgbench("check --config study.yaml") == 0
    finally:
        logging.getLogger().removeHandler(root)
    assert capsys.readouterr().err == f"study.yaml: 4 cells at {NUM_SEEDS} seeds, results in results\n"


def python(arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", *shlex.split(arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_module_bad_input_is_a_message_and_status_one(by_hand: Path) -> None:
    ran = python("-m fgbench check --config none.yaml")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == (
        "fgbench check: none.yaml: no such config. Copy config/config.yaml, the commented manual of a study.\n"
    )


def test_as_a_module_it_has_the_same_help(by_hand: Path) -> None:
    ran = python("-m fgbench --help")
    assert ran.returncode == 0
    assert ran.stdout.startswith("usage: fgbench ")


def test_a_full_disk_is_a_message_and_status_one(by_hand: Path) -> None:
    limited = f"ulimit -f 4; exec {shlex.quote(sys.executable)} -m fgbench {SPLIT} --output new/splits.npz"
    ran = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("fgbench split: new/splits.npz: cannot be written (File too large). ")
    assert "Traceback" not in ran.stderr
    assert list(Path("new").iterdir()) == []


def was_told(text: str) -> bool:
    """Whether the log has this yet."""
    log = Path("train.log")
    return log.exists() and text in log.read_text(encoding="utf-8")


# A shell that starts a command in the background has it ignore Ctrl-C: take that back first.
LISTENING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fgbench.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_ends_training_with_status_130_and_leaves_no_half_result(
    by_hand: Path, number: signal.Signals
) -> None:
    write_study(Path("study.yaml"), **{"experiments.0.max_steps": 4000, "experiments.0.target_loss": 1e-9})
    before = set(by_hand.iterdir())
    seeds = " ".join(map(str, range(NUM_SEEDS)))
    command = f"train {CELL} --seeds {seeds} {INPUTS} --output run.json --log train.log"
    with subprocess.Popen(
        [sys.executable, "-c", LISTENING, *shlex.split(command)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while process.poll() is None and not was_told("seed 0: "):
                time.sleep(0.05)
            process.send_signal(number)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert told.startswith("fgbench train: interrupted; finished work is kept")
    assert told.count("\n") == 1
    assert told in Path("train.log").read_text(encoding="utf-8")
    assert set(by_hand.iterdir()) - before == {by_hand / "train.log"}


MANY_METHODS = {f"more_{number}": {"estimator": "backprop"} for number in range(40)}


def is_measuring_memory(process: psutil.Process) -> bool:
    """Whether a process that measures memory runs now: a child of the one that others are forked from."""
    return any(child.ppid() != process.pid for child in process.children(recursive=True))


def is_timing(process: psutil.Process) -> bool:
    return was_told("parts of steps")


@pytest.mark.parametrize("when", [is_measuring_memory, is_timing], ids=lambda when: when.__name__)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_ends_measuring_with_status_130_and_one_line_and_leaves_nothing(
    by_hand: Path, number: signal.Signals, when: Callable[[psutil.Process], bool]
) -> None:
    """Ctrl-C reaches the processes that measure memory as well; SIGTERM only the one that started them."""
    write_study(Path("study.yaml"), **ONE_EXPERIMENT, **{"cost.rounds": 10**6, "cost.methods": MANY_METHODS})
    before = set(by_hand.iterdir())
    command = f"{COST} --output cost.json --log train.log"
    with subprocess.Popen(
        [sys.executable, "-c", LISTENING, *shlex.split(command)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while process.poll() is None and not when(psutil.Process(process.pid)):
                time.sleep(0.005)
            children = psutil.Process(process.pid).children(recursive=True)
            send = os.killpg if number == signal.SIGINT else os.kill
            send(process.pid, number)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert told.startswith("fgbench cost: interrupted; finished work is kept")
    assert told.count("\n") == 1
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert set(by_hand.iterdir()) - before == {by_hand / "train.log"}


def test_a_model_that_does_not_fit_its_data_is_told_before_a_process_is_started_for_it(
    by_hand: Path,
) -> None:
    write_study(Path("study.yaml"), **IMAGES_OF_FEATURES)
    ran = python(f"-m fgbench {COST} --output cost.json")
    assert ran.returncode == 1
    assert ran.stderr.startswith("fgbench cost: model cnn: inputs of shape (4,) are no images")
    assert ran.stderr.count("\n") == 1


def test_a_file_of_another_kind_is_named_by_what_it_lacks(by_hand: Path, capsys) -> None:
    assert fgbench(f"{TABLES} --runs iris.json") == 1
    told = (
        "iris.json: is no file of the kind expected, it has no dataset, data, model, method, settings, split"
    )
    assert told in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_told(by_hand: Path, capsys) -> None:
    assert fgbench("check --config study.yaml --log study.yaml/log") == 1
    assert "study.yaml/log: the log cannot be written" in capsys.readouterr().err


def test_a_seed_given_twice_is_refused(by_hand: Path, capsys) -> None:
    assert fgbench(TRAIN.replace("--seeds 0 1", "--seeds 1 0 1")) == 1
    assert "--seeds: 1 given more than once" in capsys.readouterr().err


@pytest.mark.parametrize(("seed", "told"), [("4294967296", "0 to 4294967295"), ("x", "'x' is not accepted")])
def test_a_seed_out_of_range_is_refused(by_hand: Path, seed: str, told: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        fgbench(TRAIN.replace("--seeds 0 1", f"--seeds {seed}"))
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_report_wants_samples_and_description_of_every_data_set(by_hand: Path, capsys) -> None:
    command = (
        "report --config study.yaml --tables nowhere --samples iris.npz iris.npz --metadata iris.json "
        "--provenance none.json --verification none.json --output x"
    )
    assert fgbench(command) == 1
    assert "2 --samples and 1 --metadata were given" in capsys.readouterr().err
    assert fgbench(command.replace("iris.npz iris.npz", "iris.npz")) == 1
    assert "nowhere" in capsys.readouterr().err


def test_an_archive_of_the_same_files_has_the_same_bytes_whenever_they_were_written(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("runs.csv", "columns.json")]
    archives = [tmp_path / name for name in ("first.zip", "second.zip")]
    for archive, modified in zip(archives, (10**9, 1.7e9), strict=True):
        for file in files:
            file.write_text(f"{file.name} お\n" * 100, encoding="utf-8")
            file.chmod(0o600 if modified == 10**9 else 0o644)
            os.utime(file, (modified, modified))
        cli._zip(files, archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with zipfile.ZipFile(archives[0]) as held:
        assert held.namelist() == ["tables/runs.csv", "tables/columns.json"]
        assert held.testzip() is None
        held.extractall(tmp_path / "out")
    assert (tmp_path / "out/tables/runs.csv").read_bytes() == files[0].read_bytes()


@pytest.fixture(scope="module")
def study_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study's folder, made by hand, with its page, and its config beside it."""
    folder = tmp_path_factory.mktemp("done") / "results"
    finished.written(folder, finished.finished(finished.base_runs()))
    (folder / "report.html").write_text("<!doctype html>", encoding="utf-8")
    write_study(folder.parent / "study.yaml", results=str(folder))
    return folder


def sit_at_a_desktop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let this be a terminal on a desktop; return what a browser is asked to open, which opens nothing really.

    No fixture: pytest puts another file in the place of the terminal before the test itself.
    """
    asked: list[str] = []

    def note(address: str) -> bool:
        asked.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", note)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    return asked


def test_a_summary_says_what_was_found_whether_it_is_reproduced_and_where_the_report_lies(
    study_done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = sit_at_a_desktop(monkeypatch)
    assert fgbench(f"summary --config {study_done.parent}/study.yaml --no-open") == 0
    told = capsys.readouterr().err
    *lines, last = told.splitlines()
    assert "forward_gradient takes 5.4×" in told
    assert "Reproduces the reference references/study.json: 12 of 12 runs identical." in told
    assert last == f"The report: {study_done}/report.html"
    assert max(map(len, lines)) <= 80
    assert opened == []


def test_a_summary_opens_the_report_before_whoever_sits_at_a_desktop(
    study_done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = sit_at_a_desktop(monkeypatch)
    assert fgbench(f"summary --config {study_done.parent}/study.yaml") == 0
    assert opened == [(study_done / "report.html").as_uri()]
    assert f"The report, opened in your browser: {study_done}/report.html" in capsys.readouterr().err


@pytest.mark.parametrize("lacking", ["terminal", "display", "browser"])
def test_without_a_terminal_a_display_or_a_browser_the_path_alone_is_told(
    study_done: Path,
    lacking: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened = sit_at_a_desktop(monkeypatch)
    if lacking == "terminal":
        monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    elif lacking == "display":
        monkeypatch.delenv("DISPLAY")
    else:
        monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert fgbench(f"summary --config {study_done.parent}/study.yaml") == 0
    assert opened == []
    assert capsys.readouterr().err.endswith(f"The report: {study_done}/report.html\n")


def test_a_summary_without_a_report_says_what_makes_one(
    study_done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = sit_at_a_desktop(monkeypatch)
    shutil.copytree(study_done, tmp_path / "results")
    (tmp_path / "results/report.html").unlink()
    write_study(tmp_path / "study.yaml", results=str(tmp_path / "results"))
    assert fgbench(f"summary --config {tmp_path}/study.yaml") == 0
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"There is no report yet; `make report CONFIG={tmp_path}/study.yaml` makes it."
    assert opened == []


def test_a_summary_of_tables_that_were_changed_is_refused(
    study_done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = sit_at_a_desktop(monkeypatch)
    shutil.copytree(study_done, tmp_path / "results")
    write_study(tmp_path / "study.yaml", results=str(tmp_path / "results"))
    with (tmp_path / "results/tables/runs.csv").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert fgbench(f"summary --config {tmp_path}/study.yaml") == 1
    assert "runs.csv: was changed or removed after it was written." in capsys.readouterr().err
    assert opened == []


def test_a_mirrors_password_is_kept_out_of_results(by_hand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGBENCH_MIRROR", "http://user:secret@127.0.0.1:9/")
    assert fgbench("data --config study.yaml --dataset iris --samples new.npz --metadata new.json") == 0
    assert b"secret" not in Path("new.json").read_bytes() + Path("new.npz").read_bytes()

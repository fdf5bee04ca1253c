"""Training is paired by seed, deterministic, ends as it says it ends, and does not look between records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import fgbench.training
from fgbench.errors import ConfigError
from fgbench.metrics import loss_and_accuracy
from fgbench.seeding import derived_seed, generator
from fgbench.training import Record, Settings, train
from fgbench.types import Part, Split

BACKPROP = Settings(
    model={"name": "logistic_regression"},
    estimator={"name": "backprop"},
    tangents=None,
    num_tangents=None,
    learning_rate=0.5,
    optimizer={"name": "sgd", "momentum": 0},
    schedule={"name": "constant"},
    batch_size=10,
    target_loss=0.3,
    max_steps=400,
    record_every=7,
)
FORWARD = replace(
    BACKPROP,
    estimator={"name": "forward_gradient"},
    tangents="rademacher",
    num_tangents=1,
    learning_rate=0.05,
)


def two_clouds(seed: int = 0) -> Split:
    """Two overlapping clouds of points in the plane."""
    drawing = np.random.default_rng(seed)
    labels = drawing.integers(0, 2, size=90)
    inputs = (drawing.normal(size=(90, 2)) + 2.0 * labels[:, None]).astype(np.float32)
    ids = np.arange(90)
    parts = [Part(inputs[rows], labels[rows], ids[rows]) for rows in np.split(ids, [45, 65])]
    return Split(*parts)


def trained(settings: Settings, seed: int = 0, **options):
    return train(two_clouds(), settings, num_classes=2, seed=seed, **options)


@pytest.mark.parametrize("settings", [BACKPROP, FORWARD], ids=["backprop", "forward_gradient"])
def test_a_run_stops_at_the_first_record_below_the_target(settings: Settings) -> None:
    run = trained(settings)
    losses = [record["train_loss"] for record in run.curve]
    assert run.status == "reached"
    assert losses[-1] < settings.target_loss
    assert all(loss >= settings.target_loss for loss in losses[:-1])
    assert run.steps == run.curve[-1]["step"]


def test_a_run_that_misses_its_target_makes_exactly_max_steps() -> None:
    run = trained(replace(FORWARD, target_loss=1e-9, max_steps=100, record_every=30))
    assert (run.status, run.steps) == ("not_reached", 100)
    assert [record["step"] for record in run.curve] == [0, 30, 60, 90, 100]
    assert run.record(two_clouds().test)["steps_to_target"] is None


def test_a_target_above_the_initial_loss_needs_no_step() -> None:
    run = trained(replace(BACKPROP, target_loss=100.0))
    assert (run.status, run.steps, len(run.curve)) == ("reached", 0, 1)


def test_a_run_that_diverges_names_the_first_batch_whose_loss_is_not_finite() -> None:
    model = {"name": "mlp", "hidden_widths": [8, 8]}
    settings = replace(
        FORWARD, model=model, learning_rate=5.0, batch_size=45, target_loss=1e-9, record_every=50
    )
    run = trained(settings)
    finer = trained(replace(settings, record_every=1))
    assert run.status == finer.status == "diverged"
    assert run.steps == finer.steps
    assert run.steps % settings.record_every != 0
    record = run.record(two_clouds().test)
    assert record["diverged_at_step"] == run.steps
    assert record["curve"]["train_loss"][-1] is None


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    assert trained(FORWARD) == trained(FORWARD)
    assert trained(FORWARD).curve != trained(FORWARD, seed=1).curve


def test_records_are_only_looks_a_rarer_look_sees_the_same_training() -> None:
    settings = replace(FORWARD, target_loss=1e-9, max_steps=60)
    often = {record["step"]: record for record in trained(replace(settings, record_every=5)).curve}
    for record in trained(replace(settings, record_every=20)).curve:
        assert record == often[record["step"]]


def test_methods_at_one_seed_share_initial_parameters_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list] = {}
    original = fgbench.training.BatchLoss.on

    def spy(self, inputs, labels):
        batches.append(inputs.clone())
        return original(self, inputs, labels)

    monkeypatch.setattr(fgbench.training.BatchLoss, "on", spy)
    runs = {}
    for name, settings in {"backprop": BACKPROP, "forward_gradient": FORWARD}.items():
        batches = seen[name] = []
        runs[name] = trained(replace(settings, target_loss=1e-9, max_steps=30))
    assert runs["backprop"].curve[0] == runs["forward_gradient"].curve[0]
    assert len(seen["backprop"]) == 30
    assert all(map(torch.equal, seen["backprop"], seen["forward_gradient"]))


def test_an_epoch_sees_every_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = fgbench.training.BatchLoss.on

    def spy(self, inputs, labels):
        seen.extend(inputs[:, 0].tolist())
        return original(self, inputs, labels)

    monkeypatch.setattr(fgbench.training.BatchLoss, "on", spy)
    trained(replace(BACKPROP, batch_size=15, max_steps=6, record_every=6, target_loss=1e-9))
    expected = sorted(two_clouds().train.inputs[:, 0].tolist())
    assert sorted(seen[:45]) == expected
    assert sorted(seen[45:]) == expected
    assert seen[:45] != seen[45:]


def test_a_backprop_run_is_plain_gradient_descent() -> None:
    """Against a loop written with autograd and torch.optim, sharing only the seeds."""
    settings = replace(BACKPROP, target_loss=1e-9, max_steps=25, record_every=25)
    run = trained(settings, seed=3)
    torch.manual_seed(derived_seed(3, "init"))
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    inputs, labels = (
        torch.from_numpy(value) for value in (two_clouds().train.inputs, two_clouds().train.labels)
    )
    drawing = generator(3, "batches")
    batches = [batch for _ in range(7) for batch in torch.randperm(45, generator=drawing)[:40].split(10)]
    for batch in batches[:25]:
        optimizer.zero_grad()
        cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    loss, accuracy = loss_and_accuracy(model(inputs).detach(), labels)
    assert run.curve[-1]["train_loss"] == pytest.approx(loss, rel=1e-5)
    assert run.curve[-1]["train_accuracy"] == accuracy


def test_predictions_are_the_final_model_on_every_test_example() -> None:
    run = trained(FORWARD)
    test = two_clouds().test
    record = run.record(test)["predictions"]
    assert record["id"] == test.ids.tolist()
    right = sum(map(int.__eq__, record["label"], record["predicted"]))
    assert right / len(test.labels) == run.curve[-1]["test_accuracy"]


def test_a_record_is_seen_when_it_is_made() -> None:
    seen: list[Record] = []
    run = trained(FORWARD, watch=seen.append)
    assert seen == run.curve


def test_a_batch_larger_than_the_training_part_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="batch_size: 46 is more than the 45 examples"):
        trained(replace(BACKPROP, batch_size=46))


def test_seeds_and_purposes_give_independent_generators() -> None:
    purposes = ("split", "init", "batches", "tangents")
    derived = {derived_seed(seed, purpose) for seed in range(500) for purpose in purposes}
    assert len(derived) == 2000
    # printf 0/init | sha256sum | head -c 8
    assert derived_seed(0, "init") == 0x2A29A3E2

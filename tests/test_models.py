"""Models have the sizes the study states, and a BatchLoss is what functional_call would compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from fgbench.errors import ConfigError
from fgbench.metrics import CHUNK, logits_of, loss_and_accuracy
from fgbench.models import BatchLoss, built_model, parameters_of

CHOICES = [
    ({"name": "logistic_regression"}, (4,), 3, 4 * 3 + 3),
    ({"name": "logistic_regression"}, (1, 28, 28), 10, 784 * 10 + 10),
    ({"name": "mlp", "hidden_widths": [16]}, (4,), 3, 131),
    ({"name": "mlp", "hidden_widths": [8, 6]}, (4,), 3, 5 * 8 + 9 * 6 + 7 * 3),
    ({"name": "cnn", "channels": [4, 8]}, (1, 28, 28), 10, 4330),
    ({"name": "cnn", "channels": [2]}, (3, 5, 7), 2, 2 * 75 + 2 + 2 * 3 * 4 * 2 + 2),
]


@pytest.mark.parametrize(("choice", "shape", "num_classes", "num_parameters"), CHOICES)
def test_a_model_has_the_stated_number_of_parameters(choice, shape, num_classes, num_parameters) -> None:
    model = built_model(choice, shape, num_classes, seed=0)
    assert sum(value.numel() for value in parameters_of(model).values()) == num_parameters
    assert model(torch.zeros(2, *shape)).shape == (2, num_classes)
    assert not list(model.buffers())


def test_initial_parameters_hang_on_the_seed_alone() -> None:
    choice, shape, num_classes, _ = CHOICES[2]
    first = parameters_of(built_model(choice, shape, num_classes, seed=1))
    torch.rand(3)
    state = torch.get_rng_state()
    second = parameters_of(built_model(choice, shape, num_classes, seed=1))
    other = parameters_of(built_model(choice, shape, num_classes, seed=2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize(("choice", "shape", "num_classes", "num_parameters"), CHOICES)
def test_a_batch_loss_is_that_of_functional_call(choice, shape, num_classes, num_parameters) -> None:
    model = built_model(choice, shape, num_classes, seed=0)
    inputs, labels = torch.randn(5, *shape), torch.randint(num_classes, (5,))
    params = {name: torch.randn_like(value) for name, value in parameters_of(model).items()}
    expected = cross_entropy(functional_call(model, params, (inputs,)), labels)
    loss_fn = BatchLoss(model, inputs, labels)
    assert torch.equal(loss_fn(params), expected)
    assert torch.equal(loss_fn.of_logits(loss_fn.logits(params)), expected)
    other = loss_fn.on(inputs[:2], labels[:2])
    assert torch.equal(
        other(params), cross_entropy(functional_call(model, params, (inputs[:2],)), labels[:2])
    )


@pytest.mark.parametrize(("choice", "shape", "num_classes", "num_parameters"), CHOICES)
def test_a_models_layers_one_after_another_are_the_model(choice, shape, num_classes, num_parameters) -> None:
    model = built_model(choice, shape, num_classes, seed=0)
    inputs, labels = torch.randn(5, *shape), torch.randint(num_classes, (5,))
    loss_fn = BatchLoss(model, inputs, labels)
    flow = loss_fn.inputs
    for layer in loss_fn.model:
        flow = layer(flow)
    assert torch.equal(loss_fn.of_logits(flow), loss_fn(parameters_of(model)))


def test_a_tied_parameter_is_put_into_all_its_places() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    inputs, labels = torch.randn(5, 3), torch.randint(3, (5,))
    params = {name: torch.randn_like(value) for name, value in parameters_of(model).items()}
    assert "1.weight" not in params
    expected = cross_entropy(functional_call(model, params, (inputs,)), labels)
    assert torch.equal(BatchLoss(model, inputs, labels)(params), expected)


def test_the_model_gets_its_own_parameters_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    weight = model[0].weight
    loss_fn = BatchLoss(model, torch.zeros(1, 3), torch.tensor([0]))
    with pytest.raises(RuntimeError):
        loss_fn({"0.weight": torch.zeros(5, 5), "0.bias": torch.zeros(2)})
    assert model[0].weight is weight


def test_a_convolutional_network_refuses_inputs_that_are_no_images() -> None:
    with pytest.raises(ConfigError, match=r"shape \(4,\) are no images"):
        built_model({"name": "cnn", "channels": [4]}, (4,), 3, seed=0)


def test_evaluation_in_chunks_is_evaluation_at_once() -> None:
    model = built_model(*CHOICES[2][:3], seed=0)
    inputs = torch.randn(2 * CHUNK + 7, 4)
    torch.testing.assert_close(logits_of(model, inputs), model(inputs).detach())


def test_loss_and_accuracy_of_sure_logits() -> None:
    logits = torch.tensor([[50.0, 0.0], [50.0, 0.0], [0.0, 50.0], [0.0, 50.0]])
    loss, accuracy = loss_and_accuracy(logits, torch.tensor([0, 0, 1, 0]))
    assert accuracy == 0.75
    assert loss == pytest.approx(50 / 4)

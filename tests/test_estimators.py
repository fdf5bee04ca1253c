"""Estimators are exact, unbiased, pure, and never take more passes than they promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml
from references import central_differences, flattened, softmax_regression_gradient
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from fgbench.estimators import (
    ESTIMATORS,
    backprop,
    checkpointed_backprop,
    directional_derivatives,
    forward_gradient,
    mean_along,
)
from fgbench.models import MODELS, BatchLoss, built_model, parameters_of
from fgbench.tangents import TANGENTS, draw_tangents, unflatten
from fgbench.types import Params

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config" / "config.yaml").read_text(encoding="utf-8"))
SHAPE, NUM_CLASSES = (1, 6, 6), 3


def problem(name: str, dtype: torch.dtype = torch.float64) -> tuple[BatchLoss, Params]:
    """A model's loss, its options as configured, on seven random images; its parameters, all of one dtype."""
    model = built_model({"name": name, **CONFIG["models"][name]}, SHAPE, NUM_CLASSES, seed=0).to(dtype)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(7, *SHAPE, generator=generator, dtype=dtype)
    labels = torch.randint(NUM_CLASSES, (7,), generator=generator)
    return BatchLoss(model, inputs, labels), parameters_of(model)


def tangents_like(params: Params, num_tangents: int, distribution: str = "normal", seed: int = 2) -> Params:
    generator = torch.Generator().manual_seed(seed)
    return draw_tangents(distribution, like=params, num_tangents=num_tangents, generator=generator)


@pytest.mark.parametrize("name", MODELS)
def test_backprop_gives_the_gradient_of_central_differences(name: str) -> None:
    loss_fn, params = problem(name)
    expected = central_differences(loss_fn, params)
    for key, value in backprop(loss_fn, params).gradient.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-8)


def test_backprop_gives_the_closed_form_of_softmax_regression() -> None:
    loss_fn, params = problem("logistic_regression")
    gradient = backprop(loss_fn, params).gradient
    expected = softmax_regression_gradient(
        params["1.weight"], params["1.bias"], loss_fn.inputs.flatten(1), loss_fn.labels
    )
    torch.testing.assert_close(gradient["1.weight"], expected["weight"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient["1.bias"], expected["bias"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("num_tangents", [1, 2, 5])
@pytest.mark.parametrize("name", MODELS)
def test_a_directional_derivative_is_the_gradient_times_the_tangent(name: str, num_tangents: int) -> None:
    loss_fn, params = problem(name)
    tangents = tangents_like(params, num_tangents)
    loss, derivatives = directional_derivatives(loss_fn, params, tangents)
    gradient = flattened(central_differences(loss_fn, params))
    for index in range(num_tangents):
        direction = flattened({key: value[index] for key, value in tangents.items()})
        torch.testing.assert_close(derivatives[index], gradient @ direction, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(loss, loss_fn(params), rtol=0, atol=0)


@pytest.mark.parametrize("num_tangents", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_forward_gradient_is_the_mean_of_derivative_times_tangent(name: str, num_tangents: int) -> None:
    loss_fn, params = problem(name)
    tangents = tangents_like(params, num_tangents)
    gradient = flattened(central_differences(loss_fn, params))
    expected = torch.zeros_like(gradient)
    for index in range(num_tangents):
        direction = flattened({key: value[index] for key, value in tangents.items()})
        expected += (gradient @ direction) * direction / num_tangents
    estimate = flattened(forward_gradient(loss_fn, params, tangents).gradient)
    torch.testing.assert_close(estimate, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("num_tangents", [1, 8, 4096])
def test_the_average_over_all_rademacher_tangents_of_a_tiny_model_is_the_gradient(num_tangents: int) -> None:
    choice = {"name": "mlp", "hidden_widths": [2]}
    model = built_model(choice, (2,), 2, seed=3).double()
    loss_fn = BatchLoss(model, torch.tensor([[0.5, -1.0]], dtype=torch.float64), torch.tensor([1]))
    params = parameters_of(model)
    num_parameters = len(flattened(params))
    assert num_parameters == 12
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=num_parameters)), dtype=torch.float64)
    total = torch.zeros(num_parameters, dtype=torch.float64)
    for block in signs.split(num_tangents):
        total += len(block) * flattened(forward_gradient(loss_fn, params, unflatten(block, params)).gradient)
    expected = flattened(backprop(loss_fn, params).gradient)
    torch.testing.assert_close(total / len(signs), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("distribution", "factor"), [("normal", 1.0), ("rademacher", -1.0), ("sphere", -1.0)]
)
@pytest.mark.parametrize("num_tangents", [1, 4])
def test_the_total_variance_follows_the_law(distribution: str, factor: float, num_tangents: int) -> None:
    """E‖g-∇f‖² = (d+κ-2)‖∇f‖²/K: d+1 for normal tangents, d-1 for Rademacher and the sphere (field's law)."""
    loss_fn, params = problem("logistic_regression")
    gradient = flattened(backprop(loss_fn, params).gradient)
    draws = 20_000
    flat = tangents_like(params, draws * num_tangents, distribution, seed=5)
    _, derivatives = directional_derivatives(loss_fn, params, flat)
    directions = torch.cat([value.flatten(1) for value in flat.values()], dim=1)
    estimates = (derivatives[:, None] * directions).view(draws, num_tangents, -1).mean(dim=1)
    errors = (estimates - gradient).square().sum(dim=1) / gradient.square().sum()
    expected = (len(gradient) + factor) / num_tangents
    standard_error = errors.std().item() / math.sqrt(draws)
    assert abs(errors.mean().item() - expected) < 4 * standard_error
    # The bound can tell the laws apart: d+1 from d-1 within it.
    assert 8 * standard_error < 2 / num_tangents + expected / 4


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", MODELS)
def test_an_estimator_is_pure(estimator: str, name: str) -> None:
    loss_fn, params = problem(name)
    tangents = tangents_like(params, 2)
    before = {key: value.clone() for key, value in params.items()}
    slots = {key: id(value) for key, value in loss_fn.model.named_parameters()}
    state = torch.get_rng_state()
    first = ESTIMATORS[estimator](loss_fn, params, tangents)
    second = ESTIMATORS[estimator](loss_fn, params, tangents)
    assert torch.equal(state, torch.get_rng_state())
    assert slots == {key: id(value) for key, value in loss_fn.model.named_parameters()}
    for key, value in params.items():
        assert torch.equal(value, before[key])
        assert not value.requires_grad
        assert torch.equal(first.gradient[key], second.gradient[key])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", MODELS)
def test_an_estimate_is_shaped_like_the_parameters_and_keeps_no_graph(estimator: str, name: str) -> None:
    loss_fn, params = problem(name)
    for num_tangents in (1, 3):
        result = ESTIMATORS[estimator](loss_fn, params, tangents_like(params, num_tangents))
        assert result.loss.shape == ()
        assert result.loss.grad_fn is None
        assert list(result.gradient) == list(params)
        for key, value in result.gradient.items():
            assert value.shape == params[key].shape
            assert value.dtype == params[key].dtype
            assert value.grad_fn is None


@pytest.mark.parametrize("num_tangents", [1, 4])
def test_forward_gradient_makes_no_reverse_pass(num_tangents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a reverse pass was made")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(torch.autograd, "backward", refuse)
    loss_fn, params = problem("mlp")
    params = {key: value.requires_grad_() for key, value in params.items()}
    result = forward_gradient(loss_fn, params, tangents_like(params, num_tangents))
    assert all(value.grad_fn is None for value in result.gradient.values())


def saved_bytes(call: Callable[[], object]) -> list[int]:
    """The sizes of all tensors that a call keeps for a reverse pass."""
    sizes: list[int] = []

    def pack(kept: torch.Tensor) -> torch.Tensor:
        sizes.append(kept.nbytes)
        return kept

    with saved_tensors_hooks(pack, lambda kept: kept):
        call()
    return sizes


@pytest.mark.parametrize("num_tangents", [1, 4])
@pytest.mark.parametrize("name", MODELS)
def test_forward_gradient_keeps_nothing_for_a_reverse_pass(name: str, num_tangents: int) -> None:
    """Not even of parameters that require grad, outside `no_grad`; there a plain forward pass keeps something."""
    loss_fn, params = problem(name)
    params = {key: value.requires_grad_() for key, value in params.items()}
    tangents = tangents_like(params, num_tangents)
    assert torch.is_grad_enabled()
    assert saved_bytes(lambda: loss_fn(params))
    assert saved_bytes(lambda: backprop(loss_fn, params))
    assert saved_bytes(lambda: forward_gradient(loss_fn, params, tangents)) == []


DEEP = {"name": "mlp", "hidden_widths": [16] * 40}


def deep_problem() -> tuple[BatchLoss, Params]:
    """A ladder of forty equal layers, on many examples."""
    model = built_model(DEEP, (16,), NUM_CLASSES, seed=0)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(512, 16, generator=generator)
    labels = torch.randint(NUM_CLASSES, (512,), generator=generator)
    return BatchLoss(model, inputs, labels), parameters_of(model)


def assert_same_bits(loss_fn: BatchLoss, params: Params) -> None:
    expected, found = backprop(loss_fn, params), checkpointed_backprop(loss_fn, params)
    assert torch.equal(found.loss, expected.loss)
    assert list(found.gradient) == list(expected.gradient)
    for key, value in expected.gradient.items():
        assert torch.equal(found.gradient[key], value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_checkpointed_backprop_gives_backprops_gradient_to_the_last_bit(
    name: str, dtype: torch.dtype
) -> None:
    assert_same_bits(*problem(name, dtype))


def test_checkpointed_backprop_gives_backprops_gradient_of_a_deep_model_to_the_last_bit() -> None:
    assert_same_bits(*deep_problem())


@pytest.mark.parametrize("depth", range(1, 8))
def test_checkpointed_backprop_is_exact_at_any_number_of_layers(depth: int) -> None:
    model = built_model({"name": "mlp", "hidden_widths": [5] * (depth - 1)}, SHAPE, NUM_CLASSES, seed=0)
    inputs, labels = torch.randn(7, *SHAPE), torch.randint(NUM_CLASSES, (7,))
    assert_same_bits(BatchLoss(model, inputs, labels), parameters_of(model))


def test_checkpointed_backprop_keeps_far_less_than_backprop_of_a_deep_model() -> None:
    loss_fn, params = deep_problem()
    whole = saved_bytes(lambda: backprop(loss_fn, params))
    checkpointed = saved_bytes(lambda: checkpointed_backprop(loss_fn, params))
    assert len(checkpointed) < len(whole) / 2
    assert sum(checkpointed) < sum(whole) / 2


class Counting(nn.Module):
    """Passes its input on and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return inputs


def test_checkpointed_backprop_runs_all_segments_but_the_last_twice() -> None:
    """Sixteen modules in four segments of four, a counter amid each."""
    counters = [Counting() for _ in range(4)]
    model = nn.Sequential(
        *(module for one in counters for module in (nn.Linear(3, 3), one, nn.Linear(3, 3), nn.Tanh()))
    )
    loss_fn = BatchLoss(model, torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]))
    params = parameters_of(model)
    checkpointed_backprop(loss_fn, params)
    assert [one.calls for one in counters] == [2, 2, 2, 1]
    backprop(loss_fn, params)
    assert [one.calls for one in counters] == [3, 3, 3, 2]


@pytest.mark.parametrize("num_tangents", [1, 2, 5])
def test_the_mean_along_tangents_is_their_weighted_sum_over_their_number(num_tangents: int) -> None:
    _, params = problem("cnn")
    tangents, weights = tangents_like(params, num_tangents), torch.arange(1.0, num_tangents + 1).double()
    found = mean_along(tangents, weights)
    assert list(found) == list(params)
    for key, value in found.items():
        expected = sum(weight * tangent for weight, tangent in zip(weights, tangents[key], strict=True))
        torch.testing.assert_close(value, expected / num_tangents, rtol=1e-12, atol=1e-12)
        assert value.shape == params[key].shape


def test_the_mean_along_one_tangent_leaves_the_tangent_as_it_was() -> None:
    _, params = problem("mlp")
    tangents = tangents_like(params, 1)
    before = {key: value.clone() for key, value in tangents.items()}
    mean_along(tangents, torch.tensor([3.0], dtype=torch.float64))
    assert all(torch.equal(value, before[key]) for key, value in tangents.items())


@pytest.mark.parametrize(("num_tangents", "passes"), [(1, 1), (4, 1)])
def test_forward_gradient_runs_the_model_once_a_step(num_tangents: int, passes: int) -> None:
    loss_fn, params = problem("mlp")
    counter = Counting()
    loss_fn.model.append(counter)
    forward_gradient(loss_fn, params, tangents_like(params, num_tangents))
    assert counter.calls == passes


@pytest.mark.parametrize("num_tangents", [1, 3])
def test_a_loss_that_ignores_the_parameters_has_derivative_zero(num_tangents: int) -> None:
    params = {"x": torch.ones(3)}
    tangents = tangents_like(params, num_tangents)
    result = forward_gradient(lambda params: torch.tensor(2.0), params, tangents)
    assert result.loss.item() == 2.0
    assert torch.equal(result.gradient["x"], torch.zeros(3))


@pytest.mark.parametrize("distribution", TANGENTS)
def test_an_estimate_never_points_uphill(distribution: str) -> None:
    """g·∇f = (∇f·v)² ≥ 0 for one tangent."""
    loss_fn, params = problem("cnn")
    gradient = flattened(backprop(loss_fn, params).gradient)
    for seed in range(20):
        estimate = forward_gradient(loss_fn, params, tangents_like(params, 1, distribution, seed))
        assert flattened(estimate.gradient) @ gradient >= 0

"""Operations are those that one counts by hand, for every model and method, and hang on nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn
from workloads import BACKPROP, CHECKPOINTED, FORWARD_PASS, METHODS, forward, workload

from fgbench.cost import steps
from fgbench.cost.operations import operations
from fgbench.cost.steps import Method, Workload
from fgbench.models import MODELS, built_model
from fgbench.tangents import TANGENTS
from fgbench.types import Json

SGD = {"name": "sgd", "momentum": 0}
WORKLOADS = [
    Workload({"name": "logistic_regression"}, (4,), 3, 50, SGD),
    Workload({"name": "logistic_regression"}, (1, 28, 28), 10, 7, SGD),
    Workload({"name": "mlp", "hidden_widths": [16]}, (4,), 3, 50, SGD),
    Workload({"name": "mlp", "hidden_widths": [8, 6, 5, 3]}, (1, 5, 5), 4, 9, SGD),
    Workload({"name": "mlp", "hidden_widths": [6] * 10}, (6,), 5, 11, SGD),
    Workload({"name": "cnn", "channels": [4, 8]}, (1, 28, 28), 10, 50, SGD),
    Workload({"name": "cnn", "channels": [3]}, (2, 5, 7), 2, 6, SGD),
    Workload({"name": "cnn", "channels": [2, 3, 5]}, (3, 9, 14), 2, 6, SGD),
]
NAMES = [f"{one.model['name']}-{one.input_shape}-{index}" for index, one in enumerate(WORKLOADS)]
on_all_workloads = pytest.mark.parametrize("one", WORKLOADS, ids=NAMES)


def sizes(one: Workload) -> Iterator[tuple[int, int]]:
    """Multiplications of one example in the forward pass, and parameters, of each layer that has some.

    A linear layer from n to m multiplies n·m times. A convolution of k·k from c to d channels multiplies k·k·c·d
    times at each place of its output, whose height and width are half of its input's, rounded up.
    """
    shape = one.input_shape
    if one.model["name"] == "cnn":
        depth, height, width = shape
        for index, (entering, leaving) in enumerate(pairwise([depth, *one.model["channels"]])):
            size = 5 if index == 0 else 3
            height, width = math.ceil(height / 2), math.ceil(width / 2)
            entries = size * size * entering * leaving
            yield entries * height * width, entries + leaving
        shape = (one.model["channels"][-1], height, width)
    widths = [math.prod(shape), *one.model.get("hidden_widths", []), one.num_classes]
    for entering, leaving in pairwise(widths):
        yield entering * leaving, entering * leaving + leaving


def layers(one: Workload) -> list[int]:
    """Operations of each layer in a forward pass: two a multiplication, of each example."""
    return [2 * one.batch_size * multiplications for multiplications, _ in sizes(one)]


def num_parameters(one: Workload) -> int:
    return sum(parameters for _, parameters in sizes(one))


@on_all_workloads
def test_a_forward_pass_multiplies_each_layers_input_by_its_weights(one: Workload) -> None:
    assert operations(one, FORWARD_PASS) == sum(layers(one))


@on_all_workloads
def test_backprop_takes_three_forward_passes_less_the_gradient_of_the_input(one: Workload) -> None:
    """Each layer: output x·W, gradient of the weights xᵀ·δ, of the input δ·Wᵀ; nobody asks for that of the data."""
    first, *others = layers(one)
    assert operations(one, BACKPROP) == 2 * first + 3 * sum(others)


def modules(one: Workload) -> list[int]:
    """Operations of each module of the model, in order: those of a layer, or none (Flatten, ReLU)."""
    remaining = iter(layers(one))
    model = built_model(one.model, one.input_shape, one.num_classes, seed=0)
    return [next(remaining) if isinstance(module, nn.Linear | nn.Conv2d) else 0 for module in model]


@on_all_workloads
def test_checkpointed_backprop_computes_again_all_but_the_ends_of_its_segments(one: Workload) -> None:
    """Beside backprop's: the forward pass of all segments of ⌈√L⌉ modules but the last segment.

    Of a segment, its last module's product is not computed again: its output is the next one's kept input, and the
    products of the reverse pass need what enters a layer. (A ReLU keeps what leaves it, and so needs what entered.)
    """
    found = modules(one)
    length = math.ceil(math.sqrt(len(found)))
    segments = [found[start : start + length] for start in range(0, len(found), length)]
    again = sum(sum(segment[:-1]) for segment in segments[:-1])
    assert operations(one, CHECKPOINTED) == operations(one, BACKPROP) + again
    assert again <= operations(one, FORWARD_PASS)


@on_all_workloads
def test_one_forward_gradient_takes_three_forward_passes(one: Workload) -> None:
    """Each layer: output x·W and its tangent x·V + ẋ·W, in the first layer too, where ẋ is zero.

    Derivative times tangent is a product of single entries, and not counted.
    """
    assert operations(one, forward(1)) == 3 * operations(one, FORWARD_PASS)


@on_all_workloads
@pytest.mark.parametrize("num_tangents", [2, 4, 16])
def test_several_tangents_share_the_forward_pass(one: Workload, num_tangents: int) -> None:
    """Each layer: x·W once; x·Vₖ and ẋₖ·W for each of K tangents, but in the first layer one ẋ·W, as ẋ is zero for all.

    The mean Σ wₖ vₖ / K is a product of [K] with [K, d]: 2·K·d operations.
    """
    first, *others = layers(one)
    passes = (2 + num_tangents) * first + (1 + 2 * num_tangents) * sum(others)
    assert operations(one, forward(num_tangents)) == passes + 2 * num_tangents * num_parameters(one)


def test_the_default_studys_models_take_these_multiples_of_a_forward_pass() -> None:
    """The sums above, worked out with pencil and paper for four tangents.

    Penguins, 50 examples. Linear 4 → 3: 12 multiplications each, 1200 operations, 15 parameters;
    6 · 1200 + 2 · 4 · 15 = 7320. Linear 4 → 16 → 3: 6400 and 4800, 80 + 51 = 131 parameters;
    6 · 6400 + 9 · 4800 + 2 · 4 · 131 = 82648 of 11200. Images, 5·5 from 1 to 4 channels at 14·14 places,
    3·3 from 4 to 8 at 7·7, 392 → 10: 1960000, 1411200 and 392000, 104 + 296 + 3930 = 4330 parameters;
    6 · 1960000 + 9 · 1803200 + 2 · 4 · 4330 = 28023440 of 3763200.
    """
    counted = [(operations(one, forward(4)), operations(one, FORWARD_PASS)) for one in WORKLOADS[:6]]
    assert [counted[0], counted[2], counted[5]] == [(7320, 1200), (82648, 11200), (28023440, 3763200)]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_a_count_is_the_same_each_time_on_any_threads_and_for_any_values(
    model: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, method = workload(model), METHODS[name]
    expected = operations(one, method)
    assert operations(one, method) == expected

    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert operations(one, method) == expected
    finally:
        torch.set_num_threads(threads)

    def of_zeros(choice: Json, input_shape: tuple[int, ...], num_classes: int, *, seed: int) -> nn.Sequential:
        model = built_model(choice, input_shape, num_classes, seed=seed)
        for value in model.parameters():
            nn.init.zeros_(value)
        return model

    monkeypatch.setattr(steps, "built_model", of_zeros)
    assert operations(one, method) == expected


@pytest.mark.parametrize("num_tangents", [1, 4])
def test_no_count_hangs_on_the_distribution_of_tangents(num_tangents: int) -> None:
    counts = {operations(workload(), forward(num_tangents, name)) for name in TANGENTS}
    assert len(counts) == 1


@pytest.mark.parametrize("method", [BACKPROP, forward(1)])
def test_no_count_hangs_on_the_optimizer(method: Method) -> None:
    assert operations(workload(optimizer="adam"), method) == operations(workload(), method)


@pytest.mark.parametrize("name", METHODS)
def test_products_grow_in_proportion_to_the_batch(name: str) -> None:
    one, method = workload("cnn"), METHODS[name]
    combining = 2 * (method.num_tangents or 1) * num_parameters(one) if name == "forward_gradient_4" else 0
    twice = operations(replace(one, batch_size=2 * one.batch_size), method)
    assert twice - combining == 2 * (operations(one, method) - combining)

"""Print the microseconds of a training step, of ours and of a tutorial's, side by side: python benchmarks/steps.py

For each of the study's models and one batch of its size, interleaved in one process (A B C … C B A, medians over
rounds): a bare forward pass; a step written as in a tutorial, with torch.func.jvp and functional_call; this
project's forward-gradient step (tangents drawn, derivative, update); this project's backprop step, and one with
loss.backward() and torch.optim.SGD.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy

from fgbench.config import Cell, cell_settings, read_config
from fgbench.estimators import backprop, forward_gradient
from fgbench.models import BatchLoss, built_model, parameters_of
from fgbench.optimizers import sgd
from fgbench.provenance import machine
from fgbench.tangents import draw_tangents

SHAPES = dict.fromkeys(("penguins", "iris"), ((4,), 3)) | dict.fromkeys(
    ("kmnist_t10k", "kmnist", "digits"), ((1, 28, 28), 10)
)
BLOCK_S = 0.02

Step = Callable[[], object]


def forward_pass(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Step:
    """The loss alone."""

    def step() -> object:
        with torch.no_grad():
            return cross_entropy(model(inputs), labels)

    return step


def tutorial(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Step:
    """A forward-gradient step as tutorials write it."""
    params = {name: value.detach().clone() for name, value in model.named_parameters()}

    def step() -> None:
        tangents = {name: torch.randn_like(value) for name, value in params.items()}
        loss_of = lambda values: cross_entropy(functional_call(model, values, (inputs,)), labels)  # noqa: E731
        _, derivative = jvp(loss_of, (params,), (tangents,))
        for name, value in params.items():
            params[name] = value - 1e-9 * derivative * tangents[name]

    return step


def ours_forward(distribution: str) -> Callable[..., Step]:
    """This project's forward-gradient step with one tangent."""

    def make(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Step:
        params, loss_fn = parameters_of(model), BatchLoss(model, inputs, labels)
        update, generator = sgd(params, momentum=0), torch.Generator().manual_seed(0)

        def step() -> None:
            tangents = draw_tangents(distribution, like=params, num_tangents=1, generator=generator)
            update(forward_gradient(loss_fn.on(inputs, labels), params, tangents).gradient, 1e-9)

        return step

    return make


def ours_backprop(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Step:
    """This project's backprop step."""
    params, loss_fn = parameters_of(model), BatchLoss(model, inputs, labels)
    update = sgd(params, momentum=0)
    return lambda: update(backprop(loss_fn.on(inputs, labels), params).gradient, 1e-9)


def textbook_backprop(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Step:
    """A backprop step as textbooks write it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


VARIANTS: dict[str, Callable[..., Step]] = {
    "forward pass": forward_pass,
    "tutorial jvp": tutorial,
    "fgbench, normal": ours_forward("normal"),
    "fgbench, rademacher": ours_forward("rademacher"),
    "textbook backprop": textbook_backprop,
    "fgbench, backprop": ours_backprop,
}


def block_us(step: Step, count: int) -> float:
    """The microseconds of one of `count` steps."""
    start = perf_counter()
    for _ in range(count):
        step()
    return (perf_counter() - start) / count * 1e6


def measured(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Blocks of each step's microseconds, in an order that is turned round after every round."""
    counts = {}
    for name, step in steps.items():
        block_us(step, 50)
        counts[name] = max(1, int(BLOCK_S * 1e6 / block_us(step, 50)))
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        for name in list(steps)[:: 1 if turn % 2 == 0 else -1]:
            samples[name].append(block_us(steps[name], counts[name]))
    return samples


def main() -> None:
    """Measure every experiment of a config and print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each variant (default: 20)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(arguments.config)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for experiment in config["experiments"]:
        shape, num_classes = SHAPES[experiment["dataset"]]
        method = next(iter(config["methods"]))
        choice = cell_settings(config, Cell(experiment["dataset"], experiment["model"], method))["model"]
        inputs = torch.randn(experiment["batch_size"], *shape)
        labels = torch.randint(num_classes, (experiment["batch_size"],))
        steps = {
            name: make(built_model(choice, shape, num_classes, seed=0), inputs, labels)
            for name, make in VARIANTS.items()
        }
        samples = measured(steps, arguments.rounds)
        print(
            f"\n{experiment['model']}, batch {experiment['batch_size']}: µs a step; tutorial's time over it"
        )
        for name, blocks in samples.items():
            ratios = [slow / own for slow, own in zip(samples["tutorial jvp"], blocks, strict=True)]
            print(f"  {name:20} {statistics.median(blocks):8.1f}   {statistics.median(ratios):5.2f}×")


if __name__ == "__main__":
    main()

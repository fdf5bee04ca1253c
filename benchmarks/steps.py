"""Print the microseconds of a training step, of ours and of a tutorial's, side by side: python benchmarks/steps.py

For each of the study's models and one batch of its size, interleaved in one process as `fgbench cost` does it: a bare
forward pass; a step written as in a tutorial, with torch.func.jvp and functional_call; this project's
forward-gradient step (tangents drawn, derivative, update); this project's backprop step, and one with
loss.backward() and torch.optim.SGD.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy

from fgbench.config import operations_settings, read_config
from fgbench.cost.steps import Method, Problem, Step, Workload, whole_step
from fgbench.cost.timing import interleaved
from fgbench.provenance import machine

SHAPES = dict.fromkeys(("penguins", "iris"), ((4,), 3)) | dict.fromkeys(
    ("kmnist_t10k", "kmnist", "digits"), ((1, 28, 28), 10)
)
BLOCK_S = 0.02

OURS = {
    "forward pass": Method(None),
    "fgbench, normal": Method({"name": "forward_gradient"}, "normal", 1),
    "fgbench, rademacher": Method({"name": "forward_gradient"}, "rademacher", 1),
    "fgbench, backprop": Method({"name": "backprop"}),
}


def tutorial(problem: Problem) -> Step:
    """A forward-gradient step as tutorials write it."""
    model, inputs, labels = problem.loss_fn.model, problem.loss_fn.inputs, problem.loss_fn.labels
    params = {name: value.detach().clone() for name, value in model.named_parameters()}

    def step() -> None:
        tangents = {name: torch.randn_like(value) for name, value in params.items()}
        loss_of = lambda values: cross_entropy(functional_call(model, values, (inputs,)), labels)  # noqa: E731
        _, derivative = jvp(loss_of, (params,), (tangents,))
        for name, value in params.items():
            params[name] = value - 1e-9 * derivative * tangents[name]

    return step


def textbook_backprop(problem: Problem) -> Step:
    """A backprop step as textbooks write it."""
    model, inputs, labels = problem.loss_fn.model, problem.loss_fn.inputs, problem.loss_fn.labels
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def steps_of(workload: Workload) -> dict[str, Step]:
    """All that is compared on one workload, each on a problem of its own."""
    others = {"tutorial jvp": tutorial, "textbook backprop": textbook_backprop}
    return {name: whole_step(workload, method, device="cpu") for name, method in OURS.items()} | {
        name: make(Problem(workload, Method(None), "cpu")) for name, make in others.items()
    }


def main() -> None:
    """Measure every experiment of a config and print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--rounds", type=int, default=20, help="rounds of two blocks each (default: 20)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for experiment in operations_settings(read_config(arguments.config))["experiments"]:
        input_shape, num_classes = SHAPES[experiment.pop("dataset")]
        workload = Workload(input_shape=input_shape, num_classes=num_classes, **experiment)
        steps = steps_of(workload)
        timed = interleaved([*steps.values()], rounds=arguments.rounds, block_s=BLOCK_S)
        samples = {
            name: [statistics.mean(both) for both in one.step_time_s]
            for name, one in zip(steps, timed, strict=True)
        }
        print(f"\n{workload.model['name']}, batch {workload.batch_size}: µs a step; tutorial's time over it")
        for name, rounds in samples.items():
            ratios = [slow / own for slow, own in zip(samples["tutorial jvp"], rounds, strict=True)]
            print(f"  {name:20} {1e6 * statistics.median(rounds):8.1f}   {statistics.median(ratios):5.2f}×")


if __name__ == "__main__":
    main()

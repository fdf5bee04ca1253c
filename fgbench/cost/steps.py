"""A workload and a method enter; their step leaves as a call without arguments, whole, in parts, by each engine.

A step is what a training does between two batches: draw tangents, estimate the gradient, update. Taking the batch out
of the data is the same for every method and is left out. The inputs are made up: no kernel's cost hangs on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from fgbench.estimators import ESTIMATORS, directional_derivatives, mean_along
from fgbench.models import BatchLoss, built_model, parameters_of
from fgbench.optimizers import OPTIMIZERS
from fgbench.tangents import draw_tangents
from fgbench.types import Json, LossAndGradient, LossFn, Params, chosen

Step: TypeAlias = Callable[[], object]
Estimate: TypeAlias = Callable[[LossFn, Params, "Params | None"], LossAndGradient]

EAGER, TORCH_FUNC, COMPILED, COMPILED_TORCH_FUNC = "eager", "torch.func", "compiled", "compiled torch.func"
ENGINES = (EAGER, TORCH_FUNC, COMPILED, COMPILED_TORCH_FUNC)
"""Ways to compute the same estimate. Eager is what training runs: `torch.autograd.grad`, dual tensors for one tangent.

Several tangents share one pass of `torch.func.jvp` under `vmap`, which dual tensors cannot do.
"""

FORWARD_PASS = "forward pass"
"""Measured beside the methods; with a space in it, no configured method can have this name."""

LEARNING_RATE = 1e-9
"""So small that the parameters stay where they are while their update costs what it costs."""


@dataclass(frozen=True)
class Workload:
    """The problem whose steps are measured, as `config.step_settings` gives it; a choice is {name, options}."""

    model: Json
    input_shape: tuple[int, ...]
    num_classes: int
    batch_size: int
    optimizer: Json


@dataclass(frozen=True)
class Method:
    """A configured estimator, with what draws its tangents; one without an estimator is a bare forward pass."""

    estimator: Json | None
    tangents: str | None = None
    num_tangents: int | None = None


class Problem:
    """A workload built on a device, with parameters, optimiser state and random numbers of its own."""

    def __init__(self, workload: Workload, method: Method, device: str) -> None:
        """Build it; the same arguments give the same problem."""
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(workload.batch_size, *workload.input_shape, generator=generator)
        labels = torch.randint(workload.num_classes, (workload.batch_size,), generator=generator)
        model = built_model(workload.model, workload.input_shape, workload.num_classes, seed=0).to(device)
        self.method = method
        self.params = parameters_of(model)
        self.loss_fn = BatchLoss(model, inputs.to(device), labels.to(device))
        self.update = chosen(OPTIMIZERS, workload.optimizer)(self.params)
        self.generator = torch.Generator(device).manual_seed(0)

    def draw(self) -> Params | None:
        """Draw a step's tangents, each [K, ...]; None for a method that needs none."""
        if self.method.tangents is None:
            return None
        return draw_tangents(
            self.method.tangents,
            like=self.params,
            num_tangents=self.method.num_tangents or 1,
            generator=self.generator,
        )

    def forward(self) -> object:
        """Compute the loss alone."""
        with torch.no_grad():
            return self.loss_fn(self.params)

    def step(self, estimate: Estimate) -> Step:
        """Return the whole step with this way to compute the estimate."""

        def step() -> None:
            self.update(estimate(self.loss_fn, self.params, self.draw()).gradient, LEARNING_RATE)

        return step


def whole_step(workload: Workload, method: Method, *, device: str, estimate: Estimate | None = None) -> Step:
    """Return a method's step on a problem of its own; `estimate` computes it otherwise than training does."""
    problem = Problem(workload, method, device)
    if method.estimator is None:
        return problem.forward
    return problem.step(estimate or estimate_of(method))


def parts_of(workload: Workload, method: Method, *, device: str) -> dict[str, Step]:
    """Return the parts of a method's step, each to be timed by itself.

    "draw" the tangents; "estimate" the gradient; within it, for forward gradients, the "product" of directional
    derivatives and tangents; "update" the parameters. A bare forward pass has no parts.
    """
    if method.estimator is None:
        return {}
    problem, estimate = Problem(workload, method, device), estimate_of(method)
    loss_fn, params, tangents = problem.loss_fn, problem.params, problem.draw()
    gradient = estimate(loss_fn, params, tangents).gradient
    parts: dict[str, Step] = {}
    if tangents is not None:
        parts["draw"] = problem.draw
    parts["estimate"] = lambda: estimate(loss_fn, params, tangents)
    if tangents is not None and method.estimator == {"name": "forward_gradient"}:
        _, derivatives = directional_derivatives(loss_fn, params, tangents)
        parts["product"] = lambda: mean_along(tangents, derivatives)
    parts["update"] = lambda: problem.update(gradient, LEARNING_RATE)
    return parts


def estimate_of(method: Method, engine: str = EAGER) -> Estimate:
    """Return how an engine computes a method's estimate: training's own way, or that of `torch.func`."""
    if method.estimator is None:
        raise ValueError("a bare forward pass estimates no gradient")
    return chosen(ESTIMATORS, method.estimator) if engine == EAGER else _BY_TORCH_FUNC[_name(method)]


def has_engines(method: Method) -> bool:
    """Return whether there is another way to compute a method's estimate: backprop, and one forward gradient."""
    return _name(method) in _BY_TORCH_FUNC and method.num_tangents in (None, 1)


def _name(method: Method) -> str:
    return str((method.estimator or {}).get("name"))


def _grad_and_value(loss_fn: LossFn, params: Params, tangents: Params | None) -> LossAndGradient:
    gradient, loss = torch.func.grad_and_value(loss_fn)(params)
    return LossAndGradient(loss, gradient)


def _jvp(loss_fn: LossFn, params: Params, tangents: Params | None) -> LossAndGradient:
    if tangents is None:
        raise ValueError("a forward gradient needs a tangent")
    loss, derivative = torch.func.jvp(loss_fn, (params,), ({name: v[0] for name, v in tangents.items()},))  # type: ignore[misc]
    return LossAndGradient(loss, mean_along(tangents, derivative[None]))


_BY_TORCH_FUNC: Mapping[str, Estimate] = {"backprop": _grad_and_value, "forward_gradient": _jvp}

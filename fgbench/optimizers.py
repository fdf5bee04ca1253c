"""A gradient and a learning rate enter; the parameters are moved in place.

Every method shares these updates, so that methods differ by their gradient alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch

from fgbench.types import Params

Update: TypeAlias = Callable[[Params, float], None]


def sgd(params: Params, *, momentum: float) -> Update:
    """Return the update m ← momentum · m + g, θ ← θ - η m (as `torch.optim.SGD`, without its bookkeeping)."""
    values = list(params.values())
    velocity = [torch.zeros_like(value) for value in values] if momentum else None

    def update(gradient: Params, learning_rate: float) -> None:
        direction = [gradient[name] for name in params]
        if velocity is not None:
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, direction)
            direction = velocity
        torch._foreach_add_(values, direction, alpha=-learning_rate)

    return update


def adam(params: Params, *, beta1: float, beta2: float) -> Update:
    """Return Adam's update (Kingma & Ba 2015); the fused kernel gives the same bits on every CPU."""
    optimizer = torch.optim.Adam(list(params.values()), betas=(beta1, beta2), fused=True)

    def update(gradient: Params, learning_rate: float) -> None:
        optimizer.param_groups[0]["lr"] = learning_rate
        for name, value in params.items():
            value.grad = gradient[name]
        optimizer.step()

    return update


def constant(progress: float) -> float:
    """Return 1 at any progress."""
    return 1.0


def cosine(progress: float, *, final_fraction: float) -> float:
    """Fall from 1 to `final_fraction` along half a cosine as `progress` goes from 0 to 1 (Loshchilov & Hutter 2017).

    >>> [round(cosine(progress, final_fraction=0.1), 12) for progress in (0.0, 0.5, 1.0)]
    [1.0, 0.55, 0.1]
    """
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def exponential(progress: float, *, final_fraction: float) -> float:
    """Fall from 1 to `final_fraction` by the same factor each step as `progress` goes from 0 to 1.

    >>> [round(exponential(progress, final_fraction=0.01), 12) for progress in (0.0, 0.5, 1.0)]
    [1.0, 0.1, 0.01]
    """
    return float(final_fraction**progress)


OPTIMIZERS: Mapping[str, Callable[..., Update]] = {
    "sgd": sgd,
    "adam": adam,
}

SCHEDULES: Mapping[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "exponential": exponential,
}

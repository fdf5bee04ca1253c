"""Slow gradients that share no code with the estimators: closed forms, central differences, plain loops."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fgbench.types import Params


def central_differences(function: Callable[[Params], Tensor], params: Params, step: float = 1e-5) -> Params:
    """Return the gradient of a scalar function, one parameter at a time, to O(step²); float64 in, float64 out."""
    gradient = {}
    for name, value in params.items():
        slopes = torch.zeros_like(value).flatten()
        for index in range(value.numel()):
            moved = []
            for sign in (1, -1):
                changed = value.clone().flatten()
                changed[index] += sign * step
                moved.append(function({**params, name: changed.view_as(value)}))
            slopes[index] = (moved[0] - moved[1]) / (2 * step)
        gradient[name] = slopes.view_as(value)
    return gradient


def softmax_regression_gradient(weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor) -> Params:
    """Return the closed form: (p - y)ᵀx / n and the mean of p - y, with p the softmax of the logits."""
    logits = inputs @ weight.T + bias
    scores = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
    error = scores / scores.sum(dim=1, keepdim=True)
    error[torch.arange(len(labels)), labels] -= 1
    return {"weight": error.T @ inputs / len(labels), "bias": error.mean(dim=0)}


def flattened(params: Params) -> Tensor:
    """Return all entries as one vector [d], in the params' own order."""
    return torch.cat([value.flatten() for value in params.values()])

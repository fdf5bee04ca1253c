"""Logits and labels enter; loss, accuracy and predicted classes leave."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 1000
"""Examples in one forward pass of an evaluation: bounds its memory."""


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the logits [n, classes] of `inputs` [n, ...]."""
    return torch.cat([model(chunk) for chunk in inputs.split(CHUNK)])


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy (nats) and the fraction of examples whose largest logit is their label's.

    >>> loss_and_accuracy(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
    (0.6931471824645996, 0.75)
    """
    loss = functional.cross_entropy(logits, labels).item()
    correct = (logits.argmax(dim=1) == labels).sum().item()
    return loss, correct / len(labels)

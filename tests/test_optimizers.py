"""Updates are those of torch.optim; schedules start at one and end where they should."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from fgbench.optimizers import OPTIMIZERS, SCHEDULES, adam, sgd

RATES = [0.1, 0.1, 0.05, 0.02]


def moved(update_of, make_optimizer) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The parameters after four updates by ours, and by torch.optim's."""
    start = [torch.randn(3, 2), torch.randn(2)]
    gradients = [[torch.randn_like(value) for value in start] for _ in RATES]
    ours = {str(index): value.clone() for index, value in enumerate(start)}
    theirs = [value.clone().requires_grad_() for value in start]
    update, optimizer = update_of(ours), make_optimizer(theirs)
    for rate, gradient in zip(RATES, gradients, strict=True):
        update({str(index): value.clone() for index, value in enumerate(gradient)}, rate)
        optimizer.param_groups[0]["lr"] = rate
        for value, slope in zip(theirs, gradient, strict=True):
            value.grad = slope.clone()
        optimizer.step()
    return list(ours.values()), [value.detach() for value in theirs]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_that_of_torch(momentum: float) -> None:
    ours, theirs = moved(
        lambda params: sgd(params, momentum=momentum),
        lambda values: torch.optim.SGD(values, lr=1, momentum=momentum),
    )
    torch.testing.assert_close(ours, theirs)


def test_adam_is_that_of_torch() -> None:
    ours, theirs = moved(
        lambda params: adam(params, beta1=0.8, beta2=0.99),
        lambda values: torch.optim.Adam(values, lr=1, betas=(0.8, 0.99)),
    )
    torch.testing.assert_close(ours, theirs)


OPTIONS = {"constant": {}, "cosine": {"final_fraction": 0.1}, "exponential": {"final_fraction": 0.1}}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_falls_from_one_and_never_rises(name: str) -> None:
    factors = [SCHEDULES[name](step / 100, **OPTIONS[name]) for step in range(101)]
    assert factors[0] == 1
    assert all(later <= earlier for earlier, later in pairwise(factors))
    assert factors[-1] == pytest.approx(OPTIONS[name].get("final_fraction", 1))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_moves_against_the_gradient(name: str) -> None:
    options = {"sgd": {"momentum": 0.5}, "adam": {"beta1": 0.9, "beta2": 0.999}}[name]
    params = {"x": torch.zeros(3)}
    OPTIMIZERS[name](params, **options)({"x": torch.ones(3)}, 0.1)
    assert torch.allclose(params["x"], torch.full((3,), -0.1))

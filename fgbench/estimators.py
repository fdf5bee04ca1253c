"""A loss function, parameters and tangents enter; the loss and an estimate of its gradient leave.

Estimators are pure: they draw nothing and change nothing. `draw_tangents` makes the tangents beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fgbench.types import LossAndGradient, LossFn, Params

Estimator: TypeAlias = Callable[..., LossAndGradient]


def backprop(loss_fn: LossFn, params: Params, tangents: Params | None = None) -> LossAndGradient:
    """Compute the gradient ∇f itself, by reverse-mode AD; needs no tangents.

    Costs one forward and one reverse pass, and the memory of every layer's output.

    >>> square = lambda params: (params["x"] ** 2).sum()
    >>> backprop(square, {"x": torch.tensor([1.0, 2.0])}).gradient["x"]
    tensor([2., 4.])
    """
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    loss = loss_fn(leaves)
    gradient = torch.autograd.grad(loss, tuple(leaves.values()))
    return LossAndGradient(loss.detach(), dict(zip(leaves, gradient, strict=True)))


def forward_gradient(loss_fn: LossFn, params: Params, tangents: Params) -> LossAndGradient:
    """Estimate the gradient by the mean over K tangents of (∇f·v) v.

    The forward gradient of Baydin et al. 2022 (arXiv 2202.08587): unbiased where E[vvᵀ] = I, always a descent
    direction in expectation, and ∇f is never formed. Costs K jvps; its total variance is
    (d + κ - 2) ‖∇f‖² / K where the entries of v are independent with kurtosis κ, and (d - 1) ‖∇f‖² / K on the
    sphere of radius √d.

    >>> square = lambda params: (params["x"] ** 2).sum()
    >>> estimate = forward_gradient(square, {"x": torch.tensor([1.0, 2.0])}, {"x": torch.tensor([[1.0, -1.0]])})
    >>> estimate.loss, estimate.gradient["x"]
    (tensor(5.), tensor([-2.,  2.]))
    """
    num_tangents = len(next(iter(tangents.values())))
    if num_tangents == 1:
        tangent = _first(tangents)
        loss, derivative = _dual_pass(loss_fn, params, tangent)
        scaled = torch._foreach_mul(list(tangent.values()), derivative)
        return LossAndGradient(loss, dict(zip(tangent, scaled, strict=True)))
    loss, derivatives = directional_derivatives(loss_fn, params, tangents)
    weights = derivatives / num_tangents
    return LossAndGradient(loss, {name: torch.tensordot(weights, v, dims=1) for name, v in tangents.items()})


def directional_derivatives(loss_fn: LossFn, params: Params, tangents: Params) -> tuple[Tensor, Tensor]:
    """Compute the scalar loss and ∇f·v for each of the K tangents, [K], by forward-mode AD.

    One tangent travels as a dual number: `torch.func.jvp` re-enters Python transforms at each call, at twice the
    time on a small model. Several share one primal pass under `vmap`, which dual numbers cannot do.
    """
    if len(next(iter(tangents.values()))) == 1:
        loss, derivative = _dual_pass(loss_fn, params, _first(tangents))
        return loss, derivative[None]

    def jvp(tangent: Params) -> tuple[Tensor, Tensor]:
        loss, derivative = torch.func.jvp(loss_fn, (params,), (tangent,))  # type: ignore[misc]
        return loss, derivative

    # A jvp outside no_grad would keep the reverse graph of parameters that require grad.
    with torch.no_grad():
        loss, derivatives = torch.func.vmap(jvp, out_dims=(None, 0))(tangents)  # type: ignore[arg-type]
    return loss, derivatives


def _first(tangents: Params) -> Params:
    return {name: v[0] for name, v in tangents.items()}


def _dual_pass(loss_fn: LossFn, params: Params, tangent: Params) -> tuple[Tensor, Tensor]:
    """Compute the loss and ∇f·v; `torch._make_dual` is what `make_dual` calls after 4 µs of checks a tensor."""
    forward_ad._maybe_load_decompositions()
    with torch.no_grad(), forward_ad.dual_level() as level:
        duals = {name: torch._make_dual(value, tangent[name], level=level) for name, value in params.items()}
        loss, derivative = torch._unpack_dual(loss_fn(duals), level=level)
    return loss, derivative if derivative is not None else torch.zeros_like(loss)


ESTIMATORS: Mapping[str, Estimator] = {
    "backprop": backprop,
    "forward_gradient": forward_gradient,
}

"""A loss function, parameters and tangents enter; the loss and an estimate of its gradient leave.

Estimators are pure: they draw nothing and change nothing. `draw_tangents` makes the tangents beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from fgbench.types import LayeredLossFn, LossAndGradient, LossFn, Params

Estimator: TypeAlias = Callable[..., LossAndGradient]


def backprop(loss_fn: LossFn, params: Params, tangents: Params | None = None) -> LossAndGradient:
    """Compute the gradient ∇f itself, by reverse-mode AD; needs no tangents.

    Costs one forward and one reverse pass, and the memory of every layer's output.

    >>> square = lambda params: (params["x"] ** 2).sum()
    >>> backprop(square, {"x": torch.tensor([1.0, 2.0])}).gradient["x"]
    tensor([2., 4.])
    """
    leaves = _leaves(params)
    return _reverse_pass(loss_fn(leaves), leaves)


def checkpointed_backprop(
    loss_fn: LayeredLossFn, params: Params, tangents: Params | None = None
) -> LossAndGradient:
    """Compute the gradient ∇f itself, keeping few layers' outputs and computing the others anew when needed.

    Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): the L layers are cut into about √L segments; of all
    but the last only the input is kept. Costs up to two forward passes and one reverse pass, and the memory of
    about 2 √L layers' outputs. The value is backprop's, to the last bit.
    """
    leaves = _leaves(params)
    layers = list(loss_fn.model)
    length = math.ceil(math.sqrt(len(layers)))
    *segments, last = [layers[start : start + length] for start in range(0, len(layers), length)]
    flow = loss_fn.inputs
    for segment in segments:
        flow = checkpoint(
            loss_fn.through, segment, leaves, flow, use_reentrant=False, preserve_rng_state=False
        )
    return _reverse_pass(loss_fn.of_logits(loss_fn.through(last, leaves, flow)), leaves)


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
    loss, derivatives = directional_derivatives(loss_fn, params, tangents)
    return LossAndGradient(loss, mean_along(tangents, derivatives))


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


def mean_along(tangents: Params, weights: Tensor) -> Params:
    """Return 1/K Σ wₖ vₖ over the K tangents, for `weights` [K]."""
    if len(weights) == 1:
        scaled = torch._foreach_mul([v[0] for v in tangents.values()], weights[0])
        return dict(zip(tangents, scaled, strict=True))
    mean = weights / len(weights)
    return {name: torch.tensordot(mean, v, dims=1) for name, v in tangents.items()}


def _leaves(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def _reverse_pass(loss: Tensor, leaves: Params) -> LossAndGradient:
    gradient = torch.autograd.grad(loss, tuple(leaves.values()))
    return LossAndGradient(loss.detach(), dict(zip(leaves, gradient, strict=True)))


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
    "checkpointed_backprop": checkpointed_backprop,
    "forward_gradient": forward_gradient,
}

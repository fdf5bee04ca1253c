"""A workload and its methods enter; estimates that `torch.compile` made faster leave, or why there are none."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from torch.utils._pytree import tree_leaves

from fgbench.cost.steps import (
    COMPILED,
    COMPILED_TORCH_FUNC,
    EAGER,
    TORCH_FUNC,
    Estimate,
    Method,
    Problem,
    Workload,
    estimate_of,
)
from fgbench.errors import CostError
from fgbench.types import LossAndGradient

COMPILED_FROM = {COMPILED: EAGER, COMPILED_TORCH_FUNC: TORCH_FUNC}

ROUNDING = 1e-4
"""How far a compiled value may lie from the eager one, as a share of the greatest entry: sums in another order."""


def compiled_estimates(
    workload: Workload, methods: Mapping[str, Method], engine: str, *, device: str
) -> dict[str, Estimate]:
    """Return the compiled estimate of every one of `methods`, by name: of all of them or of none.

    Raises CostError with the reason where one cannot be compiled as a whole, or then gives another value than the
    eager one.
    """
    found = {}
    for name, method in methods.items():
        try:
            found[name] = _compiled(workload, method, COMPILED_FROM[engine], device)
        except CostError as error:
            raise CostError(f"{name}: {error}") from None
    return found


def _compiled(workload: Workload, method: Method, engine: str, device: str) -> Estimate:
    eager, problem = estimate_of(method, engine), Problem(workload, method, device)
    compiled: Estimate = torch.compile(eager, fullgraph=True, dynamic=False)
    arguments = problem.loss_fn, problem.params, problem.draw()
    value = _quietly(lambda: compiled(*arguments))
    if not _agree(value, eager(*arguments)):
        raise CostError("the compiled estimate is another than the eager one")
    return compiled


def _quietly(call: Callable[[], LossAndGradient]) -> LossAndGradient:
    """Call what is compiled by this; its complaints become one line, and no process stays behind."""
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch._dynamo.config as dynamo
        import torch._inductor.config as inductor

        with inductor.patch(compile_threads=1), dynamo.patch(trace_autograd_ops=True):
            try:
                return call()
            except Exception as error:  # whatever the compiler's many layers raise
                raise CostError(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    with suppress(AttributeError):
        error = error.inner_exception  # type: ignore[attr-defined]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"torch.compile: {lines[0] if lines else type(error).__name__}"


def _agree(value: LossAndGradient, expected: LossAndGradient) -> bool:
    pairs = list(
        zip(
            tree_leaves((value.loss, value.gradient)),
            tree_leaves((expected.loss, expected.gradient)),
            strict=True,
        )
    )
    greatest = max(float(there.abs().max()) for _, there in pairs)
    return all(float((here - there).abs().max()) <= ROUNDING * greatest for here, there in pairs)

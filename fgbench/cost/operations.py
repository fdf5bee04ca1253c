"""A workload and a method enter; the operations of one step leave, counted and not timed: the same everywhere."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode

from fgbench.cost.steps import Method, Workload, whole_step


def operations(workload: Workload, method: Method) -> int:
    """Return the floating-point operations of a step's matrix products and convolutions; a multiply-add is two.

    `torch.utils.flop_counter` counts them as they are dispatched, whatever their derivation: what PyTorch really
    runs, zeros included. The weighted sum of several tangents is a product and counts. Work on single entries (ReLU,
    loss, one tangent's scaling, update, random numbers) is not counted.
    """
    step = whole_step(workload, method, device="cpu")
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())

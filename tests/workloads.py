"""The methods and workloads whose steps the tests of cost measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fgbench.cost.steps import Method, Workload

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config" / "config.yaml").read_text(encoding="utf-8"))
OPTIMIZER_OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "adam": {"beta1": 0.9, "beta2": 0.999},
}

FORWARD_PASS = Method(None)
BACKPROP = Method({"name": "backprop"})
CHECKPOINTED = Method({"name": "checkpointed_backprop"})


def forward(num_tangents: int, tangents: str = "rademacher") -> Method:
    """A forward gradient of so many tangents."""
    return Method({"name": "forward_gradient"}, tangents, num_tangents)


METHODS = {
    "backprop": BACKPROP,
    "checkpointed_backprop": CHECKPOINTED,
    "forward_gradient": forward(1),
    "forward_gradient_4": forward(4),
}


def workload(model: str = "mlp", optimizer: str = "sgd") -> Workload:
    """A model of the registry, its options as configured, on seven small images of three classes."""
    return Workload(
        model={"name": model, **CONFIG["models"][model]},
        input_shape=(1, 6, 6),
        num_classes=3,
        batch_size=7,
        optimizer={"name": optimizer, **OPTIMIZER_OPTIONS[optimizer]},
    )

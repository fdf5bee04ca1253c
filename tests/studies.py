"""A tiny study that tests change at one place; it needs no network."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from fgbench.types import Json

_TINY = """
results: results
seeds: [0, 1, 2]
seeds_per_job: 2
timed_seeds: [0]
data: {folder: resources, mirrors: [], stand_ins: {digits: [iris]}}
splits: {validation_fraction: 0.2, seed: null}
datasets:
  iris: {num_train: 100, num_test: 50}
  digits: {num_train: 100, num_test: 50}
models:
  logistic_regression: {}
  mlp: {hidden_widths: [4]}
methods:
  backprop: {estimator: backprop, learning_rate: 0.5}
  forward_gradient:
    estimator: forward_gradient
    tangents: rademacher
    num_tangents: 1
    learning_rate: {iris/logistic_regression: 0.1, digits/mlp: 0.01}
experiments:
  - dataset: iris
    model: logistic_regression
    batch_size: 20
    optimizer: {name: sgd, momentum: 0}
    schedule: {name: constant}
    target_loss: 0.1
    max_steps: 40
    record_every: 10
  - dataset: digits
    model: mlp
    batch_size: 20
    optimizer: {name: adam, beta1: 0.9, beta2: 0.999}
    schedule: {name: cosine, final_fraction: 0}
    target_loss: 0.1
    max_steps: 40
    record_every: 10
"""

ABSENT: Any = object()
"""As a new value: the key is taken out."""


def tiny_study(**changes: Any) -> Json:
    """Return a valid config, changed at the places named, as by `tiny_study(**{"data.mirrors": ["a"]})`."""
    study: Json = yaml.safe_load(_TINY)
    for place, value in changes.items():
        *parents, last = (int(part) if part.isdecimal() else part for part in place.split("."))
        holder: Any = study
        for parent in parents:
            holder = holder[parent]
        if value is ABSENT:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(value)
    return study

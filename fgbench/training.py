"""A split and settings enter; a run leaves: its curve, its predictions and how it ended. No file, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from fgbench.errors import ConfigError
from fgbench.estimators import ESTIMATORS
from fgbench.metrics import logits_of, loss_and_accuracy
from fgbench.models import BatchLoss, built_model, parameters_of
from fgbench.optimizers import OPTIMIZERS, SCHEDULES
from fgbench.seeding import derived_seed, generator
from fgbench.tangents import draw_tangents
from fgbench.types import Json, Params, Part, Split, chosen

Examples: TypeAlias = tuple[Tensor, Tensor]
Record: TypeAlias = dict[str, float]
Evaluate: TypeAlias = Callable[[nn.Module, Mapping[str, Examples]], Record]
Status: TypeAlias = Literal["reached", "not_reached", "diverged"]


@dataclass(frozen=True)
class Settings:
    """A cell's settings, as `config.cell_settings` gives them; a choice is {name, and the options of that name}."""

    model: Json
    estimator: Json
    tangents: str | None
    num_tangents: int | None
    learning_rate: float
    optimizer: Json
    schedule: Json
    batch_size: int
    target_loss: float
    max_steps: int
    record_every: int


@dataclass(frozen=True)
class Run:
    """A cell trained at one seed.

    `steps` counts updates; a run that reached its target did so at the recorded step `steps`, one that diverged
    saw its first loss that is not finite after `steps` updates. `predicted` [n_test] are the final classes.
    `kinked` says whether the model has a ReLU or the like, whose derivative jumps.
    """

    seed: int
    status: Status
    steps: int
    num_parameters: int
    kinked: bool
    curve: list[Record]
    predicted: list[int]

    def record(self, test: Part) -> Json:
        """Return the run as plain values, its predictions beside the `test` part's ids and labels.

        A loss that is not finite becomes None.
        """
        return {
            "seed": self.seed,
            "status": self.status,
            "steps": self.steps,
            "steps_to_target": self.steps if self.status == "reached" else None,
            "diverged_at_step": self.steps if self.status == "diverged" else None,
            "curve": {key: [_finite(record[key]) for record in self.curve] for key in self.curve[0]},
            "predictions": {
                "id": test.ids.tolist(),
                "label": test.labels.tolist(),
                "predicted": self.predicted,
            },
        }


def evaluate(model: nn.Module, parts: Mapping[str, Examples]) -> Record:
    """Return loss and accuracy on each whole part, as `{part}_loss` and `{part}_accuracy`."""
    record: Record = {}
    for name, (inputs, labels) in parts.items():
        loss, accuracy = loss_and_accuracy(logits_of(model, inputs), labels)
        record |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
    return record


def train(
    split: Split,
    settings: Settings,
    *,
    num_classes: int,
    seed: int,
    evaluate: Evaluate = evaluate,
    watch: Callable[[Record], None] = lambda record: None,
) -> Run:
    """Train a cell at one seed until its training loss falls below the target, max_steps, or a non-finite loss.

    Initial parameters and batch order hang on `seed` alone, never on the method: runs of one seed are paired.
    Every `record_every` steps the whole parts are evaluated, and `watch` sees the record; nothing is looked at in
    between, so a target counts as reached at the first record below it.

    Raises ConfigError where the model does not fit the data, or a batch is larger than the training part.
    """
    model, params = _initial(split.train, settings, num_classes, seed)
    parts = {name: _tensors(getattr(split, name)) for name in ("train", "validation", "test")}
    batch_losses = _steps(model, params, parts["train"], settings, seed)
    step, curve = 0, list[Record]()

    def looked_at() -> Status:
        curve.append({"step": step, **evaluate(model, parts)})
        watch(curve[-1])
        return _status(curve[-1]["train_loss"], settings.target_loss)

    status = looked_at()
    while status == "not_reached" and step < settings.max_steps:
        losses = list(islice(batch_losses, min(settings.record_every, settings.max_steps - step)))
        first_broken = _first_non_finite(losses)
        step += len(losses) if first_broken is None else first_broken
        status = looked_at()
        if first_broken is not None:
            status = "diverged"
    return Run(
        seed=seed,
        status=status,
        steps=step,
        num_parameters=sum(value.numel() for value in params.values()),
        kinked=any(isinstance(layer, _KINKED) for layer in model.modules()),
        curve=curve,
        predicted=logits_of(model, parts["test"][0]).argmax(dim=1).tolist(),
    )


_KINKED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.MaxPool1d, nn.MaxPool2d)


def _initial(part: Part, settings: Settings, num_classes: int, seed: int) -> tuple[nn.Sequential, Params]:
    if settings.batch_size > len(part.labels):
        raise ConfigError(
            f"batch_size: {settings.batch_size} is more than the {len(part.labels)} examples of the training part "
            "(num_train less its validation part). Take a smaller batch or more examples."
        )
    model = built_model(settings.model, part.inputs.shape[1:], num_classes, seed=derived_seed(seed, "init"))
    return model, parameters_of(model)


def _steps(
    model: nn.Sequential, params: Params, examples: Examples, settings: Settings, seed: int
) -> Iterator[Tensor]:
    """Make one update after another, without end; yield each batch's loss, taken before its update."""
    inputs, labels = examples
    loss_fn = BatchLoss(model, inputs, labels)
    estimate = chosen(ESTIMATORS, settings.estimator)
    update = chosen(OPTIMIZERS, settings.optimizer)(params)
    schedule = chosen(SCHEDULES, settings.schedule)
    drawing = generator(seed, "tangents")
    tangents = None
    for step, batch in enumerate(_batches(len(labels), settings.batch_size, generator(seed, "batches"))):
        if settings.tangents is not None:
            tangents = draw_tangents(
                settings.tangents, like=params, num_tangents=settings.num_tangents or 1, generator=drawing
            )
        result = estimate(loss_fn.on(inputs[batch], labels[batch]), params, tangents)
        update(result.gradient, settings.learning_rate * schedule(step / settings.max_steps))
        yield result.loss


def _batches(num_examples: int, batch_size: int, drawing: torch.Generator) -> Iterator[Tensor]:
    """Yield index batches for ever: a fresh order each epoch, its incomplete last batch dropped."""
    whole = num_examples - num_examples % batch_size
    while True:
        yield from torch.randperm(num_examples, generator=drawing)[:whole].split(batch_size)


def _tensors(part: Part) -> Examples:
    return torch.from_numpy(part.inputs), torch.from_numpy(part.labels)


def _status(train_loss: float, target_loss: float) -> Status:
    if not math.isfinite(train_loss):
        return "diverged"
    return "reached" if train_loss < target_loss else "not_reached"


def _first_non_finite(losses: list[Tensor]) -> int | None:
    """Return the position of the first loss that is not finite; one look at many keeps the steps free of it."""
    broken = (~torch.stack(losses).isfinite()).nonzero()
    return int(broken[0]) if len(broken) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

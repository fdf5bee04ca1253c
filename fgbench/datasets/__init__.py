"""A data set's name enters; its samples leave, or those of a declared stand-in with the reason why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fgbench.datasets.bundled import digits, iris
from fgbench.datasets.files import Fetch, UnavailableError
from fgbench.datasets.kmnist import kmnist, kmnist_t10k
from fgbench.datasets.penguins import penguins
from fgbench.errors import DataError
from fgbench.types import Samples

DatasetFn: TypeAlias = Callable[[Fetch], Samples]


@dataclass(frozen=True)
class Obtained:
    """The samples to use, the name that was asked for, a reason for each data set that failed before."""

    samples: Samples
    asked_for: str
    reasons: tuple[str, ...]


def obtain(name: str, *, fetch: Fetch, stand_ins: Mapping[str, Sequence[str]] | None) -> Obtained:
    """Return the samples of `name`, or of the first of its `stand_ins` that can be had.

    Only a data set whose files no address gives is stood in for. `stand_ins` names, for a data set, those
    to try in its place, in order; None allows none.

    Raises DataError for a name that does not exist, and UnavailableError where neither `name` nor a stand-in
    can be had.
    """
    candidates = (name, *(stand_ins or {}).get(name, ()))
    for candidate in candidates:
        _require_known(candidate)
    failures: list[UnavailableError] = []
    for candidate in candidates:
        try:
            samples = DATASETS[candidate](fetch)
        except UnavailableError as error:
            failures.append(UnavailableError(f"{candidate}: {error.reason}", error.way_out))
        else:
            return Obtained(samples, asked_for=name, reasons=tuple(str(failure) for failure in failures))
    raise _joined(failures)


def _require_known(name: str) -> None:
    if name not in DATASETS:
        raise DataError(f"no data set is called {name!r}; there are: {', '.join(sorted(DATASETS))}.")


def _joined(failures: Sequence[UnavailableError]) -> UnavailableError:
    """Return one error that tells all; the way out is that of the data set asked for."""
    return UnavailableError(
        ". Its stand-in failed too: ".join(failure.reason for failure in failures), failures[0].way_out
    )


DATASETS: dict[str, DatasetFn] = {
    "penguins": penguins,
    "kmnist_t10k": kmnist_t10k,
    "kmnist": kmnist,
    "digits": digits,
    "iris": iris,
}

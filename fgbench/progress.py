"""A run's records enter; now and then a line that a person can follow leaves."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO

INTERVAL_S = 2.0


@dataclass
class Progress:
    """Prints where a run stands, at most every `INTERVAL_S`, and only where a person looks: at a terminal."""

    title: str
    max_steps: int
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _start: float = field(default_factory=monotonic)
    _last: float = field(default_factory=monotonic)

    def __call__(self, record: dict[str, float]) -> None:
        """Take a record: its `step` and `train_loss`."""
        now = monotonic()
        if self.stream.isatty() and now - self._last >= INTERVAL_S:
            self._last = now
            print(self._line(int(record["step"]), record["train_loss"], now - self._start), file=self.stream)

    def _line(self, step: int, loss: float, elapsed_s: float) -> str:
        rate = step / elapsed_s if elapsed_s else 0.0
        left = f", at most {(self.max_steps - step) / rate:.0f} s left" if rate else ""
        place = f"step {step:,} of {self.max_steps:,}"
        return f"{self.title}: {place}, loss {loss:.4f}, {rate:,.0f} steps/s{left}"

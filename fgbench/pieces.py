"""What the report is put together from: tables as they are shown, and charts with their captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fgbench.svg import Style


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand right."""

    title: str
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """A table as it is shown: the first cell of a row is its heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """Charts under one caption, with the same numbers as a table; `legend` names the lines, `parts` the fills."""

    svgs: Sequence[str]
    caption: str
    table: Table | None = None
    legend: Mapping[str, Style] = field(default_factory=dict)
    parts: Sequence[str] = ()


def words(*titles: str) -> list[Column]:
    """Return columns of text."""
    return [Column(title, is_number=False) for title in titles]


def numbers(*titles: str) -> list[Column]:
    """Return columns of numbers."""
    return [Column(title) for title in titles]

"""What the report is put together from: tables as they are shown, and charts with their captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgbench.headings import HEADINGS
from fgbench.svg import Style


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand right. What a `method` is named for, or of, leaves with the method filter.

    `about` says what the heading means: None where `headings.HEADINGS` does, nothing where it is somebody's name.
    """

    title: str
    is_number: bool = True
    is_method: bool = False
    method: str = ""
    about: str | None = None

    @property
    def explanation(self) -> str:
        """The sentence that explains the heading; empty where it needs none."""
        return HEADINGS.get(self.title, "") if self.about is None else self.about


METHOD = Column("Method", is_number=False, is_method=True)
"""The column that names the method that a row tells of: the method filter takes such rows away."""


@dataclass(frozen=True)
class Table:
    """A table as it is shown: the first cell of a row is its heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Source:
    """What a figure draws: the rows of a tidy table whose columns `where` have the values given there."""

    table: str
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """Charts under one caption, with the same numbers as a table; `legend` names the lines, `parts` the fills.

    `title` names the figure where it is linked to; `sources` are the rows that it draws.
    """

    svgs: Sequence[str]
    caption: str
    table: Table | None = None
    legend: Mapping[str, Style] = field(default_factory=dict)
    legend_of: str = "Methods"
    parts: Sequence[str] = ()
    title: str = ""
    sources: Sequence[Source] = ()


def words(*titles: str, about: str | None = None) -> list[Column]:
    """Return columns of text, all of them `about` the same."""
    return [Column(title, is_number=False, about=about) for title in titles]


def of_methods(methods: Iterable[str], *quantities: str) -> list[Column]:
    """Return columns of numbers that leave with the method filter: one a method, or for each as many `quantities`."""
    return [
        Column(f"{method}, {quantity}" if quantity else method, method=method, about="")
        for method in methods
        for quantity in quantities or ("",)
    ]


def numbers(*titles: str, about: str | None = None) -> list[Column]:
    """Return columns of numbers, all of them `about` the same."""
    return [Column(title, about=about) for title in titles]

"""A template and its values enter; a page leaves that asks for no other file: style, script and data lie in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fgbench.pieces import Column, Source
from fgbench.svg import PALETTE, PART_PALETTE
from fgbench.wording import percent_text, unbroken

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


SHEETS = ("report.css", "figures.css", "errors.css", "workflow.css")
"""What a page's style is put together from, in this order."""

SCRIPTS = (
    "reading.js",
    "tables.js",
    "headings.js",
    "hover.js",
    "pictures.js",
    "zip.js",
    "latex.js",
    "files.js",
)
"""What a page's script is put together from, in this order; what one declares, the next ones know."""


@dataclass(frozen=True)
class Figure:
    """A figure as it is linked to."""

    number: int
    title: str


@dataclass(frozen=True)
class Section:
    """A section as it is linked to, with the figures in it."""

    key: str
    title: str
    figures: list[Figure] = field(default_factory=list)


class Contents:
    """The sections and figures of a page, listed where a template places each, and what they draw; its headings."""

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.sections: list[Section] = []
        self._tables = tables
        self._sources: list[Source] = []
        self._headings: dict[str, dict[str, None]] = {}

    def section(self, key: str, title: str) -> str:
        """List a section; return its key."""
        self.sections.append(Section(key, title))
        return key

    def figure(self, title: str, sources: Sequence[Source] = ()) -> int:
        """List a figure in the section begun last, and what it draws; return its number on the page, from 1."""
        number = 1 + sum(len(section.figures) for section in self.sections)
        self.sections[-1].figures.append(Figure(number, title))
        self._sources += sources
        return number

    def heading(self, column: Column) -> str:
        """List a column's heading; return the sentence that explains it, empty where it needs none."""
        if column.explanation:
            self._headings.setdefault(column.title, {})[column.explanation] = None
        return column.explanation

    def headings(self) -> dict[str, list[str]]:
        """Return by heading listed so far, alphabetically, what it means: as many sentences as it has meanings."""
        return {title: [*self._headings[title]] for title in sorted(self._headings, key=_place)}

    def datasets(self) -> dict[str, str]:
        """Return by name each table that a figure listed so far draws, packed for the page."""
        names = sorted({source.table for source in self._sources})
        return {name: packed(self._tables[name]) for name in names}


def page(template: str, *, tables: Mapping[str, pd.DataFrame], filtered: Sequence[str], **values: Any) -> str:
    """Return a page; `filtered` are the methods that its reader may hide, `tables` what its figures draw."""
    script = f'"use strict";\n{{\n{"".join(map(_text, SCRIPTS))}}}\n'
    return (
        _templates()
        .get_template(template)
        .render(
            contents=Contents(tables),
            filtered=filtered,
            palettes={"series": PALETTE, "part": PART_PALETTE},
            sheets=[_text(name) for name in SHEETS],
            script=script,
            script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
            **values,
        )
    )


def load_templates() -> None:
    """Load what pages are made with, so that the next is made sooner."""
    for name in _templates().list_templates():
        _templates().get_template(name)


def packed(table: pd.DataFrame) -> str:
    """Return a table as JSON (its `columns`; in the same order the `values` of each), compressed by gzip, in base64.

    What is missing is null; an infinite number is its name, for JSON knows none.
    """
    values = [_plain(table[name]) for name in table]
    text = json.dumps(
        {"columns": [*table.columns], "values": values}, ensure_ascii=False, separators=(",", ":")
    )
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


def math_markup(formula: str) -> Markup:
    """Return a formula in LaTeX as MathML, which browsers set by themselves; its text reads aloud."""
    from latex2mathml.converter import convert
    from markupsafe import Markup

    return Markup(convert(formula, display="block"))


def breakable(text: str) -> str:
    """Return a text that a line may end in after an underscore: else a long name is broken between any two letters.

    >>> str(breakable("a_method <of mine>"))
    'a_<wbr/>method &lt;of mine&gt;'
    """
    from markupsafe import Markup

    return Markup("_<wbr/>").join(text.split("_")) if "_" in text else text


def css_string(text: str) -> str:
    """Return a text as it stands between quotation marks in a style sheet, whatever is in it.

    >>> css_string('mean of 4"')
    'mean\\\\20 of\\\\20 4\\\\22 '
    """
    return "".join(
        letter if letter.isascii() and letter.isalnum() else f"\\{ord(letter):x} " for letter in text
    )


def _place(heading: str) -> tuple[float, str]:
    """Return what headings are sorted by: their letters, after those that begin with a number, by that."""
    first = heading.partition(" ")[0]
    return (float(first) if first.isdecimal() else math.inf, heading.casefold())


def _plain(column: pd.Series[Any]) -> list[Any]:
    known = column.to_numpy(dtype=object, na_value=None).tolist()  # type: ignore[call-overload]
    return [_INFINITE.get(value, value) if isinstance(value, float) else value for value in known]


def _text(name: str) -> str:
    return (_FOLDER / "static" / name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    environment.filters["css_string"] = css_string
    environment.filters["sources_json"] = lambda sources: json.dumps([asdict(source) for source in sources])
    environment.filters["math"] = math_markup
    environment.filters["percent"] = percent_text
    environment.filters["unbroken"] = unbroken
    environment.filters["dashes"] = lambda style: " ".join(f"{1.7 * dash:g}" for dash in style.dashes)
    return environment


_FOLDER = Path(__file__).parents[1] / "report"
_INFINITE = {math.inf: "inf", -math.inf: "-inf"}

"""The tables of what steps cost go in; the text that a terminal shows of them comes out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Literal

from fgbench.cost_findings import Case, absent_texts, cases, measured_on, noise_text, step_sentences
from fgbench.cost_report import case_table, engines_table
from fgbench.findings import Tables
from fgbench.pieces import Table

LEFT_OUT = {"Experiment", "Reached the target", "× forward pass, operations"}
"""What stands above the table, what only a trained study knows, and what a terminal has no room for."""


def cost_text(tables: Tables, *, width: int) -> str:
    """Return what steps cost, by experiment: a table, its engines' table, and what the numbers say.

    `width` is that of the terminal in characters; longer cells are wrapped.
    """
    found = cases(tables)
    blocks = [block for case in found for block in _case_blocks(tables, case, width)]
    notes = [measured_on(tables), noise_text(tables), *absent_texts(tables)]
    return "\n".join([*blocks, *(note for note in notes if note)])


def table_text(table: Table, *, width: int) -> str:
    """Return a table in characters, without its caption."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    shown = [place for place, column in enumerate(table.columns) if column.title not in LEFT_OUT]
    columns = [[table.columns[place].title, *(row[place] for row in table.rows)] for place in shown]
    widths = _widths(columns, width - len(shown))
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for place, (title, *_), own in zip(shown, columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if table.columns[place].is_number else "left"
        grid.add_column(Text(title), justify=justify, width=own)
    for row in table.rows:
        grid.add_row(*(Text(row[place]) for place in shown))
    console = Console(file=io.StringIO(), width=sum(widths) + len(shown), color_system=None)
    console.print(grid)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return each column's width: that of its longest word, and of what is left to each that still wraps.

    >>> _widths([["a name", "x"], ["12 [10, 14]"]], 14)
    [5, 9]
    """
    from rich.cells import cell_len

    whole = [max(map(cell_len, cells)) for cells in columns]
    widths = [max(cell_len(word) for cell in cells for word in cell.split()) for cells in columns]
    while sum(widths) < min(width, sum(whole)):
        most = max(range(len(widths)), key=lambda place: whole[place] - widths[place])
        widths[most] += 1
    return widths


def _case_blocks(tables: Tables, case: Case, width: int) -> Iterator[str]:
    yield case.title
    yield table_text(case_table(tables, case), width=width)
    if engines := engines_table(tables, [case]):
        yield table_text(engines, width=width)
    yield from (f"{sentence}\n" for sentence in step_sentences(tables, case))

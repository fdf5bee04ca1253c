"""Tables go in; the text that a terminal shows of what was found, or of what steps cost, comes out."""

from __future__ import annotations

import io
from collections.abc import Container, Iterator, Sequence
from typing import Literal

from fgbench.answers import sentence
from fgbench.cost_findings import Case, absent_texts, cases, measured_on, noise_text, step_sentences
from fgbench.cost_report import case_table, engines_table
from fgbench.findings import Tables, experiments
from fgbench.pieces import Table
from fgbench.summary_report import summary_table
from fgbench.types import Json
from fgbench.verification_findings import verdict_text

LEFT_OUT = {"Experiment", "Reached the target", "× forward pass, operations"}
"""What stands above the table, what only a trained study knows, and what a terminal has no room for."""

NO_ROOM = {"Experiment", "Parameters", "Training loss", "Test loss"}
"""Of a study's cells the same: what stands above, and what a terminal has no room for."""


def study_text(tables: Tables, verification: Json, *, width: int) -> str:
    """Return what a study found, by experiment: a table of its cells and its answer; then whether it is reproduced.

    `width` is that of the terminal in characters; longer cells and sentences are wrapped.
    """
    whole = summary_table(tables)
    blocks = []
    for experiment in experiments(tables):
        own = Table("", whole.columns, [row for row in whole.rows if row[0] == experiment.title])
        title, answer = (_wrapped(text, width) for text in (experiment.title, sentence(tables, experiment)))
        blocks.append(f"{title}\n{table_text(own, width=width, left_out=NO_ROOM)}{answer}\n")
    return "\n".join([*blocks, _wrapped(verdict_text(verification), width)])


def cost_text(tables: Tables, *, width: int) -> str:
    """Return what steps cost, by experiment: a table, its engines' table, and what the numbers say.

    `width` is that of the terminal in characters; longer cells are wrapped.
    """
    found = cases(tables)
    blocks = [block for case in found for block in _case_blocks(tables, case, width)]
    notes = [measured_on(tables), noise_text(tables), *absent_texts(tables)]
    return "\n".join([*blocks, *(note for note in notes if note)])


def table_text(table: Table, *, width: int, left_out: Container[str] = LEFT_OUT) -> str:
    """Return a table in characters, without its caption and the columns `left_out`; long names are broken."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    shown = [place for place, column in enumerate(table.columns) if column.title not in left_out]
    columns = [[table.columns[place].title, *(row[place] for row in table.rows)] for place in shown]
    widths = _widths(columns, width - len(shown))
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for place, (title, *_), own in zip(shown, columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if table.columns[place].is_number else "left"
        grid.add_column(Text(title), justify=justify, width=own, overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(row[place]) for place in shown))
    console = Console(file=io.StringIO(), width=sum(widths) + len(shown), color_system=None)
    console.print(grid)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _wrapped(text: str, width: int) -> str:
    """Return a text in lines of at most so many cells, of which a kana takes two."""
    from rich.console import Console
    from rich.text import Text

    lines = Text(text).wrap(Console(file=io.StringIO(), color_system=None), width)
    return "\n".join(line.plain.rstrip() for line in lines)


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return each column's width: that of its longest word, and of what is left to each that still wraps.

    >>> _widths([["a name", "x"], ["12 [10, 14]"]], 14)
    [5, 9]
    >>> _widths([["x" * 99], ["12"]], 20)
    [18, 2]
    """
    from rich.cells import cell_len

    whole = [max(map(cell_len, cells)) for cells in columns]
    widths = [max(cell_len(word) for cell in cells for word in cell.split()) for cells in columns]
    while sum(widths) > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
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
